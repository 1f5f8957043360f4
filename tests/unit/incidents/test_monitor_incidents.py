"""The core, rule by rule: who is to blame, when an incident opens, and that it always ends."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from config.causes import Cause
from monitor.bookkeeping import FLAP_WINDOW, SETTLE, TIMELINE_MOST
from monitor.dependencies import Graph
from monitor.incidents import BLIND, Blindness, Book, Happening, Seen
from monitor.judge import State
from monitor.outages import AFTERMATH, HOLD_MOST, SPREAD_AFTER, acknowledge, step
from monitor.own_sight import BLIND_REST


def test_a_root_never_waits(stage: Any) -> None:
    stage.down("postgres")
    stage.turn()
    assert stage.story() == ["0 opened postgres"]
    one = stage.case("postgres").incident
    assert one.id == "20261121T000000Z-postgres"
    assert (one.state, one.worst, one.since, one.opened_at) == ("down", "down", stage.wall - 20, stage.wall)
    assert (one.check, one.cause, one.evidence, one.failed_checks) == ("ready", Cause.REFUSED, "refused", 3)


def test_one_outage_is_one_incident_at_the_root(stage: Any) -> None:
    stage.down("postgres")
    stage.passing(5)
    stage.down("litellm", "langfuse", "open-webui", missed=20)
    stage.passing(60)
    stage.down("saas-api")
    stage.passing(600)
    stage.up("postgres")
    stage.passing(15)
    stage.up("litellm", "langfuse", "open-webui")
    stage.passing(15)
    stage.up("saas-api")
    stage.passing(600)
    assert stage.story() == ["0 opened postgres", "665 resolved postgres"]


def test_the_opening_names_the_dependents_down_and_expected(stage: Any) -> None:
    stage.passing(100)
    stage.misses("postgres")
    stage.passing(1)
    stage.passes("langfuse")  # looked at when postgres first missed, and well still: its page may not know
    stage.passing(19)
    stage.down("litellm", missed=10)
    stage.down("postgres")
    stage.turn()
    assert stage.case("postgres").incident.affected == ("litellm", "langfuse", "open-webui", "saas-api")
    assert "takes down Litellm, Langfuse, Open-Webui and Saas-Api" in stage.told(Happening.OPENED, "postgres").text


def test_what_was_expected_to_fail_and_never_did_was_not_taken_down(stage: Any) -> None:
    stage.down("postgres")
    stage.passing(10)
    assert "langfuse" in stage.case("postgres").incident.affected
    stage.passes("langfuse")
    stage.up("postgres")
    stage.turn()
    assert stage.told(Happening.RESOLVED, "postgres").incident.affected == ()


def test_expected_named_and_then_down_is_no_news(stage: Any) -> None:
    stage.down("postgres")
    stage.passing(5)
    stage.down("litellm")
    stage.passing(120)
    assert stage.story() == ["0 opened postgres"]


def test_newly_hit_services_are_told_in_one_update(stage: Any) -> None:
    stage.passing(31)
    stage.degraded("postgres")  # slow: of nobody is it expected that it fails
    stage.passing(60)
    for name in ("litellm", "langfuse", "open-webui"):
        stage.degraded(name)
        stage.passing(5)
    stage.passing(200)
    assert stage.case("postgres").named == ("litellm", "langfuse", "open-webui")
    assert stage.story() == ["31 opened postgres", f"{91 + SPREAD_AFTER:g} spread postgres"]
    assert stage.told(Happening.SPREAD, "postgres").text.startswith("Litellm, Langfuse and Open-Webui are in trouble")


def test_a_child_waits_for_a_parent_not_seen_passing_since_its_first_miss(stage: Any) -> None:
    """It is confirmed first, the parent a little later: still one incident, the parent's."""
    stage.passing(100)
    stage.down("litellm")
    stage.passing(15)
    assert stage.story() == []
    stage.down("postgres", missed=35)
    stage.passing(300)
    assert stage.story() == ["115 opened postgres"]


def test_a_child_whose_parents_pass_after_its_first_miss_alerts_at_once(stage: Any) -> None:
    stage.passing(100)
    stage.misses("litellm")
    stage.passes("postgres", "redis")  # looked at at once, because litellm missed
    stage.passing(20)
    stage.down("litellm")
    stage.turn()
    assert stage.story() == ["120 opened litellm"]


def test_a_child_waits_no_longer_than_hold_most(stage: Any) -> None:
    stage.passing(100)
    stage.down("litellm")
    stage.passing(HOLD_MOST - 1)
    assert stage.story() == []
    stage.passing(1)
    assert stage.story() == ["190 opened litellm"]


def test_a_parent_that_cannot_be_looked_at_holds_no_longer_either(stage: Any) -> None:
    stage.unknown("postgres")
    stage.passing(50)
    stage.passes("redis")
    stage.down("litellm", missed=0)
    stage.passing(HOLD_MOST)
    assert stage.story() == ["140 opened litellm"]


def test_a_slow_parent_is_no_reason_for_a_child_that_is_down(stage: Any) -> None:
    """It answers, though with warnings: a service that is down behind it has a reason of its own."""
    stage.degraded("postgres")
    stage.passing(60)
    stage.misses("litellm")
    stage.seen["postgres"] = replace(stage.seen["postgres"], answered_at=stage.now)
    stage.passes("redis")
    stage.passing(20)
    stage.down("litellm")
    stage.turn()
    assert stage.story() == ["0 opened postgres", "80 opened litellm"]


def test_a_slow_parent_is_reason_enough_for_a_slow_child(stage: Any) -> None:
    stage.degraded("postgres")
    stage.passing(60)
    stage.degraded("litellm")
    stage.passing(600)
    assert stage.story() == ["0 opened postgres", "80 spread postgres"]


def test_a_slow_child_waits_for_a_parent_that_answers_slowly_since(stage: Any) -> None:
    """It may be about to count as degraded itself."""
    stage.passing(50)
    stage.misses("litellm")
    stage.passes("redis")
    stage.seen["postgres"] = replace(stage.seen["postgres"], answered_at=stage.now, troubled_at=stage.now)
    stage.passing(20)
    stage.degraded("litellm")
    stage.passing(30)
    stage.degraded("postgres")
    stage.passing(60)
    assert stage.story() == ["100 opened postgres"]


def test_a_child_that_gets_worse_than_its_parent_alerts_for_itself(stage: Any) -> None:
    stage.degraded("postgres")
    stage.passing(10)
    stage.degraded("litellm")
    stage.passing(60)
    assert stage.case("postgres").incident.affected == ("litellm",)
    stage.seen["postgres"] = replace(stage.seen["postgres"], answered_at=stage.now)
    stage.passes("redis")
    stage.down("litellm")
    stage.turn()
    assert stage.story("litellm") == ["70 opened litellm"]
    assert stage.case("postgres").incident.affected == ()


def test_suppression_reaches_through_a_suppressed_child(stage: Any) -> None:
    """saas-api knows of litellm only; that is down for postgres' sake."""
    stage.down("postgres", "litellm")
    stage.passing(5)
    stage.down("saas-api")
    stage.passing(900)
    assert stage.story() == ["0 opened postgres"]


def test_a_circle_does_not_hold_everybody_for_ever(stage_of: Callable[..., Any]) -> None:
    stage = stage_of({"a": ("b",), "b": ("c",), "c": ("a",)})
    stage.down("a", "b", "c")
    stage.passing(10)
    assert len(stage.story()) == 1
    assert sorted(stage.book.open[0].affected) == sorted({"a", "b", "c"} - {stage.book.open[0].root})


@pytest.mark.parametrize("alone", ["a", "b", "c"])
def test_each_of_a_circle_alerts_when_it_is_the_only_one(stage_of: Callable[..., Any], alone: str) -> None:
    stage = stage_of({"a": ("b",), "b": ("c",), "c": ("a",)})
    stage.passing(50)
    stage.misses(alone)
    stage.healthy()
    stage.passing(20)
    stage.down(alone)
    stage.turn()
    assert stage.story() == [f"70 opened {alone}"]


def test_a_service_that_depends_on_itself_is_its_own_root(stage_of: Callable[..., Any]) -> None:
    stage = stage_of({"a": ("a",)})
    stage.down("a")
    stage.turn()
    assert stage.story() == ["0 opened a"]


def test_a_paused_parent_excuses_nobody(stage: Any) -> None:
    stage.become(stage.service("postgres", paused=True))
    stage.seen["postgres"] = Seen(state=State.PAUSED, since=0.0)
    stage.passing(50)
    stage.passes("redis")
    stage.down("litellm", missed=0)
    stage.turn()
    assert stage.story() == ["50 opened litellm"]


def test_a_paused_child_is_not_expected_to_fail(stage: Any) -> None:
    stage.become(stage.service("litellm", "postgres", paused=True))
    stage.seen["litellm"] = Seen(state=State.PAUSED, since=0.0)
    stage.down("postgres")
    stage.turn()
    assert stage.case("postgres").incident.affected == ("langfuse", "open-webui")


def test_a_resolve_is_never_suppressed(stage: Any) -> None:
    """Its parent went down meanwhile; that it is up again is told all the same."""
    stage.passing(50)
    stage.misses("litellm")
    stage.healthy()
    stage.passing(20)
    stage.down("litellm")
    stage.passing(5)
    stage.down("postgres")
    stage.passing(5)
    stage.up("litellm")
    stage.turn()
    assert "80 resolved litellm" in stage.story()


def test_children_still_down_after_the_root_have_the_aftermath_to_come_back(stage: Any) -> None:
    stage.down("postgres", "litellm", "langfuse")
    stage.passing(300)
    stage.up("postgres")
    stage.passing(30)
    stage.up("langfuse")
    stage.passing(AFTERMATH - 31)
    assert stage.story() == ["0 opened postgres", "300 resolved postgres"]
    stage.passing(1)
    assert stage.story("litellm") == [f"{300 + AFTERMATH:g} opened litellm"]
    assert stage.case("litellm").incident.evidence == "refused; still down 2 min after Postgres recovered"
    assert stage.case("litellm").incident.since == stage.wall - 320 - AFTERMATH


def test_the_aftermath_counts_from_the_last_parent_that_recovers(stage: Any) -> None:
    stage.down("postgres", "redis", "litellm")
    stage.passing(100)
    stage.up("postgres")
    stage.passing(500)
    stage.up("redis")
    stage.passing(AFTERMATH)
    assert stage.story("litellm") == [f"{600 + AFTERMATH:g} opened litellm"]


def test_a_grandchild_waits_for_the_child_that_comes_back_late(stage: Any) -> None:
    stage.down("postgres", "litellm", "saas-api")
    stage.passing(100)
    stage.up("postgres")
    stage.passing(90)
    stage.up("litellm")
    stage.passing(AFTERMATH - 1)
    assert stage.story("saas-api") == []
    stage.passing(1)
    assert stage.story("saas-api") == [f"{190 + AFTERMATH:g} opened saas-api"]


def test_who_recovered_in_the_aftermath_and_fails_anew_alerts_at_once(stage: Any) -> None:
    stage.down("postgres", "litellm")
    stage.passing(100)
    stage.up("postgres")
    stage.passing(10)
    stage.up("litellm")
    stage.passing(10)
    stage.misses("litellm")
    stage.passes("postgres", "redis")
    stage.passing(20)
    stage.down("litellm")
    stage.turn()
    assert stage.story("litellm") == ["140 opened litellm"]


def test_degraded_then_down_is_one_incident_that_escalates(stage: Any) -> None:
    stage.degraded("postgres")
    stage.passing(60)
    stage.down("postgres", sentence="It is gone.")
    stage.passing(60)
    stage.degraded("postgres")
    stage.passing(60)
    stage.up("postgres")
    stage.turn()
    assert stage.story() == ["0 opened postgres", "60 worse postgres", "120 better postgres", "180 resolved postgres"]
    assert stage.told(Happening.WORSE, "postgres").text == "Postgres is down now, it was degraded: It is gone."
    over = stage.told(Happening.RESOLVED, "postgres").incident
    assert (over.state, over.worst, over.resolved_at) == ("up", "down", stage.wall)
    assert len({one.incident.id for _, one in stage.said}) == 1


def test_another_check_that_fails_besides_changes_the_texts_and_says_nothing(stage: Any) -> None:
    stage.down("postgres")
    stage.passing(60)
    stage.down("postgres", check="disk", sentence="The disk is full.", cause=Cause.CAPACITY)
    stage.passing(60)
    assert stage.story() == ["0 opened postgres"]
    assert stage.case("postgres").incident.sentence == "The disk is full."


def test_unknown_keeps_the_incident_open(stage: Any) -> None:
    stage.down("postgres")
    stage.passing(60)
    stage.unknown("postgres")
    stage.passing(3600)
    assert stage.case("postgres").incident.state == "down"
    stage.down("postgres")
    stage.passing(60)
    stage.unknown("postgres")
    stage.passing(60)
    stage.up("postgres")
    stage.turn()
    assert stage.story() == ["0 opened postgres", "3780 resolved postgres"]


def test_a_root_that_cannot_be_looked_at_any_more_still_excuses_its_children(stage: Any) -> None:
    stage.down("postgres", "litellm")
    stage.passing(60)
    stage.unknown("postgres")
    stage.passing(900)
    assert stage.story() == ["0 opened postgres"]


def test_a_suppressed_parent_that_cannot_be_looked_at_still_excuses_its_children(stage: Any) -> None:
    stage.down("postgres", "litellm", "saas-api")
    stage.passing(60)
    stage.unknown("litellm")
    stage.passing(900)
    assert stage.story() == ["0 opened postgres"]


def test_a_service_that_is_paused_has_its_incident_closed_in_words(stage: Any) -> None:
    stage.down("postgres")
    stage.passing(60)
    stage.become(stage.service("postgres", paused=True))
    stage.seen["postgres"] = Seen(state=State.PAUSED, since=0.0)
    stage.turn()
    said = stage.told(Happening.RESOLVED, "postgres")
    assert (said.incident.state, said.text) == ("paused", "Postgres is paused, so nobody looks at it any more.")


def test_a_service_taken_out_of_the_configuration_has_its_incident_closed_in_words(stage: Any) -> None:
    stage.down("postgres", "litellm")
    stage.passing(60)
    stage.forget("postgres")
    stage.turn()
    said = stage.told(Happening.RESOLVED, "postgres")
    assert (said.incident.state, said.text) == (
        "gone",
        "postgres is no longer configured, so nobody looks at it any more.",
    )
    stage.passing(AFTERMATH)
    assert stage.story("litellm") == [f"{60 + AFTERMATH:g} opened litellm"]
    assert stage.case("litellm").incident.evidence == "refused", "nobody saw it recover"


def test_a_candidate_that_is_no_longer_configured_is_forgotten(stage: Any) -> None:
    stage.down("postgres", "litellm")
    stage.passing(5)
    assert stage.book.held.keys() == {"litellm"}
    stage.forget("litellm")
    stage.turn()
    assert stage.book.held == {}
    assert "litellm" not in stage.case("postgres").incident.affected


def test_a_slower_parent_opens_as_root_and_the_childs_incident_goes_its_own_way(stage: Any) -> None:
    stage.passing(30)
    stage.misses("litellm")
    stage.passes("postgres", "redis")
    stage.passing(20)
    stage.down("litellm")
    stage.passing(10)
    stage.down("postgres", missed=5)
    stage.turn()
    assert stage.case("postgres").incident.affected[0] == "litellm"
    assert stage.case("litellm").covered
    stage.passing(7200)
    stage.up("litellm")
    stage.passing(10)
    stage.up("postgres")
    stage.turn()
    assert stage.story() == [
        "50 opened litellm",
        "60 opened postgres",
        "7260 resolved litellm",
        "7270 resolved postgres",
    ]


def test_an_open_warning_that_goes_down_with_its_parent_is_not_told_again(stage: Any) -> None:
    stage.degraded("litellm")
    stage.passing(HOLD_MOST)
    stage.down("postgres")
    stage.passing(5)
    stage.down("litellm")
    stage.passing(60)
    assert stage.story("litellm") == [f"{HOLD_MOST:g} opened litellm"]
    assert stage.case("litellm").incident.state == "down"
    stage.up("postgres")
    stage.passing(AFTERMATH)
    assert stage.story("litellm")[1:] == [f"{HOLD_MOST + 65 + AFTERMATH:g} worse litellm"]


def test_what_gets_better_under_its_parent_is_told_when_that_is_over(stage: Any) -> None:
    stage.down("litellm")
    stage.passing(HOLD_MOST)
    stage.down("postgres")
    stage.passing(30)
    stage.degraded("litellm")
    stage.passing(600)
    assert stage.story("litellm") == ["90 opened litellm"]
    stage.up("postgres")
    stage.turn()
    assert stage.story("litellm")[1:] == ["720 better litellm"]


def test_what_spreads_from_a_child_is_the_parents_to_tell(stage: Any) -> None:
    stage.passing(10)
    stage.misses("litellm")
    stage.passes("postgres", "redis", "open-webui", "saas-api")
    stage.passing(20)
    stage.down("litellm")
    stage.passing(20)
    stage.down("postgres")
    stage.passing(5)
    stage.down("saas-api")
    stage.passing(600)
    assert stage.story("litellm") == ["30 opened litellm"]
    assert "saas-api" in stage.case("litellm").incident.affected


def flap(stage: Any, name: str = "postgres", *, times: int, every: float = 120) -> None:
    for _ in range(times):
        stage.down(name)
        stage.passing(every / 2)
        stage.up(name)
        stage.passing(every / 2)


def test_flapping_is_said_once_and_the_incident_stays_open(stage: Any) -> None:
    flap(stage, times=8)
    assert stage.story() == [
        "0 opened postgres",
        "60 resolved postgres",
        "120 opened postgres",
        "180 resolved postgres",
        "240 opened postgres",
        "240 flapping postgres",
    ]
    assert stage.case("postgres").incident.state == "up"
    stage.passing(SETTLE)
    over = stage.told(Happening.FLAPPING, "postgres").incident
    assert over.downs == 3
    last = stage.said[-1][1]
    assert (last.what, last.incident.downs) == (Happening.RESOLVED, 8)
    assert last.text.endswith("for 10 min without a break; it went down 8 times.")
    assert last.incident.resolved_at == pytest.approx(stage.wall - (stage.now - 900))


def test_what_a_flapping_service_takes_down_is_not_told_each_time(stage: Any) -> None:
    for _ in range(4):
        stage.misses("postgres")
        stage.passing(1)
        stage.healthy()
        stage.down("postgres")
        stage.passing(60)
        stage.up("postgres")
        stage.passing(60)
    stage.down("postgres", missed=0)
    stage.passing(30)
    stage.down("litellm")
    stage.passing(600)
    assert not any("spread" in line for line in stage.story())


def test_the_failed_runs_of_every_row_of_a_flapping_service_count(stage: Any) -> None:
    flap(stage, times=6)
    assert stage.case("postgres").incident.failed_checks == 4 * 3


def test_downs_far_apart_count_too_once_it_flaps(stage: Any) -> None:
    flap(stage, times=3)
    stage.down("postgres")
    stage.passing(2 * FLAP_WINDOW, every=10)
    stage.up("postgres")
    stage.passing(60)
    stage.down("postgres")
    stage.turn()
    assert stage.case("postgres").incident.downs == 5


def test_a_break_in_the_good_phase_starts_it_anew(stage: Any) -> None:
    flap(stage, times=3)
    stage.passing(SETTLE - 120)
    stage.unknown("postgres")
    stage.passing(5)
    stage.up("postgres")
    stage.passing(SETTLE - 1)
    assert stage.case("postgres").incident.flapping
    stage.passing(1)
    assert "postgres" not in stage.book.cases


def test_three_downs_that_are_far_apart_are_no_flapping(stage: Any) -> None:
    flap(stage, times=5, every=FLAP_WINDOW / 2 + 2)
    assert not any("flapping" in line for line in stage.story())


def test_after_it_settled_the_count_begins_anew(stage: Any) -> None:
    flap(stage, times=3)
    stage.passing(SETTLE)
    stage.down("postgres")
    stage.passing(10)
    stage.up("postgres")
    stage.turn()
    assert stage.story()[-2:] == ["960 opened postgres", "970 resolved postgres"]


def test_going_to_and_fro_between_degraded_and_down_is_flapping_too(stage: Any) -> None:
    stage.degraded("postgres")
    for _ in range(20):
        stage.passing(30)
        stage.down("postgres")
        stage.passing(30)
        stage.degraded("postgres")
    assert stage.story() == [
        "0 opened postgres",
        "30 worse postgres",
        "60 better postgres",
        "90 worse postgres",
        "90 flapping postgres",
    ]


def test_that_a_flapping_service_is_down_for_the_first_time_is_told(stage: Any) -> None:
    for _ in range(4):
        stage.degraded("postgres")
        stage.passing(60)
        stage.up("postgres")
        stage.passing(60)
    stage.down("postgres")
    stage.passing(60)
    stage.up("postgres")
    stage.passing(60)
    stage.down("postgres")
    stage.turn()
    assert stage.story()[-3:] == ["240 opened postgres", "240 flapping postgres", "480 worse postgres"]


def test_flaps_of_a_root_do_not_make_its_children_alert(stage: Any) -> None:
    for _ in range(6):
        stage.down("postgres")
        stage.passing(5)
        stage.down("litellm")
        stage.passing(55)
        stage.up("postgres")
        stage.passing(20)
        stage.up("litellm")
        stage.passing(40)
    assert stage.story("litellm") == []


def test_nothing_is_opened_before_the_first_round_is_over(stage: Any) -> None:
    stage.book, stage.round_over = Book(), False
    stage.down("postgres", "litellm")
    stage.passing(59)
    assert stage.story() == []
    stage.round_over = True
    stage.turn()
    assert stage.story() == ["59 opened postgres"]


def test_a_round_is_over_for_good(stage: Any) -> None:
    stage.round_over = False
    stage.down("postgres")
    stage.turn()
    assert stage.story() == ["0 opened postgres"]


def restart(stage: Any, *, away: float = 30.0) -> None:
    """The daemon dies and another goes on from the book, on a monotonic clock of its own."""
    gone = stage.now

    def later(at: float | None) -> float | None:
        return None if at is None else at - gone - away

    stage.book = replace(
        stage.book,
        round_over=False,
        ahead=None,
        cases={
            root: replace(
                case,
                began=later(case.began),
                opened=later(case.opened),
                spoken=later(case.spoken),
                well_since=later(case.well_since),
            )
            for root, case in stage.book.cases.items()
        },
        held={
            name: replace(one, noticed=later(one.noticed), freed=later(one.freed))
            for name, one in stage.book.held.items()
        },
    )
    stage.now, stage.wall, stage.round_over = 0.0, stage.wall + away, False
    for name, one in stage.seen.items():
        stage.seen[name] = replace(one, answered_at=None, passed_at=None, troubled_at=None)


def test_open_incidents_are_picked_up_after_a_restart_and_not_told_again(stage: Any) -> None:
    stage.down("postgres", "litellm")
    stage.passing(60)
    restart(stage)
    stage.passing(60)
    stage.round_over = True
    stage.passing(600)
    assert stage.story() == ["0 opened postgres"]
    assert stage.sent("pagerduty") == ["60 open postgres down"]


def test_whom_it_takes_down_is_not_guessed_before_the_first_round_is_over(stage: Any) -> None:
    stage.degraded("postgres")
    stage.passing(10)
    assert stage.case("postgres").incident.affected == ()
    restart(stage)
    stage.down("postgres")
    stage.passing(30)
    assert stage.case("postgres").incident.affected == ()


def test_a_flapping_service_is_looked_at_again_before_it_counts_as_settled(stage: Any) -> None:
    flap(stage, times=3)
    restart(stage, away=2 * SETTLE)
    stage.passing(30)
    assert stage.case("postgres").incident.flapping
    stage.round_over = True
    stage.passing(1)
    assert "postgres" not in stage.book.cases


def test_what_recovered_while_the_daemon_was_away_is_resolved(stage: Any) -> None:
    stage.down("postgres")
    stage.passing(60)
    restart(stage)
    stage.passing(12)
    stage.up("postgres")
    stage.turn()
    assert stage.story() == ["0 opened postgres", "12 resolved postgres"]


def test_what_got_worse_while_the_daemon_was_away_is_said(stage: Any) -> None:
    stage.degraded("postgres")
    stage.passing(60)
    restart(stage)
    stage.down("postgres")
    stage.passing(60)
    stage.round_over = True
    stage.turn()
    assert stage.story() == ["0 opened postgres", "60 worse postgres"]


def test_suppressed_children_do_not_escape_by_a_restart(stage: Any) -> None:
    """Alertmanager #4064: after a restart the inhibited alerts are there before what inhibits them."""
    stage.down("postgres", "litellm")
    stage.passing(60)
    restart(stage)
    stage.passes("redis")
    stage.passing(60)
    stage.round_over = True
    stage.passing(10)
    stage.up("postgres")
    stage.passing(AFTERMATH - 1)
    assert stage.story("litellm") == []
    stage.passing(1)
    assert stage.story("litellm") == [f"{70 + AFTERMATH:g} opened litellm"]


def blindness(since: float, *, partly: bool = False) -> Blindness:
    return Blindness(since=since, sentence="We cannot look.", evidence="none of 3 anchors answered", partly=partly)


def test_blind_for_two_minutes_is_an_incident_of_its_own(stage: Any) -> None:
    stage.passing(10)
    stage.blind = blindness(10.0)
    stage.unknown(*stage.seen)
    stage.passing(119)
    assert stage.story() == []
    stage.passing(300)
    assert stage.story() == [f"130 opened {BLIND}"]
    one = stage.case(BLIND).incident
    assert (one.state, one.since, one.id) == ("blind", stage.wall - 419, "20261121T000210Z-blind")
    stage.blind = None
    stage.passing(1)
    stage.up(*stage.seen)
    stage.passing(600)
    assert stage.story() == [f"130 opened {BLIND}", f"429 resolved {BLIND}"]


def test_a_short_blindness_is_not_told(stage: Any) -> None:
    stage.blind = blindness(0.0)
    stage.passing(119)
    stage.blind = None
    stage.passing(10)
    assert stage.story() == []


def test_nothing_opens_or_escalates_while_we_are_blind(stage: Any) -> None:
    stage.degraded("redis")
    stage.turn()
    stage.blind = blindness(0.0)
    stage.passing(10)
    stage.down("postgres", "redis", "litellm")
    stage.passing(60)
    assert stage.story() == ["0 opened redis"]


def test_one_that_cannot_be_looked_at_keeps_no_other_from_being_told(stage: Any) -> None:
    stage.unknown("redis")
    stage.blind = blindness(0.0, partly=True)
    stage.passing(200)
    assert stage.story() == [f"120 opened {BLIND}"]
    assert stage.case(BLIND).incident.state == "degraded"
    stage.down("postgres")
    stage.turn()
    assert stage.story("postgres") == ["200 opened postgres"]
    stage.blind = None
    stage.up("redis")
    stage.passing(10)
    assert stage.told(Happening.RESOLVED, BLIND).text.startswith("Everything can be looked at again after 3 min")


def test_blind_to_one_and_then_to_all_is_one_incident_that_gets_worse_at_once_and_better_when_it_lasts(
    stage: Any,
) -> None:
    stage.blind = blindness(0.0, partly=True)
    stage.passing(200)
    stage.blind = blindness(0.0)
    stage.passing(100)
    stage.blind = blindness(0.0, partly=True)
    stage.passing(119)
    assert stage.story() == [f"120 opened {BLIND}", f"200 worse {BLIND}"]
    stage.passing(10)
    assert stage.story()[2:] == [f"420 better {BLIND}"]


def test_a_blindness_in_whose_end_one_is_seen_after_the_other_gets_no_better_before_it_is_over(stage: Any) -> None:
    stage.blind = blindness(0.0)
    stage.passing(300)
    stage.blind = blindness(0.0, partly=True)
    stage.passing(60)
    stage.blind = None
    stage.passing(10)
    assert stage.story() == [f"120 opened {BLIND}", f"360 resolved {BLIND}"]


def test_what_was_down_when_we_went_blind_is_looked_at_again_before_it_is_told(stage: Any) -> None:
    stage.blind = blindness(0.0)
    stage.passing(10)
    stage.down("postgres")
    stage.passing(30)
    stage.blind = None
    stage.passing(BLIND_REST - 5)
    stage.up("postgres")  # it was the blindness, after all
    stage.passing(60)
    assert stage.story() == []
    stage.down("postgres")
    stage.turn()
    assert stage.story("postgres") == [f"{stage.now:g} opened postgres"]


def test_an_incident_open_before_the_blindness_is_open_after_it(stage: Any) -> None:
    stage.down("postgres")
    stage.passing(60)
    stage.unknown(*stage.seen)
    stage.blind = blindness(60.0)
    stage.passing(300)
    stage.blind = None
    stage.down("postgres")
    stage.passing(60)
    assert stage.story("postgres") == ["0 opened postgres"]


def test_blindness_is_carried_over_a_restart(stage: Any) -> None:
    stage.blind = blindness(0.0)
    stage.passing(130)
    restart(stage)
    stage.blind = None  # not known yet
    stage.passing(10)
    assert BLIND in stage.book.cases
    stage.blind = blindness(10.0)
    stage.passing(300)
    assert stage.story() == [f"120 opened {BLIND}"]


@pytest.mark.parametrize("by", [3600.0, -3600.0])
def test_a_stepped_wall_clock_changes_nothing_but_what_is_recorded(stage: Any, by: float) -> None:
    stage.down("postgres", "litellm")
    stage.passing(100)
    stage.wall += by
    stage.passing(100)
    one = stage.case("postgres").incident
    assert (stage.wall - one.since, stage.wall - one.opened_at) == (220, 200)
    assert stage.wall - one.timeline[0].at == 200
    stage.seen["postgres"] = replace(stage.seen["postgres"], state=State.UP, since=stage.wall - 10 - by)
    stage.turn()
    assert stage.told(Happening.RESOLVED, "postgres").text == "Postgres is up again after 3 min 40 s."
    stage.passing(AFTERMATH)
    assert stage.story("litellm") == [f"{200 + AFTERMATH:g} opened litellm"]
    assert stage.wall - stage.case("litellm").incident.since == 220 + AFTERMATH


def test_two_incidents_of_one_second_have_two_ids(stage: Any) -> None:
    stage.down("postgres")
    stage.turn()
    stage.up("postgres")
    stage.turn()
    stage.wall -= 3600
    stage.passing(3599)
    stage.wall = stage.said[0][1].incident.opened_at
    stage.down("postgres")
    stage.turn()
    ids = [one.incident.id for _, one in stage.said if one.what == Happening.OPENED]
    assert ids == ["20261121T000000Z-postgres", "20261121T000000Z-postgres-2"]


def test_failed_runs_are_counted_over_restarts_of_the_counter(stage: Any) -> None:
    stage.down("postgres", runs=3)
    stage.passing(60)
    stage.trouble("postgres", State.DOWN, runs=40)
    stage.passing(120)
    assert stage.case("postgres").incident.failed_checks == 40
    stage.trouble("postgres", State.DOWN, runs=5)  # another daemon counts from nothing
    stage.passing(120)
    stage.trouble("postgres", State.DOWN, runs=7)
    stage.up("postgres")
    stage.turn()
    assert stage.told(Happening.RESOLVED, "postgres").incident.failed_checks == 47


def test_an_acknowledgement_is_in_the_timeline(stage: Any) -> None:
    stage.down("postgres")
    stage.passing(10)
    stage.acknowledge("postgres", "Ada")
    one = stage.case("postgres").incident
    assert (one.acknowledged_by, one.acknowledged_at) == ("Ada", stage.wall)
    assert [entry.what for entry in one.timeline] == [Happening.OPENED, Happening.ACKNOWLEDGED]
    assert acknowledge(stage.book, "redis", by="Ada", wall=stage.wall) == (stage.book, None)


def test_a_timeline_keeps_its_beginning_and_its_newest(stage: Any) -> None:
    stage.down("postgres")
    stage.turn()
    for number in range(TIMELINE_MOST + 20):
        stage.acknowledge("postgres", f"nobody {number}")
    lines = stage.case("postgres").incident.timeline
    assert (len(lines), lines[0].what) == (TIMELINE_MOST, Happening.OPENED)
    assert lines[-1].text.startswith(f"Acknowledged by nobody {TIMELINE_MOST + 19}")


def test_a_thousand_services_that_are_well_cost_little() -> None:
    """A turn a second must be nothing; this counts what it touches, since time cannot be trusted in a test."""
    touched: list[str] = []

    class Watched(dict[str, Seen]):
        def __getitem__(self, name: str) -> Seen:
            touched.append(name)
            return super().__getitem__(name)

    names = [f"s{number}" for number in range(1000)]
    seen = Watched({name: Seen(state=State.UP, since=0.0) for name in names})
    from_start, _ = step(Book(), Graph.of([]), seen, 1.0, wall=2.0, round_over=True)
    again, said = step(from_start, Graph.of([]), seen, 2.0, wall=3.0, round_over=True)
    assert (again is from_start, said, touched) == (True, (), [])
