"""The status as plain values: what /api/v1/status and `python -m monitor check --json` show. No web library here.

The shape is documented in docs/reference/api.md; names there are a promise.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from alerts.texts import rfc3339
from config.watched import Service
from monitor.board import WORST_FIRST, BackupStatus, Board, CheckStatus, ServiceStatus
from monitor.dependencies import title_of
from monitor.depth import LeftOut
from monitor.incidents import Incident
from monitor.judge import State
from monitor.past import Past, Watched
from monitor.silences import Silence


def status_document(board: Board) -> dict[str, Any]:
    """Gives everything the board holds, ready for json.dumps."""
    return {
        "instance": board.instance,
        "version": board.version,
        "started_at": rfc3339(board.started_at),
        "state": overall(status.state for status in board.services.values()).value,
        "services": services_document(board),
        "backup": _backup(board.backup),
    }


def _backup(status: BackupStatus | None) -> dict[str, Any] | None:
    """How the daemon's own backup runs go; None where none are taken."""
    if status is None:
        return None
    last = status.last and status.last | {"started_at": rfc3339(status.last["started_at"])}
    return {
        "schedule": status.schedule,
        "running": status.running,
        "started_at": rfc3339(status.started_at) if status.running and status.started_at else None,
        "progress": status.progress if status.running else None,
        "last_success_at": rfc3339(status.last_success_at) if status.last_success_at else None,
        "last": last or None,
    }


def incident_document(incident: Incident, services: Mapping[str, Service]) -> dict[str, Any]:
    """Gives one incident; `services` are those that are watched, by name."""
    return {
        "id": incident.id,
        "service": incident.root,
        "title": title_of(incident.root, services),
        "state": incident.state,
        "worst": incident.worst,
        "since": rfc3339(incident.since),
        "opened_at": rfc3339(incident.opened_at),
        "resolved_at": rfc3339(incident.resolved_at),
        "cause": incident.cause.value if incident.cause else None,
        "sentence": incident.sentence or None,
        "evidence": incident.evidence or None,
        "remedy": incident.remedy or None,
        "affected": list(incident.affected),
        "failed_checks": incident.failed_checks,
        "downs": incident.downs,
        "flapping": incident.flapping,
        "acknowledged_at": rfc3339(incident.acknowledged_at),
        "acknowledged_by": incident.acknowledged_by or None,
        "reminders": incident.reminders,
        "timeline": [
            {"at": rfc3339(entry.at), "what": entry.what.value, "text": entry.text} for entry in incident.timeline
        ],
    }


def silence_document(silence: Silence, now: float) -> dict[str, Any]:
    """Gives one silence, and whether it holds `now` (epoch seconds)."""
    return {
        "id": silence.id,
        "service": silence.service,
        "why": silence.why,
        "by": silence.by,
        "active": silence.active(now),
        "since": rfc3339(silence.since),
        "until": rfc3339(silence.until),
        "cron": silence.cron or None,
        "duration_seconds": silence.duration or None,
        "maintenance": silence.maintenance,
    }


def past_document(past: Past) -> dict[str, Any]:
    """Gives what is remembered of one service."""
    return {
        "service": past.service,
        "watched": {"24h": _watched(past.day), "7d": _watched(past.week)},
        "flips": [
            {
                "at": rfc3339(flip.at),
                "since": rfc3339(flip.since),
                "old": flip.old.value,
                "new": flip.new.value,
                "check": flip.check or None,
                "cause": flip.cause.value if flip.cause else None,
                "sentence": flip.sentence or None,
                "evidence": flip.evidence or None,
            }
            for flip in past.flips
        ],
        "facts": [
            {"name": fact.name, "value": fact.value, "since": rfc3339(fact.since), "before": fact.before}
            for fact in sorted(past.facts, key=lambda fact: -fact.since)
        ],
    }


def _watched(watched: Watched) -> dict[str, Any]:
    shares = {state.value: watched.share(state) for state in watched.by_state}
    return {
        "seconds": round(watched.seconds, 3),
        "shares": {name: round(share or 0, 6) for name, share in shares.items()},
    }


def left_out_document(left: Iterable[LeftOut]) -> list[dict[str, str]]:
    """Gives the checks that a look left out."""
    return [{"service": one.service, "check": one.check, "why": one.why} for one in left]


def services_document(board: Board) -> list[dict[str, Any]]:
    """Gives every service in the order it is watched."""
    return [_service(status) for status in board.services.values()]


def overall(states: Iterable[State]) -> State:
    """Gives the worst of `states`; paused services do not count, and nothing at all is unknown."""
    seen = set(states) - {State.PAUSED}
    return next((state for state in WORST_FIRST if state in seen), State.UNKNOWN)


def _service(status: ServiceStatus) -> dict[str, Any]:
    service, diagnosis = status.service, status.diagnosis
    cause = status.track.cause or (diagnosis.cause if diagnosis else None)
    return {
        "name": service.name,
        "title": service.title,
        "kind": service.kind,
        "state": status.state.value,
        "since": rfc3339(status.track.since),
        "cause": cause.value if cause else None,
        "sentence": diagnosis.sentence if diagnosis else None,
        "evidence": status.evidence or None,
        "remedy": diagnosis.remedy if diagnosis else None,
        "depends_on": list(service.depends_on),
        "facts": dict(status.facts),
        "checks": [_check(status, check) for check in status.checks.values()],
    }


def _check(status: ServiceStatus, check: CheckStatus) -> dict[str, Any]:
    outcome, diagnosis = check.outcome, check.diagnosis
    return {
        "name": check.check.name,
        "kind": check.check.kind,
        "verdict": outcome.verdict.value if outcome else None,
        "available": outcome.available if outcome else None,
        "state": status.check_track(check.check.name).confirmed.value,
        "latency_seconds": round(outcome.latency, 6) if outcome else None,
        "cause": diagnosis.cause.value if diagnosis else None,
        "evidence": outcome.evidence.text or None if outcome else None,
        "remedy": diagnosis.remedy if diagnosis else None,
        "last_run_at": rfc3339(check.ran_at),
    }
