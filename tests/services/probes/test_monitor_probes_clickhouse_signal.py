"""ClickHouse's signals, each provoked on the real engine; users of few rights, and what answers as no ClickHouse does.

With CLICKHOUSE_TEST_URL (user and password in it, percent-encoded where they must be) what breaks nothing is asked of
that server too, and its user may make tables and users.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import httpx
import pytest

from config.causes import Cause
from config.secret import Secret
from config.services import Check, Service
from config.signals import ClickhouseSignalParams
from demo.clickhouse import NO_TLS, Clickhouse
from demo.process import DemoError, Keeper
from demo.seaweedfs import Seaweedfs
from monitor.diagnose.base import Diagnosis
from monitor.diagnose.table import diagnose
from monitor.probes.base import Outcome, Verdict
from monitor.probes.clickhouse_queries import HEAVY
from monitor.probes.clickhouse_signal import SIGNALS

ALL = (*SIGNALS, "memory")
MINUTE = tuple(signal for signal in ALL if signal not in ("size", "logs", "memory"))
SECRET = "canary-p\\w'é%40"


class Second(Clickhouse):
    """Another server than the shared one."""

    name = "clickhouse-signals"


class Given:
    """The server of CLICKHOUSE_TEST_URL, as far as these tests need it."""

    def __init__(self, text: str) -> None:
        parts = urlsplit(text)
        self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self.user, self.password = unquote(parts.username or "default"), unquote(parts.password or "")

    def query(self, sql: str, *, settings: dict[str, str] | None = None) -> str:
        headers = {"X-ClickHouse-User": self.user, "X-ClickHouse-Key": self.password}
        whole = {"wait_end_of_query": "1", **(settings or {})}
        said = httpx.post(self.url, content=sql, params=whole, headers=headers, timeout=60, verify=NO_TLS)
        if not said.is_success:
            raise DemoError(said.text)
        return said.text


@pytest.fixture(scope="module")
def engine(keeper: Keeper) -> Iterator[Clickhouse]:
    one = Second(seed=0, keeper=keeper).start()
    yield one
    one.close()


OWN = os.environ.get("CLICKHOUSE_TEST_URL", "")


@pytest.fixture(params=["engine", *(["given"] if OWN else [])])
def server(request: Any, engine: Clickhouse) -> Clickhouse | Given:
    return Given(OWN) if request.param == "given" else engine


def params(server: Any, signal: str, **changes: Any) -> ClickhouseSignalParams:
    values = {"url": server.url, "user": server.user, "password": Secret(server.password), "signal": signal}
    return ClickhouseSignalParams(**(values | changes))


def looks(
    run: Any, asked: ClickhouseSignalParams, *between: Callable[[], object], timeout: float = 5.0
) -> list[Outcome]:
    """A look, and one more after each of `between`, by one daemon that remembers the earlier ones."""

    async def act(scene: Any) -> list[Outcome]:
        outcomes = [await scene.ask("clickhouse_signal", asked, timeout=timeout)]
        for step in between:
            await asyncio.to_thread(step)
            scene.context._answers._flights.clear()  # as if two seconds had passed
            outcomes.append(await scene.ask("clickhouse_signal", asked, timeout=timeout))
        return outcomes

    result: list[Outcome] = run(act)
    return result


def once(run: Any, asked: ClickhouseSignalParams, *, timeout: float = 5.0) -> Outcome:
    return looks(run, asked, timeout=timeout)[0]


def told(asked: ClickhouseSignalParams, outcome: Outcome) -> Diagnosis:
    check = Check(name=asked.signal, kind="clickhouse_signal", params=asked)
    service = Service(
        name="ch",
        kind="clickhouse",
        title="ClickHouse",
        address="ch:8123",
        checks=(check,),
        remedies={Cause.CAPACITY: "the preset's own"},
    )
    diagnosis = diagnose(service, check, outcome)
    assert diagnosis is not None
    assert "preset" not in diagnosis.remedy
    return diagnosis


def test_a_server_that_is_well_passes_every_signal(run: Any, server: Any) -> None:
    seen = {signal: once(run, params(server, signal, warn=98.5, fail=99.5)) for signal in MINUTE}
    seen |= {signal: once(run, params(server, signal)) for signal in ("size", "logs", "memory")}
    assert {name: one.evidence.text for name, one in seen.items() if one.verdict != Verdict.PASS} == {}
    assert all(one.available for one in seen.values())
    assert seen["disk"].measures["disk_free_bytes"] > 0


@pytest.fixture
def table(server: Any) -> Iterator[str]:
    name = f"default.signals_{uuid4().hex[:8]}"
    yield name
    server.query(f"DROP TABLE IF EXISTS {name} SYNC")


def test_parts_up_to_the_throw_limit_and_the_insert_beyond(run: Any, server: Any, table: str) -> None:
    limits = "parts_to_delay_insert = 10, parts_to_throw_insert = 12"
    server.query(f"CREATE TABLE {table} (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS {limits}")
    server.query(f"SYSTEM STOP MERGES {table}")
    for number in range(12):
        server.query(f"INSERT INTO {table} SELECT {number}")
    asked = params(server, "parts", warn=70, fail=100)
    full = once(run, asked)
    assert full.verdict == Verdict.FAIL
    assert (
        f"12 parts in partition all of {table}; inserts are delayed from 10 and refused from 12" in full.evidence.text
    )
    assert told(asked, full).cause == Cause.CAPACITY

    def one_more() -> None:
        with pytest.raises(DemoError, match="252"):
            server.query(f"INSERT INTO {table} SELECT 13")

    refused = params(server, "errors", warn=3, fail=20)
    first, second = looks(run, refused, one_more)
    assert first.verdict == Verdict.PASS
    assert (second.verdict, second.evidence.code) == (Verdict.FAIL, "252")
    assert "Too many parts (12 with average size" in second.evidence.text
    assert told(refused, second).cause == Cause.CAPACITY


def test_a_mutation_that_fails_is_told_with_its_reason(run: Any, server: Any, table: str) -> None:
    server.query(f"CREATE TABLE {table} (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
    server.query(f"INSERT INTO {table} SELECT number, 'b' FROM numbers(8)")
    change = "UPDATE b = toString(throwIf(a = 3, 'it cannot be')) WHERE 1"
    server.query(f"ALTER TABLE {table} {change}", settings={"mutations_sync": "0"})
    asked = params(server, "mutations", warn=0, fail=3600)
    for _ in range(100):
        outcome = once(run, asked)
        if outcome.verdict != Verdict.PASS:
            break
        time.sleep(0.05)
    assert outcome.verdict == Verdict.WARN
    assert table in outcome.evidence.text
    assert "it cannot be" in outcome.evidence.text
    assert told(asked, outcome).cause == Cause.STUCK


def test_queries_refused_for_memory_are_counted(run: Any, server: Any) -> None:
    def refused(times: int) -> None:
        for _ in range(times):
            with pytest.raises(DemoError, match="241"):
                server.query(HEAVY.decode(), settings={"max_memory_usage": "9000000"})

    asked = params(server, "errors", warn=3, fail=200)
    outcomes = looks(run, asked, lambda: None, lambda: refused(3))
    assert [one.verdict for one in outcomes] == [Verdict.PASS, Verdict.PASS, Verdict.WARN]
    assert outcomes[-1].evidence.code == "241"
    assert told(asked, outcomes[-1]).cause == Cause.CAPACITY


def test_a_query_that_runs_for_long_is_told_and_ours_is_not(run: Any, server: Any) -> None:
    asked = params(server, "queries", warn=0)
    quiet = once(run, asked)

    async def act(scene: Any) -> Outcome:
        sleep = "SELECT sleepEachRow(1), 'a secret of somebody' FROM numbers(4) SETTINGS max_block_size = 1"
        long = asyncio.create_task(asyncio.to_thread(server.query, sleep))
        await asyncio.sleep(1.3)
        outcome: Outcome = await scene.ask("clickhouse_signal", asked, timeout=5.0)
        server.query("KILL QUERY WHERE query LIKE '%secret of somebody%' ASYNC")
        with suppress(DemoError):
            await long
        return outcome

    outcome: Outcome = run(act)
    assert quiet.evidence.text == "no query runs"
    assert outcome.verdict == Verdict.WARN
    assert "sleepEachRow" in outcome.evidence.text
    assert "secret" not in outcome.evidence.text
    assert told(asked, outcome).cause == Cause.STUCK


def test_a_backup_may_take_as_long_as_it_takes(run: Any, engine: Clickhouse, seaweedfs: Seaweedfs) -> None:
    engine.query("CREATE TABLE default.slow (a UInt64, b String CODEC(NONE)) ENGINE = MergeTree ORDER BY a")
    engine.query("INSERT INTO default.slow SELECT number, randomString(1000) FROM numbers(5000)")
    place = f"S3('http://127.0.0.1:{seaweedfs.port}/backups/{uuid4().hex}', '{seaweedfs.access_key}', "
    backup = f"BACKUP TABLE default.slow TO {place}'{seaweedfs.secret_key}') ASYNC"
    engine.query(backup, settings={"max_backup_bandwidth": "1000000"})
    outcome = once(run, params(engine, "queries", warn=0))
    runs = engine.query("SELECT count() FROM system.processes WHERE query LIKE 'BACKUP%'")
    engine.query("KILL QUERY WHERE query LIKE 'BACKUP%' ASYNC")
    engine.query("DROP TABLE default.slow")
    assert runs == "1\n"
    assert outcome.evidence.text == "no query runs"


def test_logs_of_its_own_are_called_out(run: Any, engine: Clickhouse) -> None:
    engine.query("SYSTEM FLUSH LOGS")
    asked = params(engine, "logs", warn=1)
    outcome = once(run, asked)
    assert outcome.verdict == Verdict.WARN
    assert "system.query_log" in outcome.evidence.text
    assert told(asked, outcome).cause == Cause.MISCONFIGURED


def test_what_memory_disk_and_a_restart_do(run: Any, engine: Clickhouse) -> None:
    memory, full = params(engine, "memory"), params(engine, "disk", warn=85, fail=95)
    errors = params(engine, "errors", warn=3, fail=20)
    try:
        engine.starve()
        starved = once(run, memory)
        engine.query("CREATE TABLE default.full (a UInt64) ENGINE = MergeTree ORDER BY a")
        engine.fill_disk()
        filled = once(run, full)

        def refused() -> None:
            with pytest.raises(DemoError, match="243"):
                engine.query("INSERT INTO default.full SELECT 1")

        _, second, third = looks(run, errors, refused, engine.ease)
    finally:
        engine.ease()
        engine.query("DROP TABLE IF EXISTS default.full SYNC")
    assert (starved.verdict, starved.evidence.code) == (Verdict.FAIL, "241")
    assert told(memory, starved).cause == Cause.CAPACITY
    assert (filled.verdict, filled.evidence.code) == (Verdict.FAIL, "full")
    assert "100 % full" in filled.evidence.text
    assert told(full, filled).cause == Cause.CAPACITY
    assert (second.verdict, second.evidence.code) == (Verdict.FAIL, "243")
    assert told(errors, second).cause == Cause.CAPACITY
    assert third.verdict == Verdict.PASS  # a restart: its counts began anew


class Wire:
    """A ClickHouse that lets its user do little: what is refused, and every statement it was sent."""

    def __init__(self, page: Any, engine: Clickhouse) -> None:
        self._page = page
        self._engine = engine
        self.refusals: list[
            tuple[str, int, str]
        ] = []  # what a request holds, and the code and words it is refused with
        self.sent: list[str] = []

    async def __call__(self, reader: Any, writer: Any) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next(line for line in head.lower().split("\r\n") if line.startswith("content-length"))
        sent = head.split(" ")[1] + "\n" + (await reader.readexactly(int(length.partition(":")[2]))).decode()
        self.sent.append(sent)
        refusal = next((one for one in self.refusals if one[0] in sent), None)
        if refusal:
            text = f"Code: {refusal[1]}. DB::Exception: watch: {refusal[2]}. (NAME) (version 24.8)"
            answer = self._page(text.encode(), status=403, x_clickhouse_exception_code=str(refusal[1]))
        else:
            answer = self._page((await asyncio.to_thread(self._engine.query, sent.partition("\n")[2])).encode())
        writer.write(answer)
        await writer.drain()
        writer.close()


def ask_all(run: Any, wire: Wire, *, times: int = 1) -> tuple[dict[str, Outcome], int]:
    """Every signal asked at one moment, so often by one daemon; how the last went, and how many requests that took."""

    async def act(scene: Any) -> tuple[dict[str, Outcome], int]:
        stage = await scene.serve(wire)
        server = type("At", (), {"url": f"http://127.0.0.1:{stage.port}", "user": "watch", "password": SECRET})
        for _ in range(times):
            scene.context._answers._flights.clear()
            before = stage.taken
            asked = [scene.ask("clickhouse_signal", params(server, name), timeout=5.0) for name in ALL]
            outcomes = await asyncio.gather(*asked)
        return dict(zip(ALL, outcomes, strict=True)), stage.taken - before

    result: tuple[dict[str, Outcome], int] = run(act)
    return result


@pytest.fixture
def wire(page: Any, engine: Clickhouse) -> Wire:
    return Wire(page, engine)


def test_all_signals_take_three_requests_with_bounds_and_no_trace_in_the_log(run: Any, wire: Wire) -> None:
    seen, requests = ask_all(run, wire)
    assert all(one.available for one in seen.values())
    assert requests == 3  # the minute's, the five minutes', and the one that takes memory
    assert all("log_queries=0" in sent for sent in wire.sent)
    assert sum("max_execution_time=4&" in sent or "max_execution_time=4\n" in sent for sent in wire.sent) == 2
    assert sum("memory_usage_overcommit_max_wait_microseconds=0" in sent for sent in wire.sent) == 1


def test_a_profile_that_is_read_only_is_asked_without_settings(run: Any, wire: Wire) -> None:
    wire.refusals = [("log_queries", 164, "Cannot modify 'log_queries' setting in readonly mode")]
    seen, requests = ask_all(run, wire, times=2)
    assert {name for name, one in seen.items() if not one.available} == {"memory"}
    assert "readonly = 2" in seen["memory"].evidence.text
    assert requests == 2  # it was learned: no question is asked in vain


def test_what_is_not_granted_is_not_available_with_what_to_grant(run: Any, wire: Wire) -> None:
    words = (
        "Not enough privileges. To execute this query, it's necessary to have the grant SELECT(name) ON system.disks"
    )
    wire.refusals = [("system.disks", 497, words), ("system.mutations", 60, "Unknown table system.mutations")]
    seen, requests = ask_all(run, wire, times=2)
    assert {name for name, one in seen.items() if not one.available} == {"disk", "mutations"}
    assert all(one.verdict == Verdict.PASS for one in seen.values())
    assert "GRANT SELECT ON system.* TO watch" in seen["disk"].evidence.text
    assert seen["mutations"].evidence.text.startswith("not available: this version does not tell it (60")
    assert requests == 3
    assert SECRET not in str(seen)


def test_what_was_granted_is_asked_again_after_an_hour(over: Any, page: Any, engine: Clickhouse) -> None:
    wire = Wire(page, engine)
    wire.refusals = [("system.disks", 497, "Not enough privileges")]

    async def act(watcher: Any) -> list[bool]:
        server = await asyncio.start_server(wire, "127.0.0.1", 0)
        at = type(
            "At", (), {"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", "user": "w", "password": "p"}
        )
        available = []
        async with server:
            for _ in range(3):
                outcome = await watcher.ask("clickhouse_signal", params(at, "disk", warn=99.9))
                available.append(outcome.available)
                wire.refusals = []
                watcher.wait(1801)
        return available

    assert over(act) == [False, False, True]


@pytest.mark.parametrize("code", [241, 243, 252, 76])
def test_our_own_question_refused_for_want_of_something_is_one_of_the_refusals(run: Any, wire: Wire, code: int) -> None:
    wire.refusals = [("SELECT", code, "(total) memory limit exceeded")]
    seen, _ = ask_all(run, wire)
    assert {name for name, one in seen.items() if one.verdict != Verdict.PASS} == {"errors", "memory"}
    assert {seen[name].evidence.code for name in ("errors", "memory")} == {str(code)}


@pytest.mark.parametrize("code", [516, 202, 201, 394, 195])
def test_what_select_1_is_refused_with_is_told_by_the_plain_check_alone(run: Any, wire: Wire, code: int) -> None:
    wire.refusals = [("SELECT", code, f"no, {SECRET}")]
    seen, _ = ask_all(run, wire)
    assert all(one.verdict == Verdict.PASS and not one.available for one in seen.values())
    assert all("which another check tells" in one.evidence.text for one in seen.values())
    assert SECRET not in str(seen)


def test_a_limit_of_our_own_users_is_no_trouble_of_the_server(run: Any, wire: Wire) -> None:
    wire.refusals = [("arraySum", 241, "Memory limit (for query) exceeded: would use 61.00 MiB")]
    seen, _ = ask_all(run, wire)
    assert not seen["memory"].available


def test_rows_that_quote_an_exception_are_no_exception(run: Any, page: Any, say: Any) -> None:
    rows = (
        b'{"tag":"server","row":{"uptime":"5"}}\n{"tag":"mutation","row":{"table":"d.t","id":"m","age":"9",'
        b'"reason":"Code: 241. DB::Exception: Memory limit (MEMORY_LIMIT_EXCEEDED)"}}\n'
    )

    async def act(scene: Any) -> Outcome:
        stage = await scene.serve(say(page(rows)))
        server = type("At", (), {"url": f"http://127.0.0.1:{stage.port}", "user": "w", "password": "p"})
        outcome: Outcome = await scene.ask("clickhouse_signal", params(server, "mutations", warn=0))
        return outcome

    outcome: Outcome = run(act)
    assert (outcome.verdict, outcome.evidence.sign) == (Verdict.WARN, "mutations")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"Ok.\n",
        b"<html></html>",
        b"{",
        b"[1]\n",
        b'{"tag":"disk","row":{}}\n',
        b'{"tag":"server","row":[]}\n',
        b"\xff\xfe\n",
        b'{"tag":' * 5000,
        b'{"tag":"server","row":{"uptime":"1"}}\n' + b'{"tag":"disk"',
    ],
)
@pytest.mark.parametrize("signal", ["disk", "size", "memory"])
def test_what_answers_as_no_clickhouse_does_is_told_by_the_plain_checks(
    run: Any, page: Any, say: Any, body: bytes, signal: str
) -> None:
    async def act(scene: Any) -> Outcome:
        stage = await scene.serve(say(page(body)))
        server = type("At", (), {"url": f"http://127.0.0.1:{stage.port}", "user": "w", "password": "p"})
        outcome: Outcome = await scene.ask("clickhouse_signal", params(server, signal))
        return outcome

    outcome: Outcome = run(act)
    assert outcome.verdict == Verdict.PASS
    assert not outcome.available


@pytest.mark.parametrize("signal", ["errors", "memory"])
def test_a_server_that_is_gone_or_silent_was_not_asked(run: Any, silent: Any, free_port: int, signal: str) -> None:
    async def act(scene: Any) -> Outcome:
        stage = await scene.serve(silent)
        server = type("At", (), {"url": f"http://127.0.0.1:{stage.port}", "user": "w", "password": "p"})
        outcome: Outcome = await scene.ask("clickhouse_signal", params(server, signal), timeout=1.0)
        await scene.context.aclose()
        return outcome

    gone = type("At", (), {"url": f"http://127.0.0.1:{free_port}", "user": "w", "password": "p"})
    for outcome in (run(act), once(run, params(gone, signal))):
        assert outcome.evidence.sight == "not_asked"
        assert outcome.verdict == Verdict.PASS
