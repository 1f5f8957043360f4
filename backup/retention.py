"""Which restore points may go, and why: pure, from their manifests and the store's time.

Judged for each label (engine, kind and name) by itself, good artifacts alone: a failed one neither counts nor keeps
anything. Ages are taken from the newest good artifact of the label, not from the clock: while nothing newer is good,
nothing ages, and a clock that jumps makes nothing old. A database that newer points of its engine do not mention at all
was dropped or is no longer wanted; it ages with its engine, down to the newest few.

A point is removed or kept as a whole, since its manifest vouches for all of it: it stays while any artifact is needed.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from backup.catalog import Point, read_times
from backup.manifest import Artifact
from config.backup_settings import RetentionSettings

# A hole in the row of points that is longer than this, or than four times the days to keep, may be a wrong clock.
JUMP = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactVerdict:
    """Whether one artifact needs its point, and why, in words."""

    label: str
    keep: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PointVerdict:
    """Whether a point stays, and why, in words."""

    point: str
    keep: bool
    reason: str
    artifacts: tuple[ArtifactVerdict, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A verdict on every point, the newest first. `standstill` says why nothing at all may be removed now, or is ""."""

    points: tuple[PointVerdict, ...]
    standstill: str = ""

    @property
    def removed(self) -> tuple[str, ...]:
        """The points to remove, the oldest first."""
        return tuple(verdict.point for verdict in reversed(self.points) if not verdict.keep)

    def of(self, point: str) -> PointVerdict:
        """The verdict on one point. Raises KeyError."""
        for verdict in self.points:
            if verdict.point == point:
                return verdict
        raise KeyError(point)


def decide(points: Sequence[Point], now: datetime, rules: RetentionSettings) -> Plan:
    """What retention does with `points`, all of one source, at the store's time `now`."""
    newest_first = sorted(points, key=lambda point: (point.begun_at, point.id), reverse=True)
    labels = {artifact.label for point in newest_first for artifact in _artifacts(point)}
    kept = {label: _kept(label, newest_first, rules) for label in labels}
    plan = Plan(points=tuple(_judge(point, kept, now, rules) for point in newest_first))
    standstill = _standstill(newest_first, now, rules)
    return stand_still(plan, standstill) if standstill else plan


def stand_still(plan: Plan, why: str) -> Plan:
    """The plan with nothing to remove, for `why`."""
    points = tuple(
        one if one.keep else replace(one, keep=True, reason=f"nothing is removed now: {why}") for one in plan.points
    )
    return Plan(points=points, standstill=why)


def _artifacts(point: Point) -> tuple[Artifact, ...]:
    return point.manifest.artifacts if point.manifest else ()


def _kept(label: str, points: Sequence[Point], rules: RetentionSettings) -> dict[str, str]:
    """Why each point that is needed for `label` is: point → reason."""
    good = [point for point in points if any(artifact.label == label for artifact in point.whole())]
    if not good:
        return {}
    kept: dict[str, str] = {}
    for name, count, period in (
        ("month", rules.monthly, lambda at: (at.year, at.month)),
        ("week", rules.weekly, lambda at: at.isocalendar()[:2]),
        ("day", rules.daily, lambda at: at.date()),
    ):
        for point in _newest_of_each(good, count, period):
            kept[point.id] = f"it is the newest good one of its {name}"
    reference = _reference(label, good[0], points)
    for point in good:
        if reference - point.begun_at < timedelta(days=rules.days):
            kept[point.id] = f"it is within {rules.days:g} days of the newest good one"
    for point in good[: rules.keep_min]:
        kept[point.id] = f"it is among the {rules.keep_min} newest good ones"
    kept[good[0].id] = "it is the newest good one"
    return kept


def _newest_of_each(good: Sequence[Point], count: int, period: Callable[[datetime], Hashable]) -> Sequence[Point]:
    """The newest point of each of the last `count` periods that have one."""
    newest: dict[Hashable, Point] = {}
    for point in good:
        newest.setdefault(period(point.begun_at), point)
    return list(newest.values())[:count]


def _reference(label: str, newest: Point, points: Sequence[Point]) -> datetime:
    """What ages of `label` are counted from: its newest good artifact, or if it is wanted no more its engine's."""
    engine = label.partition("/")[0]
    newer = [point for point in points if (point.begun_at, point.id) > (newest.begun_at, newest.id)]
    if any(artifact.label == label for point in newer for artifact in _artifacts(point)):
        return newest.begun_at
    of_engine = [point for point in newer if any(artifact.engine == engine for artifact in point.whole())]
    return of_engine[0].begun_at if of_engine else newest.begun_at


def _judge(point: Point, kept: dict[str, dict[str, str]], now: datetime, rules: RetentionSettings) -> PointVerdict:
    if point.manifest is None:
        return PointVerdict(point=point.id, keep=True, reason=f"it must be looked at by a person: {point.problem}")
    verdicts = []
    for artifact in point.manifest.artifacts:
        why = kept[artifact.label].get(point.id, "") if artifact.status == "whole" else ""
        otherwise = "newer good ones are enough" if artifact.status == "whole" else "it failed"
        verdicts.append(ArtifactVerdict(label=artifact.label, keep=bool(why), reason=why or otherwise))
    needed = [verdict for verdict in verdicts if verdict.keep]
    if needed:
        first = needed[0]
        more = f" (and {len(needed) - 1} more)" if len(needed) > 1 else ""
        reason = f"{first.label}{more}: {first.reason}"
    elif not point.whole() and now - point.begun_at < timedelta(days=rules.days):
        return PointVerdict(point=point.id, keep=True, reason="it shows what failed lately", artifacts=tuple(verdicts))
    else:
        reason = "no artifact in it is needed"
    return PointVerdict(point=point.id, keep=bool(needed), reason=reason, artifacts=tuple(verdicts))


def _standstill(newest_first: Sequence[Point], now: datetime, rules: RetentionSettings) -> str:
    """Why the clock, or the points' times, cannot be trusted; "" when they can."""
    for point in newest_first:
        if point.manifest and now < max(point.begun_at, *read_times(point.manifest)):
            return f"the store's time is {now:%Y-%m-%d %H:%M} UTC, earlier than point {point.id} was finished"
    hole = max(JUMP, timedelta(days=rules.days * 4))
    times = [now, *(point.begun_at for point in newest_first if point.whole())]
    for index, (later, earlier) in enumerate(pairwise(times)):
        if index >= rules.keep_min:
            break
        if later - earlier > hole:
            return (
                f"there are {(later - earlier).days} days without a good point before {later:%Y-%m-%d %H:%M} UTC; "
                f"if no clock was wrong, it goes on once there are {rules.keep_min} good points since"
            )
    return ""
