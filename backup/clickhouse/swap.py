"""Exchanging a live ClickHouse database's tables for restored ones, while clients write.

A database is never renamed: views name it in their bodies, and inserts would go astray. Tables are exchanged one by
one, each atomically. Where a table feeds a materialized view that is not enough: between two exchanges an insert could
reach the new table and the old view's target. Such tables are held: for that time they refuse inserts, by a constraint
that ends by itself should we die. Clients see code 469 for a fraction of a second and try again; nothing is accepted
that is not counted once. Tables that feed no view are exchanged without a hitch.

Every step has its opposite; on any failure all are undone, the last one first.
"""

import contextlib
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from backup.clickhouse.client import Server
from backup.clickhouse.gate import hold, release, server_time
from backup.clickhouse.look import tables
from backup.clickhouse.sql import name
from backup.clickhouse.steps import SETTINGS, Ledger, Step
from backup.clickhouse.swap_plan import Plan, make_plan, steps_back, steps_by_hand
from backup.errors import BackupError, SourceError, StoppedError, TargetError
from backup.manifest import Artifact

# Seconds for which tables must still be held for an exchange to begin.
LEAST_LEFT = 10
_CREATE = re.compile(r"^(CREATE (?:MATERIALIZED VIEW|VIEW|DICTIONARY))")


@dataclass(frozen=True, slots=True, kw_only=True)
class Swapped:
    """What a swap did: `kept` is the database with the old data; writers were held off for `held_seconds`; `back` are
    the statements that take it back, for a person."""

    database: str
    kept: str
    exchanged: tuple[str, ...]
    held: tuple[str, ...]
    held_seconds: float
    notes: tuple[str, ...]
    back: tuple[str, ...]


class Exchange:
    """One live database whose tables give way to those of `aside`, restored from `artifact`: `do` exchanges them, then
    either `undo` takes that back or `put_away` moves the old ones to `kept`. `tell` hears of every statement."""

    def __init__(
        self, server: Server, artifact: Artifact, aside: str, kept: str, tell: Callable[[str], None] = lambda _: None
    ) -> None:
        self.live = artifact.name
        self.kept = kept
        self.held_seconds = 0.0
        self.notes: list[str] = []
        self._server = server
        self._tell = tell
        self._ledger = Ledger(server, tell)
        self._plan = make_plan(server, artifact, self.live, aside)
        self.notes += self._plan.notes

    def refuse(self) -> None:
        """Raises TargetError with the steps by hand, when it cannot be done."""
        if self._plan.refusal:
            steps = "\n".join(steps_by_hand(self._plan, self.kept))
            what = f'ClickHouse database "{self.live}" cannot be swapped: {self._plan.refusal}'
            raise TargetError(what, f"by hand:\n{steps}")

    def do(self) -> None:
        """Raises TargetError, with everything as it was before, or with what could not be put back."""
        began = time.monotonic()
        try:
            self._steps()
        except BaseException as error:
            failed = self._ledger.undo()
            if not isinstance(error, BackupError):
                raise
            state = f"NOT undone: {'; '.join(failed)}" if failed else "everything is as it was before"
            raise TargetError(
                f'the swap of ClickHouse database "{self.live}" failed, {state}: {error.what}', error.remedy
            ) from None
        self.notes += release(self._server, self._plan, self._tell)
        self.held_seconds = time.monotonic() - began if self._plan.held else 0.0

    def _steps(self) -> None:
        deadline = hold(self._ledger, self._plan)
        for step in _exchanges(self._plan):
            if self._plan.held and server_time(self._server) > deadline - LEAST_LEFT:
                raise TargetError("it took too long, while tables refused inserts", "try again at a quieter hour")
            self._ledger.do(step)
        _look_over(self._server, self._plan)

    def undo(self) -> list[str]:
        """Takes back what `do` did, with inserts held off once more. Gives the statements that failed. Never raises."""
        with contextlib.suppress(SourceError):  # then it is undone while clients write, which is better than not
            hold(Ledger(self._server, self._tell), self._plan, exchanged=True)
        failed = self._ledger.undo()
        return failed + release(self._server, self._plan, self._tell, exchanged=False)

    def put_away(self) -> Swapped:
        """The end of it: the old tables go where their name says what they are. Never raises."""
        notes = self.notes + _put_away(self._server, self._plan, self.kept, self._tell)
        return Swapped(
            database=self.live,
            kept=self.kept,
            exchanged=(*self._plan.pairs, *self._plan.added),
            held=tuple(one for level in self._plan.held for one in level),
            held_seconds=self.held_seconds,
            notes=tuple(notes),
            back=tuple(steps_back(self._plan, self.kept)),
        )


def swap_all(exchanges: Sequence[Exchange], stop: threading.Event) -> list[Swapped]:
    """Does all of them or none.

    Raises TargetError and StoppedError, with everything as it was before, or with what could not be put back.
    """
    for one in exchanges:
        one.refuse()
    done: list[Exchange] = []
    try:
        for one in exchanges:
            _go_on(stop)
            one.do()
            done.append(one)
    except BaseException as error:
        failed = [line for one in reversed(done) for line in one.undo()]
        if not isinstance(error, BackupError) or not done:
            raise
        names = ", ".join(f'"{one.live}"' for one in done)
        state = f"{names} NOT put back, run: {'; '.join(failed)}" if failed else f"{names} put back as before"
        raise type(error)(f"{error.what}; {state}", error.remedy) from None
    return [one.put_away() for one in done]


def _go_on(stop: threading.Event) -> None:
    if stop.is_set():
        raise StoppedError("told to stop", "the live tables are as they were")


def _exchanges(plan: Plan) -> Iterator[Step]:
    """Every step, each with what takes it back."""
    live, aside = plan.live, plan.aside
    for database, found, views in (
        (live, plan.live_tables, plan.views_to_drop),
        (aside, plan.aside_tables, plan.aside_views),
    ):
        for view in views:
            yield Step(statement=f"DROP VIEW {name(database, view)} SYNC", undo=_if_absent(found[view].ddl))
    for one in plan.pairs:
        exchange = f"EXCHANGE TABLES {name(live, one)} AND {name(aside, one)}"
        yield Step(statement=exchange, undo=exchange, moves=(live, one, plan.aside_tables[one].uuid))
    for one in plan.added:
        there, here = name(aside, one), name(live, one)
        moves = (live, one, plan.aside_tables[one].uuid)
        yield Step(statement=f"RENAME TABLE {there} TO {here}", undo=f"RENAME TABLE {here} TO {there}", moves=moves)
    for one, ddl in plan.created.items():
        kind = "DICTIONARY" if ddl.startswith("CREATE DICTIONARY") else "VIEW"
        old = plan.live_tables.get(one)
        if old is not None and one not in plan.views_to_drop:
            yield Step(statement=f"DROP {kind} {name(live, one)} SYNC", undo=_if_absent(old.ddl))
        yield Step(statement=ddl, undo=f"DROP {kind} IF EXISTS {name(live, one)} SYNC")


def _if_absent(ddl: str) -> str:
    return _CREATE.sub(r"\1 IF NOT EXISTS", ddl, count=1)


def _look_over(server: Server, plan: Plan) -> None:
    """Finds every view attached to its table again, before the first insert is let in."""
    found = tables(server, plan.live)
    for one, wanted in plan.dependents.items():
        lacking = wanted - set(found[one].dependents) if one in found else wanted
        if lacking:
            raise TargetError(
                f"ClickHouse {server.version} lost the view {min(lacking)[1]} of table {one} on the way",
                "upgrade ClickHouse, or swap by hand with writers stopped",
            )


def _put_away(server: Server, plan: Plan, kept: str, tell: Callable[[str], None]) -> list[str]:
    """Moves the old tables to where their name says what they are. The live database is done with by then."""
    statements = [f"CREATE DATABASE IF NOT EXISTS {name(kept)}"]
    statements += [f"RENAME TABLE {name(plan.aside, one)} TO {name(kept, one)}" for one in plan.pairs]
    try:
        for statement in statements:
            tell(statement)
            server.run(statement, of="putting the old tables away", settings=SETTINGS)
        left = server.value(
            "SELECT count() AS left FROM system.tables WHERE database = {aside:String} "
            "AND engine NOT IN ('View', 'Dictionary')",
            {"aside": plan.aside},
        )
        if left:
            return [f'database "{plan.aside}" still holds {left} tables; look at them before you drop it']
        tell(f"DROP DATABASE {name(plan.aside)} SYNC")
        server.run(f"DROP DATABASE {name(plan.aside)} SYNC", of="dropping the empty database", settings=SETTINGS)
    except SourceError as error:
        return [f'the old tables are in "{plan.aside}" or "{kept}": {error}']
    return []
