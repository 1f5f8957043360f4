"""What a swap will do to a ClickHouse database, or why it cannot; pure but for looking at the server."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from backup.clickhouse.client import Server
from backup.clickhouse.look import Table, databases, owners, tables
from backup.clickhouse.sql import name
from backup.manifest import Artifact

HIDDEN = "[HIDDEN]"
_PART = r"(?:`(?:[^`\\]|\\.)*`|[A-Za-z_]\w*)"
_TARGET = re.compile(rf"^CREATE MATERIALIZED VIEW {_PART}\.{_PART} TO ({_PART})\.({_PART})")
_REFRESHED = re.compile(r"\bREFRESH (?:EVERY|AFTER)\b|\bDEPENDS ON\b")


@dataclass(slots=True, kw_only=True)
class Plan:
    """A swap. `pairs` are exchanged, `added` only in the backup, `created` are views and dictionaries to make (name →
    statement), `views_to_drop` and `aside_views` the materialized ones that go first. `held` are the tables that feed
    views, those fed by others later. `dependents` must be found at each table afterwards. A `refusal` says why not.
    """

    live: str
    aside: str
    live_tables: Mapping[str, Table]
    aside_tables: Mapping[str, Table]
    pairs: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    created: dict[str, str] = field(default_factory=dict)
    views_to_drop: tuple[str, ...] = ()
    aside_views: tuple[str, ...] = ()
    held: tuple[tuple[str, ...], ...] = ()
    dependents: dict[str, set[tuple[str, str]]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    refusal: str = ""


def make_plan(server: Server, artifact: Artifact, live: str, aside: str) -> Plan:
    """Looks at both databases. Raises SourceError."""
    engines = databases(server)
    plan = Plan(live=live, aside=aside, live_tables={}, aside_tables={})
    for database in (live, aside):
        if database not in engines:
            plan.refusal = f'there is no database "{database}"'
            return plan
    plan.live_tables, plan.aside_tables = tables(server, live), tables(server, aside)
    plan.pairs = tuple(one for one in _data(plan.aside_tables) if one in plan.live_tables)
    plan.added = tuple(one for one in _data(plan.aside_tables) if one not in plan.live_tables)
    recorded: Mapping[str, str] = artifact.detail.get("ddl", {})
    plan.aside_views = tuple(one for one, table in plan.aside_tables.items() if table.engine == "MaterializedView")
    plan.views_to_drop = tuple(
        one for one, table in plan.live_tables.items() if table.engine == "MaterializedView" and one in recorded
    )
    plan.created = dict(_to_create(plan, recorded))
    plan.dependents = _dependents(plan)
    plan.held = _levels(plan)
    plan.notes = tuple(_notes(plan, recorded))
    plan.refusal = next(_refusals(plan, engines, recorded), "")
    return plan


def steps_by_hand(plan: Plan, kept: str) -> list[str]:
    """What a person would run in clickhouse-client, with all writers stopped."""
    steps = ["-- stop everything that writes, then run, in this order:", f"CREATE DATABASE IF NOT EXISTS {name(kept)};"]
    steps += [f"DROP VIEW {name(plan.live, one)} SYNC;" for one in plan.views_to_drop if not _keeps(plan, one)]
    for one in plan.pairs:
        steps.append(f"RENAME TABLE {name(plan.live, one)} TO {name(kept, one)};")
        steps.append(f"RENAME TABLE {name(plan.aside, one)} TO {name(plan.live, one)};")
    steps += [f"RENAME TABLE {name(plan.aside, one)} TO {name(plan.live, one)};" for one in plan.added]
    for inner, view in owners(plan.aside_tables).items():
        there = next((one for one, of in owners(plan.live_tables).items() if of == view), None)
        if there:
            steps += [
                f"CREATE TABLE {name(kept, view)} AS {name(plan.live, there)};",
                f"-- for every partition of {there}:",
                f"ALTER TABLE {name(plan.live, there)} MOVE PARTITION ID '…' TO TABLE {name(kept, view)};",
                f"-- for every partition of {inner}:",
                f"ALTER TABLE {name(plan.aside, inner)} MOVE PARTITION ID '…' TO TABLE {name(plan.live, there)};",
            ]
    steps += [f"{ddl};" for one, ddl in plan.created.items() if not _keeps(plan, one)]
    return [*steps, "-- let the writers in again"]


def steps_back(plan: Plan, kept: str) -> list[str]:
    """What a person would run in clickhouse-client to have the old tables again, with all writers stopped."""
    changed = [one for one in plan.created if one in plan.live_tables]
    steps = [
        f"DROP {'DICTIONARY' if ddl.startswith('CREATE DICTIONARY') else 'VIEW'} {name(plan.live, one)} SYNC;"
        for one, ddl in plan.created.items()
    ]
    steps += [f"EXCHANGE TABLES {name(plan.live, one)} AND {name(kept, one)};" for one in plan.pairs]
    return steps + [f"{plan.live_tables[one].ddl};" for one in changed]


def target_of(ddl: str) -> tuple[str, str] | None:
    """The database and table a materialized view writes to; None when it keeps its rows itself."""
    found = _TARGET.match(ddl)
    return (_plain(found[1]), _plain(found[2])) if found else None


def _data(found: Mapping[str, Table]) -> list[str]:
    """The names of what can be exchanged: all but views, dictionaries and what views keep."""
    return [
        one
        for one, table in found.items()
        if table.engine not in {"View", "MaterializedView", "Dictionary", "LiveView", "WindowView"} and not table.inner
    ]


def _to_create(plan: Plan, recorded: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Materialized views always, so that ClickHouse ties them to their tables anew; of others those that differ."""
    later = []
    for one, table in plan.aside_tables.items():
        if one not in recorded or table.engine not in {"MaterializedView", "View", "Dictionary"}:
            continue
        old = plan.live_tables.get(one)
        if table.engine == "MaterializedView":
            later.append((one, recorded[one]))
        elif old is None or old.ddl != recorded[one]:
            yield one, recorded[one]
    yield from later


def _dependents(plan: Plan) -> dict[str, set[tuple[str, str]]]:
    """For each table the views that an insert must reach afterwards: the backed-up ones, and other databases'."""
    wanted: dict[str, set[tuple[str, str]]] = {}
    for one, table in plan.aside_tables.items():
        wanted.setdefault(one, set()).update(
            (plan.live, view) for database, view in table.dependents if database == plan.aside
        )
    for one, table in plan.live_tables.items():
        wanted.setdefault(one, set()).update(known for known in table.dependents if known[0] != plan.live)
        wanted[one].update((plan.live, view) for _, view in table.dependents if view not in plan.views_to_drop)
    return {one: views for one, views in wanted.items() if views}


def _levels(plan: Plan) -> tuple[tuple[str, ...], ...]:
    """The tables that feed views, the ones that no view fills first: an insert must not fail halfway down a chain."""
    feeding = {
        one
        for one in (*plan.pairs, *plan.added)
        for found in (plan.live_tables, plan.aside_tables)
        if one in found and found[one].dependents
    }
    fed_by: dict[str, set[str]] = {one: set() for one in feeding}
    for found in (plan.live_tables, plan.aside_tables):
        for source in feeding & set(found):
            for _, view in found[source].dependents:
                target = target_of(found[view].ddl) if view in found else None
                if target and target[1] in feeding:
                    fed_by[target[1]].add(source)
    levels: list[tuple[str, ...]] = []
    placed: set[str] = set()
    while rest := sorted(feeding - placed):
        level = tuple(one for one in rest if fed_by[one] <= placed) or tuple(rest)  # a circle goes all at once
        levels.append(level)
        placed.update(level)
    return tuple(levels)


def _notes(plan: Plan, recorded: Mapping[str, str]) -> Iterator[str]:
    newer = [one for one in plan.live_tables if one not in plan.aside_tables and not plan.live_tables[one].inner]
    newer = [one for one in newer if one not in recorded]
    if newer:
        yield f'left as they are in "{plan.live}", since the backup has none of that name: {", ".join(newer)}'


def _refusals(plan: Plan, engines: Mapping[str, str], recorded: Mapping[str, str]) -> Iterator[str]:
    """Why it cannot be done."""
    for database, found in ((plan.live, plan.live_tables), (plan.aside, plan.aside_tables)):
        if engines[database] != "Atomic":
            yield f'only databases of the engine Atomic can exchange tables, and "{database}" is {engines[database]}'
        for view in owners(found).values():
            yield f"the materialized view {view} keeps its rows itself, which cannot be exchanged"
        for one, table in found.items():
            if table.engine in {"LiveView", "WindowView"}:
                yield f"{one} is a {table.engine}"
            if table.engine == "MaterializedView" and _REFRESHED.search(table.ddl.split(" AS ", 1)[0]):
                yield f"the materialized view {one} is refreshed by the clock"
        for one in (two for level in plan.held for two in level):
            if one in found and not found[one].in_parts:
                yield f"table {one} feeds a view and is of engine {found[one].engine}, which cannot refuse inserts"
    for one in plan.created:
        old = plan.live_tables.get(one)
        if HIDDEN in recorded[one] or (old is not None and HIDDEN in old.ddl):
            yield f"the definition of {one} holds a password that ClickHouse hides"


def _keeps(plan: Plan, view: str) -> bool:
    """Whether a live materialized view keeps its rows itself: dropping it would drop them."""
    return view in owners(plan.live_tables).values()


def _plain(identifier: str) -> str:
    return re.sub(r"\\(.)", r"\1", identifier[1:-1]) if identifier.startswith("`") else identifier
