"""Before anything is touched: what will become of each database, and all that would make the restore fail later."""

import re
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from backup.errors import BackupError, SettingsError, TargetError
from backup.postgres.archive import Archive, Contents, major_of, pick_reader
from backup.postgres.clients import Client
from backup.postgres.database import Database
from backup.postgres.leftovers import dated
from backup.postgres.script import NAME, unquoted
from backup.postgres.target import Target, fit_name
from backup.selection import Chosen
from backup.storage.base import Storage
from backup.verify import check_store
from config.secret import Secret

Way = Literal["free", "empty", "beside", "swap"]
TEMPLATES = ("template0", "template1")


@dataclass(slots=True, kw_only=True)
class Dump:
    """One database's dump, opened and found readable as far as its list. `wanted` is the name it shall have, `given`
    whether somebody said so; `tables` are those asked for alone, `entries` the list's lines for them."""

    chosen: Chosen
    archive: Archive
    contents: Contents
    schema: str
    wanted: str
    given: bool
    tables: frozenset[str] | None = None
    entries: tuple[str, ...] | None = None

    @property
    def name(self) -> str:
        """The database it was made of."""
        return self.chosen.artifact.name

    @property
    def bytes(self) -> int:
        """About what it needs on the server's disk: what the database had when it was dumped."""
        return int(self.chosen.artifact.detail.get("database_bytes") or self.chosen.artifact.plain_bytes)

    @property
    def extensions(self) -> dict[str, str]:
        """The extensions it creates, and the version each had; "" when that is not known."""
        known = self.chosen.artifact.extensions
        names = [
            what.removeprefix("EXTENSION - ").strip()
            for _, what in self.contents.described()
            if what.startswith("EXTENSION - ")
        ]
        return {name: known.get(name, "") for name in names}


@dataclass(slots=True, kw_only=True)
class Item:
    """What becomes of one dump: restored as `work`, then known as `name`; what is live there becomes `kept`.

    `ready` names a database that an earlier restore of the same dump left complete.
    """

    dump: Dump
    client: Client
    way: Way
    name: str
    work: str
    kept: str = ""
    live: Database | None = None
    ready: str = ""


def open_dump(
    chosen: Chosen,
    wanted: str | None,
    storage: Storage,
    identities: Sequence[Secret],
    clients: Sequence[Client],
    stop: threading.Event,
    tables: Sequence[str] = (),
) -> Dump:
    """A dump whose objects are all there, whose key fits and whose list can be read.

    Raises ArchiveError, KeyMissingError, SettingsError, StoreError.
    """
    artifact, prefix = chosen.artifact, chosen.point.prefix
    sizes = {stored.key: stored.size for stored in storage.list(f"{prefix}postgres/")}
    check_store(chosen.point, artifact, sizes)
    program = pick_reader(clients, artifact).program("pg_restore") or Path()
    archive = Archive(storage, prefix, artifact, identities, program)
    contents = archive.contents(stop)
    dump = Dump(
        chosen=chosen,
        archive=archive,
        contents=contents,
        schema=archive.schema(stop),
        wanted=wanted or artifact.name,
        given=wanted is not None,
    )
    if tables:
        dump.tables = _resolved(tables, dump)
        dump.entries = tuple(_of_tables(dump))
    return dump


def place(dump: Dump, target: Target, clients: Sequence[Client], taken: dict[str, Database], *, swap: bool) -> Item:
    """What becomes of a dump on this server; its names are then taken. Raises TargetError, SettingsError."""
    artifact = dump.chosen.artifact
    refuse_server(dump, target)
    client = pick_reader(clients, artifact, target.major)
    dump.archive.program = client.program("pg_restore") or dump.archive.program
    live = taken.get(dump.wanted)
    way = _way(dump, target, live, swap=swap)
    moment = dump.chosen.point.begun_at
    name = dated(dump.name, moment, taken) if way == "beside" else fit_name(dump.wanted, "")
    item = Item(
        dump=dump,
        client=client,
        way=way,
        name=name,
        work=fit_name(dump.name, f"_restoring_{secrets.token_hex(3)}"),
        kept=dated(dump.wanted, target.now(), taken, "before") if way in ("swap", "empty") else "",
        live=live,
    )
    if dump.tables is None and way in ("beside", "swap"):
        item.ready = _ready(dump, taken)
    for one in (item.name, item.kept):
        taken.setdefault(one, Database(name=one, oid=0, owner="", allows=False, template=False, size=0, comment=""))
    return item


def refuse_server(dump: Dump, target: Target) -> None:
    """Raises TargetError when the server cannot take the dump: too old, or without an extension."""
    artifact = dump.chosen.artifact
    dumped = major_of(artifact.server)
    if target.major < dumped:
        raise TargetError(
            f"{target.place} is older than the PostgreSQL {artifact.server} that {artifact.label} was dumped from",
            f"restore to a server of version {dumped} or newer: --to-postgres",
        )
    available = target.extensions()
    missing = [name for name in dump.extensions if name not in available]
    if missing:
        raise TargetError(
            f"{target.place} has no files for {', '.join(missing)}, which {artifact.label} needs",
            "install them on the server"
            + (
                f" (for vector: the image pgvector/pgvector:pg{target.major}, or postgresql-{target.major}-pgvector)"
                if "vector" in missing
                else ""
            ),
        )


def refuse_rights(target: Target, items: Sequence[Item], missing_roles: frozenset[str]) -> list[BackupError]:
    """What this role may not do and would have to; also what the server as a whole is in the way of."""
    problems: list[BackupError] = []
    who = f'the role "{target.user}"'
    as_superuser = "restore as a superuser: BACKUP_DATABASE_URL or --to-postgres"
    if target.standby():
        problems.append(TargetError(f"{target.place} is a standby and takes no writes", "name its primary"))
    if not target.may_create:
        problems.append(TargetError(f"{who} may not create databases", as_superuser))
    if missing_roles and not target.may_make_roles:
        names = ", ".join(sorted(missing_roles))
        problems.append(TargetError(f"{who} may not create the roles that are missing: {names}", as_superuser))
    if any(item.kept for item in items) and not target.may_signal:
        problems.append(
            TargetError(f"{who} may not end others' sessions", f"{as_superuser}, or grant it pg_signal_backend")
        )
    need, free = sum(item.dump.bytes for item in items if not item.ready), target.free_bytes()
    if free is not None and need > free:
        problems.append(
            TargetError(
                f"{target.place} has {free >> 20} MiB free on its disk, and about {need >> 20} MiB are needed",
                "free space there, or restore one database at a time: --database",
            )
        )
    return problems


def _way(dump: Dump, target: Target, live: Database | None, *, swap: bool) -> Way:
    if dump.wanted in TEMPLATES or (live and live.template):
        raise TargetError(f'"{dump.wanted}" is a template database', "give it another name: --database SRC=DST")
    if live is None:
        return "free"
    if _is_empty(target, live):
        return "empty"
    if swap:
        return "swap"
    if dump.given:
        raise TargetError(
            f'the database "{dump.wanted}" is not empty',
            "name a new one: --database SRC=DST; or add --swap, which keeps the old data under another name",
        )
    return "beside"


def _is_empty(target: Target, live: Database) -> bool:
    """Whether a database is certainly empty; one that lets nobody in, as a broken one may, is taken for full."""
    try:
        return live.allows and not target.what_is_in(live.name)
    except TargetError:
        return False


def _ready(dump: Dump, taken: dict[str, Database]) -> str:
    """A complete restore of the same dump that lies beside, "" when there is none."""
    artifact = dump.chosen.artifact
    same = (dump.chosen.point.id, artifact.name, artifact.sha256, "restored")
    for database in taken.values():
        mark = database.mark
        if mark is None or not database.allows or database.name == dump.wanted:
            continue
        if (mark.point, mark.database, mark.sha256, mark.state) == same:
            return database.name
    return ""


def _resolved(asked: Sequence[str], dump: Dump) -> frozenset[str]:
    """The tables asked for, as the manifest names them: with or without schema and quotes."""
    known: dict[str, set[str]] = {}
    for table in dump.chosen.artifact.tables:
        plain = table.name.replace('"', "")
        for spelling in (table.name, plain, plain.partition(".")[2]):
            known.setdefault(spelling, set()).add(table.name)
    found: set[str] = set()
    for one in asked:
        fitting = known.get(one, set())
        if len(fitting) != 1:
            several = f"is in several schemas: {', '.join(sorted(fitting))}" if fitting else "is not in it"
            raise SettingsError(
                f"--table {one}: {several} ({dump.chosen.artifact.label})",
                "write schema.table as `show` lists them; of a partitioned table name the partitions",
            )
        found |= fitting
    return frozenset(found)


def _of_tables(dump: Dump) -> list[str]:
    """The list's lines without the rows of other tables, and without what those rows would be needed for."""
    wanted = tuple(f"TABLE DATA {_spaced(name)} " for name in dump.tables or ())
    left_out = ("TABLE DATA ", "FK CONSTRAINT ", "MATERIALIZED VIEW DATA ", "BLOBS ", "BLOB DATA ")
    return [
        line for line, what in dump.contents.described() if what.startswith(wanted) or not what.startswith(left_out)
    ]


def _spaced(name: str) -> str:
    """`"My schema".t` as pg_restore lists it: `My schema t`."""
    found = re.fullmatch(f"({NAME})\\.({NAME})", name)
    return f"{unquoted(found[1])} {unquoted(found[2])}" if found else name.replace(".", " ")
