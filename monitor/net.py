"""The network under the probes: looking names up, opening connections, and knowing how far one got.

asyncio looks names up in its shared executor, where forty dead names on two cores keep every other name waiting and
hold up the end of the process. Here each name has a thread of its own with a deadline, and `WatchLoop` hands that to
everything that asks the loop: httpx, redis, psycopg and our own probes.
"""

import asyncio
import socket
import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from config.checks import Family

AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]
LookUp = Callable[..., Sequence[AddressInfo]]

FAMILIES: dict[Family, int] = {"any": socket.AF_UNSPEC, "ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}


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
    """Looks names up in daemon threads: one thread a (name, family), shared by all who wait for it.

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

    @property
    def busy(self) -> int:
        """How many look-ups are under way now."""
        return len(self._flights)

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
        thread = threading.Thread(target=self._ask, args=(key, loop), name=f"look-up {key[0]}", daemon=True)
        size = threading.stack_size(self.STACK_BYTES)
        try:
            thread.start()
        except RuntimeError as error:
            raise SilentResolver(f"no thread could be started to look {key[0]} up: {error}") from error
        finally:
            threading.stack_size(size)
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
            if isinstance(found, Exception):
                waiter.set_exception(found)
            else:
                waiter.set_result(found)


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

    async def getaddrinfo(  # type: ignore[override]  # typeshed wants bytes hosts too; no caller of ours has them
        self,
        host: str | None,
        port: int | str | None,
        *,
        family: int = 0,
        type: int = 0,  # noqa: A002 -- asyncio's name
        proto: int = 0,
        flags: int = 0,
    ) -> list[AddressInfo]:
        """As asyncio's; raises socket.gaierror, SilentResolver among them."""
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
