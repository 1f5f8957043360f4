"""What is known of every service just now, as the incident core asks it: outcomes and tracks in, `Seen` out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from config.watched import Check, Service
from monitor.blame import TROUBLE
from monitor.incidents import Seen
from monitor.judge import CheckTrack, State, Track
from monitor.probes.base import Outcome, Verdict


@dataclass(slots=True)
class _Memory:
    """Of one service, since the daemon's start; times are the loop's clock. By check: when runs began that counted."""

    service: Service
    track: Track | None = None
    awaited: set[str] = field(default_factory=set)
    answered: dict[str, float] = field(default_factory=dict)
    passed: dict[str, float] = field(default_factory=dict)
    troubled_at: float | None = None
    failed_runs: int = 0


class Known:
    """Keeps `Seen` of every service. `tracks` are what the judge remembered from before, `now` the loop's clock."""

    def __init__(self, services: Iterable[Service], tracks: Mapping[str, Track], *, now: float) -> None:
        self.seen: dict[str, Seen] = {}
        self._memories: dict[str, _Memory] = {}
        self._awaited = 0
        for service in services:
            track = tracks.get(service.name)
            memory = _Memory(service, awaited=set() if service.paused else {check.name for check in service.checks})
            self._memories[service.name] = memory
            self._awaited += len(memory.awaited)
            if service.paused:
                self.seen[service.name] = Seen(state=State.PAUSED, since=track.since if track else 0.0)
            elif track is not None:
                self.moved(track, service, now)
            else:
                self.seen[service.name] = Seen(state=State.UNKNOWN, since=0.0)

    @property
    def round_over(self) -> bool:
        """Whether every check has come to an end once since the start."""
        return self._awaited == 0

    def saw(self, service: Service, check: Check, outcome: Outcome, now: float) -> None:
        """Take in one outcome, which ended at `now`."""
        memory, began = self._memories[service.name], now - outcome.latency
        if check.name in memory.awaited:
            memory.awaited.discard(check.name)
            self._awaited -= 1
        if outcome.verdict in (Verdict.PASS, Verdict.WARN):
            memory.answered[check.name] = began
        if outcome.verdict == Verdict.PASS:
            memory.passed[check.name] = began
        if outcome.verdict != Verdict.PASS and memory.troubled_at is None:
            memory.failed_runs = 0  # a new row of trouble; until then the last row's number can be read
        if outcome.verdict == Verdict.FAIL:
            memory.failed_runs += 1

    def moved(self, track: Track, service: Service, now: float) -> None:
        """Take in what the judge made of the outcome that `saw` was told just before."""
        memory = self._memories[service.name]
        memory.track = track
        troubled = track.state in TROUBLE or any(check.troubles for check in track.checks.values())
        if not troubled:
            memory.troubled_at = None
        elif memory.troubled_at is None:
            memory.troubled_at = now
        decided = track.checks.get(track.check, CheckTrack())
        trouble = track.state in TROUBLE
        self.seen[service.name] = Seen(
            state=track.state,
            since=track.since,
            troubled_at=memory.troubled_at,
            answered_at=_oldest(memory.answered, [one.name for one in service.checks if one.severity == "down"]),
            passed_at=_oldest(memory.passed, [one.name for one in service.checks]),
            check=track.check,
            cause=track.cause,
            sentence=decided.sentence if trouble else "",
            evidence=decided.evidence if trouble else "",
            remedy=decided.remedy if trouble else "",
            failed_runs=memory.failed_runs,
        )


def _oldest(times: Mapping[str, float], names: Iterable[str]) -> float | None:
    """The oldest of the times of these checks; None when one of them has none."""
    found = [times.get(name) for name in names]
    known = [at for at in found if at is not None]
    return min(known, default=None) if len(known) == len(found) else None
