"""What rows of ClickHouse's system tables prove: numbers at the edges, other versions, servers that keep quiet."""

from typing import Any

import pytest

from config.causes import Cause
from config.services import Check, Service
from config.signals import ClickhouseSignalParams
from monitor.diagnose.base import Diagnosis
from monitor.diagnose.table import diagnose
from monitor.probes import clickhouse_weigh as weigh
from monitor.probes.base import Answer, Evidence, Outcome, Verdict
from monitor.probes.clickhouse_signal import SIGNALS
from monitor.probes.clickhouse_weigh import Memory, Row, Seen
from monitor.probes.shared import Samples

GIB = 1 << 30
ENDLESS = (1 << 64) - 1


def row(tag: str, **values: object) -> Row:
    return Row(tag, {name: str(value) for name, value in values.items()})


def params(signal: Any, warn: float | None = None, fail: float | None = None) -> ClickhouseSignalParams:
    return ClickhouseSignalParams(url="http://ch:8123", signal=signal, warn=warn, fail=fail)


def answer(signal: str, *rows: Row, warn: float | None = None, fail: float | None = None) -> Answer:
    memory = Memory(Samples(), "server", 0.0)
    return SIGNALS[signal][1](Seen.of(rows), params(signal, warn, fail), memory)


def told(signal: str, given: Answer) -> Diagnosis:
    asked = params(signal)
    check = Check(name=signal, kind="clickhouse_signal", params=asked)
    service = Service(name="ch", kind="clickhouse", title="ClickHouse", address="ch:8123", checks=(check,))
    evidence = Evidence(sight=given.sight, text=given.text, code=given.code, sign=given.sign)
    diagnosis = diagnose(service, check, Outcome(verdict=given.verdict, latency=0.1, evidence=evidence))
    assert diagnosis is not None
    return diagnosis


def disk(name: str, free: int, total: int, unreserved: int | None = None, kept: int = 0) -> Row:
    return row(
        "disk", name=name, free=free, total=total, unreserved=free if unreserved is None else unreserved, kept=kept
    )


@pytest.mark.parametrize(
    ("free", "verdict"),
    [(16, Verdict.PASS), (15, Verdict.WARN), (6, Verdict.WARN), (5, Verdict.FAIL), (0, Verdict.FAIL)],
)
def test_the_fullest_disk_decides(free: int, verdict: Verdict) -> None:
    rows = (disk("default", 90 * GIB, 100 * GIB), disk("cold", free * GIB, 100 * GIB))
    given = answer("disk", *rows, warn=85, fail=95)
    assert given.verdict == verdict
    assert given.text.startswith(f"disk cold is {100 - free} % full")
    assert given.measures["disk_free_bytes"] == free * GIB
    assert verdict == Verdict.PASS or told("disk", given).cause == Cause.CAPACITY


def test_what_merges_have_reserved_is_told() -> None:
    given = answer("disk", disk("default", 40 * GIB, 100 * GIB, 10 * GIB), warn=85)
    assert "40.0 GiB of 100.0 GiB, 30.0 GiB of it reserved by merges are free" in given.text


def test_a_disk_below_what_it_must_keep_free_is_full_though_it_tells_no_size() -> None:
    assert answer("disk", disk("default", 0, 0, kept=GIB), warn=85, fail=95).verdict == Verdict.FAIL


@pytest.mark.parametrize("unreserved", [0, (1 << 20) - 1])
def test_a_disk_without_room_for_an_insert_is_told_as_full_whatever_the_thresholds(unreserved: int) -> None:
    given = answer("disk", disk("default", 3 * GIB, 100 * GIB, unreserved), warn=85)
    assert (given.verdict, given.code) == (Verdict.FAIL, "full")
    diagnosis = told("disk", given)
    assert "is full: inserts and merges are refused" in diagnosis.sentence
    assert "before it is full" not in diagnosis.remedy


def test_a_disk_that_has_room_for_an_insert_runs_full_and_one_of_several_is_told_apart() -> None:
    roomy = answer("disk", disk("default", GIB, 100 * GIB, 1 << 20), warn=85)
    beside = answer("disk", disk("cold", 0, 100 * GIB), disk("default", 50 * GIB, 100 * GIB), warn=85)
    assert (roomy.verdict, beside.verdict) == (Verdict.WARN, Verdict.WARN)
    assert "runs full" in told("disk", roomy).sentence
    assert "tables that have no other" in told("disk", beside).sentence


@pytest.mark.parametrize("rows", [(), (disk("s3", ENDLESS, ENDLESS),), (disk("s3", 0, 0),)])
def test_disks_without_a_size_are_not_available(rows: tuple[Row, ...]) -> None:
    assert answer("disk", *rows, warn=85).sign == "not_available"


LIMITS = (
    row("limit", name="parts_to_delay_insert", value=1000),
    row("limit", name="parts_to_throw_insert", value=3000),
)


def partition(table: str, parts: int) -> Row:
    return row("partition", table=table, partition="202611", parts=parts)


@pytest.mark.parametrize(
    ("parts", "verdict"),
    [(999, Verdict.PASS), (1000, Verdict.WARN), (2100, Verdict.WARN), (2999, Verdict.WARN), (3000, Verdict.FAIL)],
)
def test_parts_are_counted_against_the_servers_own_limits(parts: int, verdict: Verdict) -> None:
    given = answer("parts", *LIMITS, partition("default.traces", parts), warn=70, fail=100)
    assert given.verdict == verdict
    assert f"{parts} parts in partition 202611 of default.traces" in given.text
    assert verdict == Verdict.PASS or told("parts", given).cause == Cause.CAPACITY


def test_a_table_with_limits_of_its_own_is_counted_against_them() -> None:
    rows = (*LIMITS, partition("default.traces", 200), partition("default.small", 12))
    own = row("own_limit", table="default.small", delay="", throw=12)
    given = answer("parts", *rows, own, warn=70, fail=100)
    assert given.verdict == Verdict.FAIL
    assert "delayed from 1000 and refused from 12" in given.text


def test_parts_without_a_limit_are_not_available_and_none_are_well() -> None:
    assert answer("parts", partition("default.traces", 200), warn=70).sign == "not_available"
    assert answer("parts", *LIMITS, warn=70).verdict == Verdict.PASS


def mutation(age: int, reason: str = "", number: int = 1) -> Row:
    return row("mutation", table="default.traces", id=f"mutation_{number}.txt", age=age, reason=reason)


def test_a_mutation_that_only_takes_long_is_well() -> None:
    given = answer("mutations", mutation(90_000), mutation(5), warn=0, fail=3600)
    assert (given.verdict, given.text) == (Verdict.PASS, "2 mutations under way, none fails")
    assert answer("mutations", warn=0).verdict == Verdict.PASS


def test_the_oldest_mutation_that_fails_is_told_with_its_reason() -> None:
    rows = (mutation(5, "Code: 1"), mutation(7200, "Code: 395. No way", 2), mutation(90_000))
    given = answer("mutations", *rows, warn=0, fail=3600)
    assert given.verdict == Verdict.FAIL
    assert given.text == (
        "mutation mutation_2.txt of default.traces fails, ordered 2 h ago (and 1 more): Code: 395. No way"
    )
    assert told("mutations", given).cause == Cause.STUCK
    assert answer("mutations", mutation(0, "Code: 1"), warn=0, fail=3600).verdict == Verdict.WARN


def replica(table: str, *, readonly: int = 0, expired: int = 0, delay: int = 0) -> Row:
    return row("replica", table=table, readonly=readonly, expired=expired, delay=delay, queue=3)


def test_nothing_replicated_is_well() -> None:
    assert answer("replicas", warn=60).text == "no table here is replicated"
    assert answer("replicas", warn=60).sign == ""


@pytest.mark.parametrize("sick", [{"readonly": 1}, {"expired": 1}])
def test_a_replica_without_its_keeper_takes_no_writes(sick: dict[str, int]) -> None:
    given = answer("replicas", replica("default.a", delay=4), replica("default.b", **sick), warn=60)
    assert (given.verdict, given.code) == (Verdict.FAIL, "readonly")
    assert "default.b" in given.text
    assert told("replicas", given).cause == Cause.READONLY


def test_the_replica_that_is_furthest_behind_decides() -> None:
    given = answer("replicas", replica("default.a", delay=4), replica("default.b", delay=300), warn=60, fail=900)
    assert (given.verdict, given.code) == (Verdict.WARN, "behind")
    assert given.text == "default.b is 5 min behind, 3 entries in its queue"
    assert told("replicas", given).cause == Cause.LAGGING


class Look:
    """Looks at the same server over time."""

    def __init__(self) -> None:
        self.samples: Samples[Any] = Samples()
        self.now = 0.0

    def at(self, now: float, uptime: float, warn: float = 3, /, **counts: int) -> Answer:
        messages = {"c241": "(total) memory limit exceeded", "c76": "Cannot open file, errno: 24, Too many open files"}
        rows = [
            row("error", code=name[1:], count=count, message=messages.get(name, "said"))
            for name, count in counts.items()
        ]
        seen = Seen.of([row("server", uptime=int(uptime)), *rows])
        return weigh.errors(seen, params("errors", warn, 20), Memory(self.samples, "server", now))


def test_refusals_are_counted_from_the_first_look_on() -> None:
    look = Look()
    assert look.at(0, 1000, c241=50, c252=9).text == "refusals are counted from now on"
    assert look.at(60, 1060, c241=50, c252=9).verdict == Verdict.PASS
    few = look.at(120, 1120, c241=52, c252=9)
    assert few.verdict == Verdict.PASS
    assert "memory limit 2 times (code 241)" in few.text
    many = look.at(180, 1180, c241=53, c252=9)
    assert (many.verdict, many.code, many.measures["refusals_lately"]) == (Verdict.WARN, "241", 3.0)
    assert told("errors", many).cause == Cause.CAPACITY
    assert look.at(500, 1500, c241=53, c252=9).verdict == Verdict.PASS


@pytest.mark.parametrize(("code", "cause"), [("243", Cause.CAPACITY), ("252", Cause.CAPACITY), ("76", Cause.CAPACITY)])
def test_of_disk_parts_and_files_one_refusal_is_enough(code: str, cause: Cause) -> None:
    look = Look()
    look.at(0, 1000)
    given = look.at(60, 1060, c241=1, **{f"c{code}": 1})
    assert (given.verdict, given.code) == (Verdict.FAIL, code)
    assert told("errors", given).cause == cause
    assert "memory limit 1 time (code 241)" in given.text


def test_a_file_that_cannot_be_opened_for_another_reason_is_no_want_of_files() -> None:
    given = Answer(verdict=Verdict.FAIL, text="errno: 13, Permission denied", sign="errors", code="76")
    assert told("errors", given).cause == Cause.SERVER_ERROR


def test_a_restart_begins_the_count_anew() -> None:
    look = Look()
    look.at(0, 1000, c241=50)
    assert look.at(60, 5, c241=60).text == "refusals are counted from now on"  # more than before, but since the start
    assert look.at(120, 65, c241=63).verdict == Verdict.WARN
    assert look.at(180, 125, c241=1).verdict == Verdict.PASS  # counted back without a restart


@pytest.mark.parametrize(
    ("text", "own"),
    [
        ("Query memory limit exceeded: would use 1.06 MiB", True),
        ("Memory limit (for query) exceeded: would use 9.31 GiB", True),
        ("Memory limit (for user) exceeded: would use 9.31 GiB", False),
        ("(total) memory limit exceeded: would use 217.56 MiB", False),
        ("Memory limit (total) exceeded: would use 7.20 GiB", False),
    ],
)
def test_a_querys_own_limit_is_told_from_the_servers(text: str, own: bool) -> None:
    assert weigh.own_limit(text) is own
    given = Answer(verdict=Verdict.WARN, text=text, sign="errors", code="241")
    assert ("one may have" in told("errors", given).sentence) is own


def test_the_longest_query_is_told_without_its_words() -> None:
    rows = [row("query", elapsed=s, user="langfuse", id=f"q-{s}", memory=GIB, query="SELECT ?") for s in (3, 2400)]
    given = answer("queries", *rows, warn=1800)
    assert given.verdict == Verdict.WARN
    assert given.text == "a query of langfuse has run for 40 min and holds 1.0 GiB: q-2400 SELECT ?"
    assert told("queries", given).cause == Cause.STUCK
    assert answer("queries", warn=1800).text == "no query runs"


DATA = row("database", name="default", bytes=GIB // 10, logs=0)
LOGS = row("database", name="system", bytes=67 * GIB, logs=66 * GIB)


def test_logs_that_outgrow_the_data_are_called_out() -> None:
    trace = row("log", table="trace_log", bytes=60 * GIB)
    given = answer("logs", DATA, LOGS, trace, warn=GIB)
    assert given.verdict == Verdict.WARN
    assert given.text == "66.0 GiB of system logs beside 1.1 GiB of data: system.trace_log 60.0 GiB"
    assert told("logs", given).cause == Cause.MISCONFIGURED
    large = row("database", name="default", bytes=100 * GIB, logs=0)
    assert answer("logs", large, LOGS, trace, warn=GIB).verdict == Verdict.PASS
    assert answer("logs", DATA, row("database", name="system", bytes=GIB - 1, logs=GIB - 1), warn=GIB).verdict == "pass"


@pytest.mark.parametrize(("fail", "verdict"), [(None, Verdict.WARN), (60 * GIB, Verdict.FAIL)])
def test_size_is_what_watch_file_says_it_is(fail: float | None, verdict: Verdict) -> None:
    given = answer("size", DATA, LOGS, warn=50 * GIB, fail=fail)
    assert given.verdict == verdict
    assert given.text.startswith("67.1 GiB in all, 66.0 GiB of it system logs: system 67.0 GiB, default")
    assert told("size", given).cause == Cause.CAPACITY
    assert answer("size", DATA, LOGS).verdict == Verdict.PASS


@pytest.mark.parametrize("value", ["", "-1", "1e9", "nan", "99999999999999999999999", "²"])
def test_a_number_that_is_none_counts_as_nothing(value: str) -> None:
    assert row("disk", free=value).number("free") == 0


@pytest.mark.parametrize("signal", SIGNALS)
def test_rows_of_any_kind_are_weighed(signal: str) -> None:
    junk = [Row(tag, {}) for tag in ("disk", "partition", "mutation", "replica", "error", "query", "database", "log")]
    assert isinstance(answer(signal, *junk, *LIMITS, warn=1, fail=2), Answer)
    assert isinstance(answer(signal, warn=1, fail=2), Answer)


def test_a_user_is_quoted_as_grant_wants_it() -> None:
    assert [weigh.quoted(name) for name in ("watch", "w-1", "a`b")] == ["watch", "`w-1`", "`a\\`b`"]
