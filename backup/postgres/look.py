"""What is asked of a snapshot while its dump runs."""

import threading
import time

from backup.errors import SourceError, StoppedError
from backup.postgres.dump import Dump
from backup.postgres.snapshot import Facts, Snapshot


class Look:
    """Facts of a snapshot, gathered in a thread once its dump has begun and so holds its locks."""

    def __init__(self, snapshot: Snapshot, dump: Dump, seconds: float, stop: threading.Event) -> None:
        self.error = ""
        self.seconds = 0.0
        self._snapshot = snapshot
        self._dump = dump
        self._budget = seconds
        self._stop = stop
        self._facts: Facts | None = None
        self._rewritten: list[str] = []
        self._thread = threading.Thread(target=self._look, name="facts", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises SourceError when the dump cannot be right."""
        if self._rewritten:
            raise SourceError(
                f'database "{self._snapshot.database}": {", ".join(self._rewritten[:3])} was rewritten (TRUNCATE, '
                "ALTER TABLE, VACUUM FULL) between the snapshot and the dump, which would hold it empty",
                "run again; keep migrations and VACUUM FULL out of the hour of the backup",
            )

    def result(self, stop: threading.Event) -> Facts | None:
        """The facts, or None with `error` set. Raises like `check`, and StoppedError."""
        while self._thread.is_alive():
            self._thread.join(0.1)
            if stop.is_set():
                raise StoppedError("the backup was told to stop")
        self.check()
        return self._facts

    def _look(self) -> None:
        self._dump.first_byte.wait()
        if not self._dump.plain_bytes:
            return
        began = time.monotonic()
        try:
            self._rewritten = self._snapshot.rewritten()
            if not self._rewritten:
                self._facts = self._snapshot.facts(self._budget, self._stop.is_set)
        except SourceError as error:
            self.error = str(error)
        finally:
            self.seconds = time.monotonic() - began
