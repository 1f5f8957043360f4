"""The newest of everything, in memory: what the web pages, the metrics and the command line show.

Only the daemon's loops write it, each its own part, on the event loop; readers on the loop see whole values. Times are
seconds since the epoch.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from alerts.alert import Severity
from alerts.trouble import DeliveryStatus
from config.services import Check, Service
from monitor.diagnose.base import Diagnosis
from monitor.judge import CheckTrack, State, Track
from monitor.probes.base import Outcome, Verdict

WORST_FIRST = (State.DOWN, State.DEGRADED, State.UNKNOWN, State.UP, State.PAUSED)  # the order in which people are told


@dataclass(slots=True, kw_only=True)
class CheckStatus:
    """The newest of one check. `runs` counts outcomes by verdict since start; `missed` counts runs due and not made."""

    check: Check
    outcome: Outcome | None = None
    diagnosis: Diagnosis | None = None
    ran_at: float | None = None
    runs: Counter[Verdict] = field(default_factory=Counter)
    missed: int = 0
    latency_sum: float = 0.0


@dataclass(slots=True, kw_only=True)
class ServiceStatus:
    """The newest of one service. `diagnosis` and `evidence` belong to the check that decided the state."""

    service: Service
    track: Track
    checks: dict[str, CheckStatus]
    facts: dict[str, str] = field(default_factory=dict)
    diagnosis: Diagnosis | None = None
    evidence: str = ""

    @property
    def state(self) -> State:
        """The state to show: paused when the user paused it, else what the judge says."""
        return State.PAUSED if self.service.paused else self.track.state

    def show_decided(self) -> None:
        """Takes the diagnosis and the evidence to show from what the judge remembers of the check that decided."""
        track = self.track.checks.get(self.track.check, CheckTrack())
        status = self.checks.get(self.track.check)
        if self.track.state in (State.DOWN, State.DEGRADED) and track.cause:
            self.diagnosis = Diagnosis(cause=track.cause, sentence=track.sentence, remedy=track.remedy)
            self.evidence = track.evidence
        elif self.track.state == State.UNKNOWN and status and status.outcome:
            self.diagnosis, self.evidence = status.diagnosis, status.outcome.evidence.text
        else:
            self.diagnosis, self.evidence = None, ""

    def unavailable(self) -> dict[str, list[str]]:
        """The checks that cannot be told here, by why: "not available: …", each reason once."""
        found: dict[str, list[str]] = {}
        for name, check in self.checks.items():
            if check.outcome and not check.outcome.available:
                found.setdefault(check.outcome.evidence.text, []).append(name)
        return found

    def check_track(self, name: str) -> CheckTrack:
        """What the judge remembers of check `name`; a blank one before its first run."""
        return self.track.checks.get(name, CheckTrack())


LATENESS_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


@dataclass(slots=True, kw_only=True)
class Histogram:
    """Counts of seconds by upper bound, the last count for all above; Prometheus' cumulative form is made when read."""

    bounds: tuple[float, ...] = LATENESS_BOUNDS
    counts: list[int] = field(default_factory=lambda: [0] * (len(LATENESS_BOUNDS) + 1))
    sum: float = 0.0

    def observe(self, seconds: float) -> None:
        """Counts one value; a negative one counts as zero."""
        seconds = max(0.0, seconds)
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds


@dataclass(slots=True, kw_only=True)
class BackupStatus:
    """How the daemon's own backup runs go. `progress` is the newest line of a run under way, `last` how the last ended.

    `runs` and `failed_runs` count since the start of the daemon.
    """

    schedule: str
    running: bool = False
    started_at: float | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    last_success_at: float | None = None
    last: dict[str, Any] = field(default_factory=dict)
    runs: int = 0
    failed_runs: int = 0


@dataclass(slots=True, kw_only=True)
class Board:
    """Every service's newest, and how the daemon itself fares.

    `lateness` is how long after they were due runs started. `loop_alive_at` is when the watch loop last turned,
    `newest_outcome` when a check last ended (seconds of the loop's clock). `state_problem` says why the state file is
    not used, or is None; `standby` that another daemon holds the folder. `outcomes_dropped` counts what was seen and
    could not be written, `probes_hung` the probes that outlived their deadline.

    `outbox` has an entry for each channel by name, in the order people should read them. `incidents_open` counts the
    open ones by severity, `incidents_opened` those opened since start, `silences_active` the windows that are now.
    `blind_since` is when we lost sight, None while we can look. `heartbeat_at` is when HEARTBEAT_URL last
    took a sign of life.
    """

    instance: str
    version: str
    started_at: float
    services: dict[str, ServiceStatus] = field(default_factory=dict)
    loop_alive_at: float = 0.0
    newest_outcome: float = 0.0
    lateness: Histogram = field(default_factory=Histogram)
    state_problem: str | None = None
    standby: bool = False
    backup: BackupStatus | None = None
    outcomes_dropped: int = 0
    probes_hung: int = 0
    outbox: Mapping[str, DeliveryStatus] = field(default_factory=dict)
    incidents_open: Mapping[Severity, int] = field(default_factory=dict)
    incidents_opened: int = 0
    silences_active: int = 0
    blind_since: float | None = None
    heartbeat_at: float | None = None
