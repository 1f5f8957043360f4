"""What retention lets go and what it never does."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup.catalog import Point
from backup.manifest import Artifact, Manifest, rfc3339
from backup.retention import decide, stand_still
from config.backup_settings import RetentionSettings

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
PG, CH = "litellm", "default"


def artifact(label: str, status: str = "whole") -> Artifact:
    engine = "clickhouse" if label == CH else "postgres"
    return Artifact(engine=engine, kind="database", name=label, status=status, server="18")  # type: ignore[arg-type]


def point(age_hours: float, *good: str, failed: tuple[str, ...] = (), tail: str = "0000") -> Point:
    began = (NOW - timedelta(hours=age_hours)).replace(microsecond=0)
    name = f"{began:%Y%m%dT%H%M%SZ}-{tail}"
    artifacts = tuple(artifact(one) for one in good) + tuple(artifact(one, "failed") for one in failed)
    read = Manifest(
        id=name,
        source="default",
        created_at=rfc3339(began),
        ended_at=rfc3339(began),
        tool_version="1",
        artifacts=artifacts,
    )
    return Point(id=name, source="default", manifest=read)


def daily(days: int, *good: str, first: int = 0) -> list[Point]:
    return [point(24 * day + 1, *good) for day in range(first, days)]


DEFAULTS = RetentionSettings()


def kept_ages(points: list[Point], rules: RetentionSettings = DEFAULTS) -> list[int]:
    plan = decide(points, NOW, rules)
    ages = {one.id: (NOW - one.begun_at).days for one in points}
    return sorted(ages[verdict.point] for verdict in plan.points if verdict.keep)


def test_seven_days_are_kept_and_no_more() -> None:
    assert kept_ages(daily(20, PG, CH)) == [0, 1, 2, 3, 4, 5, 6]


def test_the_minimum_is_kept_whatever_its_age() -> None:
    points = [point(24 * 30 * month, PG) for month in range(1, 7)]
    rules = RetentionSettings(days=1, keep_min=3)
    assert kept_ages([*points], rules) == [30, 60, 90]


def test_ten_failing_clickhouse_days_cost_no_good_clickhouse_and_no_wanted_postgres() -> None:
    failing = [point(24 * day + 1, PG, failed=(CH,)) for day in range(10)]
    both = daily(20, PG, CH, first=10)
    kept = kept_ages([*failing, *both])
    # PostgreSQL's own seven days, and ClickHouse's seven days before it began to fail.
    assert kept == [0, 1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 14, 15, 16]


def test_clickhouse_failing_without_a_word_in_the_manifest_stands_still_too() -> None:
    failing = daily(10, PG)
    both = daily(20, PG, CH, first=10)
    assert set(range(10, 17)) <= set(kept_ages([*failing, *both]))


def test_a_dropped_database_keeps_its_newest_few_only() -> None:
    after = daily(20, PG)
    before = daily(40, PG, "dropped", first=20)
    kept = kept_ages([*after, *before])
    assert kept == [0, 1, 2, 3, 4, 5, 6, 20, 21, 22]


def test_nothing_ages_while_no_backup_succeeds() -> None:
    points = daily(17, PG, first=10)
    assert kept_ages(points) == list(range(10, 17))


def test_days_weeks_and_months() -> None:
    hourly = [point(hours, PG) for hours in range(0, 24 * 100, 6)]
    rules = RetentionSettings(days=1, keep_min=1, daily=7, weekly=4, monthly=3)
    plan = decide(hourly, NOW, rules)
    kept = [verdict for verdict in plan.points if verdict.keep]
    assert 4 + 6 <= len(kept) <= 4 + 7 + 4 + 3
    months = {one.begun_at.month for one in hourly if plan.of(one.id).keep}
    assert months == {9, 10, 11}
    october = [one for one in hourly if one.begun_at.month == 10 and plan.of(one.id).keep]
    assert october[0].begun_at == datetime(2026, 10, 31, 18, tzinfo=UTC)
    assert any("newest good one of its month" in verdict.reason for verdict in kept)


def test_a_clock_before_the_newest_point_stands_still() -> None:
    points = daily(20, PG)
    plan = decide(points, NOW - timedelta(days=3), RetentionSettings())
    assert plan.removed == ()
    assert "earlier than point" in plan.standstill
    assert all(verdict.keep for verdict in plan.points)


def test_a_clock_that_jumped_ahead_removes_nothing_more() -> None:
    points = daily(20, PG)
    today = decide(points, NOW, RetentionSettings()).removed
    assert decide(points, NOW + timedelta(days=20), RetentionSettings()).removed == today
    assert decide(points, NOW + timedelta(days=4000), RetentionSettings()).removed == ()


def test_a_point_made_under_a_wrong_clock_ages_nothing() -> None:
    future = point(-24 * 3650, PG)
    later = NOW + timedelta(days=3651)
    plan = decide([future, *daily(20, PG)], later, RetentionSettings())
    assert plan.removed == ()
    assert "goes on once there are 3 good points since" in plan.standstill


def test_it_goes_on_after_a_long_outage_once_there_are_enough_good_points() -> None:
    old = daily(220, PG, first=200)
    for fresh, stands in ((1, True), (2, True), (3, False)):
        plan = decide([*daily(fresh, PG), *old], NOW, RetentionSettings())
        assert bool(plan.standstill) is stands
        assert bool(plan.removed) is not stands


def test_an_unreadable_point_is_kept_for_a_person() -> None:
    damaged = Point(id="20260101T000000Z-0bad", source="default", problem="no JSON")
    verdict = decide([damaged, *daily(20, PG)], NOW, RetentionSettings()).of(damaged.id)
    assert verdict.keep
    assert "no JSON" in verdict.reason


def test_a_point_of_failures_shows_them_for_a_while() -> None:
    points = [point(2, failed=(PG,)), point(24 * 9, failed=(PG,), tail="0001"), *daily(20, PG, first=1)]
    plan = decide(points, NOW, RetentionSettings())
    assert plan.of(points[0].id).reason == "it shows what failed lately"
    assert not plan.of(points[1].id).keep


def test_every_verdict_says_why() -> None:
    plan = decide([*daily(20, PG, CH), point(24 * 30, PG, failed=(CH,))], NOW, RetentionSettings())
    assert all(verdict.reason for verdict in plan.points)
    assert all(one.reason for verdict in plan.points for one in verdict.artifacts)
    assert plan.points[0].reason == "postgres/database/litellm (and 1 more): it is the newest good one"
    assert plan.removed[0] == min(plan.removed)


def test_standing_still_keeps_everything() -> None:
    plan = stand_still(decide(daily(20, PG), NOW, RetentionSettings()), "the clocks differ")
    assert plan.removed == ()
    assert "the clocks differ" in plan.points[-1].reason


ENTRY = st.tuples(
    st.integers(0, 24 * 60),
    st.sets(st.sampled_from([PG, CH, "langfuse"]), max_size=3),
    st.sets(st.sampled_from([PG, CH, "langfuse"]), max_size=3),
)
RULES = st.builds(
    RetentionSettings,
    days=st.floats(0.1, 40),
    keep_min=st.integers(1, 5),
    daily=st.integers(0, 5),
    weekly=st.integers(0, 3),
    monthly=st.integers(0, 2),
)


def build(entries: list[tuple[int, set[str], set[str]]]) -> list[Point]:
    return [
        point(age, *sorted(good), failed=tuple(sorted(failed - good)), tail=f"{number:04x}")
        for number, (age, good, failed) in enumerate(entries)
    ]


def good_ones(points: list[Point], label: str) -> list[Point]:
    good = [one for one in points if any(two.name == label for two in one.whole())]
    return sorted(good, key=lambda one: (one.begun_at, one.id), reverse=True)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.lists(ENTRY, max_size=25), RULES)
def test_the_newest_good_ones_of_every_label_stay(
    entries: list[tuple[int, set[str], set[str]]], rules: RetentionSettings
) -> None:
    points = build(entries)
    removed = set(decide(points, NOW, rules).removed)
    for label in (PG, CH, "langfuse"):
        assert not removed & {one.id for one in good_ones(points, label)[: rules.keep_min]}
        newest = good_ones(points, label)[:1]
        young = [one for one in points for top in newest if top.begun_at - one.begun_at < timedelta(days=rules.days)]
        if not any(two.begun_at > top.begun_at for top in newest for two in points):
            assert not removed & {one.id for one in young if one in good_ones(points, label)}


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.lists(ENTRY, max_size=20), RULES, st.lists(st.integers(0, 24 * 60), min_size=1, max_size=15))
def test_failed_runs_never_cost_a_good_artifact(
    entries: list[tuple[int, set[str], set[str]]], rules: RetentionSettings, failures: list[int]
) -> None:
    points = build(entries)
    before = set(decide(points, NOW, rules).removed)
    failed = [point(age, failed=(PG, CH, "langfuse"), tail=f"f{number:03x}") for number, age in enumerate(failures)]
    after = set(decide([*points, *failed], NOW, rules).removed)
    assert {one.id for one in points} & after <= before


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.lists(ENTRY, max_size=25), RULES, st.randoms(use_true_random=False))
def test_neither_order_nor_repetition_matters(
    entries: list[tuple[int, set[str], set[str]]], rules: RetentionSettings, random: object
) -> None:
    points = build(entries)
    first = decide(points, NOW, rules)
    shuffled = list(points)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert decide(shuffled, NOW, rules) == first
    left = [one for one in points if one.id not in first.removed]
    again = decide(left, NOW, rules)
    # Pruning twice in a row: what the first left, the second leaves as well.
    assert again.removed == ()


@pytest.mark.parametrize("days", [0.01, 36_500])
def test_extreme_windows(days: float) -> None:
    assert len(kept_ages(daily(20, PG), RetentionSettings(days=days))) == (3 if days < 1 else 20)
