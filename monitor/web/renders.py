"""Answers that take work to make: drawn in a thread, packed, and sent no faster than they are read."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PIECE = 65_536  # bytes handed to a connection at once, so that a slow reader holds no more than this
GZIP_FROM = 1_024  # bytes

# What draws a body and its media type in a thread, and what reads the board on the loop and gives that.
Draw = Callable[[], tuple[bytes, str]]
Take = Callable[[], Awaitable[Draw]]


class _Drawn(NamedTuple):
    """An answer's body as it is sent."""

    body: bytes
    media_type: str
    packed: bool


class Renders:
    """One route's renders, in a thread and one at a time; who asks while one waits to start shares it.

    So a flood of requests costs one render after another, and none is older than its request.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._waiting: dict[tuple[str, bool], asyncio.Task[_Drawn]] = {}

    async def answer(self, request: Request, variant: str, take: Take) -> Response:
        """Gives the answer for `variant`. `take` reads the board on the loop; what it gives back draws in a thread."""
        key = variant, "gzip" in request.headers.get("accept-encoding", "")
        task = self._waiting.get(key)
        if task is None:
            task = self._waiting[key] = asyncio.create_task(self._render(key, take))
        drawn = await asyncio.shield(task)
        answer = Pieces(drawn.body, media_type=drawn.media_type, headers={"vary": "accept, accept-encoding"})
        if drawn.packed:
            answer.headers["content-encoding"] = "gzip"
        return answer

    async def _render(self, key: tuple[str, bool], take: Take) -> _Drawn:
        async with self._turn:
            del self._waiting[key]
            draw = await take()
            return await asyncio.to_thread(_pack, draw, key[1])


def _pack(draw: Draw, wanted: bool) -> _Drawn:
    body, media_type = draw()
    packed = wanted and len(body) >= GZIP_FROM
    return _Drawn(gzip.compress(body, compresslevel=2) if packed else body, media_type, packed)


class Pieces(Response):
    """A response sent in pieces, each when the one before has left, so that a slow reader holds little memory."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 -- ASGI's signature
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        view = memoryview(self.body)
        for start in range(0, len(view), PIECE):
            await send({"type": "http.response.body", "body": bytes(view[start : start + PIECE]), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
