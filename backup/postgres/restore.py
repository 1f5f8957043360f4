"""PostgreSQL's part of a restore: every database into a new one, compared, and only then given its name.

A database is filled under a name of its own (`…_restoring_` and six digits) that carries a mark; what goes wrong drops
it. Live databases are touched by the exchange alone, which is one transaction (backup/swap.py).
"""

import contextlib
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from backup.catalog import Catalog
from backup.errors import BackupError, SettingsError, StoppedError, TargetError
from backup.manifest import Artifact
from backup.postgres import roles as role_making
from backup.postgres.archive import major_of, read_text
from backup.postgres.clients import Client, installed
from backup.postgres.compare import Compared, compare
from backup.postgres.database import Mark, Session
from backup.postgres.leftovers import Leftover, dated, leftovers, mend
from backup.postgres.load import Loaded, Loader, job_count
from backup.postgres.login import Login
from backup.postgres.prepare import Dump, Item, open_dump, place, refuse_rights
from backup.postgres.properties import apply_properties
from backup.postgres.roles import Roles
from backup.postgres.target import Target
from backup.progress import Listener, Progress
from backup.selection import Chosen, newest_roles
from backup.storage.base import Storage
from backup.swap import Exchange, exchange, undo
from config.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked of PostgreSQL's part.

    `names` gives databases other names (SRC → DST), and where it is not None only those come back; `tables` restricts
    the rows to some tables; `all_roles` is --globals.
    """

    names: Mapping[str, str | None] | None = None
    tables: Sequence[str] = ()
    swap: bool = False
    all_roles: bool = False
    clients: Path | None = None


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


class PostgresRestore:
    """One restore of PostgreSQL: `prepare`, then `restore`, then `finish`; `undo` takes the last back. Close it.

    Given the store's catalog, the dumps chosen, the keys, the server, what is wished, whom to tell, what stops it.
    """

    def __init__(
        self,
        catalog: Catalog,
        chosen: Sequence[Chosen],
        *,
        identities: Sequence[Secret],
        login: Login,
        wish: Wish,
        listener: Listener,
        stop: threading.Event,
    ) -> None:
        self.items: list[Item] = []
        self.problems: list[BackupError] = []
        self.missing_roles: frozenset[str] = frozenset()
        self.not_ours: list[str] = []
        self.left: list[Leftover] = []
        self.empty: list[str] = []
        self.roles = Roles()
        self.target: Target | None = None
        self._catalog = catalog
        self._chosen = list(chosen)
        self._identities = identities
        self._login = login
        self._wish = wish
        self._listener = listener
        self._stop = stop
        self._exchanges: list[Exchange] = []
        self._dropped: set[str] = set()

    @property
    def storage(self) -> Storage:
        """The store."""
        return self._catalog.storage

    @property
    def version(self) -> str:
        """The server's."""
        return self._there.version

    def prepare(self) -> None:
        """Opens the dumps, looks at the server, and decides what becomes of each database. Changes nothing.

        What would make the restore fail stands in `problems`. Raises BackupError where nothing can be said at all.
        """
        clients = installed(self._wish.clients)
        dumps = [self._opened(one, clients) for one in self._wanted()]
        self.empty = [dump.name for dump in dumps if not dump.contents.holds_anything]
        dumps = [dump for dump in dumps if dump.contents.holds_anything]
        self.target = Target(self._login, frozenset(dump.wanted for dump in dumps))
        self._read_roles(dumps)
        databases = self.target.databases()
        self.left = list(leftovers(self.target, databases))
        for dump in dumps:
            try:
                self.items.append(place(dump, self.target, clients, databases, swap=self._wish.swap))
            except BackupError as error:
                self.problems.append(error)
        schemas = "\n".join(item.dump.schema for item in self.items)
        needed = role_making.needed(schemas, self.roles)
        self.missing_roles = needed - self.target.roles()
        self.not_ours = self.target.not_ours(needed)
        self.problems += refuse_rights(self.target, self.items, self.missing_roles)

    def sessions(self) -> list[Session]:
        """Who is going to be disconnected."""
        names = [item.name for item in self.items if item.kept] + [item.ready for item in self.items if item.ready]
        return self._there.sessions(names) if names else []

    def restore(self) -> list[Restored]:
        """Brings every database in under its own working name and compares it. Raises BackupError; then none is left.

        Raises the first of `problems` before anything is touched.
        """
        if self.problems:
            raise self.problems[0]
        target = self._there
        mend(target, self.left)
        self._make_roles()
        done: list[Restored] = []
        try:
            for item in self.items:
                done += [self._ready(item) or self._restore(item)]
        except BaseException:
            self.drop(done)
            raise
        return done

    def finish(self, done: Sequence[Restored]) -> None:
        """Gives each its name, exchanging those that take the place of others: all or none. Raises TargetError."""
        target = self._there
        beside = [one for one in done if one.item.way == "beside"]
        for one in beside:
            if one.database == one.item.work:
                target.rename(one.database, one.item.name)
                one.database = one.item.name
        moving = [one for one in done if one.item.way != "beside"]
        self._exchanges = [
            Exchange(live=one.item.name, restored=one.database, kept=one.item.kept, alike=one.item.way == "swap")
            for one in moving
        ]
        try:
            exchange(target, self._exchanges)
        except BaseException:
            self._exchanges = []
            with contextlib.suppress(TargetError):
                self._keep_beside(moving)
            raise
        for one in moving:
            one.database = one.item.name
            one.kept = one.item.kept
            if one.item.way == "empty":
                self._drop_empty(one)
        for one in moving:
            if one.item.way != "swap":
                one.notes += self._properties(one.item, one.item.name)

    def leave(self, done: Sequence[Restored]) -> None:
        """Instead of `finish`: what was restored stays beside what is live, under a dated name. Raises TargetError."""
        self._keep_beside(done)

    def drop(self, done: Sequence[Restored]) -> None:
        """Instead of `finish`: what was restored goes, but for what an earlier restore had left."""
        for one in done:
            if one.loaded:
                self._drop(one.database)

    def undo(self, done: Sequence[Restored]) -> None:
        """Puts the names back as they were before `finish`; what was restored stays beside. Raises TargetError."""
        undo(self._there, self.exchanges)
        for one in done:
            if one.kept:
                name = next(each.restored for each in self._exchanges if each.kept == one.kept)
                self._there.mark(name, replace(self._mark(one.item, "restored"), pid=0, since=""))
                one.database, one.kept = name, ""
        self._exchanges = []
        self._keep_beside([one for one in done if one.item.way != "beside"])

    @property
    def exchanges(self) -> Sequence[Exchange]:
        """What `finish` exchanged and can be taken back: empty databases that gave way are gone."""
        return [one for one in self._exchanges if one.kept and one.kept not in self._dropped]

    def close(self) -> None:
        """Lets go of the server."""
        if self.target:
            self.target.close()

    @property
    def _there(self) -> Target:
        if self.target is None:
            raise AssertionError("prepare() comes first")
        return self.target

    def _wanted(self) -> list[Chosen]:
        """The dumps asked for. Raises SettingsError when one is not there."""
        names = self._wish.names
        if names is None:
            return self._chosen
        there = {one.artifact.name: one for one in self._chosen}
        for name in names:
            if name not in there:
                raise SettingsError(
                    f'the restore point has no whole dump of the database "{name}"',
                    f"it has: {', '.join(sorted(there)) or 'none'}",
                )
        return [there[name] for name in names]

    def _opened(self, chosen: Chosen, clients: Sequence[Client]) -> Dump:
        wanted = (self._wish.names or {}).get(chosen.artifact.name)
        return open_dump(chosen, wanted, self.storage, self._identities, clients, self._stop, self._wish.tables)

    def _read_roles(self, dumps: Sequence[Dump]) -> None:
        found = newest_roles(self._catalog, dumps[0].chosen.point) if dumps else None
        if found is None:
            if self._wish.all_roles:
                self.problems.append(SettingsError("no restore point has the roles", "leave out --globals"))
            return
        script = read_text(self.storage, found.point.prefix, found.artifact, self._identities)
        passwords = bool(found.artifact.detail.get("role_passwords"))
        self.roles = Roles(script=script, point=found.point.id, passwords=passwords)

    def _make_roles(self) -> None:
        target = self._there
        if self._wish.all_roles:
            for note in role_making.restore_all(target, self.roles):
                self._listener.note(note)
        missing = sorted(self.missing_roles - target.roles())
        if missing:
            role_making.make(target, missing)
            again = self.roles.passwords and not self._wish.all_roles
            self._listener.note(role_making.how_to_log_in(missing, passwords=again))

    def _ready(self, item: Item) -> Restored | None:
        """What an earlier restore left, when it still holds what was dumped."""
        if not item.ready:
            return None
        began = time.monotonic()
        try:
            with self._there.inside(item.ready) as connection:
                compared = compare(connection, item.dump.chosen.artifact)
        except TargetError as error:
            self._listener.note(f'"{item.ready}", restored earlier, is not used: {error.what}')
            return None
        self._listener.note(f'"{item.ready}", restored earlier, still holds what was dumped and is used')
        return Restored(item=item, database=item.ready, compared=compared, seconds=time.monotonic() - began)

    def _restore(self, item: Item) -> Restored:
        target, artifact, began = self._there, item.dump.chosen.artifact, time.monotonic()
        self._check_stop()
        try:
            note = target.create(item.work, artifact.detail)
            mark = self._mark(item, "restoring")
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
            self._drop(item.work)
            raise
        restored = Restored(
            item=item, database=item.work, compared=compared, seconds=time.monotonic() - began, loaded=loaded
        )
        restored.notes += [note] if note else []
        if item.way == "beside":
            restored.notes += self._properties(item, item.work, comment=False)
        return restored

    def _load(self, item: Item) -> Loaded:
        dump = item.dump
        major = major_of(item.client.version)
        options = ["--no-owner"] if self.not_ours else []
        loader = Loader(dump.archive, self._there, item.work, reader_major=major, entries=dump.entries, options=options)
        return loader.run(self._stop, lambda: self._tell(item, loader.plain_bytes, loader.at), job_count())

    def _mark(self, item: Item, state: str) -> Mark:
        artifact, target = item.dump.chosen.artifact, self._there
        return Mark(
            point=item.dump.chosen.point.id,
            database=artifact.name,
            sha256=artifact.sha256,
            state=state,
            pid=target.pid,
            since=target.since,
        )

    def _properties(self, item: Item, name: str, *, comment: bool = True) -> list[str]:
        """Gives a restored database what the dumped one had; the data are back whether that succeeds or not."""
        try:
            script = item.dump.archive.properties(item.dump.contents, threading.Event())
            return apply_properties(self._there, script, item.dump.name, name, comment=comment)
        except BackupError as error:
            with contextlib.suppress(TargetError):
                self._there.mark(name, None if comment else self._mark(item, "restored"))
            return [f'"{name}" has not the owner, grants and settings that it had: {error.what}']

    def _drop(self, name: str) -> None:
        """Drops what is half-done; with the server gone, the next restore finds it by its mark."""
        try:
            self._there.drop(name)
        except TargetError as error:
            self._listener.note(f'"{name}" could not be dropped, the next restore will: {error.what}')

    def _drop_empty(self, one: Restored) -> None:
        """Drops the empty database that was exchanged, unless somebody filled it meanwhile."""
        if found := self._there.what_is_in(one.kept):
            one.notes.append(f'the database was empty and was filled meanwhile ("{found}"): kept as "{one.kept}"')
            return
        self._there.drop(one.kept)
        self._dropped.add(one.kept)
        one.kept = ""

    def _keep_beside(self, moving: Sequence[Restored]) -> None:
        """After a failed exchange: what was restored keeps a name that people understand, and its mark."""
        target = self._there
        for one in moving:
            databases = target.databases()
            if one.database == one.item.work and one.database in databases:
                name = dated(one.item.dump.name, one.item.dump.chosen.point.begun_at, databases)
                target.end_sessions([one.database])
                target.rename(one.database, name)
                one.database = name
                self._listener.note(f'the restored data are kept as "{name}"; --swap uses them without loading again')

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
