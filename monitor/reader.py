"""The reading side of the state file. Synchronous, one thread at a time; `monitor.state` gives it that thread."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from monitor.database import connect_reader, in_transaction

T = TypeVar("T")


class Reader:
    """The connection pages are read through; opened anew when the writer has changed files."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._conn: sqlite3.Connection | None = None
        self._generation = 0

    def read(self, fn: Callable[[sqlite3.Connection], T], generation: int) -> T:
        if self._conn is None or self._generation != generation:
            self.close()
            self._conn = connect_reader(self._path)
            self._generation = generation
        try:
            return in_transaction(self._conn, fn, begin="BEGIN")
        except sqlite3.Error:
            self.close()
            raise

    def close(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None
