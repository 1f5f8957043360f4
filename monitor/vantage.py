"""Could we look at all? Pure; runs before the judge.

Whatever a service answers counts as seen, and so does a refusal, a reset or a name that does not exist: a whole stack
that vanishes is an outage. Turned into unknown is only what happened on our own side: a resolver that does not answer,
a network with no way out, a probe of ours that broke, a loop that stood still while the probe waited; and a connection
that was waited for in vain while nothing else on that side of the network answered either, neither another service nor
an anchor. With no anchors on a side nothing is known of it, and what was waited for in vain stays a failure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import IPv6Address, ip_address

from alerts.texts import listed
from config.urls import is_private
from monitor.probes.base import Outcome, Sight, Verdict

NOT_SEEN = frozenset({Sight.NO_RESOLVER, Sight.NO_ROUTE, Sight.LATE, Sight.FAULT, Sight.CUT_OFF})
WAITED_IN_VAIN = frozenset({Sight.NO_CONNECT, Sight.NO_ANSWER})
HOST_GONE = frozenset({"EHOSTUNREACH", "EHOSTDOWN"})  # of one host; ENETUNREACH is about our own network
LATE_SECONDS = 1.0
NAMED_MOST = 4  # silent anchors that a text names; of more it counts those after the third


class Side(StrEnum):
    """Which network lies between us and a service."""

    HERE = "here"  # none: the same machine. It cannot be cut off, and proves nothing of any network
    INSIDE = "inside"  # the private one
    OUTSIDE = "outside"  # the internet


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """Who else was asked on the same side: `answered` names one that did meanwhile, or is empty; `silent` did not."""

    answered: str = ""
    silent: Sequence[str] = ()


def look(outcome: Outcome, stalled: float) -> Outcome:
    """Given an outcome and how long our own loop stood still while the probe ran (seconds), gives what may be judged.

    A probe that gave up, or was slow, while we ourselves stood still for a second or more proves nothing.
    """
    if outcome.evidence.sight in NOT_SEEN:
        return outcome if outcome.verdict == Verdict.UNKNOWN else replace(outcome, verdict=Verdict.UNKNOWN)
    if stalled < LATE_SECONDS:
        return outcome
    waited = outcome.evidence.sight in WAITED_IN_VAIN
    if not (waited or _slow(outcome)):
        return outcome
    text = f"our own loop stood still for {stalled:.1f} s meanwhile; {outcome.evidence.text}"
    return _seen_as(outcome, Verdict.UNKNOWN, Sight.LATE, text)


def forgive(outcome: Outcome) -> Outcome:
    """A slow answer of a service that we ourselves keep busy just now is a good answer; all else stays as it is."""
    return replace(outcome, verdict=Verdict.PASS) if _slow(outcome) else outcome


def wants_witness(outcome: Outcome, before: Sight | None) -> bool:
    """Whether only others on the same side can tell the service's trouble from our own network's.

    `before` is what the run before this one of the same check saw. A connection that opened and brought no answer may
    have been cut meanwhile; a second one that opened proves that there is a way.
    """
    sight = outcome.evidence.sight
    if sight == Sight.NO_ANSWER:
        return outcome.verdict == Verdict.FAIL and before != Sight.NO_ANSWER
    if sight == Sight.NO_CONNECT:
        return outcome.verdict == Verdict.FAIL
    return sight == Sight.NO_RESOLVER or (sight == Sight.NO_ROUTE and outcome.evidence.code in HOST_GONE)


def weigh(outcome: Outcome, witness: Witness, *, cut_meanwhile: bool = False) -> Outcome:
    """Given an outcome that `wants_witness` and who else answered, gives what may be judged.

    `cut_meanwhile`: that side was cut off until some time within the run, so that its waiting proves nothing yet.
    A host that cannot be reached, or a name that cannot be looked up, is that service's own trouble when others of the
    same side can be.
    """
    sight, text = outcome.evidence.sight, outcome.evidence.text
    if sight in WAITED_IN_VAIN:
        if cut_meanwhile:
            return _seen_as(outcome, Verdict.UNKNOWN, Sight.CUT_OFF, f"{text}; the network was cut off until just now")
        if witness.answered or not witness.silent:
            return outcome
        return _seen_as(
            outcome, Verdict.UNKNOWN, Sight.CUT_OFF, f"{text}; nor did {listed(witness.silent, NAMED_MOST)} answer"
        )
    if not witness.answered or cut_meanwhile:
        return outcome
    own = Sight.NO_NAME if sight == Sight.NO_RESOLVER else Sight.NO_CONNECT
    verb = "was found" if own == Sight.NO_NAME else "answered"
    return _seen_as(outcome, Verdict.FAIL, own, f"{text}; {witness.answered} {verb} meanwhile")


def sign_at(raw: Sight, began: float, ended: float) -> float | None:
    """When something there answered us in a run that saw `raw`; None when nothing did, or only a resolver."""
    if raw == Sight.NO_ANSWER:
        return began  # it took the connection, and that is all we know
    return None if raw in NOT_SEEN | {Sight.NO_CONNECT, Sight.NO_NAME} else ended


def side_of(host: str) -> Side:
    """On which side a host is, by its address, else by its name. A path (a Unix socket) is here."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        if host.startswith(("/", "@")) or host == "localhost" or host.endswith(".localhost"):
            return Side.HERE
        return Side.INSIDE if is_private(host) else Side.OUTSIDE
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if address.is_loopback or address.is_unspecified:
        return Side.HERE
    return Side.OUTSIDE if address.is_global else Side.INSIDE


def _seen_as(outcome: Outcome, verdict: Verdict, sight: Sight, text: str) -> Outcome:
    return replace(outcome, verdict=verdict, evidence=replace(outcome.evidence, sight=sight, text=text))


def _slow(outcome: Outcome) -> bool:
    return outcome.verdict == Verdict.WARN and outcome.evidence.sign == "slow"
