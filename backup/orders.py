"""What a run is told beside the settings, and what it tells when it has ended."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from backup.errors import SettingsError
from backup.manifest import Artifact, Engine, Manifest
from backup.progress import Listener
from backup.sources.base import Job, Source
from backup.sources.table import SOURCES
from config.logs import Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a run ended. `manifest` is None when no database was whole, so nothing is listed.

    `errors` says in one line each what failed, with its remedy and without a secret; `seconds` is wall time,
    `store` what the store can do (`Storage.capabilities`).
    """

    point: str
    artifacts: tuple[Artifact, ...]
    manifest: Manifest | None
    errors: tuple[str, ...]
    seconds: float
    store: Mapping[str, str] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 when every artifact is whole, else 1."""
        return 0 if self.manifest is not None and not self.errors else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What a run is told beside the settings: whom to tell, the environment that may hold the data's keys, what must
    not be seen, which engine (None: all), what stops it, and the engines whose settings cannot be used."""

    listener: Listener
    environ: Mapping[str, str]
    mask: Mask
    only: Engine | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    unusable: Mapping[Engine, SettingsError] = field(default_factory=dict)
    sources: Mapping[Engine, Callable[[Job], Source | None]] = field(default_factory=lambda: SOURCES)
    clickhouse_ended: Callable[[str], bool] = lambda _: True
