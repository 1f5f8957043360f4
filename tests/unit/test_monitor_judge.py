"""The judge: a published table, and what must hold of any row of outcomes."""

import runpy
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.causes import Cause
from config.checks import TcpParams
from config.services import Check, Service
from monitor.diagnose.base import Diagnosis
from monitor.judge import CheckTrack, Flip, State, Track, judge, judge_check, unsettled
from monitor.probes.base import Evidence, Outcome, Sight, Verdict

ROOT = Path(__file__).parents[2]
PARAMS = TcpParams(host="x", port=1)
DOWN = Check(name="ready", kind="tcp", params=PARAMS)
SOFT = Check(name="version", kind="tcp", params=PARAMS, severity="degraded")
FOUND = Diagnosis(cause=Cause.REFUSED, sentence="It refused.", remedy="Start it.")
LETTERS = {"p": Verdict.PASS, "w": Verdict.WARN, "f": Verdict.FAIL, "u": Verdict.UNKNOWN}
rows = st.text(alphabet="pwfu", max_size=60)
settings.register_profile("steady", derandomize=True, deadline=None)
settings.load_profile("steady")


def service(*checks: Check, start_period: float = 0.0) -> Service:
    return Service(name="x", kind="x", title="X", address="x:1", checks=checks, start_period=start_period)


def outcome(letter: str) -> Outcome:
    return Outcome(verdict=LETTERS[letter], latency=0.01, evidence=Evidence(sight=Sight.ANSWERED, text=f"saw {letter}"))


def play(row: str, check: Check = DOWN) -> CheckTrack:
    track = CheckTrack()
    for at, letter in enumerate(row):
        track = judge_check(track, check, outcome(letter), FOUND, float(at))
    return track


def play_service(row: str, one: Service, track: Track | None = None) -> tuple[Track, list[Flip]]:
    track = track or Track(since=0.0, watched_since=0.0)
    flips = []
    for at, letter in enumerate(row):
        track, flip = judge(track, one, one.checks[0], outcome(letter), FOUND, float(at + 1))
        flips += [flip] if flip else []
    return track, flips


@pytest.mark.parametrize(
    ("row", "state"),
    [
        ("", State.UNKNOWN),
        ("p", State.UP),
        ("ff", State.UNKNOWN),
        ("fff", State.DOWN),
        ("pff", State.UP),
        ("pffpf", State.UP),
        ("pffpff", State.DEGRADED),  # four of the last ten
        ("pfffp", State.DOWN),
        ("pfffpfp", State.DOWN),
        ("pfffpp", State.UP),
        ("pfffpw", State.DEGRADED),
        ("pfwfwf", State.DOWN),  # a warning clears no miss
        ("pffuuf", State.DOWN),  # nor does a run that could not look
        ("pfufu", State.UP),  # nor does it add one
        ("pww", State.UP),
        ("pwww", State.DEGRADED),
        ("pwwwp", State.DEGRADED),
        ("pwwwpp", State.UP),
        ("pfpfpfp", State.UP),
        ("pfpfpfpf", State.DEGRADED),  # four of the last ten
        ("pfpfpfpfpp", State.DEGRADED),
        ("pfpfpfpf" + "p" * 9, State.UP),
        ("pffffffpp", State.UP),  # an outage that was told is not intermittency
        ("pffffffppf", State.UP),
    ],
)
def test_rows_lead_where_the_table_says(row: str, state: State) -> None:
    assert play(row).confirmed == state


def test_intermittent_says_so() -> None:
    assert play("pfpfpfpf").cause == Cause.INTERMITTENT


def test_a_soft_check_never_makes_down() -> None:
    assert play("p" + "f" * 20, SOFT).confirmed == State.DEGRADED


@given(rows)
def test_unknown_changes_nothing_that_was_confirmed(row: str) -> None:
    without = play(row.replace("u", ""))
    assert play(row).confirmed == without.confirmed
    assert play(row).misses == without.misses


@given(rows)
def test_no_down_without_three_misses_since_a_pass_and_no_up_without_a_pass(row: str) -> None:
    track = CheckTrack()
    seen = ""
    for at, letter in enumerate(row):
        after = judge_check(track, DOWN, outcome(letter), FOUND, float(at))
        seen += letter
        if after.confirmed == State.DOWN != track.confirmed:
            assert letter == "f"
            assert seen.rpartition("p")[2].count("f") >= 3
        if after.confirmed == State.UP != track.confirmed:
            assert letter == "p"
        track = after


@given(rows)
def test_an_unbroken_row_always_settles(row: str) -> None:
    track = play(row)
    for letter, end in (("f", State.DOWN), ("p", State.UP)):
        after = track
        for at in range(12):
            after = judge_check(after, DOWN, outcome(letter), FOUND, float(at))
        assert after.confirmed == end
        assert not unsettled(after, DOWN)


@given(rows)
def test_a_flip_is_told_exactly_when_the_state_changes(row: str) -> None:
    one = service(DOWN)
    track, flips = play_service(row, one)
    states = [State.UNKNOWN] + [flip.new for flip in flips]
    assert [flip.old for flip in flips] == states[:-1]
    assert states[-1] == track.state
    assert all(flip.old != flip.new and flip.since <= flip.at for flip in flips)


@pytest.mark.parametrize(
    ("row", "states", "since"),
    [
        ("p" + "w" * 100 + "fff", "up degraded down", [1, 2, 102]),  # down since the fails, not since the warnings
        ("pfff" + "f" * 100 + "ww", "up down degraded", [1, 2, 105]),  # degraded since it answers again
        ("p" + "u" * 60 + "p", "up unknown up", [1, 4, 62]),  # what nobody saw is not up
        ("pfff" + "u" * 60 + "f", "up down unknown down", [1, 2, 7, 65]),
        ("pfffpp", "up down up", [1, 2, 5]),
        ("puuuff", "up unknown", [1, 4]),  # a fail after a blind spell is no "up"
        ("puuufff", "up unknown down", [1, 4, 5]),
        ("puuufp", "up unknown up", [1, 4, 6]),
    ],
)
def test_a_state_began_where_its_own_row_began(row: str, states: str, since: list[int]) -> None:
    _, flips = play_service(row, service(DOWN))
    assert [flip.new.value for flip in flips] == states.split()
    assert [flip.since for flip in flips] == since


def test_what_another_check_decided_long_ago_does_not_reach_into_an_outage() -> None:
    one = service(DOWN, SOFT)
    track, flips = Track(since=0.0, watched_since=0.0), []
    steps = [(DOWN, "p"), (SOFT, "pfff"), (DOWN, "fff"), (DOWN, "pp")]
    at = 0.0
    for check, letters in steps:
        for letter in letters:
            at += 1.0
            track, flip = judge(track, one, check, outcome(letter), FOUND, at)
            flips += [flip] if flip else []
    assert [(flip.new, flip.since) for flip in flips] == [
        (State.UP, 1.0),
        (State.DEGRADED, 3.0),
        (State.DOWN, 6.0),
        (State.DEGRADED, 9.0),
    ]


@given(rows)
def test_a_state_never_began_before_the_one_before_it_was_last_seen_to_begin(row: str) -> None:
    _, flips = play_service(row, service(DOWN))
    for before, after in pairwise(flips):
        assert before.since <= after.since <= after.at


def test_the_outage_began_with_its_first_miss() -> None:
    track, flips = play_service("ppppfff", service(DOWN))
    assert flips[-1].new == State.DOWN
    assert (flips[-1].since, flips[-1].at) == (5.0, 7.0)
    assert track.since == 5.0
    assert flips[-1].cause == Cause.REFUSED
    assert flips[-1].sentence == "It refused."


def test_looks_that_could_not_look_show_unknown_and_the_old_state_comes_back() -> None:
    track, flips = play_service("pfffuuuu", service(DOWN))
    assert [flip.new for flip in flips] == [State.UP, State.DOWN, State.UNKNOWN]
    track, flips = play_service("f", service(DOWN), track)
    assert [flip.new for flip in flips] == [State.DOWN]


def test_start_period_ends_in_down_and_is_not_renewed_by_a_restart() -> None:
    one = service(DOWN, start_period=120.0)
    track = Track(since=0.0, watched_since=0.0)
    for at in (10.0, 20.0, 30.0, 110.0):
        track, flip = judge(track, one, DOWN, outcome("f"), FOUND, at)
        assert flip is None
        assert track.cause == Cause.STARTING
    track, flip = judge(track, one, DOWN, outcome("f"), FOUND, 121.0)
    assert flip is not None
    assert flip.new == State.DOWN


def test_a_service_once_seen_up_has_no_start_period() -> None:
    one = service(DOWN, start_period=1e9)
    _, flips = play_service("pfff", one)
    assert [flip.new for flip in flips] == [State.UP, State.DOWN]


def test_a_service_is_as_bad_as_its_worst_check() -> None:
    one = service(DOWN, SOFT)
    track = Track(since=0.0, watched_since=0.0)
    for check, letters in ((DOWN, "p"), (SOFT, "pfff"), (DOWN, "fff"), (SOFT, "pp"), (DOWN, "pp")):
        for letter in letters:
            track, _ = judge(track, one, check, outcome(letter), FOUND, 1.0)
    assert track.state == State.UP
    for letter in "fff":
        track, _ = judge(track, one, SOFT, outcome(letter), FOUND, 2.0)
    assert (track.state, track.check) == (State.DEGRADED, "version")
    for letter in "fff":
        track, _ = judge(track, one, DOWN, outcome(letter), FOUND, 3.0)
    assert (track.state, track.check) == (State.DOWN, "ready")


def test_a_service_is_unknown_until_every_check_that_could_make_it_down_was_seen() -> None:
    other = Check(name="other", kind="tcp", params=PARAMS)
    one = service(DOWN, other, SOFT)
    track = Track(since=0.0, watched_since=0.0)
    track, flip = judge(track, one, DOWN, outcome("p"), None, 1.0)
    assert flip is None
    track, flip = judge(track, one, other, outcome("p"), None, 1.0)
    assert flip is not None
    assert flip.new == State.UP


UNASKED = Outcome(verdict=Verdict.PASS, latency=0.01, evidence=Evidence(sight=Sight.NOT_ASKED, text="not asked"))


def test_a_signal_that_was_never_asked_holds_nothing_up() -> None:
    signal = Check(name="slots", kind="tcp", params=PARAMS)
    one, track = service(DOWN, signal), Track(since=0.0, watched_since=0.0)
    track, _ = judge(track, one, signal, UNASKED, None, 1.0)
    track, flip = judge(track, one, DOWN, outcome("p"), None, 2.0)
    assert flip is not None
    assert flip.new == State.UP


@given(row=rows, at=st.integers(0, 60))
def test_a_signal_that_is_not_asked_stays_as_it_was(row: str, at: int) -> None:
    whole, broken = play(f"p{row}", SOFT), CheckTrack()
    for number, letter in enumerate(f"p{row}"):
        broken = judge_check(broken, SOFT, outcome(letter), FOUND, float(number))
        if number == at:
            for _ in range(3):
                broken = judge_check(broken, SOFT, UNASKED, None, float(number))
    assert broken == whole


def test_trouble_is_not_told_as_over_when_its_server_dies() -> None:
    one, track = service(DOWN, SOFT), Track(since=0.0, watched_since=0.0)
    told: list[State] = []
    for letters in ("p", "p", "w", "w", "w", "f", "f", "f"):
        outcomes = (outcome("p"), outcome(letters)) if letters != "f" else (outcome("f"), UNASKED)
        for check, seen in zip((DOWN, SOFT), outcomes, strict=True):
            track, flip = judge(track, one, check, seen, FOUND, 1.0)
            told += [flip.new] if flip else []
    assert told == [State.UP, State.DEGRADED, State.DOWN]


def test_the_published_table_is_what_the_code_does() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "states.py"))["page"]()
    assert (ROOT / "docs/reference/states.md").read_text(encoding="utf-8") == made, "run: python docs/states.py"
