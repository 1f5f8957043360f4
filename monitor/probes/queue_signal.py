"""Whether what Langfuse took is worked off: its queues in Redis, in the structures of BullMQ, and only read here.

A job is in `wait` (taken from its end), `prioritized`, `delayed` (by when it is due) or `active`; what was given up is
in `failed`. Langfuse delays every event by some seconds, so with no worker alive they pile up in `delayed`.
"""

import asyncio
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from redis.exceptions import RedisError, ResponseError

from config.signals import QueueSignalParams
from monitor.probes.amounts import graded, span
from monitor.probes.ask import beside, told_elsewhere
from monitor.probes.base import Answer, Outcome, ProbeContext, Verdict, not_available
from monitor.probes.redis_session import FreshConnection, text_of

MAX_AGE = 2.0  # seconds: signals that run together share a look
OWN_SHARE = 0.8  # of an asker's time for the look
STILL = 240.0  # seconds in which a worker that lives takes a job, where one waits
WINDOW = 300_000  # milliseconds of the past in which jobs that were given up count
# The way of a trace from the web container to ClickHouse. A job there takes moments; others may rightly take long.
QUEUES: Final = (
    "ingestion-queue",
    "secondary-ingestion-queue",
    "otel-ingestion-queue",
    "secondary-otel-ingestion-queue",
    "trace-upsert",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """One queue as it was seen. `waiting` are the jobs that a worker could take, `given_up` those of WINDOW.

    `oldest` is seconds the job has waited that waits longest. `mark` stays the same as long as no job is taken.
    """

    name: str
    waiting: int
    active: int
    paused: bool
    oldest: float
    mark: Hashable
    given_up: int
    reason: str


async def probe(params: QueueSignalParams, *, timeout: float, context: ProbeContext) -> Outcome:
    """Tells one signal. Evidence.code of waiting is paused, stalled (none is taken) or behind, of failed given_up."""
    return await beside(partial(_tell, params, timeout, context), timeout=timeout, secrets=(params.password,))


async def _tell(params: QueueSignalParams, timeout: float, context: ProbeContext) -> Answer:
    login = (params.host, params.port, params.user, params.password, params.database, params.prefix)
    seconds = timeout * OWN_SHARE

    async def look() -> list[Queue] | Answer:
        async with asyncio.timeout(seconds):
            return await _look(params, seconds, context)

    seen = await context.shared(("queue_signal", *login), look, MAX_AGE)
    if isinstance(seen, Answer):
        return seen
    for name in {*QUEUES} - {queue.name for queue in seen}:
        context.samples.forget((*login, name))  # one of that name that comes later is another one
    if not seen:
        return not_available(
            f"there is no queue {params.prefix}:{QUEUES[0]} in this Redis: Langfuse uses another one, or a prefix of "
            "its own (its REDIS_KEY_PREFIX; put it into LANGFUSE_REDIS_KEY_PREFIX)"
        )
    if params.signal == "failed":
        return weigh_failed(seen, params)
    now = asyncio.get_running_loop().time()
    stood = {queue.name: _stood(context, (*login, queue.name), queue, now) for queue in seen}
    return weigh_waiting(seen, stood, params)


def _stood(context: ProbeContext, key: tuple[Hashable, ...], queue: Queue, now: float) -> float:
    """Seconds for which no job was seen to be taken from a queue that has one to take."""
    if queue.oldest <= 0:
        context.samples.forget(key)
        return 0.0
    before = context.samples.since(key, queue.mark, STILL * 2, now)
    if before is not None and before[1] != queue.mark:
        context.samples.forget(key)
        before = context.samples.since(key, queue.mark, STILL * 2, now)
    return before[0] if before else 0.0


async def _look(params: QueueSignalParams, seconds: float, context: ProbeContext) -> list[Queue] | Answer:
    connection = FreshConnection(params, seconds, context.tls() if params.tls else None)
    try:
        await connection.connect()  # type: ignore[no-untyped-call]  # redis-py has no types here
        return await _read(connection, params.prefix)
    except ResponseError as error:
        return _refusal(str(error))
    except (RedisError, ValueError, TypeError, IndexError):
        return told_elsewhere("Redis does not answer as it should")
    finally:
        await connection.abandon()


def _refusal(said: str) -> Answer:
    word = said.partition(" ")[0]
    if word == "NOPERM" or "no permissions" in said:
        return not_available(f"{said}; grant this user +@read on Langfuse's keys (~bull:*)")
    if word in ("MOVED", "ASK", "CROSSSLOT", "CLUSTERDOWN"):
        return not_available("Langfuse's queues are in a Redis cluster, which is not looked into")
    if word == "WRONGTYPE":
        return not_available("keys of these names are no queues of Langfuse's")
    return told_elsewhere(f"Redis refuses to answer ({said})")


async def _read(connection: FreshConnection, prefix: str) -> list[Queue]:
    """Every queue that there is, in two questions. Raises ResponseError where one is refused."""
    firsts = await _ask(connection, [("TIME",), *(one for name in QUEUES for one in _questions(f"{prefix}:{name}"))])
    now = int(firsts[0][0]) * 1000 + int(firsts[0][1]) // 1000
    width = len(_questions(""))
    rows = {name: firsts[1 + at * width : 1 + (at + 1) * width] for at, name in enumerate(QUEUES)}
    rows = {name: row for name, row in rows.items() if row[0]}
    if not rows:
        return []
    heads = {name: _head(row) for name, row in rows.items()}
    asked: list[tuple[str | int, ...]] = []
    for name, row in rows.items():
        key = f"{prefix}:{name}"
        asked.append(("HGET", f"{key}:{heads[name]}", "timestamp"))
        asked.append(("ZCOUNT", f"{key}:failed", now - WINDOW, "+inf"))
        asked.append(("HGET", f"{key}:{text_of(row[9][0]) if row[9] else ''}", "failedReason"))
        asked.append(("ZCOUNT", f"{key}:delayed", "-inf", now * 4096))
    seconds = await _ask(connection, asked)
    return [_queue(name, row, seconds[at * 4 : at * 4 + 4], now) for at, (name, row) in enumerate(rows.items())]


async def _ask(connection: FreshConnection, questions: Iterable[tuple[str | int, ...]]) -> list[Any]:
    answers = await connection.ask(*questions)
    for answer in answers:
        if isinstance(answer, ResponseError):
            raise answer
    return answers


def _questions(key: str) -> list[tuple[str | int, ...]]:
    """What is asked of a queue, each in its place: 0 whether there is one, …, 10 whether it is paused."""
    return [
        ("EXISTS", f"{key}:meta", f"{key}:id"),
        ("LLEN", f"{key}:wait"),
        ("LLEN", f"{key}:paused"),
        ("ZCARD", f"{key}:prioritized"),
        ("LLEN", f"{key}:active"),
        ("LRANGE", f"{key}:wait", -2, -1),
        ("ZRANGE", f"{key}:prioritized", 0, 0),
        ("ZRANGE", f"{key}:delayed", 0, 0, "WITHSCORES"),
        ("LRANGE", f"{key}:active", 0, 9),
        ("ZREVRANGE", f"{key}:failed", 0, 0),
        ("HGET", f"{key}:meta", "paused"),
    ]


def _jobs(row: list[Any]) -> list[str]:
    """The two jobs at the end of `wait`; older versions keep a mark there that is no job."""
    return [job for job in map(text_of, row) if not job.startswith("0:")]


def _head(row: list[Any]) -> str:
    """The job that is to be taken next; "" where none waits."""
    waiting = [*_jobs(row[5])[-1:], *map(text_of, row[6])]
    return waiting[0] if waiting else ""


def _queue(name: str, row: list[Any], more: list[Any], now: int) -> Queue:
    added, given_up, reason, due = more
    delayed = text_of(row[7][0]) if row[7] else ""
    # A delayed job's score is when it is due, in milliseconds, times 4096.
    overdue = (now - float(row[7][1]) / 4096) / 1000 if row[7] else 0.0
    head = _head(row)
    waited = (now - float(added)) / 1000 if head and added else 0.0
    return Queue(
        name=name,
        waiting=max(row[1] - (len(row[5]) - len(_jobs(row[5]))), 0) + row[2] + row[3] + due,
        active=row[4],
        paused=row[10] is not None,
        oldest=max(waited, overdue, 0.0),
        mark=(head, delayed if overdue > 0 else "", frozenset(map(text_of, row[8]))),
        given_up=given_up,
        reason=text_of(reason) if reason else "",
    )


def weigh_waiting(queues: Iterable[Queue], stood: Mapping[str, float], params: QueueSignalParams) -> Answer:
    """Gives what it means that jobs wait like this, where none was taken of a queue for `stood` seconds. Pure."""
    queues = list(queues)
    measures = {
        "jobs_waiting": float(sum(queue.waiting for queue in queues)),
        "jobs_active": float(sum(queue.active for queue in queues)),
        "oldest_job_seconds": max((queue.oldest for queue in queues), default=0.0),
    }
    paused = next((queue for queue in queues if queue.paused and queue.waiting), None)
    if paused:
        text = f"{paused.name} is paused, and {paused.waiting} jobs wait in it"
        return Answer(verdict=Verdict.FAIL, text=text, sign="waiting", code="paused", measures=measures)
    worst = max(queues, key=lambda queue: queue.oldest)
    still = stood.get(worst.name, 0.0) >= STILL
    verdict = graded(worst.oldest, params)
    if verdict == Verdict.PASS:
        text = f"{measures['jobs_waiting']:.0f} jobs wait, the oldest for {span(worst.oldest)}"
        return Answer(verdict=verdict, text=text, measures=measures)
    taken = f"; none was taken for {span(stood[worst.name])}" if still else ""
    text = (
        f"{worst.name}: the oldest job waits for {span(worst.oldest)}; {worst.waiting} wait, "
        f"{worst.active} are worked on{taken}"
    )
    verdict = Verdict.FAIL if still else verdict
    code = "stalled" if still else "behind"
    return Answer(verdict=verdict, text=text, sign="waiting", code=code, measures=measures)


def weigh_failed(queues: Iterable[Queue], params: QueueSignalParams) -> Answer:
    """Gives what it means that these jobs were given up. Pure."""
    queues = list(queues)
    total = sum(queue.given_up for queue in queues)
    measures = {"jobs_given_up": float(total)}
    verdict = graded(total, params)
    if verdict == Verdict.PASS:
        text = f"{total} jobs were given up in the last five minutes"
        return Answer(verdict=verdict, text=text, measures=measures)
    worst = max(queues, key=lambda queue: queue.given_up)
    reason = f"; the newest: {worst.reason}" if worst.reason else ""
    text = f"{total} jobs were given up in the last five minutes, {worst.given_up} of them in {worst.name}{reason}"
    return Answer(verdict=verdict, text=text, sign="failed", code="given_up", measures=measures)
