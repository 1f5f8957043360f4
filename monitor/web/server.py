"""The listening socket and the server on it, made so that no client can hold up another.

uvicorn has no deadline for a request that never ends or an answer that is never read, and counts such connections
against its limit until every request is refused, /healthz among them. Here each connection has its deadline, and when
there are too many the one that has waited longest gives way.
"""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Iterator, Sequence

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE = 30.0  # seconds a connection may take for its next whole answer
CONNECTIONS = 128  # open at once
KEEP_ALIVE = 5  # seconds an idle connection stays open
GRACE = 2  # seconds that answers under way get at the end
BACKLOG = 512

# No IPv6 in the kernel, or none on any interface: IPv4 has to do.
_NO_IPV6 = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT}


class BindError(Exception):
    """The port cannot be listened on. Its text is one line that names PORT and what to do."""


def bind(port: int) -> list[socket.socket]:
    """Listens on `port` of every address, IPv6 and IPv4; on IPv4 alone where IPv6 is off. Port 0 takes a free one.

    Raises BindError when the port is taken or not ours to take.
    """
    try:
        return [_listen(socket.AF_INET6, "::", port)]
    except OSError as error:
        if error.errno not in _NO_IPV6:
            raise BindError(_why(port, error)) from error
    try:
        return [_listen(socket.AF_INET, "0.0.0.0", port)]  # noqa: S104 -- the platform's router comes from outside
    except OSError as error:
        raise BindError(_why(port, error)) from error


async def serve(app: ASGIApp, sockets: Sequence[socket.socket], stop: asyncio.Event) -> None:
    """Serves `app` on `sockets` in the running loop until `stop` is set, then closes them.

    Answers under way get 2 seconds. Signals are left alone: the daemon owns them.
    """
    config = uvicorn.Config(
        app,
        http=_Connection,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE,
        timeout_graceful_shutdown=GRACE,
    )
    server = _Server(config, stop)
    try:
        await server.serve(list(sockets))
    finally:
        for connection in list(server.server_state.connections):
            connection.transport.abort()


class _Server(uvicorn.Server):
    """uvicorn's server, ended by an event: it leaves signals alone and does not wake ten times a second to look."""

    def __init__(self, config: uvicorn.Config, stop: asyncio.Event) -> None:
        super().__init__(config)
        self._stop = stop

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        await self._stop.wait()


class _Connection(H11Protocol):
    """One client's connection, cut off when it has completed no answer for PATIENCE seconds."""

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as the class above has it
        super().connection_made(transport)
        self._wait_again()
        if len(self.connections) > CONNECTIONS:
            slowest = min((one for one in self.connections if isinstance(one, _Connection)), key=_Connection.cut_at)
            self.connections.discard(slowest)  # at once: connection_lost comes only later
            slowest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._deadline:
            self._deadline.cancel()

    def on_response_complete(self) -> None:
        # What is still in the transport's buffer has to be read by the client within the next wait.
        self._wait_again()
        super().on_response_complete()

    def cut_at(self) -> float:
        """When this connection will be cut off, on the loop's clock."""
        return self._deadline.when() if self._deadline else 0.0

    def _wait_again(self) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._deadline = self.loop.call_later(PATIENCE, self.transport.abort)


def _listen(family: socket.AddressFamily, host: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind((host, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def _why(port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"PORT={port} is already taken by another process; end that one or set PORT to a free port"
        case errno.EACCES:
            return f"PORT={port} may not be taken by this user; set PORT to one above 1023, such as 8080"
        case _:
            return f"PORT={port} cannot be listened on: {os.strerror(error.errno or 0)}"
