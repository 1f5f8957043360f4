"""Proof, before a run, that ClickHouse reaches the store and may write there what it is going to write.

The structure of the databases is backed up for real, without a row, to `<source>/preflight/<id>`, found there by us,
and removed; users and roles wholly, since a backup of structure alone does not look at them. What a run that died over
it left there is removed by the next: it holds the lease as well.
"""

import contextlib
import secrets
import threading
from collections.abc import Sequence

from backup.clickhouse.check import CONTENTS
from backup.clickhouse.client import ClickhouseError, Server
from backup.clickhouse.native import FEWEST_RETRIES
from backup.clickhouse.place import Place
from backup.clickhouse.sql import name
from backup.errors import SourceError, StoreError
from backup.layout import source_prefix
from backup.storage.base import Storage

FOLDER = "preflight/"
STRUCTURE = " SETTINGS structure_only = 1"
# SQL-created users and what belongs to them, and functions, which views may call.
ACCESS = ("users", "roles", "settings_profiles", "row_policies", "quotas", "functions")


class Preflight:
    """Tries what a run is going to do, in the store of `source`."""

    def __init__(self, server: Server, place: Place, storage: Storage, source: str, stop: threading.Event) -> None:
        self._server = server
        self._place = place
        self._storage = storage
        self._prefix = f"{source_prefix(source)}{FOLDER}"
        self._stop = stop

    def databases(self, wanted: Sequence[str]) -> dict[str, SourceError]:
        """Tries these databases. Gives those that would fail and why.

        Raises SourceError when the store would not do, since then no database would fare better.
        """
        self._clean()
        if not wanted or self._try(", ".join(f"DATABASE {name(one)}" for one in wanted), STRUCTURE) is None:
            return {}
        refused = {one: self._try(f"DATABASE {name(one)}", STRUCTURE) for one in wanted}
        return {one: error for one, error in refused.items() if error is not None}

    def access(self) -> tuple[list[str], list[str]]:
        """Tries users, roles and the like. Gives the system tables that can be backed up, and why others cannot."""
        if self._try(", ".join(f"TABLE system.{one}" for one in ACCESS)) is None:
            return list(ACCESS), []
        refused = {one: self._try(f"TABLE system.{one}") for one in ACCESS}
        why: dict[int, list[str]] = {}
        for one, error in refused.items():
            if error is not None:
                why.setdefault(error.code, []).append(one)
        told = [f"{', '.join(those)} ({refused[those[0]]})" for those in why.values()]
        return [one for one, error in refused.items() if error is None], told

    def _try(self, what: str, settings: str = "") -> ClickhouseError | None:
        """One backup. None when it was made and found in the store."""
        key = f"{self._prefix}{secrets.token_hex(8)}"
        try:
            self._server.run_long(
                f"BACKUP {what} TO {self._place.at(key)}{settings}",
                of="a test backup failed",
                stop=self._stop,
                settings=FEWEST_RETRIES,
            )
            if self._storage.stat(f"{key}/{CONTENTS}") is None:
                raise SourceError(
                    f"ClickHouse wrote a test backup to {self._place.address}; it is not in {self._storage.address}",
                    "CLICKHOUSE_S3_ENDPOINT (or the url of CLICKHOUSE_S3_COLLECTION: endpoint and bucket) leads to "
                    "another store or bucket",
                )
        except ClickhouseError as error:
            if error.scope != "database":
                raise
            return error
        finally:
            # However it ended, on a signal as well. A store that fails now is told of by whoever asks it next.
            with contextlib.suppress(StoreError):
                self._clean()
        return None

    def _clean(self) -> None:
        self._storage.delete([stored.key for stored in self._storage.list(self._prefix)])
