"""The page of one service: what our own look saw beside what the daemon holds, and which of the two counts."""

import json
from typing import Any

import pytest

from config.services import Service, discover
from monitor.board import Board, CheckStatus, ServiceStatus
from monitor.command_explain import explain_command
from monitor.explain import Explanation, Remembered, conclude
from monitor.judge import Track, judge
from monitor.once import hasty
from monitor.probes.base import Evidence, Outcome, Sight, Verdict

NOW = 1_790_000_000.0
SINCE = "2026-09-21T13:00:00.000Z"
WATCHED = {"seconds": 3_600.0, "shares": {"up": 0.9, "degraded": 0.1}}
FLIP = {"at": SINCE, "since": SINCE, "old": "up", "new": "degraded", "check": "ping", "cause": "intermittent"}


def looked_at(service: Service) -> Board:
    """A board on which every check of `service` passes."""
    board = Board(instance="here", version="1", started_at=NOW)
    outcome = Outcome(verdict=Verdict.PASS, latency=0.002, evidence=Evidence(sight=Sight.ANSWERED, text="PONG"))
    service = hasty(service)
    statuses = {check.name: CheckStatus(check=check, outcome=outcome, ran_at=NOW) for check in service.checks}
    status = ServiceStatus(service=service, track=Track(since=NOW, watched_since=NOW), checks=statuses)
    for check in service.checks:
        status.track, _ = judge(status.track, service, check, outcome, None, NOW)
    status.facts["reached_over"] = "IPv4 only: IPv6 is refused"
    board.services[service.name] = status
    return board


def explained(state: str, **changes: Any) -> Explanation:
    services = discover({"REDIS_URL": "redis://r"}).services
    status = {"name": "redis", "state": state, "since": SINCE, "cause": None, "sentence": None, **changes}
    history = {"watched": {"24h": WATCHED, "7d": WATCHED}, "flips": [FLIP], "facts": []}
    held = Remembered(status=status, history=history, incident=None, silences=())
    return conclude(services, "redis", looked_at(services[0]), (), at=NOW, daemon=(held, ""))


def page(found: Explanation, capsys: pytest.CaptureFixture[str]) -> str:
    explain_command(found, as_json=False)
    return capsys.readouterr().out


def test_one_that_the_daemon_holds_degraded_is_not_well_though_this_look_is(capsys: pytest.CaptureFixture[str]) -> None:
    found = explained("degraded", sentence="Redis fails now and then.")
    assert not found.well
    said = page(found, capsys)
    assert said.startswith("✓ up now: Redis")
    assert "The daemon holds it degraded all the same: Redis fails now and then." in said
    assert "up 90.00 %" in said
    assert "→ degraded (intermittent)" in said


def test_one_that_the_daemon_does_not_know_yet_is_what_this_look_says(capsys: pytest.CaptureFixture[str]) -> None:
    found = explained("unknown")
    assert found.well
    assert "all the same" not in page(found, capsys)


def test_by_what_it_is_reached_is_told_of_one_that_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert "network: reached over IPv4 only: IPv6 is refused" in page(explained("up"), capsys)


def test_a_narrow_terminal_shows_what_was_seen_rather_than_what_was_asked(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    assert "logs in and asks PING at r:6379" in page(explained("up"), capsys)
    monkeypatch.setenv("COLUMNS", "80")
    said = page(explained("up"), capsys)
    assert "PONG" in said
    assert "asks" not in said
    assert max(map(len, said.splitlines())) <= 80


def test_as_json_it_is_all_there(capsys: pytest.CaptureFixture[str]) -> None:
    explain_command(explained("up"), as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["service"]["name"] == "redis"
    assert document["service"]["checks"][0]["asks"] == "logs in and asks PING at r:6379"
    assert document["service"]["checks"][0]["network"] == []
    assert document["remembered"]["flips"] == [FLIP]
