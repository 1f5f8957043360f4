"""What is watched: services, each with its checks and what it depends on. The values alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from config.causes import Cause
from config.kinds import Params

Severity = Literal["down", "degraded"]
Urgency = Literal["critical", "error", "warning", "info", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One question asked of a service on a schedule.

    `severity` is what a confirmed miss makes of the service. Times are seconds. `latency_threshold` is the time
    above which a passing answer counts as a warning; None means never. `failure_threshold` fails in a row make a
    check down, `warn_threshold` runs in a row without a clean pass degraded, `success_threshold` passes in a row up.
    `remedies` override the service's for a cause that this check proves. `alert` is how loudly a miss is told, None: as
    the service says; "none" tells nobody.
    """

    name: str
    kind: str
    params: Params
    severity: Severity = "down"
    interval: float = 60.0
    timeout: float = 10.0
    failure_threshold: int = 3
    success_threshold: int = 2
    warn_threshold: int = 3
    latency_threshold: float | None = None
    remedies: Mapping[Cause, str] = field(default_factory=dict)
    alert: Urgency | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One thing watched.

    `kind` is the preset's name, or "custom" for one of WATCH_FILE's own. `address` is for people and holds no secret.
    `depends_on` names services that are watched too (a dependency that is not watched is left out).
    `variables` are the names it was discovered from. `remedies` override the general remedy for a cause.
    `start_period` is seconds: a service never yet seen up may fail that long before it counts as down.
    `alert` is how loudly it is told that it is not well, None: critical when down, warning when degraded. `runbook` is
    the address of the page that says what to do, or empty.
    """

    name: str
    kind: str
    title: str
    address: str
    checks: tuple[Check, ...]
    depends_on: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()
    remedies: Mapping[Cause, str] = field(default_factory=dict)
    start_period: float = 120.0
    paused: bool = False
    alert: Urgency | None = None
    runbook: str = ""
