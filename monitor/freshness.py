"""How the backups are, judged from the restore points in the store. Pure.

Nothing is asked of the process that makes them: a backup that is not in the store does not exist.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from backup.layout import left_aside
from backup.manifest import EVERYTHING
from backup.proof import DAMAGED

SHRUNKEN = 0.5  # of the size before: less than that and something is missing that nobody removed on purpose
LATE_SHARE = 0.25  # of the schedule's period: how much later than due a backup may be before it counts as late
LATE_LEAST = 1800.0  # seconds, for schedules so short that a quarter of them is nothing
OVERDUE_PERIODS = 2.0  # periods without a good backup, beyond which it is down, not degraded
RECENT = 3  # good points that say what a usual size and a usual duration are
MOST_NAMED = 5

Grade = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One restore point as `python -m backup list --json` tells it. Times are seconds, sizes bytes; `seconds` is how
    long its run took. `sizes`: each whole database's label → bytes before compression."""

    id: str
    age_seconds: float
    stored_bytes: int
    whole: tuple[str, ...]
    failed: tuple[str, ...]
    proof: str
    problem: str
    seconds: float = 0.0
    sizes: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "Row":
        """A row from its JSON. Raises KeyError or ValueError when it is not one."""
        return cls(
            id=str(document["id"]),
            age_seconds=float(document["age_seconds"]),
            stored_bytes=int(document["stored_bytes"]),
            whole=tuple(map(str, document["whole"])),
            failed=tuple(map(str, document["failed"])),
            proof=str(document["proof"]),
            problem=str(document["problem"]),
            seconds=float(document["seconds"]),
            sizes={str(label): int(size) for label, size in document["sizes"].items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRun:
    """The daemon's newest run, where it ended with nothing in the store. `age_seconds` is since its start; `full`: the
    store had no room."""

    age_seconds: float
    error: str
    full: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """What the points prove.

    `sign` is fresh, none, full, overdue, late, run, failed, missing, damaged, shrunken or space; `text` is one line.
    """

    grade: Grade
    sign: str
    text: str


def judge_points(
    rows: Sequence[Row],
    *,
    period: float,
    max_bytes: int = 0,
    engines: Collection[str] = (),
    failed_run: FailedRun | None = None,
) -> Freshness:
    """Given the points of our own source, newest first, says how the backups are.

    `period` is the schedule's, seconds. Each engine is judged by the newest run that backed it up and each database by
    its own newest good artifact, so that one engine that fails for days is told although the other is fresh, and a run
    of one engine alone says nothing of the other. `engines` are those that are backed up now, where that is known: one
    that no longer is grows old and is not missed. `max_bytes` is what all of them may take up with the next one; 0: no
    bound. `failed_run` is told until a newer point is there.
    """
    good = [row for row in rows if row.whole and not row.problem]
    run = None if failed_run is None or any(row.age_seconds < failed_run.age_seconds for row in good) else failed_run
    if run and run.full:
        return Freshness(grade="fail", sign="full", text=run.error)
    if not good:
        why = f"; the newest run failed: {run.error}" if run else ""
        return Freshness(grade="fail", sign="none", text=f"there is no good restore point in the store{why}")
    judged = [engine for engine in _engines(rows) if engine in engines or not engines]
    findings = (
        _stale(judged, rows, good, period),
        Freshness(grade="warn", sign="run", text=run.error) if run else None,
        _incomplete(judged, rows),
        _damaged(rows, good),
        _shrunken(good),
        _space(rows, max_bytes),
    )
    first = next((found for found in findings if found), None)
    points = "1 good restore point," if len(good) == 1 else f"{len(good)} good restore points, the newest"
    text = f"{points} {hours(good[0].age_seconds)} old"
    return first or Freshness(grade="pass", sign="fresh", text=text)


def usual_seconds(good: Sequence[Row]) -> float:
    """How long a run usually takes: the longest of the last few, since a backup is dated by its start and seen by its
    end."""
    return max((row.seconds for row in good[:RECENT]), default=0.0)


def _stale(engines: Sequence[str], rows: Sequence[Row], good: Sequence[Row], period: float) -> Freshness | None:
    """A database without a good backup, or whose newest is too old."""
    newest: dict[str, Row] = {}
    for row in good:
        for label in row.whole:
            newest.setdefault(label, row)
    wanted = {label for engine in engines for label in _known(engine, rows)}
    if never := sorted(wanted - set(newest)):
        return Freshness(grade="fail", sign="failed", text=f"there is no good backup of {_names(never)}")
    ages = {label: newest[label].age_seconds for label in wanted}
    slack = max(LATE_LEAST, LATE_SHARE * period) + usual_seconds(good)
    for grade, sign, allowed in (("fail", "overdue", OVERDUE_PERIODS * period), ("warn", "late", period)):
        if old := sorted(label for label, age in ages.items() if age > allowed + slack):
            text = f"the newest good backup of {_names(old)} is {hours(max(ages[label] for label in old))} old"
            return Freshness(grade="fail" if grade == "fail" else "warn", sign=sign, text=text)
    return None


def _incomplete(engines: Sequence[str], rows: Sequence[Row]) -> Freshness | None:
    """What the newest run of each engine failed for, or no longer has."""
    runs = {engine: _runs(engine, rows) for engine in engines}
    if failed := [label for engine, found in runs.items() for label in found[0].failed if _of(engine, label)]:
        return Freshness(grade="warn", sign="failed", text=f"the newest run failed for {_names(sorted(failed))}")
    gone = [
        label
        for engine, found in runs.items()
        if len(found) > 1
        for label in _known(engine, found[1:])
        if label not in found[0].whole and not left_aside(label)
    ]
    if gone:
        text = f"{_names(sorted(gone))}: in the backup before, not in the newest"
        return Freshness(grade="warn", sign="missing", text=text)
    return None


def _damaged(rows: Sequence[Row], good: Sequence[Row]) -> Freshness | None:
    """A newest one that cannot be read, or of which `verify` found that it is not what was written."""
    if rows[0].problem:
        return Freshness(grade="warn", sign="damaged", text=f"restore point {rows[0].id}: {rows[0].problem}")
    if good[0].proof != DAMAGED:
        return None
    text = f"the newest good restore point is damaged: {good[0].id} is not what was written"
    return Freshness(grade="warn", sign="damaged", text=text)


def _shrunken(good: Sequence[Row]) -> Freshness | None:
    """A database that the newest good point holds, against the points before that hold it too: one that was emptied
    beside large ones does not show in their sum."""
    found = []
    for label, now in good[0].sizes.items():
        before = [row.sizes[label] for row in good[1:] if label in row.sizes][:RECENT]
        if before and now < SHRUNKEN * min(before):
            found.append((label, now, min(before)))
    if not found:
        return None
    label, now, least = min(found, key=lambda one: (one[1] - one[2], one[0]))
    more = f"; {len(found) - 1} more shrank too" if len(found) > 1 else ""
    text = f"the newest backup of {_names([label])} holds {now} bytes, those before it at least {least}{more}"
    return Freshness(grade="warn", sign="shrunken", text=text)


def _space(rows: Sequence[Row], max_bytes: int) -> Freshness | None:
    taken, more = sum(row.stored_bytes for row in rows), max((row.stored_bytes for row in rows[:RECENT]), default=0)
    if not max_bytes or taken + more <= max_bytes:
        return None
    text = f"the next backup would bring them to about {taken + more} bytes, BACKUP_MAX_BYTES is {max_bytes}"
    return Freshness(grade="warn", sign="space", text=text)


def _engines(rows: Sequence[Row]) -> list[str]:
    return sorted({label.partition("/")[0] for row in rows for label in (*row.whole, *row.failed)})


def _runs(engine: str, rows: Sequence[Row]) -> list[Row]:
    """The points whose run backed this engine up, or tried to."""
    return [row for row in rows if any(_of(engine, label) for label in (*row.whole, *row.failed))]


def _known(engine: str, rows: Sequence[Row]) -> list[str]:
    """What there is to back up of an engine, as its newest run knew that came as far as looking."""
    everything = f"{engine}/database/{EVERYTHING}"
    looked = [row for row in _runs(engine, rows) if everything not in row.failed]
    if not looked:
        return [everything]
    return [label for label in (*looked[0].whole, *looked[0].failed) if _of(engine, label)]


def _of(engine: str, label: str) -> bool:
    return label.partition("/")[0] == engine


def hours(seconds: float) -> str:
    """An age as people say it."""
    if seconds < 2 * 3600:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.0f} h" if seconds < 72 * 3600 else f"{seconds / 86_400:.0f} days"


def _names(labels: Sequence[str]) -> str:
    """Labels as people read them, cut where there are many: postgres/database/litellm → litellm (postgres)."""
    parts = [
        label.replace(f"/database/{EVERYTHING}", "/database/all of it").split("/", 2) for label in labels[:MOST_NAMED]
    ]
    shown = [f"{part[-1]} ({part[0]})" if len(part) > 1 else part[0] for part in parts]
    return ", ".join(shown) + (f" and {len(labels) - MOST_NAMED} more" if len(labels) > MOST_NAMED else "")
