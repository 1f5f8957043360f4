"""One TCP port on loopback that can be open, closed with its number kept, or gone."""

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable

ADDRESSES = {
    "127.0.0.1": ((socket.AF_INET, "127.0.0.1"),),
    "::1": ((socket.AF_INET6, "::1"),),
    "localhost": ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")),
}

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a RST: closing with a linger time of zero discards it."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class Listener:
    """Hands each connection on `port` of `host` (127.0.0.1, ::1, or localhost for both) to `serve`.

    `port` 0 takes a free one at the first `open` and keeps that number through `refuse`, `close` and `open` again.
    """

    def __init__(self, host: str, port: int, serve: Serve) -> None:
        if host not in ADDRESSES:
            raise ValueError(f"host {host!r}: a contract server listens on one of {', '.join(ADDRESSES)} only")
        self.host = host
        self.port = port
        self._serve = serve
        self._open: list[socket.socket] = []
        self._refusing: list[socket.socket] = []
        self._connections: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Accept connections; no more than that when it does already. Raises OSError when the port is taken."""
        if self._open:
            return
        self._open, self._refusing = self._refusing or self._bind(), []
        for sock in self._open:
            sock.listen(1024)
            asyncio.get_running_loop().add_reader(sock, self._accept, sock)

    async def refuse(self) -> None:
        """Refuse connections as a dead process's port does, and end the open ones.

        The port stays bound without listening: the kernel answers RST, and nobody else is given the number meanwhile.
        """
        await self.close()
        self._refusing = self._bind()

    async def close(self) -> None:
        """Let go of the port and of every connection."""
        for sock in self._open:
            asyncio.get_running_loop().remove_reader(sock)
        for sock in self._open + self._refusing:
            sock.close()
        self._open, self._refusing = [], []
        await self.drop()

    async def drop(self) -> None:
        """End every open connection."""
        connections = list(self._connections)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    def _bind(self) -> list[socket.socket]:
        sockets: list[socket.socket] = []
        try:
            for family, address in ADDRESSES[self.host]:
                sock = socket.socket(family, socket.SOCK_STREAM)
                sockets.append(sock)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the last server's TIME_WAIT is no owner
                if family == socket.AF_INET6:
                    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                sock.bind((address, self.port))
                sock.setblocking(False)
                self.port = int(sock.getsockname()[1])
        except OSError:
            for sock in sockets:
                sock.close()
            raise
        return sockets

    def _accept(self, listening: socket.socket) -> None:
        # Not asyncio.start_server: closing it while a connection is being accepted loses that connection's socket.
        try:
            sock, _ = listening.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return  # it left before we came
        sock.setblocking(False)
        task = asyncio.get_running_loop().create_task(self._connection(sock))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        task.add_done_callback(lambda _: sock.close())  # also when the task was cancelled before it began

    async def _connection(self, sock: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=sock)
        try:
            await self._serve(reader, writer)
            writer.close()
            await writer.wait_closed()  # a peer that does not read keeps it open, and known, until `drop`
        except (ConnectionError, TimeoutError):
            pass  # the other side left
        finally:
            writer.transport.abort()
