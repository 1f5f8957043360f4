"""PostgreSQL's part of a restore: every database into a new one, compared, and only then given its name.

A database is filled under a name of its own (`…_restoring_` and six digits) that carries a mark; what goes wrong drops
it. Live databases are touched by the exchange alone, which is one transaction (backup/swap.py).
"""

import contextlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from backup.catalog import Catalog
from backup.errors import BackupError, SettingsError, TargetError
from backup.postgres import roles as role_making
from backup.postgres.archive import read_text
from backup.postgres.clients import Client, installed
from backup.postgres.database import Session
from backup.postgres.fill import Filler, Restored
from backup.postgres.leftovers import Leftover, dated, leftovers, mend, under_way
from backup.postgres.login import Login
from backup.postgres.prepare import Dump, Item, open_dump, place, refuse_rights
from backup.postgres.roles import Roles
from backup.postgres.target import Target
from backup.progress import Listener
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
        self.others: list[str] = []
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
        self.others = list(under_way(self.target, databases))
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
        filler, done = self._filler, list[Restored]()
        try:
            for item in self.items:
                done += [filler.ready(item) or filler.fill(item)]
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
                one.notes += self._filler.properties(one.item, one.item.name)

    def leave(self, done: Sequence[Restored]) -> None:
        """Instead of `finish`: what was restored stays beside what is live, under a dated name. Raises TargetError."""
        self._keep_beside(done)

    def drop(self, done: Sequence[Restored]) -> None:
        """Instead of `finish`: what was restored goes, but for what an earlier restore had left."""
        for one in done:
            if one.loaded:
                self._filler.drop(one.database)

    def undo(self, done: Sequence[Restored]) -> None:
        """Puts the names back as they were before `finish`; what was restored stays beside. Raises TargetError."""
        undo(self._there, self.exchanges)
        for one in done:
            if one.kept:
                name = next(each.restored for each in self._exchanges if each.kept == one.kept)
                self._there.mark(name, replace(self._filler.mark(one.item, "restored"), pid=0, since=""))
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

    @property
    def _filler(self) -> Filler:
        return Filler(self._there, self._listener, self._stop, owners=not self.not_ours)

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
