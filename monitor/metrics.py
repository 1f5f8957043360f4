"""The current state as Prometheus metrics.

Nothing is probed and nothing is counted here: a scrape renders what the board holds, so a service that is no longer
watched has no series left. monitor/families.py names them.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from typing import NamedTuple

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, Metric, ProcessCollector, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from config.services import Service
from monitor.board import Board, CheckStatus, Histogram, ServiceStatus
from monitor.families import (
    BUILD,
    CERTIFICATE,
    CHECK_FAILED,
    CHECK_INFO,
    CHECK_INTERVAL,
    CHECK_LAST_LATENCY,
    CHECK_LAST_RUN,
    CHECK_LATENCY,
    CHECK_MEASURE,
    CHECK_MISSED,
    CHECK_RUNS,
    CHECK_UNSEEN,
    CHECK_UP,
    CHECK_WARNED,
    DROPPED,
    FAMILIES,
    HUNG,
    LATENESS,
    LOOP_TURN,
    SERVICE_DEPENDENCY,
    SERVICE_INFO,
    SERVICE_PROBLEM,
    SERVICE_SINCE,
    SERVICE_STATE,
    STANDBY,
    STATE_FILE,
    Reading,
    Total,
)
from monitor.judge import State
from monitor.own_samples import alert_samples, backup_samples, label
from monitor.probes.base import Verdict


class CheckRow(NamedTuple):
    """One check as a scrape needs it."""

    labels: tuple[str, str]
    kind: str
    severity: str
    interval: float
    up: bool | None
    ran_at: float | None
    latency: float | None
    latency_sum: float
    runs: Mapping[Verdict, int]
    missed: int
    expires_at: float | None
    measures: Mapping[str, float]


class ServiceRow(NamedTuple):
    """One service as a scrape needs it."""

    service: Service
    state: State
    since: float
    decided_by: str
    cause: str
    version: str
    checks: list[CheckRow]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The board's values at one moment, safe to render in another thread. Satisfies prometheus_client's Collector."""

    services: list[ServiceRow]
    own: list[Reading]

    def collect(self) -> Iterable[Metric]:
        """Gives every family with its samples, then those of the process itself (process_*)."""
        metrics = {
            family: Metric(family.name.removesuffix("_total").removesuffix("_info"), family.help, family.kind)
            for family in FAMILIES
        }
        for family, labels, value in self._samples():
            named = dict(zip(family.labels, labels, strict=True))
            if isinstance(value, Total):
                for bound, number in value.buckets:
                    edge = "+Inf" if bound == math.inf else repr(bound)
                    metrics[family].add_sample(f"{family.name}_bucket", {**named, "le": edge}, number)
                metrics[family].add_sample(f"{family.name}_count", named, value.number)
                metrics[family].add_sample(f"{family.name}_sum", named, value.total)
            else:
                metrics[family].add_sample(family.name, named, value)
        return [*metrics.values(), *ProcessCollector(registry=None).collect()]

    def _samples(self) -> Iterator[Reading]:
        yield from self.own
        for row in self.services:
            yield from _service_samples(row)
            for check in row.checks:
                yield from _check_samples(check)


class Collector:
    """Renders a board. Reading the board belongs on the event loop (`snapshot`), rendering anywhere (`render`)."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def snapshot(self) -> Snapshot:
        """Copies what a scrape needs. Call it on the event loop; 1,000 services take a few milliseconds."""
        board = self._board
        return Snapshot(
            services=[_service_row(status) for status in board.services.values()],
            own=[
                (BUILD, (board.version,), 1),
                (LOOP_TURN, (), max(board.started_at, board.loop_alive_at)),
                (LATENESS, (), _histogram(board.lateness)),
                (STATE_FILE, (), board.state_problem is None),
                (DROPPED, (), board.outcomes_dropped),
                (HUNG, (), board.probes_hung),
                (STANDBY, (), board.standby),
                *alert_samples(board),
                *backup_samples(board),
            ],
        )

    def collect(self) -> Iterable[Metric]:
        """What prometheus_client asks of a collector."""
        return self.snapshot().collect()


def render(snapshot: Snapshot, accept: str) -> tuple[bytes, str]:
    """Gives the exposition and its content type: OpenMetrics when the Accept header `accept` names it, else text."""
    if "application/openmetrics-text" in accept:
        return openmetrics.generate_latest(snapshot), openmetrics.CONTENT_TYPE_LATEST  # type: ignore[no-untyped-call]  # theirs has no annotations
    return generate_latest(snapshot), CONTENT_TYPE_PLAIN_0_0_4


def _histogram(values: Histogram) -> Total:
    running = tuple(accumulate(values.counts))
    return Total(running[-1], values.sum, tuple(zip((*values.bounds, math.inf), running, strict=True)))


def _service_row(status: ServiceStatus) -> ServiceRow:
    cause = status.track.cause or (status.diagnosis.cause if status.diagnosis else None)
    return ServiceRow(
        service=status.service,
        state=status.state,
        since=status.track.since,
        decided_by=status.track.check,
        cause=cause.value if cause else "",
        version=label(status.facts.get("version", "")),
        checks=[_check_row(status, check) for check in status.checks.values()],
    )


def _check_row(status: ServiceStatus, check: CheckStatus) -> CheckRow:
    name = check.check.name
    seen = status.check_track(name).recent
    paused = status.service.paused
    outcome = None if paused else check.outcome
    return CheckRow(
        labels=(status.service.name, name),
        kind=check.check.kind,
        severity=check.check.severity,
        interval=check.check.interval,
        up=seen[-1] != "f" if seen and not paused else None,
        ran_at=check.ran_at,
        latency=outcome.latency if outcome else None,
        latency_sum=check.latency_sum,
        runs=dict(check.runs),
        missed=check.missed,
        expires_at=_expiry(check, status.facts) if outcome else None,
        measures=outcome.measures if outcome else {},
    )


def _expiry(check: CheckStatus, kept: Mapping[str, str]) -> float | None:
    """Gives the fact `not_after` (RFC 3339) as seconds since the epoch, or None where there is none.

    A handshake that failed tells no date, so a tls check falls back on what its service is known by.
    """
    newest = check.outcome.facts if check.outcome else {}
    text = newest.get("not_after") or (kept.get("not_after") if check.check.kind == "tls" else None)
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _service_samples(row: ServiceRow) -> Iterator[Reading]:
    service = row.service
    for state in State:
        yield SERVICE_STATE, (service.name, state.value), state is row.state
    yield SERVICE_SINCE, (service.name,), row.since
    yield SERVICE_INFO, (service.name, service.kind, service.title, row.version), 1
    for parent in service.depends_on:
        yield SERVICE_DEPENDENCY, (service.name, parent), 1
    if row.cause and row.state in {State.DOWN, State.DEGRADED, State.UNKNOWN}:
        yield SERVICE_PROBLEM, (service.name, row.decided_by, row.cause), 1


def _check_samples(row: CheckRow) -> Iterator[Reading]:
    labels = row.labels
    runs = sum(row.runs.values())
    yield CHECK_INFO, (*labels, row.kind, row.severity), 1
    yield CHECK_INTERVAL, labels, row.interval
    yield CHECK_RUNS, labels, runs
    yield CHECK_FAILED, labels, row.runs.get(Verdict.FAIL, 0)
    yield CHECK_WARNED, labels, row.runs.get(Verdict.WARN, 0)
    yield CHECK_UNSEEN, labels, row.runs.get(Verdict.UNKNOWN, 0)
    yield CHECK_MISSED, labels, row.missed
    yield CHECK_LATENCY, labels, Total(runs, row.latency_sum)
    for family, value in (
        (CHECK_UP, row.up),
        (CHECK_LAST_RUN, row.ran_at),
        (CHECK_LAST_LATENCY, row.latency),
        (CERTIFICATE, row.expires_at),
    ):
        if value is not None:
            yield family, labels, value
    for name, number in row.measures.items():
        yield CHECK_MEASURE, (*labels, name), number
