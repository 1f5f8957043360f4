"""When the daemon takes a backup: after downtime, at the start, after a failure. The program and the clock are ours."""

import asyncio
import json
import sqlite3
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, TypeVar

import pytest
from structlog.testing import capture_logs

from config.backup_settings import BackupSettings, RetentionSettings, ScheduleSettings
from config.backup_sources import ClickhouseSettings, PostgresSettings
from config.backup_store import SealSettings, StoreSettings
from monitor.backup_runs import SCHEMA, Run, newest_runs, save_run
from monitor.backups import FIRST_RETRY, LONGEST_RETRY, SETTLE, Backups, Hear
from monitor.board import Board

T = TypeVar("T")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC).timestamp()  # the newest daily backup was due nine hours ago
HOUR, DAY = 3600.0, 86_400.0


class State:
    """What of the state file is used, at once."""

    def __init__(self, kept: Sequence[Run]) -> None:
        self.conn = sqlite3.connect(":memory:")
        for step in SCHEMA.steps:
            self.conn.execute(step)
        for run in kept:
            save_run(self.conn, run)

    async def transact(self, fn: Callable[[sqlite3.Connection], T]) -> T:
        return fn(self.conn)

    read = transact


class World:
    """A program that answers as it is told, and when it was asked."""

    def __init__(
        self,
        *,
        ages: Sequence[float] | None = (),
        unfinished: Sequence[float] = (),
        kept: Sequence[Run] = (),
        codes: Sequence[int] = (),
        prunes: int = 0,
        lasts: float = 0.0,
        **schedule: Any,
    ) -> None:
        self.ages, self.unfinished, self.codes, self.prunes, self.lasts = ages, unfinished, list(codes), prunes, lasts
        self.asked: list[tuple[float, str]] = []
        self.said: list[bytes] = []
        self.ended: list[Run] = []
        self.state = State(kept)
        self.settings = BackupSettings(
            store=StoreSettings(),
            seal=SealSettings(),
            retention=RetentionSettings(),
            postgres=PostgresSettings(),
            clickhouse=ClickhouseSettings(),
            schedule=ScheduleSettings(**schedule),
        )

    async def command(self, arguments: tuple[str, ...], hear: Hear) -> int:
        self.asked.append((self.since(), arguments[0]))
        if arguments[0] == "list":
            if self.ages is None:
                return 1
            rows = {"points": self.ages, "unfinished": self.unfinished}
            hear(json.dumps({name: [{"age_seconds": age} for age in found] for name, found in rows.items()}).encode())
            return 0
        if arguments[0] == "prune":
            return self.prunes
        await asyncio.sleep(self.lasts)
        for line in self.said:
            hear(line)
        return self.codes.pop(0) if self.codes else 0

    def since(self) -> float:
        return asyncio.get_running_loop().time() - self.began

    async def live(self, seconds: float, *, ask: Sequence[float] = ()) -> Backups:
        """Lives for some seconds, and is asked for a backup at some of them."""
        loop = asyncio.get_running_loop()
        self.began = loop.time()
        backups = Backups(
            self.settings,
            board=Board(version="0", instance="test", started_at=0.0, services={}),
            state=self.state,  # type: ignore[arg-type]  # the two methods that are used
            wall=lambda: NOON + self.since(),
            ended=self.ended.append,
            command=self.command,
        )
        self.answers: list[bool] = []
        for at in ask:
            loop.call_later(at, lambda: self.answers.append(backups.ask("a test")))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                await backups.run()
        return backups

    def runs(self) -> list[float]:
        """When runs were begun, in seconds since the start."""
        return [at for at, what in self.asked if what == "run"]


@pytest.mark.parametrize(
    ("given", "begun"),
    [
        ({}, [SETTLE]),
        ({"ages": [8 * HOUR]}, []),
        ({"ages": [10 * HOUR, 34 * HOUR]}, [SETTLE]),
        ({"ages": [34 * HOUR], "unfinished": [HOUR]}, []),
        ({"kept": [Run(at=NOON - HOUR)]}, []),
        ({"kept": [Run(at=NOON - 2 * DAY, exit_code=0)], "ages": [HOUR]}, []),
        ({"ages": [3 * HOUR], "schedule": "weekly"}, []),
        ({"ages": [8 * DAY], "schedule": "weekly"}, [SETTLE]),
        ({"ages": None}, [FIRST_RETRY]),
        ({"ages": None, "kept": [Run(at=NOON - HOUR, exit_code=0)]}, []),
        ({"ages": [HOUR], "on_startup": True}, [SETTLE]),
        ({"ages": [FIRST_RETRY - 1], "on_startup": True}, []),
        ({"unfinished": [30.0], "on_startup": True}, []),
    ],
    ids=[
        "never one",
        "none missed",
        "one missed",
        "one begun since that nobody finished",
        "one begun since that only we know of",
        "one that only the store knows of",
        "weekly, none missed",
        "weekly, one missed",
        "the store does not tell",
        "the store does not tell, but we know",
        "wanted at every start",
        "wanted at every start, not in a crash loop",
        "wanted at every start, not after one that killed us",
    ],
)
def test_what_is_made_up_for_at_the_start(virtual: Any, given: dict[str, Any], begun: list[float]) -> None:
    world = World(**given)
    virtual(world.live(DAY))
    assert world.runs() == begun


def test_a_failed_run_is_tried_again_with_longer_and_longer_pauses(virtual: Any) -> None:
    world = World(codes=[1, 1, 1, 1, 1, 1, 1, 0])
    virtual(world.live(3 * DAY))
    runs = world.runs()
    pauses = [later - earlier for earlier, later in pairwise(runs)]
    assert pauses == [FIRST_RETRY * 2**turn for turn in range(5)] + [LONGEST_RETRY, LONGEST_RETRY]
    assert [run.exit_code for run in world.ended] == [1] * 7 + [0]
    assert [run.exit_code for run in newest_runs(world.state.conn, 9)] == [0] + [1] * 7


def test_after_a_success_the_first_pause_is_short_again(virtual: Any) -> None:
    world = World(ages=[HOUR], codes=[1, 1, 0, 1, 0])
    virtual(world.live(DAY, ask=[0.0, 10 * HOUR]))
    assert world.runs() == [0.0, 600.0, 1800.0, 36_000.0, 36_600.0]


def test_settings_that_cannot_be_used_are_not_tried_again(virtual: Any) -> None:
    world = World(codes=[2])
    backups = virtual(world.live(DAY))
    assert [what for _, what in world.asked] == ["list", "run"]
    assert backups.status.last["exit_code"] == 2


def test_retention_has_its_say_after_every_run_and_its_failure_is_told(virtual: Any) -> None:
    world = World(ages=[HOUR], codes=[1, 0], prunes=1)
    with capture_logs() as logs:
        virtual(world.live(DAY, ask=[0.0]))
    assert [what for _, what in world.asked] == ["list", "run", "prune", "run", "prune"]
    assert [line["exit_code"] for line in logs if line["event"] == "prune_failed"] == [1, 1]
    held = World(ages=[HOUR], prunes=3)
    with capture_logs() as logs:
        virtual(held.live(DAY, ask=[0.0]))
    assert "prune_failed" not in [line["event"] for line in logs]


def test_one_at_a_time(virtual: Any) -> None:
    world = World(ages=[HOUR], lasts=100.0)
    virtual(world.live(DAY, ask=[0.0, 50.0, 200.0]))
    assert world.answers == [True, False, True]
    assert world.runs() == [0.0, 200.0]


def test_what_a_run_tells_is_shown_and_kept(virtual: Any) -> None:
    world = World(ages=[HOUR], lasts=5.0)
    world.said = [
        b'{"event": "progress", "name": "litellm"}\n',
        b'{"event": "finished", "point": "20261121T120000Z-0000", "stored_bytes": 7, "errors": []}\n',
        b'{"event": "cut by a ki',
    ]
    backups = virtual(world.live(DAY, ask=[0.0]))
    assert backups.status.progress["name"] == "litellm"
    assert not backups.status.running
    (run,) = world.ended
    assert run == Run(at=NOON, point="20261121T120000Z-0000", exit_code=0, seconds=5.0, stored_bytes=7)
    assert backups.status.last_success_at == NOON + 5
