"""What providers do, and what is sent to them then: the cases that docs/reference/delivery.md shows.

Each is one outage, and one provider of each sort that misbehaves from its beginning. Tests play every case, on virtual
time with the waits as they are, and over HTTP with shorter ones.
"""

import math
from dataclasses import dataclass
from typing import Literal

FOREVER = math.inf
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tries:
    """One message, and when it was tried: seconds since the outage was told, with every chance in the middle.

    `at` are the first ones, `more` the number of those after. `taken` says which of `at` the provider took: the last
    one as a rule.
    """

    kind: str
    at: tuple[float, ...]
    taken: tuple[int, ...] = ()
    more: int = 0


def tries(kind: str, *at: float) -> Tries:
    """Tried at these times, and taken at last."""
    return Tries(kind=kind, at=at, taken=(len(at) - 1,))


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way for a provider to misbehave. `does` is a name in demo.provider_faults, "refused" or "ok".

    It does so for `until` seconds, or `times` times, and is well afterwards; `seconds` is its measure. The outage
    `lasts` that long. `chat` and `pager` are what is sent to Slack and PagerDuty; `elsewhere` is what other channels
    are told of it.
    """

    name: str
    says: str
    does: str
    until: float = FOREVER
    times: int = 0
    seconds: float | None = None
    lasts: float = 20 * MINUTE
    chat: tuple[Tries, ...]
    pager: tuple[Tries, ...]
    elsewhere: tuple[Literal["refused", "parked", "given_up"], ...] = ()
    sees: str


OUTAGE = (tries("open", 0), tries("resolve", 20 * MINUTE))
DOUBLING = (0, 2, 6, 14, 30, 62, 126, 254, 510, 810)
HANGING = (0, 17, 36, 59, 90, 137, 216)
SLOWLY = (0, 60, 180, 420, 900)
LATE = (tries("open", *DOUBLING), tries("resolve", 20 * MINUTE))
TWICE = (tries("open", 0, 2), tries("resolve", 20 * MINUTE))
TOLD_TWICE = (Tries(kind="open", at=(0, 2), taken=(0, 1)), tries("resolve", 20 * MINUTE))
ASKED = (tries("open", 0, 31.5), tries("resolve", 20 * MINUTE))
BRIEFLY = "one message once it works again: that it was down, why, and for how long; the pager stays quiet"

CASES = (
    Case(
        name="ok",
        says="takes everything",
        does="ok",
        chat=OUTAGE,
        pager=OUTAGE,
        sees="one message when it breaks, one when it is over",
    ),
    Case(
        name="retry_after",
        says="429 once, `Retry-After: 30`",
        does="retry_after",
        times=1,
        seconds=30.0,
        chat=ASKED,
        pager=ASKED,
        sees="the message 32 s late",
    ),
    Case(
        name="retry_after_date",
        says="429 once, `Retry-After` as a date 30 s ahead",
        does="retry_after_date",
        times=1,
        seconds=30.0,
        chat=ASKED,
        pager=ASKED,
        sees="the message 32 s late",
    ),
    Case(
        name="unavailable",
        says="503 for ten minutes, `Retry-After: 120`",
        does="unavailable",
        until=10 * MINUTE,
        seconds=120.0,
        chat=(tries("open", 0, 126, 252, 378, 504, 630), tries("resolve", 20 * MINUTE)),
        pager=(tries("open", 0, 126, 252, 378, 504, 630), tries("resolve", 20 * MINUTE)),
        sees="the message half a minute after it works again",
    ),
    Case(
        name="server_error",
        says="500 for ten minutes",
        does="server_error",
        until=10 * MINUTE,
        chat=LATE,
        pager=LATE,
        sees="the message at most 5 min (and a quarter) after it works again",
    ),
    Case(
        name="server_error_short",
        says="500 for ten minutes",
        does="server_error",
        until=10 * MINUTE,
        lasts=4 * MINUTE,
        chat=(Tries(kind="open", at=DOUBLING[:7]), tries("brief", 254, 510, 810)),
        pager=(Tries(kind="open", at=DOUBLING[:7]), tries("resolve", 254, 510, 810)),
        sees=BRIEFLY,
    ),
    Case(
        name="refused",
        says="connections are refused for ten minutes, or its name is not found",
        does="refused",
        until=10 * MINUTE,
        chat=LATE,
        pager=LATE,
        sees="the message at most 5 min (and a quarter) after it works again",
    ),
    Case(
        name="wrong_body",
        says="200 and a web page for ten minutes",
        does="wrong_body",
        until=10 * MINUTE,
        chat=LATE,
        pager=LATE,
        sees="the same: a 200 that is not the provider's own word for taken is no delivery",
    ),
    Case(
        name="redirect",
        says="302 to a sign-in page for ten minutes",
        does="redirect",
        until=10 * MINUTE,
        chat=LATE,
        pager=LATE,
        sees="the same; no redirect is followed",
    ),
    Case(
        name="reset",
        says="resets the first connection, nothing taken",
        does="reset",
        times=1,
        chat=TWICE,
        pager=TWICE,
        sees="the message 2 s late",
    ),
    Case(
        name="reset_taken",
        says="takes the first message, then resets",
        does="reset_taken",
        times=1,
        chat=TOLD_TWICE,
        pager=TOLD_TWICE,
        sees="the first message twice in chat; one incident on the pager, whose key is the same",
    ),
    Case(
        name="hang_taken",
        says="takes the first message and never answers",
        does="hang_taken",
        times=1,
        chat=(Tries(kind="open", at=(0, 17), taken=(0, 1)), tries("resolve", 20 * MINUTE)),
        pager=(Tries(kind="open", at=(0, 17), taken=(0, 1)), tries("resolve", 20 * MINUTE)),
        sees="the first message twice in chat; one incident on the pager",
    ),
    Case(
        name="hang_taken_short",
        says="takes messages for ten minutes and never answers",
        does="hang_taken",
        until=10 * MINUTE,
        lasts=4 * MINUTE,
        chat=(
            Tries(kind="open", at=HANGING, taken=tuple(range(7))),
            Tries(kind="brief", at=(359, 630), taken=(0, 1)),
        ),
        pager=(
            Tries(kind="open", at=HANGING, taken=tuple(range(7))),
            Tries(kind="resolve", at=(359, 630), taken=(0, 1)),
        ),
        sees="the message again and again in chat, ever more rarely, and its end; one incident on the pager, resolved",
    ),
    Case(
        name="hang_hour",
        says="hangs for an hour",
        does="hang",
        until=HOUR,
        lasts=2 * HOUR,
        chat=(
            tries("open", *HANGING, 359, 630, *(945.0 + 315 * number for number in range(10))),
            tries("resolve", 2 * HOUR),
        ),
        pager=(
            tries("open", *HANGING, 359, 630, *(945.0 + 315 * number for number in range(10))),
            tries("resolve", 2 * HOUR),
        ),
        sees="the message at most 5 min (and a quarter) after it works again",
    ),
    Case(
        name="hang",
        says="hangs for ever",
        does="hang",
        chat=(
            Tries(kind="open", at=(*HANGING, 359, 630, 945)),
            Tries(kind="brief", at=(1260, 1575), more=274),
        ),
        pager=(
            Tries(kind="open", at=(*HANGING, 359, 630, 945)),
            Tries(kind="resolve", at=(1260, 1575), more=274),
        ),
        elsewhere=("given_up",),
        sees="nothing there; after a day a word on the other channels",
    ),
    Case(
        name="not_found_mended",
        says="404, mended after three hours",
        does="not_found",
        until=3 * HOUR,
        lasts=6 * HOUR,
        chat=(tries("open", *SLOWLY, 1860, 3780, 7380, 10980), tries("resolve", 6 * HOUR)),
        pager=(tries("open", *SLOWLY, 1860, 3780, 7380, 10980), tries("resolve", 6 * HOUR)),
        elsewhere=("refused",),
        sees="at once on the other channels that this one is refused; the message within the hour, or at a restart",
    ),
    Case(
        name="not_found",
        says="404 for ever",
        does="not_found",
        chat=(Tries(kind="open", at=SLOWLY), Tries(kind="brief", at=(1860, 3780, 7380, 10980), more=22)),
        pager=(Tries(kind="open", at=SLOWLY), Tries(kind="resolve", at=(1860, 3780, 7380, 10980), more=22)),
        elsewhere=("refused", "refused", "given_up"),
        sees="nothing there; on the other channels once a day that it is refused, and what was given up",
    ),
    Case(
        name="rejected",
        says="400: does not take these messages",
        does="rejected",
        chat=(Tries(kind="open", at=(0,)), Tries(kind="brief", at=(20 * MINUTE,))),
        pager=(Tries(kind="open", at=(0,)), Tries(kind="resolve", at=(20 * MINUTE,))),
        elsewhere=("parked", "parked"),
        sees="nothing there (Slack and Discord are asked once more each time, with plain text); a word on the others",
    ),
)
