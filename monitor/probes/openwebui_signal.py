"""Whether Open WebUI lists the models its provider lists: the key it uses is in its database, not in its variables."""

from functools import partial

from config.signals import OpenwebuiSignalParams
from monitor.probes.ask import Said, ask, bearer, beside, listed_ids, told_elsewhere
from monitor.probes.base import Answer, Outcome, ProbeContext, Verdict, not_available

SHOWN = 3  # names in a sentence


async def probe(params: OpenwebuiSignalParams, *, timeout: float, context: ProbeContext) -> Outcome:
    """Compares the lists. Evidence.code is auth (our own key is refused), none or stale (the provider lists others)."""
    secrets = (params.key, params.provider_key)
    return await beside(partial(_compare, params, timeout, context), timeout=timeout, secrets=secrets)


async def _compare(params: OpenwebuiSignalParams, timeout: float, context: ProbeContext) -> Answer:
    url = params.url.rstrip("/") + "/api/models"
    said = await ask(context, "GET", url, timeout=timeout, headers=bearer(params.key))
    listed = listed_ids(said)
    if listed is None:
        return _refusal(said)
    wanted: list[str] | None = None
    if params.provider and params.provider_key:
        url = params.provider.rstrip("/") + "/v1/models"
        wanted = listed_ids(await ask(context, "GET", url, timeout=timeout, headers=bearer(params.provider_key)))
        if not wanted:
            return told_elsewhere("LiteLLM lists no models itself")
    return weigh(listed, wanted)


def weigh(listed: list[str], wanted: list[str] | None) -> Answer:
    """Gives what it means that Open WebUI lists `listed`, where LiteLLM lists `wanted` (None: not known). Pure.

    Open WebUI can be told to put a prefix and a dot before the names of one connection.
    """
    measures = {"models_listed": float(len(listed))}
    if wanted is None:
        if listed:
            return Answer(verdict=Verdict.PASS, text=f"{len(listed)} models listed", measures=measures)
        text = "Open WebUI lists no model at all"
        return Answer(verdict=Verdict.FAIL, text=text, sign="models", code="none", measures=measures)
    there = [name for name in wanted if any(one == name or one.endswith(f".{name}") for one in listed)]
    if there:
        text = f"{len(there)} of LiteLLM's {len(wanted)} models listed"
        return Answer(verdict=Verdict.PASS, text=text, measures=measures)
    some = ", ".join(wanted[:SHOWN])
    other = f"{len(listed)} others" if listed else "none at all"
    text = f"LiteLLM lists {len(wanted)} models to its own key ({some}); Open WebUI lists {other}"
    return Answer(verdict=Verdict.FAIL, text=text, sign="models", code="stale", measures=measures)


def _refusal(said: Said) -> Answer:
    """What it means that Open WebUI gave no list."""
    words = str(said.get("detail") or "")
    if "not enabled" in words:
        return not_available(f"{words}; enable API keys in its admin settings, or ENABLE_API_KEYS=true")
    if said.status == 403:
        return not_available(f"this key may not list the models ({words}); allow it /api/models in the admin settings")
    if said.status == 401:
        text = f"HTTP 401 for our own key: {words or 'no reason given'}"
        return Answer(verdict=Verdict.FAIL, text=text, sign="models", code="auth")
    return told_elsewhere(f"Open WebUI does not list its models (HTTP {said.status})")
