"""Our own JSON document, posted to a receiver of the user's. docs/reference/alerts.md describes it to them."""

import hashlib
import hmac
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import httpx

from alerts.alert import Alert
from alerts.channels.base import Channel, Receipt
from alerts.channels.exchange import Provider, encode
from alerts.texts import clamp, clean, duration, rfc3339, web_address
from alerts.wording import headline, text
from config.alert_settings import AlertSettings
from config.secret import Secret

VERSION = 1
LONGEST_FACT, LONGEST_TEXT = 4_000, 12_000
TIMESTAMP_HEADER, SIGNATURE_HEADER, KEY_HEADER = "X-Watchkeeper-Timestamp", "X-Watchkeeper-Signature", "Idempotency-Key"


class Webhook:
    """One receiver; with a secret, each request is signed. `wall` gives epoch seconds."""

    name = "webhook"
    pages, groups, keyed = False, False, False

    def __init__(self, url: Secret, secret: Secret | None = None, *, wall: Callable[[], float] = time.time) -> None:
        self._secret = secret
        self._wall = wall
        self._provider = Provider("The webhook", url, secrets=[secret] if secret else [], wall=wall)

    async def send(self, alert: Alert, client: httpx.AsyncClient, *, ref: str = "") -> Receipt:  # noqa: ARG002 - it edits nothing
        """See Channel. Any 2xx is a success."""
        body = encode(document(alert))
        answer = await self._provider.ask(client, body, headers=headers(body, self._secret, self._wall()))
        if not 200 <= answer.status < 300:
            raise self._provider.failure(answer)
        return Receipt(said=f"the webhook answered {answer.status}")


def channels(settings: AlertSettings) -> Iterable[Channel]:
    """The channel, if it is set up."""
    return [Webhook(settings.webhook, settings.webhook_secret)] if settings.webhook else []


def headers(body: bytes, secret: Secret | None, now: float) -> dict[str, str]:
    """The headers that go with `body`: a key that is the same for the same alert, and what proves who sent it, when.

    `now` is epoch seconds.
    """
    named = {KEY_HEADER: hashlib.sha256(body).hexdigest()[:32]}
    if secret:
        named |= {TIMESTAMP_HEADER: str(int(now)), SIGNATURE_HEADER: signature(body, secret, int(now))}
    return named


def signature(body: bytes, secret: Secret, timestamp: int) -> str:
    """v1=, and the HMAC-SHA256 in hexadecimal of the timestamp, a point and the body."""
    signed = hmac.new(secret.reveal().encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1={signed.hexdigest()}"


def document(alert: Alert) -> dict[str, Any]:
    """The alert as a receiver's program wants it: every fact by its name, and two texts for people."""
    over = alert.at if alert.ended is None else alert.ended
    found: dict[str, Any] = {
        "version": VERSION,
        "kind": alert.kind.value,
        "severity": alert.severity.value,
        "incident": alert.incident,
        "dedup_key": alert.dedup_key,
        "instance": alert.instance,
        "service": alert.service,
        "title": alert.title,
        "state": alert.state,
        "since": rfc3339(alert.since),
        "at": rfc3339(alert.at),
        "ended": rfc3339(alert.ended),
        "lasted": duration(over - alert.since),
        "headline": headline(alert),
        "cause": alert.cause,
        "sentence": alert.sentence,
        "evidence": alert.evidence,
        "takes_down": [{"service": one.service, "title": one.title, "state": one.state} for one in alert.takes_down],
        "changes": [{"text": one.text, "at": rfc3339(one.at)} for one in alert.changes],
        "remedy": alert.remedy,
        "command": alert.command,
        "note": alert.note,
        "failed_checks": alert.failed_checks,
        "changes_of_state": alert.changes_of_state,
    }
    links = {"runbook": web_address(alert.runbook), "status_url": web_address(alert.status_url)}
    return {**_cleaned(found), **links, "text": clamp(text(alert), LONGEST_TEXT)}


def _cleaned(record: Mapping[str, Any]) -> dict[str, Any]:
    """Every text in it without control characters and half characters, and not endless."""

    def one(value: Any) -> Any:
        if isinstance(value, str):
            return clamp(clean(value), LONGEST_FACT)
        if isinstance(value, list):
            return [_cleaned(item) for item in value]
        return value

    return {name: one(value) for name, value in record.items()}
