"""Who is told what and when; the noise that is spared; and the defects of other tools that live in this part."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from alerts.alert import Affected, Alert, Kind, Severity
from config.alert_settings import AlertSettings
from monitor.facts import Fact
from monitor.incidents import BLIND, Blindness, Happening
from monitor.judge import State
from monitor.letters import severity_of
from monitor.outages import AFTERMATH
from monitor.routing import GATHER, amnesia

COOLDOWN = AlertSettings().cooldown
PAGE_AFTER = AlertSettings().page_after


def alert(stage: Any, kind: Kind, channel: str = "slack") -> Alert:
    """The one alert of this kind that `channel` was told."""
    (found,) = [put.alert for _, put in stage.puts if put.channel == channel and put.alert.kind == kind]
    return found


# Who is told when.


def test_chat_at_once_the_pager_after_a_minute_and_both_that_it_is_over(stage: Any) -> None:
    stage.down("postgres")
    stage.passing(300)
    stage.up("postgres")
    stage.turn()
    assert stage.sent("slack") == ["0 open postgres down", "300 resolve postgres up"]
    assert stage.sent("pagerduty") == [f"{PAGE_AFTER:g} open postgres down", "300 resolve postgres up"]


def test_a_redeploy_pages_nobody(stage: Any) -> None:
    stage.down("postgres")
    stage.passing(PAGE_AFTER - 1)
    stage.up("postgres")
    stage.passing(300)
    assert stage.sent("pagerduty") == []
    assert stage.sent("slack") == ["0 open postgres down", "59 resolve postgres up"]


def test_a_stepped_wall_clock_pages_neither_early_nor_late(stage: Any) -> None:
    stage.down("postgres")
    stage.passing(10)
    stage.wall -= 3600
    stage.passing(10)
    stage.wall += 7200
    stage.passing(100)
    assert stage.sent("pagerduty") == [f"{PAGE_AFTER:g} open postgres down"]


def test_what_is_merely_degraded_pages_nobody_until_it_is_down(stage: Any) -> None:
    stage.degraded("postgres")
    stage.passing(600)
    assert stage.sent("pagerduty") == []
    stage.down("postgres")
    stage.turn()
    assert stage.sent("pagerduty") == ["600 open postgres down"]
    stage.degraded("postgres")
    stage.passing(60)
    stage.up("postgres")
    stage.turn()
    assert stage.sent("pagerduty")[1:] == ["600 update postgres degraded", "660 resolve postgres up"]
    assert stage.sent("slack") == [
        "0 open postgres degraded",
        "600 update postgres down",
        "600 update postgres degraded",
        "660 resolve postgres up",
    ]


def test_a_channel_that_was_taken_out_during_an_outage_finds_its_end_when_it_is_back(stage: Any) -> None:
    stage.down("postgres")
    stage.passing(60)
    stage.ways = replace(stage.ways, channels=stage.ways.channels[:1])
    stage.up("postgres")
    stage.turn()
    assert stage.sent("pagerduty") == ["60 open postgres down", "60 resolve postgres up"]


def test_a_worse_state_says_what_it_was(stage: Any) -> None:
    stage.degraded("postgres")
    stage.passing(10)
    stage.down("postgres")
    stage.turn()
    update = alert(stage, Kind.UPDATE)
    assert (update.note, update.state, update.severity) == ("It was degraded.", "down", Severity.CRITICAL)


def test_a_child_whose_parent_turns_out_to_be_the_reason_pages_nobody(stage: Any) -> None:
    """Chat was told of the child for itself; by the time the pager is due the parent's incident tells it all."""
    stage.passing(30)
    stage.misses("litellm")
    stage.passes("postgres", "redis")
    stage.passing(20)
    stage.down("litellm")
    stage.passing(10)
    stage.down("postgres")
    stage.passing(300)
    stage.up("postgres")
    stage.passing(20)
    stage.up("litellm")
    stage.passing(600)
    assert [line.split(" ", 1)[1] for line in stage.sent("pagerduty")] == ["open postgres down", "resolve postgres up"]


def test_the_pager_hears_of_a_child_that_does_not_recover_with_its_parent(stage: Any) -> None:
    stage.down("litellm")
    stage.passing(90)
    stage.down("postgres")
    stage.passing(120)
    stage.up("postgres")
    stage.passing(AFTERMATH)
    assert stage.sent("pagerduty")[-1] == f"{210 + AFTERMATH:g} open litellm down"


def test_blindness_pages_at_once_it_has_lasted_long_enough(stage: Any) -> None:
    stage.blind = Blindness(since=0.0, sentence="We cannot look.", evidence="no anchor answered")
    stage.passing(121)
    assert stage.sent("pagerduty") == [f"120 open {BLIND} blind"]
    told = alert(stage, Kind.OPEN)
    assert (told.dedup_key, told.title, told.severity) == ("here/watch", "Watchkeeper", Severity.CRITICAL)
    assert told.command == "python -m monitor check"


def test_that_one_service_cannot_be_looked_at_wakes_nobody_until_none_can(stage: Any) -> None:
    one = Blindness(since=0.0, sentence="Nothing of redis is seen.", evidence="EMFILE", partly=True)
    stage.blind = one
    stage.passing(600)
    assert stage.sent("pagerduty") == []
    assert stage.sent("slack") == [f"120 open {BLIND} degraded"]
    told = alert(stage, Kind.OPEN)
    assert (told.severity, told.sentence) == (Severity.WARNING, "Nothing of redis is seen.")
    stage.blind = replace(one, partly=False)
    stage.passing(10)
    assert stage.sent("pagerduty") == [f"600 open {BLIND} blind"]
    assert stage.sent("slack")[1:] == [f"600 update {BLIND} blind"]


# What is told.


def test_the_alert_says_all_there_is_to_say(stage: Any) -> None:
    settings = AlertSettings(public_url="https://status.example")
    stage.ways = replace(stage.ways, settings=settings)
    stage.become(replace(stage.services["litellm"], title="LiteLLM", runbook="https://wiki/litellm"))
    stage.passing(3600)
    stage.learn(
        Fact(service="litellm", name="version", value="1.85", before="1.84", since=stage.wall - 260),
        Fact(service="postgres", name="started", value="00:50", before="00:10", since=stage.wall - 500),
        Fact(service="redis", name="version", value="8", before="7", since=stage.wall - 1900),
        Fact(service="langfuse", name="version", value="3", before="2", since=stage.wall - 60),
        Fact(service="litellm", name="role", value="primary", before=None, since=stage.wall - 60),
        Fact(
            service="litellm", name="started", value="02:00", before="00:10", since=stage.wall + 3600
        ),  # another clock
    )
    stage.misses("litellm")
    stage.passes("postgres", "redis", "open-webui")
    stage.passing(20)
    stage.down("saas-api")
    stage.down("litellm", sentence="It refuses.", evidence="port 4000 refused", remedy="Start it.")
    stage.turn()
    told = alert(stage, Kind.OPEN)
    assert (told.severity, told.state, told.cause) == (Severity.CRITICAL, "down", "refused")
    assert (told.incident, told.dedup_key) == ("20261121T010020Z-litellm", "here/litellm")
    assert (told.title, told.since, told.at, told.ended) == ("LiteLLM", stage.wall - 20, stage.wall, None)
    assert (told.sentence, told.evidence, told.remedy) == ("It refuses.", "port 4000 refused", "Start it.")
    assert told.takes_down == (
        Affected(service="saas-api", title="Saas-Api", state="down"),
        Affected(service="open-webui", title="Open-Webui", state="expected"),
    )
    assert [change.text for change in told.changes] == ["LiteLLM: version 1.84 → 1.85", "Postgres: restarted at 00:50"]
    assert told.command == "python -m monitor explain litellm"
    assert (told.runbook, told.status_url) == ("https://wiki/litellm", f"https://status.example/#{told.incident}")
    assert (told.note, told.failed_checks, told.changes_of_state) == ("", 3, 0)


def test_the_resolve_says_how_long_it_lasted_and_what_it_took_down(stage: Any) -> None:
    stage.down("postgres", "litellm")
    stage.passing(240)
    stage.seen["postgres"] = replace(stage.seen["postgres"], failed_runs=27)
    stage.up("postgres")
    stage.turn()
    told = alert(stage, Kind.RESOLVE)
    assert (told.ended - told.since, told.failed_checks, told.state, told.note) == (260, 27, "up", "")
    assert [one.service for one in told.takes_down] == ["litellm"]


def test_the_resolve_of_a_paused_service_does_not_claim_that_it_is_up(stage: Any) -> None:
    stage.down("postgres")
    stage.passing(60)
    stage.become(stage.service("postgres", paused=True))
    stage.turn()
    told = alert(stage, Kind.RESOLVE)
    assert (told.state, told.note) == ("paused", "Postgres is paused, so nobody looks at it any more.")


@pytest.mark.parametrize(
    ("service", "check", "severity", "state", "severity_told"),
    [
        (None, None, "down", "down", Severity.CRITICAL),
        (None, None, "down", "degraded", Severity.WARNING),
        ("critical", None, "down", "degraded", Severity.WARNING),
        ("error", None, "down", "down", Severity.ERROR),
        ("warning", None, "down", "down", Severity.WARNING),
        ("info", None, "down", "degraded", Severity.INFO),
        ("none", None, "down", "down", None),
        ("none", "critical", "down", "down", Severity.CRITICAL),
        (None, "info", "down", "down", Severity.INFO),
        (None, "critical", "degraded", "degraded", Severity.CRITICAL),
        (None, "critical", "down", "degraded", Severity.WARNING),
        ("critical", "none", "down", "down", None),
    ],
)
def test_how_loudly_is_the_services_and_the_checks_to_say(
    stage: Any, service: str | None, check: str | None, severity: str, state: str, severity_told: Severity | None
) -> None:
    one = stage.services["postgres"]
    checks = (replace(one.checks[0], alert=check, severity=severity),)
    stage.become(replace(one, alert=service, checks=checks))
    assert severity_of(stage.graph, "postgres", "ready", state) == severity_told


def test_only_what_is_critical_pages(stage: Any) -> None:
    stage.become(replace(stage.services["postgres"], alert="error"))
    stage.down("postgres")
    stage.passing(600)
    assert stage.sent("slack") == ["0 open postgres down"]
    assert stage.sent("pagerduty") == []


def test_what_is_to_be_told_nobody_is_told_nobody_and_still_an_incident(stage: Any) -> None:
    stage.become(replace(stage.services["postgres"], alert="none"))
    stage.down("postgres", "litellm")
    stage.passing(7200, every=60)
    stage.up("postgres", "litellm")
    stage.turn()
    assert stage.puts == []
    assert stage.story() == ["0 opened postgres", "7200 resolved postgres"]


def test_what_goes_down_later_is_an_update(stage: Any) -> None:
    stage.degraded("postgres")
    stage.passing(100)
    stage.degraded("litellm")
    stage.passing(60)
    assert stage.sent("slack") == ["0 open postgres degraded", "120 update postgres degraded"]
    told = alert(stage, Kind.UPDATE)
    assert told.note == "Litellm is in trouble too, with Postgres."
    assert Affected(service="litellm", title="Litellm", state="degraded") in told.takes_down


def test_flapping_is_one_message_and_then_silence_until_it_settled(stage: Any) -> None:
    for _ in range(30):
        stage.down("postgres")
        stage.passing(70)
        stage.up("postgres")
        stage.passing(50)
    stage.passing(600)
    assert stage.sent("slack") == [
        "0 open postgres down",
        "70 resolve postgres up",
        "120 open postgres down",
        "190 resolve postgres up",
        "240 open postgres flapping",
        "4150 resolve postgres up",
    ]
    opens = [put.alert for _, put in stage.puts if put.channel == "slack" and put.alert.kind == Kind.OPEN]
    assert "3 times within 30 min" in opens[-1].note
    last = stage.puts[-1][1].alert
    assert (last.kind, last.changes_of_state) == (Kind.RESOLVE, 30)
    pages = [line.split()[1] for line in stage.sent("pagerduty")]
    assert pages == ["open", "resolve"] * 3


def test_a_channel_that_was_told_before_it_flapped_hears_of_it_once(stage: Any) -> None:
    stage.degraded("postgres")
    for _ in range(10):
        stage.passing(30)
        stage.down("postgres")
        stage.passing(30)
        stage.degraded("postgres")
    assert stage.sent("slack") == [
        "0 open postgres degraded",
        "30 update postgres down",
        "60 update postgres degraded",
        "90 update postgres flapping",
    ]


def test_the_pager_hears_no_news_of_what_is_no_longer_critical(stage: Any) -> None:
    stage.down("postgres")
    stage.passing(90)
    stage.degraded("postgres")
    stage.passing(10)
    stage.healthy()
    stage.passing(50)
    stage.book = replace(stage.book, cases={"postgres": replace(stage.case("postgres"), named=())})
    stage.degraded("litellm")
    stage.passing(60)
    assert stage.sent("slack")[-1] == "170 update postgres degraded"
    assert stage.sent("pagerduty")[-1] == "90 update postgres degraded"


def test_a_child_that_flaps_under_its_parent_is_no_news(stage: Any) -> None:
    stage.degraded("litellm")
    stage.passing(90)
    stage.down("postgres")
    stage.passing(5)
    for _ in range(4):
        stage.down("litellm")
        stage.passing(30)
        stage.degraded("litellm")
        stage.passing(30)
    assert any(one.what == Happening.FLAPPING for _, one in stage.said)
    assert [line for line in stage.sent("slack") if "litellm" in line] == ["90 open litellm degraded"]


def test_a_daemon_that_was_restarted_pages_when_everything_was_looked_at_again(stage: Any) -> None:
    stage.down("postgres")
    stage.passing(30)
    stage.book, stage.round_over = replace(stage.book, round_over=False), False
    stage.passing(90)
    assert stage.sent("pagerduty") == []
    stage.round_over = True
    stage.turn()
    assert stage.sent("pagerduty") == ["120 open postgres down"]


# Reminders.


def reminders(stage: Any, channel: str = "slack") -> list[float]:
    return [at for at, put in stage.puts if put.channel == channel and put.alert.kind == Kind.REMINDER]


def test_reminders_come_ever_less_often_and_at_least_daily(stage: Any) -> None:
    stage.down("postgres")
    stage.passing(4.5 * 86_400, every=60)
    gaps = [after - before for before, after in zip([0, *reminders(stage)], reminders(stage), strict=False)]
    assert gaps == [min(COOLDOWN * 2**count, 86_400) for count in range(len(gaps))]
    assert gaps[-1] == 86_400
    assert reminders(stage, "pagerduty") == []
    assert stage.case("postgres").incident.reminders == len(gaps)


def test_a_reminder_says_which_one_it_is(stage: Any) -> None:
    stage.down("postgres")
    stage.passing(COOLDOWN)
    told = alert(stage, Kind.REMINDER)
    assert (told.note, told.state) == ("The 1st reminder.", "down")
    one = stage.case("postgres").incident
    assert (one.reminders, one.reminded_at, one.timeline[-1].what) == (1, stage.wall, Happening.REMINDED)


def test_getting_worse_begins_the_wait_anew(stage: Any) -> None:
    stage.degraded("postgres")
    stage.passing(COOLDOWN - 10)
    stage.down("postgres")
    stage.passing(COOLDOWN - 1)
    assert reminders(stage) == []
    stage.passing(1)
    assert reminders(stage) == [2 * COOLDOWN - 10]


def test_an_acknowledged_incident_is_not_reminded_of_and_its_end_is_told(stage: Any) -> None:
    stage.down("postgres")
    stage.passing(COOLDOWN)
    stage.acknowledge("postgres")
    stage.passing(86_400, every=60)
    stage.up("postgres")
    stage.turn()
    assert reminders(stage) == [COOLDOWN]
    assert stage.sent("slack")[-1] == f"{COOLDOWN + 86_400:g} resolve postgres up"


def test_flapping_is_not_reminded_of_until_it_stays_down(stage: Any) -> None:
    for _ in range(100):
        stage.down("postgres")
        stage.passing(60)
        stage.up("postgres")
        stage.passing(60)
    stage.down("postgres")
    stage.passing(300)
    assert reminders(stage) == []
    stage.passing(7_200)
    assert reminders(stage)


def test_a_child_that_was_told_first_is_not_reminded_of_while_its_parents_incident_is_open(stage: Any) -> None:
    stage.down("litellm")
    stage.passing(90)
    stage.down("postgres")
    stage.passing(6 * 3600, every=60)
    assert {put.alert.service for _, put in stage.puts if put.alert.kind == Kind.REMINDER} == {"postgres"}


def test_what_cannot_be_seen_is_not_said_to_be_so_still(stage: Any) -> None:
    stage.down("postgres")
    stage.passing(60)
    stage.unknown("postgres")
    stage.passing(86_400, every=60)
    assert reminders(stage) == []


def test_nobody_is_reminded_of_what_a_restarted_daemon_has_not_looked_at_yet(stage: Any) -> None:
    stage.down("postgres")
    stage.passing(COOLDOWN - 10)
    stage.book, stage.round_over = replace(stage.book, round_over=False), False
    stage.passing(60)
    assert reminders(stage) == []


def test_a_reminder_that_could_not_be_given_is_not_lost_for_a_day(stage: Any) -> None:
    stage.down("postgres")
    stage.passing(3 * 86_400, every=60)
    due = reminders(stage)[-1] + 86_400
    stage.passing(due - 30 - stage.now, every=30)
    stage.unknown("postgres")
    stage.passing(60)
    stage.down("postgres")
    stage.passing(7200, every=60)
    assert due + COOLDOWN <= reminders(stage)[-1] <= due + COOLDOWN + 60


def test_a_stepped_wall_clock_reminds_neither_early_nor_late(stage: Any) -> None:
    stage.down("postgres")
    stage.passing(100)
    stage.wall += 7200
    stage.passing(100)
    stage.wall -= 9000
    stage.passing(COOLDOWN)
    assert reminders(stage) == [COOLDOWN]


# Silences.


def test_an_outage_within_a_silence_is_told_to_nobody(stage: Any) -> None:
    stage.silence("postgres", seconds=3600)
    stage.down("postgres", "litellm")
    stage.passing(1800)
    stage.up("postgres", "litellm")
    stage.passing(7200, every=60)
    assert stage.puts == []
    assert stage.story() == ["0 opened postgres", "1800 resolved postgres"]


def test_what_is_still_open_when_a_silence_ends_is_told_then_and_says_why(stage: Any) -> None:
    stage.silence("post*", seconds=3600)
    stage.passing(60)
    stage.down("postgres")
    stage.passing(7200, every=60)
    assert stage.sent("slack")[0] == "3600 open postgres down"
    assert stage.sent("pagerduty") == ["3600 open postgres down"]
    told = alert(stage, Kind.OPEN)
    assert told.note == "open since 00:01 UTC; it was silenced until now"
    assert reminders(stage) == [3600 + COOLDOWN, 3600 + 3 * COOLDOWN]


def test_a_resolve_within_a_silence_goes_to_those_who_were_told(stage: Any) -> None:
    """Kuma #4004: down, maintenance, up: nothing was said and the incident stayed open."""
    stage.down("postgres")
    stage.passing(120)
    stage.silence("postgres", seconds=3600)
    stage.passing(60)
    stage.up("postgres")
    stage.turn()
    assert stage.sent("slack")[-1] == "180 resolve postgres up"
    assert stage.sent("pagerduty")[-1] == "180 resolve postgres up"


def test_a_silence_keeps_reminders_and_updates_back_and_makes_up_for_none(stage: Any) -> None:
    """Kuma #2846: when the maintenance ended, whatever was down already was told anew."""
    stage.degraded("postgres")
    stage.passing(60)
    stage.silence("postgres", seconds=4 * 3600)
    stage.passing(4 * 3600 - 1)
    assert stage.sent("slack") == ["0 open postgres degraded"]
    stage.passing(60)
    assert stage.sent("slack") == ["0 open postgres degraded"]
    stage.passing(COOLDOWN)
    assert len(reminders(stage)) == 1


def test_what_got_worse_within_a_silence_is_told_at_its_end(stage: Any) -> None:
    stage.degraded("postgres")
    stage.passing(60)
    stage.silence("postgres", seconds=600)
    stage.down("postgres")
    stage.passing(599)
    assert stage.sent("slack") == ["0 open postgres degraded"]
    stage.passing(1)
    assert stage.sent("slack")[1:] == ["660 update postgres down"]
    assert stage.sent("pagerduty") == ["660 open postgres down"]


def test_a_silence_of_the_root_silences_what_it_takes_down(stage: Any) -> None:
    stage.silence("postgres", seconds=3600)
    stage.down("postgres")
    stage.passing(5)
    stage.down("litellm", "langfuse", "open-webui", "saas-api")
    stage.passing(1800)
    assert stage.puts == []


def test_a_silence_of_everything_leaves_our_own_blindness_aside(stage: Any) -> None:
    stage.silence("*", seconds=3600)
    stage.blind = Blindness(since=0.0, sentence="We cannot look.", evidence="no anchor answered")
    stage.passing(130)
    assert stage.sent("slack") == [f"120 open {BLIND} blind"]


def test_a_window_by_cron_comes_again_and_again(stage: Any) -> None:
    """At 3:30 each day for an hour."""
    stage.silence("postgres", seconds=0, until=None, cron="30 3 * * *", duration=3600.0)
    for day in range(3):
        stage.passing(day * 86_400 + 4 * 3600 - stage.now, every=600)
        stage.down("postgres")
        stage.passing(600)
        stage.up("postgres")
        stage.turn()
    assert stage.puts == []
    stage.down("postgres")
    stage.passing(1300)
    assert [line.split(" ", 1)[1] for line in stage.sent("slack")] == ["open postgres down"]
    assert stage.now - 100 == stage.puts[0][0] == 2 * 86_400 + 4.5 * 3600


def test_a_silence_that_ends_in_a_good_phase_tells_when_it_is_down_again(stage: Any) -> None:
    stage.silence("postgres", seconds=440)
    for _ in range(4):
        stage.down("postgres")
        stage.passing(70)
        stage.up("postgres")
        stage.passing(50)
    assert stage.sent("slack") == []
    stage.down("postgres")
    stage.turn()
    assert stage.sent("slack") == ["480 open postgres flapping"]


# Storms.


def storm_stage(stage_of: Callable[..., Any], count: int) -> Any:
    return stage_of({f"s{number:02}": () for number in range(count)})


def test_many_at_once_with_no_common_root_are_gathered(stage_of: Callable[..., Any]) -> None:
    stage = storm_stage(stage_of, 12)
    for number in range(12):
        stage.down(f"s{number:02}")
        stage.passing(1)
    stage.passing(30)
    at = [float(line.split()[0]) for line in stage.sent("slack")]
    assert at[:2] == [0, 1]
    assert set(at[2:]) == {2 + GATHER}
    assert len(at) == 12
    assert len({line.split()[0] for line in stage.sent("pagerduty")}) == 0
    stage.passing(60)
    assert len(stage.sent("pagerduty")) == 12


def test_two_at_once_do_not_wait(stage_of: Callable[..., Any]) -> None:
    stage = storm_stage(stage_of, 5)
    stage.down("s00", "s01")
    stage.turn()
    assert len(stage.sent("slack")) == 2


def test_what_opens_much_later_does_not_wait(stage_of: Callable[..., Any]) -> None:
    stage = storm_stage(stage_of, 5)
    stage.down("s00", "s01", "s02")
    stage.passing(61)
    stage.down("s03")
    stage.turn()
    assert stage.sent("slack")[-1] == "61 open s03 down"


def test_what_a_silences_end_lets_out_is_not_gathered(stage_of: Callable[..., Any]) -> None:
    stage = storm_stage(stage_of, 6)
    stage.silence("*", seconds=600)
    stage.down(*stage.seen)
    stage.passing(700)
    assert {line.split()[0] for line in stage.sent("slack")} == {"600"}
    assert len(stage.sent("slack")) == 6


def test_what_is_over_while_it_is_gathered_with_others_is_told_all_the_same(stage_of: Callable[..., Any]) -> None:
    stage = storm_stage(stage_of, 3)
    stage.down("s00", "s01", "s02")
    stage.passing(5)
    stage.up("s02")
    stage.passing(60)
    told = [line.partition(" ")[2] for line in stage.sent("slack") if "s02" in line]
    assert told == ["open s02 down", "resolve s02 up"]  # the outbox makes one message of both
    assert stage.book.gathering is None


# Lost state.


def test_a_daemon_without_state_resolves_what_is_up_where_incidents_are_known_by_key(stage: Any) -> None:
    stage.down("postgres")
    stage.unknown("redis")
    puts = amnesia(stage.graph, stage.seen, stage.ways, wall=stage.wall)
    assert {put.channel for put in puts} == {"pagerduty"}
    assert {put.alert.kind for put in puts} == {Kind.RESOLVE}
    up = {"litellm", "langfuse", "open-webui", "saas-api"}
    assert {put.alert.dedup_key for put in puts} == {f"here/{name}" for name in up} | {"here/watch"}
    assert len({put.alert.incident for put in puts}) == len(puts)


# Defects of other tools (facts/monitoring.md, section 4) and what their users complain of.


def test_gatus_1_the_resolve_is_given_out_whatever_became_of_the_open(stage: Any) -> None:
    """There the triggered flag was dropped before the sending; here who is told is part of the incident."""
    stage.down("postgres")
    stage.turn()
    assert stage.case("postgres").incident.told == (("slack", "down"),)
    stage.up("postgres")
    stage.turn()
    assert stage.sent("slack")[-1].endswith("resolve postgres up")


def test_gatus_3_editing_a_check_orphans_no_incident(stage: Any) -> None:
    stage.down("postgres")
    stage.passing(120)
    check = replace(stage.services["postgres"].checks[0], name="other", failure_threshold=9)
    stage.become(replace(stage.services["postgres"], checks=(check,), title="PostgreSQL", alert="warning"))
    stage.passing(60)
    stage.up("postgres")
    stage.turn()
    assert [line.split()[1] for line in stage.sent("pagerduty")][-1] == "resolve"
    assert [line.split()[1] for line in stage.sent("slack")] == ["open", "resolve"]


def test_gatus_6_a_maintenance_freezes_nothing(stage: Any) -> None:
    """There counters stood still and the resolve came late; here the incident lives on, unheard."""
    stage.silence("postgres", seconds=3600)
    stage.down("postgres")
    stage.passing(60)
    stage.trouble("postgres", State.DOWN, runs=50)
    stage.passing(61)
    assert stage.case("postgres").incident.failed_checks == 50
    stage.up("postgres")
    stage.turn()
    assert stage.story() == ["0 opened postgres", "121 resolved postgres"]


def test_checkmate_12_one_key_for_a_service_whichever_check_fails(stage: Any) -> None:
    stage.down("postgres", check="ready")
    stage.passing(100)
    stage.down("postgres", check="disk")
    stage.passing(100)
    keys = {put.alert.dedup_key for _, put in stage.puts}
    assert keys == {"here/postgres"}
    assert stage.sent("pagerduty") == [f"{PAGE_AFTER:g} open postgres down"]


def test_librenms_20359_what_is_suppressed_still_alerts_when_the_parent_recovers(stage: Any) -> None:
    stage.down("postgres", "litellm")
    stage.passing(12 * 3600, every=60)
    stage.up("postgres")
    stage.passing(AFTERMATH)
    assert stage.sent("slack")[-1] == f"{12 * 3600 + AFTERMATH:g} open litellm down"


def test_no_recovery_without_a_down(stage: Any) -> None:
    """Kuma #4792, Checkmate #3438."""
    stage.up(*stage.seen)
    stage.passing(60)
    stage.unknown("postgres")
    stage.passing(60)
    stage.up("postgres")
    stage.passing(60)
    stage.misses("postgres")
    stage.passing(60)
    stage.up("postgres")
    stage.passing(60)
    assert stage.puts == []


def test_thirty_notices_for_one_host(stage: Any) -> None:
    """Kuma #1089: everything behind one dead host was told one by one."""
    stage.down("postgres", "redis")
    stage.passing(10)
    stage.down("litellm", "langfuse", "open-webui", "saas-api")
    stage.passing(600)
    assert stage.sent("slack") == ["0 open postgres down", "0 open redis down"]


def test_a_channel_added_while_something_is_broken_hears_of_it(stage: Any) -> None:
    stage.ways = replace(stage.ways, channels=stage.ways.channels[:1])
    stage.down("postgres")
    stage.passing(600)
    discord = replace(stage.ways.channels[0], name="discord")
    stage.ways = replace(stage.ways, channels=(*stage.ways.channels, discord))
    stage.passing(10)
    assert stage.sent("discord") == ["600 open postgres down"]
    assert stage.sent("slack") == ["0 open postgres down"]
