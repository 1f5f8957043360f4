"""Which artifacts a restore takes: of one point, or, for "latest", of each database the newest that is whole."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from backup.catalog import Catalog, Point
from backup.errors import ArchiveError
from backup.manifest import Artifact, Engine

EVERYTHING = "*"


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
    which it is whole, and a database that the newest point no longer knows does not come back.
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
    for one in (point, *_points(catalog)):
        for artifact in one.whole():
            if artifact.engine == "postgres" and artifact.kind == "globals":
                return Chosen(point=one, artifact=artifact)
    return None


def _latest(catalog: Catalog, engine: Engine) -> Selection:
    found: dict[str, Chosen] = {}
    notes: list[str] = []
    wanted: list[str] | None = None
    for point in _points(catalog):
        artifacts = _artifacts(point, engine)
        if wanted is None and artifacts:
            if artifacts[0].name == EVERYTHING:
                notes.append(f"in {point.id} all of {engine} failed: {artifacts[0].error}")
                continue
            wanted = [one.name for one in artifacts]
            notes += [f"{one.label} failed in {point.id}: {one.error}" for one in artifacts if one.status != "whole"]
        for one in artifacts:
            if one.status == "whole" and one.name in (wanted or ()) and one.name not in found:
                found[one.name] = Chosen(point=point, artifact=one)
                if len(notes) and any(one.label in note for note in notes):
                    notes.append(f"{one.label} comes from {point.id}, the newest point in which it is whole")
        if wanted is not None and len(found) == len(wanted):
            break
    missing = [name for name in wanted or () if name not in found]
    notes += [f"there is no good dump of {engine}/database/{name} in any point" for name in missing]
    return Selection(databases=tuple(found[name] for name in wanted or () if name in found), notes=tuple(notes))


def _points(catalog: Catalog) -> Iterator[Point]:
    """Every point that can be read, the newest first, each loaded when it is its turn."""
    for name in catalog.names():
        with contextlib.suppress(ArchiveError):
            yield catalog.load(name)


def _artifacts(point: Point, engine: Engine) -> list[Artifact]:
    return [one for one in (point.manifest.artifacts if point.manifest else ()) if _is_database(one, engine)]


def _is_database(artifact: Artifact, engine: Engine) -> bool:
    return artifact.engine == engine and artifact.kind == "database"
