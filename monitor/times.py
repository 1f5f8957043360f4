"""Times as pages and terminals show them."""

from datetime import UTC, datetime


def clock(at: float) -> str:
    """Gives the hour and minute in UTC."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M")


def timestamp(at: float) -> str:
    """Gives the day and the time in UTC, to the second."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
