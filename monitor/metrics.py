"""The current state as Prometheus metrics.

Nothing is probed and nothing is counted here: a scrape renders what the board holds, so a service that is no longer
watched has no series left. `python -m monitor.metrics` writes the table of docs/reference/metrics.md anew.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import Literal, NamedTuple

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, Metric, ProcessCollector, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from config.services import Service
from monitor.board import Board, CheckStatus, Histogram, ServiceStatus
from monitor.judge import State
from monitor.probes.base import Verdict


class Family(NamedTuple):
    """One metric's name, kind, labels and meaning, the same for the scrape and for the reference page."""

    name: str
    kind: Literal["gauge", "counter", "summary", "histogram", "info"]
    labels: tuple[str, ...]
    help: str


class Total(NamedTuple):
    """The value of a summary or a histogram: how many, their sum, and how many up to each bound."""

    number: int
    total: float
    buckets: tuple[tuple[float, int], ...] = ()


# A family, the values of its labels, and its value.
Reading = tuple[Family, tuple[str, ...], float | Total]

SERVICE = ("service",)
CHECK = ("service", "check")

SERVICE_INFO = Family(
    "watchkeeper_service_info",
    "info",
    ("service", "kind", "title", "version"),
    "A service that is watched; version is the one it last told of itself, or empty.",
)
SERVICE_DEPENDENCY = Family(
    "watchkeeper_service_dependency_info",
    "info",
    ("service", "depends_on"),
    "A service that this service needs, and that is watched too.",
)
SERVICE_STATE = Family(
    "watchkeeper_service_state",
    "gauge",
    ("service", "state"),
    "1 for the state the service is in, 0 for every other state.",
)
SERVICE_SINCE = Family(
    "watchkeeper_service_state_since_timestamp_seconds",
    "gauge",
    SERVICE,
    "When the state began; for an outage the time of its first miss, not of its confirmation.",
)
SERVICE_PROBLEM = Family(
    "watchkeeper_service_problem_info",
    "info",
    ("service", "check", "cause"),
    "What decided the state of a service that is degraded, down or unknown. No series while it is up.",
)
CHECK_INFO = Family(
    "watchkeeper_check_info",
    "info",
    ("service", "check", "kind", "severity"),
    "A check that is made; severity is what a confirmed miss makes of its service.",
)
CHECK_INTERVAL = Family(
    "watchkeeper_check_interval_seconds", "gauge", CHECK, "Time between the starts of two scheduled runs."
)
CHECK_UP = Family(
    "watchkeeper_check_up",
    "gauge",
    CHECK,
    "1 when the newest run that could look passed or warned, 0 when it failed. No series before the first such run.",
)
CHECK_LAST_RUN = Family(
    "watchkeeper_check_last_run_timestamp_seconds",
    "gauge",
    CHECK,
    "When the newest run ended. No series before the first run.",
)
CHECK_LAST_LATENCY = Family(
    "watchkeeper_check_last_latency_seconds",
    "gauge",
    CHECK,
    "What the newest run took, from look-up to last byte. No series before the first run.",
)
CHECK_LATENCY = Family(
    "watchkeeper_check_latency_seconds",
    "summary",
    CHECK,
    "What runs took, from look-up to last byte, failed runs included. Sum and count, no quantiles.",
)
CHECK_RUNS = Family("watchkeeper_check_runs_total", "counter", CHECK, "Runs made, whatever they saw.")
CHECK_FAILED = Family("watchkeeper_check_failed_runs_total", "counter", CHECK, "Runs that saw a failure.")
CHECK_WARNED = Family("watchkeeper_check_warned_runs_total", "counter", CHECK, "Runs that saw a warning.")
CHECK_UNSEEN = Family("watchkeeper_check_unseen_runs_total", "counter", CHECK, "Runs that could not look at all.")
CHECK_MISSED = Family("watchkeeper_check_missed_runs_total", "counter", CHECK, "Runs that were due and not made.")
CERTIFICATE = Family(
    "watchkeeper_certificate_expiry_timestamp_seconds",
    "gauge",
    CHECK,
    "When the certificate this check last saw expires. No series where no certificate was seen.",
)
BUILD = Family("watchkeeper_build_info", "info", ("version",), "The version of Watchkeeper that answers.")
LATENESS = Family("watchkeeper_run_lateness_seconds", "histogram", (), "How long after they were due runs started.")
LOOP_TURN = Family(
    "watchkeeper_loop_last_turn_timestamp_seconds",
    "gauge",
    (),
    "When the watch loop last turned; the time of start before its first turn.",
)
STATE_FILE = Family(
    "watchkeeper_state_file_in_use",
    "gauge",
    (),
    "1 when state is kept in its file, 0 when the daemon goes on in memory alone.",
)
STANDBY = Family(
    "watchkeeper_standby", "gauge", (), "1 when another daemon holds the state folder and this one waits, else 0."
)

FAMILIES: tuple[Family, ...] = (
    SERVICE_STATE,
    SERVICE_SINCE,
    SERVICE_PROBLEM,
    SERVICE_INFO,
    SERVICE_DEPENDENCY,
    CHECK_UP,
    CHECK_LAST_RUN,
    CHECK_LAST_LATENCY,
    CHECK_LATENCY,
    CHECK_RUNS,
    CHECK_FAILED,
    CHECK_WARNED,
    CHECK_UNSEEN,
    CHECK_MISSED,
    CHECK_INTERVAL,
    CHECK_INFO,
    CERTIFICATE,
    LOOP_TURN,
    LATENESS,
    STATE_FILE,
    STANDBY,
    BUILD,
)


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
                (STANDBY, (), board.standby),
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
        version=_label(status.facts.get("version", "")),
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


def _label(text: str) -> str:
    """Gives a watched server's words as a label: bounded, and free of surrogates, which cannot be encoded."""
    return text[:100].encode("utf-8", "replace").decode()


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


def reference_table() -> str:
    """Gives the table of docs/reference/metrics.md."""
    rows = (f"| `{f.name}` | {f.kind} | {', '.join(f.labels) or '-'} | {f.help} |\n" for f in FAMILIES)
    return "| metric | type | labels | meaning |\n|---|---|---|---|\n" + "".join(rows)


def with_table(page: str) -> str:
    """Given the text of docs/reference/metrics.md, gives it with its table written anew.

    Raises ValueError when the two marks that enclose the table are not there.
    """
    before, begin, rest = page.partition("<!-- table -->\n")
    _, end, after = rest.partition("<!-- end of table -->\n")
    if not begin or not end:
        raise ValueError("the page lacks its marks: <!-- table --> and <!-- end of table -->")
    return before + begin + reference_table() + end + after


if __name__ == "__main__":
    PAGE = Path(__file__).parent.parent / "docs" / "reference" / "metrics.md"
    PAGE.write_text(with_table(PAGE.read_text()))
