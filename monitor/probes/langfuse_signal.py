"""Whether what is sent to Langfuse arrives where people read it: by the worker's own number, and by a trace of ours."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

from config.signals import LangfuseSignalParams
from monitor.probes.amounts import graded
from monitor.probes.ask import Said, ask, beside, number, told_elsewhere
from monitor.probes.base import Answer, Outcome, ProbeContext, Verdict, not_available
from monitor.probes.langfuse_trace import round_trip

WORKER_FLAG = "/api/health?failIfEventPropagationStuck=true"
EVENTS_FLAG = "/api/public/health?failIfNoRecentEvents=true"


async def probe(params: LangfuseSignalParams, *, timeout: float, context: ProbeContext) -> Outcome:
    """Tells one signal. Evidence.sign is the signal's name where it warns or fails, code what kind of trouble it is."""
    tell = {"propagation": _propagation, "trace": round_trip}[params.signal]
    secrets = (params.public_key, params.secret_key)
    return await beside(partial(tell, params, timeout, context), timeout=timeout, secrets=secrets)


async def _propagation(params: LangfuseSignalParams, timeout: float, context: ProbeContext) -> Answer:
    """The number grows in a stack nobody uses as well, so it counts only while the web container sees new events."""
    said = await ask(context, "GET", params.url.rstrip("/") + WORKER_FLAG, timeout=timeout)
    lacking = _lacking(said)
    if lacking is not None:
        return lacking
    seen = said.body["eventPropagation"]
    events = None
    if params.web:
        events = await ask(context, "GET", params.web.rstrip("/") + EVENTS_FLAG, timeout=timeout)
    key, now = ("langfuse_cursor", params.url), asyncio.get_running_loop().time()
    if events is None or events.status != 200:
        context.samples.forget(key)
        return _resting(seen, known=events is not None)
    longest = max(params.warn or 0.0, params.fail or 0.0)
    cursor = str(seen.get("lastProcessedPartition"))
    before = context.samples.since(key, cursor, longest * 1.5 + 60, now)
    if before is not None and before[1] != cursor:
        context.samples.forget(key)
        before = context.samples.since(key, cursor, longest * 1.5 + 60, now)
    return weigh_propagation(seen, before[0] if before else 0.0, params)


def _lacking(said: Said) -> Answer | None:
    """Why the worker does not tell the number; None where it does."""
    if said.status not in (200, 503) or not isinstance(said.body, dict):
        return told_elsewhere("the worker does not say how it is")
    seen = said.body.get("eventPropagation")
    if not isinstance(seen, dict):
        return not_available("this version of the worker does not tell how far behind it is")
    if not seen.get("enabled"):
        return not_available("this worker passes no events on to the tables of version 4, by its settings")
    return None


def _resting(seen: Mapping[str, Any], *, known: bool) -> Answer:
    """The number where nothing can be made of it: nobody sends anything, or we do not know whether somebody does."""
    delay = _delay(seen)
    measures = {"propagation_delay_seconds": delay} if delay is not None else {}
    if not known:
        why = "Langfuse web is not watched, so that a delay cannot be told from a stack nobody uses; set LANGFUSE_URL"
        lacking = not_available(why)
        return Answer(verdict=lacking.verdict, text=lacking.text, sign=lacking.sign, measures=measures)
    text = "no events arrive just now, so there is nothing to pass on"
    return Answer(verdict=Verdict.PASS, text=text, measures=measures)


def weigh_propagation(seen: Mapping[str, Any], stood: float, params: LangfuseSignalParams) -> Answer:
    """Gives what it means that events arrived and none was passed on for `stood` seconds. Pure."""
    delay = _delay(seen)
    measures = {"propagation_delay_seconds": delay} if delay is not None else {}
    far = "it has not passed any on yet" if delay is None else f"the newest passed on is of {delay / 60:.0f} min ago"
    verdict = graded(stood, params)
    if verdict == Verdict.PASS:
        return Answer(verdict=verdict, text=f"events are passed on; {far}", measures=measures)
    last = number(seen.get("secondsSinceLastRun"))
    ran = f"; its job last began {last / 60:.0f} min ago" if last is not None else ""
    text = f"events arrive, and for {stood / 60:.0f} min none was passed on; {far}{ran}"
    return Answer(verdict=verdict, text=text, sign="propagation", code="behind", measures=measures)


def _delay(seen: Mapping[str, Any]) -> float | None:
    return number(seen.get("propagationDelaySeconds"))
