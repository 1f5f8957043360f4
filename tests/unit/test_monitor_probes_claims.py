"""A sentence claims what was seen, and not what a threshold, which may be any number, makes of it."""

from typing import Any

import pytest

from config.services import Check, Service
from config.signals import ClickhouseSignalParams, PostgresSignalParams, RedisSignalParams
from monitor.diagnose.table import diagnose
from monitor.probes import clickhouse_weigh, postgres_weigh, redis_weigh
from monitor.probes.base import Answer, Evidence, Outcome, Verdict
from monitor.probes.clickhouse_weigh import Row, Seen
from monitor.probes.shared import Samples

LOW: dict[str, Any] = {"warn": 0, "fail": 1}


def postgres(signal: Any) -> PostgresSignalParams:
    return PostgresSignalParams(host="db", user="u", signal=signal, **LOW)


def clickhouse(signal: Any) -> ClickhouseSignalParams:
    return ClickhouseSignalParams(url="http://ch:8123", signal=signal, **LOW)


def redis(signal: Any) -> RedisSignalParams:
    return RedisSignalParams(host="r", signal=signal, **LOW)


def sentence(kind: str, params: Any, answer: Answer) -> str:
    check = Check(name="x", kind=kind, params=params)
    of = Service(name="x", kind="custom", title="It", address="x:1", checks=(check,))
    evidence = Evidence(sight=answer.sight, text=answer.text, code=answer.code, sign=answer.sign)
    found = diagnose(of, check, Outcome(verdict=answer.verdict, latency=0.1, evidence=evidence))
    assert found is not None
    return found.sentence


@pytest.mark.parametrize(
    ("used", "says"), [(1, "than its threshold allows"), (30, "is running out"), (37, "no connection slot left")]
)
def test_connection_slots(used: int, says: str) -> None:
    seen = {"limits": [{"used": used, "most": 37, "of": "the server"}], "holders": [], "dump": ""}
    asked = postgres("slots")
    assert says in sentence("postgres_signal", asked, postgres_weigh.slots(seen, asked))


@pytest.mark.parametrize(("millions", "says"), [(12, "than its threshold allows"), (1_200, "runs out of transaction")])
def test_transaction_numbers(millions: int, says: str) -> None:
    one = {"age": millions * 1_000_000, "database": "app"}
    asked = postgres("wraparound")
    given = postgres_weigh.wraparound({"transactions": one, "multixacts": {**one, "age": 0}}, asked)
    assert says in sentence("postgres_signal", asked, given)


def test_no_transaction_is_no_trouble_of_postgres() -> None:
    seen = {"oldest": None, "prepared": None, "waiting": None, "hidden": 0}
    assert postgres_weigh.transactions(seen, postgres("transactions")).verdict == Verdict.PASS
    assert postgres_weigh.idle_in_transaction(seen, postgres("idle_in_transaction")).verdict == Verdict.PASS


@pytest.mark.parametrize(("used", "says"), [(30, "than its threshold allows"), (90, "runs out of memory")])
def test_memory_of_redis(used: int, says: str) -> None:
    info = {"maxmemory": "100", "used_memory": str(used), "maxmemory_policy": "noeviction"}
    asked = redis("memory")
    given = redis_weigh.memory(info, asked, redis_weigh.Memory(Samples(), "r", 0.0))
    assert says in sentence("redis_signal", asked, given)


@pytest.mark.parametrize("signal", ["evicted", "rejected", "restarts"])
def test_what_did_not_happen_is_no_trouble_of_redis(signal: str) -> None:
    info = {"run_id": "a", "evicted_keys": "3", "rejected_connections": "3"}
    samples: Samples[Any] = Samples()
    asked = RedisSignalParams(host="r", signal=signal, fail=0)  # type: ignore[arg-type]  # one of its signals
    given = [getattr(redis_weigh, signal)(info, asked, redis_weigh.Memory(samples, "r", at)) for at in (0.0, 60.0)]
    assert [one.verdict for one in given] == [Verdict.PASS, Verdict.PASS]


def row(tag: str, **values: object) -> Row:
    return Row(tag, {name: str(value) for name, value in values.items()})


@pytest.mark.parametrize(("free", "says"), [(60, "is fuller than its threshold"), (10, "runs full")])
def test_a_disk_of_clickhouse(free: int, says: str) -> None:
    size = 1 << 30
    disk = row("disk", name="default", free=free * size, total=100 * size, unreserved=free * size)
    asked = clickhouse("disk")
    memory = clickhouse_weigh.Memory(Samples(), "ch", 0.0)
    assert says in sentence("clickhouse_signal", asked, clickhouse_weigh.disk(Seen.of([disk]), asked, memory))


@pytest.mark.parametrize(
    ("parts", "says"),
    [(12, "with more of them"), (1_000, "are delayed, and refused soon"), (3_000, "are refused (252)")],
)
def test_parts_of_clickhouse(parts: int, says: str) -> None:
    limits = [row("limit", name=f"parts_to_{word}_insert", value=n) for word, n in (("delay", 1000), ("throw", 3000))]
    seen = Seen.of([*limits, row("partition", table="default.t", partition="all", parts=parts)])
    asked = clickhouse("parts")
    given = clickhouse_weigh.parts(seen, asked, clickhouse_weigh.Memory(Samples(), "ch", 0.0))
    assert says in sentence("clickhouse_signal", asked, given)


def test_logs_smaller_than_the_data_and_errors_that_did_not_happen_are_no_trouble_of_clickhouse() -> None:
    samples: Samples[Any] = Samples()
    for at in (0.0, 60.0):
        memory = clickhouse_weigh.Memory(samples, "ch", at)
        assert clickhouse_weigh.errors(Seen.of([]), clickhouse("errors"), memory).verdict == Verdict.PASS
    seen = Seen.of([row("database", name="default", bytes=10, logs=0), row("database", name="system", bytes=5, logs=5)])
    assert clickhouse_weigh.logs(seen, clickhouse("logs"), memory).verdict == Verdict.PASS
