"""The watch with a lookout: what it weighs is what is judged, and nothing overlaps meanwhile."""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from config.checks import TcpParams
from config.services import Check, Service
from monitor.board import Board
from monitor.diagnose.base import Diagnosis
from monitor.judge import Flip, State, Track
from monitor.probes.base import Evidence, Outcome, Sight, Verdict
from monitor.watch import Watch

Run = Callable[[Any], Any]
ANCHORS_TAKE = 2.0  # seconds, when none answers


class Notes:
    def __init__(self) -> None:
        self.flips: list[Flip] = []

    def saw(self, service: Service, check: Check, at: float, outcome: Outcome, diagnosis: Diagnosis | None) -> None:
        pass

    def moved(self, track: Track, service: Service, flip: Flip | None) -> None:
        if flip:
            self.flips.append(flip)


class World:
    """A service that answers until it hangs, and anchors that answer at once or not at all."""

    def __init__(self) -> None:
        self.hangs = False
        self.anchors_answer = True
        self.under_way = 0
        self.most = 0
        self.hung_at = 0.0

    async def probe(self, check: Check, timeout: float) -> Outcome:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        if self.hangs:
            await asyncio.sleep(timeout)
            evidence = Evidence(sight=Sight.NO_CONNECT, text="no connection")
            return Outcome(verdict=Verdict.FAIL, latency=timeout, evidence=evidence)
        evidence = Evidence(sight=Sight.ANSWERED, text="fine")
        return Outcome(verdict=Verdict.PASS, latency=0.01, evidence=evidence)

    async def weigh(self, service: Service, check: Check, outcome: Outcome, began: float) -> Outcome:
        if outcome.verdict == Verdict.FAIL and not self.anchors_answer:
            await asyncio.sleep(ANCHORS_TAKE)
            evidence = replace(outcome.evidence, sight=Sight.CUT_OFF)
            outcome = replace(outcome, verdict=Verdict.UNKNOWN, evidence=evidence)
        self.under_way -= 1
        return outcome


async def watching(world: World, script: Callable[[], Any]) -> Notes:
    check = Check(name="answers", kind="tcp", params=TcpParams(host="10.0.0.5", port=1))
    service = Service(name="db", kind="custom", title="db", address="db", checks=(check,))
    notes = Notes()
    watch = Watch(
        [service],
        board=Board(instance="test", version="0", started_at=0),
        probe=world.probe,
        keeper=notes,
        wall=asyncio.get_running_loop().time,
        tracks={},
        confirm_interval=10.0,
        confirm_timeout=5.0,
        weigh=world.weigh,
    )
    task = asyncio.create_task(watch.run())
    await script()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return notes


def test_what_is_weighed_as_unknown_is_no_outage_however_long(virtual: Run) -> None:
    world = World()

    async def script() -> None:
        await asyncio.sleep(200)
        world.hangs, world.anchors_answer = True, False
        await asyncio.sleep(1800)
        world.hangs = False
        await asyncio.sleep(200)

    notes = virtual(watching(world, script))
    assert [flip.new for flip in notes.flips] == [State.UP, State.UNKNOWN, State.UP]
    assert world.most == 1


def test_an_outage_behind_a_working_network_is_known_in_time(virtual: Run) -> None:
    world = World()

    async def script() -> None:
        await asyncio.sleep(200)
        world.hangs = True
        world.hung_at = asyncio.get_running_loop().time()
        await asyncio.sleep(200)

    notes = virtual(watching(world, script))
    assert [flip.new for flip in notes.flips] == [State.UP, State.DOWN]
    assert notes.flips[1].at - world.hung_at <= 60 + 20 + 5


def test_an_outage_that_outlasts_a_cut_is_told_when_it_can_be_seen(virtual: Run) -> None:
    world = World()

    async def script() -> None:
        await asyncio.sleep(200)
        world.hangs, world.anchors_answer = True, False
        await asyncio.sleep(600)
        world.anchors_answer = True
        await asyncio.sleep(200)

    notes = virtual(watching(world, script))
    assert [flip.new for flip in notes.flips] == [State.UP, State.UNKNOWN, State.DOWN]
