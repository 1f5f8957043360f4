"""Times and lengths of time as people read them."""

from datetime import UTC, datetime

DAY = 86_400
HOUR = 3_600


def span(seconds: float) -> str:
    """Gives a length of time as people say it: "40 s", "5 min", "3 h 20 min", "4 d 2 h"."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // 60} min"
    large, small, names = (HOUR, 60, ("h", "min")) if whole < 2 * DAY else (DAY, HOUR, ("d", "h"))
    rest = whole % large // small
    return f"{whole // large} {names[0]}" + (f" {rest} {names[1]}" if rest else "")


def clock(at: float) -> str:
    """Gives the hour and minute in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M")


def moment(at: float) -> str:
    """Gives the day and the time in UTC, to the second."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
