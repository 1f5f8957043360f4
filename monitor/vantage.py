"""Could we look at all? Pure; runs before the judge.

Whatever a service answers counts as seen, and so does a refusal, a reset, silence or a name that does not exist: a
whole stack that vanishes is an outage. Only what happened on our own side turns an outcome into unknown: a
resolver that does not answer, a network with no way out, a probe of ours that broke, or a loop that stood still
while the probe waited.
"""

from dataclasses import replace

from monitor.probes.base import Outcome, Sight, Verdict

NOT_SEEN = frozenset({Sight.NO_RESOLVER, Sight.NO_ROUTE, Sight.LATE, Sight.FAULT})
WAITED_IN_VAIN = frozenset({Sight.NO_CONNECT, Sight.NO_ANSWER})
LATE_SECONDS = 1.0


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
    return replace(outcome, verdict=Verdict.UNKNOWN, evidence=replace(outcome.evidence, sight=Sight.LATE, text=text))


def forgive(outcome: Outcome) -> Outcome:
    """A slow answer of a service that we ourselves keep busy just now is a good answer; all else stays as it is."""
    return replace(outcome, verdict=Verdict.PASS) if _slow(outcome) else outcome


def _slow(outcome: Outcome) -> bool:
    return outcome.verdict == Verdict.WARN and outcome.evidence.sign == "slow"
