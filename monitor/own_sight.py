"""Our own sight as the core sees it: blindness as if it were the trouble of a service. Pure."""

from monitor.incidents import BLIND, Blindness, Case, Seen
from monitor.judge import State

BLIND_AFTER = 120.0  # seconds of blindness that are an incident, and of seeing the rest that make it a lesser one
BLIND_REST = 30.0  # after blindness: long enough for a second look at whatever was in doubt when it began


def lasts(blind: Blindness, now: float) -> bool:
    """Whether a blindness has lasted long enough to be an incident."""
    return now - blind.since >= BLIND_AFTER


def rested(sighted: float | None, now: float) -> bool:
    """Whether it is long enough ago that we ceased to be blind, at `sighted`."""
    return sighted is None or now - sighted >= BLIND_REST


def as_seen(blind: Blindness, case: Case | None, sighted: float | None, now: float, *, wall: float) -> Seen:
    """Blindness as trouble: down, or degraded where it is single services that cannot be looked at.

    `case` is the open incident about it, `sighted` when we last ceased to be blind to all. When such a blindness ends,
    one service is seen after the other: that is its end, and no lesser trouble.
    """
    was_blind = case is not None and case.incident.state == "blind"
    lately = sighted is not None and now - sighted < BLIND_AFTER
    return Seen(
        state=State.DEGRADED if blind.partly and not (was_blind and lately) else State.DOWN,
        since=wall - (now - blind.since),
        troubled_at=blind.since,
        cause=blind.cause,
        sentence=blind.sentence,
        evidence=blind.evidence,
        remedy=blind.remedy,
    )


def state_of(root: str, one: Seen) -> str:
    """The state of an incident whose root is in trouble."""
    return "blind" if root == BLIND and one.state == State.DOWN else one.state.value
