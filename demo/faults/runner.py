"""Plays the matrix: breaks the stack, looks at what a real daemon tells, mends it, and goes on when all is up again."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import psycopg
import redis

from demo.daemon import Daemon
from demo.faults.bench import CONFIRM, INTERVAL, TIMEOUT, Bench
from demo.faults.matrix import Play, rounds
from demo.faults.sighting import Result, Sighting, judged
from demo.outages import Outage
from demo.process import DemoError

POLL = 0.2
HOLD = INTERVAL + 2 * CONFIRM + TIMEOUT
"""Whoever is blamed wrongly is blamed within three looks."""
PATIENCE = 60.0


class Runner:
    """Plays faults on a started bench. `tell` is called with each result.

    A fault lasts `hold` seconds at least; all must be up within `patience` seconds, at the start and after each.
    """

    def __init__(
        self, bench: Bench, tell: Callable[[Result], None], *, hold: float = HOLD, patience: float = PATIENCE
    ) -> None:
        self._bench = bench
        self._tell = tell
        self._hold = hold
        self._patience = patience

    def run(self, plays: Sequence[Play]) -> list[Result]:
        """Plays all of them in rounds; those of a round that was not right are played again, each alone."""
        planned = rounds(plays)
        results = []
        live = [one for one in planned if not one[0].mistake]
        if live:
            with self._bench.daemon(self._bench.variables) as daemon:
                for one in live:
                    results += self._sifted(one, partial(self._live, daemon=daemon))
        for one in planned:
            if one[0].mistake:
                results += self._sifted(one, self._mistaken)
        return results

    def _sifted(self, plays: Sequence[Play], act: Callable[[Sequence[Play]], list[Result]]) -> list[Result]:
        results = _tried(act, plays)
        if len(plays) > 1 and not all(result.right for result in results):
            results = [result for play in plays for result in _tried(act, [play])]
        for result in results:
            self._tell(result)
        return results

    def _live(self, plays: Sequence[Play], daemon: Daemon) -> list[Result]:
        """One round while the daemon runs."""
        self._until_up(daemon)
        outages = {play.name: self._bench.outage(play.name) for play in plays}
        for contract in self._bench.stack.contracts.values():
            contract.forget()
        with self._broken(plays, outages) as began:
            results = self._watched(plays, daemon, Sighting(min(began.values())), began)
        problem = "" if any(play.lingers for play in plays) else self._until_up(daemon)
        return results if not problem else [_unmended(result, problem) for result in results]

    @contextlib.contextmanager
    def _broken(self, plays: Sequence[Play], outages: Mapping[str, Outage]) -> Iterator[dict[str, float]]:
        """When each began; all of them are mended at the end of the block."""
        begun: list[Outage] = []
        began = {}
        try:
            for play in plays:
                began[play.name] = time.time()
                begun.append(outages[play.name])
                outages[play.name].begin(self._bench.stack)
            yield began
        finally:
            for outage in begun:
                outage.end(self._bench.stack)
            for contract in self._bench.stack.contracts.values():
                contract.forget()

    def _mistaken(self, plays: Sequence[Play]) -> list[Result]:
        """One round of wrong variables, which the daemon is started with."""
        stack = self._bench.variables
        wrong = {play.mistake.variable: play.mistake.value(stack) for play in plays if play.mistake}
        with self._bench.daemon({**stack, **wrong}) as daemon:
            began = time.time()
            return self._watched(plays, daemon, Sighting(began), {play.name: began for play in plays})

    def _watched(
        self, plays: Sequence[Play], daemon: Daemon, sighting: Sighting, began: Mapping[str, float]
    ) -> list[Result]:
        """Looks until all stands that is expected, and long enough for others to be blamed."""
        latest, limit = max(began.values()), max(play.within for play in plays)
        while (passed := time.time() - latest) < limit:
            sighting.look(daemon.services().values(), time.time())
            if passed >= self._hold and all(sighting.stands(play.expected) for play in plays):
                break
            if not daemon.running:
                raise DemoError(f"the daemon has ended; its log says:\n{daemon.log_end()}")
            time.sleep(POLL)
        everyone = {play.name: set(play.expected.not_up) for play in plays}
        return [
            judged(
                play,
                sighting,
                began=began[play.name],
                others={name for other in plays if other is not play for name in everyone[other.name]},
            )
            for play in plays
        ]

    def _until_up(self, daemon: Daemon) -> str:
        """Waits until everything is up; what is not, in words, when it takes too long."""
        deadline = time.monotonic() + self._patience
        left: dict[str, str] = {"the daemon": "silent"}
        while left and time.monotonic() < deadline:
            services = daemon.services()
            states = {name: f"{one['state']} ({one['cause']})" for name, one in services.items() if name != "backups"}
            left = {name: state for name, state in states.items() if not state.startswith("up")} if states else left
            time.sleep(POLL)
        return ", ".join(f"{name} is still {state}" for name, state in left.items())


def _tried(act: Callable[[Sequence[Play]], list[Result]], plays: Sequence[Play]) -> list[Result]:
    """What came of the plays; where a server did not do what breaks it, that is what came of them."""
    try:
        return act(plays)
    except (DemoError, OSError, psycopg.Error, redis.RedisError) as error:
        return [Result(play=play, told={}, problems=(f"could not be played: {error}",)) for play in plays]


def _unmended(result: Result, problem: str) -> Result:
    return Result(
        play=result.play,
        told=result.told,
        problems=(*result.problems, f"once it was mended, {problem}"),
        seen_after=result.seen_after,
        told_after=result.told_after,
        checks=result.checks,
    )
