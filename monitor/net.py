"""The network under the probes: looking names up, and knowing how far a probe got.

asyncio looks names up in its shared executor, where forty dead names on two cores keep every other name waiting and
hold up the end of the process. Here each name has a thread of its own with a deadline, and `WatchLoop` hands that to
everything that asks the loop: httpx, redis, psycopg and our own probes.
"""

import _thread
import asyncio
import socket
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]
LookUp = Callable[..., Sequence[AddressInfo]]


class Stage(StrEnum):
    """What a probe was waiting for."""

    LOOK_UP = "look_up"
    CONNECT = "connect"
    TLS = "tls"
    ANSWER = "answer"
    BODY = "body"


@dataclass(slots=True)
class Progress:
    """How far one probe got: what it waits for now, and the address it dialled ("10.0.0.1:80", "[::1]:80")."""

    stage: Stage = Stage.LOOK_UP
    address: str = ""


# The loop writes here, so that a timeout inside any client library can be told apart by what was being waited for.
progress: ContextVar[Progress | None] = ContextVar("progress", default=None)


class SilentResolver(socket.gaierror):
    """The resolver did not answer in time, or there was no thread left to ask it with."""

    def __init__(self, text: str) -> None:
        super().__init__(socket.EAI_AGAIN, text)


class Resolver:
    """Looks names up in threads that hold up no exit: one thread a (name, family), shared by all who wait for it.

    `look_up` has socket.getaddrinfo's signature and may block for as long as it likes. `deadline` is how many seconds
    one caller waits. Above `max_threads` look-ups that hang, a further name fails at once: threads cannot be ended from
    outside, only bounded. Use one Resolver per event loop, from that loop only.
    """

    # getaddrinfo needs some tens of kilobytes; the default of 8 MB a thread counts against a container's address space.
    STACK_BYTES = 512 * 1024

    def __init__(self, look_up: LookUp = socket.getaddrinfo, *, deadline: float = 5.0, max_threads: int = 256) -> None:
        self._look_up = look_up
        self._deadline = deadline
        self._max_threads = max_threads
        self._flights: dict[tuple[Any, ...], set[asyncio.Future[Sequence[AddressInfo]]]] = {}

    async def resolve(
        self, host: str, *, family: int = 0, kind: int = 0, proto: int = 0, flags: int = 0
    ) -> Sequence[AddressInfo]:
        """Gives what getaddrinfo says of `host`, with port 0. Raises socket.gaierror, SilentResolver among them."""
        key = (host, family, kind, proto, flags)
        waiters = self._flights.get(key)
        if waiters is None:
            waiters = self._start(key)
        answer: asyncio.Future[Sequence[AddressInfo]] = asyncio.get_running_loop().create_future()
        waiters.add(answer)
        try:
            async with asyncio.timeout(self._deadline):
                return await answer
        except TimeoutError:
            raise SilentResolver(f"the resolver gave no answer for {host} within {self._deadline:g} s") from None
        finally:
            waiters.discard(answer)

    def _start(self, key: tuple[Any, ...]) -> set[asyncio.Future[Sequence[AddressInfo]]]:
        if len(self._flights) >= self._max_threads:
            raise SilentResolver(f"{self._max_threads} name look-ups are already waiting for the resolver")
        waiters: set[asyncio.Future[Sequence[AddressInfo]]] = set()
        loop = asyncio.get_running_loop()
        size = _thread.stack_size(self.STACK_BYTES)
        try:
            # Not threading.Thread: its start() holds the loop up until the new thread has run.
            _thread.start_new_thread(self._ask, (key, loop))
        except RuntimeError as error:
            raise SilentResolver(f"no thread could be started to look {key[0]} up: {error}") from error
        finally:
            _thread.stack_size(size)
        self._flights[key] = waiters
        return waiters

    def _ask(self, key: tuple[Any, ...], loop: asyncio.AbstractEventLoop) -> None:
        """Runs in the thread."""
        host, family, kind, proto, flags = key
        found: Sequence[AddressInfo] | Exception
        try:
            found = self._look_up(host, None, family, kind, proto, flags)
        except Exception as error:  # noqa: BLE001 -- handed to those who wait; a thread has nobody else to tell
            found = error
        try:
            loop.call_soon_threadsafe(self._land, key, found)
        except RuntimeError:
            return  # the loop closed meanwhile: nobody waits any more

    def _land(self, key: tuple[Any, ...], found: Sequence[AddressInfo] | Exception) -> None:
        for waiter in self._flights.pop(key):
            if waiter.done():
                continue
            if isinstance(found, socket.gaierror):
                waiter.set_exception(_explain(found, key[0], key[1]))
            elif isinstance(found, Exception):
                waiter.set_exception(found)
            else:
                waiter.set_result(found)


_KINDS = {socket.AF_UNSPEC: "address", socket.AF_INET: "IPv4 address", socket.AF_INET6: "IPv6 address"}


def _explain(error: socket.gaierror, host: str, family: int) -> socket.gaierror:
    """The same error with a text that names the name; a new one for each waiter, as each adds its own traceback."""
    if error.errno == socket.EAI_NONAME:
        # A resolver asked for one family alone may answer the same when only the other one exists.
        more = f", or it has no {_KINDS[socket.AddressFamily(family)]}" if family else ""
        text = f"there is no such name as {host}{more}"
    elif error.errno in (socket.EAI_NODATA, socket.EAI_ADDRFAMILY):
        text = f"{host} has no {_KINDS[socket.AddressFamily(family)]}"
    else:
        text = f"the resolver failed for {host}: {error.strerror}"
    return socket.gaierror(error.errno, text)


def _literal(host: str | None, port: int, family: int, kind: int, proto: int, flags: int) -> Sequence[AddressInfo]:
    """Gives the address `host` is written as, without asking anybody; nothing when it is a name."""
    # A name cannot end in a digit after a dot or hold a colon, so most names skip the call.
    if host and ":" not in host and not host[-1].isdigit():
        return ()
    try:
        return socket.getaddrinfo(host, port, family, kind, proto, flags | socket.AI_NUMERICHOST)
    except socket.gaierror as error:
        if error.errno == socket.EAI_NONAME and host and ":" not in host:
            return ()
        raise


class WatchLoop(asyncio.SelectorEventLoop):
    """An event loop that looks names up with a Resolver and notes each probe's progress."""

    def __init__(self, resolver: Resolver | None = None) -> None:
        super().__init__()
        self.resolver = resolver or Resolver()

    async def getaddrinfo(  # type: ignore[override]  # typeshed wants bytes ports too; nobody has them
        self,
        host: str | bytes | None,
        port: int | str | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 -- asyncio's name
        proto: int = 0,
        flags: int = 0,
    ) -> list[AddressInfo]:
        """As asyncio's; raises socket.gaierror, SilentResolver among them."""
        if isinstance(host, bytes):
            host = host.decode("ascii")  # anyio, beneath httpx, encodes every name: alerts and the heartbeat go by it
        number = 0 if port is None else int(port) if str(port).isdigit() else socket.getservbyname(str(port))
        literal = _literal(host, number, family, type, proto, flags)
        if literal or host is None:
            return list(literal)
        seen = progress.get()
        if seen is not None:
            seen.stage = Stage.LOOK_UP
        found = await self.resolver.resolve(host, family=family, kind=type, proto=proto, flags=flags)
        return [(fam, kind, pro, name, (addr[0], number, *addr[2:])) for fam, kind, pro, name, addr in found]

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """As asyncio's, noting what is dialled."""
        seen = progress.get()
        if seen is None:
            await super().sock_connect(sock, address)
            return
        seen.stage, seen.address = Stage.CONNECT, spell(address)
        await super().sock_connect(sock, address)
        seen.stage = Stage.ANSWER


def spell(address: Any) -> str:
    """Gives a socket address as people write it: "10.0.0.1:80", "[::1]:80"; a path as it is."""
    if not isinstance(address, tuple):
        return str(address)
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
