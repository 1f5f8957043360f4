"""The watch on virtual time: when checks run, how fast an outage is confirmed, and who is looked at for whose sake."""

import asyncio
import contextlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from config.checks import TcpParams
from config.services import Check, Service
from monitor.board import Board
from monitor.diagnose.base import Diagnosis
from monitor.judge import Flip, State, Track
from monitor.probes.base import Evidence, Outcome, Sight, Verdict
from monitor.watch import Watch

HOUR = 3600.0
EPOCH = 1_700_000_000.0
Run = Callable[[Any], Any]


class World:
    """Services that pass until told otherwise, and a wall clock that can be stepped."""

    def __init__(self) -> None:
        self.starts: dict[str, list[float]] = defaultdict(list)
        self.failing: dict[str, Sight] = {}
        self.takes: dict[str, float] = {}
        self.step = 0.0
        self.under_way = 0
        self.most_under_way = 0

    def wall(self) -> float:
        return EPOCH + asyncio.get_running_loop().time() + self.step

    async def probe(self, check: Check, timeout: float) -> Outcome:
        assert isinstance(check.params, TcpParams)
        name = check.params.host
        self.starts[name].append(asyncio.get_running_loop().time())
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        sight = self.failing.get(name)
        await asyncio.sleep(min(self.takes.get(name, 0.01), timeout))
        self.under_way -= 1
        verdict = Verdict.PASS if sight is None else Verdict.FAIL
        evidence = Evidence(sight=sight or Sight.ANSWERED, text=f"{name}: {sight or 'fine'}", address=name)
        return Outcome(verdict=verdict, latency=0.01, evidence=evidence)


class Notes:
    """A keeper that keeps flips."""

    def __init__(self) -> None:
        self.flips: list[Flip] = []
        self.outcomes = 0

    def saw(self, service: Service, check: Check, at: float, outcome: Outcome, diagnosis: Diagnosis | None) -> None:
        self.outcomes += 1

    def moved(self, track: Track, service: Service, flip: Flip | None) -> None:
        if flip:
            self.flips.append(flip)

    def of(self, name: str) -> list[State]:
        return [flip.new for flip in self.flips if flip.service == name]


def service(name: str, *parents: str, timeout: float = 10.0, start_period: float = 120.0) -> Service:
    check = Check(name="answers", kind="tcp", params=TcpParams(host=name, port=1), timeout=timeout)
    return Service(
        name=name,
        kind="custom",
        title=name,
        address=name,
        checks=(check,),
        depends_on=parents,
        start_period=start_period,
    )


async def watching(world: World, services: list[Service], script: Callable[[Watch], Any]) -> tuple[Board, Notes]:
    board = Board(instance="test", version="0", started_at=world.wall())
    notes = Notes()
    watch = Watch(
        services,
        board=board,
        probe=world.probe,
        keeper=notes,
        wall=world.wall,
        tracks={},
        confirm_interval=10.0,
        confirm_timeout=5.0,
    )
    task = asyncio.create_task(watch.run())
    await script(watch)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return board, notes


def test_a_day_of_checks_neither_drifts_nor_misses(virtual: Run) -> None:
    world = World()
    names = [f"s{number}" for number in range(20)]

    async def day(_: Watch) -> None:
        await asyncio.sleep(24 * HOUR)

    board, notes = virtual(watching(world, [service(name) for name in names], day))
    for name in names:
        starts = world.starts[name]
        assert 1440 <= len(starts) <= 1442  # the grid, and the first look at once
        gaps = [later - earlier for earlier, later in pairwise(starts[1:])]
        assert all(abs(gap - 60) < 1e-6 for gap in gaps)
        assert board.services[name].checks["answers"].missed == 0
        assert notes.of(name) == [State.UP]


@pytest.mark.parametrize("phase", range(0, 60, 7))
def test_an_outage_is_confirmed_within_its_bound_and_so_is_its_end(virtual: Run, phase: int) -> None:
    world = World()
    world.takes["db"] = 10.0  # a black hole: the longest way to a miss
    told: dict[str, float] = {}

    async def script(_: Watch) -> None:
        world.takes["db"] = 0.01
        await asyncio.sleep(300 + phase)
        world.failing["db"], world.takes["db"] = Sight.NO_ANSWER, 99.0
        told["died"] = world.wall()
        await asyncio.sleep(600)
        world.failing.clear()
        world.takes["db"] = 0.01
        told["lives"] = world.wall()
        await asyncio.sleep(300)

    _, notes = virtual(watching(world, [service("db")], script))
    assert notes.of("db") == [State.UP, State.DOWN, State.UP]
    assert notes.flips[1].at - told["died"] <= 60 + 2 * 10 + 5
    assert notes.flips[2].at - told["lives"] <= 60 + 2 * 10 + 5


def test_parents_and_children_are_looked_at_on_a_first_miss(virtual: Run) -> None:
    world = World()
    services = [service("db"), service("app", "db"), service("ui", "app"), service("other")]

    async def script(_: Watch) -> None:
        await asyncio.sleep(600)
        world.failing["app"] = Sight.REFUSED
        await asyncio.sleep(200)

    _, notes = virtual(watching(world, services, script))
    missed = notes.flips[-1].since - EPOCH
    near = {name: min(abs(start - missed) for start in world.starts[name]) for name in ("db", "ui", "other")}
    assert near["db"] < 0.1
    assert near["ui"] < 0.1
    assert near["other"] > 0.1
    assert notes.of("app") == [State.UP, State.DOWN]
    assert notes.of("db") == notes.of("ui") == notes.of("other") == [State.UP]


@pytest.mark.parametrize("step", [HOUR, -HOUR])
def test_a_stepped_wall_clock_changes_no_run_and_no_state(virtual: Run, step: float) -> None:
    world = World()
    services = [service("old"), service("new", start_period=400.0)]
    world.failing["new"] = Sight.REFUSED  # never seen up: in its start period when the clock steps

    async def script(_: Watch) -> None:
        await asyncio.sleep(300)
        world.step = step
        await asyncio.sleep(300)

    board, notes = virtual(watching(world, services, script))
    gaps = [later - earlier for earlier, later in pairwise(world.starts["old"][1:])]
    assert all(abs(gap - 60) < 1e-6 for gap in gaps)
    assert notes.of("old") == [State.UP]
    assert notes.of("new") == [State.DOWN]
    assert 400 <= notes.flips[-1].at - step - (board.started_at) <= 400 + 60


def test_black_holes_delay_nobody(virtual: Run) -> None:
    world = World()
    holes = [f"hole{number}" for number in range(300)]
    fine = [f"fine{number}" for number in range(700)]
    for name in holes:
        world.failing[name], world.takes[name] = Sight.NO_ANSWER, 99.0

    async def script(_: Watch) -> None:
        await asyncio.sleep(300)

    board, notes = virtual(watching(world, [service(name) for name in holes + fine], script))
    late = sum(board.lateness.counts[bisect_right(board.lateness.bounds, 0.25) :])
    assert late == 0
    assert sum(status.checks["answers"].missed for status in board.services.values()) == 0
    assert all(notes.of(name) == [State.UP] for name in fine)
    assert all(notes.of(name) == [State.DOWN] for name in holes)


def test_a_run_never_overlaps_itself(virtual: Run) -> None:
    world = World()
    world.takes["slow"] = 9.9

    async def script(watch: Watch) -> None:
        for _ in range(50):
            await asyncio.gather(watch.check_now(), watch.check_now())

    virtual(watching(world, [service("slow")], script))
    assert world.most_under_way == 1


def test_a_paused_service_is_not_looked_at(virtual: Run) -> None:
    world = World()
    paused = Service(name="p", kind="custom", title="p", address="p", checks=service("p").checks, paused=True)

    async def script(_: Watch) -> None:
        await asyncio.sleep(300)

    board, notes = virtual(watching(world, [paused, service("q")], script))
    assert not world.starts["p"]
    assert board.services["p"].state == State.PAUSED
    assert notes.of("q") == [State.UP]


@pytest.mark.parametrize(("timeout", "second"), [(3.0, 3.0), (10.0, 5.0), (30.0, 30.0)])
def test_a_second_look_is_short_unless_the_check_needs_more_time_than_others(
    virtual: Run, timeout: float, second: float
) -> None:
    given: list[float] = []

    async def probe(_: Check, seconds: float) -> Outcome:
        given.append(seconds)
        bad = len(given) == 2
        evidence = Evidence(sight=Sight.ANSWERED, text="once" if bad else "fine")
        return Outcome(verdict=Verdict.FAIL if bad else Verdict.PASS, latency=0.01, evidence=evidence)

    async def main() -> None:
        watch = Watch(
            [service("x", timeout=timeout)],
            board=Board(instance="test", version="0", started_at=0),
            probe=probe,
            keeper=Notes(),
            wall=World().wall,
            tracks={},
            confirm_interval=10,
            confirm_timeout=5,
            usual_timeout=10,
        )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3 * 60):
                await watch.run()

    virtual(main())
    assert given[:4] == [timeout, timeout, second, timeout]


def test_a_fault_in_handling_an_outcome_ends_the_watch(virtual: Run) -> None:
    world = World()

    class Broken(Notes):
        def saw(self, *_: object) -> None:
            raise ZeroDivisionError

    async def main() -> None:
        watch = Watch(
            [service("x")],
            board=Board(instance="test", version="0", started_at=0),
            probe=world.probe,
            keeper=Broken(),
            wall=world.wall,
            tracks={},
            confirm_interval=10,
            confirm_timeout=5,
        )
        await watch.run()

    with pytest.raises(ExceptionGroup) as caught:
        virtual(main())
    assert caught.group_contains(ZeroDivisionError)
