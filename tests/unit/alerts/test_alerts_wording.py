"""What an alert says, and in which order."""

from dataclasses import replace

import pytest

from alerts.alert import Kind, Severity
from alerts.wording import BACKUPS, BLIND, Look, headline, lead, lines, look, text
from demo.situations import BEGAN, SITUATIONS
from monitor.backups import SERVICE
from monitor.incidents import BLIND as INCIDENTS_BLIND

OPEN = SITUATIONS["open_down"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("open_down", "PostgreSQL: down since 03:12 UTC"),
        ("open_degraded", "Qdrant: degraded since 03:13 UTC"),
        ("worse", "Qdrant: down, trouble since 03:13 UTC"),
        ("flapping", "Redis: flapping since 03:12 UTC, down 3 times"),
        ("reminder", "PostgreSQL: still down after 1 h 45 min (since 03:12 UTC)"),
        ("reminder_next_day", "PostgreSQL: still down after 2 d 8 h (since 21 Nov, 03:12 UTC)"),
        ("resolve", "PostgreSQL: up again after 4 min 12 s"),
        ("resolve_paused", "Redis: paused after 25 min"),
        ("brief", "PostgreSQL: was down for 1 min 35 s, up again"),
        ("group_of_3", "3 services in trouble since 03:12 UTC (2 down, 1 degraded)"),
        ("group_resolve", "2 services up again"),
        ("blind", "Watchkeeper: blind since 03:12 UTC"),
        ("blind_resolve", "Watchkeeper: sees again after 11 min"),
        ("backups_stale", "Backups: not in order since 20 Nov, 01:12 UTC"),
        ("backups_resolve", "Backups: in order again after 1 d 3 h"),
        ("bare", "agent: down since 03:12 UTC"),
    ],
)
def test_the_first_line_says_what_is_broken_and_since_when(name: str, line: str) -> None:
    assert headline(SITUATIONS[name]) == line


def test_blind_to_one_service_does_not_read_as_blind() -> None:
    one = replace(SITUATIONS["blind"], state="degraded", sentence="Nothing of redis is seen: our own probes break.")
    assert text(one).startswith(
        "🟠 Watchkeeper: not seeing everything since 03:12 UTC\nNothing of redis is seen: our own probes break.\n"
    )
    assert headline(replace(one, kind=Kind.REMINDER, at=one.since + 7200)).startswith(
        "Watchkeeper: still not seeing everything after 2 h"
    )


def test_the_order_is_what_since_when_why_whom_what_changed_what_to_do_where_to_look() -> None:
    said = text(OPEN)
    order = [
        "PostgreSQL: down since",
        OPEN.sentence,
        OPEN.evidence,
        "LiteLLM and Langfuse web are down, Open WebUI is expected to fail",
        "PostgreSQL: version 17.4 → 17.5, 4 min before",
        OPEN.remedy,
        OPEN.runbook,
        OPEN.command,
        OPEN.status_url,
    ]
    places = [said.find(piece) for piece in order]
    assert -1 not in places
    assert places == sorted(places)


def test_a_resolve_says_how_long_it_lasted_and_what_it_took() -> None:
    resolve = SITUATIONS["resolve"]
    assert lead(resolve)[0] == "From 03:12 to 03:16 UTC; 12 check runs failed."
    assert "Took down: LiteLLM, Langfuse web and Open WebUI" in text(resolve)
    assert not [line for line in lines(resolve) if line.label == "To do"]
    assert "1 check run failed" in text(replace(resolve, failed_checks=1))
    assert "check run" not in text(replace(resolve, failed_checks=0))
    next_day = replace(resolve, ended=BEGAN + 90_000, at=BEGAN + 90_000)
    assert lead(next_day)[0].startswith("From 21 Nov, 03:12 to 22 Nov, 04:12 UTC")


def test_how_often_it_went_down_is_said_once() -> None:
    resolve = replace(SITUATIONS["resolve_flapping"], note="")
    assert "it went down 7 times" in text(resolve)
    assert text(SITUATIONS["resolve_flapping"]).count("went down") == 1


@pytest.mark.parametrize(
    ("name", "colour"),
    [
        ("open_down", Look.BAD),
        ("open_degraded", Look.POOR),
        ("flapping", Look.POOR),
        ("blind", Look.BAD),
        ("resolve", Look.GOOD),
        ("brief", Look.GOOD),
        ("resolve_paused", Look.PLAIN),
        ("notice_test", Look.PLAIN),
        ("notice_channel_refused", Look.BAD),
        ("group_of_3", Look.BAD),
        ("group_resolve", Look.GOOD),
    ],
)
def test_how_bad_it_looks(name: str, colour: Look) -> None:
    assert look(SITUATIONS[name]) == colour


def test_what_came_after_it_began_is_said_to_be_after() -> None:
    later = replace(OPEN, changes=(replace(OPEN.changes[0], at=BEGAN + 30),))
    assert "17.5, 30 s after it began" in text(later)


def test_a_notice_is_headed_by_its_title() -> None:
    notice = replace(SITUATIONS["notice_test"], kind=Kind.NOTICE, severity=Severity.INFO, title="Backup done")
    assert headline(notice) == "Backup done"


def test_the_names_of_our_own_services_are_those_of_the_floor_above() -> None:
    assert (BLIND, BACKUPS) == (INCIDENTS_BLIND, SERVICE)


@pytest.mark.parametrize("name", SITUATIONS)
def test_nothing_is_said_twice_and_no_line_is_empty(name: str) -> None:
    said = text(SITUATIONS[name]).split("\n")
    assert all(line.strip() for line in said)
    assert "None" not in text(SITUATIONS[name])
    assert len(set(said)) == len(said)
