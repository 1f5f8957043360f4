"""ClickHouse's share of a restore, for people: what it is going to do, what it needs leave for, what it did."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from backup.catalog import Point
from backup.clickhouse.client import Server
from backup.clickhouse.look import databases, tables
from backup.clickhouse.native import Seen
from backup.clickhouse.place import Place
from backup.clickhouse.restore import Restored, Restorer, is_there, refuse_older, space
from backup.clickhouse.swap import Exchange, Swapped, swap_all
from backup.describe import size
from backup.errors import ArchiveError, BackupError, TargetError
from backup.layout import left_aside
from backup.manifest import Artifact, Engine, rfc3339
from backup.part import Hands, Order
from backup.plan import NATIVE_RATE, duration
from backup.progress import Progress
from backup.proof import Proof
from backup.selection import Chosen, Selection


@dataclass(slots=True, kw_only=True)
class Item:
    """One database: restored as `into` (`ready` when an earlier restore has done that); unless `kept` is "", exchanged
    with the live one, whose tables go there."""

    chosen: Chosen
    into: str
    kept: str = ""
    ready: bool = False
    restored: Restored | None = None
    swapped: Swapped | None = None

    @property
    def name(self) -> str:
        """The database it was made of."""
        return self.chosen.artifact.name


class ClickhousePart:
    """ClickHouse's share; see `backup.part.Part`."""

    engine: Engine = "clickhouse"

    def __init__(
        self,
        server: Server,
        place: Place,
        selection: Selection,
        names: Mapping[str, str | None] | None,
        order: Order,
        hands: Hands,
    ) -> None:
        self.problems: list[BackupError] = []
        self._server = server
        self._order = order
        self._hands = hands
        self._names = names or {}
        self._chosen = [one for one in selection.databases if names is None or one.artifact.name in names]
        self._items: list[Item] = []
        self._restorer = Restorer(server, place, hands.catalog.storage, stop=hands.stop, tell=self._tell)
        self._at = ""
        self._access: tuple[Point, Artifact] | None = None

    @property
    def count(self) -> int:
        """How many databases it is to bring back."""
        return len(self._chosen)

    def prepare(self) -> None:
        """Looks at the server and the store."""
        taken = set(databases(self._server))
        need = 0
        if self._order.roles:
            self._access = self._newest_access()
        for chosen in self._chosen:
            try:
                refuse_older(self._server, chosen.artifact)
                if not is_there(self._hands.catalog.storage, chosen.artifact, chosen.point.prefix):
                    raise ArchiveError(
                        f"{chosen.artifact.label}: the backup in the store is not whole", "use another point"
                    )
                self._items.append(self._placed(chosen, taken))
                bytes_needed, free = space(self._server, chosen.artifact)
                need += 0 if self._items[-1].ready else bytes_needed
                if need > free:
                    raise TargetError(
                        f"ClickHouse has {size(free)} free on its disks, and about {size(need)} are needed",
                        "free space there, or restore one database at a time: --database",
                    )
            except BackupError as error:
                self.problems.append(error)

    def lines(self) -> Iterator[str]:
        """The plan."""
        yield f"ClickHouse {self._server.version} at {self._server.address}"
        if self._access:
            yield f"users and roles of {self._access[0].id} that are missing are made; those that exist stay"
        elif self._order.roles:
            yield "no users and roles of ClickHouse are in the restore point: those of its configuration never are"
        total = 0
        for item in self._items:
            artifact = item.chosen.artifact
            need, free = space(self._server, artifact)
            total += 0 if item.ready else need
            how = f'comes back as "{item.into}"'
            if item.kept:
                first = "was restored before as" if item.ready else "is restored as"
                how = f'{first} "{item.into}" and is exchanged with the live "{item.name}", kept as "{item.kept}"'
            elif item.into != item.name and not self._names.get(item.name):
                how += ", beside the live database; --swap puts it in its place"
            yield f'"{item.name}" as of {item.chosen.point.id} {how}; it needs {size(need)}, {size(free)} are free'
        if total:
            yield f"time to expect: about {duration(total / NATIVE_RATE + 2)}"

    def cuts(self) -> str:
        """Live databases."""
        swapped = [item.name for item in self._items if item.kept]
        return f"exchange the tables of the live ClickHouse databases {', '.join(swapped)}" if swapped else ""

    def restore(self) -> None:
        """Brings every database in; the users before, whom views may name as their definers."""
        if self._access is not None:
            self._restore_access(*self._access)
        try:
            for item in self._items:
                self._at = item.name
                item.restored = self._bring_back(item)
        except BaseException:
            self.drop()
            raise

    def finish(self) -> None:
        """Exchanges tables, of all databases or of none."""
        moving = [item for item in self._items if item.kept and item.restored]
        try:
            with self._hands.firm:
                exchanges = [Exchange(self._server, item.chosen.artifact, item.into, item.kept) for item in moving]
                swapped = swap_all(exchanges, self._hands.stop)
        except BackupError:
            self._say_beside(moving)
            raise
        for item, one in zip(moving, swapped, strict=True):
            item.swapped = one

    def leave(self) -> None:
        """Beside what is live: there it is."""
        for item in self._items:
            item.kept = ""

    def _say_beside(self, items: Sequence[Item]) -> None:
        for item in items:
            self._hands.listener.note(f'the restored data are kept as the ClickHouse database "{item.into}"')

    def drop(self) -> None:
        """Nothing is left of it, where the database was made by us."""
        from backup.clickhouse.sql import name

        for item in self._items:
            if item.restored and item.restored.created:
                self._server.run(f"DROP DATABASE IF EXISTS {name(item.into)} SYNC", of="dropping what was restored")
                item.restored = None

    def undo(self) -> None:
        """Nothing: a failed exchange has taken itself back, and after ours comes no other engine's."""

    def report(self) -> Iterator[str]:
        """Where each is."""
        for item in self._items:
            if item.restored is None:
                continue
            where = item.name if item.swapped else item.into
            back = item.restored
            same = "every table's contents equal" if back.level == "equal" else "row counts compared"
            yield f'"{item.name}" is back as "{where}": {back.rows} rows, {same}, in {duration(back.seconds)}'
            yield from (f"  {note}" for note in back.notes)
            if item.swapped:
                yield f'  the tables it replaced are kept in "{item.kept}"; drop that database when all is well'
                yield from (f"  {note}" for note in item.swapped.notes)
                yield "  to take the exchange back, with all writers stopped, run in clickhouse-client:"
                yield from (f"    {line}" for line in item.swapped.back)

    def proofs(self) -> Iterator[tuple[Point, str, Proof]]:
        """Every database that was restored whole and compared without a doubt."""
        for item in self._items:
            back, artifact = item.restored, item.chosen.artifact
            if back is None or back.notes or self._order.tables:
                continue
            same = "every table's contents are equal" if back.level == "equal" else "row counts are equal"
            says = f"on ClickHouse {self._server.version}: {back.rows} rows, {same}"
            at, seconds = rfc3339(self._hands.catalog.storage.now()), round(back.seconds, 3)
            proof = Proof(level=back.level, at=at, says=says, bytes=artifact.stored_bytes, seconds=seconds)
            yield item.chosen.point, artifact.label, proof

    def close(self) -> None:
        """Lets go of the server."""
        self._server.close()

    def _newest_access(self) -> tuple[Point, Artifact] | None:
        """Of the points that databases come from, the newest that has users and roles."""
        points = {chosen.point.id: chosen.point for chosen in self._chosen}
        for _, point in sorted(points.items(), reverse=True):
            for artifact in point.whole():
                if artifact.engine == "clickhouse" and artifact.kind == "globals":
                    return point, artifact
        return None

    def _placed(self, chosen: Chosen, taken: set[str]) -> Item:
        """Under which names. Raises TargetError."""
        source, wanted = chosen.artifact.name, self._names.get(chosen.artifact.name)
        target = wanted or source
        full = target in taken and bool(tables(self._server, target))
        if not full:
            return Item(chosen=chosen, into=target)
        if wanted and wanted != source:
            raise TargetError(f'the ClickHouse database "{wanted}" is not empty', "name a new one: --database SRC=DST")
        day = f"{chosen.point.begun_at:%Y%m%d}"
        if not self._order.swap:
            return Item(chosen=chosen, into=_free(f"{source}_restored_{day}", taken))
        today = f"{self._hands.catalog.storage.now():%Y%m%d}"
        kept = _free(f"{source}_before_{today}", taken)
        for one in sorted(taken):
            if left_aside(one) == (source, "restored") and self._restorer.same(chosen.artifact, one):
                return Item(chosen=chosen, into=one, kept=kept, ready=True)
        return Item(chosen=chosen, into=_free(f"{source}_restored_{day}", taken), kept=kept)

    def _bring_back(self, item: Item) -> Restored:
        artifact = item.chosen.artifact
        if not item.ready:
            return self._restorer.database(artifact, item.chosen.point.prefix, item.into, only=self._order.tables)
        if (found := self._restorer.same(artifact, item.into)) is None:
            raise TargetError(f'"{item.into}" was changed a moment ago', "run again: it is then restored anew")
        return found

    def _restore_access(self, point: Point, artifact: Artifact) -> None:
        try:
            self._restorer.access(artifact, point.prefix)
        except BackupError as error:
            leave = "or leave out --globals: the databases come back without them"
            raise TargetError(f"ClickHouse's users and roles: {error.what}", f"{error.remedy}; {leave}") from None

    def _tell(self, seen: Seen) -> None:
        self._hands.listener.progress(
            Progress(
                engine="clickhouse",
                name=self._at,
                plain_bytes=seen.moved_bytes,
                expected_bytes=seen.total_bytes,
                table="restoring",
            )
        )


def _free(name: str, taken: set[str]) -> str:
    """`name`, or with a number; taken from now on."""
    found, number = name, 1
    while found in taken:
        number += 1
        found = f"{name}_{number}"
    taken.add(found)
    return found
