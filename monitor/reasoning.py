"""From one look at a service and its neighbours to whose trouble it is: what was concluded from what. Pure.

`diagnose` says what the evidence of one check proves. Here the neighbours have their say: a service that reports a lost
database while the database answers has lost its own way to it, and a dependency that is down is to be mended first.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from config.causes import Cause
from monitor.board import Board, CheckStatus, ServiceStatus
from monitor.diagnose.table import decide
from monitor.guilt import LOOK_AWAY, Trouble, explains, provider_of
from monitor.judge import State
from monitor.probes.base import Sight, Verdict

Confidence = Literal["proven", "likely", "unsure"]

# That nothing came proves less than something that did.
_SILENCE = frozenset({Sight.RESET, Sight.NO_CONNECT, Sight.NO_ANSWER})
_NOT_SEEN = frozenset({Sight.NO_RESOLVER, Sight.NO_ROUTE, Sight.CUT_OFF, Sight.LATE, Sight.FAULT})
_AT_THE_DOOR = frozenset({Sight.REFUSED, Sight.NO_NAME, Sight.TLS, Sight.NO_CONNECT})
TROUBLE = (State.DOWN, State.DEGRADED)
# What passes at an address that is another service's proves nothing about this one.
_ELSEWHERE = frozenset({Cause.WRONG_SERVICE, Cause.WRONG_PORT})

# By which words a service speaks of each kind of dependency.
_SPEAKS_OF: Mapping[str, str] = {
    "postgres": r"postgres|\bdatabase|\bDB\b",
    "clickhouse": r"clickhouse",
    "redis": r"redis|valkey|queue",
    "minio": r"bucket|blob|\bS3\b|minio|object store",
    "qdrant": r"qdrant|vector",
    "litellm": r"litellm",
    "langfuse-web": r"langfuse",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reasoning:
    """Whose trouble it is, and how that was found.

    `root` is the service to mend first, itself or a dependency. `confidence`: proven by what was answered, likely by
    what was not or by what could be ruled out, unsure where we could not look. `because` are the steps, `ruled_out`
    what it is not, each a sentence.
    """

    root: str
    cause: Cause | None
    confidence: Confidence
    sentence: str
    remedy: str
    because: tuple[str, ...] = ()
    ruled_out: tuple[str, ...] = ()


def reason(board: Board, name: str) -> Reasoning:
    """Gives the reasoning about service `name` of a board on which its dependencies were looked at as well."""
    status = board.services[name]
    decided = _decided(status)
    parents = [board.services[one] for one in status.service.depends_on if one in board.services]
    provider = provider_of(
        status.service, decided.check if decided else None, [one.service for one in board.services.values()]
    )
    if provider and provider not in status.service.depends_on:
        parents.append(board.services[provider])
    if decided is None or decided.outcome is None or decided.diagnosis is None:
        return _well(status, parents)
    suspects = _suspects(decided, parents)
    guilty = _guilty(status, decided, suspects, parents)
    because = [_step(status, decided)]
    ruled_out = [*_own_parts(status, decided), *(_innocent(one) for one in parents if one.state == State.UP)]
    if guilty is not None and guilty.diagnosis is not None:
        because.append(_blames(status, decided, guilty))
        because += [f"{one.service.title} is down too." for one in parents if one.state == State.DOWN and one != guilty]
        proven = decided.diagnosis.cause == Cause.DEPENDENCY
        return Reasoning(
            root=guilty.service.name,
            cause=guilty.diagnosis.cause,
            confidence="proven" if proven else "likely",
            sentence=f"{guilty.diagnosis.sentence} {status.service.title} needs it.",
            remedy=guilty.diagnosis.remedy,
            because=tuple(because),
            ruled_out=tuple(ruled_out),
        )
    confidence, sentence = _confidence(decided), decided.diagnosis.sentence
    if decided.diagnosis.cause == Cause.DEPENDENCY and not _outside(decided):
        confidence, more, step = _lost_way(status, suspects)
        sentence = f"{sentence} {more}".strip()
        because += [step] if step else []
    return Reasoning(
        root=name,
        cause=decided.diagnosis.cause,
        confidence=confidence,
        sentence=sentence,
        remedy=decided.diagnosis.remedy,
        because=tuple(because),
        ruled_out=tuple(ruled_out),
    )


def _outside(decided: CheckStatus) -> bool:
    """Whether it speaks of a provider somewhere in the world, which nobody here watches."""
    assert decided.outcome is not None
    return decided.outcome.evidence.code.startswith("provider")


def _lost_way(status: ServiceStatus, suspects: list[ServiceStatus]) -> tuple[Confidence, str, str]:
    """What a service's own word of a lost dependency means where none of `suspects` is down: how sure that is, what to
    add to the sentence, and a step of the reasoning.
    """
    if not suspects:
        return (
            "unsure",
            "",
            "What it depends on there is not watched, so a dead one cannot be told from a lost way to it.",
        )
    ailing = [f"{one.service.title} is {one.state.value}" for one in suspects if one.state != State.UP]
    if ailing:
        return "unsure", "", f"{' and '.join(ailing)}, which may be the reason."
    names = " and ".join(one.service.title for one in suspects)
    answers = "itself answers" if len(suspects) == 1 else "themselves answer"
    return "likely", f"{names} {answers}, so {status.service.title} lost its own way there.", ""


def _decided(status: ServiceStatus) -> CheckStatus | None:
    """The check that made the service what it is; of one that is up the first that did not pass, None: all passed."""
    if status.track.check and status.state != State.UP:
        return status.checks[status.track.check]
    missed = (check for check in status.checks.values() if check.outcome and check.outcome.verdict != Verdict.PASS)
    return next(missed, None)


def _well(status: ServiceStatus, parents: list[ServiceStatus]) -> Reasoning:
    told = [check for check in status.checks.values() if check.outcome and check.outcome.available]
    count = f"{len(told)} checks pass" if len(told) != 1 else "its one check passes"
    sentence = f"{status.service.title} is well: {count}."
    if dead := " and ".join(one.service.title for one in parents if one.state == State.DOWN):
        sentence += f" But {dead}, which it needs, is down: expect it to fail, whatever its health page says."
    if status.service.paused:
        sentence = f"{status.service.title} is paused, and was not looked at."
    return Reasoning(root=status.service.name, cause=None, confidence="proven", sentence=sentence, remedy="")


def _step(status: ServiceStatus, decided: CheckStatus) -> str:
    """Which rule fired on which evidence."""
    assert decided.outcome is not None
    seen = f"{decided.check.name} saw: {decided.outcome.evidence.text.rstrip('. ')}."
    found = decide(status.service, decided.check, decided.outcome)
    if found is None:
        return seen
    rule, sign = found
    proof = f"its answer shows “{sign.name}”" if sign else rule.proof
    return f"{seen} That is {rule.cause.value} ({proof})."


def _suspects(decided: CheckStatus, parents: list[ServiceStatus]) -> list[ServiceStatus]:
    """The dependencies that the words of the evidence may be about; all of them where they name none."""
    assert decided.outcome is not None
    assert decided.diagnosis is not None
    words = f"{decided.diagnosis.sentence} {decided.outcome.evidence.text} {decided.outcome.evidence.sign}"
    named = [
        one
        for one in parents
        if one.service.kind in _SPEAKS_OF and re.search(_SPEAKS_OF[one.service.kind], words, re.IGNORECASE)
    ]
    return named or parents


def _guilty(
    status: ServiceStatus, decided: CheckStatus, suspects: list[ServiceStatus], parents: list[ServiceStatus]
) -> ServiceStatus | None:
    """The dependency whose own trouble explains what was seen; None where none does."""
    assert decided.diagnosis is not None
    if _outside(decided):
        return None
    among = suspects if decided.diagnosis.cause == Cause.DEPENDENCY else parents
    bad = [State.DOWN] if decided.check.severity == "down" else [State.DOWN, State.DEGRADED]
    mine = _trouble(status, decided, bad[-1], parents)
    return next(
        (
            one
            for state in bad
            for one in among
            if one.state == state and explains(_trouble(one, _decided(one), state, ()), mine)
        ),
        None,
    )


def _trouble(
    status: ServiceStatus, decided: CheckStatus | None, state: State, around: Iterable[ServiceStatus]
) -> Trouble:
    """What is wrong with a service; `around` are those at which it may try its key."""
    return Trouble(
        name=status.service.name,
        kind=status.service.kind,
        state=state,
        cause=decided.diagnosis.cause if decided and decided.diagnosis else status.track.cause,
        asks=decided.check.kind if decided else "",
        provider=provider_of(status.service, decided.check if decided else None, [one.service for one in around]),
    )


def _blames(status: ServiceStatus, decided: CheckStatus, guilty: ServiceStatus) -> str:
    assert decided.diagnosis is not None
    word = guilty.state.value
    if decided.diagnosis.cause == Cause.DEPENDENCY:
        return f"{guilty.service.title}, asked directly, is {word}: that is what {status.service.title} speaks of."
    return f"{guilty.service.title}, which it needs, is {word} as well: mend that first, and look again."


def _own_parts(status: ServiceStatus, decided: CheckStatus) -> list[str]:
    """What its own other checks show to be well."""
    assert decided.outcome is not None
    assert decided.diagnosis is not None
    if decided.outcome.evidence.sight in _AT_THE_DOOR or decided.diagnosis.cause in _ELSEWHERE:
        return []
    good = [
        check.check.name
        for check in status.checks.values()
        if check is not decided
        and check.check.kind not in LOOK_AWAY
        and check.outcome
        and check.outcome.verdict == Verdict.PASS
        and check.outcome.available
    ]
    if not good:
        return []
    verb = "passes" if len(good) == 1 else "pass"
    return [f"Not the process, its port or the network to it: {', '.join(good)} {verb}."]


def _innocent(parent: ServiceStatus) -> str:
    shown = next((check for check in parent.checks.values() if check.outcome and check.outcome.available), None)
    if shown is None or shown.outcome is None:
        return f"Not {parent.service.title}: it is up."
    took = shown.outcome.latency * 1000
    return f"Not {parent.service.title}: it answers directly ({shown.check.name}, {took:.0f} ms)."


def _confidence(decided: CheckStatus) -> Confidence:
    assert decided.outcome is not None
    sight = decided.outcome.evidence.sight
    if sight in _NOT_SEEN or decided.outcome.verdict == Verdict.UNKNOWN:
        return "unsure"
    return "likely" if sight in _SILENCE else "proven"
