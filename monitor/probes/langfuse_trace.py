"""A trace of our own on its way through Langfuse: written now, looked for by later runs, and a new one now and then.

People see it: its name, environment and tag say whose it is, and an environment can be left out of every view.
"""

import asyncio
import secrets
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from config.signals import LangfuseSignalParams
from monitor.probes.ask import Said, ask, basic, told_elsewhere
from monitor.probes.base import UNDER_WAY, Answer, ProbeContext, Verdict, not_available

NAME = "watchkeeper round trip"
LABEL = "watchkeeper"
RETRY: Final = 300.0  # seconds from a trace that did not arrive to the next one
SAYS = "Written by Watchkeeper to see that traces arrive. CANARY_WRITES=off stops it."
EVENTS_ONLY = "events_only"  # how Langfuse 4 calls its mode without the older tables, in words of its refusals


@dataclass(slots=True)
class Trip:
    """The newest trace and what became of it. Times are the loop's. `otel`: Langfuse takes no other form here."""

    trace: str = ""
    written_at: float = 0.0
    next_at: float = 0.0
    otel: bool = False
    answer: Answer | None = None


async def round_trip(params: LangfuseSignalParams, timeout: float, context: ProbeContext) -> Answer:
    """Looks for the trace that is on its way, and writes another when one is due."""
    trip: Trip = context.accounts.setdefault(("langfuse_trace", params.url, params.public_key), Trip())
    now = asyncio.get_running_loop().time()
    if trip.trace:
        trip.answer = await _look(params, timeout, context, trip, now) or trip.answer
    if not trip.trace and now >= trip.next_at:
        refusal = await _write(params, timeout, context, trip, now)
        if refusal is not None:
            trip.answer = refusal
    says = "a trace is on its way; a later look shows whether it came"
    return trip.answer or Answer(verdict=Verdict.PASS, text=says, code=UNDER_WAY)


async def _look(
    params: LangfuseSignalParams, timeout: float, context: ProbeContext, trip: Trip, now: float
) -> Answer | None:
    """What is to be told of the trace on its way; None while that is still open. Gives up on it when it is overdue."""
    path = f"/api/public/v2/observations?traceId={trip.trace}" if trip.otel else f"/api/public/traces/{trip.trace}"
    said = await ask(context, "GET", params.url.rstrip("/") + path, timeout=timeout, headers=_login(params))
    age = now - trip.written_at
    if said.status == 200 and (said.get("data") if trip.otel else said.get("id")):
        trip.trace = ""
        return _arrived(age, params)
    if said.status == 404 and EVENTS_ONLY in said.text:
        trip.otel, trip.trace, trip.next_at = True, "", 0.0
        return None
    if said.status not in (200, 404):
        return _refusal(said, "unreadable")
    if params.fail is not None and age >= params.fail:
        trip.trace, trip.next_at = "", min(trip.next_at, now + RETRY)
        text = f"a trace that Langfuse took {age / 60:.0f} min ago is not there to be read"
        return Answer(verdict=Verdict.FAIL, text=text, sign="trace", code="lost")
    return None


def _arrived(age: float, params: LangfuseSignalParams) -> Answer:
    measures = {"trace_round_trip_seconds": age}
    if params.warn is not None and age >= params.warn:
        text = f"a trace took between one look and the next to be there, {age:.0f} s at most"
        return Answer(verdict=Verdict.WARN, text=text, sign="trace", code="slow", measures=measures)
    text = f"a trace was there after {age:.0f} s at most"
    return Answer(verdict=Verdict.PASS, text=text, measures=measures)


async def _write(
    params: LangfuseSignalParams, timeout: float, context: ProbeContext, trip: Trip, now: float
) -> Answer | None:
    """Writes a trace; gives an answer where Langfuse does not take it."""
    trace = secrets.token_hex(16)
    if not trip.otel:
        said = await _send(params, timeout, context, "/api/public/ingestion", trace_event(trace, datetime.now(UTC)))
        errors = said.get("errors")
        if said.status == 207 and isinstance(errors, list) and errors and EVENTS_ONLY in str(errors):
            trip.otel = True
        elif said.status not in (200, 201, 207) or errors:
            trip.next_at = now
            return _refusal(said, "refused")
    if trip.otel:
        said = await _send(params, timeout, context, "/api/public/otel/v1/traces", otel_span(trace, datetime.now(UTC)))
        if said.status not in (200, 202):
            trip.next_at = now
            return _refusal(said, "refused")
    trip.trace, trip.written_at, trip.next_at = trace, now, now + params.every
    return None


async def _send(params: LangfuseSignalParams, timeout: float, context: ProbeContext, path: str, body: object) -> Said:
    headers = {**_login(params), "x-langfuse-ingestion-version": "4"}
    return await ask(context, "POST", params.url.rstrip("/") + path, timeout=timeout, headers=headers, body=body)


def _login(params: LangfuseSignalParams) -> dict[str, str]:
    assert params.public_key is not None  # the preset requires both
    assert params.secret_key is not None
    return basic(params.public_key, params.secret_key)


def _refusal(said: Said, otherwise: str) -> Answer:
    """What it means that Langfuse did not do what was asked."""
    words = str(said.get("message") or said.get("error") or said.text)
    if said.status == 429:
        return not_available("Langfuse limits this project's requests just now")
    if said.status in (301, 302, 307, 308, 404, 405):
        return told_elsewhere(f"no Langfuse answers here (HTTP {said.status})")
    code = otherwise
    if said.status in (401, 403):
        code = "suspended" if "suspended" in words else "auth"
    elif "blob storage" in said.text:
        code, words = "bucket", said.text
    text = f"HTTP {said.status}: {words}"
    return Answer(verdict=Verdict.FAIL, text=text, sign="trace", code=code)


def trace_event(trace: str, now: datetime) -> object:
    """A batch of one event that makes the trace."""
    at = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    body = {"id": trace, "timestamp": at, "name": NAME, "environment": LABEL, "tags": [LABEL], "input": SAYS}
    return {"batch": [{"id": str(uuid.uuid4()), "type": "trace-create", "timestamp": at, "body": body}]}


def otel_span(trace: str, now: datetime) -> object:
    """The same as a span of OpenTelemetry, for a Langfuse that takes nothing else."""
    at = str(int(now.timestamp() * 1e9))
    attributes = {
        "langfuse.trace.name": NAME,
        "langfuse.environment": LABEL,
        "langfuse.trace.tags": LABEL,
        "langfuse.observation.input": SAYS,
    }
    span = {
        "traceId": trace,
        "spanId": trace[:16],
        "name": NAME,
        "kind": 1,
        "startTimeUnixNano": at,
        "endTimeUnixNano": at,
        "attributes": [{"key": key, "value": {"stringValue": text}} for key, text in attributes.items()],
    }
    scope = {"scope": {"name": LABEL}, "spans": [span]}
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": LABEL}}]}
    return {"resourceSpans": [{"resource": resource, "scopeSpans": [scope]}]}
