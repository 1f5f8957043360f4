"""Exchanging a live ClickHouse database's tables for restored ones, while clients write.

A database is never renamed: views name it in their bodies, and inserts would go astray. Tables are exchanged one by
one, each atomically. Where a table feeds a materialized view that is not enough: between two exchanges an insert could
reach the new table and the old view's target. Such tables are held: for that time they refuse inserts, by a constraint
that ends by itself should we die. Clients see code 469 for a fraction of a second and try again; nothing is accepted
that is not counted once. Tables that feed no view are exchanged without a hitch.

Every step has its opposite; on any failure all are undone, the last one first.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from backup.clickhouse.client import Server, wait_for
from backup.clickhouse.look import tables
from backup.clickhouse.sql import name
from backup.clickhouse.swap_plan import Plan, make_plan, steps_by_hand
from backup.errors import BackupError, SourceError, StoppedError, TargetError
from backup.manifest import Artifact

GATE = "watchkeeper_swap_try_again"
# Seconds a held table refuses inserts if nobody lifts it, and how many must be left for an exchange to begin.
HELD, LEAST_LEFT = 60, 10
# Seconds an insert is given, that began before its table was held, to have found its way through the views.
SETTLE = 5.0
# Seconds to wait for a server that went away, before undoing.
PATIENCE = 60.0
QUIET = 0.1
_CREATE = re.compile(r"^(CREATE (?:MATERIALIZED VIEW|VIEW|DICTIONARY))")
# Exchanging is our business here, dependencies are looked after.
SETTINGS: dict[str, object] = {"check_table_dependencies": 0, "check_referential_table_dependencies": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Swapped:
    """What a swap did: `kept` is the database with the old data; writers were held off for `held_seconds` ."""

    database: str
    kept: str
    exchanged: tuple[str, ...]
    held: tuple[str, ...]
    held_seconds: float
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A statement and what takes it back. `moves` is database, table, and the UUID that the table there has once the
    statement was run: only then is it taken back, since an exchange done twice is none."""

    statement: str
    undo: str = ""
    moves: tuple[str, str, str] | None = None


@dataclass(slots=True)
class _Ledger:
    """What was done, and how to undo it."""

    server: Server
    tell: Callable[[str], None]
    done: list[_Step] = field(default_factory=list)

    def do(self, step: _Step) -> None:
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

    def _was_run(self, step: _Step) -> bool:
        if step.moves is None:
            return True
        database, table, uuid = step.moves
        found = self.server.value(
            "SELECT toString(uuid) AS id FROM system.tables "
            "WHERE database = {database:String} AND name = {table:String}",
            {"database": database, "table": table},
        )
        return bool(found == uuid)


def swap(
    server: Server,
    artifact: Artifact,
    aside: str,
    kept: str,
    *,
    stop: threading.Event,
    tell: Callable[[str], None] = lambda _: None,
) -> Swapped:
    """Puts the tables of `aside`, restored from `artifact`, in place of those of the live database it was made of.

    The old ones are then in the database `kept`, and `aside` is gone. `tell` hears of every statement. Raises
    TargetError, with everything as it was before, or with what could not be put back.
    """
    live = artifact.name
    plan = make_plan(server, artifact, live, aside)
    if plan.refusal:
        steps = "\n".join(steps_by_hand(plan, kept))
        raise TargetError(f'ClickHouse database "{live}" cannot be swapped: {plan.refusal}', f"by hand:\n{steps}")
    if stop.is_set():
        raise StoppedError("told to stop")
    ledger = _Ledger(server, tell)
    began = time.monotonic()
    try:
        deadline = _hold(ledger, plan)
        for step in _exchanges(plan):
            if plan.held and _server_time(server) > deadline - LEAST_LEFT:
                raise TargetError("it took too long, while tables refused inserts", "try again at a quieter hour")
            ledger.do(step)
        _look_over(server, plan)
    except BackupError as error:
        failed = ledger.undo()
        state = f"NOT undone: {'; '.join(failed)}" if failed else "everything is as it was before"
        raise TargetError(
            f'the swap of ClickHouse database "{live}" failed, {state}: {error.what}', error.remedy
        ) from None
    notes = list(plan.notes)
    notes += _release(server, plan, tell)
    held_seconds = time.monotonic() - began if plan.held else 0.0
    notes += _put_away(server, plan, kept, tell)
    return Swapped(
        database=live,
        kept=kept,
        exchanged=(*plan.pairs, *plan.added),
        held=tuple(one for level in plan.held for one in level),
        held_seconds=held_seconds,
        notes=tuple(notes),
    )


def _hold(ledger: _Ledger, plan: Plan) -> int:
    """Makes the tables that feed views refuse inserts, the first of each chain first. Gives when that ends by itself,
    in the server's seconds."""
    deadline = _server_time(ledger.server) + HELD
    check = f"CHECK now() > fromUnixTimestamp({deadline})"
    for level in plan.held:
        for one in level:
            for database in (plan.live, plan.aside):
                if one not in (plan.live_tables if database == plan.live else plan.aside_tables):
                    continue
                drop = f"ALTER TABLE {name(database, one)} DROP CONSTRAINT IF EXISTS {GATE}"
                ledger.do(_Step(statement=drop))  # one that a swap left that died
                add = f"ALTER TABLE {name(database, one)} ADD CONSTRAINT {GATE} {check}"
                ledger.do(_Step(statement=add, undo=drop))
        _settle(ledger.server)
    return deadline


def _settle(server: Server) -> None:
    """Waits for the inserts that began just before their table was held; older ones know their way already."""
    held_at = time.monotonic()
    time.sleep(QUIET)
    while (since := time.monotonic() - held_at) < SETTLE:
        young = server.value(
            "SELECT count() AS young FROM system.processes WHERE query_kind IN ('Insert', 'AsyncInsertFlush') "
            "AND elapsed > {since:Float64} AND elapsed < {oldest:Float64}",
            {"since": since, "oldest": since + SETTLE},
        )
        if not young:
            return
        time.sleep(QUIET)


def _exchanges(plan: Plan) -> Iterator[_Step]:
    """Every step, each with what takes it back."""
    live, aside = plan.live, plan.aside
    for database, found, views in (
        (live, plan.live_tables, plan.views_to_drop),
        (aside, plan.aside_tables, plan.aside_views),
    ):
        for view in views:
            yield _Step(statement=f"DROP VIEW {name(database, view)} SYNC", undo=_if_absent(found[view].ddl))
    for one in plan.pairs:
        exchange = f"EXCHANGE TABLES {name(live, one)} AND {name(aside, one)}"
        yield _Step(statement=exchange, undo=exchange, moves=(live, one, plan.aside_tables[one].uuid))
    for one in plan.added:
        there, here = name(aside, one), name(live, one)
        moves = (live, one, plan.aside_tables[one].uuid)
        yield _Step(statement=f"RENAME TABLE {there} TO {here}", undo=f"RENAME TABLE {here} TO {there}", moves=moves)
    for one, ddl in plan.created.items():
        kind = "DICTIONARY" if ddl.startswith("CREATE DICTIONARY") else "VIEW"
        old = plan.live_tables.get(one)
        if old is not None and one not in plan.views_to_drop:
            yield _Step(statement=f"DROP {kind} {name(live, one)} SYNC", undo=_if_absent(old.ddl))
        yield _Step(statement=ddl, undo=f"DROP {kind} IF EXISTS {name(live, one)} SYNC")


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


def _release(server: Server, plan: Plan, tell: Callable[[str], None]) -> list[str]:
    """Lets inserts in again: targets before what feeds them. A failure is told; it ends by itself."""
    notes = []
    for database, there in ((plan.live, {*plan.pairs, *plan.added, *plan.live_tables}), (plan.aside, set(plan.pairs))):
        for level in reversed(plan.held):
            for one in level:
                if one not in there:
                    continue
                statement = f"ALTER TABLE {name(database, one)} DROP CONSTRAINT IF EXISTS {GATE}"
                tell(statement)
                try:
                    server.run(statement, of="letting inserts in")
                except SourceError as error:
                    notes.append(f"run this, or inserts fail for up to {HELD} s: {statement} ({error.what})")
    return notes


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


def _server_time(server: Server) -> int:
    return int(server.value("SELECT toUnixTimestamp(now()) AS at"))
