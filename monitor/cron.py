"""A cron line of five fields as cron means it, worked out to plain numbers."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)  # days a month can have


class _Field(NamedTuple):
    """What one field may hold; `names` are other words for its numbers, counted from `least`."""

    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, MONTHS),
    _Field("weekday", 0, 7, WEEKDAYS),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """The minutes, hours, days, months and weekdays (0 is Sunday) on which all of the line holds, each in order."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]


def read_cron(line: str) -> Cron:
    """Reads "minute hour day month weekday": numbers, `*`, lists, ranges, steps, and English names of three letters.

    Raises ValueError, saying what to write, for anything else; for a line that never comes; and for one that names both
    days of the month and weekdays, which cron takes as either and many readers as both.
    """
    texts = line.lower().split()
    if len(texts) != len(_FIELDS):
        raise ValueError(
            f"a cron line has five fields (minute, hour, day of the month, month, weekday), not {len(texts)}:"
            " write 30 3 * * * for half past three each day"
        )
    minutes, hours, days, months, weekdays = (
        sorted(_numbers(field, text)) for field, text in zip(_FIELDS, texts, strict=True)
    )
    if texts[2] != "*" and texts[4] != "*":
        raise ValueError(
            f"it names days of the month ({texts[2]}) and weekdays ({texts[4]}), and programs disagree whether one or"
            " both must hold: write * for one of the two"
        )
    if min(days) > max(LONGEST[month - 1] for month in months):
        raise ValueError(f"it never comes: no month among {texts[3]} has a day {min(days)}")
    return Cron(
        minutes=tuple(minutes),
        hours=tuple(hours),
        days=tuple(days),
        months=tuple(months),
        weekdays=tuple(sorted({number % 7 for number in weekdays})),
    )


def _numbers(field: _Field, text: str) -> set[int]:
    """The numbers that one field's text allows."""
    return {number for part in text.split(",") for number in _part(field, part)}


def _part(field: _Field, text: str) -> Iterator[int]:
    """The numbers of one entry of a list: `*`, `5`, `1-5`, `*/2` or `1-9/2`."""
    span, slash, step = text.partition("/")
    first, dash, last = span.partition("-")
    if slash and span != "*" and not dash:
        raise _wrong(field, text, f"a step needs a range: write {span}-{field.most}/{step}")
    if slash and (not _is_number(step) or int(step) == 0):
        raise _wrong(field, text, "a step is a whole number from 1")
    if span == "*":
        begin, end = field.least, field.most
    else:
        begin = _number(field, first, text)
        end = _number(field, last, text) if dash else begin
        if field.name == "weekday" and end == 0 < begin:
            end = 7  # up to Sunday
        if begin > end:
            raise _wrong(
                field, text, f"a range goes upwards: write it as two, {first}-{field.most},{field.least}-{last}"
            )
    yield from range(begin, end + 1, int(step) if slash else 1)


def _number(field: _Field, word: str, text: str) -> int:
    if word in field.names:
        return field.least + field.names.index(word)
    if not _is_number(word) or not field.least <= int(word) <= field.most:
        names = f" or {field.names[0]} to {field.names[-1]}" if field.names else ""
        raise _wrong(field, text, f"write * or {field.least} to {field.most}{names}, as in 1,2 or 1-5 or */2")
    return int(word)


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= 4


def _wrong(field: _Field, text: str, advice: str) -> ValueError:
    return ValueError(f"{text!r} is no {field.name}: {advice}")
