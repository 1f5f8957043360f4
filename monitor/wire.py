"""Connections for the probes: opened once, spoken over, closed; in plain or under TLS."""

import asyncio
import socket
import ssl
from typing import Protocol

from config.fields import Family
from monitor.net import Stage, progress, spell

FAMILIES: dict[Family, int] = {"any": socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


class Wire(Protocol):
    """An open connection. Deadlines are the caller's: nothing here waits for less than for ever."""

    async def read(self, limit: int) -> bytes:
        """Gives at most `limit` bytes as soon as there are any; b"" at the end. Raises OSError."""

    async def write(self, data: bytes) -> None:
        """Sends all of `data`. Raises OSError."""

    def close(self) -> None:
        """Closes the connection; may be called twice."""


class PlainWire:
    """Over the bare socket: asyncio's transports and streams would cost more CPU than the rest of a probe's talking."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()

    async def read(self, limit: int) -> bytes:
        return await self._loop.sock_recv(self._sock, limit)

    async def write(self, data: bytes) -> None:
        await self._loop.sock_sendall(self._sock, data)

    def close(self) -> None:
        self._sock.close()


class TlsWire:
    """Over asyncio's TLS."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def ssl_object(self) -> ssl.SSLObject:
        """What the handshake agreed on."""
        found: ssl.SSLObject = self._writer.get_extra_info("ssl_object")
        return found

    async def read(self, limit: int) -> bytes:
        return await self._reader.read(limit)

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def close(self) -> None:
        # Says goodbye, which spares the server a line in its log, and does not wait for the answer.
        self._writer.close()
        self._writer.transport.abort()


def _weight(error: OSError) -> int:
    """How much an error says about the far side: of several addresses that failed, the most telling one is reported."""
    if isinstance(error, TimeoutError):
        return 2
    return 1 if isinstance(error, ConnectionError) else 0


async def connect(host: str, port: int, *, family: Family = "any", timeout: float) -> socket.socket:
    """Opens a TCP connection to the first address of `host` that takes one; gives the non-blocking socket.

    Addresses are tried one after the other in the resolver's order. Each but the last gets its share of `timeout`
    seconds, so one that swallows packets does not hide one that works. Raises socket.gaierror, or OSError of the most
    telling failure; TimeoutError among them. The caller closes the socket and bounds the whole.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout
    found = await loop.getaddrinfo(host, port, family=FAMILIES[family], type=socket.SOCK_STREAM)
    worst: tuple[OSError, str] | None = None
    for left, (fam, kind, proto, _, address) in zip(range(len(found), 0, -1), found, strict=True):
        sock = socket.socket(fam, kind, proto)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            async with asyncio.timeout((end - loop.time()) / left if left > 1 else None):
                await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            if worst is None or _weight(error) > _weight(worst[0]):
                worst = error, spell(address)
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    if worst is None:
        raise OSError(f"no address to connect to for {host}")
    seen = progress.get()
    if seen is not None:
        seen.address = worst[1]
    raise worst[0]


async def secure(sock: socket.socket, context: ssl.SSLContext, server_name: str) -> TlsWire:
    """Speaks TLS over a connected socket and owns it from then on. Raises ssl.SSLError, OSError."""
    seen = progress.get()
    if seen is not None:
        seen.stage = Stage.TLS
    try:
        reader, writer = await asyncio.open_connection(sock=sock, ssl=context, server_hostname=server_name)
    except ValueError:
        sock.close()  # asyncio refused the arguments before it took the socket over
        raise
    if seen is not None:
        seen.stage = Stage.ANSWER
    return TlsWire(reader, writer)


async def dial(
    host: str,
    port: int,
    *,
    timeout: float,
    family: Family = "any",
    tls: ssl.SSLContext | None = None,
    server_name: str | None = None,
) -> PlainWire | TlsWire:
    """Opens a connection as `connect` does, under TLS when a context is given. Raises as connect and secure do."""
    sock = await connect(host, port, family=family, timeout=timeout)
    return PlainWire(sock) if tls is None else await secure(sock, tls, server_name or host)
