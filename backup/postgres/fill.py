"""One dump into one new database: filled, compared, marked; what goes wrong drops it."""

import contextlib
import threading
import time
from dataclasses import dataclass, field, replace

from backup.errors import BackupError, StoppedError, TargetError
from backup.manifest import Artifact
from backup.postgres.archive import major_of
from backup.postgres.compare import Compared, compare
from backup.postgres.database import Mark
from backup.postgres.load import Loaded, Loader, job_count
from backup.postgres.prepare import Item
from backup.postgres.properties import apply_properties
from backup.postgres.target import Target
from backup.progress import Listener, Progress


@dataclass(slots=True, kw_only=True)
class Restored:
    """One database that came back: where it is, what was compared, how it was loaded (None: an earlier restore had),
    seconds in all, and what the live one is called now ("" when there was none)."""

    item: Item
    database: str
    compared: Compared
    seconds: float
    loaded: Loaded | None = None
    kept: str = ""
    notes: list[str] = field(default_factory=list)


class Filler:
    """Given the server, whom to tell, what stops it, and whether objects get the owners they had."""

    def __init__(self, target: Target, listener: Listener, stop: threading.Event, *, owners: bool) -> None:
        self._target = target
        self._listener = listener
        self._stop = stop
        self._owners = owners

    def ready(self, item: Item) -> Restored | None:
        """What an earlier restore left, when it still holds what was dumped."""
        if not item.ready:
            return None
        began = time.monotonic()
        try:
            with self._target.inside(item.ready) as connection:
                compared = compare(connection, item.dump.chosen.artifact)
        except TargetError as error:
            self._listener.note(f'"{item.ready}", restored earlier, is not used: {error.what}')
            return None
        self._listener.note(f'"{item.ready}", restored earlier, still holds what was dumped and is used')
        return Restored(item=item, database=item.ready, compared=compared, seconds=time.monotonic() - began)

    def fill(self, item: Item) -> Restored:
        """A new database with all of a dump in it. Raises BackupError; then it is gone again."""
        target, artifact, began = self._target, item.dump.chosen.artifact, time.monotonic()
        self._check_stop()
        try:
            note = target.create(item.work, artifact.detail)
            mark = self.mark(item, "restoring")
            target.mark(item.work, mark)
            loaded = self._load(item)
            self._check_stop()
            with target.inside(item.work) as connection:
                self._tell(item, artifact.plain_bytes, "comparing")
                compared = compare(connection, artifact, item.dump.tables, loaded.rows)
                self._tell(item, artifact.plain_bytes, "analyzing")
                connection.execute("ANALYZE")
            self._check_stop()
            state = "restored" if item.dump.tables is None else "some tables"
            target.mark(item.work, replace(mark, state=state))
        except BaseException:
            self.drop(item.work)
            raise
        restored = Restored(
            item=item, database=item.work, compared=compared, seconds=time.monotonic() - began, loaded=loaded
        )
        restored.notes += [note] if note else []
        if item.way == "beside":
            restored.notes += self.properties(item, item.work, comment=False)
        return restored

    def mark(self, item: Item, state: str) -> Mark:
        """What is written about the database of `item`."""
        artifact, target = item.dump.chosen.artifact, self._target
        return Mark(
            point=item.dump.chosen.point.id,
            database=artifact.name,
            sha256=artifact.sha256,
            state=state,
            pid=target.pid,
            since=target.since,
        )

    def properties(self, item: Item, name: str, *, comment: bool = True) -> list[str]:
        """Gives a restored database what the dumped one had; the data are back whether that succeeds or not."""
        try:
            script = item.dump.archive.properties(item.dump.contents, threading.Event())
            return apply_properties(self._target, script, item.dump.name, name, comment=comment)
        except BackupError as error:
            with contextlib.suppress(TargetError):
                self._target.mark(name, None if comment else self.mark(item, "restored"))
            return [f'"{name}" has not the owner, grants and settings that it had: {error.what}']

    def drop(self, name: str) -> None:
        """Drops what is half-done; with the server gone, the next restore finds it by its mark."""
        try:
            self._target.drop(name)
        except TargetError as error:
            self._listener.note(f'"{name}" could not be dropped, the next restore will: {error.what}')

    def _load(self, item: Item) -> Loaded:
        dump = item.dump
        major = major_of(item.client.version)
        options = ["--no-owner"] if not self._owners else []
        loader = Loader(
            dump.archive, self._target, item.work, reader_major=major, entries=dump.entries, options=options
        )
        return loader.run(self._stop, lambda: self._tell(item, loader.plain_bytes, loader.at), job_count())

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise StoppedError("the restore was told to stop", "nothing half-done is left")

    def _tell(self, item: Item, count: int, what: str) -> None:
        artifact: Artifact = item.dump.chosen.artifact
        self._listener.progress(
            Progress(
                engine="postgres",
                name=artifact.name,
                plain_bytes=count,
                expected_bytes=artifact.plain_bytes,
                table=what,
            )
        )
