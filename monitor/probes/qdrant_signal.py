"""What Qdrant tells of itself: one look at its collections, and one at its metrics, for all signals that want them.

Its health pages are constant once it has started, so they know nothing of a full disk, a refused key or recovery mode.
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import TypeGuard
from urllib.parse import quote

from config.signals import QdrantSignalParams
from monitor.probes import qdrant_weigh as weigh
from monitor.probes.ask import Said, ask, beside, told_elsewhere
from monitor.probes.base import Answer, Garbled, Outcome, ProbeContext, not_available
from monitor.probes.fetch import Reply, fetch, request

MAX_AGE = 2.0  # seconds: signals that run together share an answer, and a second look is a look of its own
MOST = 100  # collections asked in one look
AT_ONCE = 4
SHARE = 0.8  # of the deadline for all collections together, so that what was seen of some is told
PATIENCE = 0.4  # of the deadline for one of them
METRICS = 4_194_304  # bytes

Seen = Mapping[str, Said | None]


async def probe(params: QdrantSignalParams, *, timeout: float, context: ProbeContext) -> Outcome:
    """Tells one signal. Evidence.sign is the signal's name where it warns or fails, code what kind of trouble it is."""
    tell = {
        "key": _key,
        "collections": _collections,
        "queue": _queue,
        "recovery": _metric,
        "replicas": _metric,
    }[params.signal]
    secrets = (params.key,)
    return await beside(partial(tell, params, timeout, context), timeout=timeout, secrets=secrets)


async def _key(params: QdrantSignalParams, timeout: float, context: ProbeContext) -> Answer:
    return weigh.key(await _list(params, timeout, context), params)


async def _collections(params: QdrantSignalParams, timeout: float, context: ProbeContext) -> Answer:
    listed = await _list(params, timeout, context)
    names = weigh.names(listed)
    if names is None:
        return _unlisted(listed.status, params)
    return weigh.collections(await _each(names, params, timeout, context), names, params)


async def _queue(params: QdrantSignalParams, timeout: float, context: ProbeContext) -> Answer:
    listed = await _list(params, timeout, context)
    names = weigh.names(listed)
    if names is None:
        return _unlisted(listed.status, params)
    return weigh.queue(await _each(names, params, timeout, context), params)


async def _metric(params: QdrantSignalParams, timeout: float, context: ProbeContext) -> Answer:
    said = await context.shared(
        ("qdrant_metrics", params.url, params.key), partial(_metrics, params, timeout, context), MAX_AGE
    )
    if said.status == 403 and params.key:
        return not_available("this key is for single collections; the metrics are shown to a key of the whole server")
    if said.status != 200:
        return _unlisted(said.status, params)
    return weigh.recovery(said.text, params) if params.signal == "recovery" else weigh.replicas(said.text, params)


def _unlisted(status: int, params: QdrantSignalParams) -> Answer:
    """What it means that Qdrant does not show what was asked for."""
    if status not in (401, 403):
        return told_elsewhere(f"Qdrant does not show it (HTTP {status})")
    if params.key:
        return told_elsewhere("Qdrant refuses the key")
    return not_available("Qdrant asks for an API key and none is set here; set QDRANT_API_KEY, a read-only one will do")


async def _list(params: QdrantSignalParams, timeout: float, context: ProbeContext) -> Said:
    return await context.shared(
        ("qdrant_list", params.url, params.key), partial(_ask, "/collections", params, timeout, context), MAX_AGE
    )


async def _each(names: list[str], params: QdrantSignalParams, timeout: float, context: ProbeContext) -> Seen:
    """The answers about the first MOST collections, as far as there was time; those of one look are shared.

    None for one that did not answer. Raises what the network raised where it was in the way of all of them.
    """
    asked = names[:MOST]

    async def take() -> Seen:
        turn = asyncio.Semaphore(AT_ONCE)

        async def one(name: str) -> Said | None:
            async with turn:
                try:
                    async with asyncio.timeout(timeout * PATIENCE):
                        return await _ask(f"/collections/{quote(name, safe='')}", params, timeout, context)
                except TimeoutError:
                    return None

        tasks = {name: asyncio.ensure_future(one(name)) for name in asked}
        try:
            await asyncio.wait(tasks.values(), timeout=timeout * SHARE)
        finally:
            for task in tasks.values():
                task.cancel()
            results = await asyncio.gather(*tasks.values(), return_exceptions=True)
        seen = {name: result for name, result in zip(asked, results, strict=True) if _is_told(result)}
        if not seen:
            raise next((error for error in results if isinstance(error, OSError | Garbled)), TimeoutError())
        return seen

    return await context.shared(("qdrant_each", params.url, params.key, *asked), take, MAX_AGE) if asked else {}


def _is_told(result: Said | BaseException | None) -> TypeGuard[Said | None]:
    return not isinstance(result, BaseException)


async def _metrics(params: QdrantSignalParams, timeout: float, context: ProbeContext) -> Reply:
    return await fetch(
        context, request("GET", _url(params, "/metrics"), timeout=timeout), _headers(params), limit=METRICS
    )


async def _ask(path: str, params: QdrantSignalParams, timeout: float, context: ProbeContext) -> Said:
    return await ask(context, "GET", _url(params, path), timeout=timeout, headers=_headers(params))


def _url(params: QdrantSignalParams, path: str) -> str:
    return params.url.rstrip("/") + path


def _headers(params: QdrantSignalParams) -> dict[str, str]:
    return {"api-key": params.key.reveal()} if params.key else {}
