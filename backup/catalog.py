"""The restore points of a source, as their manifests in the store tell."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from backup import manifest
from backup.errors import ArchiveError
from backup.layout import DELETING, begun_at, is_point, point_prefix, source_prefix
from backup.manifest import MANIFEST, PROOF, Artifact, Manifest
from backup.storage.base import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A restore point: its manifest, or why that cannot be read (then `manifest` is None)."""

    id: str
    source: str
    manifest: Manifest | None = None
    problem: str = ""

    @property
    def begun_at(self) -> datetime:
        """When its run began."""
        return begun_at(self.id)

    @property
    def prefix(self) -> str:
        """What the keys of its objects begin with."""
        return point_prefix(self.source, self.id)

    def whole(self) -> tuple[Artifact, ...]:
        """Its good artifacts."""
        return self.manifest.whole() if self.manifest else ()


class Catalog:
    """The restore points of one source."""

    def __init__(self, storage: Storage, source: str) -> None:
        self.storage = storage
        self.source = source
        source_prefix(source)

    def points(self) -> list[Point]:
        """Every point that has a manifest and is not being deleted, the newest first, the unreadable ones named."""
        return list(self.each())

    def each(self) -> Iterator[Point]:
        """The same, each read when it is its turn."""
        for name in self.names():
            if (point := self._point(name)) is not None:
                yield point

    def latest(self, label: str | None = None) -> Point | None:
        """The newest point with a whole artifact, of that label where one is given; None when there is none."""
        for name in self.names():
            point = self._point(name)
            if point and any(label in (None, artifact.label) for artifact in point.whole()):
                return point
        return None

    def load(self, name: str) -> Point:
        """The point `name`, or for "latest" the newest with anything whole. Raises ArchiveError when there is none."""
        if name == "latest":
            point = self.latest()
            if point is None:
                raise self.nothing()
            return point
        point = self._point(name) if is_point(name) else None
        if point is None:
            raise ArchiveError(
                f"there is no restore point {name} of {self.source}", "see which there are: python -m backup list"
            )
        if point.manifest is None:
            raise ArchiveError(f"restore point {name} cannot be used: {point.problem}", "take another one")
        return point

    def nothing(self, having: str = "") -> ArchiveError:
        """That there is no restore point (`having` something), which cannot be read, and where to look instead."""
        unread = "".join(f"; {point.id}: {point.problem}" for point in self.each() if point.problem)
        return ArchiveError(
            f"there is no restore point of {self.source} at {self.storage.address}{having}{unread}",
            f"{elsewhere(self.storage, self.source)}check BACKUP_SOURCE, BACKUP_BUCKET and BACKUP_PREFIX, "
            "and see what there is: python -m backup list; or take one: python -m backup run",
        )

    def names(self) -> list[str]:
        """The names of all points, finished or not, the newest first."""
        return sorted(filter(is_point, self.storage.folders(source_prefix(self.source))), reverse=True)

    def unfinished(self) -> list[str]:
        """The names of points without a manifest, or marked as being deleted: live runs, and what dead ones left."""
        return [name for name in self.names() if self._unfinished(name)]

    def proof(self, name: str) -> dict[str, object]:
        """What `verify` or a drill wrote about a point; empty when nothing is known or it cannot be read."""
        try:
            document = json.loads(self.storage.get(point_prefix(self.source, name) + PROOF))
        except (KeyError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    def _unfinished(self, name: str) -> bool:
        prefix = point_prefix(self.source, name)
        if self.storage.stat(prefix + DELETING) is not None:
            return True
        if self.storage.stat(prefix + MANIFEST) is not None:
            return False
        # SeaweedFS shows a folder for some time after its last object has gone.
        return next(iter(self.storage.list(prefix)), None) is not None

    def _point(self, name: str) -> Point | None:
        """None when it has no manifest or is being deleted."""
        prefix = point_prefix(self.source, name)
        try:
            data = self.storage.get(prefix + MANIFEST)
        except KeyError:
            return None
        if self.storage.stat(prefix + DELETING) is not None:
            return None
        try:
            read = self._read(name, data)
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            return Point(id=name, source=self.source, problem=f"its manifest cannot be read: {error}")
        return Point(id=name, source=self.source, manifest=read)

    def _read(self, name: str, data: bytes) -> Manifest:
        read = manifest.load(data)
        if read.id != name or read.source != self.source:
            raise ValueError("it is of another point")
        read_times(read)
        return read


def read_times(read: Manifest) -> tuple[datetime, datetime]:
    """When a manifest's run began and ended. Raises ValueError for what is no time with its zone."""
    began, ended = datetime.fromisoformat(read.created_at), datetime.fromisoformat(read.ended_at)
    if began.tzinfo is None or ended.tzinfo is None:
        raise ValueError("its times have no zone")
    return began, ended


def elsewhere(storage: Storage, source: str) -> str:
    """Whose points the store has, for people who look for those of `source` and find none; "" when nobody's."""
    others = [name for name in sources(storage) if name != source]
    return f"it has those of {', '.join(others)}: set BACKUP_SOURCE, or give --source; " if others else ""


def sources(storage: Storage) -> Iterator[str]:
    """The names of every source that has anything in the store."""
    for name in storage.folders(""):
        try:
            source_prefix(name)
        except ValueError:
            continue
        yield name
