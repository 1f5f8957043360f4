"""The way of an event through Langfuse over time: its contract servers, and BullMQ's structures in a real Valkey."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis

from config.causes import Cause
from config.secret import Secret
from config.services import Check, Service
from config.signals import LangfuseSignalParams, QueueSignalParams
from demo.contract import Contract
from demo.contracts.wire import WIRE_FAULTS
from demo.queues import NO_BUCKET, NO_MEMORY, Queues
from demo.valkey import Valkey
from monitor.diagnose.table import diagnose
from monitor.probes.base import UNDER_WAY, Outcome, Sight
from monitor.probes.queue_signal import STILL

ContractFactory = Callable[..., Contract]
INGESTION = "POST /api/public/ingestion"
SECRET = "sk-lf-demo"


def trace(server: Contract, **changes: Any) -> LangfuseSignalParams:
    values: dict[str, Any] = {"signal": "trace", "public_key": Secret("pk-lf-demo"), "secret_key": Secret(SECRET)}
    return LangfuseSignalParams(url=server.url, **{"warn": 180, "fail": 600, **values, **changes})


def propagation(worker: Contract, web: Contract | None) -> LangfuseSignalParams:
    address = web.url if web else None
    return LangfuseSignalParams(url=worker.url, signal="propagation", web=address, warn=1200, fail=3600)


def seen(outcome: Outcome) -> tuple[str, str]:
    """The verdict and the code; "n/a" for what is not available."""
    return (outcome.verdict.value if outcome.available else "n/a"), outcome.evidence.code


def cause(kind: str, outcome: Outcome) -> Cause | None:
    check = Check(name="x", kind=kind, params=LangfuseSignalParams(url="http://l", signal="trace"))
    of = Service(name="langfuse", kind="langfuse-web", title="Langfuse", address="http://l", checks=(check,))
    told = diagnose(of, check, outcome)
    if told:
        assert "Langfuse" in told.sentence
        assert len(told.remedy) > 60
    return told.cause if told else None


def test_a_trace_is_written_once_in_its_interval_and_seen_to_arrive(contract: ContractFactory, over: Any) -> None:
    server = contract("langfuse-web")

    async def act(watcher: Any) -> None:
        first = await watcher.ask("langfuse_signal", trace(server))
        assert seen(first) == ("pass", UNDER_WAY)
        assert "on its way" in first.evidence.text
        watcher.wait(60)
        there = await watcher.ask("langfuse_signal", trace(server))
        assert seen(there) == ("pass", "")
        assert there.measures["trace_round_trip_seconds"] == pytest.approx(60, abs=5)
        for _ in range(13):
            watcher.wait(60)
            assert seen(await watcher.ask("langfuse_signal", trace(server))) == ("pass", "")
        assert server.seen[INGESTION] == 1
        watcher.wait(60)
        await watcher.ask("langfuse_signal", trace(server))
        assert server.seen[INGESTION] == 2

    over(act)


def test_a_trace_that_does_not_arrive_is_told_until_another_does(contract: ContractFactory, over: Any) -> None:
    server = contract("langfuse-web", fault="traces_lost")

    async def act(watcher: Any) -> None:
        for _ in range(10):
            assert seen(await watcher.ask("langfuse_signal", trace(server))) == ("pass", UNDER_WAY)
            watcher.wait(60)
        for _ in range(12):
            lost = await watcher.ask("langfuse_signal", trace(server))
            assert seen(lost) == ("fail", "lost")
            watcher.wait(60)
        assert cause("langfuse_signal", lost) == Cause.STUCK
        assert 2 <= server.seen[INGESTION] <= 4
        server.mend()
        for _ in range(2):
            watcher.wait(900)
            await watcher.ask("langfuse_signal", trace(server))
            watcher.wait(60)
            last = await watcher.ask("langfuse_signal", trace(server))
        assert seen(last) == ("pass", "")

    over(act)


def test_a_trace_that_comes_late_is_a_warning(contract: ContractFactory, over: Any) -> None:
    server = contract("langfuse-web", fault="traces_lost")

    async def act(watcher: Any) -> None:
        for _ in range(2):
            assert seen(await watcher.ask("langfuse_signal", trace(server))) == ("pass", UNDER_WAY)
            watcher.wait(120)
        server.mend()
        late = await watcher.ask("langfuse_signal", trace(server))
        assert (seen(late), cause("langfuse_signal", late)) == (("warn", "slow"), Cause.LAGGING)

    over(act)


@pytest.mark.parametrize(
    ("fault", "expected", "means"),
    [
        ("bucket_missing", ("fail", "bucket"), Cause.DEPENDENCY),
        ("keys_changed", ("fail", "auth"), Cause.AUTH),
        ("suspended", ("fail", "suspended"), Cause.CAPACITY),
        ("http_500", ("fail", "refused"), Cause.SERVER_ERROR),
        ("not_found", ("n/a", ""), None),
        ("redirect", ("n/a", ""), None),
        ("refuse", ("n/a", ""), None),
        ("hang", ("n/a", ""), None),
    ],
)
def test_a_trace_that_is_not_taken(
    contract: ContractFactory, over: Any, fault: str, expected: tuple[str, str], means: Cause | None
) -> None:
    server = contract("langfuse-web", fault=fault)

    async def act(watcher: Any) -> None:
        outcome = await watcher.ask("langfuse_signal", trace(server), timeout=1.0)
        assert (seen(outcome), cause("langfuse_signal", outcome)) == (expected, means)
        server.mend()
        await watcher.ask("langfuse_signal", trace(server))
        watcher.wait(60)
        assert seen(await watcher.ask("langfuse_signal", trace(server))) == ("pass", "")

    over(act)


def test_a_trace_that_cannot_be_read_is_not_a_lost_one(contract: ContractFactory, over: Any) -> None:
    server = contract("langfuse-web")

    async def act(watcher: Any) -> None:
        await watcher.ask("langfuse_signal", trace(server))
        server.break_with("queries_fail")
        watcher.wait(60)
        outcome = await watcher.ask("langfuse_signal", trace(server))
        assert (seen(outcome), cause("langfuse_signal", outcome)) == (("fail", "unreadable"), Cause.DEPENDENCY)

    over(act)


def test_in_version_4s_newest_mode_a_span_is_written(contract: ContractFactory, over: Any) -> None:
    server = contract("langfuse-web", events_only=True)

    async def act(watcher: Any) -> None:
        await watcher.ask("langfuse_signal", trace(server))
        watcher.wait(60)
        there = await watcher.ask("langfuse_signal", trace(server))
        assert "was there after" in there.evidence.text
        watcher.wait(900)
        await watcher.ask("langfuse_signal", trace(server))
        assert (server.seen[INGESTION], server.seen["POST /api/public/otel/v1/traces"]) == (1, 2)

    over(act)


def test_events_that_are_not_passed_on_are_told_only_while_events_arrive(contract: ContractFactory, over: Any) -> None:
    worker, web = contract("langfuse-worker"), contract("langfuse-web")
    asked = propagation(worker, web)

    async def look(watcher: Any, minutes: int) -> Outcome:
        for _ in range(minutes):
            outcome: Outcome = await watcher.ask("langfuse_signal", asked)
            watcher.wait(60)
        return outcome

    async def act(watcher: Any) -> None:
        well = await look(watcher, 3)
        assert seen(well) == ("pass", "")
        assert well.measures == {"propagation_delay_seconds": 240.0}
        worker.break_with("propagation_behind")
        web.break_with("idle")
        assert seen(await look(watcher, 90)) == ("pass", "")
        web.mend()
        assert seen(await look(watcher, 19)) == ("pass", "")
        late = await look(watcher, 5)
        assert (seen(late), cause("langfuse_signal", late)) == (("warn", "behind"), Cause.LAGGING)
        assert "for 23 min none was passed on" in late.evidence.text
        assert seen(await look(watcher, 45)) == ("fail", "behind")
        worker.mend()
        assert seen(await look(watcher, 1)) == ("pass", "")

    over(act)


@pytest.mark.parametrize(
    ("settings", "web", "why"),
    [
        ({"version": "4.14.0"}, True, "does not tell how far behind"),
        ({"write_mode": "legacy"}, True, "by its settings"),
        ({}, False, "set LANGFUSE_URL"),
        ({"fault": "db_down"}, True, "which another check tells"),
        ({"fault": "refuse"}, True, "does not answer"),
    ],
)
def test_what_no_propagation_can_be_told_of(
    contract: ContractFactory, over: Any, settings: dict[str, Any], web: bool, why: str
) -> None:
    asked = propagation(contract("langfuse-worker", **settings), contract("langfuse-web") if web else None)
    outcome = over(lambda watcher: watcher.ask("langfuse_signal", asked))
    assert seen(outcome)[0] == "n/a"
    assert why in outcome.evidence.text


@pytest.mark.parametrize("fault", [name for name in WIRE_FAULTS if name not in ("waking", "flapping", "slow")])
@pytest.mark.parametrize("signal", ["trace", "propagation"])
def test_whatever_is_wrong_with_the_answer_breaks_nothing(
    contract: ContractFactory, over: Any, signal: str, fault: str
) -> None:
    server = contract("langfuse-web", fault=fault)
    asked = trace(server) if signal == "trace" else propagation(server, server)
    outcome = over(lambda watcher: watcher.ask("langfuse_signal", asked, timeout=0.5))
    assert outcome.evidence.sight in (Sight.NOT_ASKED, Sight.ANSWERED)
    assert outcome.latency < 1.0
    assert SECRET not in outcome.evidence.text


# The queues.


@pytest.fixture
def queues(valkey: Valkey, request: Any) -> Iterator[Queues]:
    """Queues under a prefix of this test's own, in the shared server."""
    with valkey.client() as client:
        own = Queues(client, f"{{{request.node.name[:60]}}}")
        yield own
        own.clear()


def waiting(valkey: Valkey, queues: Queues, **changes: Any) -> QueueSignalParams:
    values: dict[str, Any] = {"signal": "waiting", "warn": 300, "fail": 900, "prefix": queues.prefix}
    login = {"host": valkey.host, "port": valkey.port, "password": Secret(valkey.password or "")}
    return QueueSignalParams(**{**login, **values, **changes})


def test_a_queue_that_stands_is_told_from_one_that_is_late(valkey: Valkey, queues: Queues, over: Any) -> None:
    asked = waiting(valkey, queues)

    async def act(watcher: Any) -> None:
        queues.add(3, age=400)
        behind = await watcher.ask("queue_signal", asked)
        assert (seen(behind), cause("queue_signal", behind)) == (("warn", "behind"), Cause.LAGGING)
        for _ in range(6):
            queues.add(2)
            queues.take()
            watcher.wait(60)
            outcome = await watcher.ask("queue_signal", asked)
        assert outcome.evidence.code in ("", "behind")
        queues.clear()
        queues.add(3, age=400)
        watcher.wait(60)
        for _ in range(int(STILL / 60)):
            assert (await watcher.ask("queue_signal", asked)).evidence.code == "behind"
            queues.add(2)
            watcher.wait(60)
        stands = await watcher.ask("queue_signal", asked)
        assert (seen(stands), cause("queue_signal", stands)) == (("fail", "stalled"), Cause.STUCK)
        assert "none was taken for 4 min" in stands.evidence.text
        assert stands.measures["jobs_waiting"] == 11
        queues.take()
        watcher.wait(10)
        assert (await watcher.ask("queue_signal", asked)).evidence.code == "behind"

    over(act)


def test_a_queue_that_was_gone_does_not_stand_since_before(valkey: Valkey, queues: Queues, over: Any) -> None:
    asked = waiting(valkey, queues)

    async def act(watcher: Any) -> None:
        for _ in range(2):
            queues.add(3, age=400)  # after FLUSHALL the numbers of jobs begin anew: the same job, by its number
            for _ in range(int(STILL / 60)):
                assert (await watcher.ask("queue_signal", asked)).evidence.code == "behind"
                watcher.wait(60)
            assert (await watcher.ask("queue_signal", asked)).evidence.code == "stalled"
            queues.clear()
            watcher.wait(10)
            assert not (await watcher.ask("queue_signal", asked)).available
            watcher.wait(10)

    over(act)


def test_what_langfuse_delays_counts_once_it_is_due(valkey: Valkey, queues: Queues, over: Any) -> None:
    async def act(watcher: Any) -> None:
        queues.delay(4, overdue=-60)
        assert seen(await watcher.ask("queue_signal", waiting(valkey, queues))) == ("pass", "")
        queues.delay(4, overdue=1000)
        watcher.wait(60)
        due = await watcher.ask("queue_signal", waiting(valkey, queues))
        assert seen(due) == ("fail", "behind")
        assert "the oldest job waits for 17 min; 4 wait" in due.evidence.text

    over(act)


def test_a_paused_queue(valkey: Valkey, queues: Queues, over: Any) -> None:
    queues.add(2)
    queues.pause()
    paused = over(lambda watcher: watcher.ask("queue_signal", waiting(valkey, queues)))
    assert (seen(paused), cause("queue_signal", paused)) == (("fail", "paused"), Cause.STUCK)


@pytest.mark.parametrize(
    ("reason", "means"),
    [(NO_MEMORY, Cause.DEPENDENCY), (NO_BUCKET, Cause.NOT_FOUND), ("TypeError: x is undefined", Cause.SERVER_ERROR)],
)
def test_jobs_that_are_given_up_are_told_with_the_reason(
    valkey: Valkey, queues: Queues, over: Any, reason: str, means: Cause
) -> None:
    asked = waiting(valkey, queues, signal="failed", warn=5, fail=20)

    async def act(watcher: Any) -> None:
        queues.give_up(30, reason="long ago", age=3600)
        assert seen(await watcher.ask("queue_signal", asked)) == ("pass", "")
        queues.give_up(6, reason=reason)
        watcher.wait(60)
        some = await watcher.ask("queue_signal", asked)
        assert (seen(some), cause("queue_signal", some)) == (("warn", "given_up"), means)
        assert reason in some.evidence.text
        queues.give_up(15, reason=reason)
        watcher.wait(60)
        assert seen(await watcher.ask("queue_signal", asked)) == ("fail", "given_up")

    over(act)


def test_both_signals_of_a_redis_share_one_look(valkey: Valkey, queues: Queues, over: Any) -> None:
    queues.add(1)
    with valkey.client() as client:
        before = client.info("stats")["total_connections_received"]

        async def act(watcher: Any) -> None:
            for signal in ("waiting", "failed"):
                await watcher.ask("queue_signal", waiting(valkey, queues, signal=signal))

        over(act)
        assert client.info("stats")["total_connections_received"] - before <= 3  # others may look at this server too


def test_where_no_queue_can_be_seen(valkey: Valkey, queues: Queues, over: Any) -> None:
    def told(**changes: Any) -> str:
        outcome = over(lambda watcher: watcher.ask("queue_signal", waiting(valkey, queues, **changes)))
        assert seen(outcome)[0] == "n/a"
        return str(outcome.evidence.text)

    assert "LANGFUSE_REDIS_KEY_PREFIX" in told()
    assert told(password=Secret("wrong-password")).startswith("not asked")
    assert told(password=None).startswith("not asked")
    assert told(port=1).startswith("not asked")
    with valkey.client() as client:
        client.set(f"{queues.prefix}:ingestion-queue:meta", "text")
        assert "no queues of Langfuse's" in told()
        client.delete(f"{queues.prefix}:ingestion-queue:meta")
        queues.add(1)
        client.acl_setuser("narrow", enabled=True, passwords=["+narrow"], keys=["*"], commands=["+ping", "+time"])
        try:
            assert "grant this user +@read" in told(user="narrow", password=Secret("narrow"))
        finally:
            client.acl_deluser("narrow")


def test_a_look_changes_nothing(valkey: Valkey, queues: Queues, over: Any) -> None:
    queues.add(3, age=10)
    queues.delay(3, overdue=10)
    queues.give_up(3, reason="x")

    def everything(client: "redis.Redis") -> dict[str, bytes | None]:
        return {key: client.dump(key) for key in sorted(client.scan_iter(f"{queues.prefix}:*"))}

    with valkey.client() as client:
        before = everything(client)
        over(lambda watcher: watcher.ask("queue_signal", waiting(valkey, queues)))
        assert everything(client) == before
