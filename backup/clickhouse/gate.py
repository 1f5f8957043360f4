"""Tables that feed materialized views, made to refuse inserts while they are exchanged, for a minute at most."""

import time
from collections.abc import Callable

from backup.clickhouse.client import Server
from backup.clickhouse.sql import name
from backup.clickhouse.steps import Ledger, Step
from backup.clickhouse.swap_plan import Plan
from backup.errors import SourceError

GATE = "watchkeeper_swap_try_again"
# Seconds a held table refuses inserts if nobody lifts it.
HELD = 60
# Seconds an insert is given, that began before its table was held, to have found its way through the views.
SETTLE = 5.0
QUIET = 0.1


def _places(plan: Plan, *, exchanged: bool) -> tuple[tuple[str, set[str]], ...]:
    """The tables that are in each of the two databases, before the exchange and after."""
    if exchanged:
        return (plan.live, {*plan.added, *plan.live_tables}), (plan.aside, set(plan.pairs))
    return (plan.live, set(plan.live_tables)), (plan.aside, set(plan.aside_tables))


def hold(ledger: Ledger, plan: Plan, *, exchanged: bool = False) -> int:
    """Makes the tables that feed views refuse inserts, the first of each chain first. Gives when that ends by itself,
    in the server's seconds."""
    deadline = server_time(ledger.server) + HELD
    check = f"CHECK now() > fromUnixTimestamp({deadline})"
    for level in plan.held:
        for one in level:
            for database, there in _places(plan, exchanged=exchanged):
                if one not in there:
                    continue
                drop = f"ALTER TABLE {name(database, one)} DROP CONSTRAINT IF EXISTS {GATE}"
                ledger.do(Step(statement=drop))  # one that a swap left that died
                add = f"ALTER TABLE {name(database, one)} ADD CONSTRAINT {GATE} {check}"
                ledger.do(Step(statement=add, undo=drop))
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


def release(server: Server, plan: Plan, tell: Callable[[str], None], *, exchanged: bool = True) -> list[str]:
    """Lets inserts in again: targets before what feeds them. A failure is told; it ends by itself."""
    notes = []
    for database, there in _places(plan, exchanged=exchanged):
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


def server_time(server: Server) -> int:
    return int(server.value("SELECT toUnixTimestamp(now()) AS at"))
