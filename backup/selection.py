"""Which artifacts a restore takes: of one point, or, for "latest", of each database the newest that is whole."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from backup.catalog import Catalog, Point
from backup.layout import left_aside
from backup.manifest import EVERYTHING, Artifact, Engine
from backup.proof import without_damaged


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """One artifact, and the point it is of."""

    point: Point
    artifact: Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What there is to restore of one engine; `notes` say what is older than the newest point, or missing."""

    databases: tuple[Chosen, ...]
    notes: tuple[str, ...] = ()


def select(catalog: Catalog, name: str, engine: Engine) -> Selection:
    """The databases of `engine` in the point `name`. Raises ArchiveError when there is no such point.

    "latest" is judged database by database: one whose dump failed in the newest point comes from the newest point in
    which it is whole, and so does one that `verify` found damaged. A database that the newest point no longer knows
    does not come back; that it was there is noted.
    """
    if name != "latest":
        point = catalog.load(name)
        chosen = [Chosen(point=point, artifact=one) for one in point.whole() if _is_database(one, engine)]
        failed = [one for one in _artifacts(point, engine) if one.status != "whole"]
        notes = [f"{one.label} is not in this point, its dump failed: {one.error}" for one in failed]
        return Selection(databases=tuple(chosen), notes=tuple(notes))
    return _latest(catalog, engine)


def newest_roles(catalog: Catalog, point: Point) -> Chosen | None:
    """The roles of `point`, else of the newest point that has them whole; None when none has."""
    for one in chain([point], catalog.each()):
        for artifact in one.whole():
            if artifact.engine == "postgres" and artifact.kind == "globals":
                return Chosen(point=one, artifact=artifact)
    return None


def _latest(catalog: Catalog, engine: Engine) -> Selection:
    found: dict[str, Chosen] = {}
    notes: list[str] = []
    wanted: list[str] | None = None
    newest, compared = "", False
    for each in catalog.each():
        point = without_damaged(catalog, each)
        if point.manifest is None and wanted is None:
            notes.append(f"NOT the newest point: {point.id} cannot be used, {point.problem}")
        artifacts = _artifacts(point, engine)
        if artifacts and artifacts[0].name == EVERYTHING:
            if wanted is None:
                notes.append(f"in {point.id} all of {engine} failed: {artifacts[0].error}")
            continue
        if wanted is not None and artifacts and not compared:
            compared = True
            notes += _gone(wanted, artifacts, newest, point)
        if wanted is None and artifacts:
            newest = point.id
            wanted = [one.name for one in artifacts]
            notes += [f"{one.label} failed in {point.id}: {one.error}" for one in artifacts if one.status != "whole"]
        for one in artifacts:
            if one.status == "whole" and one.name in (wanted or ()) and one.name not in found:
                found[one.name] = Chosen(point=point, artifact=one)
                if len(notes) and any(one.label in note for note in notes):
                    notes.append(f"{one.label} comes from {point.id}, the newest point in which it is whole")
        if wanted is not None and compared and len(found) == len(wanted):
            break
    missing = [name for name in wanted or () if name not in found]
    notes += [f"there is no good dump of {engine}/database/{name} in any point" for name in missing]
    return Selection(databases=tuple(found[name] for name in wanted or () if name in found), notes=tuple(notes))


def _gone(wanted: Sequence[str], before: Sequence[Artifact], newest: str, point: Point) -> Iterator[str]:
    """What was in the point before the newest and is not in that: dropped on purpose, or what the restore is for."""
    names = [one.name for one in before if one.status == "whole" and one.name not in wanted]
    names = [name for name in names if left_aside(name) is None]
    if names:
        databases = " ".join(f"--database {shlex.quote(name)}" for name in names)
        yield (
            f"not in {newest}, the newest point, but in {point.id} before it: {', '.join(names)}; to bring that back: "
            f"python -m backup restore {point.id} --only {before[0].engine} {databases}"
        )


def _artifacts(point: Point, engine: Engine) -> list[Artifact]:
    return [one for one in (point.manifest.artifacts if point.manifest else ()) if _is_database(one, engine)]


def _is_database(artifact: Artifact, engine: Engine) -> bool:
    return artifact.engine == engine and artifact.kind == "database"
