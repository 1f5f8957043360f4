"""Runs outboxes that can be killed at any step of a delivery: one fork for each, told by lines of JSON.

Given {"folder", "slack", "pagerduty", "key", "stages", "kill_at"}: opens the state in the folder, puts each stage's
alert (open, update, resolve) in turn and waits until it is delivered. Killed by its own SIGKILL at the `kill_at`th step
(null: never). Answers each line with {"code": the exit code, "steps": the names of the steps that were passed}.
Not collected by pytest.
"""

import asyncio
import json
import os
import signal
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from alerts import outbox
from alerts.alert import Alert, Kind, Severity
from alerts.channels.base import Channel, Receipt
from alerts.channels.pagerduty import PagerDuty
from alerts.channels.slack import Slack
from alerts.deliver import Delivery, new_client
from alerts.patience import Timing
from config.logs import configure
from config.secret import Secret
from monitor.database import Schema
from monitor.state import StateFile

SINCE = 1_790_000_000.0
SCHEMA = Schema(owner="outbox", steps=outbox.STEPS, live=outbox.LIVE)


class Steps:
    """Counts the steps, notes their names, and ends the process at one of them."""

    def __init__(self, note: Path, kill_at: int | None) -> None:
        self._note = note.open("a", buffering=1)
        self._left = kill_at

    def pass_by(self, name: str) -> None:
        self._note.write(name + "\n")
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        if self._left is not None:
            self._left -= 1


class Watched:
    """A channel whose sending is two steps."""

    def __init__(self, channel: Channel, steps: Steps) -> None:
        self._channel = channel
        self._steps = steps
        self.name, self.pages, self.groups, self.keyed = channel.name, channel.pages, channel.groups, channel.keyed

    async def send(self, alert: Alert, client: httpx.AsyncClient, *, ref: str = "") -> Receipt:
        self._steps.pass_by(f"{self.name}: before {alert.kind}")
        receipt = await self._channel.send(alert, client, ref=ref)
        self._steps.pass_by(f"{self.name}: {alert.kind} is taken")
        return receipt


async def run(asked: dict[str, Any], steps: Steps) -> None:
    """Every stage, one after the other."""
    state = await StateFile.open(Path(asked["folder"]), schemas=(SCHEMA,))

    async def transact(fn: Callable[[sqlite3.Connection], Any]) -> Any:
        def do(conn: sqlite3.Connection) -> tuple[Any, bool]:
            before = conn.total_changes
            result = fn(conn)
            if changed := conn.total_changes > before:
                steps.pass_by(f"{name}: written, not committed")
            return result, changed

        name = getattr(fn, "__qualname__", "").split(".<locals>")[0].rpartition(".")[2].strip("_")
        result, changed = await state.transact(do)
        if changed:
            steps.pass_by(f"{name}: committed")
        return result

    def client() -> httpx.AsyncClient:
        made = new_client()

        async def note(_: httpx.Response) -> None:
            steps.pass_by("the answer begins")

        made.event_hooks["response"].append(note)
        return made

    channels = [
        Watched(Slack(Secret(asked["slack"])), steps),
        Watched(PagerDuty(Secret(asked["key"]), asked["pagerduty"]), steps),
    ]
    delivery = Delivery(channels, transact=transact, client=client, timing=Timing(gap=0.002, first=0.02))
    task = asyncio.create_task(delivery.run())
    for stage in asked["stages"]:
        alert = make(stage)

        def put(conn: sqlite3.Connection, alert: Alert = alert) -> None:
            for channel in channels:
                outbox.put(conn, channel.name, alert)

        await transact(put)
        delivery.wake()
        async with asyncio.timeout(20):
            while await state.read(lambda conn: outbox.backlog(conn, now=time.time())):  # noqa: ASYNC110 -- as a reader would
                await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await state.close()


def make(stage: str) -> Alert:
    """The same alert for the same stage in every process: the recorder may put it again."""
    kind = Kind(stage)
    at = SINCE + list(Kind).index(kind)
    return Alert(
        kind=kind,
        severity=Severity.CRITICAL,
        incident="postgres#1",
        dedup_key="test/postgres",
        instance="test",
        service="postgres",
        title="PostgreSQL",
        state="up" if kind == Kind.RESOLVE else "down",
        since=SINCE,
        at=at,
        ended=at if kind == Kind.RESOLVE else None,
        sentence="It refuses connections.",
    )


def main() -> None:
    """One fork for each line: nothing is imported twice, and no fork has threads but its own."""
    for line in sys.stdin:
        asked = json.loads(line)
        note = Path(asked["folder"]) / "steps"
        note.write_text("")
        pid = os.fork()
        if pid == 0:
            configure(level="error", stream=sys.stderr)
            asyncio.run(run(asked, Steps(note, asked["kill_at"])))
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        answer = {"code": os.waitstatus_to_exitcode(status), "steps": note.read_text().splitlines()}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
