"""Previous state + outcome + now → state, and the flip when it changed. Pure; docs/reference/states.md is made from it.

A check moves first, by counting; the service is then as bad as its worst check. Nothing here has a clock: `now` is
handed in, in seconds since the epoch, and no decision but the start period compares times, so that a wall clock
stepped by an hour changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from config.causes import Cause
from config.services import Check, Service
from monitor.diagnose.base import Diagnosis
from monitor.probes.base import Outcome, Sight, Verdict

RECENT_RUNS = 10
INTERMITTENT_FAILURES = 4  # among the last ten runs: degraded, though never three in a row
SETTLED_FAILURES = 1  # among the last ten runs: no longer intermittent; lower than the way in, so that it does not flap


class State(StrEnum):
    """How a service, or one check of it, is known to be."""

    UP = "up"
    DEGRADED = "degraded"
    DOWN = "down"
    UNKNOWN = "unknown"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckTrack:
    """What the judge remembers of one check.

    `confirmed` is up, degraded, down, or unknown when nothing was ever confirmed. `misses` counts fails since the
    newest pass (a warning does not clear them), `troubles` the newest unbroken row of fails and warnings, `answers`
    the newest row without a fail, `passes` the newest row of passes, `unseen` the newest row of runs that could not
    look. `recent` holds the last ten verdicts that could look, oldest first, one letter each (p, w, f).
    `failing_at`, `troubled_at`, `answering_at` and `passing_at` are when the newest row of fails, troubles, answers and
    passes began; what was not seen breaks a row. `blind` says that it could not be looked at as often as a failure
    takes, and that nothing since has settled how it is. `intermittent` says that scattered failures, not a row of them,
    made it degraded. The texts belong to the newest trouble, `unseen_cause` to the newest unseen run.
    """

    confirmed: State = State.UNKNOWN
    misses: int = 0
    troubles: int = 0
    answers: int = 0
    passes: int = 0
    unseen: int = 0
    recent: str = ""
    failing_at: float = 0.0
    troubled_at: float = 0.0
    answering_at: float = 0.0
    passing_at: float = 0.0
    blind: bool = False
    intermittent: bool = False
    unseen_cause: Cause | None = None
    cause: Cause | None = None
    sentence: str = ""
    evidence: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """What the judge remembers of one service. Times are seconds since the epoch.

    `since` is when `state` began: for an outage the time of its first miss, not of its confirmation.
    `check` and `cause` name what decided the state; both are empty when it is up.
    """

    state: State = State.UNKNOWN
    since: float
    watched_since: float
    seen_up: bool = False
    check: str = ""
    cause: Cause | None = None
    checks: Mapping[str, CheckTrack] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """A confirmed change of a service's state. `at` is when it was confirmed, `since` when it began; epoch seconds."""

    service: str
    old: State
    new: State
    at: float
    since: float
    check: str = ""
    cause: Cause | None = None
    sentence: str = ""
    evidence: str = ""
    remedy: str = ""


def judge(
    track: Track, service: Service, check: Check, outcome: Outcome, diagnosis: Diagnosis | None, now: float
) -> tuple[Track, Flip | None]:
    """Given what is remembered of `service` and one outcome of `check`, gives what to remember and the flip, if any."""
    checks = {one.name: track.checks.get(one.name, CheckTrack()) for one in service.checks}
    before, after = checks[check.name], judge_check(checks[check.name], check, outcome, diagnosis, now)
    checks[check.name] = after
    state, decided, cause = worst(service, checks)
    troubled = state in (State.DOWN, State.DEGRADED) or (state == State.UNKNOWN and checks[decided].troubles > 0)
    if troubled and starting(track, service, now):
        state, cause = State.UNKNOWN, Cause.STARTING
    flipped = state != track.state
    since = track.since
    if flipped:
        # The check that moved has its say: another, ailing for long, may decide what is left once this one is well.
        since = max(_began(checks[name], now) for name in {decided or check.name, check.name})
        if before.blind:  # what nobody saw is not claimed for what was seen after it
            since = min(now, max(since, after.passing_at if after.passes else after.troubled_at))
    moved = replace(
        track,
        state=state,
        since=since,
        seen_up=track.seen_up or state == State.UP,
        check=decided,
        cause=cause,
        checks=checks,
    )
    return moved, _flip(service, track, moved, now) if flipped else None


def judge_check(
    track: CheckTrack, check: Check, outcome: Outcome, diagnosis: Diagnosis | None, now: float
) -> CheckTrack:
    """Counts one outcome and moves the confirmed state when a count reaches its threshold.

    A signal that was not asked, because its server does not answer, changes nothing of what is known of it: it neither
    is well now, nor has it become worse.
    """
    verdict = outcome.verdict
    if outcome.evidence.sight == Sight.NOT_ASKED and track.confirmed != State.UNKNOWN:
        return track
    if verdict == Verdict.UNKNOWN:
        unseen = track.unseen + 1
        blind = track.blind or unseen >= check.failure_threshold
        return replace(track, unseen=unseen, blind=blind, unseen_cause=diagnosis.cause if diagnosis else None)
    passed, failed = verdict == Verdict.PASS, verdict == Verdict.FAIL
    broken = track.unseen > 0
    counted = replace(
        track,
        misses=0 if passed else track.misses + failed,
        troubles=0 if passed else track.troubles + 1,
        answers=0 if failed else track.answers + 1,
        passes=track.passes + 1 if passed else 0,
        unseen=0,
        unseen_cause=None,
        recent=(track.recent + verdict.value[0])[-RECENT_RUNS:],
        failing_at=now if failed and (broken or track.answers or not track.misses) else track.failing_at,
        troubled_at=now if not passed and (broken or not track.troubles) else track.troubled_at,
        answering_at=now if not failed and (broken or not track.answers) else track.answering_at,
        passing_at=now if passed and (broken or not track.passes) else track.passing_at,
    )
    if not passed:
        counted = replace(
            counted,
            cause=diagnosis.cause if diagnosis else Cause.BAD_ANSWER,
            sentence=diagnosis.sentence if diagnosis else "",
            remedy=diagnosis.remedy if diagnosis else "",
            evidence=outcome.evidence.text,
        )
    confirmed = _confirm(counted, check)
    # A fail after a blind spell settles nothing yet: it must not be told as "up again".
    return replace(confirmed, blind=track.blind and failed and confirmed.confirmed != _bad(check))


def _confirm(track: CheckTrack, check: Check) -> CheckTrack:  # noqa: PLR0911 -- one return a row of the table
    """The thresholds: what a check's counts make of its confirmed state."""
    if track.misses >= check.failure_threshold and not track.answers:
        return replace(track, confirmed=_bad(check), intermittent=False)
    failures = track.recent.count("f")
    if track.confirmed in (State.DOWN, State.DEGRADED):
        if track.intermittent and failures > SETTLED_FAILURES:
            return replace(track, cause=Cause.INTERMITTENT)
        if track.passes >= check.success_threshold:
            # The trouble was told; what is left of it in `recent` must not make a recovered check look intermittent.
            return replace(track, confirmed=State.UP, intermittent=False, recent="p" * track.passes)
        if track.confirmed == State.DOWN and track.answers >= check.success_threshold:
            return replace(track, confirmed=State.DEGRADED, misses=0)
        return track
    if track.troubles >= check.warn_threshold:
        return replace(track, confirmed=State.DEGRADED)
    if failures >= INTERMITTENT_FAILURES:
        return replace(track, confirmed=State.DEGRADED, intermittent=True, cause=Cause.INTERMITTENT)
    if track.passes:
        return replace(track, confirmed=State.UP)
    return track


def worst(service: Service, checks: Mapping[str, CheckTrack]) -> tuple[State, str, Cause | None]:
    """The state of a service from its checks', the check that decided it ("" when all is well) and that one's cause.

    Down before degraded before unknown. A check whose miss would only degrade never makes a service unknown.
    """
    shown = [(check, shown_state(checks[check.name])) for check in service.checks]
    for state in (State.DOWN, State.DEGRADED):
        for check, one in shown:
            if one == state:
                return state, check.name, checks[check.name].cause
    for check, one in shown:
        if one == State.UNKNOWN and check.severity == "down":
            return State.UNKNOWN, check.name, checks[check.name].unseen_cause
    if shown and all(one == State.UNKNOWN for _, one in shown):
        return State.UNKNOWN, shown[0][0].name, checks[shown[0][0].name].unseen_cause
    return State.UP, "", None


def shown_state(track: CheckTrack) -> State:
    """A check's state: what was confirmed, or unknown while it is blind."""
    return State.UNKNOWN if track.blind else track.confirmed


def starting(track: Track, service: Service, now: float) -> bool:
    """Whether the service was never yet seen up and may still be starting. A restart of ours does not renew it."""
    return not track.seen_up and 0 <= now - track.watched_since < service.start_period


def unsettled(track: CheckTrack, check: Check) -> bool:
    """Whether the newest outcomes speak against the confirmed state, so that a quick second look would settle it."""
    if 0 < track.unseen < check.failure_threshold:
        return True
    if track.confirmed == State.DOWN:
        return track.answers > 0
    newest_failed = track.misses > 0 and track.answers == 0
    if track.confirmed == State.DEGRADED and 0 < track.passes < check.success_threshold:
        return True
    return newest_failed and track.misses < check.failure_threshold


def _bad(check: Check) -> State:
    return State.DOWN if check.severity == "down" else State.DEGRADED


def _began(track: CheckTrack, now: float) -> float:
    """When a check began to be as it is shown: the first outcome of the row that led there, never after now."""
    began = {
        State.UP: track.passing_at,
        # Coming from down the answers are new, coming from up the troubles are: whichever row is the shorter.
        State.DEGRADED: max(track.troubled_at, track.answering_at if track.answers else 0.0),
        State.DOWN: track.failing_at,
    }.get(shown_state(track), now)
    return min(began or now, now)


def _flip(service: Service, old: Track, new: Track, now: float) -> Flip:
    decided = new.checks.get(new.check)
    told = decided is not None and new.state in (State.DOWN, State.DEGRADED)
    return Flip(
        service=service.name,
        old=old.state,
        new=new.state,
        at=now,
        since=new.since,
        check=new.check,
        cause=new.cause,
        sentence=decided.sentence if told and decided else "",
        evidence=decided.evidence if told and decided else "",
        remedy=decided.remedy if told and decided else "",
    )
