"""When each check runs, and what becomes of what it saw: probe → vantage and surveyor → diagnose → judge → board
and keeper.

Every check has its place on a monotonic grid. While its newest outcomes speak against its confirmed state it is looked
at again every confirm interval, and on a first miss its service's parents and children are looked at at once.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog

from config.causes import Cause
from config.kinds import SIGNALS
from config.services import Check, Service
from monitor.board import Board, CheckStatus, ServiceStatus
from monitor.diagnose.base import Diagnosis
from monitor.diagnose.siblings import Sibling, beside
from monitor.diagnose.table import diagnose
from monitor.grid import next_due, phase
from monitor.guilt import provider_of
from monitor.judge import CheckTrack, Flip, State, Track, judge, unsettled
from monitor.probes.base import Outcome, Verdict
from monitor.vantage import forgive, look
from monitor.ways import REACHED_OVER

log = structlog.get_logger()

TICK = 0.25  # seconds between two looks at our own loop's punctuality
CLOCK_STEP = 1.0  # seconds by which the wall clock may slew between two ticks and not count as stepped
START_RATE = 100.0  # first runs a second, so that a thousand services do not start as one burst
ROOM = 0.6  # of all checks may be under way at once: twice what 30 % of black holes, all unsettled, take up
SIGNALS_TURN = 60.0  # seconds: signals whose intervals are multiples of it meet
NEIGHBOUR_REST = 1.0  # seconds: a neighbour looked at this recently is not looked at again for somebody else's sake

Probe = Callable[[Check, float], Awaitable[Outcome]]
Weigh = Callable[[Service, Check, Outcome, float], Awaitable[Outcome]]


async def as_it_is(service: Service, check: Check, outcome: Outcome, began: float) -> Outcome:  # noqa: ARG001 -- Weigh's
    """Weighs nothing: only what each probe itself saw counts."""
    return outcome


class Keeper(Protocol):
    """Who keeps what the watch saw. Called on the event loop; returns at once and never raises."""

    def saw(self, service: Service, check: Check, at: float, outcome: Outcome, diagnosis: Diagnosis | None) -> None:
        """Given one outcome, at `at` (epoch seconds)."""

    def moved(self, track: Track, service: Service, flip: Flip | None) -> None:
        """Given what the judge now remembers, and the flip when the state changed."""


@dataclass(slots=True, eq=False)
class Slot:
    """One check's place in the schedule. Times are the loop's clock."""

    service: Service
    check: Check
    status: CheckStatus
    due: float = 0.0
    asked: float = -math.inf
    started: float = -math.inf
    running: bool = False
    confirm: asyncio.TimerHandle | None = None


class Watch:
    """Runs every check of `services` until cancelled. `board` is written by nobody else.

    `probe(check, timeout)` gives an Outcome and never raises; `wall()` is the time to record, epoch seconds; times to
    wait come from the running loop alone. A second look may take `confirm_timeout` seconds, but for a check that has
    more than `usual_timeout`: it takes long when all is well, and one hiccup would be an outage. `tracks` is what was
    remembered from before. `most` bounds how many probes are under way at once. `tell` is called with every flip, to
    say it where people read. While `quiet` holds for a service, its answers may be slow. `weigh` is Lookout.weigh with
    a Surveyor beside it: an outcome becomes unknown when nothing else on that side of the network answers either, and a
    miss is given what is seen of the ways there.
    """

    def __init__(
        self,
        services: Sequence[Service],
        *,
        board: Board,
        probe: Probe,
        keeper: Keeper,
        wall: Callable[[], float],
        tracks: Mapping[str, Track],
        confirm_interval: float,
        confirm_timeout: float,
        usual_timeout: float = math.inf,
        most: int = 1000,
        tell: Callable[[Flip], None] = lambda _: None,
        quiet: Callable[[Service], bool] = lambda _: False,
        weigh: Weigh = as_it_is,
    ) -> None:
        self._board = board
        self._probe = probe
        self._keeper = keeper
        self._wall = wall
        self._confirm_interval = confirm_interval
        self._confirm_timeout = confirm_timeout
        self._usual_timeout = usual_timeout
        self._slots: dict[str, list[Slot]] = {}
        for service in services:
            self._add(service, tracks.get(service.name))
        self._neighbours = neighbours(services)
        count = sum(map(len, self._slots.values()))
        self._gate = asyncio.Semaphore(min(most, max(32, math.ceil(count * ROOM))))
        self._tell = tell
        self._quiet = quiet
        self._weigh = weigh
        self._stalls: deque[tuple[float, float]] = deque(maxlen=240)
        self._group: asyncio.TaskGroup | None = None

    def _add(self, service: Service, track: Track | None) -> None:
        now = self._wall()
        statuses = {check.name: CheckStatus(check=check) for check in service.checks}
        track = track or Track(since=now, watched_since=now)
        self._board.services[service.name] = ServiceStatus(service=service, track=track, checks=statuses)
        if not service.paused:
            self._slots[service.name] = [Slot(service, check, statuses[check.name]) for check in service.checks]

    @property
    def patience(self) -> float:
        """Seconds within which some check should come to its end: the shortest interval and its timeout."""
        checks = [slot.check for row in self._slots.values() for slot in row]
        return min((check.interval + check.timeout for check in checks), default=math.inf)

    async def run(self) -> None:
        """Runs until cancelled; a fault of ours in handling an outcome ends it with that exception."""
        loop = asyncio.get_running_loop()
        slots = [slot for row in self._slots.values() for slot in row]
        origin = loop.time()
        async with asyncio.TaskGroup() as group:
            self._group = group
            for slot in slots:
                name, turn = place(slot.service, slot.check)
                ramp = min(turn, len(slots) / START_RATE)
                slot.due = origin + phase(name, turn)
                loop.call_at(origin + phase(name, ramp), self._start, slot, origin + phase(name, ramp))
                loop.call_at(slot.due, self._on_grid, slot)
            try:
                await self._keep_time(loop)
            finally:
                self._group = None  # timers that are still set find nobody to run for

    async def check_now(self) -> None:
        """Looks at everything once, now, and waits until that is done."""
        now = asyncio.get_running_loop().time()
        tasks = [self._start(slot, now) for row in self._slots.values() for slot in row]
        await asyncio.gather(*(task for task in tasks if task))

    def look_at(self, name: str) -> None:
        """Looks at one service now, unless that is under way; at none that is paused or not watched."""
        for slot in self._slots.get(name, ()):
            self._start(slot, asyncio.get_running_loop().time())

    async def _keep_time(self, loop: asyncio.AbstractEventLoop) -> None:
        """Notes every stall of our own loop and every step of the wall clock."""
        ahead = self._wall() - loop.time()
        while True:
            expected = loop.time() + TICK
            await asyncio.sleep(TICK)
            now = loop.time()
            self._board.loop_alive_at = self._wall()
            if now - expected > TICK:
                self._stalls.append((now, now - expected))
            step = self._wall() - now - ahead
            if abs(step) > CLOCK_STEP:
                self._shift(step)
            ahead += step

    def _shift(self, step: float) -> None:
        """Moves the start periods along with a stepped wall clock, so that none ends early or lasts an hour longer."""
        log.warning("clock_stepped", seconds=round(step, 1))
        for status in self._board.services.values():
            status.track = replace(status.track, watched_since=status.track.watched_since + step)

    def _on_grid(self, slot: Slot) -> None:
        loop = asyncio.get_running_loop()
        due = slot.due
        slot.due, lost = next_due(due, slot.check.interval, loop.time())
        loop.call_at(slot.due, self._on_grid, slot)
        slot.status.missed += lost
        if self._start(slot, due) is None and due - slot.asked > self._confirm_interval:
            slot.status.missed += 1

    def _start(self, slot: Slot, due: float, timeout: float | None = None) -> asyncio.Task[None] | None:
        """Starts one run, unless one is under way: then that one will do, and None is given back."""
        if slot.running or self._group is None:
            return None
        slot.running, slot.asked = True, asyncio.get_running_loop().time()
        return self._group.create_task(self._run(slot, due, timeout))

    async def _run(self, slot: Slot, due: float, timeout: float | None) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with self._gate:
                slot.started = loop.time()
                self._board.lateness.observe(slot.started - due)
                if timeout is None:
                    timeout = self._patience(slot)
                outcome = await self._probe(slot.check, timeout)
            stalled = sum(lag for at, lag in self._stalls if at >= slot.started)
            outcome = await self._weigh(slot.service, slot.check, look(outcome, stalled), slot.started)
        finally:
            slot.running = False
        self._take(slot, forgive(outcome) if self._quiet(slot.service) else outcome)

    def _patience(self, slot: Slot) -> float:
        """Seconds a run may take: the check's own, or the shorter confirm deadline while it is unsettled."""
        if unsettled(self._track(slot), slot.check):
            return self._second_look(slot.check)
        return slot.check.timeout

    def _second_look(self, check: Check) -> float:
        """Seconds a second look may take."""
        return check.timeout if check.timeout > self._usual_timeout else min(check.timeout, self._confirm_timeout)

    def _track(self, slot: Slot) -> CheckTrack:
        return self._board.services[slot.service.name].check_track(slot.check.name)

    def _take(self, slot: Slot, outcome: Outcome) -> None:
        """Judges one outcome, shows and keeps it, and looks closer where it says so."""
        now, service, check = self._wall(), slot.service, slot.check
        status = self._board.services[service.name]
        diagnosis = diagnose(service, check, outcome)
        if diagnosis and diagnosis.cause == Cause.DEPENDENCY:
            diagnosis = beside(diagnosis, self._siblings(slot), seen_up=status.track.seen_up)
        first_miss = outcome.verdict == Verdict.FAIL and self._track(slot).misses == 0
        before = status.track
        track, flip = judge(before, service, check, outcome, diagnosis, now)
        slot.status.outcome, slot.status.diagnosis, slot.status.ran_at = outcome, diagnosis, now
        slot.status.runs[outcome.verdict] += 1
        self._board.newest_outcome = asyncio.get_running_loop().time()
        slot.status.latency_sum += outcome.latency
        status.track = track
        status.facts.update(outcome.facts)
        status.show_decided()
        self._keeper.saw(service, check, now, outcome, diagnosis)
        self._keeper.moved(track, service, flip)
        if flip:
            self._tell(flip)
        elif track.state == State.UNKNOWN and track.cause not in (before.cause, Cause.STARTING) and diagnosis:
            # Blind from the start there is no flip to tell: the state was unknown before.
            log.warning("cannot_look", service=service.name, says=f"{service.name}: {diagnosis.sentence}")
        if flip or (first_miss and track.state != State.DOWN):
            self._look_around(service)
        self._look_again(slot)

    def _siblings(self, slot: Slot) -> Sequence[Sibling]:
        """What a service needs and whether that has passed since its check began to fail."""
        since = self._track(slot).failing_at if self._track(slot).misses else math.inf
        needed = (self._board.services[name] for name in slot.service.depends_on if name in self._slots)
        return [
            Sibling(
                title=one.service.title,
                kind=one.service.kind,
                well=one.track.state == State.UP and all(_passed(check, since) for check in one.checks.values()),
                reached_over=one.facts.get(REACHED_OVER, ""),
            )
            for one in needed
        ]

    def _look_again(self, slot: Slot) -> None:
        if slot.confirm:
            slot.confirm.cancel()
            slot.confirm = None
        if unsettled(self._track(slot), slot.check):
            loop = asyncio.get_running_loop()
            at = max(loop.time(), slot.started + self._confirm_interval)
            slot.confirm = loop.call_at(at, self._start, slot, at, self._second_look(slot.check))

    def _look_around(self, service: Service) -> None:
        now = asyncio.get_running_loop().time()
        for name in self._neighbours[service.name]:
            for slot in self._slots.get(name, ()):
                if now - slot.started > NEIGHBOUR_REST:
                    self._start(slot, now)


def _passed(status: CheckStatus, since: float) -> bool:
    """Whether a check that can take its service down passed at `since` or later; one that cannot has no say."""
    if status.check.severity != "down":
        return True
    return status.outcome is not None and status.outcome.verdict == Verdict.PASS and (status.ran_at or 0.0) >= since


def place(service: Service, check: Check) -> tuple[str, float]:
    """The name and the seconds from which a check's phase is made.

    All signals of one kind that a service has are asked at one moment, so that one answer of the server serves them.
    """
    if check.kind in SIGNALS:
        return f"{service.name}/{check.kind}", min(check.interval, SIGNALS_TURN)
    return f"{service.name}/{check.name}", check.interval


def neighbours(services: Iterable[Service]) -> Mapping[str, frozenset[str]]:
    """Each service's parents and children, and whoever holds a key of another: whom to ask too when it first misses."""
    services = list(services)
    near: dict[str, set[str]] = {service.name: set() for service in services}
    for service in services:
        tried = {provider_of(service, check, services) for check in service.checks} - {""}
        for parent in tried.union(service.depends_on):
            near[service.name].add(parent)
            near.setdefault(parent, set()).add(service.name)
    return {name: frozenset(others) for name, others in near.items()}
