"""Langfuse's queues as BullMQ keeps them in Redis: filled, left alone and given up, without a worker.

A job is a hash <prefix>:<queue>:<id>; its id stands in the list `wait` (the oldest at its end) or `active`, or in the
set `delayed` (by when it is due, in milliseconds times 4096) or `failed` (by when it was given up, in milliseconds).
"""

import json
import time

import redis

INGESTION = "ingestion-queue"
NO_BUCKET = "NoSuchBucket: The specified bucket does not exist"
NO_MEMORY = "ClickHouse: Code: 241. DB::Exception: Memory limit (total) exceeded. (MEMORY_LIMIT_EXCEEDED)"


class Queues:
    """The queues in the Redis that `client` speaks to; `prefix` is what Langfuse would have as REDIS_KEY_PREFIX."""

    def __init__(self, client: "redis.Redis", prefix: str = "bull") -> None:
        self._client = client
        self.prefix = prefix

    def _key(self, queue: str, part: str) -> str:
        return f"{self.prefix}:{queue}:{part}"

    def open(self, queue: str = INGESTION) -> None:
        """What is there as soon as Langfuse has started: a queue without a job."""
        self._client.hset(self._key(queue, "meta"), mapping={"opts.maxLenEvents": "10000", "version": "bullmq:5.34.10"})

    def add(self, number: int, *, age: float = 0.0, queue: str = INGESTION) -> None:
        """Puts `number` jobs in, the oldest added `age` seconds ago."""
        self.open(queue)
        for _ in range(number):
            self._client.lpush(self._key(queue, "wait"), self._job(queue, age))

    def delay(self, number: int, *, overdue: float, queue: str = INGESTION) -> None:
        """Puts `number` jobs in that were due `overdue` seconds ago; the next worker that looks takes them."""
        self.open(queue)
        due = int((time.time() - overdue) * 1000)
        for _ in range(number):
            self._client.zadd(self._key(queue, "delayed"), {self._job(queue, overdue + 5): due * 4096})

    def take(self, queue: str = INGESTION) -> None:
        """The oldest job that waits is taken, as a worker does."""
        self._client.lmove(self._key(queue, "wait"), self._key(queue, "active"), "RIGHT", "LEFT")

    def give_up(self, number: int, *, reason: str, age: float = 0.0, queue: str = INGESTION) -> None:
        """`number` jobs failed for the last time, `age` seconds ago."""
        self.open(queue)
        for _ in range(number):
            job = self._job(queue, age + 200)
            self._client.hset(self._key(queue, job), "failedReason", reason)
            self._client.zadd(self._key(queue, "failed"), {job: int((time.time() - age) * 1000)})

    def pause(self, queue: str = INGESTION) -> None:
        """Somebody pauses the queue: what waits is set aside."""
        self._client.hset(self._key(queue, "meta"), "paused", "1")
        while self._client.lmove(self._key(queue, "wait"), self._key(queue, "paused"), "RIGHT", "LEFT"):
            pass

    def clear(self) -> None:
        """No queue was ever there."""
        for key in self._client.scan_iter(f"{self.prefix}:*"):
            self._client.delete(key)

    def _job(self, queue: str, age: float) -> str:
        number = str(self._client.incr(self._key(queue, "id")))
        added = str(int((time.time() - age) * 1000))
        self._client.hset(
            self._key(queue, number),
            mapping={"name": "ingestion-job", "data": json.dumps({"payload": {}}), "timestamp": added, "delay": "0"},
        )
        return number
