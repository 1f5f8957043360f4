"""When a check is due: points of a fixed grid with a phase of its own. Pure; seconds of a monotonic clock."""

from zlib import crc32


def phase(name: str, interval: float) -> float:
    """Where in the interval `name` runs: the same in every process, spread evenly over many names."""
    return (crc32(name.encode()) / 2**32) * interval


def next_due(due: float, interval: float, now: float) -> tuple[float, int]:
    """Given the point that has just come, gives the next one still ahead of `now` and how many in between are lost."""
    lost = max(0, int((now - due) // interval))
    return due + (lost + 1) * interval, lost
