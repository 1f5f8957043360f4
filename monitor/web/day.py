"""The last 24 hours of a service as the status page shows them: in bars, and in words."""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from alerts.texts import DAY, HOUR, duration
from monitor.judge import State
from monitor.spans import Bar
from monitor.times import clock


class Slot(NamedTuple):
    """One bar as the template shows it."""

    tone: str
    label: str
    share: float


def slots_of(bars: Sequence[Bar], now: float) -> Sequence[Slot]:
    """Gives the last 24 hours as bars of one length, with a slot of its own where nothing was recorded."""
    if not bars:
        return ()
    length = min(bar.length for bar in bars)
    seen = {int(bar.start // length): bar.state for bar in bars}
    last = int(now // length)
    count = round(DAY / length)
    return [_slot(number, length, seen.get(number)) for number in range(last - count + 1, last + 1)]


@lru_cache(maxsize=4_096)
def _slot(number: int, length: float, state: State | None) -> Slot:
    """One bar; kept, since a thousand services share the same hours."""
    tone = state.value if state else "none"
    begin, end = clock(number * length), clock((number + 1) * length)
    return Slot(tone, f"{begin}–{end} UTC: {state.value if state else 'no data'}", length / DAY)


def day_in_words(bars: Sequence[Bar]) -> str:
    """Gives what the bars show, for those who cannot see them: "23 h 59 min up, 40 s down"."""
    shares = Counter[str]()
    for bar in bars:
        for state, share in bar.shares.items():
            shares[state.value] += round(share * bar.length)
    if not shares:
        return "no data for the last 24 hours"
    parts = [f"{duration(seconds)} {word}" for word, seconds in shares.most_common() if seconds]
    blank = DAY - sum(shares.values()) - HOUR  # the newest bar is not over yet
    return ", ".join(parts + ([f"no data for {duration(blank)}"] if blank > 0 else []))
