"""A connection to Redis or Valkey on our own loop, and what its errors prove."""

import ast
import asyncio
import re
import socket
import ssl
from typing import Any

from redis.asyncio import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, InvalidResponse, RedisError, ResponseError

from config.checks import RedisParams
from monitor.net import Stage, progress
from monitor.probes.base import Answer, Garbled, Sight, Verdict
from monitor.wire import connect

# Bytes that a server may send over one connection. INFO and all that else is asked take some kilobytes, the reason why
# a job failed may be longer; redis-py reads whatever length it is told.
MOST = 1_048_576
TURN = 128  # lines after which the loop is given its turn: a long list that has arrived is else taken apart in one go


class _BoundedReader(asyncio.StreamReader):
    """A reader that takes MOST bytes, and raises Garbled to whoever reads on after more came."""

    _taken = 0
    _lines = 0

    def feed_data(self, data: Any) -> None:
        """What asyncio's transport hands over."""
        self._taken += len(data)
        if self._taken > MOST:
            self.set_exception(Garbled(f"the server sent more than {MOST} bytes"))
        else:
            super().feed_data(data)

    async def readline(self) -> bytes:
        """As asyncio's, now and then after a turn of the loop."""
        self._lines += 1
        if self._lines % TURN == 0:
            await asyncio.sleep(0)
        return await super().readline()


class FreshConnection(Connection):
    """redis-py's connection, dialled as all probes dial: each address of the host has its share of the time.

    Speaks RESP2 and names itself to nobody, so that servers of any age get AUTH, SELECT, PING and INFO only.
    """

    def __init__(self, params: RedisParams, timeout: float, tls: ssl.SSLContext | None) -> None:
        super().__init__(
            host=params.host,
            port=params.port,
            username=params.user,
            password=params.password.reveal() if params.password else None,
            db=params.database,
            protocol=2,
            driver_info=None,
            retry=Retry(NoBackoff(), 0),
            socket_timeout=None,
            socket_connect_timeout=None,
        )
        self._seconds = timeout
        self._tls = tls
        self._transport: asyncio.WriteTransport | None = None

    async def _connect(self) -> None:
        """Where redis-py leaves the way to the server to its subclasses."""
        sock = await connect(self.host, self.port, timeout=self._seconds)
        seen = progress.get()
        if self._tls and seen is not None:
            seen.stage = Stage.TLS
        try:
            if self._tls:
                self._reader, self._writer = await self._handshake(sock)
            else:
                self._reader, self._writer = await _open(sock)
        except ValueError:
            sock.close()  # asyncio refused the arguments before it took the socket over
            raise
        self._transport = self._writer.transport
        if seen is not None:
            seen.stage = Stage.ANSWER

    async def _handshake(self, sock: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Speaks TLS; once half the time has not sufficed, asks beside it whether plain text is spoken there.

        A Redis without TLS takes our first bytes for half a command and waits in silence for the rest. Raises Garbled.
        """

        async def doubt() -> None:
            progress.set(None)
            await asyncio.sleep(self._seconds / 2)
            if await self._speaks_plainly():
                patience.reschedule(0)

        try:
            async with asyncio.timeout(None) as patience:
                doubting = asyncio.create_task(doubt())
                try:
                    return await _open(sock, ssl=self._tls, server_hostname=self.host)
                finally:
                    doubting.cancel()
        except TimeoutError:
            if patience.expired():
                text = "a plain PING is answered where TLS was asked for; TLS is not"
                raise Garbled(text, code="not_tls", sight=Sight.TLS) from None
            raise

    async def _speaks_plainly(self) -> bool:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._seconds / 4):
                sock = await connect(self.host, self.port, timeout=self._seconds / 4)
                with sock:
                    await loop.sock_sendall(sock, b"PING\r\n")
                    return re.match(rb"[+-][A-Z]", await loop.sock_recv(sock, 64)) is not None
        except OSError:  # TimeoutError among them
            return False

    async def read_response(self, *arguments: Any, **named: Any) -> Any:
        """As redis-py's. Raises Garbled for lists within lists that are too many for its parser."""
        try:
            return await super().read_response(*arguments, **named)
        except RecursionError:
            raise Garbled("the answer is a list in a list, too many times") from None

    async def ask(self, *questions: tuple[str | int, ...]) -> list[Any]:
        """Sends all of them at once; gives the answer to each, which is a ResponseError where it was refused."""
        await self.send_packed_command(self.pack_commands(questions))
        answers: list[Any] = []
        for _ in questions:
            try:
                answers.append(await self.read_response(disconnect_on_error=False))
            except ResponseError as error:
                answers.append(error)
        return answers

    async def abandon(self) -> None:
        """Closes the connection without waiting for the server to agree, as TLS would."""
        await self.disconnect(nowait=True)
        if self._transport is not None:
            self._transport.abort()


async def _open(sock: socket.socket, **tls: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """As asyncio.open_connection, with a reader of bounds."""
    loop = asyncio.get_running_loop()
    reader = _BoundedReader(loop=loop)
    protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
    transport, _ = await loop.create_connection(lambda: protocol, sock=sock, **tls)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


def text_of(said: Any) -> str:
    """A reply as text; what is no UTF-8 is replaced."""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)


def read(error: RedisError) -> Answer:
    """Gives what an error of redis-py's proves. Raises it again, or as a reset, if the network raised it."""
    said = str(error)
    if isinstance(error, InvalidResponse):
        raise Garbled(f"the answer is not Redis's protocol{_quote(said)}") from None
    if isinstance(error, AuthenticationError) and not error.status_code:
        raise Garbled("AUTH was answered with neither OK nor an error") from None
    if error.status_code or isinstance(error, ResponseError):
        word = re.match(r"-?([A-Z][A-Z0-9]*)\b", said)
        code = error.status_code or (word[1] if word else "")
        text = (said if said.startswith(code) else f"{code} {said}") or "an error without words"
        return Answer(verdict=Verdict.FAIL, sight=Sight.ANSWERED, text=text, code=code)
    if error.__context__ is None and error.__cause__ is None:
        raise ConnectionResetError(said) from None
    raise error


def _quote(said: str) -> str:
    """What the parser could not read, as it came: in Python's spelling a secret in it would not be recognised."""
    try:
        line = ast.literal_eval(said.removeprefix("Protocol Error: "))
    except (ValueError, SyntaxError):
        return ""
    return f"; it begins with: {text_of(line)}" if line else ""
