"""The weekly self-test through a real outbox: what is put, and who is told of a channel that did not take it."""

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path

from structlog.testing import capture_logs

from alerts import outbox
from alerts.alert import Kind, Severity, from_json
from alerts.order import Fate
from monitor.database import Schema
from monitor.self_test import SelfTest, failures
from monitor.state import StateFile

TABLES = (Schema(owner="outbox", steps=outbox.STEPS, live=outbox.LIVE),)
NOW = 1_700_000_000.0


def settle(conn: sqlite3.Connection, channel: str, fate: Fate, said: str = "") -> None:
    """What delivery makes of the channel's message."""
    conn.execute("UPDATE outbox SET fate = ?, said = ? WHERE channel = ?", (fate.value, said, channel))


def rows(conn: sqlite3.Connection) -> list[tuple[str, str]]:
    return conn.execute("SELECT channel, alert FROM outbox ORDER BY rowid").fetchall()


def played(tmp_path: Path, deliver: Callable[[sqlite3.Connection], None] = lambda _: None) -> list[tuple[str, str]]:
    """The outbox after a test of three channels; `deliver` happens while it waits."""

    async def main() -> list[tuple[str, str]]:
        state = await StateFile.open(tmp_path, schemas=TABLES)
        woken: list[None] = []
        test = SelfTest(
            ["slack", "discord", "pagerduty"],
            transact=state.transact,
            wall=lambda: NOW,
            wake=lambda: woken.append(None),
            instance="test",
            status_url="https://status.example.com",
            patience=0.3,
        )
        run = asyncio.create_task(test.run())
        await asyncio.sleep(0.1)
        await state.transact(deliver)
        await run
        assert woken
        found = await state.transact(rows)
        await state.close()
        return found

    return asyncio.run(main())


def test_every_channel_gets_a_notice_that_wakes_nobody(tmp_path: Path) -> None:
    def deliver(conn: sqlite3.Connection) -> None:
        for channel in ("slack", "discord", "pagerduty"):
            settle(conn, channel, Fate.SENT)

    found = played(tmp_path, deliver)
    assert [channel for channel, _ in found] == ["slack", "discord", "pagerduty"]
    alerts = [from_json(text) for _, text in found]
    assert {(alert.kind, alert.severity) for alert in alerts} == {(Kind.NOTICE, Severity.INFO)}
    assert {alert.incident for alert in alerts} == {"20231114T221320Z-self-test"}
    assert alerts[0].status_url == "https://status.example.com"


def test_a_channel_that_did_not_take_it_is_told_of_on_the_others(tmp_path: Path) -> None:
    def deliver(conn: sqlite3.Connection) -> None:
        settle(conn, "slack", Fate.WAITING, "Slack answered 404: no_service.")
        settle(conn, "discord", Fate.SENT)
        settle(conn, "pagerduty", Fate.SENT)

    found = played(tmp_path, deliver)[3:]
    assert [channel for channel, _ in found] == ["discord", "pagerduty"]
    alert = from_json(found[0][1])
    assert (alert.kind, alert.severity) == (Kind.NOTICE, Severity.ERROR)
    assert alert.title == "Alerts do not reach slack"
    assert alert.sentence == "The weekly test did not get through to slack: Slack answered 404: no_service."
    assert "test-alert slack" in alert.remedy


def test_when_no_channel_takes_it_the_log_says_so(tmp_path: Path) -> None:
    with capture_logs() as logs:
        assert len(played(tmp_path)) == 3
    failed = {entry["channel"] for entry in logs if entry["event"] == "self_test_failed"}
    assert failed == {"slack", "discord", "pagerduty"}
    assert "it was not even tried" in str(logs)


def test_what_failed_is_read_from_the_outbox(tmp_path: Path) -> None:
    async def main() -> dict[str, str]:
        state = await StateFile.open(tmp_path, schemas=TABLES)
        found: dict[str, str] = await state.transact(lambda conn: failures(conn, "nothing-of-that-name"))
        await state.close()
        return found

    assert asyncio.run(main()) == {}
