"""Who is to blame for a service's trouble: itself, a parent, or nobody knows yet. Pure questions, asked hop by hop."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from monitor.dependencies import Graph
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
        """The parents of `name` whose confirmed trouble is at least as bad as its own: any of them may be the reason.

        One hop is enough: a parent that is excused itself is in trouble all the same.
        """
        return tuple(
            parent for parent in self.graph.parents.get(name, ()) if badness(self.trouble(parent)) >= badness(state)
        )

    def in_doubt(self, name: str, state: str) -> bool:
        """Whether some parent of `name` may yet turn out to be the reason: it was not seen well since.

        For a service that is down a parent that answers is no reason, however slow it is.
        """
        began = self._began(name)
        for parent in self.graph.parents.get(name, ()):
            one = self.seen.get(parent)
            well = None if one is None else one.answered_at if state == State.DOWN else one.passed_at
            if well is None or well < began:
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
            for child in self.graph.children.get(name, ()):
                if child in hit:
                    continue
                own = badness(self.trouble(child))
                if 0 < own <= bad:
                    hit[child] = None
                    expected.pop(child, None)
                    queue.append((child, own))
                elif own == 0 and bad == BADNESS["down"] and child not in expected:
                    expected[child] = None
                    queue.append((child, bad))
        return tuple(hit), tuple(expected)

    def _began(self, name: str) -> float:
        one = self.seen.get(name)
        return -math.inf if one is None or one.troubled_at is None else one.troubled_at
