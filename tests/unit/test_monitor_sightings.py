"""Whether we are blind, from what was seen of every service: pure, on a made-up clock."""

import pytest

from config.causes import Cause
from monitor.probes.base import Evidence, Outcome, Sight, Verdict
from monitor.sightings import Sightings
from monitor.vantage import Side, sign_at

ROUND = 70.0  # seconds: an interval of 60 and a timeout of 10
UNSEEN = [Sight.CUT_OFF, Sight.NO_RESOLVER, Sight.NO_ROUTE, Sight.LATE, Sight.FAULT]


class Story:
    """Services that are looked at; `at` is seconds on the clock."""

    def __init__(self, *, rounds: dict[str, float] | None = None, **sides: Side) -> None:
        self.sides = sides
        self.sightings = Sightings(began=0.0, rounds=rounds or dict.fromkeys(sides, ROUND))

    def look(self, name: str, at: float, sight: Sight = Sight.ANSWERED, check: str = "answers") -> None:
        verdict = Verdict.UNKNOWN if sight in UNSEEN else Verdict.PASS if sight == Sight.ANSWERED else Verdict.FAIL
        evidence = Evidence(sight=sight, text=f"{name}: {sight.value}")
        outcome = Outcome(verdict=verdict, latency=1.0, evidence=evidence)
        raw = Sight.NO_CONNECT if sight == Sight.CUT_OFF else sight
        self.sightings.note(name, check, self.sides[name], raw, outcome, at, sign_at(raw, at - 1, at))

    def minute(self, start: float, sight: Sight = Sight.ANSWERED) -> None:
        """Looks at every service once within the minute from `start`."""
        for number, name in enumerate(self.sides):
            self.look(name, start + 60 * number / len(self.sides), sight)

    def blind(self, now: float, *unknown: str) -> tuple[float, str] | None:
        found = self.sightings.blindness(unknown, now)
        return (found.since, found.sentence) if found else None


def stack() -> Story:
    return Story(postgres=Side.INSIDE, redis=Side.INSIDE, web=Side.OUTSIDE, chat=Side.OUTSIDE)


def test_nothing_is_blind_while_everything_is_seen() -> None:
    story = stack()
    assert story.blind(0) is None
    for minute in range(10):
        story.minute(60.0 * minute)
        assert story.blind(60.0 * minute + 59) is None


@pytest.mark.parametrize("sight", UNSEEN)
def test_a_cut_is_told_with_the_first_look_that_saw_nothing(sight: Sight) -> None:
    story = stack()
    story.minute(0)
    story.minute(60, sight)
    assert story.blind(80) is None, "something was seen on each side within the round"
    blind = story.blind(120)
    assert blind is not None
    assert blind[0] == 60
    assert blind[1].startswith("Nothing at all is seen: ")


def test_one_side_may_be_cut_alone() -> None:
    for side, where in (("inside", "the private network"), ("outside", "the internet")):
        story = stack()
        story.minute(0)
        for minute in (60.0, 120.0):
            for name, where_it_is in story.sides.items():
                story.look(name, minute, Sight.CUT_OFF if where_it_is == side else Sight.ANSWERED)
        blind = story.blind(180)
        assert blind is not None
        assert blind[1].startswith(f"Nothing of {where} is seen: no connection opens")


def test_both_networks_cut_while_this_machine_is_seen() -> None:
    story = Story(postgres=Side.INSIDE, web=Side.OUTSIDE, local=Side.HERE)
    story.minute(0)
    for minute in (60.0, 120.0):
        story.minute(minute, Sight.CUT_OFF)
        story.look("local", minute + 45)
    blind = story.blind(180)
    assert blind is not None
    assert "the private network and the internet" in blind[1]


@pytest.mark.parametrize("sight", [Sight.REFUSED, Sight.NO_NAME, Sight.RESET, Sight.NO_CONNECT, Sight.NO_ANSWER])
def test_a_whole_stack_that_refuses_or_vanishes_is_no_blindness(sight: Sight) -> None:
    story = stack()
    story.minute(0)
    for minute in range(1, 10):
        story.minute(60.0 * minute, sight)
        assert story.blind(60.0 * minute + 59) is None


def test_it_ends_with_the_first_thing_seen_and_begins_anew() -> None:
    story = Story(a=Side.INSIDE, b=Side.INSIDE)
    for at in (0.0, 60.0, 120.0):
        story.minute(at, Sight.CUT_OFF)
    assert story.blind(180) is not None
    story.look("b", 181, Sight.REFUSED)
    assert story.blind(181) is None
    story.look("a", 190, Sight.CUT_OFF)
    assert story.blind(200) is None
    story.look("b", 250, Sight.CUT_OFF)
    again = story.blind(260)
    assert again is not None
    assert 181 <= again[0] <= 190


def test_a_probe_that_is_always_broken_does_not_blind_the_others() -> None:
    story = Story(broken=Side.INSIDE, fine=Side.INSIDE)
    for minute in range(20):
        story.look("broken", 60.0 * minute, Sight.FAULT)
        for second in range(0, 30, 5):
            assert story.blind(60.0 * minute + second) is None
        story.look("fine", 60.0 * minute + 30)
        for second in range(30, 60, 5):
            assert story.blind(60.0 * minute + second) is None


def test_what_the_judge_holds_unknown_alone_is_told_by_name() -> None:
    story = Story(broken=Side.INSIDE, fine=Side.INSIDE)
    story.look("fine", 1)
    for at in (2.0, 12.0, 22.0):
        story.look("broken", at, Sight.FAULT)
    assert story.blind(25) is None
    assert story.blind(25, "fine") is None, "it was seen"
    since, sentence = story.blind(25, "broken") or (0, "")
    assert since == 2
    assert sentence == "Nothing of broken is seen: our own probes break."


def test_it_is_a_part_of_our_sight_once_others_of_its_side_were_seen_since() -> None:
    def partly(now: float) -> bool:
        found = story.sightings.blindness(["broken", "odd"], now)
        assert found is not None
        return found.partly

    story = Story(broken=Side.INSIDE, fine=Side.INSIDE, odd=Side.OUTSIDE, web=Side.OUTSIDE)
    story.look("fine", 1)
    story.look("web", 1)
    story.look("broken", 2, Sight.FAULT)
    assert not partly(3), "nobody knows yet what else is seen"
    story.look("web", 10)
    assert not partly(11), "that is another network"
    story.look("fine", 20, Sight.REFUSED)
    assert partly(21)
    story.look("odd", 30, Sight.FAULT)
    assert not partly(31)
    story.look("web", 40)
    assert partly(41)
    for at in (50.0, 110.0):
        for name in story.sides:
            story.look(name, at, Sight.CUT_OFF)
    assert not partly(125), "all are cut off"


def test_a_cut_begins_where_it_began_though_one_was_never_seen_before() -> None:
    story = Story(broken=Side.INSIDE, fine=Side.INSIDE)
    story.look("broken", 0, Sight.FAULT)
    story.look("fine", 30)
    story.look("broken", 60, Sight.FAULT)
    story.look("fine", 90, Sight.CUT_OFF)
    story.look("broken", 120, Sight.FAULT)
    blind = story.sightings.blindness((), 125)
    assert blind is not None
    assert 30 <= blind.since <= 90


def test_a_single_service_is_enough_to_be_blind_to() -> None:
    story = Story(only=Side.OUTSIDE)
    story.look("only", 0)
    story.look("only", 60, Sight.CUT_OFF)
    assert story.blind(69) is None
    assert story.blind(75) is not None


def test_seldom_checks_neither_hide_nor_make_a_blindness() -> None:
    rounds = {"cert": 6 * 3600.0, "a": ROUND, "b": ROUND}
    story = Story(rounds=rounds, cert=Side.OUTSIDE, a=Side.OUTSIDE, b=Side.OUTSIDE)
    story.minute(0)
    for at in (60.0, 120.0):
        story.look("a", at, Sight.CUT_OFF)
        story.look("b", at + 20, Sight.CUT_OFF)
    assert story.blind(140) is not None


def test_a_slow_grid_is_not_blind_between_two_rounds() -> None:
    story = Story(rounds={"broken": 310.0, "fine": 310.0}, broken=Side.INSIDE, fine=Side.INSIDE)
    story.look("fine", 0)
    story.look("broken", 10, Sight.FAULT)
    assert story.blind(299) is None


def test_at_the_start_a_round_passes_first() -> None:
    story = stack()
    story.look("web", 1, Sight.CUT_OFF)
    assert story.blind(2) is None
    assert story.blind(75) is not None


def test_an_hour_of_suspension_is_no_blindness() -> None:
    story = stack()
    story.minute(0)
    for name in story.sides:  # under way when the process was frozen
        story.look(name, 3700, Sight.LATE)
    since, _ = story.blind(3701) or (0, "")
    assert since == 3700, "it begins with what was seen after the hour, not before it"
    story.minute(3702)
    assert story.blind(3703) is None


def test_the_words_name_what_most_looks_met() -> None:
    story = stack()
    for at in (0.0, 60.0):
        story.minute(at, Sight.NO_RESOLVER)
    story.look("web", 119, Sight.LATE)
    blind = story.sightings.blindness((), 120)
    assert blind is not None
    assert blind.cause == Cause.NO_RESOLVER
    assert blind.evidence == "nothing of chat, postgres, redis and web; chat: chat: no_resolver"
    assert blind.remedy


def test_a_sign_is_one_of_its_own_side_and_new_enough() -> None:
    story = stack()
    story.look("postgres", 10)
    story.look("redis", 12, Sight.NO_CONNECT)
    story.look("web", 14, Sight.REFUSED)
    assert story.sightings.sign(Side.INSIDE, 10) == "postgres"
    assert story.sightings.sign(Side.INSIDE, 11) == ""
    assert story.sightings.sign(Side.OUTSIDE, 11) == "web"
    assert story.sightings.sign(Side.HERE, 0) == ""
