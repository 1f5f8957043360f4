"""What a restore that died left on the server, told by its mark, and what to do with it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime

from backup.layout import begun_at
from backup.postgres.database import Database
from backup.postgres.target import Target, fit_name

WORK = re.compile(r"_restoring_[0-9a-f]{6}$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """A database that no live restore works on: to be dropped, or, with `rename`, complete and only badly named."""

    name: str
    rename: str
    says: str


def leftovers(target: Target, databases: dict[str, Database]) -> Iterator[Leftover]:
    """Every one there is."""
    for database in databases.values():
        if not WORK.search(database.name) or not database.allows:
            continue
        mark = database.mark
        if mark is None:
            if not target.what_is_in(database.name):
                yield _drop(database, "a restore died when it had just made it, and it is empty")
        elif target.alive(mark):
            continue
        elif mark.state == "restored":
            name = dated(mark.database, begun_at(mark.point), databases)
            says = (
                f'"{database.name}" holds all of {mark.database} as of {mark.point}: its restore died before it could '
                f'exchange it, and the live database was not touched; it is kept as "{name}"'
            )
            yield Leftover(name=database.name, rename=name, says=says)
        else:
            yield _drop(database, f"the restore of {mark.database} as of {mark.point} died in its middle")


def under_way(target: Target, databases: dict[str, Database]) -> Iterator[str]:
    """What other restores are doing on the server now."""
    for database in databases.values():
        mark = database.mark
        if mark is not None and WORK.search(database.name) and mark.pid != target.pid and target.alive(mark):
            yield f'another restore of {mark.database}, as of {mark.point}, is at work now in "{database.name}"'


def mend(target: Target, found: list[Leftover]) -> None:
    """Drops and renames them. Raises TargetError."""
    for one in found:
        if not one.rename:
            target.drop(one.name)
            continue
        target.end_sessions([one.name])
        target.rename(one.name, one.rename)
        mark = target.databases()[one.rename].mark
        target.mark(one.rename, replace(mark, pid=0, since="") if mark else None)


def dated(name: str, moment: datetime, taken: dict[str, Database], word: str = "restored") -> str:
    """A free name beside `name` that tells of when it is: `litellm_restored_20261121`, then `…_2`."""
    number = 1
    while True:
        again = f"_{number}" if number > 1 else ""
        found = fit_name(name, f"_{word}_{moment:%Y%m%d}{again}")
        if found not in taken:
            return found
        number += 1


def _drop(database: Database, why: str) -> Leftover:
    return Leftover(name=database.name, rename="", says=f'"{database.name}" is dropped: {why}')
