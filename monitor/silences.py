"""Times during which nothing is told about some services: maintenance, once or by the calendar. Pure."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache

from monitor.cron import Cron, read_cron
from monitor.incidents import BLIND

DAY = 86_400.0
LONGEST_WINDOW = 31 * DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """A time during which nothing is told about services whose name matches `service` (a pattern: * and ?).

    One-off: from `since` until `until`, epoch seconds. Recurring: for `duration` seconds from each time the cron line
    `cron` (UTC) is due, from `since` on and until `until` if that is set. `maintenance`: planned work, shown as such.
    `by` is who asked, `why` what for. Looking, counting and judging go on; only opening messages, updates and reminders
    are kept back.
    """

    id: str
    service: str
    why: str
    by: str
    since: float
    until: float | None = None
    cron: str = ""
    duration: float = 0.0
    maintenance: bool = False

    def active(self, wall: float) -> bool:
        """Whether it holds at `wall` (epoch seconds). A recurring one holds to the end of a window that has begun."""
        if wall < self.since:
            return False
        if not self.cron:
            return self.until is None or wall < self.until
        began = last_due(self.cron, int(wall // 60), self.duration)
        return (
            began is not None
            and self.since <= began
            and wall - began < self.duration
            and (self.until is None or began < self.until)
        )

    def matches(self, root: str) -> bool:
        """Whether it is about `root`. Our own blindness is silenced only by its name: no pattern means that."""
        return self.service == root if root == BLIND else fnmatchcase(root, self.service)

    def over(self, wall: float) -> bool:
        """Whether it will never hold again."""
        return self.until is not None and wall >= self.until + (self.duration if self.cron else 0.0)


def check_window(cron: str, duration: float) -> None:
    """Raises ValueError, saying what to write instead, unless both make a window that can recur."""
    read_cron(cron)
    if not 60 <= duration <= LONGEST_WINDOW:
        raise ValueError(f"a window lasts from a minute to 31 days, not {duration:g} s")


@lru_cache(maxsize=256)
def last_due(line: str, minute: int, duration: float) -> float | None:
    """The newest time, epoch seconds, at or before that minute (since the epoch) at which the cron line was due.

    None when it was not within `duration` seconds before, or the line is none (one of a newer version).
    """
    try:
        cron = read_cron(line)
    except ValueError:
        return None
    at = datetime.fromtimestamp(minute * 60, UTC)
    day = at.date()
    latest = at.hour * 60 + at.minute
    for _ in range(int(duration // DAY) + 2):
        if _falls_on(cron, day):
            found = [
                hour * 60 + of_hour for hour in cron.hours for of_hour in cron.minutes if hour * 60 + of_hour <= latest
            ]
            if found:
                return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() + 60 * max(found)
        day -= timedelta(days=1)
        latest = 24 * 60
    return None


def _falls_on(cron: Cron, day: date) -> bool:
    return day.day in cron.days and day.month in cron.months and day.isoweekday() % 7 in cron.weekdays
