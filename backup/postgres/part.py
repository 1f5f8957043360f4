"""PostgreSQL's share of a restore, for people: what it is going to do, what it needs leave for, what it did."""

from collections.abc import Iterator, Mapping, Sequence

from backup.catalog import Point
from backup.errors import BackupError
from backup.manifest import Engine, rfc3339
from backup.part import Hands, Order
from backup.plan import duration, postgres_lines
from backup.postgres.fill import Restored
from backup.postgres.restore import PostgresRestore, Wish
from backup.proof import Proof
from backup.selection import Selection
from backup.swap import commands


class PostgresPart:
    """PostgreSQL's share; see `backup.part.Part`."""

    engine: Engine = "postgres"

    def __init__(
        self, selection: Selection, names: Mapping[str, str | None] | None, order: Order, hands: Hands
    ) -> None:
        if hands.postgres is None:
            raise AssertionError("a part is made for a server")
        self.count = len(selection.databases if names is None else names)
        self._hands = hands
        self._order = order
        self._done: list[Restored] = []
        wish = Wish(
            names=names,
            tables=order.tables,
            swap=order.swap,
            all_roles=order.roles,
            clients=hands.clients,
        )
        self._restore = PostgresRestore(
            hands.catalog,
            selection.databases,
            identities=hands.identities,
            login=hands.postgres,
            wish=wish,
            listener=hands.listener,
            stop=hands.stop,
        )

    @property
    def problems(self) -> Sequence[BackupError]:
        """What would make it fail."""
        return self._restore.problems

    def prepare(self) -> None:
        """Opens the dumps and looks at the server."""
        self._restore.prepare()

    def lines(self) -> Iterator[str]:
        """The plan."""
        return postgres_lines(self._restore, self._hands.environ)

    def cuts(self) -> str:
        """Sessions, live databases and passwords."""
        found = []
        if swapped := [item.name for item in self._restore.items if item.way == "swap"]:
            found.append(f"exchange the live PostgreSQL databases {', '.join(swapped)}")
        if sessions := sum(session.count for session in self._restore.sessions()):
            found.append(f"end {sessions} sessions")
        if self._order.roles:
            found.append("overwrite roles and their passwords with those of the restore point")
        return " and ".join(found)

    def restore(self) -> None:
        """Brings every database in."""
        self._done = self._restore.restore()

    def finish(self) -> None:
        """Names and exchanges."""
        self._restore.finish(self._done)

    def leave(self) -> None:
        """Beside what is live."""
        self._restore.leave(self._done)

    def drop(self) -> None:
        """Nothing is left of it."""
        self._restore.drop(self._done)

    def undo(self) -> None:
        """The live databases get their names back."""
        self._restore.undo(self._done)

    def report(self) -> Iterator[str]:
        """Where each is."""
        for one in self._done:
            name = one.item.dump.name
            how = f" by {one.loaded.jobs} connections" if one.loaded and one.loaded.jobs > 1 else ""
            yield f'"{name}" is back as "{one.database}": {one.compared}, in {duration(one.seconds)}{how}'
            if one.kept:
                yield f'  the data it replaced are kept as "{one.kept}"; drop that database when all is well'
            yield from (f"  {note}" for note in one.notes)
        if back := commands(self._restore.exchanges):
            yield "to take the exchange back, with the application stopped, run in the database postgres:"
            yield from (f"  {line}" for line in back)

    def proofs(self) -> Iterator[tuple[Point, str, Proof]]:
        """Every database that was loaded whole: each byte of its dump was checked, and its rows were counted."""
        for one in self._done:
            if one.loaded is None or one.item.dump.tables is not None:
                continue
            chosen = one.item.dump.chosen
            says = f"on PostgreSQL {self._restore.version}: {one.compared}"
            at = rfc3339(self._hands.catalog.storage.now())
            size = chosen.artifact.stored_bytes
            proof = Proof(level="restored", at=at, says=says, bytes=size, seconds=round(one.seconds, 3))
            yield chosen.point, chosen.artifact.label, proof

    def close(self) -> None:
        """Lets go of the server."""
        self._restore.close()
