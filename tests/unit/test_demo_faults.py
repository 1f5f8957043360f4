"""The fault matrix: every row is played or has a reason, its rounds blur nothing, and what is wrong is found wrong."""

import contextlib
import ipaddress
import struct
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.causes import Cause
from config.services import discover
from demo.expectations import Expected, degraded, down, up
from demo.faults.__main__ import chosen
from demo.faults.bench import INTERVAL, watch_text
from demo.faults.matrix import OLD, Play, rounds
from demo.faults.nameserver import AAAA, NXDOMAIN, A, answer
from demo.faults.page import PAGE, expected, lines_of, own_pace, page, without_times
from demo.faults.rows import NOT_PRODUCED, ROWS
from demo.faults.runner import Runner
from demo.faults.sighting import Sighting, judged
from demo.outages import Outage, groups
from demo.process import DemoError

PLAYS = [play for row in ROWS for play in row.plays]
OUTAGES = {outage.name for outages in groups().values() for outage in outages}
OWN_HEADS = {*OLD, "minio-standin", "litellm-real", "postgres-tls", "names", "qdrant-moved"}


def test_every_failure_that_was_listed_is_played_or_has_a_reason() -> None:
    played = [row.number for row in ROWS]
    assert sorted([*played, *NOT_PRODUCED]) == list(range(1, 39))
    assert played == sorted(played)
    assert all(row.plays and row.apart for row in ROWS)
    assert all(len(why) > 40 for why in NOT_PRODUCED.values())


def test_every_play_is_known_once_and_says_what_must_be_told() -> None:
    assert len({play.name for play in PLAYS}) == len(PLAYS)
    for play in PLAYS:
        known = play.mistake or play.name in OUTAGES or play.head in OWN_HEADS or play.head.startswith("chat-")
        assert known, play.name
        assert (play.expected.not_up and play.expected.shows) or play.expected.why, play.name


def test_the_page_is_of_this_matrix_and_all_of_it_is_right() -> None:
    written = PAGE.read_text(encoding="utf-8")
    assert without_times(written) == without_times(page(ROWS, expected(ROWS), NOT_PRODUCED)), "run: make faults"


def test_what_is_played_anew_replaces_its_line_alone() -> None:
    whole = page(ROWS, expected(ROWS), NOT_PRODUCED)
    assert page(ROWS, {}, NOT_PRODUCED, earlier=lines_of(whole)) == whole
    play = PLAYS[7]
    wrong = replace(expected(ROWS)[play.name], problems=("it was\ntold as | another",), told_after=None)
    changed = page(ROWS, {play.name: wrong}, NOT_PRODUCED, earlier=lines_of(whole))
    assert f"{len(PLAYS) - 1} of {len(PLAYS)} lines are right" in changed
    count, line = (one for one in changed.splitlines() if one not in whole.splitlines())
    assert "lines are right" in count
    assert line.startswith(f"| `{play.name}` |")
    assert "WRONG: it was told as \\| another" in line


def test_how_soon_it_is_told_at_its_own_pace() -> None:
    (postgres,) = discover({"DATABASE_URL": "postgresql://u:p@127.0.0.1:1/d"}).services
    assert own_pace(postgres, {"query": "fail"}) == 80
    assert own_pace(postgres, {"slots": "warn"}) == 180
    assert own_pace(postgres, {"wraparound": "fail", "replication": "warn"}) == 320
    (web,) = discover({"LANGFUSE_URL": "http://127.0.0.1:1"}).services
    assert own_pace(web, {"trace": "fail", "ready": "fail"}) is None  # that one's threshold is lowered here
    assert own_pace(postgres, {}) is None


def test_no_two_plays_of_a_round_share_a_service() -> None:
    planned = rounds(PLAYS)
    assert sorted(play.name for one in planned for play in one) == sorted(play.name for play in PLAYS)
    for one in planned:
        touched = [name for play in one for name in play.touches]
        assert len(touched) == len(set(touched))
        assert len({play.mistake is None for play in one}) == 1
        variables = [play.mistake.variable for play in one if play.mistake]
        assert len(variables) == len(set(variables))
    live = [one for one in planned if not one[0].mistake]
    assert [one[0].lingers for one in live] == sorted(one[0].lingers for one in live)


def test_plays_are_chosen_by_name_server_or_row() -> None:
    assert [play.name for play in chosen(["redis/full", "8"])] == ["redis/full"]
    assert {play.head for play in chosen(["redis"])} == {"redis"}
    assert chosen([]) == PLAYS
    with pytest.raises(DemoError, match="nonsense"):
        chosen(["nonsense"])


def service(name: str, state: str = "up", cause: str | None = None, text: str = "", ran_at: float = 0.0) -> Any:
    ran = f"1970-01-01T00:{int(ran_at) // 60:02}:{ran_at % 60:06.3f}Z"
    verdict = "pass" if state == "up" and not cause else "fail"
    check = {"name": "ask", "state": state, "verdict": verdict, "last_run_at": ran}
    said = {"evidence": text or None, "sentence": None, "remedy": None}
    return {"name": name, "state": state, "cause": cause, "checks": [check], **said}


FULL = Play(name="redis/full", wanted=Expected(not_up=down(Cause.CAPACITY, "redis"), shows="OOM"))


def sighting(*looks: list[Any]) -> Sighting:
    """A sighting that began at 100, with a look every 2 seconds."""
    seen = Sighting(100.0)
    for number, services in enumerate(looks):
        seen.look(services, 102.0 + 2 * number)
    return seen


def test_what_is_told_as_expected_is_right_and_timed() -> None:
    seen = sighting(
        [service("redis", "up", "capacity", ran_at=101.5), service("backups", "down", "stale")],
        [service("redis", "down", "capacity", "OOM", ran_at=104)],
    )
    result = judged(FULL, seen, began=100.5)
    assert result.right
    assert (result.seen_after, result.told_after) == (1.0, 3.5)
    assert result.told == {"redis": ("down", "capacity")}


@pytest.mark.parametrize(
    ("looks", "problem"),
    [
        ([[service("redis")]], "redis is up (None), not down (capacity)"),
        ([[]], "redis is not watched (None), not down (capacity)"),
        ([[service("redis", "degraded", "capacity", "OOM")]], "redis is degraded (capacity), not down (capacity)"),
        ([[service("redis", "down", "auth", "OOM")]], "redis is down (auth), not down (capacity)"),
        (
            [[service("redis", "down", "refused")], [service("redis", "down", "capacity", "OOM")]],
            "redis was told as refused on the way",
        ),
        ([[service("redis", "down", "capacity", "no")]], "what is told of redis does not say “OOM”"),
        (
            [
                [service("redis", "down", "capacity", "OOM"), service("r2r", "down", "refused")],
                [service("redis", "down", "capacity", "OOM"), service("r2r")],
            ],
            "r2r was told down (refused) and is well",
        ),
    ],
)
def test_what_is_told_otherwise_is_wrong(looks: list[list[Any]], problem: str) -> None:
    result = judged(FULL, sighting(*looks), began=100.0)
    assert result.problems == (problem,)
    assert result.told_after is None


def test_what_another_play_is_told_of_is_not_blamed_on_this_one() -> None:
    seen = sighting([service("redis", "down", "capacity", "OOM"), service("r2r", "down", "refused")])
    assert judged(FULL, seen, began=100.0, others=["r2r"]).right


def test_a_play_that_is_no_outage_is_right_when_nothing_is_told() -> None:
    quiet = Play(name="qdrant/collection_grey", wanted=up("waiting is no fault"))
    assert judged(quiet, sighting([service("qdrant")]), began=100.0).right
    assert not judged(quiet, sighting([service("qdrant", "degraded", "slow")]), began=100.0).right


class Rig:
    """A bench without servers: what is broken is told as `says` has it, from the next look on."""

    def __init__(self, says: dict[str, dict[str, tuple[str, str]]]) -> None:
        self.says = says
        self.variables: dict[str, str] = {}
        self.stack: Any = self
        self.contracts: dict[str, Any] = {}
        self.broken: list[str] = []
        self.running = True
        self.begun: list[tuple[str, ...]] = []

    @contextlib.contextmanager
    def daemon(self, _: object) -> Iterator[Any]:
        yield self

    def outage(self, name: str) -> Outage:
        def begin(_: object) -> None:
            if name not in self.says:
                raise DemoError("no such switch")
            self.broken.append(name)
            self.begun.append(tuple(self.broken))

        return Outage(name=name, says="", begin=begin, end=lambda _: name in self.broken and self.broken.remove(name))  # type: ignore[arg-type,func-returns-value]  # nobody reads it

    def services(self) -> dict[str, Any]:
        told = {name: one for fault in self.broken for name, one in self.says[fault].items()}
        known = {name for fault in self.says.values() for name in fault} or {"redis"}
        return {name: service(name, *told.get(name, ("up",))) for name in known}


def two(says: dict[str, dict[str, tuple[str, str]]]) -> tuple[Rig, list[Any]]:
    rig = Rig(says)
    plays = [
        Play(name="a/x", wanted=Expected(not_up=down(Cause.AUTH, "a"), shows=""), within=0.1),
        Play(name="b/x", wanted=Expected(not_up=degraded(Cause.SLOW, "b"), shows=""), within=0.1),
    ]
    told: list[Any] = []
    results = Runner(rig, told.append, hold=0.0, patience=2.0).run(plays)  # type: ignore[arg-type]  # a Bench's stand-in
    assert results == told
    return rig, results


def test_two_faults_of_one_round_are_right_together() -> None:
    rig, results = two({"a/x": {"a": ("down", "auth")}, "b/x": {"b": ("degraded", "slow")}})
    assert [result.right for result in results] == [True, True]
    assert rig.begun == [("a/x",), ("a/x", "b/x")]


def test_a_round_that_is_wrong_is_played_one_by_one_to_see_who_is_to_blame() -> None:
    rig, results = two({"a/x": {"a": ("down", "auth"), "c": ("down", "auth")}, "b/x": {"b": ("degraded", "slow")}})
    assert rig.begun == [("a/x",), ("a/x", "b/x"), ("a/x",), ("b/x",)]
    assert {result.play.name: result.problems for result in results} == {
        "a/x": ("c was told down (auth) and is well",),
        "b/x": (),
    }


def test_a_fault_that_cannot_be_begun_is_wrong_and_the_others_go_on() -> None:
    rig, results = two({"b/x": {"b": ("degraded", "slow")}})
    assert [result.problems for result in results] == [("could not be played: no such switch",), ()]
    assert rig.broken == []


def test_the_watch_file_has_every_check_run_in_a_hurry(tmp_path: Path) -> None:
    variables = {
        "DATABASE_URL": "postgresql://u:p@127.0.0.1:1/d",
        "LITELLM_URL__REAL": "http://127.0.0.1:2",
        "LITELLM_MASTER_KEY__REAL": "sk-x",
        "LANGFUSE_URL": "http://127.0.0.1:3",
        "LANGFUSE_PUBLIC_KEY": "pk-lf-x",
        "LANGFUSE_SECRET_KEY": "sk-lf-x",
    }
    file = tmp_path / "watch.toml"
    file.write_text(watch_text(discover(variables).services, no_database=["litellm-real"]))
    assert tomllib.loads(file.read_text())
    found = discover(variables, watch_file=file)
    assert found.problems == ()
    services = {one.name: one for one in found.services}
    assert {check.interval for one in found.services for check in one.checks} == {INTERVAL}
    assert services["litellm-real"].depends_on == ()
    trace = {check.name: check.params for check in services["langfuse-web"].checks}["trace"]
    assert getattr(trace, "fail", None) == 25


def question(name: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(one)]) + one.encode() for one in name.split("."))
    return b"\x12\x34\x01\x00" + struct.pack("!HHHH", 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", kind, 1)


KNOWN = {"both.internal": ("127.0.0.1", "::1"), "old.internal": ("::1",)}


@pytest.mark.parametrize(
    ("name", "kind", "code", "addresses"),
    [
        ("both.internal", A, 0, ["127.0.0.1"]),
        ("Both.internal", AAAA, 0, ["::1"]),
        ("old.internal", A, 0, []),
        ("gone.internal", A, NXDOMAIN, []),
        ("both.internal", 15, 0, []),
    ],
)
def test_the_name_server_answers_what_it_knows(name: str, kind: int, code: int, addresses: list[str]) -> None:
    asked = question(name, kind)
    said = answer(asked, KNOWN)
    flags, questions, answers = struct.unpack_from("!HHH", said, 2)
    assert (said[:2], flags & 0x800F, questions, answers) == (asked[:2], 0x8000 | code, 1, len(addresses))
    record = said[len(asked) + 12 :]
    assert ([str(ipaddress.ip_address(record))] if record else []) == addresses


@given(st.binary(max_size=80))
def test_what_is_no_question_is_an_error_and_nothing_else(noise: bytes) -> None:
    with contextlib.suppress(ValueError, IndexError, struct.error):
        answer(noise, KNOWN)
