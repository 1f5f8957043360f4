"""How the backups are, judged from the restore points in the store. Pure.

Nothing is asked of the process that makes them: a backup that is not in the store does not exist.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

SHRUNKEN = 0.5  # of the size before: less than that and something is missing that nobody removed on purpose
LATE_SHARE = 0.25  # of the schedule's period: how much later than due a backup may be before it counts as late
LATE_LEAST = 1800.0  # seconds, for schedules so short that a quarter of them is nothing
OVERDUE_PERIODS = 2.0  # periods without a good backup, beyond which it is down, not degraded
RECENT = 3  # good points that say which databases there are, and what a usual size is
MOST_NAMED = 5

Grade = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One restore point as `python -m backup list --json` tells it. Times are seconds, sizes bytes."""

    id: str
    age_seconds: float
    stored_bytes: int
    plain_bytes: int
    whole: tuple[str, ...]
    failed: tuple[str, ...]
    proof: str
    problem: str

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "Row":
        """A row from its JSON. Raises KeyError or ValueError when it is not one."""
        return cls(
            id=str(document["id"]),
            age_seconds=float(document["age_seconds"]),
            stored_bytes=int(document["stored_bytes"]),
            plain_bytes=int(document["plain_bytes"]),
            whole=tuple(map(str, document["whole"])),
            failed=tuple(map(str, document["failed"])),
            proof=str(document["proof"]),
            problem=str(document["problem"]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """What the points prove.

    `sign` is fresh, none, overdue, late, failed, missing, shrunken or space; `text` is one line.
    """

    grade: Grade
    sign: str
    text: str


def judge_points(  # noqa: PLR0911 -- one return a finding, the worst first
    rows: Sequence[Row], *, period: float, last_run_seconds: float = 0.0, max_bytes: int = 0
) -> Freshness:
    """Given the points of our own source, newest first, says how the backups are.

    `period` is the schedule's, seconds; `last_run_seconds` how long a run usually takes: a backup is dated by its start
    and seen by its end. Each database is judged by its own newest good artifact, so that one engine that fails for days
    is told although the other is fresh. `max_bytes` is what all of them may take up with the next one; 0: no bound.
    """
    good = [row for row in rows if row.whole and not row.problem]
    if not good:
        return Freshness(grade="fail", sign="none", text="there is no good restore point in the store")
    newest: dict[str, Row] = {}
    for row in good:
        for label in row.whole:
            newest.setdefault(label, row)
    wanted = {label for row in good[:RECENT] for label in row.whole} | {
        label for row in rows[:1] for label in row.failed
    }
    if never := sorted(wanted - set(newest)):
        return Freshness(grade="fail", sign="failed", text=f"there is no good backup of {_names(never)}")
    ages = {label: newest[label].age_seconds for label in wanted}
    slack = max(LATE_LEAST, LATE_SHARE * period) + last_run_seconds
    for grade, sign, allowed in (("fail", "overdue", OVERDUE_PERIODS * period), ("warn", "late", period)):
        if old := sorted(label for label, age in ages.items() if age > allowed + slack):
            text = f"the newest good backup of {_names(old)} is {hours(max(ages[label] for label in old))} old"
            return Freshness(grade="fail" if grade == "fail" else "warn", sign=sign, text=text)
    if rows[0].failed:
        return Freshness(grade="warn", sign="failed", text=f"the newest run failed for {_names(rows[0].failed)}")
    if gone := sorted(set(good[1].whole if len(good) > 1 else ()) - set(good[0].whole)):
        text = f"{_names(gone)}: in the backup before, not in the newest"
        return Freshness(grade="warn", sign="missing", text=text)
    before = [row.plain_bytes or row.stored_bytes for row in good[1 : RECENT + 1]]
    now = good[0].plain_bytes or good[0].stored_bytes
    if before and now < SHRUNKEN * min(before):
        text = f"the newest backup holds {now} bytes, the {len(before)} before it at least {min(before)}"
        return Freshness(grade="warn", sign="shrunken", text=text)
    taken, more = sum(row.stored_bytes for row in rows), good[0].stored_bytes
    if max_bytes and taken + more > max_bytes:
        text = f"the next backup would bring them to about {taken + more} bytes, BACKUP_MAX_BYTES is {max_bytes}"
        return Freshness(grade="warn", sign="space", text=text)
    text = f"{len(good)} good restore points, the newest {hours(good[0].age_seconds)} old"
    return Freshness(grade="pass", sign="fresh", text=text)


def hours(seconds: float) -> str:
    """An age as people say it."""
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 72 * 3600 else f"{seconds / 86_400:.0f} days"


def _names(labels: Sequence[str]) -> str:
    """Labels as people read them, cut where there are many: postgres/database/litellm → litellm (postgres)."""
    parts = [label.split("/", 2) for label in labels[:MOST_NAMED]]
    shown = [f"{part[-1]} ({part[0]})" if len(part) > 1 else part[0] for part in parts]
    return ", ".join(shown) + (f" and {len(labels) - MOST_NAMED} more" if len(labels) > MOST_NAMED else "")
