"""How probes speak HTTP/1.1: httpx's request and response over a connection of their own, with bounds on everything.

httpx's own transport comes with a pool that no probe wants: its upkeep grows with the requests under way, its locks
look for another library at every use, and together they cost more than the request (benchmarks/probes.py).
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress

import h11
import httpx

from monitor.net import Stage, progress
from monitor.probes.base import Garbled, Sight, clean
from monitor.wire import PlainWire, TlsWire, dial

# A head longer than this is an attack or a fault; h11 gives up on it.
MAX_HEAD = 65_536
# Interim answers (1xx) before the real one.
MAX_INTERIM = 8
READ_SIZE = 16_384
# Seconds for one connection when the request says nothing about it.
TIMEOUT = 10.0
# A fast sender never lets a read wait, so the loop is given its turn after this many events.
TURN = 64


class FreshTransport(httpx.AsyncBaseTransport):
    """Opens a connection for each request and closes it with the response.

    Reads two extensions of a request: "timeout" (httpx's own; its "connect" in seconds shares the time between
    addresses) and "family" (config.fields.Family). Raises OSError, socket.gaierror and ssl.SSLError as they come, and
    Garbled when what answers does not speak HTTP/1.1. Deadlines are the caller's.
    """

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._tls = tls

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        secure = url.scheme == "https"
        wire = await dial(
            url.host,
            url.port or (443 if secure else 80),
            timeout=request.extensions.get("timeout", {}).get("connect") or TIMEOUT,
            family=request.extensions.get("family", "any"),
            tls=self._tls if secure else None,
        )
        try:
            talk = _Talk(wire)
            await talk.send(request)
            head = await talk.head()
        except BaseException:
            wire.close()
            raise
        return httpx.Response(head.status_code, headers=head.headers.raw_items(), stream=talk, request=request)


class _Talk(httpx.AsyncByteStream):
    """One request and its answer; as a stream, the answer's body."""

    def __init__(self, wire: PlainWire | TlsWire) -> None:
        self._wire = wire
        self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._started = False
        self._ended = False
        self._events = 0

    async def send(self, request: httpx.Request) -> None:
        """Sends the whole request. A server may answer and close before it has read all: what it says then counts."""
        body = await request.aread()
        try:
            head = h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
            parts = [self._h11.send(head), self._h11.send(h11.Data(data=body)), self._h11.send(h11.EndOfMessage())]
        except h11.LocalProtocolError:
            # h11 quotes the value it does not like, and that may be a key with a line end that came along.
            raise ValueError("the check's address or headers hold characters that HTTP does not allow") from None
        with suppress(ConnectionError):
            await self._wire.write(b"".join(part for part in parts if part))

    async def head(self) -> h11.Response:
        """Waits for the status line and the headers, past interim answers."""
        for _ in range(MAX_INTERIM + 1):
            event = await self._event()
            if isinstance(event, h11.Response):
                seen = progress.get()
                if seen is not None:
                    seen.stage = Stage.BODY
                return event
            if not isinstance(event, h11.InformationalResponse) or event.status_code == 101:
                break
        raise Garbled("the server sends one interim answer after another and never the real one")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while True:
            event = await self._event()
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            else:
                return

    async def aclose(self) -> None:
        self._wire.close()

    async def _event(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            self._events += 1
            if self._events % TURN == 0:
                await asyncio.sleep(0)
            try:
                event = self._h11.next_event()
            except h11.RemoteProtocolError as error:
                if self._ended:
                    raise ConnectionResetError("the server ended the connection in mid-answer") from error
                raise Garbled(f"the answer is broken HTTP: {error}") from error
            if not isinstance(event, type) or event is h11.PAUSED:
                return event
            data = await self._wire.read(READ_SIZE)
            if not self._started and data:
                self._started = True
                _check_start(data)
            self._ended = not data
            self._h11.receive_data(data)


def _check_start(data: bytes) -> None:
    """Tells at the first bytes when it is not HTTP that answers, rather than wait for the end of a line."""
    if data.startswith(b"HTTP/"[: len(data)]):
        return
    if data[:2] == b"\x15\x03":
        raise Garbled("the port speaks TLS and was asked in plain HTTP", code="tls_port", sight=Sight.TLS)
    if data[:1] == b"\x00" and data[3:5] == b"\x04\x00":
        raise Garbled("the port speaks HTTP/2, as gRPC servers do, and was asked in HTTP/1.1", code="http2")
    raise Garbled(f"the answer is not HTTP; it begins with: {clean(data[:200].decode('utf-8', 'replace'), 120)}")
