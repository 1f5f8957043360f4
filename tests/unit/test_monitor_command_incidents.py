"""What `python -m monitor incidents` shows of an incident that is open, open while its root is up, and over."""

from typing import Any, cast

import pytest

from monitor.client import Client
from monitor.command_incidents import incidents_command


@pytest.fixture(autouse=True)
def piped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's window: a worker of the test run is given one."""
    monkeypatch.delenv("COLUMNS", raising=False)


class Holding:
    """A client of a daemon that has just these incidents."""

    def __init__(self, *incidents: dict[str, Any]) -> None:
        self._incidents = list(incidents)

    def incidents(self, *, every: bool) -> list[dict[str, Any]]:
        """All of them, whatever is asked for."""
        return self._incidents


def incident(**changes: Any) -> dict[str, Any]:
    """An incident as the API gives it."""
    known: dict[str, Any] = {
        "id": "20261121T180436Z-litellm",
        "service": "litellm",
        "title": "LiteLLM",
        "state": "down",
        "worst": "down",
        "since": "2026-11-21T18:04:33.250Z",
        "resolved_at": None,
        "sentence": "LiteLLM refuses the connection.",
        "affected": [],
        "flapping": False,
        "downs": 1,
        "acknowledged_by": None,
        "remedy": "See its log.",
    }
    return known | changes


def shown(capsys: pytest.CaptureFixture[str], **changes: Any) -> str:
    """The page about this one incident."""
    incidents_command(cast("Client", Holding(incident(**changes))), every=True, as_json=False)
    return capsys.readouterr().out


def test_one_that_flaps_is_not_over_while_its_service_is_up(capsys: pytest.CaptureFixture[str]) -> None:
    page = shown(capsys, state="up", flapping=True, downs=3)
    assert "✓ up now" in page
    assert "over" not in page
    assert "went down 3 times; open until it has stayed up for a while" in page
    assert "do: See its log." in page


def test_one_that_is_over_says_so_and_asks_nothing_any_more(capsys: pytest.CaptureFixture[str]) -> None:
    page = shown(capsys, state="up", flapping=True, downs=3, resolved_at="2026-11-21T18:14:33.250Z")
    assert "✓ over" in page
    assert "10 min" in page
    assert "went down 3 times\n" in page
    assert "do:" not in page


def test_one_that_is_open_has_the_state_of_its_service(capsys: pytest.CaptureFixture[str]) -> None:
    assert "✗ down" in shown(capsys)
    assert "! degraded" in shown(capsys, state="degraded")
