"""The ways any HTTP server can break, whatever it serves: at its port, in its answers, on the wire."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from demo.contracts.base import Answer, Request, as_html, as_json, as_text
from demo.contracts.listener import reset

HUGE = 64 * 1_048_576  # bytes
BLOCK = 65_536


@dataclass(frozen=True, slots=True)
class Link:
    """One connection, at the moment a fault takes it over. `seconds` is the fault's measure of time."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    seconds: float

    async def send(self, data: bytes) -> None:
        """Put `data` on the wire."""
        self.writer.write(data)
        await self.writer.drain()

    async def until_left(self) -> None:
        """Wait until the other side closes, so that a hanging server keeps no dead connection."""
        while await self.reader.read(BLOCK):
            pass


@dataclass(frozen=True, slots=True, kw_only=True)
class WireFault:
    """One way to break. Exactly one of the four is set.

    `refuses`: nobody listens. `greets` takes a connection over before a request is read.
    `instead` makes another answer of a request (given the service's kind), or None for the true one. `sends` takes
    over the sending of an answer's bytes. `seconds` is the default of what `break_with(…, seconds=…)` changes.
    """

    says: str
    refuses: bool = False
    greets: Callable[[Link], Awaitable[None]] | None = None
    instead: Callable[[str, Request], Answer | None] | None = None
    sends: Callable[[Link, bytes], Awaitable[None]] | None = None
    seconds: float = 0.0


async def _reset(link: Link) -> None:
    # At the first byte, or soon: a RST at once may overtake the handshake, and the connect itself then fails.
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(link.reader.read(1), 0.05)
    reset(link.writer)


async def _close(link: Link, _: bytes) -> None:
    link.writer.close()  # the request was read, so this is a FIN; unread bytes would make it a RST


async def _hang(link: Link) -> None:
    await link.until_left()


async def _garbage(link: Link, _: bytes) -> None:
    await link.send(bytes(range(256)) * 4)


async def _slow(link: Link, answer: bytes) -> None:
    await asyncio.sleep(link.seconds)
    await link.send(answer)


async def _slow_drip(link: Link, answer: bytes) -> None:
    for position in range(len(answer)):
        if link.writer.transport.is_closing():
            return
        await link.send(answer[position : position + 1])
        await asyncio.sleep(link.seconds)


async def _truncated(link: Link, answer: bytes) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    length = f"content-length: {len(body)}".encode()
    longer = head.replace(length, f"content-length: {len(body) + 512}".encode())
    await link.send(longer + b"\r\n\r\n" + body[: len(body) // 2])


async def _reset_midway(link: Link, answer: bytes) -> None:
    await link.send(answer[: max(1, len(answer) - 8)])
    await asyncio.sleep(0.05)  # a RST at once would discard what was sent before it was read
    reset(link.writer)


async def _huge(link: Link, _: bytes) -> None:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {HUGE}\r\n\r\n"
    opening, closing = b'{"padding":"', b'"}'
    await link.send(head.encode() + opening)
    left = HUGE - len(opening) - len(closing)
    while left and not link.writer.transport.is_closing():
        block = min(left, BLOCK)
        await link.send(b"x" * block)
        left -= block
    await link.send(closing)


def _wrong_service(kind: str, _: Request) -> Answer:
    if kind == "qdrant":
        return Answer(body=b"Ok.\n", content_type="text/html; charset=UTF-8")  # ClickHouse says this at / and /ping
    return as_json({"title": "qdrant - vector search engine", "version": "1.13.1", "commit": "8d6b2ad5"})


def _back_again(_: object, asked: Request) -> Answer:
    again = asked.path + (f"?{urlencode(asked.query)}" if asked.query else "")
    return Answer(status=302, headers={"location": again})


def _redirect(_: str, request: Request) -> Answer:
    if request.path == "/login":
        return as_html("Sign in")
    return Answer(status=302, headers={"location": "/login"})


def _edge(_: str, __: Request) -> Answer:
    body = {"status": "error", "code": 502, "message": "Application failed to respond", "request_id": "demo"}
    return as_json(body, 502, server="railway-edge", x_railway_fallback="true")


def _waking(kind: str, request: Request) -> Answer | None:
    return _edge(kind, request) if request.world.since_fault == 1 else None


def _flapping(_: str, request: Request) -> Answer | None:
    return as_text("Internal Server Error", 500) if request.world.since_fault % 2 else None


def _asleep(_: str, __: Request) -> Answer:
    body = {"status": "error", "code": 404, "message": "Application not found", "request_id": "demo"}
    return as_json(body, 404, server="railway-edge", x_railway_fallback="true")


def _given(answer: Answer) -> Callable[[str, Request], Answer]:
    return lambda _, __: answer


WIRE_FAULTS: Mapping[str, WireFault] = {
    "refuse": WireFault(says="the port is closed: connections are refused", refuses=True),
    "reset": WireFault(says="every connection is reset once it is open", greets=_reset),
    "close": WireFault(says="every connection is closed without a byte", sends=_close),
    "hang": WireFault(says="connections are accepted and never answered", greets=_hang),
    "slow": WireFault(says="every answer is late by some seconds", sends=_slow, seconds=3.0),
    "slow_drip": WireFault(says="answers come one byte at a time", sends=_slow_drip, seconds=0.2),
    "reset_midway": WireFault(says="the connection is reset in the middle of an answer", sends=_reset_midway),
    "truncated": WireFault(says="answers end before the length they promised", sends=_truncated),
    "garbage": WireFault(says="answers are bytes that are no HTTP", sends=_garbage),
    "huge": WireFault(says="answers are 64 MiB long", sends=_huge),
    "http_500": WireFault(says="500 to everything", instead=_given(as_text("Internal Server Error", 500))),
    "http_503": WireFault(says="503 to everything", instead=_given(as_text("Service Unavailable", 503))),
    "http_502_edge": WireFault(says="Railway's edge answers 502: Application failed to respond", instead=_edge),
    "http_404_edge": WireFault(says="Railway's edge answers 404: Application not found", instead=_asleep),
    "waking": WireFault(says="it slept: the first answer is the edge's 502, the next is right", instead=_waking),
    "flapping": WireFault(says="every other answer is 500, beginning with the next", instead=_flapping),
    "not_found": WireFault(says="404 to everything", instead=_given(as_json({"detail": "Not Found"}, 404))),
    "unauthorized": WireFault(says="401 to everything", instead=_given(as_json({"detail": "Unauthorized"}, 401))),
    "html": WireFault(says="a web page is served where the API should be", instead=_given(as_html("Welcome"))),
    "wrong_service": WireFault(says="another service answers at this address", instead=_wrong_service),
    "redirect": WireFault(says="everything is redirected to a sign-in page", instead=_redirect),
    "redirect_loop": WireFault(says="everything is redirected to itself", instead=_back_again),
    "empty": WireFault(says="200 without a body", instead=_given(Answer())),
    "bad_json": WireFault(
        says="JSON that ends in the middle",
        instead=_given(Answer(body=b'{"status": "ok', content_type="application/json")),
    ),
}
