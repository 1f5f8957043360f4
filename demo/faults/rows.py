"""The rows of the matrix, in our own words; the numbers are those of the list of failures the project began with."""

from collections.abc import Mapping

from demo.faults.applications import APPLICATIONS
from demo.faults.matrix import Row
from demo.faults.network import NETWORK
from demo.faults.stores import STORES

ROWS: tuple[Row, ...] = tuple(sorted((*APPLICATIONS, *STORES, *NETWORK), key=lambda row: row.number))

NOT_PRODUCED: Mapping[int, str] = {
    34: "A matter of the backups' own runs, played with their servers: an empty, cut or foreign dump is no restore "
    "point (tests/services/backup/postgres/test_backup_postgres_trouble.py), and verify names what was damaged later "
    "(tests/services/backup/restore/test_backup_verify.py).",
    35: "As 34: each server is dumped by its own major, and one that is too new for every client here is told "
    "before anything is dumped (tests/services/backup/postgres/test_backup_postgres_dump.py).",
    36: "As 34: the service `backups` goes by the age of the newest good restore point and never by that of a run; "
    "days pass in tests/unit/test_monitor_freshness.py, failing runs in tests/daemon/test_monitor_backups.py.",
    38: "It shows in LiteLLM's log alone, on some versions. What the probes ask of each server in a minute is "
    "measured: [decision 17](../decisions/0017-recorded-load-calm.md).",
}
"""Rows that are not played, and why not."""
