"""One request to a provider and its answer, or a DeliveryError: the one place where channels touch the network.

An address of a webhook is its password. httpx puts addresses into its exceptions, so none of their texts is passed on,
and what a provider answers is masked before it is quoted.
"""

import json
import math
import re
import ssl
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from alerts.channels.base import DeliveryError, Reason
from alerts.texts import clamp, clean
from config.logs import Mask
from config.secret import Secret

LONGEST_ANSWER = 256 * 1024  # bytes; Discord gives a message back, and nothing longer proves anything
LONGEST_QUOTE = 160
LONGEST_WAIT = 86_400.0
SHORTEST_PART = 8  # characters: a part of a path from here on may be a token
NO_TOKENS = ("services", "webhooks", "messages", "workflows", "api/webhooks")

HEADERS = {"user-agent": "Watchkeeper", "accept-encoding": "identity", "accept": "application/json, text/plain, */*"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a provider answered: the status, its headers, and at most LONGEST_ANSWER bytes of its body as text."""

    status: int
    headers: Mapping[str, str]
    text: str

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; empty if it is none."""
        try:
            value = json.loads(self.text)
        except (ValueError, RecursionError):
            return {}
        return value if isinstance(value, dict) else {}


class Provider:
    """Somebody we post to: `who` for messages, the address, what else is secret, and the wall clock (epoch seconds)."""

    def __init__(self, who: str, url: Secret, *, secrets: Iterable[Secret] = (), wall: Callable[[], float]) -> None:
        self.who = who
        self._url = url
        self._wall = wall
        self._mask = Mask()
        self._mask.add([url, *secrets, *_telling(url.reveal())])

    async def ask(
        self,
        client: httpx.AsyncClient,
        body: Mapping[str, Any] | bytes,
        *,
        method: str = "POST",
        below: str = "",
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Sends `body` (a mapping as JSON) to the address, `below` it, with `params` added; gives whatever is answered.

        Raises DeliveryError when nothing is. Follows no redirect.
        """
        content = body if isinstance(body, bytes) else encode(body)
        named = {**HEADERS, "content-type": "application/json; charset=utf-8", **(headers or {})}
        try:
            url = httpx.URL(self._url.reveal())
            url = url.copy_with(path=url.path.rstrip("/") + below) if below else url
            url = url.copy_merge_params(params) if params else url
            async with client.stream(method, url, content=content, headers=named, follow_redirects=False) as response:
                return Answer(status=response.status_code, headers=response.headers, text=await _beginning(response))
        except (httpx.HTTPError, httpx.InvalidURL, OSError, UnicodeError) as error:
            failure = self._silence(error)
        raise failure  # outside the handler, so that no traceback leads to the library's words

    def quote(self, text: str) -> str:
        """What was said there, in one short line, masked."""
        # Masked before it is cut: half a token would not be known. Cut before it is masked: Mask reads all of it.
        return clamp(clean(self._mask.clean(text[: 8 * LONGEST_QUOTE])), LONGEST_QUOTE)

    def failure(self, answer: Answer, *, said: str = "") -> DeliveryError:
        """What an answer that is no success means by its status. `said` is the provider's own word for it."""
        status, quoted = answer.status, self.quote(said or answer.text)
        text = f"{self.who} answered {status}" + (f": {quoted}" if quoted else "")
        if status == 429:
            return DeliveryError(Reason.RATE_LIMITED, text, retry_after=self.wait(answer))
        if status >= 500 or status in (408, 425):
            return DeliveryError(Reason.SERVER_ERROR, text, retry_after=self.wait(answer))
        if 300 <= status < 400:
            return self._redirect(answer)
        if status in (401, 403, 404, 405, 407, 410):
            return DeliveryError(Reason.REFUSED, text, permanent=True)
        if status >= 400:
            return DeliveryError(Reason.REJECTED, text, permanent=True)
        return DeliveryError(Reason.BAD_ANSWER, f"{text}, which is no proof that it was taken")

    def wait(self, answer: Answer) -> float | None:
        """Seconds we are asked to wait: by Retry-After in either form, or by retry_after in the body; the longest."""
        asked = [self._after(answer.headers.get("retry-after", ""), answer.headers.get("date", ""))]
        body = answer.json().get("retry_after")
        if isinstance(body, int | float) and not isinstance(body, bool):
            asked.append(float(body))
        waits = [min(one, LONGEST_WAIT) for one in asked if one is not None and math.isfinite(one) and one >= 0]
        return max(waits) if waits else None

    def _after(self, text: str, date: str) -> float | None:
        """Retry-After in seconds. A date is measured by the provider's own clock where it tells it."""
        try:
            return float(text)
        except ValueError:
            until = _epoch(text)
        if until is None:
            return None
        theirs = _epoch(date)
        return max(0.0, until - (self._wall() if theirs is None else theirs))

    def _redirect(self, answer: Answer) -> DeliveryError:
        """Where it leads is told by its host alone: the rest may hold our token, or theirs."""
        try:
            host = httpx.URL(answer.headers.get("location", "")).host
        except (httpx.InvalidURL, UnicodeError):
            host = ""
        where = f"to {self.quote(host)}" if host else "elsewhere"
        moved = answer.status in (301, 308)
        text = f"{self.who} answered {answer.status}, a redirect {where}, which is not followed: correct its address"
        return DeliveryError(Reason.REFUSED if moved else Reason.BAD_ANSWER, text, permanent=moved)

    def _silence(self, error: Exception) -> DeliveryError:
        """What it means that nothing was answered, in words of ours."""
        if isinstance(error, httpx.TimeoutException | TimeoutError):
            return DeliveryError(Reason.TIMEOUT, f"{self.who} did not answer in time")
        if isinstance(error, httpx.InvalidURL | httpx.UnsupportedProtocol):
            return DeliveryError(Reason.REFUSED, f"{self.who} has an address that cannot be used", permanent=True)
        if isinstance(error, httpx.DecodingError) or (
            isinstance(error, httpx.RemoteProtocolError) and "disconnected" not in str(error)
        ):
            return DeliveryError(Reason.BAD_ANSWER, f"{self.who} answered something that is no HTTP")
        return DeliveryError(Reason.UNREACHABLE, f"{self.who} could not be reached: {_trouble(error)}")


def _telling(address: str) -> list[Secret]:
    """The parts of an address that may be its token."""
    tail = address.partition("://")[2].partition("/")[2]
    parts = re.split(r"[/?&=#]", tail)
    return [Secret(part) for part in (tail, *parts) if len(part) >= SHORTEST_PART and part not in NO_TOKENS]


def encode(document: Mapping[str, Any]) -> bytes:
    """`document` as JSON in UTF-8. What UTF-8 or JSON cannot hold is no part of it."""
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


async def _beginning(response: httpx.Response) -> str:
    """The first LONGEST_ANSWER bytes of a body."""
    got = bytearray()
    async for piece in response.aiter_bytes():
        got += piece
        if len(got) >= LONGEST_ANSWER:
            break
    return bytes(got[:LONGEST_ANSWER]).decode("utf-8", "replace")


def _trouble(error: Exception) -> str:
    """The system's name for what went wrong on the way, from the exceptions beneath httpx's; never their own texts."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            return "its certificate is not trusted"
        if isinstance(seen, ssl.SSLError):
            return "TLS failed"
        if isinstance(seen, OSError) and type(seen).__name__ == "gaierror":
            return "its name was not found"
        if isinstance(seen, OSError) and seen.errno:
            return WORDS.get(type(seen), "the connection failed")
        seen = seen.__cause__ or seen.__context__
    if isinstance(error, httpx.ConnectError):
        return "no connection"
    return "the connection was cut before the answer"


WORDS: Mapping[type[BaseException], str] = {
    ConnectionRefusedError: "the connection was refused",
    ConnectionResetError: "the connection was reset",
    BrokenPipeError: "the connection was reset",
    ConnectionAbortedError: "the connection was cut",
}


def _epoch(text: str) -> float | None:
    """An HTTP date as epoch seconds, None for anything else."""
    try:
        when = parsedate_to_datetime(text)
        return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
