"""One step of the core under way: copies of the book's parts, and the entries that are made in them."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from alerts.texts import duration, listed
from monitor.blame import View
from monitor.dependencies import Graph
from monitor.incidents import Blindness, Book, Case, Entry, Happening, Held, Incident, Said, Seen
from monitor.judge import State
from monitor.own_sight import rested

FLAP_WINDOW = 1_800.0
SETTLE = 600.0  # seconds without a break for which a flapping service is up before it is believed
CLOCK_STEP = 5.0  # seconds by which the wall clock must move against the other to have been stepped
TIMELINE_MOST = 100
IDS_KEPT = 200
STEPS_KEPT = 50
NAMED_MOST = 12


def with_entry(incident: Incident, what: Happening, text: str, wall: float) -> Incident:
    """The incident with one more line in its timeline, of which the first and the newest lines are kept."""
    lines = (*incident.timeline, Entry(at=wall, what=what, text=text))
    if len(lines) > TIMELINE_MOST:
        lines = (lines[0], *lines[-(TIMELINE_MOST - 1) :])
    return replace(incident, timeline=lines)


class Bookkeeping:
    """What a step has made of the book so far. `said` grows with it; the book it began with stays as it was."""

    def __init__(
        self,
        book: Book,
        graph: Graph,
        seen: Mapping[str, Seen],
        now: float,
        wall: float,
        *,
        round_over: bool,
        blind: Blindness | None,
    ) -> None:
        self.book = book
        self.graph = graph
        self.seen = seen
        self.now = now
        self.wall = wall
        self.blind = blind
        self.sightless = blind is not None and not blind.partly
        self.round_over = book.round_over or round_over
        self.said: list[Said] = []
        self.cases = dict(book.cases)
        self.held = dict(book.held)
        self.downs = book.downs
        self.openings = book.openings
        self.ids = book.ids
        self.sighted = now if book.blind and not self.sightless else book.sighted
        self.ahead = wall - now if book.ahead is None else book.ahead
        self.steps = book.steps
        self.view = View(graph=graph, seen=seen, cases=self.cases, held=self.held)
        self.may_open = self.round_over and not self.sightless and rested(self.sighted, now)

    def _book(self) -> Book:
        """The book as it is now: the very same one when nothing changed."""
        moved: dict[str, Any] = {
            "cases": self.cases,
            "held": self.held,
            "downs": self.downs,
            "openings": self.openings,
            "ids": self.ids,
            "round_over": self.round_over,
            "blind": self.sightless,
            "sighted": self.sighted,
            "ahead": self.ahead,
            "steps": self.steps,
        }
        changes = {name: value for name, value in moved.items() if value != getattr(self.book, name)}
        return replace(self.book, **changes) if changes else self.book

    def _follow_clock(self) -> None:
        """Moves the times of what is open along with a stepped wall clock, so that durations stay true."""
        by = self.wall - self.now - self.ahead
        if abs(by) <= CLOCK_STEP:
            return
        self.ahead += by
        self.steps = (*self.steps, (self.now, by))[-STEPS_KEPT:]
        for root, case in self.cases.items():
            one = case.incident
            moved = replace(
                one,
                since=one.since + by,
                opened_at=one.opened_at + by,
                acknowledged_at=None if one.acknowledged_at is None else one.acknowledged_at + by,
                reminded_at=None if one.reminded_at is None else one.reminded_at + by,
                timeline=tuple(replace(entry, at=entry.at + by) for entry in one.timeline),
            )
            self.cases[root] = replace(case, incident=moved)

    def _say(self, what: Happening, root: str, case: Case, text: str) -> None:
        incident = with_entry(case.incident, what, text, self.wall)
        self.cases[root] = replace(case, incident=incident)
        self.said.append(Said(what=what, incident=incident, text=text))

    def _say_flapping(self, root: str) -> None:
        case = self.cases[root]
        text = (
            f"{self.graph.title(root)} went down {case.incident.downs} times within {duration(FLAP_WINDOW)}: it flaps. "
            f"It counts as in trouble until it has been up for {duration(SETTLE)}."
        )
        self._say(Happening.FLAPPING, root, case, text)

    def _close(self, root: str, state: str, ended: float, text: str) -> None:
        case = self.cases[root]
        # What was merely expected to fail and never did was not taken down.
        incident = replace(case.incident, state=state, resolved_at=ended, affected=case.hit)
        self._say(Happening.RESOLVED, root, replace(case, incident=incident), text)
        del self.cases[root]

    def _counted(self, case: Case, one: Seen | None, every: float = 0.0) -> Case:
        """Adds the failed runs since the last count, at most once in `every` seconds."""
        if one is None or one.failed_runs == case.counted or self.now - case.counted_at < every:
            return case
        # A lower number than before is a new row of trouble, or a daemon that was restarted.
        more = one.failed_runs - (case.counted if one.failed_runs > case.counted else 0)
        incident = replace(case.incident, failed_checks=case.incident.failed_checks + more)
        return replace(case, incident=incident, counted=one.failed_runs, counted_at=self.now)

    def _went_down(self, name: str) -> tuple[float, ...]:
        """Notes that `name` went down now; gives the times it did of late."""
        recent = {who: kept for who, times in self.downs.items() if (kept := tuple(t for t in times if self._late(t)))}
        self.downs = {**recent, name: (*recent.get(name, ()), self.now)}
        return self.downs[name]

    def _late(self, at: float) -> bool:
        return self.now - at < FLAP_WINDOW

    def _new_id(self, root: str) -> str:
        stamp = datetime.fromtimestamp(self.wall, UTC).strftime("%Y%m%dT%H%M%SZ")
        name = f"{stamp}-{root.strip('()')}"
        # The wall clock may show the same second twice.
        tails = (f"{name}-{number}" for number in range(2, IDS_KEPT + 3))
        chosen = next(one for one in (name, *tails) if one not in self.ids)
        self.ids = (*self.ids, chosen)[-IDS_KEPT:]
        return chosen

    def _age(self, one: Seen) -> float:
        """How long it has been in trouble, in seconds, whatever steps the wall clock took since."""
        began = self.now if one.troubled_at is None else one.troubled_at
        return max(0.0, self.wall - one.since - sum(by for at, by in self.steps if at > began))

    def _left_over(self, state: str, held: Held | None) -> str:
        """The evidence that it did not recover with the parents that excused it, if they did."""
        if held is None or held.freed is None:
            return ""
        if not all((one := self.seen.get(parent)) and one.state == State.UP for parent in held.after):
            return ""
        return f"still {state} {duration(self.now - held.freed)} after {self._listed(held.after)} recovered"

    def _listed(self, names: tuple[str, ...]) -> str:
        return listed([self.graph.title(name) for name in names], NAMED_MOST)
