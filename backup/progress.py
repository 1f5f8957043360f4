"""What a run tells while it runs: on a terminal as bars, elsewhere as JSON lines on standard output."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from backup.manifest import Artifact, Engine


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
