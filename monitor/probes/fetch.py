"""One HTTP request of a probe that knows what it asks for, and its whole answer up to a bound."""

from collections.abc import Mapping
from dataclasses import dataclass

import httpx

from monitor.probes.base import ProbeContext

# Answers are a line, or one XML document of an error.
LIMIT = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP answer; `body` is its beginning, LIMIT bytes unless `fetch` was told otherwise."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def text(self) -> str:
        """The body as text; what is no UTF-8 is replaced."""
        return self.body.decode("utf-8", "replace")

    @property
    def kind(self) -> str:
        """The content type in lower case, without its parameters."""
        kind: str = self.headers.get("content-type", "")
        return kind.partition(";")[0].strip().lower()


def request(method: str, url: str, *, timeout: float, content: bytes | None = None) -> httpx.Request:
    """Makes a request with the headers every probe sends; `timeout` is the seconds that all addresses share."""
    headers = {"user-agent": "watchkeeper", "accept-encoding": "identity", "connection": "close"}
    return httpx.Request(method, url, headers=headers, content=content, extensions={"timeout": {"connect": timeout}})


async def fetch(
    context: ProbeContext, asked: httpx.Request, headers: Mapping[str, str], *, limit: int = LIMIT
) -> Reply:
    """Sends `asked` with `headers` added over a connection of its own, and reads at most `limit` bytes of the answer.

    Raises as monitor.probes.transport says.
    """
    for name, value in headers.items():
        if value != value.strip() or not value.isprintable():
            # Said here, because h11 would say it with the value.
            raise ValueError(f"the value for {name} holds characters that HTTP does not allow in a header")
        asked.headers[name] = value
    response = await context.transport().handle_async_request(asked)
    body = bytearray()
    try:
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) >= limit:
                break
    finally:
        await response.aclose()
    return Reply(status=response.status_code, headers=response.headers, body=bytes(body[:limit]))
