"""The newest of everything, in memory: what the web pages, the metrics and the command line show.

Only `watch` writes it, on the event loop; readers on the loop see whole values. Times are seconds since the epoch.
"""

from collections import Counter
from dataclasses import dataclass, field

from config.services import Check, Service
from monitor.diagnose.base import Diagnosis
from monitor.judge import CheckTrack, State, Track
from monitor.probes.base import Outcome, Verdict


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

    def check_track(self, name: str) -> CheckTrack:
        """What the judge remembers of check `name`; a blank one before its first run."""
        return self.track.checks.get(name, CheckTrack())


@dataclass(slots=True, kw_only=True)
class Board:
    """Every service's newest, and how the daemon itself fares.

    `lateness` is seconds by which runs started after they were due. `loop_alive_at` is when the watch loop last turned;
    `state_problem` says why the state file is not used, or is None.
    """

    instance: str
    version: str
    started_at: float
    services: dict[str, ServiceStatus] = field(default_factory=dict)
    loop_alive_at: float = 0.0
    lateness_max: float = 0.0
    lateness_sum: float = 0.0
    lateness_count: int = 0
    state_problem: str | None = None
