"""Who is to blame for a service's trouble: itself, a parent, or nobody knows yet. Pure questions, asked hop by hop."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from config.causes import Cause
from monitor.dependencies import Graph
from monitor.guilt import Trouble, explains
from monitor.incidents import Case, Held, Seen
from monitor.judge import State

TROUBLE = (State.DOWN, State.DEGRADED)
BADNESS = {"down": 2, "blind": 2, "degraded": 1}  # what is not named is no trouble


def badness(state: str) -> int:
    """How bad a state is; 0 for no trouble, or none that is known."""
    return BADNESS.get(state, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Everything the questions below are about: what is seen now, and what was known before we ceased to see."""

    graph: Graph
    seen: Mapping[str, Seen]
    cases: Mapping[str, Case]
    held: Mapping[str, Held]

    def trouble(self, name: str) -> str:
        """The state of `name`; while it cannot be seen, the one that was confirmed last."""
        one = self.seen.get(name)
        if one is not None and one.state != State.UNKNOWN:
            return one.state
        if name in self.cases:
            return self.cases[name].incident.state
        return self.held[name].state if name in self.held else State.UNKNOWN

    def excuses(self, name: str, state: str) -> tuple[str, ...]:
        """Whose confirmed trouble explains that of `name`, and is at least as bad: any of them may be the reason.

        They are its parents, and where its key is refused, whoever refuses it. One hop is enough: a parent that is
        excused itself is in trouble all the same.
        """
        mine = self._trouble_of(name, state)
        return tuple(
            parent
            for parent in self._above(name, mine)
            if badness(self.trouble(parent)) >= badness(state) and explains(self._trouble_of(parent), mine)
        )

    def in_doubt(self, name: str, state: str) -> bool:
        """Whether some parent of `name` may yet turn out to be the reason: it was not seen well since.

        For a service that is down a parent that answers is no reason, however slow it is; for a trouble of its own no
        parent that is known to have another.
        """
        began, mine = self._began(name), self._trouble_of(name, state)
        for parent in self._above(name, mine):
            one = self.seen.get(parent)
            well = None if one is None else one.answered_at if state == State.DOWN else one.passed_at
            other = mine.own and badness(self.trouble(parent)) > 0 and not explains(self._trouble_of(parent), mine)
            if (well is None or well < began) and not other:
                return True
        return False

    def reach(self, root: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Whom the trouble of `root` takes down with it: those in trouble, and those who must be expected to be.

        To be expected are all dependents of something that is down, or expected to be: one whose health page does not
        look at what it needs answers on, and works no more.
        """
        hit: dict[str, None] = {}
        expected: dict[str, None] = {}
        queue = [(root, badness(self.trouble(root)))]
        for name, bad in queue:
            children, why = self.graph.children.get(name, ()), self._trouble_of(name)
            if name in expected:
                why = replace(why, state=State.DOWN, cause=Cause.DEPENDENCY)
            for child in (*children, *self.graph.holders.get(name, ())):
                if child in hit:
                    continue
                own, its = badness(self.trouble(child)), self._trouble_of(child)
                related = child in children or its.provider == name
                if 0 < own <= bad and related and explains(why, its):
                    hit[child] = None
                    expected.pop(child, None)
                    queue.append((child, own))
                elif own == 0 and child in children and bad == BADNESS["down"] and child not in expected:
                    expected[child] = None
                    queue.append((child, bad))
        return tuple(hit), tuple(expected)

    def _above(self, name: str, mine: Trouble) -> tuple[str, ...]:
        parents = self.graph.parents.get(name, ())
        return parents if mine.provider in ("", *parents) else (*parents, mine.provider)

    def _trouble_of(self, name: str, state: str | None = None) -> Trouble:
        """What is wrong with `name`, in `state` if that is given; why is not known of one that was lost from sight."""
        check, cause = self._why(name)
        service = self.graph.services.get(name)
        decided = next((one for one in service.checks if one.name == check), None) if service else None
        return Trouble(
            name=name,
            kind=service.kind if service else "",
            state=self.trouble(name) if state is None else state,
            cause=cause,
            asks=decided.kind if decided else "",
            provider=self.graph.keys.get((name, check), ""),
        )

    def _why(self, name: str) -> tuple[str, Cause | None]:
        """The check that decided the trouble of `name`, and its cause."""
        one = self.seen.get(name)
        if one is not None and one.state != State.UNKNOWN:
            return one.check, one.cause
        if name in self.cases:
            incident = self.cases[name].incident
            return incident.check, incident.cause
        return "", None

    def _began(self, name: str) -> float:
        one = self.seen.get(name)
        return -math.inf if one is None or one.troubled_at is None else one.troubled_at
