"""Amounts that servers tell of themselves: what thresholds make of them, and how people read them. Pure."""

from collections.abc import Sequence
from typing import Protocol

from monitor.probes.base import Verdict

SHOWN = 5  # names in a sentence, unless a signal has another number


class Thresholds(Protocol):
    """The parameters of a signal, as far as they are numbers to hold an amount against; None: at none."""

    @property
    def warn(self) -> float | None: ...

    @property
    def fail(self) -> float | None: ...


def graded(value: float, params: Thresholds) -> Verdict:
    """Gives the verdict that the thresholds make of `value`, which is in the signal's unit."""
    if params.fail is not None and value >= params.fail:
        return Verdict.FAIL
    return Verdict.WARN if params.warn is not None and value >= params.warn else Verdict.PASS


NEAR = 80  # percent from which something may be said to run out, whatever the thresholds are


def fullness(percent: float) -> str:
    """Gives what may be claimed of something used by `percent`: "full", "near" its end, or "" for neither.

    A threshold can be set to any number, so that its verdict proves nothing of the kind.
    """
    return "full" if percent >= 100 else "near" * (percent >= NEAR)


def sized(number: float) -> str:
    """Gives bytes for people."""
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if number >= unit:
            return f"{number / unit:.1f} {name}"
    return f"{number:.0f} B"


def span(seconds: float) -> str:
    """Gives seconds for people."""
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(0.0, seconds):.0f} s"


def counted(number: int, noun: str) -> str:
    """Gives how many of what."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def some(names: Sequence[str], most: int = SHOWN) -> str:
    """Gives the first of the names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
