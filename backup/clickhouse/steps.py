"""Statements that change a live ClickHouse database, each with what takes it back."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from backup.clickhouse.client import Server, wait_for
from backup.errors import SourceError

# Seconds to wait for a server that went away, before undoing.
PATIENCE = 60.0
# Exchanging is our business here, dependencies are looked after.
SETTINGS: dict[str, object] = {"check_table_dependencies": 0, "check_referential_table_dependencies": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A statement and what takes it back. `moves` is database, table, and the UUID that the table there has once the
    statement was run: only then is it taken back, since an exchange done twice is none."""

    statement: str
    undo: str = ""
    moves: tuple[str, str, str] | None = None


@dataclass(slots=True)
class Ledger:
    """What was done, and how to undo it."""

    server: Server
    tell: Callable[[str], None]
    done: list[Step] = field(default_factory=list)

    def do(self, step: Step) -> None:
        """Runs a statement. Raises SourceError."""
        self.tell(step.statement)
        # Noted before: a statement whose answer is lost may have been run.
        self.done.append(step)
        self.server.run(step.statement, of=f"the step {step.statement[:200]}", settings=SETTINGS)

    def undo(self) -> list[str]:
        """Takes everything back, the last first. Gives the statements that failed."""
        failed = []
        wait_for(self.server, threading.Event(), PATIENCE)
        while self.done:
            step = self.done.pop()
            try:
                if step.undo and self._was_run(step):
                    self.tell(step.undo)
                    self.server.run(step.undo, of="undoing", settings=SETTINGS)
            except SourceError as error:
                failed.append(f"{step.undo} ({error.what})")
        return failed

    def _was_run(self, step: Step) -> bool:
        if step.moves is None:
            return True
        database, table, uuid = step.moves
        found = self.server.value(
            "SELECT toString(uuid) AS id FROM system.tables "
            "WHERE database = {database:String} AND name = {table:String}",
            {"database": database, "table": table},
        )
        return bool(found == uuid)
