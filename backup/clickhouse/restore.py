"""From a restore point into a ClickHouse: RESTORE into a free or empty database, and a comparison with the manifest.

In two steps: first the tables without rows, whose merges are then stopped, then the rows. So it stands still while it
is compared, part by part, with what was backed up. RESTORE itself verifies no checksum; CHECK TABLE does. Its renaming
reaches into views, dictionaries and defaults, and leaves strings alone.
"""

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from backup.clickhouse.check import CONTENTS, check
from backup.clickhouse.client import Server, version_of
from backup.clickhouse.look import Part, Table, databases, digest_of, owners, parts, tables
from backup.clickhouse.native import Operation, Seen
from backup.clickhouse.place import ACCESS_FOLDER, Place, folder_of
from backup.clickhouse.sql import name, text
from backup.errors import ArchiveError, BackupError, SourceError, TargetError
from backup.manifest import Artifact, Level, TableFacts
from backup.storage.base import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A database that is back. `level` is "equal" when every table's digest is the backed-up one, else "restored".

    `rows` are those in it, `notes` what a person should know, `seconds` wall time with all comparing.
    """

    database: str
    created: bool
    rows: int
    level: Level
    notes: tuple[str, ...]
    seconds: float


class Restorer:
    """Restores from one store into one server. `tell` hears of progress; `stop` ends it within a second.

    Its methods raise TargetError (the target will not do), ArchiveError (the backup is not what it was), SourceError
    and StoppedError.
    """

    def __init__(
        self,
        server: Server,
        place: Place,
        storage: Storage,
        *,
        stop: threading.Event,
        stall_seconds: float = 300.0,
        tell: Callable[[Seen], None] = lambda _: None,
    ) -> None:
        self._server = server
        self._place = place
        server.mask.add([key for key in (place.secret_key,) if key])  # a statement may be quoted in an error
        self._storage = storage
        self._stop = stop
        self._stall = stall_seconds
        self._tell = tell

    def database(
        self, artifact: Artifact, point_prefix: str, target: str, *, only: Sequence[str] = (), verify: bool = True
    ) -> Restored:
        """Restores a database, or the tables `only` of it, as `target`, which is free or empty.

        `point_prefix` is "<source>/<point>/". With `verify`, every part's checksums are read through.
        """
        began = time.monotonic()
        folder = f"{point_prefix.rstrip('/')}/{artifact.detail.get('folder') or folder_of(artifact.name)}"
        refuse_older(self._server, artifact)
        created = refuse_full(self._server, target)
        self._refuse_unknown(artifact, only)
        check(self._storage, folder, database=artifact.name)
        try:
            notes = self._bring_back(artifact, folder, target, only)
            try:
                level, told = self._compare(artifact, target, only, still=not notes)
                if verify:
                    self._verify(target)
            finally:
                self._merges(target, "START")
        except BackupError as error:
            self._take_back(target, created, error)
            raise
        return Restored(
            database=target,
            created=created,
            rows=sum(
                table.rows or 0 for table in tables(self._server, target).values() if table.engine != "Dictionary"
            ),
            level=level,
            notes=(*notes, *told),
            seconds=time.monotonic() - began,
        )

    def same(self, artifact: Artifact, target: str) -> Restored | None:
        """A database that is there, if it holds exactly what was backed up, as one restored before may; else None."""
        began = time.monotonic()
        try:
            level, _ = self._compare(artifact, target, (), still=True)
        except (ArchiveError, SourceError):
            return None
        if level != "equal":
            return None
        rows = sum(table.rows or 0 for table in artifact.tables)
        seconds = time.monotonic() - began
        return Restored(database=target, created=False, rows=rows, level=level, notes=(), seconds=seconds)

    def access(self, artifact: Artifact, point_prefix: str) -> None:
        """Restores users, roles and what belongs to them; those that exist stay as they are, passwords included."""
        refuse_older(self._server, artifact)
        folder = f"{point_prefix.rstrip('/')}/{artifact.detail.get('folder') or ACCESS_FOLDER}"
        check(self._storage, folder, database="")
        self._run(str(artifact.detail["what"]), folder, "users and roles", create_access="'if-not-exists'")

    def _bring_back(self, artifact: Artifact, folder: str, target: str, only: Sequence[str]) -> list[str]:
        """The tables, then the rows. Gives what a person should know of it."""
        what = f"DATABASE {name(artifact.name)} AS {name(target)}"
        if only:
            what = ", ".join(f"TABLE {name(artifact.name, one)} AS {name(target, one)}" for one in only)
            self._server.run(f"CREATE DATABASE IF NOT EXISTS {name(target)}", of=f'database "{target}" cannot be made')
        self._run(what, folder, target, structure_only=1, allow_different_database_def=1)
        notes = self._merges(target, "STOP")
        self._run(what, folder, target, allow_different_database_def=1)
        return notes

    def _run(self, what: str, folder: str, target: str, **settings: object) -> None:
        operation = Operation(
            self._server,
            id=f"watchkeeper-restore-{secrets.token_hex(8)}",
            of=f"the restore of ClickHouse {target}",
            stop=self._stop,
            stall_seconds=self._stall,
        )
        operation.submit(f"RESTORE {what} FROM {self._place.at(folder)}", **settings)
        operation.wait(self._tell)

    def _merges(self, target: str, verb: str) -> list[str]:
        """Stops or starts merges, which would change what is being compared. Gives a note when this user may not."""
        try:
            for table in tables(self._server, target).values():
                if table.in_parts:
                    self._server.run(f"SYSTEM {verb} MERGES {name(target, table.name)}", of="merges")
        except SourceError as error:
            return [f"merges went on while tables were compared, so rows may differ: {error}"]
        return []

    def _compare(
        self, artifact: Artifact, target: str, only: Sequence[str], *, still: bool
    ) -> tuple[Level, tuple[str, ...]]:
        """Compares every table with the manifest. `still` says that merges are stopped."""
        found, known = tables(self._server, target), parts(self._server, target, active=True)
        inner = {view: table for table, view in owners(found).items()}
        wanted = [one for one in artifact.detail.get("engines", {}) if not only or one in only]
        lacking = [one for one in wanted if one not in found]
        if lacking:
            raise ArchiveError(f'ClickHouse restored "{target}" without {", ".join(lacking[:5])}', "use another point")
        digests: Mapping[str, str] = artifact.detail.get("digests", {})
        same_version = self._server.version == artifact.server
        notes: list[str] = []
        equal = True
        for fact in artifact.tables:
            if only and fact.name not in only:
                continue
            kept = found.get(inner.get(fact.name, fact.name))
            if kept is None:
                raise ArchiveError(f'ClickHouse restored "{target}" without {fact.name}', "use another point")
            problem = _differs(fact, kept, known.get(kept.name, {}), digests.get(fact.name))
            equal = equal and not problem and fact.exact and (fact.name in digests or not fact.rows)
            if problem and still and (same_version or "rows" in problem) and fact.exact:
                raise ArchiveError(f'table {fact.name} of "{target}" {problem}', "use another point")
            if problem:
                notes.append(f"table {fact.name} {problem}")
        return ("equal" if equal else "restored"), tuple(notes)

    def _verify(self, target: str) -> None:
        """Reads every part against its checksums."""
        for table in tables(self._server, target).values():
            if not table.in_parts or not table.rows:
                continue
            statement = f"CHECK TABLE {name(target, table.name)} SETTINGS check_query_single_value_result = 0"
            statement += " FORMAT JSONEachRow"
            for row in self._server.run_long(statement, of=f"table {table.name} was not checked", stop=self._stop):
                if not int(row["is_passed"]):
                    part = row.get("part_path", "")
                    raise ArchiveError(f'part {part} of {table.name} in "{target}" is damaged', "use another point")

    def _refuse_unknown(self, artifact: Artifact, only: Sequence[str]) -> None:
        known = artifact.detail.get("engines", {})
        if missing := [one for one in only if one not in known]:
            raise TargetError(
                f'the backup of ClickHouse database "{artifact.name}" has no table {", ".join(missing)}',
                f"it has: {', '.join(sorted(known)) or 'none'}",
            )

    def _take_back(self, target: str, created: bool, error: BackupError) -> None:
        """Half a database is none: what we made goes; a database that was there and empty keeps its name."""
        try:
            if created:
                self._server.run(f"DROP DATABASE IF EXISTS {name(target)} SYNC", of="dropping what was restored")
            else:
                error.remedy += f'; drop what is in "{target}" before trying again'
        except SourceError:
            error.remedy += f'; drop the database "{target}", which is half restored'


def refuse_full(server: Server, target: str) -> bool:
    """Gives whether `target` is free (it will be made), False when it is there and empty. Raises TargetError."""
    if target not in databases(server):
        return True
    if found := tables(server, target):
        raise TargetError(
            f'ClickHouse database "{target}" is not empty: it has {len(found)} tables, such as {next(iter(found))}',
            "restore under another name (--database SRC=DST), or empty it first",
        )
    return False


def refuse_older(server: Server, artifact: Artifact) -> None:
    """Raises TargetError when the server is older than the one that made the backup."""
    if version_of(server.version) < version_of(artifact.server):
        raise TargetError(
            f"ClickHouse here is {server.version}, older than {artifact.server}, which made the backup",
            "restore into that version or a newer one",
        )


def space(server: Server, artifact: Artifact) -> tuple[int, int]:
    """Bytes the artifact will take on the server, and bytes free on all its disks."""
    free = server.value("SELECT sum(free_space) AS free FROM system.disks")
    return sum(table.bytes or 0 for table in artifact.tables), int(free or 0)


def is_there(storage: Storage, artifact: Artifact, point_prefix: str) -> bool:
    """Whether the backup was ended, cheaply: its list of contents is there."""
    folder = artifact.detail.get("folder") or folder_of(artifact.name)
    return storage.stat(f"{point_prefix.rstrip('/')}/{folder}/{CONTENTS}") is not None


def statement(artifact: Artifact, place: Place, point_prefix: str, target: str) -> str:
    """The RESTORE that a person would write, with the keys left out."""
    folder = f"{point_prefix.rstrip('/')}/{artifact.detail.get('folder') or folder_of(artifact.name)}"
    url = text(f"{place.url}/{place.prefix}{folder}")
    return f"RESTORE DATABASE {name(artifact.name)} AS {name(target)} FROM S3({url}, '<access key>', '<secret key>')"


def _differs(fact: TableFacts, kept: Table, known: Mapping[str, Part], digest: str | None) -> str:
    """How a table differs from what was backed up; "" when it does not."""
    rows = sum(part.rows for part in known.values()) if kept.in_parts else kept.rows
    if fact.rows is not None and rows != fact.rows:
        about = "" if fact.exact else "about "
        return f"has {rows} rows instead of {about}{fact.rows}"
    if digest is not None and digest != digest_of(part.digest for part in known.values()):
        return "has as many rows as were backed up, and other contents"
    return ""
