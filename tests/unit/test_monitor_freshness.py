"""How fresh the backups are, judged from what is in the store alone."""

import pytest

from monitor.freshness import FailedRun, Freshness, Row, judge_points

DAY, HOUR = 86_400.0, 3_600.0
A, B, C = "postgres/database/litellm", "postgres/database/langfuse", "clickhouse/database/default"
ALL = "clickhouse/database/*"


def row(
    age: float,
    *whole: str,
    failed: tuple[str, ...] = (),
    size: int = 1000,
    problem: str = "",
    proof: str = "written",
    seconds: float = 60.0,
    sizes: dict[str, int] | None = None,
) -> Row:
    return Row(
        id=f"p{age:.0f}",
        age_seconds=age,
        stored_bytes=size // 3,
        whole=whole,
        failed=failed,
        proof=proof,
        problem=problem,
        seconds=seconds,
        sizes=dict.fromkeys(whole, size) | (sizes or {}),
    )


def judged(*rows: Row) -> Freshness:
    return judge_points(rows, period=DAY)


@pytest.mark.parametrize(
    ("rows", "grade", "sign", "named"),
    [
        ([], "fail", "none", "no good restore point"),
        ([row(HOUR, failed=(A,))], "fail", "none", ""),
        ([row(HOUR, A, problem="cannot be read")], "fail", "none", ""),
        ([row(HOUR, A, B)], "pass", "fresh", "1 good restore point, 60 min old"),
        ([row(HOUR, A, B), row(2 * HOUR, A, B)], "pass", "fresh", "2 good restore points, the newest 60 min old"),
        ([row(29 * HOUR, A, B)], "pass", "fresh", ""),  # a day, and a quarter of it
        ([row(31 * HOUR, A, B)], "warn", "late", "litellm (postgres)"),
        ([row(60 * HOUR, A)], "fail", "overdue", "60 h old"),
        ([row(HOUR, A, failed=(C,)), row(25 * HOUR, A, C)], "warn", "failed", "default (clickhouse)"),
        ([row(HOUR, A, failed=(C,)), row(90 * HOUR, A, C)], "fail", "overdue", "default (clickhouse)"),
        ([row(HOUR, A, failed=(C,)), row(25 * HOUR, A, failed=(C,))], "fail", "failed", "no good backup of default"),
        ([row(HOUR, A), row(25 * HOUR, A, B)], "warn", "missing", "langfuse (postgres)"),
        # an engine that could not be asked at all, and its databases as they were known
        ([row(HOUR, A, failed=(ALL,)), row(25 * HOUR, A, C)], "warn", "failed", "all of it (clickhouse)"),
        ([row(HOUR, A, failed=(ALL,)), row(90 * HOUR, A, C)], "fail", "overdue", "default (clickhouse)"),
        ([row(HOUR, A, failed=(ALL,))], "fail", "failed", "no good backup of all of it (clickhouse)"),
        # a run of one engine alone, by hand, says nothing of the other
        ([row(HOUR, A, size=10), row(5 * HOUR, A, C, sizes={A: 10})], "pass", "fresh", ""),
        ([row(HOUR, A, size=10), row(40 * HOUR, A, C)], "warn", "late", "default (clickhouse)"),
        # what a restore left aside, and a point of before it was left out
        ([row(HOUR, A), row(25 * HOUR, A, f"{A}_before_20261121")], "pass", "fresh", ""),
        ([row(HOUR, A, problem="its manifest cannot be read"), row(25 * HOUR, A)], "warn", "damaged", "p3600"),
        ([row(HOUR, A, proof="damaged"), row(25 * HOUR, A)], "warn", "damaged", "not what was written"),
        ([row(HOUR, A, size=400), row(25 * HOUR, A, size=1000)], "warn", "shrunken", "litellm (postgres) holds 400"),
        # one of several was emptied, which their sum hardly shows
        ([row(HOUR, A, B, sizes={B: 90}), row(25 * HOUR, A, B)], "warn", "shrunken", "langfuse (postgres) holds 90"),
        ([row(HOUR, A, B, size=90), row(25 * HOUR, A, B)], "warn", "shrunken", "; 1 more shrank too"),
        ([row(HOUR, A), row(25 * HOUR, B, sizes={B: 9000}), row(40 * HOUR, A, B)], "warn", "missing", ""),
        ([row(HOUR, A, size=600), row(25 * HOUR, A, size=1000)], "pass", "fresh", ""),
    ],
)
def test_what_the_points_prove(rows: list[Row], grade: str, sign: str, named: str) -> None:
    found = judged(*rows)
    assert (found.grade, found.sign) == (grade, sign)
    assert named in found.text


def test_a_database_that_was_removed_on_purpose_is_missed_once_and_then_forgotten() -> None:
    gone = [row(HOUR, A), row(25 * HOUR, A, B)]
    assert judged(*gone).sign == "missing"
    later = [row(HOUR + day * DAY, A) for day in range(3)] + [row(HOUR + 3 * DAY, A, B)]
    assert judged(*later).sign == "fresh"


def test_a_run_that_takes_long_is_not_late() -> None:
    assert judged(row(36 * HOUR, A)).sign == "late"
    assert judged(row(36 * HOUR, A), row(60 * HOUR, A, seconds=8 * HOUR)).sign == "fresh"


def test_an_engine_that_is_no_longer_backed_up_is_not_missed_for_ever() -> None:
    rows = [row(HOUR, A), row(300 * HOUR, A, C)]
    assert judge_points(rows, period=DAY, engines=("postgres",)).sign == "fresh"
    assert judge_points(rows, period=DAY, engines=("postgres", "clickhouse")).sign == "overdue"


def test_the_next_backup_must_fit() -> None:
    rows = [row(HOUR, A, size=300), row(25 * HOUR, A, size=300)]
    assert judge_points(rows, period=DAY, max_bytes=300).sign == "fresh"
    found = judge_points(rows, period=DAY, max_bytes=299)
    assert (found.grade, found.sign) == ("warn", "space")
    assert "BACKUP_MAX_BYTES is 299" in found.text


@pytest.mark.parametrize(
    ("rows", "failed", "grade", "sign"),
    [
        ([row(25 * HOUR, A)], FailedRun(age_seconds=HOUR, error="wrong password"), "warn", "run"),
        ([row(25 * HOUR, A)], FailedRun(age_seconds=HOUR, error="no room", full=True), "fail", "full"),
        ([row(90 * HOUR, A)], FailedRun(age_seconds=HOUR, error="wrong password"), "fail", "overdue"),
        ([], FailedRun(age_seconds=HOUR, error="wrong password"), "fail", "none"),
        # a point that came after it, by hand
        ([row(0.5 * HOUR, A)], FailedRun(age_seconds=HOUR, error="no room", full=True), "pass", "fresh"),
    ],
)
def test_a_run_that_left_nothing_is_told_until_a_newer_point_is_there(
    rows: list[Row], failed: FailedRun, grade: str, sign: str
) -> None:
    found = judge_points(rows, period=DAY, failed_run=failed)
    assert (found.grade, found.sign) == (grade, sign)
    if sign in ("run", "full", "none"):
        assert failed.error in found.text
