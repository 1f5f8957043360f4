"""What a service says of the things it needs, beside what those say themselves."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from alerts.texts import listed
from config.causes import Cause
from monitor.diagnose.base import Diagnosis
from monitor.ways import NAMED_ONLY

NAMED_MOST = 4
# Their clients look for IPv4 alone unless they are told otherwise: ioredis, and BullMQ upon it.
BY_IPV4 = ("redis",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sibling:
    """A service that another one needs: `well` when it has passed since that one began to fail.

    `reached_over` is the fact of that name (monitor.ways).
    """

    title: str
    kind: str
    well: bool
    reached_over: str = ""


def beside(found: Diagnosis, siblings: Sequence[Sibling], *, seen_up: bool) -> Diagnosis:
    """Gives the diagnosis of a service that lost something it needs, after a look at those it needs.

    When all of them answer us, the service has lost its own way there, and the diagnosis says so. One that was never
    `seen_up`, and needs a Redis whose name has no IPv4 address, mostly looks for one.
    """
    if found.cause != Cause.DEPENDENCY or not siblings or not all(one.well for one in siblings):
        return found
    narrow = next((one for one in siblings if one.kind in BY_IPV4 and one.reached_over == NAMED_ONLY["IPv6"]), None)
    names = listed([one.title for one in siblings], NAMED_MOST)
    answers = f"{names} {'answers' if len(siblings) == 1 else 'answer'} us directly"
    if narrow is None or seen_up:
        return replace(found, sentence=f"{found.sentence} {answers}, so it is its own way there that is lost.")
    return Diagnosis(
        cause=Cause.IPV6_ONLY,
        sentence=f"{found.sentence} {answers}, but the name of {narrow.title} has IPv6 addresses only.",
        remedy="It has not been up since it is watched, so it may look for IPv4 alone, as ioredis does (ENOTFOUND in "
        f"its log): write ?family=0 at the end of its address of {narrow.title}. If that is there: {found.remedy}",
    )
