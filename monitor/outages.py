"""What is known of every service + the dependency graph + now → incidents that open, change and resolve. Pure.

Nothing here waits for an event: `step` compares the book with what is seen and puts right what differs, so that a call
left out, a restart or a lost message costs time and never an incident.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from alerts.texts import duration
from monitor.blame import TROUBLE, badness
from monitor.bookkeeping import SETTLE, Bookkeeping, with_entry
from monitor.dependencies import Graph
from monitor.incidents import BLIND, Blindness, Book, Case, Happening, Held, Incident, Said, Seen
from monitor.judge import State
from monitor.own_sight import as_seen, lasts, state_of

# From a parent's failure to its confirmation: an interval of 60 s, two confirm probes 10 s apart, 5 s for the last.
# Beyond that the parent is not the reason, or nobody can know.
HOLD_MOST = 90.0
AFTERMATH = 120.0  # seconds for which dependents may still fail after the root is back: they reconnect with back-off
SPREAD_AFTER = 20.0  # seconds within which newly hit services are gathered into one update
FLAP_COUNT = 3
STORM_WINDOW = 60.0
COUNT_EVERY = 60.0  # failed runs are added to the incident this often: each time would be a write each time


def step(
    book: Book,
    graph: Graph,
    seen: Mapping[str, Seen],
    now: float,
    *,
    wall: float,
    round_over: bool,
    blind: Blindness | None = None,
) -> tuple[Book, tuple[Said, ...]]:
    """Brings `book` in line with what is `seen`, and gives it with what happened, oldest first.

    To be called after whatever changed `seen` and once a second; called twice with the same it says nothing new and
    gives the very same book. `now` is monotonic seconds and decides; `wall` is epoch seconds and is only recorded.
    `round_over`: everything was looked at once since the start; nothing is opened before.
    """
    turn = _Turn(book, graph, seen, now, wall, round_over=round_over, blind=blind)
    return turn.play(), tuple(turn.said)


def acknowledge(book: Book, root: str, *, by: str, wall: float) -> tuple[Book, Said | None]:
    """Notes that `by` knows of the incident of `root`: no more reminders. None when there is none that is open."""
    case = book.cases.get(root)
    if case is None:
        return book, None
    text = f"Acknowledged by {by}; no more reminders."
    incident = with_entry(case.incident, Happening.ACKNOWLEDGED, text, wall)
    incident = replace(incident, acknowledged_at=wall, acknowledged_by=by)
    moved = replace(book, cases={**book.cases, root: replace(case, incident=incident)})
    return moved, Said(what=Happening.ACKNOWLEDGED, incident=incident, text=text)


class _Turn(Bookkeeping):
    """The decisions of one step."""

    def play(self) -> Book:
        """Everything, in order: what is open first, so that what recovered no longer excuses anybody."""
        self._follow_clock()
        self._look_at_ourselves()
        for root in list(self.cases):
            if root != BLIND:
                self._look_at_case(root)
        fresh = [
            name
            for name, one in self.seen.items()
            if one.state in TROUBLE and name not in self.cases and name in self.graph.services
        ]
        for name in sorted(fresh, key=lambda name: (-self._age(self.seen[name]), name)):
            if not self.graph.services[name].paused:
                self._consider(name)
        for name in list(self.held):
            self._let_go(name)
        for root in self.cases:
            self._look_at_cover(root)
        return self._book()

    def _look_at_ourselves(self) -> None:
        """Opens, carries on and closes the incident about our own blindness, as if it were a service of that name."""
        case = self.cases.get(BLIND)
        if self.blind is not None:
            one = as_seen(self.blind, case, self.sighted, self.now, wall=self.wall)
            if case is not None:
                self._trouble(BLIND, one)
            elif lasts(self.blind, self.now):
                self._open(BLIND, one)
        elif case is not None and self.round_over:
            self._well(BLIND, Seen(state=State.UP, since=self.wall))

    def _look_at_case(self, root: str) -> None:
        service, one = self.graph.services.get(root), self.seen.get(root)
        if service is None:
            self._close(root, "gone", self.wall, f"{root} is no longer configured, so nobody looks at it any more.")
        elif service.paused or (one is not None and one.state == State.PAUSED):
            self._close(root, "paused", self.wall, f"{service.title} is paused, so nobody looks at it any more.")
        elif one is None or one.state == State.UNKNOWN:
            case = self._counted(self.cases[root], one, COUNT_EVERY)
            self.cases[root] = case if case.well_since is None else replace(case, well_since=None)
        elif one.state == State.UP:
            self._well(root, one)
        else:
            self._trouble(root, one)

    def _consider(self, name: str) -> None:
        """Opens an incident for a troubled service that has none, unless it has to wait."""
        one, held = self.seen[name], self.held.get(name)
        if self._may_speak(name, one.state) and self.may_open:
            self.held.pop(name, None)
            self._open(name, one, held)

    def _may_speak(self, name: str, state: State) -> bool:
        """Whether the trouble of `name` is to be told of for itself, now. Notes in `held` what it waits for."""
        held = self.held.get(name, Held(state=state, noticed=self.now))
        if held.state != state:
            # What excused it as it was does not count for what it became.
            worse = badness(state) > badness(held.state)
            held = Held(state=state, noticed=self.now) if worse else replace(held, state=state)
        under = self.view.excuses(name, state)
        if under:
            held = held if held.under == under else replace(held, under=under, after=(), freed=None)
        elif held.under:
            held = replace(held, under=(), after=held.under, freed=self.now)
        self.held[name] = held
        if under or (held.freed is not None and self.now - held.freed < AFTERMATH):
            return False
        return self.now - held.noticed >= HOLD_MOST or not self.view.in_doubt(name, state)

    def _let_go(self, name: str) -> None:
        """Forgets a candidate that is well, is no longer watched, or whose incident says all there is to say."""
        case, one, service = self.cases.get(name), self.seen.get(name), self.graph.services.get(name)
        gone = service is None or service.paused or (one is not None and one.state in (State.UP, State.PAUSED))
        if gone or (case is not None and badness(case.incident.state) <= badness(case.told_state)):
            del self.held[name]

    def _open(self, name: str, one: Seen, held: Held | None = None) -> None:
        state = state_of(name, one)
        age = self._age(one)
        times = self._went_down(name)
        flapping = len(times) >= FLAP_COUNT
        hit, expected = self.view.reach(name) if name != BLIND else ((), ())
        self.openings = (*(at for at in self.openings if self.now - at < STORM_WINDOW), self.now)
        incident = Incident(
            id=self._new_id(name),
            root=name,
            state=state,
            worst=state,
            since=self.wall - age,
            opened_at=self.wall,
            check=one.check,
            cause=one.cause,
            sentence=one.sentence,
            evidence="; ".join(filter(None, (one.evidence, self._left_over(state, held)))),
            remedy=one.remedy,
            affected=hit + expected,
            downs=len(times) if flapping else 1,
            flapping=flapping,
        )
        case = Case(
            incident=incident,
            began=self.now - age,
            opened=self.now,
            spoken=self.now,
            told_state=state,
            hit=hit,
            named=incident.affected,
            counted_at=self.now,
        )
        case = self._counted(case, one)
        text = _sentence(f"{self.graph.title(name)} is {state}", one.sentence)
        if incident.affected:
            text += f" It takes down {self._listed(incident.affected)}."
        self._say(Happening.OPENED, name, case, text)
        if flapping:
            self._say_flapping(name)

    def _trouble(self, root: str, one: Seen) -> None:
        """Carries an open incident on whose root is in trouble."""
        case = self.cases[root]
        before, state = case.incident, state_of(root, one)
        again, worse = before.state == "up", badness(state) > badness(before.state) > 0
        changes: dict[str, Any] = {}
        if state != before.state or (one.check, one.cause) != (before.check, before.cause):
            changes = {
                "state": state,
                "check": one.check,
                "cause": one.cause,
                "sentence": one.sentence,
                "evidence": one.evidence,
                "remedy": one.remedy,
                "worst": max(before.worst, state, key=badness),
            }
        flapping = before.flapping
        if again or worse:
            times = self._went_down(root)
            flapping = flapping or len(times) >= FLAP_COUNT
            if flapping:
                changes["downs"] = before.downs + 1 if before.flapping else len(times)
                changes["flapping"] = True
        if changes:
            case = replace(case, incident=replace(before, **changes))
        if again:
            case = replace(case, well_since=None, counted=0)
        self.cases[root] = self._counted(case, one, 0.0 if changes else COUNT_EVERY)
        hit = self._look_at_reach(root)
        self._announce(root, one)
        self._spread(root, hit)
        if flapping and not before.flapping:
            self._say_flapping(root)

    def _announce(self, root: str, one: Seen) -> None:
        """Says that it got worse, or better, once that may be said.

        A flapping service's states are not told one by one; that it is worse than anything told so far is.
        """
        case = self.cases[root]
        state, told = case.incident.state, case.told_state
        name = self.graph.title(root)
        if badness(state) > badness(told):
            if root == BLIND or (self._may_speak(root, one.state) and self.may_open):
                case = replace(
                    case, told_state=state, spoken=self.now, named=_union(case.named, case.incident.affected)
                )
                self._say(Happening.WORSE, root, case, _sentence(f"{name} is {state} now, it was {told}", one.sentence))
        elif badness(state) < badness(told) and not case.incident.flapping and not self.view.excuses(root, state):
            text = _sentence(f"{name} is {state} now, it was {told}", one.sentence)
            self._say(Happening.BETTER, root, replace(case, told_state=state), text)

    def _look_at_reach(self, root: str) -> tuple[str, ...]:
        """Brings up to date whom the root takes down with it; gives those who are hit, none while nobody can tell."""
        if root == BLIND or not self.round_over or self.sightless:
            return ()
        case = self.cases[root]
        hit, expected = self.view.reach(root)
        if case.incident.affected != hit + expected:
            case = replace(case, incident=replace(case.incident, affected=hit + expected))
        if not set(hit) <= set(case.hit):
            case = replace(case, hit=_union(case.hit, hit))
        self.cases[root] = case
        return hit

    def _spread(self, root: str, hit: tuple[str, ...]) -> None:
        """Says, once for several, that more goes down with it than was told. Not where a parent is to blame for all."""
        case = self.cases[root]
        fresh = tuple(name for name in hit if name not in case.named)
        if case.spread_at is None and fresh:
            self.cases[root] = replace(case, spread_at=self.now)
        elif case.spread_at is not None and self.now - case.spread_at >= SPREAD_AFTER:
            case = replace(case, spread_at=None, named=_union(case.named, fresh))
            self.cases[root] = case
            if fresh and not case.incident.flapping and not self.view.excuses(root, case.incident.state):
                be = "are" if len(fresh) > 1 else "is"
                text = f"{self._listed(fresh)} {be} in trouble too, with {self.graph.title(root)}."
                self._say(Happening.SPREAD, root, case, text)

    def _well(self, root: str, one: Seen) -> None:
        """The root is up: the end, unless it flaps; then it has to stay up for a while."""
        case = self._counted(self.cases[root], one)
        incident = case.incident
        self.cases[root] = case
        again = "can be looked at again" if root == BLIND else "is up again"
        subject = "Everything" if root == BLIND else self.graph.title(root)
        if not incident.flapping:
            ended = one.since if incident.since <= one.since <= self.wall else self.wall
            self._close(root, "up", ended, f"{subject} {again} after {duration(ended - incident.since)}.")
        elif case.well_since is None:
            self.cases[root] = replace(case, well_since=self.now, incident=replace(incident, state="up"))
        elif self.round_over and self.now - case.well_since >= SETTLE:
            self.downs = {name: times for name, times in self.downs.items() if name != root}
            ended = self.wall - (self.now - case.well_since)
            calm = duration(SETTLE)
            self._close(
                root,
                "up",
                ended,
                f"{subject} {again}, for {calm} without a break; it went down {incident.downs} times.",
            )

    def _look_at_cover(self, root: str) -> None:
        """Notes whether a parent's trouble explains this incident by now, and when it ceased to."""
        case = self.cases[root]
        covered = badness(case.incident.state) > 0 and bool(self.view.excuses(root, case.incident.state))
        if covered != case.covered:
            self.cases[root] = replace(case, covered=covered, freed=None if covered else self.now)


def _union(names: tuple[str, ...], more: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*names, *more)))


def _sentence(head: str, tail: str) -> str:
    return f"{head}: {tail}" if tail else f"{head}."
