"""The reverse flow: what a restore point holds, back into PostgreSQL and ClickHouse.

Every part is prepared before anything is touched; then each brings its databases in beside what is live and compares
them; only when all have, names are exchanged, PostgreSQL's first, since they can be put back at once.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence

from backup.catalog import Point
from backup.errors import BackupError, SettingsError, StoppedError, StoreError, TargetError
from backup.manifest import Engine
from backup.part import Hands, Order, Part
from backup.plan import duration, refusal_lines
from backup.postgres.part import PostgresPart
from backup.proof import Proof, record
from backup.selection import Selection, select

ENGINES: tuple[Engine, ...] = ("postgres", "clickhouse")
NAMED: Mapping[Engine, str] = {
    "postgres": "set DATABASE_URL, or give --to-postgres",
    "clickhouse": "set CLICKHOUSE_URL, or give --to-clickhouse",
}


def restore(order: Order, hands: Hands) -> int:
    """Does what is asked, or with `order.plan` says what it would do. Gives the exit code.

    Raises BackupError when nothing was touched or all is as it was.
    """
    began = time.monotonic()
    if order.tables and order.swap:
        raise SettingsError(
            "--table and --swap do not go together", "restore the tables beside, and copy what is needed"
        )
    parts = _parts(order, hands)
    try:
        for part in parts:
            with _alone(part.engine, order, len(parts) > 1):
                part.prepare()
        for part in parts:
            for line in part.lines():
                hands.say(line)
        problems = [problem for part in parts for problem in part.problems]
        for line in refusal_lines(problems):
            hands.say(line)
        if order.plan:
            hands.say("nothing was changed: this is the plan" if not problems else "nothing was changed")
            return 1 if problems else 0
        if problems:
            raise problems[0]
        _agree(parts, hands)
        errors = _bring_in(parts, hands, swap=order.swap)
        _record(parts, hands)
        for part in parts:
            for line in part.report():
                hands.say(line)
    finally:
        for part in parts:
            part.close()
    for error in errors:
        hands.say(f"FAILED: {error}")
    hands.say(f"{'failed' if errors else 'done'} after {duration(time.monotonic() - began)}")
    return 1 if errors else 0


def _parts(order: Order, hands: Hands) -> list[Part]:
    """The engines that have something to bring back and a server to bring it to."""
    parts: list[Part] = []
    selections = {
        engine: select(hands.catalog, order.point, engine) for engine in ENGINES if order.only in (None, engine)
    }
    for selection in selections.values():
        for note in selection.notes:
            hands.say(note)
    if not any(found.databases for found in selections.values()):
        raise hands.catalog.nothing(f" with a good dump of {order.only or 'any database'}")
    names = _names(order.databases, [one.artifact.name for found in selections.values() for one in found.databases])
    for engine, selection in selections.items():
        there = {one.artifact.name for one in selection.databases}
        mine = None if names is None else {name: to for name, to in names.items() if name in there}
        if not there or mine == {}:
            continue
        with _alone(engine, order, any(one.databases for name, one in selections.items() if name != engine)):
            part = _part(engine, selection, mine, order, hands)
        if part is not None:
            parts.append(part)
    if not parts:
        wanted = "; ".join(NAMED[engine] for engine, found in selections.items() if found.databases)
        raise SettingsError("no server is named to restore to", wanted)
    if order.tables and (len(parts) > 1 or parts[0].count != 1):
        raise SettingsError("--table needs one database", "name it with --database, and --only if both engines have it")
    return parts


@contextlib.contextmanager
def _alone(engine: Engine, order: Order, other: bool) -> Iterator[None]:
    """Where the other engine has something to bring back: what is in this one's way need not be in the other's."""
    try:
        yield
    except BackupError as error:
        if order.only is None and other:
            alone = next(one for one in ENGINES if one != engine)
            error.remedy += f"; or restore the other alone: --only {alone}"
        raise


def _part(
    engine: Engine, selection: Selection, names: Mapping[str, str | None] | None, order: Order, hands: Hands
) -> Part | None:
    part: Part | None = None
    if engine == "clickhouse":
        part = hands.clickhouse(selection, names, order, hands)
    elif hands.postgres is not None:
        part = PostgresPart(selection, names, order, hands)
    if part is None:
        found = ", ".join(one.artifact.name for one in selection.databases)
        hands.say(f"NOT restored: {engine} ({found}), since no server is named: {NAMED[engine]}")
    return part


def _names(asked: Sequence[str], known: Sequence[str]) -> dict[str, str | None] | None:
    """SRC and SRC=DST, by SRC; a database may have "=" in its own name. Raises SettingsError."""
    if not asked:
        return None
    names: dict[str, str | None] = {}
    for one in asked:
        source, separator, wanted = one.rpartition("=")
        if one in known:
            names[one] = None
        elif separator and source in known and wanted:
            names[source] = wanted
        else:
            raise SettingsError(
                f'--database {one}: the restore point has no whole dump of "{source or one}"',
                f"it has: {', '.join(dict.fromkeys(known)) or 'none'}",
            )
    return names


def _agree(parts: Sequence[Part], hands: Hands) -> None:
    cuts = "; ".join(filter(None, (part.cuts() for part in parts)))
    if cuts and not hands.agree(cuts):
        raise TargetError("nothing was touched", "run it again with --yes, or answer yes, when that is wanted")


def _bring_in(parts: Sequence[Part], hands: Hands, *, swap: bool) -> list[BackupError]:
    """Restores each part, then finishes all. With `swap`, none is finished when one has failed; without, each stands
    for itself. Gives what failed."""
    good: list[Part] = []
    errors: list[BackupError] = []
    for part in parts:
        try:
            part.restore()
        except StoppedError:
            for one in good:
                one.drop()
            raise
        except BackupError as error:
            errors.append(error)
        else:
            good.append(part)
    if errors and swap:
        for part in good:
            part.leave()
        return errors
    done: list[Part] = []
    for part in good:
        try:
            part.finish()
        except BackupError as error:
            errors.append(error)
            if swap:
                _undo(done, errors, hands)
                break
        else:
            done.append(part)
    return errors


def _undo(done: Sequence[Part], errors: list[BackupError], hands: Hands) -> None:
    for part in done:
        try:
            part.undo()
        except BackupError as error:
            errors.append(error)
        else:
            hands.say(f"{part.engine}: the exchange was undone, the live data are as they were")


def _record(parts: Sequence[Part], hands: Hands) -> None:
    """Writes beside the points what this restore has proven. Where the store takes no writes, it only says so."""
    found: dict[str, dict[str, Proof]] = {}
    points: dict[str, Point] = {}
    try:
        for part in parts:
            for point, label, proof in part.proofs():
                points[point.id] = point
                found.setdefault(point.id, {})[label] = proof
        for name, proofs in found.items():
            record(hands.catalog.storage, points[name], proofs)
    except StoreError as error:
        hands.say(f"that this was restored is not written beside the restore point: {error.what}")
