"""PagerDuty's Events API v2: one incident there for each dedup_key, opened, changed and ended by events."""

import hashlib
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpx

from alerts.alert import Alert, Kind
from alerts.channels.base import Channel, Receipt
from alerts.channels.exchange import Provider
from alerts.texts import clamp, clean, rfc3339
from alerts.wording import headline, lead, lines
from config.alert_settings import AlertSettings
from config.secret import Secret

# https://developer.pagerduty.com/docs/events-api-v2: a summary has 1,024 characters, a key 255, an event 512 KB.
LONGEST_SUMMARY, LONGEST_KEY, LONGEST_DETAIL, LONGEST_NAME = 1_000, 255, 2_000, 200


class PagerDuty:
    """One integration of one PagerDuty service. 202 means the event was taken, not that somebody was called."""

    name = "pagerduty"
    pages, groups, keyed = True, False, True

    def __init__(self, key: Secret, url: str, *, wall: Callable[[], float] = time.time) -> None:
        self._key = key
        self._provider = Provider("PagerDuty", Secret(url), secrets=[key], wall=wall)

    async def send(self, alert: Alert, client: httpx.AsyncClient, *, ref: str = "") -> Receipt:  # noqa: ARG002 - the key finds it
        """See Channel. A notice (a test) is an incident that is ended at once."""
        for event in events(alert, self._key):
            answer = await self._provider.ask(client, event)
            if answer.status != 202:
                raise self._provider.failure(answer, said=_why(answer.json()))
        return Receipt(said="PagerDuty accepted the event (202)", ref=dedup_key(alert.dedup_key))


def channels(settings: AlertSettings) -> Iterable[Channel]:
    """The channel, if it is set up."""
    return [PagerDuty(settings.pagerduty_key, settings.pagerduty_url)] if settings.pagerduty_key else []


def events(alert: Alert, key: Secret) -> list[dict[str, Any]]:
    """What is posted, one after the other. A trigger of a key that is open already changes that incident."""
    actions = {Kind.RESOLVE: ("resolve",), Kind.BRIEF: ("resolve",), Kind.NOTICE: ("trigger", "resolve")}
    return [_event(alert, action, key) for action in actions.get(alert.kind, ("trigger",))]


def _event(alert: Alert, action: str, key: Secret) -> dict[str, Any]:
    named = {"routing_key": key.reveal(), "event_action": action, "dedup_key": dedup_key(alert.dedup_key)}
    if action == "resolve":
        return named
    links = [{"href": line.href, "text": line.label} for line in lines(alert) if line.href]
    page = next((one["href"] for one in links if one["text"] == "Status page"), "")
    shown = {"client": "Watchkeeper", "client_url": page, "links": links}
    return {**named, "payload": _payload(alert), **{name: value for name, value in shown.items() if value}}


def dedup_key(key: str) -> str:
    """`key` as PagerDuty takes it: the same for the same key for ever, and another for another."""
    plain = clean(key)
    if plain == key and 0 < len(key.encode()) <= LONGEST_KEY:
        return key
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    room = LONGEST_KEY - len(digest) - 1
    return f"{plain.encode()[:room].decode('utf-8', 'ignore')}-{digest}"


def _payload(alert: Alert) -> dict[str, Any]:
    payload: dict[str, Any] = {
        "summary": clamp(" ".join([f"{headline(alert)}.", *lead(alert)]), LONGEST_SUMMARY),
        "source": clamp(clean(alert.instance), LONGEST_NAME) or "Watchkeeper",
        "severity": alert.severity.value,
        "component": clamp(clean(alert.service), LONGEST_NAME),
        "class": clamp(clean(alert.cause), LONGEST_NAME),
        "timestamp": rfc3339(alert.since),
        "custom_details": _details(alert),
    }
    return {name: value for name, value in payload.items() if value}


def _details(alert: Alert) -> dict[str, str]:
    """The facts in their order, under the words people know from chat."""
    found = {line.label: line.text for line in lines(alert) if not line.href}
    if alert.failed_checks > 0:
        found["Check runs failed"] = str(alert.failed_checks)
    found["Incident"] = clean(alert.incident)
    return {label: clamp(words, LONGEST_DETAIL) for label, words in found.items() if words}


def _why(answer: dict[str, Any]) -> str:
    """PagerDuty's own words for what is wrong with an event."""
    errors = answer.get("errors")
    words = [str(one) for one in errors] if isinstance(errors, list) else []
    return "; ".join([str(answer.get("message", "")), *words]).strip("; ")
