"""Keeps what the watch saw: gathered in memory, written in one transaction a second, at once when a state changed.

`Recorder` is the watch's Keeper. Nothing it is told makes it wait or raise, and what it holds is bounded.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import structlog

from config.watched import Check, Service
from monitor import facts, history, rollup, spans
from monitor.diagnose.base import Diagnosis
from monitor.facts import Fact, Facts
from monitor.history import Run
from monitor.judge import Flip, State, Track
from monitor.probes.base import Outcome
from monitor.spans import Coverage, Span
from monitor.state import StateClosedError, StateFile

SCHEMAS = (history.SCHEMA, facts.SCHEMA, spans.SCHEMA, rollup.SCHEMA)
RUN_LIMIT = 20_000  # outcomes held while the disk does not keep up: two minutes of a thousand checks, and some
FLIP_LIMIT = 5_000

Write = Callable[[sqlite3.Connection], None]

log = structlog.get_logger()


class Recorder:
    """Writes to `state` what it is told by the watch.

    `instance` is who looks. `dropped` counts outcomes that were never written, `rounds` how often it looked for
    something to write. `written` is called on the event loop after each flush that wrote something handed to `also`.
    """

    def __init__(
        self,
        state: StateFile,
        services: Iterable[Service],
        *,
        instance: str,
        known: Facts | None = None,
        written: Callable[[], None] = lambda: None,
    ) -> None:
        self.facts = known or Facts()
        self.dropped = 0
        self.rounds = 0
        self._state = state
        self._instance = instance
        self._written = written
        self._also: list[Write] = []
        self._coverage = Coverage(spans.standing(services))
        self._tracks: dict[str, Track] = {}
        self._seen_at = 0.0
        self._runs: deque[Run] = deque()
        self._spans: dict[str, list[Span]] = {}
        self._touched: dict[str, Track] = {}
        self._flips: deque[Flip] = deque(maxlen=FLIP_LIMIT)
        self._learned: dict[tuple[str, str], Fact] = {}
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()

    def saw(self, service: Service, check: Check, at: float, outcome: Outcome, diagnosis: Diagnosis | None) -> None:
        """Take in one outcome, at `at` (epoch seconds)."""
        if len(self._runs) >= RUN_LIMIT:
            self._runs.popleft()
            self.dropped += 1
        self._seen_at = at
        self._runs.append(
            Run(
                service=service.name,
                check=check.name,
                at=at,
                verdict=outcome.verdict,
                latency=outcome.latency,
                cause=diagnosis.cause if diagnosis else None,
                sight=outcome.evidence.sight,
                code=outcome.evidence.code,
                instance=self._instance,
            )
        )
        for fact in self.facts.learn(service.name, outcome.facts, at):
            self._learned[fact.service, fact.name] = fact
            if fact.before is not None:
                log.info("fact_changed", service=fact.service, change=fact.sentence())

    def moved(self, track: Track, service: Service, flip: Flip | None) -> None:
        """Take in what the judge made of the outcome that `saw` was told just before; a flip is written at once."""
        self._tracks[service.name] = self._touched[service.name] = track
        if track.state != State.PAUSED:
            new = self._coverage.look(service.name, self._seen_at, track.state, track.since)
            spans.join(self._spans.setdefault(service.name, []), new)
        if flip is not None:
            self._flips.append(flip)
            self._wake.set()

    def also(self, write: Write) -> None:
        """Have `write` called in the very transaction that keeps the flips told so far: all of it is kept, or nothing.

        It is called on the writer thread, and again with a fresh connection when the database fails under it.
        """
        self._also.append(write)
        self._wake.set()

    def save_again(self) -> None:
        """Have everything written again that is known in memory: the database is a fresh one."""
        self._touched = dict(self._tracks)
        self._learned = {(fact.service, fact.name): fact for fact in self.facts.all()}
        self._wake.set()

    async def flush(self) -> int:
        """Write what was gathered, in one transaction; gives the number of outcomes written.

        Outcomes that cannot be written for a reason that is not the disk's are logged, counted and let go; the flips
        and tracks among them are then written alone, and what that raises is raised.
        """
        async with self._turn:
            batch = self._take()
            try:
                await self._state.transact(batch.write)
            except (sqlite3.Error, ValueError, OverflowError):
                self.dropped += len(batch.runs)
                log.exception("outcomes_not_written", outcomes=len(batch.runs))
                await self._state.transact(batch.write_vital)
                self._tell(batch)
                return 0
            except StateClosedError:
                self.dropped += len(batch.runs)
                log.warning("outcomes_not_written", outcomes=len(batch.runs), flips=len(batch.flips))
                return 0
            self._tell(batch)
            return len(batch.runs)

    def _tell(self, batch: "_Batch") -> None:
        if batch.also:
            self._written()

    async def run(self, *, every: float = 1.0) -> None:
        """Flush every `every` seconds, and at once after a flip, until cancelled. Flush once more after that."""
        while True:
            try:
                async with asyncio.timeout(every):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            self.rounds += 1
            if self._runs or self._touched or self._learned or self._also:
                await self.flush()

    def _take(self) -> "_Batch":
        batch = _Batch(
            runs=list(self._runs),
            spans=[span for row in self._spans.values() for span in row],
            tracks=self._touched,
            flips=list(self._flips),
            learned=list(self._learned.values()),
            also=tuple(self._also),
        )
        self._runs.clear()
        self._spans, self._touched, self._learned = {}, {}, {}
        self._flips.clear()
        self._also.clear()
        return batch


class _Batch:
    """What one flush writes. Never changed after it was made: the writer thread may go through it twice."""

    def __init__(
        self,
        *,
        runs: Sequence[Run],
        spans: Sequence[Span],
        tracks: dict[str, Track],
        flips: Sequence[Flip],
        learned: Sequence[Fact],
        also: Sequence[Write],
    ) -> None:
        self.runs = runs
        self.flips = flips
        self._spans = spans
        self._tracks = tracks
        self._learned = learned
        self.also = also

    def write(self, conn: sqlite3.Connection) -> None:
        """Everything, inside the caller's transaction."""
        history.write_runs(conn, self.runs)
        if self.runs:
            rollup.rewind(conn, min(run.at for run in self.runs))
        for span in self._spans:
            spans.paint(conn, span)
        facts.save_facts(conn, self._learned)
        self.write_vital(conn)

    def write_vital(self, conn: sqlite3.Connection) -> None:
        """What must not be lost: where the judge stands, the flips, and what follows from them."""
        for service, track in self._tracks.items():
            history.save_track(conn, service, track)
        for flip in self.flips:
            history.add_flip(conn, flip)
        for write in self.also:
            write(conn)
