"""What LiteLLM tells of its models: which there are, what its own stored checks of them say, and whether one answers.

/health is never asked: it calls every model for money. /health/latest gives what LiteLLM's background checks stored.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from config.signals import LitellmSignalParams
from monitor.probes.amounts import graded, some
from monitor.probes.ask import Said, ask, bearer, beside, listed_ids, told_elsewhere
from monitor.probes.base import Answer, Outcome, ProbeContext, Verdict, not_available
from monitor.probes.litellm_completion import completion
from monitor.probes.litellm_words import CODES, provider_trouble

MAX_AGE = 2.0  # seconds: signals that run together share an answer
MEMORY = 3600.0  # seconds a model that vanished is missed
FRESH = 7200.0  # seconds: LiteLLM writes a check that stays the same once an hour, so an older one is of the past


async def probe(params: LitellmSignalParams, *, timeout: float, context: ProbeContext) -> Outcome:
    """Tells one signal. Evidence.sign is the signal's name where it warns or fails, code what kind of trouble it is."""
    tell = {"models": _models, "health": _health, "completion": completion}[params.signal]
    return await beside(lambda: tell(params, timeout, context), timeout=timeout, secrets=(params.key,))


async def _models(params: LitellmSignalParams, timeout: float, context: ProbeContext) -> Answer:
    names = model_names(await _list(params, timeout, context))
    if names is None:
        return told_elsewhere("LiteLLM does not list its models")
    now = asyncio.get_running_loop().time()
    before = context.samples.since(("litellm_models", params.url, params.key), names, MEMORY, now)
    return weigh_models(names, before, params)


async def _health(params: LitellmSignalParams, timeout: float, context: ProbeContext) -> Answer:
    said = await ask(context, "GET", _url(params, "/health/latest"), timeout=timeout, headers=_key(params))
    if said.status in (401, 403):
        return not_available("LiteLLM refuses this key its stored results; give it a key of an admin")
    if said.status == 404:
        return not_available("this LiteLLM is too old to keep the results of its checks")
    if "not initialized" in said.text:
        return not_available("LiteLLM keeps the results of its checks in a database, and has none")
    if said.status >= 500 or not isinstance(said.get("latest_health_checks"), dict):
        return told_elsewhere(f"LiteLLM does not hand out its stored results (HTTP {said.status})")
    names = model_names(await _list(params, timeout, context))
    return weigh_health(said.body["latest_health_checks"], names, datetime.now(UTC), params)


async def _list(params: LitellmSignalParams, timeout: float, context: ProbeContext) -> Said:
    async def take() -> Said:
        return await ask(context, "GET", _url(params, "/v1/models"), timeout=timeout, headers=_key(params))

    return await context.shared(("litellm_list", params.url, params.key), take, MAX_AGE)


def _url(params: LitellmSignalParams, path: str) -> str:
    return params.url.rstrip("/") + path


def _key(params: LitellmSignalParams) -> dict[str, str]:
    return bearer(params.key)


def model_names(said: Said) -> frozenset[str] | None:
    """Gives the names in an answer to /v1/models; None where it is no list of models."""
    names = listed_ids(said)
    return None if names is None else frozenset(names)


def weigh_models(
    names: frozenset[str], before: tuple[float, frozenset[str]] | None, params: LitellmSignalParams
) -> Answer:
    """Gives what it means that these are listed, where `before` were so many seconds ago. Pure."""
    measures = {"models_listed": float(len(names))}
    age, known = before or (0.0, names)
    gone = sorted(known - names)
    share = 100 * len(gone) / len(known) if known else 0.0
    verdict = graded(share, params)
    if verdict == Verdict.PASS:
        return Answer(verdict=verdict, text=f"{len(names)} models listed", measures=measures)
    text = f"{len(names)} models are listed, {len(known)} were {age / 60:.0f} min ago; gone: {some(gone)}"
    return Answer(verdict=verdict, text=text, sign="models", code="vanished", measures=measures)


def weigh_health(
    latest: Mapping[str, Any], names: frozenset[str] | None, now: datetime, params: LitellmSignalParams
) -> Answer:
    """Gives what LiteLLM's stored checks of its models prove at `now`. Pure.

    What is older than FRESH, and a model that is no longer in `names`, does not count; a wildcard is never listed.
    """
    rows = [row for row in latest.values() if isinstance(row, dict) and _age(row, now) <= FRESH]
    rows = [row for row in rows if not names or _name(row) in names or "*" in _name(row)]
    if not rows:
        return not_available(
            "LiteLLM stored no check of its models in the last two hours; general_settings.background_health_checks "
            "makes it check them, each for the price of a short call"
        )
    sick = [row for row in rows if row.get("status") == "unhealthy"]
    measures = {"models_checked": float(len(rows)), "models_failing": float(len(sick))}
    verdict = graded(100 * len(sick) / len(rows), params)
    if verdict == Verdict.PASS:
        return Answer(verdict=verdict, text=f"{len(rows) - len(sick)} of {len(rows)} models well", measures=measures)
    troubles = [provider_trouble(str(row.get("error_message") or "")) for row in sick]
    often = Counter(troubles)
    code = min(often, key=lambda code: (-often[code], CODES.index(code)))
    row = sick[troubles.index(code)]
    text = (
        f"{len(sick)} of {len(rows)} models fail LiteLLM's own check: "
        f"{some(sorted({_name(one) for one in sick}))}; {_name(row)} "
        f"{_age(row, now) / 60:.0f} min ago: {row.get('error_message') or 'no reason given'}"
    )
    return Answer(verdict=verdict, text=text, sign="health", code=code, measures=measures)


def _name(row: Mapping[str, Any]) -> str:
    return str(row.get("model_name"))


def _age(row: Mapping[str, Any], now: datetime) -> float:
    """Seconds since this check was made; endless where it does not say when."""
    try:
        at = datetime.fromisoformat(str(row.get("checked_at")))
    except ValueError:
        return float("inf")
    return (now - (at if at.tzinfo else at.replace(tzinfo=UTC))).total_seconds()
