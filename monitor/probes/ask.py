"""The questions of a signal over HTTP: asked beside the service's own check, which alone tells that nobody answers."""

import base64
import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from config.secret import Secret
from monitor.probes.attempt import attempt
from monitor.probes.base import Answer, Garbled, Outcome, ProbeContext, not_asked, not_available
from monitor.probes.fetch import fetch, request

LIMIT = 4_194_304  # bytes: a list of some thousand models
SANE = 1e15  # no number that an answer holds here is larger


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An answer: its status, its headers in lower case, its body as parsed JSON (None where it is none) and as text."""

    status: int
    headers: Mapping[str, str]
    body: Any
    text: str

    def get(self, *path: str) -> Any:
        """What stands at `path` in a body of tables; None where there is nothing."""
        found = self.body
        for key in path:
            found = found.get(key) if isinstance(found, dict) else None
        return found


async def beside(
    tell: Callable[[], Awaitable[Answer]], *, timeout: float, secrets: Collection[Secret | None] = ()
) -> Outcome:
    """Runs a signal. That nothing answers, or in another protocol, is told by the service's own check and by no other.

    `timeout` is seconds for all of it; `secrets` are masked in what is shown. Raises nothing but CancelledError.
    """

    async def alone() -> Answer:
        try:
            return await tell()
        except OSError:
            return not_asked()
        except Garbled:
            return not_asked("what answers is not as it should be")

    # One deadline, and not one within the other: after a stall of the loop both would come due at once.
    return await attempt(alone, timeout=timeout, secrets=secrets, late=not_asked())


def told_elsewhere(what: str) -> Answer:
    """Gives the answer of a signal that cannot be asked for a reason another check tells; `what` is that reason."""
    return replace(not_available(what), text=f"not asked: {what}, which another check tells")


async def ask(
    context: ProbeContext,
    method: str,
    url: str,
    *,
    timeout: float,
    headers: Mapping[str, str] | None = None,
    body: object = None,
) -> Said:
    """Sends one request, with `body` as JSON. Raises OSError, or Garbled where what answers does not speak HTTP."""
    sent = {**(headers or {}), "accept": "application/json"}
    content = None
    if body is not None:
        content = json.dumps(body).encode()
        sent["content-type"] = "application/json"
    asked = request(method, url, timeout=timeout, content=content)
    reply = await fetch(context, asked, sent, limit=LIMIT)
    try:
        parsed = json.loads(reply.body)
    except (ValueError, RecursionError):
        parsed = None
    return Said(status=reply.status, headers=dict(reply.headers), body=parsed, text=reply.text[:2000])


def listed_ids(said: Said) -> list[str] | None:
    """Gives the ids in a list of models, in the form OpenAI gave it; None where the answer is none."""
    rows = said.get("data")
    if said.status != 200 or not isinstance(rows, list):
        return None
    return [str(row["id"]) for row in rows if isinstance(row, dict) and "id" in row]


def number(value: object) -> float | None:
    """Gives a number out of an answer as a float of a size that can be worked with; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < SANE:
        return None
    return float(value)


def bearer(key: Secret) -> dict[str, str]:
    """The header that shows `key`."""
    return {"authorization": f"Bearer {key.reveal()}"}


def basic(user: Secret, password: Secret) -> dict[str, str]:
    """The header that shows a pair of keys."""
    pair = f"{user.reveal()}:{password.reveal()}".encode()
    return {"authorization": f"Basic {base64.b64encode(pair).decode()}"}
