"""What a restore is asked, what it works with, and what each engine's share of it is."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from backup.catalog import Catalog, Point
from backup.errors import BackupError, SettingsError
from backup.manifest import Engine
from backup.postgres.login import Login
from backup.progress import Listener
from backup.proof import Proof
from backup.selection import Selection
from config.secret import Secret


def engine_of(text: str | None) -> Engine | None:
    """The engine that --only names, None for all. Raises SettingsError."""
    engines: dict[str | None, Engine | None] = {None: None, "postgres": "postgres", "clickhouse": "clickhouse"}
    if text not in engines:
        raise SettingsError(f"--only {text} is no engine", "write postgres or clickhouse")
    return engines[text]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a person asks for. `databases` as they are written: SRC or SRC=DST; `roles` is --globals."""

    point: str = "latest"
    only: Engine | None = None
    databases: Sequence[str] = ()
    tables: Sequence[str] = ()
    swap: bool = False
    roles: bool = False
    plan: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """What a restore works with. `agree` asks the person, given what for, and says whether to go on.

    While `firm` is held, we are not ended however we are told to stop: half an exchange would be left.
    """

    catalog: Catalog
    environ: Mapping[str, str]
    listener: Listener
    say: Callable[[str], object]
    agree: Callable[[str], bool]
    identities: Sequence[Secret] = ()
    postgres: Login | None = None
    clickhouse: "MakePart" = lambda *_: None
    clients: Path | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    firm: threading.Lock = field(default_factory=threading.Lock)


class Part(Protocol):
    """One engine's share of a restore. What its methods raise is a BackupError, and then nothing half-done is left."""

    engine: Engine

    @property
    def count(self) -> int:
        """How many databases it is to bring back."""

    @property
    def problems(self) -> Sequence[BackupError]:
        """What would make it fail, known after `prepare`."""

    def prepare(self) -> None:
        """Looks at everything and changes nothing."""

    def lines(self) -> Iterator[str]:
        """What is going to happen, in words."""

    def cuts(self) -> str:
        """What a person has to agree to, "" when nothing live is touched."""

    def restore(self) -> None:
        """Brings everything in beside what is live, and compares it."""

    def finish(self) -> None:
        """Gives it its names."""

    def leave(self) -> None:
        """Instead of `finish`: leaves what was restored beside what is live."""

    def drop(self) -> None:
        """Instead of `finish`: drops what was restored."""

    def undo(self) -> None:
        """Takes `finish` back, leaving what was restored beside what is live."""

    def report(self) -> Iterator[str]:
        """What happened, in words."""

    def proofs(self) -> Iterator[tuple[Point, str, Proof]]:
        """What was brought in whole and compared: its point, its label, how far it is proven by that."""

    def close(self) -> None:
        """Lets go of the server. Never raises."""


MakePart = Callable[[Selection, Mapping[str, str | None] | None, Order, Hands], Part | None]
"""Makes an engine's part: of the artifacts selected, with the names asked for (None: all, under their own). Gives None
when no server is named."""
