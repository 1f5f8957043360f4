"""When a silence holds, and about whom."""

from datetime import UTC, datetime
from typing import Any

import pytest

from monitor.incidents import BLIND
from monitor.silences import Silence, check_window, last_due


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def silence(service: str = "postgres", **more: Any) -> Silence:
    return Silence(**{"id": "s", "service": service, "why": "w", "by": "b", "since": at("2026-11-01"), **more})


def test_a_one_off_holds_from_its_beginning_to_its_end() -> None:
    one = silence(since=100.0, until=200.0)
    assert [one.active(t) for t in (99, 100, 199, 200)] == [False, True, True, False]
    assert [one.over(t) for t in (199, 200)] == [False, True]


def test_one_without_an_end_holds_until_it_is_taken_back() -> None:
    assert silence().active(at("2036-01-01"))
    assert not silence().over(at("2036-01-01"))


@pytest.mark.parametrize(
    ("line", "hours", "moment", "active"),
    [
        ("30 3 * * *", 1, "2026-11-21T03:29:59", False),
        ("30 3 * * *", 1, "2026-11-21T03:30:00", True),
        ("30 3 * * *", 1, "2026-11-21T04:29:59", True),
        ("30 3 * * *", 1, "2026-11-21T04:30:00", False),
        ("0 23 * * *", 3, "2026-11-21T01:59:59", True),  # over midnight
        ("0 22 * * sat", 30, "2026-11-23T03:59:59", True),  # from Saturday night to Monday morning
        ("0 22 * * sat", 30, "2026-11-23T04:00:00", False),
        ("0 0 1 * *", 1, "2026-11-21T00:30:00", False),
        ("*/15 * * * *", 0.1, "2026-11-21T10:46:00", True),
        ("*/15 * * * *", 0.1, "2026-11-21T10:52:00", False),
        ("0 0 29 2 *", 1, "2028-02-29T00:10:00", True),
        ("no cron line", 1, "2026-11-21T00:30:00", False),
    ],
)
def test_a_window_by_cron(line: str, hours: float, moment: str, active: bool) -> None:
    assert silence(cron=line, duration=hours * 3600.0).active(at(moment)) is active


def test_a_window_that_began_before_the_silence_was_made_does_not_count() -> None:
    one = silence(since=at("2026-11-21T03:45"), cron="30 3 * * *", duration=3600.0)
    assert not one.active(at("2026-11-21T04:00"))
    assert one.active(at("2026-11-22T04:00"))


def test_the_last_window_before_the_end_is_held_in_full() -> None:
    one = silence(cron="30 3 * * *", duration=3600.0, until=at("2026-11-21T04:00"))
    assert one.active(at("2026-11-21T04:15"))
    assert not one.over(at("2026-11-21T04:15"))
    assert not one.active(at("2026-11-22T03:45"))
    assert one.over(at("2026-11-22T03:45"))


@pytest.mark.parametrize(
    ("pattern", "root", "matches"),
    [
        ("postgres", "postgres", True),
        ("postgres", "postgres-langfuse", False),
        ("postgres*", "postgres-langfuse", True),
        ("*", "redis", True),
        ("Redis", "redis", False),
        ("*", BLIND, False),
        (BLIND, BLIND, True),
    ],
)
def test_a_pattern_is_about_whole_names(pattern: str, root: str, matches: bool) -> None:
    assert silence(pattern).matches(root) is matches


def test_the_newest_time_is_found_however_long_ago() -> None:
    minute = int(at("2026-11-21T10:00") // 60)
    assert last_due("0 12 * * *", minute, 86_400.0) == at("2026-11-20T12:00")
    assert last_due("0 12 1 * *", minute, 30 * 86_400.0) == at("2026-11-01T12:00")
    assert last_due("0 12 1 * *", minute, 86_400.0) is None


@pytest.mark.parametrize(("line", "duration"), [("0 3 * * *", 30.0), ("0 3 * * *", 32 * 86_400.0), ("0 3 * *", 600.0)])
def test_a_window_that_cannot_recur_is_refused(line: str, duration: float) -> None:
    with pytest.raises(ValueError, match=r"fields|lasts"):
        check_window(line, duration)


def test_a_window_that_can_recur_is_taken() -> None:
    check_window("0 3 * * sun", 7200.0)
