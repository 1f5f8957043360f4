"""Months of random trouble through the real judge, core and routing, on clocks of its own; and what must hold of it.

python -m benchmarks.replay [--days 30] [--runs 4] [--seed 1] [--every-run]

Services like the presets' break, slow down and flap; what depends on them follows, and comes back late. Meanwhile the
daemon is restarted (from the real tables), goes blind, to everything or to one service, and has its wall clock stepped
by hours; people silence services. Every channel's messages are then held against what happened: see `Verdicts`.

A check that has answered the same often enough cannot change the judge's mind by answering it once more: such runs are
counted and not played, until something changes. `--every-run` plays them all; the messages are the same, to the second.
"""

import argparse
import heapq
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import pairwise

from alerts.alert import Alert, Kind
from config.alert_settings import AlertSettings
from config.causes import Cause
from config.checks import TcpParams
from config.watched import Check, Service
from monitor import logbook
from monitor.blame import badness
from monitor.bookkeeping import SETTLE
from monitor.database import connect, migrate
from monitor.dependencies import Graph
from monitor.diagnose.base import Diagnosis
from monitor.grid import phase
from monitor.incidents import BLIND, Blindness, Book, Happening, Said
from monitor.judge import CheckTrack, State, Track, judge, unsettled
from monitor.known import Known
from monitor.outages import step
from monitor.probes.base import Evidence, Outcome, Sight, Verdict
from monitor.routing import REMIND_MOST, Put, Ways, route
from monitor.silences import Silence

START = 1_795_219_200.0
DAY, HOUR, MINUTE = 86_400.0, 3_600.0, 60.0
CONFIRM = 10.0
NEIGHBOUR_REST = 1.0
SETTLED = 12  # the same answer so often in a row changes nothing any more: the judge looks at ten
BLIND_SEEN = 25.0  # seconds until enough checks agree that we are blind, and until a service counts as unseen
STACK = {
    "postgres": (),
    "redis": (),
    "clickhouse": (),
    "minio": (),
    "qdrant": (),
    "litellm": ("postgres", "redis"),
    "langfuse-web": ("postgres", "clickhouse", "redis", "minio"),
    "langfuse-worker": ("postgres", "clickhouse", "redis", "minio"),
    "open-webui": ("litellm", "postgres", "redis", "qdrant"),
    "r2r": ("postgres",),
    "saas-api": ("litellm", "postgres"),
    "inference": (),
}
SAW = {
    "down": (Verdict.FAIL, Sight.REFUSED, Cause.REFUSED),
    "slow": (Verdict.WARN, Sight.ANSWERED, Cause.SLOW),
    "blind": (Verdict.UNKNOWN, Sight.NO_ROUTE, Cause.NO_ROUTE),
    "well": (Verdict.PASS, Sight.ANSWERED, None),
}
OUTCOMES = {
    truth: (
        Outcome(verdict=verdict, latency=0.0, evidence=Evidence(sight=sight, text=f"it is {truth}")),
        Diagnosis(cause=cause, sentence=f"It is {truth}.", remedy="Look.") if cause else None,
    )
    for truth, (verdict, sight, cause) in SAW.items()
}


@dataclass(frozen=True)
class Place:
    """A channel as routing sees it."""

    name: str
    pages: bool
    groups: bool
    keyed: bool


PLACES = (
    Place("slack", pages=False, groups=True, keyed=False),
    Place("pagerduty", pages=True, groups=False, keyed=True),
)


@dataclass(slots=True)
class Slot:
    """One check's place in the schedule; times are the world's."""

    service: Service
    check: Check
    phase: float
    started: float = -1e9
    confirm_at: float = -1.0
    same: int = 0
    last: str = ""
    asleep: bool = False

    def grid(self, at: float) -> float:
        """The newest point of its grid at or before `at`."""
        interval = self.check.interval
        return (at - self.phase) // interval * interval + self.phase


@dataclass(slots=True)
class Truth:
    """How a service really is: its own fault, and the parents that fail it."""

    fault: str = ""
    failed_by: set[str] = field(default_factory=set)

    @property
    def state(self) -> str:
        return "down" if self.failed_by or self.fault == "down" else self.fault or "well"


@dataclass(slots=True)
class Message:
    """One alert as it was put; `at` is the world's time, which nothing steps."""

    at: float
    channel: str
    alert: Alert
    silenced: bool


class World:
    """Everything: what really is, the daemon that looks, and the clocks. `now` counts seconds and is never stepped."""

    def __init__(self, seed: int, days: float, *, every_run: bool = False) -> None:
        self.random = random.Random(seed)
        self.end = days * DAY
        self.every_run = every_run
        self.now, self.ahead, self.epoch = 0.0, START, 0.0
        self.services = {name: _service(name, parents) for name, parents in STACK.items()}
        self.graph = Graph.of(self.services.values())
        self.truth = {name: Truth() for name in STACK}
        self.blind_since: float | None = None
        self.unseen_since: dict[str, float] = {}
        self.silences: list[Silence] = []
        self.tracks = {name: Track(since=START, watched_since=START) for name in STACK}
        self.slots = {
            name: [Slot(service, check, phase(f"{name}/{check.name}", check.interval)) for check in service.checks]
            for name, service in self.services.items()
        }
        self.known = Known(self.services.values(), {}, now=0.0)
        self.book = Book()
        self.conn: sqlite3.Connection = connect(None)
        migrate(self.conn, (logbook.SCHEMA,))
        self.running = True
        self.messages: list[Message] = []
        self.said: list[tuple[float, Said]] = []
        self.breaks: list[tuple[float, str]] = []
        self.troubles: dict[str, list[tuple[float, float]]] = {}
        self.disturbed: list[tuple[float, float]] = []
        self.silenced: list[tuple[float, float, Silence]] = []
        self.unseen: dict[str, list[tuple[float, float]]] = {}
        self.runs = Counter[str]()
        self.tick_at = 0.0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        for slot in self._all_slots():
            self.at(slot.phase, self._run_on_grid(slot))
        self.at(0.0, self._tick)
        self._make_trouble()

    # What happens to the world.

    def at(self, when: float, what: Callable[[], None]) -> None:
        self._number += 1
        heapq.heappush(self._queue, (when, self._number, what))

    def play(self) -> None:
        """To the end, and a good while longer with everything well."""
        last = self.end + SETTLE + 2 * HOUR
        while self._queue and self._queue[0][0] <= last:
            self.now, _, what = heapq.heappop(self._queue)
            what()
        self.conn.close()

    def _make_trouble(self) -> None:
        names, chance = list(STACK), self.random
        day = 0.0
        while day < self.end:
            span = min(DAY, self.end - day)
            for _ in range(chance.choice((1, 2, 3, 4))):
                begin = day + chance.random() * span
                length = min(chance.lognormvariate(6.5, 1.5), 2 * DAY, self.end - begin)
                kind = "down" if chance.random() < 0.75 else "slow"
                self._fault(chance.choice(names), kind, begin, begin + length)
            if chance.random() < 0.4:
                self._flaps(chance.choice(names), day + chance.random() * span)
            if chance.random() < 0.2:
                begin = day + chance.random() * span
                self._lose_sight(begin, begin + chance.choice((30.0, 90.0, 300.0, 1500.0)))
            if chance.random() < 0.3:
                begin = day + chance.random() * span
                self._lose_one(chance.choice(names), begin, begin + chance.choice((90.0, 600.0, 5 * HOUR, 30 * HOUR)))
            if chance.random() < 0.3:
                self.at(day + chance.random() * span, self._die)
            if chance.random() < 0.3:
                by = chance.choice((-HOUR, HOUR, -5 * HOUR, 5 * HOUR, 30.0))
                self.at(day + chance.random() * span, lambda by=by: self._step_clock(by))
            if chance.random() < 0.4:
                pattern, length = chance.choice([*names, "lang*"]), chance.choice((600.0, HOUR, 4 * HOUR))
                self.at(
                    day + chance.random() * span, lambda pattern=pattern, length=length: self._silence(pattern, length)
                )
            day += DAY

    def _fault(self, name: str, kind: str, begin: float, end: float) -> None:
        self.at(begin, lambda: self._become(name, kind))
        self.at(min(end, self.end), lambda: self._become(name, ""))

    def _flaps(self, name: str, at: float) -> None:
        for _ in range(self.random.randint(2, 9)):
            length = self.random.uniform(60, 400)
            if at + length < self.end:
                self._fault(name, "down", at, at + length)
            at += length + self.random.uniform(60, 400)

    def _become(self, name: str, fault: str) -> None:
        before = self.truth[name].state
        self.truth[name].fault = fault
        self._changed(name, before)

    def _changed(self, name: str, before: str) -> None:
        """What depends on it follows within seconds, and comes back with the next attempt to reconnect."""
        truth = self.truth[name]
        if truth.state == before:
            return
        self._wake(name)
        if before == "well":
            self.troubles.setdefault(name, []).append((self.now, self.end + DAY))
        elif truth.state == "well":
            self.troubles[name][-1] = (self.troubles[name][-1][0], self.now)
        if truth.state == "down" and not truth.failed_by:
            self.breaks.append((self.now, name))
        if "down" not in (truth.state, before):
            return
        for child in self.graph.children[name]:
            if truth.state == "down":
                if self.random.random() < 0.9:
                    self.at(self.now + self.random.uniform(0, 5), lambda child=child: self._fail(child, name))
            else:
                self.at(self.now + self.random.uniform(5.1, 60), lambda child=child: self._revive(child, name))

    def _fail(self, child: str, parent: str) -> None:
        before = self.truth[child].state
        self.truth[child].failed_by.add(parent)
        self._changed(child, before)

    def _revive(self, child: str, parent: str) -> None:
        if self.truth[parent].state == "down":
            return  # it failed again meanwhile
        before = self.truth[child].state
        self.truth[child].failed_by.discard(parent)
        self._changed(child, before)

    def _lose_sight(self, begin: float, end: float) -> None:
        self.disturbed.append((begin - 5 * MINUTE, end + 5 * MINUTE))

        def lose() -> None:
            self.blind_since = self.now
            self._wake_all()

        def find() -> None:
            self._wake_all()
            self.blind_since = None

        self.at(begin, lose)
        self.at(min(end, self.end), find)

    def _lose_one(self, name: str, begin: float, end: float) -> None:
        """Our probe of one service breaks."""
        end = min(end, self.end)
        self.unseen.setdefault(name, []).append((begin, end))

        def lose() -> None:
            self._wake(name)
            self.unseen_since.setdefault(name, self.now)
            self._hurry()

        def find() -> None:
            self._wake(name)
            self.unseen_since.pop(name, None)

        self.at(begin, lose)
        self.at(end, find)

    def _step_clock(self, by: float) -> None:
        self.ahead += by
        self._hurry()

    def _silence(self, pattern: str, length: float) -> None:
        wall = self.wall
        self.silences = [one for one in self.silences if not one.over(wall - DAY)]
        self.silences.append(Silence(id=str(self.now), service=pattern, why="", by="", since=wall, until=wall + length))
        self._hurry()

    def _die(self) -> None:
        """Killed; another daemon takes up the tables a little later, on a monotonic clock of its own."""
        if not self.running:
            return
        self._wake_all()
        self.running = False
        away = self.random.uniform(2, 120)
        self.disturbed.append((self.now - 5 * MINUTE, self.now + away + 5 * MINUTE))
        logbook.save_book(self.conn, self.book, now=self.mono, wall=self.wall)
        self.at(self.now + away, self._rise)

    def _rise(self) -> None:
        self.epoch = self.random.uniform(-1e6, 1e6)
        self.known = Known(self.services.values(), self.tracks, now=self.mono)
        book = logbook.load_book(self.conn, now=self.mono, wall=self.wall)
        assert book is not None
        assert book.cases.keys() == self.book.cases.keys()
        self.book, self.running = book, True
        for slot in self._all_slots():
            slot.started = -1e9
            self.at(self.now + self.random.uniform(0, 3), lambda slot=slot: self._run(slot))
        self._hurry()

    # The clocks.

    @property
    def mono(self) -> float:
        """The daemon's monotonic clock."""
        return self.now + self.epoch

    @property
    def wall(self) -> float:
        return self.now + self.ahead

    # The watch.

    def _all_slots(self) -> Iterable[Slot]:
        return (slot for row in self.slots.values() for slot in row)

    def _run_on_grid(self, slot: Slot) -> Callable[[], None]:
        def run() -> None:
            if slot.asleep:
                return
            self._run(slot)
            if not self.every_run and slot.same >= SETTLED and slot.confirm_at < self.now:
                slot.asleep = True
            else:
                self.at(slot.grid(self.now + 0.5 * slot.check.interval) + slot.check.interval, run)

        return run

    def _wake(self, name: str) -> None:
        for slot in self.slots[name]:
            slot.same = 0
            if slot.asleep:
                self._catch_up(slot)
                slot.asleep = False
                self.at(slot.grid(self.now) + slot.check.interval, self._run_on_grid(slot))

    def _wake_all(self) -> None:
        for name in self.slots:
            self._wake(name)

    def _catch_up(self, slot: Slot) -> None:
        """Takes in the runs that were not played: all as the last one."""
        newest = slot.grid(self.now)
        missed = round((newest - slot.started) / slot.check.interval) if newest > slot.started else 0
        if not missed or not self.running:
            return
        outcome, _ = OUTCOMES[slot.last]
        for count in range(missed if outcome.verdict == Verdict.FAIL else 1):
            at = newest - (missed - 1 - count) * slot.check.interval if outcome.verdict == Verdict.FAIL else newest
            self.known.saw(slot.service, slot.check, outcome, at + self.epoch)
        slot.started = newest
        self.runs["not played"] += missed
        self.known.moved(self.tracks[slot.service.name], slot.service, newest + self.epoch)

    def _run(self, slot: Slot) -> None:
        if not self.running:
            return
        slot.started, slot.confirm_at = self.now, -1.0
        service, check, name = slot.service, slot.check, slot.service.name
        unseen = self.blind_since is not None or name in self.unseen_since
        truth = "blind" if unseen else self.truth[name].state
        if check.severity == "degraded" and truth == "slow":
            truth = "well"
        slot.same = slot.same + 1 if truth == slot.last else 1
        slot.last = truth
        outcome, diagnosis = OUTCOMES[truth]
        before = self.tracks[name]
        first_miss = outcome.verdict == Verdict.FAIL and before.checks.get(check.name, CheckTrack()).misses == 0
        track, flip = judge(before, service, check, outcome, diagnosis, self.wall)
        self.tracks[name] = track
        self.runs["played"] += 1
        self.known.saw(service, check, outcome, self.mono)
        self.known.moved(track, service, self.mono)
        if flip is not None:
            self._turn()
            self._hurry()
        if flip is not None or (first_miss and track.state != State.DOWN):
            for near in (*self.graph.parents[name], *self.graph.children[name]):
                for other in self.slots[near]:
                    if other.asleep:
                        self._catch_up(other)
                    if self.now - other.started > NEIGHBOUR_REST:
                        self.at(self.now, lambda other=other: self._run_soon(other))
        if unsettled(track.checks[check.name], check):
            slot.confirm_at = self.now + CONFIRM
            self.at(slot.confirm_at, lambda at=slot.confirm_at: self._confirm(slot, at))

    def _run_soon(self, slot: Slot) -> None:
        if self.now - slot.started > NEIGHBOUR_REST:
            self._run(slot)

    def _confirm(self, slot: Slot, at: float) -> None:
        if slot.confirm_at == at:
            self._run(slot)

    # The desk.

    def _hurry(self) -> None:
        """Has the next tick soon."""
        if self.tick_at > self.now + 1:
            self.tick_at = self.now + 1
            self.at(self.tick_at, self._tick)

    def _tick(self) -> None:
        if self.tick_at != self.now:
            return
        if self.running:
            self._turn()
        self.tick_at = self.now + self._pause()
        self.at(self.tick_at, self._tick)

    def _pause(self) -> float:
        """Seconds to the next turn that nothing brings about: the daemon's is one, here it is as many as may be."""
        book = self.book
        young = any(
            self.mono - max(case.opened, case.freed or 0.0, case.spread_at or 0.0) < 240 for case in book.cases.values()
        )
        blind = self.blind_since is not None or any(self.now - at < 240 for at in self.unseen_since.values())
        if young or book.held or book.gathering is not None or blind or not book.round_over:
            return 5.0
        return 30.0 if book.cases else HOUR

    def _turn(self) -> None:
        for slot in self._all_slots():
            if slot.asleep:
                self._catch_up(slot)
        ways = Ways(instance="here", channels=PLACES, settings=AlertSettings(), silences=self.silences)
        book, said = step(
            self.book,
            self.graph,
            self.known.seen,
            self.mono,
            wall=self.wall,
            round_over=self.known.round_over,
            blind=self._blindness(),
        )
        self.book, puts = route(book, said, self.graph, self.known.seen, ways, self.mono, wall=self.wall)
        self.said += [(self.now, one) for one in said]
        self.messages += [self._message(put) for put in puts]

    def _blindness(self) -> Blindness | None:
        partly = self.blind_since is None
        since = min(self.unseen_since.values(), default=None) if partly else self.blind_since
        if since is None or self.now - since < BLIND_SEEN:
            return None
        return Blindness(since=since + self.epoch, sentence="We are blind.", evidence="no answer", partly=partly)

    def _message(self, put: Put) -> Message:
        silenced = any(one.active(self.wall) and one.matches(put.alert.service) for one in self.silences)
        message = Message(at=self.now, channel=put.channel, alert=put.alert, silenced=silenced)
        if put.alert.kind == Kind.OPEN and put.alert.service != BLIND:
            seen = self.known.seen
            mine = badness(seen[put.alert.service].state)
            for parent in self.graph.parents[put.alert.service]:
                assert badness(seen[parent].state) < max(mine, 1), f"{put.alert.service} told though {parent} is down"
        return message


def _service(name: str, parents: tuple[str, ...]) -> Service:
    ready = Check(name="ready", kind="tcp", params=TcpParams(host=name, port=1))
    depth = replace(ready, name="depth", severity="degraded", interval=300.0)
    return Service(
        name=name,
        kind=name,
        title=name.title(),
        address=f"{name}:1",
        checks=(ready, depth) if name in ("postgres", "redis") else (ready,),
        depends_on=parents,
    )


class Verdicts:
    """What must hold of a world that was played: AssertionError where it does not."""

    def __init__(self, world: World) -> None:
        self.world = world

    def all(self) -> None:
        assert self.world.book.cases == {}, "something stayed open though all is well"
        assert self.world.book.held == {}, "something is held though all is well"
        self.every_open_has_its_resolve()
        self.nothing_is_told_within_a_silence()
        self.nothing_is_invented()
        self.reminders_are_on_time()
        self.nothing_is_missed()
        self.nobody_is_woken_for_what_cannot_be_looked_at_alone()

    def every_open_has_its_resolve(self) -> None:
        stories: dict[tuple[str, str], list[Message]] = {}
        for message in self.world.messages:
            stories.setdefault((message.channel, message.alert.incident), []).append(message)
        for (channel, incident), story in stories.items():
            kinds = [message.alert.kind for message in story]
            assert kinds[0] == Kind.OPEN, f"{channel} {incident}: {kinds}"
            assert kinds[-1] == Kind.RESOLVE, f"{channel} {incident}: {kinds}"
            assert set(kinds[1:-1]) <= {Kind.UPDATE, Kind.REMINDER}, f"{channel} {incident}: {kinds}"
            assert story[-1].alert.ended is not None
            lasted, by_us = story[-1].alert.ended - story[-1].alert.since, story[-1].at - story[0].at
            assert -1 <= lasted <= by_us + 2 * DAY, f"{incident} is said to have lasted {lasted} s"
        for root in {key for _, key in stories}:
            assert sum(1 for one in self.world.said if one[1].incident.id == root and one[1].what == "opened") == 1

    def nothing_is_told_within_a_silence(self) -> None:
        for message in self.world.messages:
            assert message.alert.kind == Kind.RESOLVE or not message.silenced, f"{message.alert.incident} was told"

    def nothing_is_invented(self) -> None:
        """Whatever is opened was really in trouble a little before: scattered failures are told ten runs later."""
        for at, one in self.world.said:
            root = one.incident.root
            if one.what == Happening.OPENED and root != BLIND:
                real = any(begin <= at and at - 20 * MINUTE <= end for begin, end in self.world.troubles.get(root, ()))
                assert real, f"{root} was opened at {at} and was well"

    def reminders_are_on_time(self) -> None:
        """Never early; and where nothing kept one back, each within a turn of when it was due."""
        base = AlertSettings().cooldown
        reminded: dict[str, list[float]] = {}
        spoken = {
            one.incident.id: [at] for at, one in self.world.said if one.what in (Happening.OPENED, Happening.WORSE)
        }
        for message in self.world.messages:
            if message.channel == "slack" and message.alert.kind in (Kind.OPEN, Kind.REMINDER):
                reminded.setdefault(message.alert.incident, []).append(message.at)
        for incident, times in reminded.items():
            worse = spoken.get(incident, [])
            for count, (before, after) in enumerate(pairwise(times)):
                due = min(base * 2**count, REMIND_MOST)
                assert after - before >= due - 1, f"{incident}: reminded {after - before} s after, {due} s were due"
                kept_back = any(before < at < after for at in worse)
                for kept in (self._silenced, self._covered, self._unseen):
                    kept_back = kept_back or kept(incident, before, after)
                if not kept_back and not self._disturbed(before, after):
                    assert after - before <= due + 31, f"{incident}: {after - before} s instead of {due} s"

    def nothing_is_missed(self) -> None:
        """An interval, and two confirm probes ten seconds apart; no probe takes time here."""
        worst = max(self.delays(), default=0.0)
        assert worst <= MINUTE + 2 * CONFIRM + 1, f"one was told after {worst} s"

    def nobody_is_woken_for_what_cannot_be_looked_at_alone(self) -> None:
        for message in self.world.messages:
            if (message.channel, message.alert.service, message.alert.kind) == ("pagerduty", BLIND, Kind.OPEN):
                assert message.alert.state == "blind", f"{message.alert.incident} woke somebody"

    def delays(self) -> list[float]:
        """Seconds from a root's real break to its being opened, or escalated; infinite for one that never was.

        Those count that lasted two minutes and at which nothing disturbed us: no restart and no blindness to all or to
        it or a parent, no incident that was open already, no parent in trouble of late.
        """
        open_at: dict[str, float] = {}
        spans: dict[str, list[tuple[float, float]]] = {}
        told: dict[str, list[float]] = {}
        for at, one in self.world.said:
            root = one.incident.root
            if one.what in (Happening.OPENED, Happening.WORSE):
                told.setdefault(root, []).append(at)
            if one.what == Happening.OPENED:
                open_at[root] = at
            elif one.what == Happening.RESOLVED:
                spans.setdefault(root, []).append((open_at[root], at))
        found = []
        for at, name in self.world.breaks:
            until = next(end for begin, end in self.world.troubles[name] if begin <= at < end)
            known = any(begin <= at <= end for begin, end in spans.get(name, ()))
            parents = self._covered(f"-{name}", at - 5 * MINUTE, at + 2 * MINUTE)
            unseen = self._unseen(f"-{name}", at - 5 * MINUTE, at + 2 * MINUTE)
            if until - at >= 2 * MINUTE and not (known or parents or unseen or self._disturbed(at, at + 2 * MINUTE)):
                found.append(next((when - at for when in told.get(name, ()) if when >= at), float("inf")))
        return found

    def _disturbed(self, begin: float, end: float) -> bool:
        return any(one < end and begin < other for one, other in self.world.disturbed)

    def _covered(self, incident: str, begin: float, end: float) -> bool:
        """Whether a parent was in trouble meanwhile."""
        troubles = [
            one
            for name in self.world.graph.parents.get(_root(incident), ())
            for one in self.world.troubles.get(name, ())
        ]
        return any(one < end and begin - 10 * MINUTE < other for one, other in troubles)

    def _unseen(self, incident: str, begin: float, end: float) -> bool:
        """Whether the root or a parent could not be looked at meanwhile."""
        root = _root(incident)
        spells = [
            one for name in (root, *self.world.graph.parents.get(root, ())) for one in self.world.unseen.get(name, ())
        ]
        return any(one < end and begin - 5 * MINUTE < other + 5 * MINUTE for one, other in spells)

    def _silenced(self, incident: str, begin: float, end: float) -> bool:
        root = _root(incident)
        return any(one < end and begin < other and by.matches(root) for one, other, by in self.world.silenced)


def _root(incident: str) -> str:
    name = incident.split("-", 1)[1]
    return next(one for one in sorted((*STACK, "blind"), key=len, reverse=True) if name.startswith(one))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=float, default=30.0)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every-run", action="store_true")
    given = parser.parse_args()
    print("seed  days/CPU minute   incidents  messages  runs played  not played  told within, 95 % / worst")
    for seed in range(given.seed, given.seed + given.runs):
        before = time.process_time()
        world = World(seed, given.days, every_run=given.every_run)
        world.play()
        spent = time.process_time() - before
        verdicts = Verdicts(world)
        verdicts.all()
        delays = sorted(verdicts.delays())
        usual, worst = (delays[int(0.95 * (len(delays) - 1))], delays[-1]) if delays else (0.0, 0.0)
        opened = sum(one.what == Happening.OPENED for _, one in world.said)
        print(
            f"{seed:4} {given.days / spent * 60:16,.0f} {opened:11,} {len(world.messages):9,}"
            f" {world.runs['played']:12,} {world.runs['not played']:11,}  {usual:10.1f} s / {worst:.1f} s"
        )


if __name__ == "__main__":
    main()
