"""What is known of a database while it is backed up: what the manifest tells of its tables, exactly where it can.

A data part never changes and has a name. `.backup` tells which parts are in a backup, the server how many rows each has
and their digest: together they are the rows of the very cut, with writers at work, and nothing is read for them. Parts
that were merged away meanwhile are known for minutes still; for those that were not, count.txt is read.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

from backup.clickhouse.check import Checked
from backup.clickhouse.client import Server
from backup.clickhouse.look import WITHOUT_DATA, Part, Table, digest_of, owners, parts, tables
from backup.errors import SourceError, StoreError
from backup.manifest import TableFacts
from backup.storage.base import Storage


class Facts:
    """One database ("": none, as for users and roles), as it was found before its backup. Raises SourceError."""

    def __init__(self, server: Server, database: str, engine: str) -> None:
        self._server = server
        self._database = database
        self._engine = engine
        self._tables: Mapping[str, Table] = tables(server, database) if database else {}
        self._later: Mapping[str, Table] = {}
        self._parts: dict[str, dict[str, Part]] = {}
        self._looked_again = not database

    @property
    def bytes(self) -> int:
        """About what its tables hold."""
        return sum(table.bytes or 0 for table in self._tables.values())

    def look_again(self) -> None:
        """Once the cut is made: which parts there are, and how many rows tables have that keep them otherwise.

        What cannot be asked is left unknown: no backup fails for it.
        """
        if self._looked_again:
            return
        self._looked_again = True
        with contextlib.suppress(SourceError):
            self._parts = parts(self._server, self._database)
            self._later = tables(self._server, self._database)

    def tables(self, checked: Checked, storage: Storage, folder: str) -> tuple[TableFacts, ...]:
        """Every table that holds rows, with as many as are in the backup."""
        if not self._database:
            return ()
        self.look_again()
        inner = {view: table for table, view in owners(self._tables).items()}
        facts = []
        for called, table in self._tables.items():
            if called not in checked.definitions or table.inner:
                continue
            kept = self._tables.get(inner.get(called, ""), table)
            if kept.in_parts:
                facts.append(self._of_parts(called, kept.name, checked, storage, folder))
            elif kept.engine not in WITHOUT_DATA:
                facts.append(self._of_total(called))
        return tuple(facts)

    def detail(self, checked: Checked) -> dict[str, Any]:
        """What the manifest keeps beside: the definitions, for whoever swaps or rebuilds, and the tables' digests."""
        inner = owners(self._tables)
        return {
            "engine": self._engine,
            "ddl": {table.name: table.ddl for table in self._tables.values() if not table.inner},
            "engines": {table.name: table.engine for table in self._tables.values() if not table.inner},
            "digests": {
                called: digest_of(digests)
                for called, digests in (
                    (inner.get(table.name, table.name), self._digests(table, inner, checked))
                    for table in self._tables.values()
                    if table.in_parts
                )
                if digests is not None
            },
            "unknown": sorted(checked.definitions - set(self._tables)),
        }

    def _digests(self, table: Table, inner: Mapping[str, str], checked: Checked) -> list[str] | None:
        """The digests of the parts in the backup; None unless all are known."""
        known = self._parts.get(table.name, {})
        wanted = checked.parts.get(inner.get(table.name, table.name), set())
        if any(one not in known or not known[one].digest for one in wanted):
            return None
        return [known[one].digest for one in wanted]

    def _of_parts(self, called: str, kept: str, checked: Checked, storage: Storage, folder: str) -> TableFacts:
        known = self._parts.get(kept, {})
        rows = size = 0
        for part in checked.parts.get(called, set()):
            if part in known:
                rows, size = rows + known[part].rows, size + known[part].bytes
                continue
            stored_as = checked.row_files.get((called, part))
            try:
                rows += int(storage.get(f"{folder}/{stored_as}")) if stored_as else 0
            except (KeyError, ValueError, StoreError):
                return TableFacts(
                    name=called, rows=self._tables[kept].rows, exact=False, bytes=self._tables[kept].bytes
                )
        return TableFacts(name=called, rows=rows, bytes=size)

    def _of_total(self, called: str) -> TableFacts:
        """A table that is no MergeTree: exact when it has not changed around the cut."""
        table = self._tables[called]
        later = self._later.get(called)
        exact = later is not None and table.rows is not None and later.rows == table.rows
        return TableFacts(name=called, rows=table.rows, exact=exact, bytes=table.bytes)
