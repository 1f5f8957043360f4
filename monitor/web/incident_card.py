"""An incident and a silence as the status page shows them."""

from collections.abc import Mapping

from alerts.texts import duration
from config.watched import Service
from monitor.dependencies import title_of
from monitor.incidents import Incident
from monitor.silences import Silence
from monitor.times import timestamp

ENTRIES = 30  # newest lines shown of one incident's timeline

# The look of an incident by its state.
INCIDENT_SIGNS: Mapping[str, tuple[str, str]] = {
    "down": ("down", "✕"),
    "blind": ("down", "?"),
    "degraded": ("degraded", "!"),
    "up": ("up", "✓"),
}


def incident_card(incident: Incident, services: Mapping[str, Service], now: float) -> Mapping[str, object]:
    """Gives one incident as the template shows it; `services` are those that are watched, by name."""
    over = incident.resolved_at is not None
    tone, sign = INCIDENT_SIGNS.get("up" if over else incident.state, INCIDENT_SIGNS["down"])
    ended = now if incident.resolved_at is None else incident.resolved_at
    return {
        "id": incident.id,
        "service": incident.root if incident.root in services else "",
        "title": title_of(incident.root, services),
        "tone": tone,
        "sign": sign,
        "word": "Over" if over else "Flapping" if incident.flapping else incident.state.capitalize(),
        "since": incident.since,
        "ended": incident.resolved_at,
        "lasted": duration(ended - incident.since),
        "sentence": incident.sentence,
        "worst": incident.worst,
        "affected": ", ".join(title_of(name, services) for name in incident.affected),
        "failed": incident.failed_checks,
        "downs": incident.downs,
        "acknowledged": incident.acknowledged_by,
        "earlier": max(0, len(incident.timeline) - ENTRIES),
        "timeline": incident.timeline[-ENTRIES:],
    }


def silence_in_words(silence: Silence) -> str:
    """Gives a silence that holds now, as people read it."""
    until = "" if silence.until is None else f" until {timestamp(silence.until)}"
    rhythm = f" (again and again: {silence.cron})" if silence.cron else ""
    kind = "Maintenance" if silence.maintenance else "Silenced"
    return (
        f"{kind}: nothing is told about {silence.service}{until}{rhythm}. {silence.by} says: {silence.why.rstrip('.')}."
    )
