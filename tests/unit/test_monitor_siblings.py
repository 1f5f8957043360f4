"""A service that lost something it needs, told beside what that says itself."""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import pytest

from config.causes import Cause
from config.checks import HttpParams, Sign, TcpParams
from config.services import Check, Service
from monitor.board import Board
from monitor.diagnose.base import Diagnosis
from monitor.diagnose.siblings import Sibling, beside
from monitor.judge import Flip, State
from monitor.probes.base import Evidence, Outcome, Sight, Verdict
from monitor.watch import Watch
from monitor.ways import REACHED_OVER

OLD = "IPv6 only: its name has no IPv4 address"
LOST = Diagnosis(cause=Cause.DEPENDENCY, sentence="The worker cannot reach PostgreSQL or Redis.", remedy="Restart it.")
Run = Callable[[Any], Any]


def sibling(title: str, kind: str, *, well: bool = True, over: str = "") -> Sibling:
    return Sibling(title=title, kind=kind, well=well, reached_over=over)


@pytest.mark.parametrize(
    ("siblings", "seen_up", "cause", "words"),
    [
        ([], False, Cause.DEPENDENCY, "PostgreSQL or Redis."),
        ([sibling("Postgres", "postgres", well=False)], False, Cause.DEPENDENCY, "PostgreSQL or Redis."),
        (
            [sibling("Postgres", "postgres")],
            True,
            Cause.DEPENDENCY,
            "Postgres answers us directly, so it is its own way",
        ),
        ([sibling("Postgres", "postgres"), sibling("Redis", "redis")], False, Cause.DEPENDENCY, "Postgres and Redis"),
        ([sibling("Redis", "redis", over=OLD)], False, Cause.IPV6_ONLY, "the name of Redis has IPv6 addresses only"),
        # It reached that very Redis before, so it knows how to.
        ([sibling("Redis", "redis", over=OLD)], True, Cause.DEPENDENCY, "its own way"),
        ([sibling("Redis", "redis", over="IPv4 and IPv6")], False, Cause.DEPENDENCY, "its own way"),
        # What listens on IPv6 alone is refused over IPv4, and the name is found.
        ([sibling("Postgres", "postgres", over=OLD)], False, Cause.DEPENDENCY, "its own way"),
    ],
)
def test_those_it_needs_have_their_say(siblings: list[Sibling], seen_up: bool, cause: Cause, words: str) -> None:
    found = beside(LOST, siblings, seen_up=seen_up)
    assert found.cause == cause
    assert words in found.sentence
    assert "Restart it." in found.remedy
    assert ("family=0" in found.remedy) == (cause == Cause.IPV6_ONLY)


def test_another_cause_is_left_as_it_is() -> None:
    refused = Diagnosis(cause=Cause.REFUSED, sentence="x", remedy="y")
    assert beside(refused, [sibling("Redis", "redis", over=OLD)], seen_up=False) is refused


class Notes:
    """A keeper that keeps flips."""

    def __init__(self) -> None:
        self.flips: list[Flip] = []

    def saw(self, service: Service, check: Check, at: float, outcome: Outcome, diagnosis: Diagnosis | None) -> None:
        """Keeps no outcome."""

    def moved(self, track: Any, service: Service, flip: Flip | None) -> None:
        if flip:
            self.flips.append(flip)


def worker_and_redis() -> list[Service]:
    sign = Sign(name="lost", text="x", cause=Cause.DEPENDENCY, says="the worker cannot reach Redis")
    health = Check(name="health", kind="http", params=HttpParams(url="http://worker:1", signs=(sign,)))
    ping = Check(name="ping", kind="tcp", params=TcpParams(host="redis", port=1))
    return [
        Service(
            name="worker", kind="custom", title="Worker", address="worker:1", checks=(health,), depends_on=("redis",),
            start_period=0.0,
        ),
        Service(name="redis", kind="redis", title="Redis", address="redis:1", checks=(ping,), start_period=0.0),
    ]  # fmt: skip


@pytest.mark.parametrize("redis_well", [True, False])
@pytest.mark.parametrize("well_for", [0.0, 300.0])
def test_the_watch_asks_those_it_needs_before_it_tells(virtual: Run, well_for: float, redis_well: bool) -> None:
    async def act() -> list[Flip]:
        loop = asyncio.get_running_loop()
        broken_at = loop.time() + well_for

        async def probe(check: Check, timeout: float) -> Outcome:
            broken = loop.time() >= broken_at and (check.kind == "http" or not redis_well)
            verdict = Verdict.FAIL if broken else Verdict.PASS
            sign = "lost" if broken and check.kind == "http" else ""
            sight = Sight.REFUSED if broken and check.kind == "tcp" else Sight.ANSWERED
            facts = {REACHED_OVER: OLD} if check.kind == "tcp" else {}
            return Outcome(
                verdict=verdict, latency=0.1, evidence=Evidence(sight=sight, text="x", sign=sign), facts=facts
            )

        notes = Notes()
        watch = Watch(
            worker_and_redis(),
            board=Board(instance="test", version="0", started_at=0.0),
            probe=probe,
            keeper=notes,
            wall=lambda: 1_700_000_000.0 + loop.time(),
            tracks={},
            confirm_interval=10.0,
            confirm_timeout=5.0,
        )
        task = asyncio.create_task(watch.run())
        await asyncio.sleep(well_for + 120.0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return notes.flips

    flips = [flip for flip in virtual(act()) if flip.service == "worker"]
    assert flips[-1].new == State.DOWN
    if not redis_well:
        assert (flips[-1].cause, flips[-1].sentence.count("answers us")) == (Cause.DEPENDENCY, 0)
    elif well_for:
        assert flips[-1].cause == Cause.DEPENDENCY
        assert "Redis answers us directly" in flips[-1].sentence
    else:
        assert flips[-1].cause == Cause.IPV6_ONLY
        assert "family=0" in flips[-1].remedy
