"""When schedules are due, held against a small model of cron that knows nothing of how ours is read."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.cron import read_cron
from monitor.schedule import next_times, period_of, previous_due, trigger_of

MONDAY = datetime(2026, 11, 23, 12, 30, tzinfo=UTC)
DAY = timedelta(days=1)


class Text(NamedTuple):
    """One field of a line, and the numbers it was made to mean."""

    text: str
    means: frozenset[int]


@st.composite
def entry(draw: st.DrawFn, least: int, most: int, names: tuple[str, ...] = ()) -> Text:
    first, last = sorted((draw(st.integers(least, most)), draw(st.integers(least, most))))
    step = draw(st.integers(1, most))

    def word(number: int) -> str:
        named = names and number - least < len(names) and draw(st.booleans())
        return draw(st.sampled_from([str.upper, str.lower]))(names[number - least]) if named else str(number)

    return draw(
        st.sampled_from(
            [
                Text(word(first), frozenset({first})),
                Text(f"{word(first)}-{word(last)}", frozenset(range(first, last + 1))),
                Text(f"{word(first)}-{word(last)}/{step}", frozenset(range(first, last + 1, step))),
                Text(f"*/{step}", frozenset(range(least, most + 1, step))),
            ]
        )
    )


def several(least: int, most: int, names: tuple[str, ...] = ()) -> st.SearchStrategy[Text]:
    whole = st.just(Text("*", frozenset(range(least, most + 1))))
    listed = st.lists(entry(least, most, names), min_size=1, max_size=3).map(
        lambda parts: Text(",".join(part.text for part in parts), frozenset().union(*(part.means for part in parts)))
    )
    return whole | listed


MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@st.composite
def lines(draw: st.DrawFn) -> tuple[str, tuple[frozenset[int], ...]]:
    """A line that comes some time, and what each field was made to mean; weekdays as 0 for Sunday."""
    minute, hour, month = draw(several(0, 59)), draw(several(0, 23)), draw(several(1, 12, MONTHS))
    every = Text("*", frozenset(range(32)))
    day, weekday = every, every
    if draw(st.booleans()):
        day = draw(several(1, 31).filter(lambda field: min(field.means) <= 28))  # so that it comes in any month
    else:
        weekday = draw(several(0, 7, WEEKDAYS))
    fields = (minute, hour, day, month, weekday)
    means = tuple(field.means for field in fields)
    return " ".join(field.text for field in fields), (*means[:4], frozenset(number % 7 for number in means[4]))


def model(means: tuple[frozenset[int], ...], start: datetime, step: int) -> Iterator[datetime]:
    """Every time from the minute of `start` on (or back, for a step of -1) at which all five fields hold."""
    minutes, hours, days, months, weekdays = means
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    for _ in range(800):
        if midnight.day in days and midnight.month in months and midnight.isoweekday() % 7 in weekdays:
            times = [midnight.replace(hour=hour, minute=minute) for hour in hours for minute in minutes]
            yield from (at for at in sorted(times, reverse=step < 0) if (at - start) * step >= timedelta(0))
        midnight += step * DAY


seconds = st.integers(1_700_000_000, 1_900_000_000)
moments = (seconds | seconds.map(lambda at: at - at % 60) | seconds.map(lambda at: at + 0.25)).map(
    lambda at: datetime.fromtimestamp(at, UTC)
)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(lines(), moments)
def test_a_cron_line_is_due_when_cron_says(made: tuple[str, tuple[frozenset[int], ...]], now: datetime) -> None:
    line, means = made
    trigger = trigger_of(line, hour=3)
    ahead = (at for at in model(means, now, 1) if at > now)
    assert next_times(trigger, now) == [next(ahead) for _ in range(3)], line
    assert previous_due(trigger, now) == next(model(means, now, -1)), line


@pytest.mark.parametrize(
    ("schedule", "times", "before"),
    [
        ("hourly", ["23 13:00", "23 14:00", "23 15:00"], "23 12:00"),
        ("daily", ["24 03:00", "25 03:00", "26 03:00"], "23 03:00"),
        (" Weekly ", ["29 03:00"], "22 03:00"),
        ("30 12 * * *", ["24 12:30"], "23 12:30"),
        ("15 4 * * 0", ["29 04:15"], "22 04:15"),
        ("15 4 * * 7", ["29 04:15"], "22 04:15"),
        ("15 4 * * 1", ["30 04:15"], "23 04:15"),
        ("15 4 * * 5-7", ["27 04:15", "28 04:15", "29 04:15"], "22 04:15"),
        ("15 4 * * FRI-SUN", ["27 04:15", "28 04:15", "29 04:15"], "22 04:15"),
        ("*/20 2 * * 2,4", ["24 02:00", "24 02:20", "24 02:40"], "19 02:40"),
    ],
)
def test_schedules_people_write(schedule: str, times: list[str], before: str) -> None:
    def at(text: str) -> datetime:
        return datetime.strptime(f"2026-11-{text}+0000", "%Y-%m-%d %H:%M%z")

    trigger = trigger_of(schedule, hour=3)
    assert next_times(trigger, MONDAY, len(times)) == [at(text) for text in times]
    assert previous_due(trigger, MONDAY) == at(before)


def test_the_rarest_day_is_found_both_ways() -> None:
    leap = trigger_of("0 3 29 2 *", hour=0)
    assert next_times(leap, MONDAY, 2) == [datetime(year, 2, 29, 3, tzinfo=UTC) for year in (2028, 2032)]
    assert previous_due(leap, datetime(2104, 2, 28, tzinfo=UTC)) == datetime(2096, 2, 29, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("schedule", "hours"),
    [
        ("hourly", 1),
        ("daily", 24),
        ("weekly", 7 * 24),
        ("0 3,9 * * *", 18),
        ("0 3 * * 1-5", 72),  # from Friday to Monday
        ("0 3 1 * *", 31 * 24),
    ],
)
def test_the_period_is_the_longest_time_without_a_run(schedule: str, hours: float) -> None:
    assert period_of(trigger_of(schedule, hour=3), MONDAY) == hours * 3600


def test_on_a_weekend_an_hourly_run_of_working_days_is_not_late() -> None:
    saturday = MONDAY - 2 * DAY
    assert period_of(trigger_of("0 * * * 1-5", hour=0), saturday) == 49 * 3600


@pytest.mark.parametrize(
    ("schedule", "says"),
    [
        ("", "five fields"),
        ("monthly", "neither hourly, daily nor weekly"),
        ("@daily", "five fields"),
        ("0 3 * *", "not 4"),
        ("0 0 3 * * *", "not 6"),
        ("60 3 * * *", "'60' is no minute: write * or 0 to 59"),
        ("0 24 * * *", "'24' is no hour"),
        ("0 3 0 * *", "'0' is no day of the month"),
        ("0 3 last * *", "'last' is no day of the month"),
        ("0 3 * 13 *", "write * or 1 to 12 or jan to dec"),
        ("0 3 * * 8", "write * or 0 to 7 or sun to sat"),
        ("0 3 * * monday", "'monday' is no weekday"),
        ("0 3 * * 5-1", "a range goes upwards"),
        ("5/10 * * * *", "a step needs a range: write 5-59/10"),
        ("*/0 * * * *", "a step is a whole number from 1"),
        ("*/ * * * *", "a step is a whole number from 1"),
        ("1,,2 * * * *", "'' is no minute"),
        ("-1 * * * *", "'-1' is no minute"),
        ("² 3 * * *", "'²' is no minute"),
        ("0 3 1 * 1", "write * for one of the two"),
        ("0 3 30 2 *", "it never comes"),
        ("0 3 31 4,6,9,11 *", "it never comes"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_what_to_write(schedule: str, says: str) -> None:
    with pytest.raises(ValueError) as refused:
        trigger_of(schedule, hour=3)
    assert says in str(refused.value)
    assert repr(schedule) in str(refused.value)


@settings(derandomize=True, deadline=None)
@given(st.text(alphabet="0123456789*/,-suntuejax ", max_size=20) | st.text(max_size=12))
def test_no_text_breaks_the_reader(text: str) -> None:
    with contextlib.suppress(ValueError):
        cron = read_cron(text)
        assert all((cron.minutes, cron.hours, cron.days, cron.months, cron.weekdays)), cron
