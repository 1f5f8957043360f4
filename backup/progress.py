"""What a run tells while it runs: on a terminal as bars, elsewhere as JSON lines.

A line is one object with "event":
  started   point, artifacts: [{engine, name, bytes}]
  progress  engine, name, plain_bytes, stored_bytes, expected_bytes, table, seconds
  artifact  engine, kind, name, status, plain_bytes, stored_bytes, error
  note      text
  finished  point, exit_code, whole, failed, plain_bytes, stored_bytes, seconds, skew_seconds, errors, error_class,
            store: {what it can do}
Its size does not depend on the database's; what more there is to know stands in the manifest. `seconds` is since the
start, sizes are bytes, and a field that is not known is 0 or "".
"""

import contextlib
import json
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self, TextIO

from backup.manifest import Artifact, Engine

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

EVERY = 2.0
LONGEST = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """An artifact that is going to be taken, and about how many plain bytes it will have (0: nobody knows)."""

    engine: Engine
    name: str
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far one artifact is: bytes taken from the database and bytes stored; the table it is at, if that is known.

    `expected_bytes` is what the whole may be, 0 when nobody knows.
    """

    engine: Engine
    name: str
    plain_bytes: int
    stored_bytes: int = 0
    expected_bytes: int = 0
    table: str = ""


class Listener(Protocol):
    """Who is told. Every method may be called from any thread, as often as one likes, and returns at once."""

    def started(self, point: str, expected: Sequence[Expected]) -> None:
        """The snapshots are taken; these artifacts are under way."""

    def progress(self, progress: Progress) -> None:
        """An artifact has come further."""

    def ended(self, artifact: Artifact) -> None:
        """An artifact is whole, or failed."""

    def note(self, text: str) -> None:
        """Something a person should know. Holds no secret."""


class Lines:
    """Tells in JSON lines on `stream`; an artifact's progress every `every` seconds at most."""

    def __init__(self, stream: TextIO, *, every: float = EVERY) -> None:
        self._stream = stream
        self._gone = False
        self._every = every
        self._began = time.monotonic()
        self._last: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def started(self, point: str, expected: Sequence[Expected]) -> None:
        """One line with the point's name."""
        self.write("started", point=point, artifacts=[asdict(one) for one in expected])

    def progress(self, progress: Progress) -> None:
        """A line now and then."""
        key, now = (progress.engine, progress.name), time.monotonic()
        with self._lock:
            if now - self._last.get(key, self._began) < self._every:
                return
            self._last[key] = now
        self.write("progress", **asdict(progress), seconds=round(now - self._began, 1))

    def ended(self, artifact: Artifact) -> None:
        """One line."""
        kept = ("engine", "kind", "name", "status", "plain_bytes", "stored_bytes")
        self.write("artifact", **{name: getattr(artifact, name) for name in kept}, error=shortened(artifact.error))

    def note(self, text: str) -> None:
        """One line."""
        self.write("note", text=shortened(text))

    def write(self, event: str, **facts: Any) -> None:
        """One line, whole, whoever else writes at the same time. A reader that has gone away stops nothing."""
        line = json.dumps({"event": event, **facts}, ensure_ascii=False)
        with self._lock:
            if self._gone:
                return
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (BrokenPipeError, ValueError):
                self._gone = True
                _point_nowhere(self._stream)


class Bars:
    """Tells on a terminal: a bar for each artifact with bytes, rate, time and the table it is at."""

    def __init__(self, console: "Console") -> None:
        from rich import progress as rich_progress

        self._console = console
        self._lock = threading.Lock()
        self._tasks: dict[tuple[str, str], TaskID] = {}
        self._bars = rich_progress.Progress(
            rich_progress.TextColumn("{task.description}", markup=False),
            rich_progress.BarColumn(),
            rich_progress.DownloadColumn(binary_units=True),
            rich_progress.TransferSpeedColumn(),
            rich_progress.TimeElapsedColumn(),
            rich_progress.TextColumn("left"),
            rich_progress.TimeRemainingColumn(),
            rich_progress.TextColumn("{task.fields[at]}", markup=False),
            console=console,
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def started(self, point: str, expected: Sequence[Expected]) -> None:
        """A bar for each artifact."""
        if expected:
            self._console.print(f"taking restore point {point}", markup=False, highlight=False)
        for one in expected:
            self._task(one.engine, one.name, one.bytes)

    def progress(self, progress: Progress) -> None:
        """Moves a bar."""
        task = self._task(progress.engine, progress.name, progress.expected_bytes)
        # The size is a guess: a bar that is full before its end would be a lie.
        total = max(progress.expected_bytes, int(progress.plain_bytes * 1.02)) if progress.expected_bytes else None
        self._bars.update(task, completed=progress.plain_bytes, total=total, at=progress.table)

    def ended(self, artifact: Artifact) -> None:
        """Fills the bar, or says what failed."""
        if artifact.kind != "globals" and artifact.status == "whole":
            size = artifact.plain_bytes or artifact.stored_bytes
            task = self._task(artifact.engine, artifact.name, size)
            self._bars.update(task, completed=size, total=size or 1, at="")
        if artifact.error:
            self._console.print(f"{artifact.label} failed: {artifact.error}", style="red", markup=False)

    def note(self, text: str) -> None:
        """One line above the bars."""
        self._console.print(text, style="yellow", markup=False, highlight=False)

    def _task(self, engine: str, name: str, total: int) -> "TaskID":
        with self._lock:
            if (engine, name) not in self._tasks:
                self._tasks[engine, name] = self._bars.add_task(f"{engine} {name}", total=total or None, at="")
            return self._tasks[engine, name]


def shortened(text: str) -> str:
    """`text` within LONGEST characters, its middle left out: what happened stands first, and what to do last."""
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 203]} … {text[-200:]}"


def _point_nowhere(stream: TextIO) -> None:
    """What a broken pipe still has buffered would be tried again at exit, and make the exit code 120."""
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
