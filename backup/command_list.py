"""`python -m backup list`, `show` and `prune`: what is in the store, and what retention does with it."""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import typer

from backup.catalog import Catalog, Point, elsewhere, read_times
from backup.describe import age, described, short, size
from backup.errors import BackupError
from backup.layout import begun_at
from backup.lease import Lease
from backup.manifest import EVERYTHING
from backup.owner import Owner
from backup.proof import DAMAGED, LEVELS, seen_by_the_run
from backup.proof import read as read_proofs
from backup.retention import Plan, stand_still
from backup.sources.table import clickhouse_ended
from backup.storage.base import Storage
from backup.sweep import fate, plan, prune, sweep
from config.backup_settings import RetentionSettings, read_instance
from config.backup_sources import ClickhouseSettings
from config.env import Env
from config.logs import Mask

WIDE = 160  # characters to a line where no terminal says how many it has


def list_command(storage: Storage, source: str, env: Env, *, as_json: bool) -> None:
    """Writes every restore point of `source`, the newest first."""
    catalog = _catalog(storage, source)
    points, verdicts, now = catalog.points(), _plan(catalog, env), storage.now()
    rows = [_row(point, catalog.proof(point.id), verdicts, now) for point in points]
    if as_json:
        unfinished = [
            {"id": name, "age_seconds": _age_of(begun_at(name), now), "fate": fate(catalog, name)}
            for name in catalog.unfinished()
        ]
        document = {"source": source, "standstill": verdicts.standstill, "points": rows, "unfinished": unfinished}
        typer.echo(json.dumps(document, indent=1))
        return
    if not rows:
        typer.echo(
            f"no restore point of {source} at {storage.address}; {elsewhere(storage, source)}"
            "take one: python -m backup run"
        )
    else:
        _table(rows, verdicts)
    for name in catalog.unfinished():
        typer.echo(f"{name}, begun {age(_age_of(begun_at(name), now))} ago, is not finished: {fate(catalog, name)}")
    if verdicts.standstill:
        typer.echo(f"nothing will be removed: {verdicts.standstill}")


def _table(rows: Sequence[Mapping[str, Any]], verdicts: Plan) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in ("id", "age", "stored", "holds", "proof", "retention"):
        table.add_column(name, overflow="fold", no_wrap=name in ("id", "age", "stored", "proof"))
    for row in rows:
        kept = [one.reason for one in verdicts.of(row["id"]).artifacts if one.keep]
        holds = [row["problem"], _grouped(row["whole"]), _grouped(row["failed"], "failed: ")]
        table.add_row(
            row["id"],
            age(row["age_seconds"]),
            size(row["stored_bytes"]),
            "\n".join(filter(None, holds)),
            row["proof"],
            f"keeps it: {kept[0] if kept else row['reason']}" if row["keep"] else f"removes it: {row['reason']}",
        )
    Console(width=None if sys.stdout.isatty() else WIDE).print(table, markup=False)


def _grouped(labels: Sequence[str], before: str = "") -> str:
    """Labels by engine, a line each: `postgres: langfuse, litellm, globals`."""
    names: dict[str, list[str]] = {}
    for label in labels:
        engine, _, name = short(label).partition(" ")
        names.setdefault(engine, []).append("all of it" if name == EVERYTHING else name)
    return "\n".join(f"{before}{engine}: {', '.join(found)}" for engine, found in names.items())


def list_nothing(source: str, why: BackupError) -> None:
    """What `list --json` writes where there is no bucket or folder to look into."""
    document = {"source": source, "standstill": "", "points": [], "unfinished": [], "missing": str(why)}
    typer.echo(json.dumps(document, indent=1))


def show_command(storage: Storage, source: str, name: str, *, as_json: bool) -> None:
    """Writes one restore point. Raises ArchiveError when there is none of that name."""
    catalog = _catalog(storage, source)
    point = catalog.load(name)
    made = point.manifest
    if made is None:
        raise AssertionError("a point that loads has a manifest")
    proof = catalog.proof(point.id)
    if as_json:
        typer.echo(json.dumps(asdict(made) | {"proof": proof}, indent=1, ensure_ascii=False))
        return
    typer.echo(f"{made.id} of {made.source}, {made.created_at} to {made.ended_at}, by {made.tool_version}")
    typer.echo(f"snapshots within {made.skew_seconds:g} s; PostgreSQL system {made.system_identifier or 'unknown'}")
    for key, value in made.applications.items():
        typer.echo(f"{key}: migration {value}")
    if made.fingerprints:
        typer.echo(f"keys known by fingerprint: {', '.join(made.fingerprints)}")
    for note in made.notes:
        typer.echo(f"note: {note}")
    proofs = read_proofs(proof)
    for artifact in made.artifacts:
        typer.echo("\n" + "\n".join(described(artifact)))
        if known := proofs.get(artifact.label):
            typer.echo(f"  proof: {known.error or f'{known.level}, {known.says}'} ({known.at})")


def prune_command(
    storage: Storage, source: str, rules: RetentionSettings, env: Env, *, dry_run: bool, as_json: bool
) -> None:
    """Removes what retention lets go and what dead runs left, or says what it would. Raises LockedError."""
    catalog = _catalog(storage, source)
    swept: tuple[str, ...] = ()
    if dry_run:
        decided = plan(catalog, rules)
    else:
        owner = Owner.here(read_instance(env))
        with Lease(storage, source, owner=owner, purpose="prune").acquire() as lease:
            swept = sweep(catalog, lease, clickhouse_ended=_ended(env)).removed
            decided = prune(catalog, rules, lease)
    if as_json:
        typer.echo(json.dumps({"dry_run": dry_run, "swept": swept} | asdict(decided) | {"removed": decided.removed}))
        return
    for verdict in decided.points:
        verb = "keep" if verdict.keep else "would remove" if dry_run else "removed"
        typer.echo(f"{verb} {verdict.point}: {verdict.reason}")
    for point in swept:
        typer.echo(f"removed what the run of {point} left when it died")
    if decided.standstill:
        typer.echo(f"nothing is removed: {decided.standstill}")


def _catalog(storage: Storage, source: str) -> Catalog:
    try:
        return Catalog(storage, source)
    except ValueError as error:
        raise BackupError(f"--source cannot be used: {error}", "write it as `list` shows it") from None


def _ended(env: Env) -> Callable[[str], bool]:
    """Whether a ClickHouse backup has ended. Where its settings cannot be used, what it may still write to stays."""
    own, mask = Env(env.environ), Mask()
    settings = ClickhouseSettings.read(own)
    mask.add(own.secrets)
    return (lambda _: False) if own.problems else clickhouse_ended(settings, mask)


def _plan(catalog: Catalog, env: Env) -> Plan:
    """What retention would do: nothing, where its settings cannot be used; that stops nobody from looking."""
    own = Env(env.environ)
    decided = plan(catalog, RetentionSettings.read(own))
    return stand_still(decided, "; ".join(map(str, own.problems))) if own.problems else decided


def _row(point: Point, proof: dict[str, object], verdicts: Plan, now: datetime) -> dict[str, Any]:
    artifacts = point.manifest.artifacts if point.manifest else ()
    verdict = verdicts.of(point.id)
    return {
        "id": point.id,
        "created_at": point.manifest.created_at if point.manifest else "",
        "age_seconds": _age_of(point.begun_at, now),
        "seconds": _seconds_of(point),
        "plain_bytes": sum(one.plain_bytes for one in point.whole()),
        "stored_bytes": sum(one.stored_bytes for one in point.whole()),
        "whole": [one.label for one in point.whole()],
        "sizes": {one.label: one.plain_bytes or one.stored_bytes for one in point.whole() if one.kind == "database"},
        "failed": [one.label for one in artifacts if one.status != "whole"],
        "sealed": any(one.recipients for one in point.whole()),
        "proof": _level(point, proof),
        "problem": point.problem,
        "keep": verdict.keep,
        "reason": verdict.reason,
    }


def _age_of(begun: datetime, now: datetime) -> int:
    """Seconds since a run began, by the store's clock."""
    return round(max(timedelta(), now - begun).total_seconds())


def _seconds_of(point: Point) -> float:
    """How long its run took."""
    if point.manifest is None:
        return 0.0
    began, ended = read_times(point.manifest)
    return max(0.0, (ended - began).total_seconds())


def _level(point: Point, proof: dict[str, object]) -> str:
    """How far the point has been shown to be good: what proof.json says, else what the run itself has seen."""
    if point.problem:
        return DAMAGED
    if isinstance(level := proof.get("level"), str):
        return level
    levels = [seen_by_the_run(one) for one in point.whole() if one.kind == "database"]
    return min(levels, key=LEVELS.index, default="written")
