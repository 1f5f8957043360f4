"""What the daemon says of its own work as Prometheus samples: its alerts and its backups."""

from collections.abc import Iterator

from alerts.alert import Severity
from alerts.channels.base import Reason
from backup.layout import begun_at
from monitor.board import Board
from monitor.families import (
    ALERTS_FAILED,
    ALERTS_OLDEST,
    ALERTS_PARKED,
    ALERTS_PENDING,
    ALERTS_SENT,
    BACKUP_DURATION,
    BACKUP_ERROR,
    BACKUP_FAILED,
    BACKUP_POINTS,
    BACKUP_PROOF,
    BACKUP_RESTORED,
    BACKUP_RUNNING,
    BACKUP_RUNS,
    BACKUP_SIZE,
    BACKUP_SUCCESS,
    BLIND,
    CHANNEL_REFUSED,
    HEARTBEAT,
    INCIDENTS,
    INCIDENTS_OPEN,
    SILENCES,
    Reading,
)


def alert_samples(board: Board) -> Iterator[Reading]:
    """Incidents, each channel's deliveries, and the heartbeat. What can be counted is there from the start, as 0."""
    for severity in Severity:
        yield INCIDENTS_OPEN, (severity.value,), board.incidents_open.get(severity, 0)
    yield INCIDENTS, (), board.incidents_opened
    yield BLIND, (), board.blind_since is not None
    yield SILENCES, (), board.silences_active
    for name, channel in board.outbox.items():
        yield ALERTS_PENDING, (name,), channel.pending
        yield ALERTS_SENT, (name,), channel.sent
        yield ALERTS_PARKED, (name,), channel.parked
        yield CHANNEL_REFUSED, (name,), channel.refused
        for reason in Reason:
            yield ALERTS_FAILED, (name, reason.value), channel.failed.get(reason, 0)
        if channel.oldest_at is not None:
            yield ALERTS_OLDEST, (name,), channel.oldest_at
    if board.heartbeat_at is not None:
        yield HEARTBEAT, (), board.heartbeat_at


def backup_samples(board: Board) -> Iterator[Reading]:
    """The daemon's own backup runs, and what their check last saw in the store; nothing where none are taken."""
    status = board.backup
    if status is None:
        return
    yield BACKUP_RUNNING, (), status.running
    yield BACKUP_RUNS, (), status.runs
    yield BACKUP_FAILED, (), status.failed_runs
    if status.last:
        yield BACKUP_DURATION, (), float(status.last["seconds"])
        yield BACKUP_SIZE, (), float(status.last["stored_bytes"])
        if status.last["exit_code"]:
            yield BACKUP_ERROR, (str(status.last["exit_code"]), label(status.last["error_class"])), 1
    watched = board.services.get("backups")
    successes = [status.last_success_at] if status.last_success_at is not None else []
    if watched and (complete := watched.facts.get("complete")):
        successes.append(begun_at(complete).timestamp())
    if successes:
        yield BACKUP_SUCCESS, (), max(successes)
    if watched and "points" in watched.facts:
        yield BACKUP_POINTS, (), float(watched.facts["points"])
        if "newest" in watched.facts:
            yield BACKUP_PROOF, (label(watched.facts["newest"]), label(watched.facts.get("proof", ""))), 1
        if restored := watched.facts.get("restored"):
            yield BACKUP_RESTORED, (), begun_at(restored).timestamp()


def label(text: str) -> str:
    """Gives a watched server's words as a label: bounded, and free of surrogates, which cannot be encoded."""
    return text[:100].encode("utf-8", "replace").decode()
