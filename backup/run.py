"""The forward flow: one restore point, from the lease to the manifest.

run.json is written before the first byte and the manifest last, so that whatever a dead run left can be told from what
a live one writes, and nothing is listed that is not whole.
"""

import contextlib
import importlib.metadata
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

import structlog

from backup import manifest as archive
from backup import recovery, runfile
from backup.catalog import Catalog
from backup.errors import BackupError, SettingsError, StoppedError, class_of
from backup.fingerprints import fingerprints
from backup.layout import new_point, point_prefix
from backup.lease import Lease
from backup.manifest import EVERYTHING, MANIFEST, RECOVERY, RUN, Artifact, Engine, Manifest, rfc3339
from backup.orders import Orders, Report
from backup.owner import Owner
from backup.progress import Listener
from backup.runfile import RunFile
from backup.sources.base import Job, Source
from backup.storage.base import Storage
from backup.sweep import remove_point, sweep
from config.backup_settings import BackupSettings

T = TypeVar("T")
log = structlog.get_logger()

# Seconds that sources have to end in, and that cleaning may take, once we are told to stop.
STOPPED_WAIT = 1.8
CLEAN_WAIT = 0.7


def take(settings: BackupSettings, storage: Storage, orders: Orders) -> Report:
    """Takes one restore point, under the lease, after sweeping what dead runs left.

    Raises LockedError while another holds the lease, SettingsError when nothing is named to back up, StoreError when
    the store will not do, StoppedError when `orders.stop` is set. What fails of the sources stands in the report.
    """
    lost: list[BackupError] = []

    def lose(error: BackupError) -> None:
        lost.append(error)
        orders.stop.set()

    owner = Owner.here(settings.instance)
    lease = Lease(storage, settings.store.source, owner=owner, purpose="run", lost=lose).acquire()
    try:
        swept = sweep(Catalog(storage, settings.store.source), lease, clickhouse_ended=orders.clickhouse_ended)
        for point in swept.removed:
            orders.listener.note(f"removed what the run of {point} left when it died")
        for point, why in swept.left:
            orders.listener.note(f"left {point}, which no run finished: {why}")
        return _Run(settings, storage, orders, lease).take()
    except StoppedError:
        if lost:
            raise lost[0] from None
        raise
    finally:
        lease.release(wait=CLEAN_WAIT if orders.stop.is_set() else 10.0)


class _Run:
    """One run under way."""

    def __init__(self, settings: BackupSettings, storage: Storage, orders: Orders, lease: Lease) -> None:
        self._began = time.monotonic()
        self._settings = settings
        self._storage = storage
        self._orders = orders
        self._lease = lease
        now = storage.now()
        self._started_at = rfc3339(now)
        self._point = new_point(now)
        self._prefix = point_prefix(settings.store.source, self._point)
        self._artifacts: list[Artifact] = []
        self._notes: list[str] = []
        self._skew = 0.0
        self._identity = ""
        self._store = storage.capabilities()
        self._lock = threading.Lock()

    def take(self) -> Report:
        """Top to bottom. Raises like `take` above."""
        sources = self._make_sources()
        threads: list[threading.Thread] = []
        try:
            ids = self._each(sources, lambda source: source.prepare())
            self._write_run(tuple(name for found in ids.values() for name in found))
            self._each(sources, lambda source: source.open())
            self._tell_start(sources)
            threads = [self._start(source) for source in sources.values()]
            self._wait(threads)
            self._close(sources)
            if any(one.kind == "database" and one.status == "whole" for one in self._artifacts):
                return self._report(self._commit())
        except BaseException:
            self._close(sources)
            self._clean(threads)
            raise
        self._clean(threads)
        return self._report(None)

    def _make_sources(self) -> dict[Engine, Source]:
        job = Job(
            point=self._point,
            prefix=self._prefix,
            storage=self._storage,
            settings=self._settings,
            listener=_Noting(self._orders.listener, self._notes),
            stop=self._orders.stop,
            mask=self._orders.mask,
        )
        wanted = [engine for engine in self._orders.sources if self._orders.only in (None, engine)]
        unusable = {engine: self._orders.unusable[engine] for engine in wanted if engine in self._orders.unusable}
        made = {engine: self._orders.sources[engine](job) for engine in wanted if engine not in unusable}
        sources = {engine: source for engine, source in made.items() if source is not None}
        for engine, error in unusable.items():
            if not sources:
                raise error
            self._add(self._failed(engine, error))
        if not sources:
            named = {"postgres": "DATABASE_URL", "clickhouse": "CLICKHOUSE_URL"}
            raise SettingsError("there is nothing to back up", f"set {' or '.join(named[engine] for engine in wanted)}")
        return sources

    def _each(self, sources: dict[Engine, Source], step: Callable[[Source], T]) -> dict[Engine, T]:
        """One step of every source; one that fails is closed and leaves `sources`, and the others go on.

        Raises SettingsError when none is left and settings are all that was wrong.
        """
        done: dict[Engine, T] = {}
        errors: list[BackupError] = []
        for engine, source in list(sources.items()):
            self._check_stop()
            try:
                done[engine] = step(source)
            except StoppedError:
                raise
            except Exception as error:  # noqa: BLE001  what one engine raises must not cost the other its dumps
                errors.append(_fault(error))
                source.close()
                del sources[engine]
                self._add(self._failed(engine, errors[-1]))
        if errors and not sources and all(isinstance(error, SettingsError) for error in errors):
            raise errors[0]
        return done

    def _write_run(self, ids: tuple[str, ...]) -> None:
        run = RunFile(
            point=self._point,
            source=self._settings.store.source,
            lease=self._lease.id,
            owner=self._lease.owner,
            started_at=self._started_at,
            tool_version=tool_version(),
            clickhouse_ids=ids,
        )
        self._storage.put(self._prefix + RUN, runfile.dump(run))

    def _tell_start(self, sources: dict[Engine, Source]) -> None:
        moments = [moment for source in sources.values() for moment in source.moments]
        self._skew = max(moments, default=0.0) - min(moments, default=0.0)
        self._identity = next((source.identity for source in sources.values() if source.identity), "")
        self._orders.listener.started(self._point, [one for source in sources.values() for one in source.expected])

    def _start(self, source: Source) -> threading.Thread:
        thread = threading.Thread(target=self._follow, args=(source,), name=source.engine, daemon=True)
        thread.start()
        return thread

    def _follow(self, source: Source) -> None:
        """In a thread of its own: everything one source has to give."""
        try:
            for artifact in source.run():
                self._add(artifact)
        except StoppedError:
            pass
        except Exception as error:  # noqa: BLE001  likewise
            self._add(self._failed(source.engine, _fault(error)))

    def _wait(self, threads: list[threading.Thread]) -> None:
        while running := [thread for thread in threads if thread.is_alive()]:
            running[0].join(0.1)
            if self._orders.stop.is_set():
                until = time.monotonic() + STOPPED_WAIT
                for thread in threads:
                    thread.join(max(0.0, until - time.monotonic()))
                break
        self._check_stop()

    def _check_stop(self) -> None:
        if self._orders.stop.is_set():
            raise StoppedError("the backup was told to stop", "nothing of it is listed; run again")

    def _close(self, sources: dict[Engine, Source]) -> None:
        for engine in list(sources):
            sources.pop(engine).close()

    def _clean(self, threads: list[threading.Thread]) -> None:
        """Takes back all of the point, as far as the store lets us; the next run's sweep does the rest.

        While a source has not ended, somebody may still write there: then run.json stays, and all with it.
        """
        if any(thread.is_alive() for thread in threads):
            return
        cleaner = threading.Thread(target=self._remove, name="clean", daemon=True)
        cleaner.start()
        cleaner.join(CLEAN_WAIT if self._orders.stop.is_set() else 30.0)

    def _remove(self) -> None:
        with contextlib.suppress(BackupError):
            if self._storage.stat(self._prefix + RUN) is not None:
                source = self._settings.store.source
                remove_point(self._storage, source, self._point, self._lease, why="its run failed")

    def _commit(self) -> Manifest:
        """Writes what belongs beside the artifacts, and the manifest last, under a lease that was just looked at."""
        made = self._manifest()
        self._tidy(made)
        page = recovery.render(made, self._settings.store, self._settings.clickhouse.s3_endpoint)
        self._storage.put(self._prefix + RECOVERY, page.encode())
        self._check_stop()
        self._lease.recheck()
        self._storage.put(self._prefix + MANIFEST, archive.dump(made))
        return made

    def _manifest(self) -> Manifest:
        applications = {}
        for one in self._artifacts:
            if found := one.detail.get("application"):
                applications[f"{found['name']} in {one.name}"] = found["migration"]
        return Manifest(
            id=self._point,
            source=self._settings.store.source,
            created_at=self._started_at,
            ended_at=rfc3339(datetime.now(UTC)),
            tool_version=tool_version(),
            artifacts=tuple(self._artifacts),
            system_identifier=self._identity,
            skew_seconds=round(self._skew, 3),
            fingerprints=fingerprints(self._point, self._orders.environ),
            applications=applications,
            notes=tuple(dict.fromkeys(self._notes)),
        )

    def _tidy(self, made: Manifest) -> None:
        """Removes pieces that failed dumps could not take back."""
        ours = {self._prefix + piece.key for one in made.whole() for piece in one.pieces}
        folder = f"{self._prefix}postgres/"
        self._storage.delete([stored.key for stored in self._storage.list(folder) if stored.key not in ours])

    def _add(self, artifact: Artifact) -> None:
        with self._lock:
            self._artifacts.append(artifact)
        self._orders.listener.ended(artifact)

    def _failed(self, engine: Engine, error: BackupError) -> Artifact:
        text = self._orders.mask.clean(str(error))
        return Artifact(
            engine=engine,
            kind="database",
            name=EVERYTHING,
            status="failed",
            server="",
            error=text,
            detail=class_of(error),
        )

    def _report(self, made: Manifest | None) -> Report:
        return Report(
            point=self._point,
            artifacts=tuple(self._artifacts),
            manifest=made,
            errors=tuple(f"{one.label}: {one.error}" for one in self._artifacts if one.status != "whole"),
            seconds=round(time.monotonic() - self._began, 3),
            store=self._store,
        )


def _fault(error: Exception) -> BackupError:
    """What a source raised, as an error a person can act on."""
    if isinstance(error, BackupError):
        return error
    log.error("backup_fault", exc_info=error)
    return BackupError(f"a fault in this program: {type(error).__name__}: {error}", "report it with the log")


class _Noting:
    """A listener that also keeps the notes, for the manifest."""

    def __init__(self, listener: Listener, notes: list[str]) -> None:
        self.started, self.progress, self.ended = listener.started, listener.progress, listener.ended
        self._listener = listener
        self._notes = notes

    def note(self, text: str) -> None:
        """Keeps it, and tells it."""
        self._notes.append(text)
        self._listener.note(text)


def tool_version() -> str:
    """What made the point: our name and version."""
    return f"watchkeeper {importlib.metadata.version('watchkeeper')}"
