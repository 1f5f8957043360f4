"""What must hold of the core and the routing whatever happens, in whichever order."""

import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from alerts.alert import Kind
from monitor import logbook
from monitor.blame import badness
from monitor.bookkeeping import SETTLE
from monitor.database import connect, migrate
from monitor.incidents import BLIND, Blindness, Case, Happening, Said, Seen
from monitor.judge import State
from monitor.outages import AFTERMATH, HOLD_MOST
from monitor.own_sight import rested

NAMES = ("postgres", "redis", "litellm", "langfuse", "open-webui", "saas-api", "ring-a", "ring-b", "lone")
WORLD = {
    "postgres": (),
    "redis": (),
    "litellm": ("postgres", "redis"),
    "langfuse": ("postgres", "redis"),
    "open-webui": ("litellm", "postgres"),
    "saas-api": ("litellm",),
    "ring-a": ("ring-b",),
    "ring-b": ("ring-a",),
    "lone": (),
}
names = st.sampled_from(NAMES)
states = st.sampled_from([State.DOWN, State.DOWN, State.DEGRADED, State.UP, State.UP, State.UNKNOWN])
PATIENCE = HOLD_MOST + AFTERMATH  # whoever is in trouble that long for no other's sake has an incident


class World(RuleBasedStateMachine):
    """Services, clocks and people do what they like."""

    stage_of: type

    @initialize()
    def begin(self) -> None:
        self.stage = self.stage_of(WORLD)
        self.restless = dict.fromkeys(NAMES, 0.0)  # when each last had a reason to have no incident
        self.conn: sqlite3.Connection = connect(None)
        migrate(self.conn, (logbook.SCHEMA,))

    @rule(name=names, state=states, missed=st.integers(0, 200), asks=st.booleans())
    def flips(self, name: str, state: State, missed: int, asks: bool) -> None:
        stage = self.stage
        if stage.seen[name].state == State.PAUSED:
            return
        if state == State.UP:
            stage.up(name)
        elif state == State.UNKNOWN:
            stage.unknown(name)
        else:
            stage.trouble(name, state, missed=missed, check=f"check-{state}")
        if asks:  # the watch looks at parents and children
            stage.passes(*(one for one in stage.graph.parents[name] if stage.seen[one].state == State.UP))
        stage.turn()

    @rule(name=names)
    def misses_once(self, name: str) -> None:
        if self.stage.seen[name].state == State.UP:
            self.stage.misses(name)
            self.stage.turn()

    @rule(seconds=st.integers(1, 900), looks=st.booleans())
    def time_goes_by(self, seconds: int, looks: bool) -> None:
        every = 1 if seconds < 30 else 10
        for _ in range(seconds // every):
            self.stage.now += every
            self.stage.wall += every
            if looks:
                self.stage.healthy()
            self.stage.turn()
            self.note_reasons()

    @rule(hours=st.sampled_from([-1, 1, -5, 5]))
    def the_wall_clock_is_stepped(self, hours: int) -> None:
        self.stage.wall += hours * 3600
        self.stage.turn()

    @rule(away=st.integers(0, 600))
    def the_daemon_is_restarted(self, away: int) -> None:
        """From the file, on another monotonic clock; what the judge remembers stays, what was seen lately does not."""
        stage = self.stage
        logbook.save_book(self.conn, stage.book, now=stage.now, wall=stage.wall)
        stage.wall += away
        before = stage.now
        stage.now += 1000  # any number: nothing may hang on it
        book = logbook.load_book(self.conn, now=stage.now, wall=stage.wall)
        assert book is not None
        assert book.cases.keys() == stage.book.cases.keys()
        stage.book, stage.round_over = book, False
        for name, one in stage.seen.items():
            stage.seen[name] = replace(one, answered_at=None, passed_at=None, troubled_at=None)
            self.restless[name] += stage.now - before
        stage.turn()

    @rule()
    def a_round_is_over(self) -> None:
        self.stage.healthy()
        self.stage.round_over = True
        self.stage.turn()

    @rule(sight=st.sampled_from(["lost", "partly lost", "back"]))
    def sight_is_lost_or_comes_back(self, sight: str) -> None:
        stage = self.stage
        if sight == "back":
            stage.blind = None
        else:
            since = stage.blind.since if stage.blind else stage.now
            partly = sight == "partly lost"
            stage.blind = Blindness(since=since, sentence="Blind.", evidence="none answered", partly=partly)
        stage.turn()

    @rule(pattern=st.sampled_from([*NAMES, "*", "ring-*"]), seconds=st.integers(60, 7200))
    def somebody_silences(self, pattern: str, seconds: int) -> None:
        self.stage.silence(pattern, seconds=seconds)
        self.stage.turn()

    @rule(name=names)
    def somebody_acknowledges(self, name: str) -> None:
        if name in self.stage.book.cases:
            self.stage.acknowledge(name)

    @rule(name=names)
    def somebody_pauses_or_resumes(self, name: str) -> None:
        stage = self.stage
        paused = not stage.services[name].paused
        stage.become(replace(stage.services[name], paused=paused))
        state = State.PAUSED if paused else State.UNKNOWN
        stage.seen[name] = Seen(state=state, since=stage.wall)
        stage.turn()

    def note_reasons(self) -> None:
        """Who is in trouble, has an excuse for it or none, and for how long."""
        stage = self.stage
        sees = stage.blind is None or stage.blind.partly
        quiet = sees and rested(stage.book.sighted, stage.now) and stage.book.round_over
        for name in NAMES:
            one = stage.seen[name]
            excused = any(
                badness(stage.seen[parent].state) >= badness(one.state) or stage.seen[parent].state == State.UNKNOWN
                for parent in stage.graph.parents[name]
            )
            if not quiet or badness(one.state) == 0 or excused or name in stage.book.cases:
                self.restless[name] = stage.now
            assert stage.now - self.restless[name] <= PATIENCE, f"nobody tells of {name}"

    @invariant()
    def the_book_survives(self) -> None:
        """Kept and loaded at any moment it is the same, and so has the same future."""
        if not hasattr(self, "stage"):
            return
        stage = self.stage
        logbook.save_book(self.conn, stage.book, now=stage.now, wall=stage.wall)
        loaded = logbook.load_book(self.conn, now=stage.now, wall=stage.wall)
        assert loaded is not None
        book = stage.book
        assert replace(loaded, round_over=book.round_over, ahead=book.ahead, steps=book.steps) == book

    @invariant()
    def what_was_said_was_right(self) -> None:
        if not hasattr(self, "stage"):
            return
        stage = self.stage
        for at, one in stage.said:
            if at != stage.now or one.what not in (Happening.OPENED, Happening.WORSE) or one.incident.root == BLIND:
                continue
            assert stage.book.round_over
        opened = Counter(one.incident.id for _, one in stage.said if one.what == Happening.OPENED)
        resolved = Counter(one.incident.id for _, one in stage.said if one.what == Happening.RESOLVED)
        assert set(opened.values()) <= {1}, "opened twice"
        assert set(resolved.values()) <= {1}, "resolved twice"
        assert resolved.keys() <= opened.keys()
        still = {one.id for one in stage.book.open}
        assert opened.keys() - resolved.keys() == still
        assert len({case.incident.id for case in stage.book.cases.values()}) == len(stage.book.cases)

    def teardown(self) -> None:
        """In the end all is well, and every story has its end on every channel that was told its beginning."""
        if not hasattr(self, "stage"):
            return
        stage = self.stage
        stage.blind, stage.round_over = None, True
        for name in NAMES:
            stage.become(replace(stage.services[name], paused=False))
            stage.up(name)
        stage.passing(SETTLE + 10, every=10)
        assert stage.book.cases == {}
        assert stage.book.held == {}
        self.what_was_said_was_right()
        for channel in ("slack", "pagerduty"):
            stories: dict[str, list[Kind]] = {}
            for _, put in stage.puts:
                if put.channel == channel:
                    stories.setdefault(put.alert.incident, []).append(put.alert.kind)
            for kinds in stories.values():
                assert kinds[0] == Kind.OPEN
                assert kinds[-1] == Kind.RESOLVE
                assert set(kinds[1:-1]) <= {Kind.UPDATE, Kind.REMINDER}
                assert channel == "slack" or Kind.REMINDER not in kinds
        self.conn.close()


def watched(stage_of: type) -> type:
    """A stage on which every single decision is looked at as it is made."""

    class Watched(stage_of):
        def _decide(self) -> None:
            said, puts = len(self.said), len(self.puts)
            was_blind, cases = self.blind, dict(self.book.cases)
            super()._decide()
            for _, one in self.said[said:]:
                self.judge(one, was_blind, cases)
            for _, put in self.puts[puts:]:
                silent = any(one.matches(put.alert.service) and one.active(self.wall) for one in self.ways.silences)
                assert put.alert.kind == Kind.RESOLVE or not silent, "told within a silence"

        def judge(self, one: Said, was_blind: Blindness | None, cases: Mapping[str, Case]) -> None:
            root = one.incident.root
            if one.what == Happening.OPENED:
                assert root not in cases
            if one.what in (Happening.OPENED, Happening.WORSE) and root != BLIND:
                assert was_blind is None or was_blind.partly, "opened while blind"
                assert self.book.round_over
                state = self.seen[root].state
                assert badness(state) > 0, "opened though it is not in trouble"
                for parent in self.graph.parents[root]:
                    assert badness(self.seen[parent].state) < badness(state), "opened though its parent is to blame"

    return Watched


def test_whatever_happens(stage_of: type) -> None:
    world = type("WorldOnStage", (World,), {"stage_of": staticmethod(watched(stage_of))})
    run_state_machine_as_test(
        world, settings=settings(max_examples=60, stateful_step_count=40, derandomize=True, deadline=None)
    )
