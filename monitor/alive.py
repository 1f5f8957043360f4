"""Whether every loop of the daemon advances: what /healthz and the heartbeat go by. Never a word about services."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

LONGEST_TURN = 5.0  # seconds between two turns that count at most: a daemon that was suspended did not stand still


@dataclass(slots=True)
class _Loop:
    within: float
    progress: Callable[[], object]
    last: object
    at: float


class LoopSigns:
    """Remembers when each loop last gave a sign of life. `clock` gives monotonic seconds.

    `turn()` is to be called about once a second by somebody who would notice it himself if it were not: it is the
    clock by which loops grow stale, so that an hour in which the whole process was suspended counts as one turn.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._turned = clock()
        self._awake = 0.0
        self._loops: dict[str, _Loop] = {}

    def expect(self, name: str, *, within: float, progress: Callable[[], object]) -> None:
        """Expects a sign of life of the loop `name` every `within` seconds, from now on.

        That is `progress()` being another value than at the turn before: a count of rounds, the time of the newest
        result. It must be cheap and never raise.
        """
        self._loops[name] = _Loop(within, progress, progress(), self._awake)

    def turn(self) -> None:
        """Lets time pass, and looks at everybody's progress."""
        now = self._clock()
        self._awake += min(max(0.0, now - self._turned), LONGEST_TURN)
        self._turned = now
        for loop in self._loops.values():
            if (new := loop.progress()) != loop.last:
                loop.last, loop.at = new, self._awake

    def stale(self) -> Mapping[str, float]:
        """The loops that stand still, each with the seconds since its last sign of life; empty while all is well."""
        silent = ((name, loop, self._awake - loop.at) for name, loop in self._loops.items())
        return {name: seconds for name, loop, seconds in silent if seconds > loop.within}


def standing_still(stale: Mapping[str, float]) -> str:
    """In words, for /healthz and the heartbeat: "the calendar has stood still for 130 s"; "" for nobody."""
    return "; ".join(f"the {name} has stood still for {seconds:.0f} s" for name, seconds in stale.items())
