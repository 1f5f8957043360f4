"""What a source is: an engine whose databases go into a restore point.

A run (backup/run.py) takes each source through the same steps: `prepare` (slow things: connecting, looking, checking),
then, for all sources within a second, `open` (the snapshot is taken, or the backup submitted), then `run` in a thread
of its own, then `close`. What one source raises ends that source alone.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from backup.manifest import Artifact, Engine
from backup.progress import Expected, Listener
from backup.storage.base import Storage
from config.backup_settings import BackupSettings
from config.logs import Mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run, as its sources see it.

    `prefix` is "<source>/<point>/": every key an artifact writes in `storage` begins with it; the pieces in an Artifact
    are named relative to it. `stop` is set when the run is told to stop: a source then ends within a second or so, with
    StoppedError. `mask` cleans what servers and programs say before it is kept or shown.
    """

    point: str
    prefix: str
    storage: Storage
    settings: BackupSettings
    listener: Listener
    stop: threading.Event
    mask: Mask


class Source(Protocol):
    """One engine in one run."""

    @property
    def engine(self) -> Engine:
        """Which it is."""

    @property
    def identity(self) -> str:
        """What tells this server from another, known after `prepare`; PostgreSQL's system_identifier, else ""."""

    def prepare(self) -> tuple[str, ...]:
        """Connects, finds out what there is, and checks all that would make the run fail later. May take its time.

        Gives the ids under which the server knows what `open` is going to start, for a sweep after our death
        (RunFile.clickhouse_ids); PostgreSQL has none. Raises SourceError, SettingsError.
        """

    def open(self) -> None:
        """Takes the snapshots or submits the backup, as fast as can be. run.json has been written by then.

        Where one database of several cannot be opened, `run` gives its failed artifact. Raises SourceError when none
        can.
        """

    @property
    def moments(self) -> Sequence[float]:
        """When each snapshot was taken, by time.monotonic(), known after `open`: the skew is between first and last."""

    @property
    def expected(self) -> Sequence[Expected]:
        """The artifacts that `run` will give, known after `open`."""

    def run(self) -> Iterator[Artifact]:
        """Does the long work and gives each artifact as it ends, the failed ones too (status "failed", error masked).

        A failed artifact has removed what it stored, or tried to. Tells the listener of progress, not of ended
        artifacts. Raises StoppedError when `job.stop` is set; SourceError and StoreError when nothing more can come.
        """

    def close(self) -> None:
        """Lets go of everything: connections, child processes, a backup still running on the server. Never raises.

        Called once, whatever happened before, `prepare` failed or not called included.
        """
