"""Real sockets on loopback for the probes: servers that follow a script, on the daemon's own kind of loop."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any, Protocol, TypeVar

import psutil
import pytest
import trustme

from config.kinds import Params
from config.services import Check
from monitor.net import LookUp, Resolver, WatchLoop
from monitor.probes.base import Outcome, ProbeContext
from monitor.probes.table import run_check

T = TypeVar("T")
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Stage:
    """One scripted server: its port, how many connections it took, and how many are open now."""

    def __init__(self, script: Script) -> None:
        self._script = script
        self.port = 0
        self.taken = 0
        self.open = 0

    async def play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken += 1
        self.open += 1
        try:
            with suppress(ConnectionError, ssl.SSLError):
                await self._script(reader, writer)
        finally:
            self.open -= 1
            writer.close()


class Scene:
    """Servers and probes on one loop. Belongs to one test."""

    def __init__(self) -> None:
        self.context = ProbeContext()
        self.stages: list[Stage] = []
        self._servers: list[asyncio.Server] = []

    async def serve(
        self, script: Script, *, host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None
    ) -> Stage:
        stage = Stage(script)
        server = await asyncio.start_server(stage.play, host, port, ssl=tls, backlog=1024)
        stage.port = server.sockets[0].getsockname()[1]
        self.stages.append(stage)
        self._servers.append(server)
        return stage

    async def ask(self, kind: str, params: Params, *, timeout: float = 2.0, **check: Any) -> Outcome:
        return await run_check(Check(name=kind, kind=kind, params=params, timeout=timeout, **check), self.context)

    async def settle(self, seconds: float = 2.0) -> None:
        """Waits until every server has seen every connection end; fails the test when one stays."""
        for _ in range(int(seconds / 0.01)):
            if not any(stage.open for stage in self.stages):
                return
            await asyncio.sleep(0.01)
        pytest.fail(f"connections left open: {[stage.open for stage in self.stages]}")

    async def fds(self, wanted: int, seconds: float = 5.0) -> int:
        """Open files of this process, once they are down to `wanted` or after `seconds`.

        A server here may still have to accept, and then close, what a cancelled probe left in its queue.
        """
        process = psutil.Process()
        for _ in range(int(seconds / 0.05)):
            if process.num_fds() <= wanted:
                break
            await asyncio.sleep(0.05)
        return process.num_fds()

    async def close(self) -> None:
        for server in self._servers:
            server.close()


class Run(Protocol):
    """Runs a test's coroutine with a Scene on a WatchLoop; at its end no connection may be left open."""

    def __call__(self, act: Callable[[Scene], Awaitable[T]], *, resolver: Resolver | None = None) -> T: ...


@pytest.fixture
def run() -> Run:
    def runner(act: Callable[[Scene], Awaitable[T]], *, resolver: Resolver | None = None) -> T:
        async def whole() -> T:
            scene = Scene()
            try:
                result = await act(scene)
                await scene.settle()
            finally:
                await scene.close()
            return result

        with asyncio.Runner(loop_factory=lambda: WatchLoop(resolver)) as loop:
            return loop.run(whole())

    return runner


@pytest.fixture
def say() -> Callable[..., Script]:
    """Makes a script: reads the head of a request, sends the bytes one after the other, `pause` seconds apart, ends.

    With `hold` it does not end but waits for the other side to.
    """

    def make(*parts: bytes, pause: float = 0.0, hold: bool = False) -> Script:
        async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(asyncio.IncompleteReadError):
                await reader.readuntil(b"\r\n\r\n")
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(pause)
            if hold:
                await reader.read()

        return script

    return make


@pytest.fixture
def page() -> Callable[..., bytes]:
    """Makes an HTTP answer of a body: page(b'{"a":1}', status=200, type="application/json", **headers)."""

    def make(body: bytes = b"", *, status: int = 200, kind: str = "application/json", **headers: str) -> bytes:
        lines = [f"HTTP/1.1 {status} Whatever", f"content-type: {kind}", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + body

    return make


async def _silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


@pytest.fixture
def silent() -> Script:
    """Accepts and never says a word, until the other side ends."""
    return _silent


@pytest.fixture
def deaf() -> Iterator[Callable[..., int]]:
    """Makes a port whose queue of connections is full: further ones are neither taken nor refused. Gives the port."""
    with ExitStack() as sockets:

        def make(host: str = "127.0.0.1", port: int = 0) -> int:
            listener = sockets.enter_context(socket.socket())
            listener.bind((host, port))
            listener.listen(0)
            address = listener.getsockname()
            for _ in range(4):
                filler = sockets.enter_context(socket.socket())
                filler.setblocking(False)
                with suppress(BlockingIOError):
                    filler.connect(address)
            return int(address[1])

        yield make


@pytest.fixture
def free_port() -> int:
    """A port where nothing listens."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def shut() -> Iterator[Callable[..., int]]:
    """Makes a port that refuses on both kinds of loopback address, and that nobody else can take meanwhile.

    shut(but="::1") leaves that address free, for a server of the test's own.
    """
    with ExitStack() as sockets:

        def make(*, but: str = "") -> int:
            for _ in range(50):
                with ExitStack() as tried:
                    port = 0
                    for host, family in (("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)):
                        sock = tried.enter_context(socket.socket(family))
                        try:
                            sock.bind((host, port))
                        except OSError:
                            break  # taken by somebody on the other kind
                        port = sock.getsockname()[1]
                        if host == but:
                            sock.close()
                    else:
                        sockets.push(tried.pop_all())
                        return int(port)
            raise OSError("no port is free on both kinds of address")

        yield make


@pytest.fixture
def names() -> Callable[..., LookUp]:
    """Makes a look-up that knows names(shop=("127.0.0.1", "::1")) and says of all others that there is no such name."""

    def make(**known: tuple[str, ...]) -> LookUp:
        def look_up(host: str, port: None, family: int, kind: int, proto: int, flags: int) -> Any:
            if host not in known:
                raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
            found = []
            for address in known[host]:
                with suppress(socket.gaierror):
                    found += socket.getaddrinfo(address, port, family, kind, proto, flags | socket.AI_NUMERICHOST)
            if not found:
                raise socket.gaierror(socket.EAI_NODATA, "No address associated with hostname")
            return found

        return look_up

    return make


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> trustme.CA:
    """A certificate authority that this process trusts for the length of the test."""
    ca = trustme.CA()
    file = tmp_path / "ca.pem"
    ca.cert_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return ca


@pytest.fixture
def tls_of() -> Callable[[trustme.LeafCert], ssl.SSLContext]:
    """Makes a server's TLS context of a certificate."""

    def make(cert: trustme.LeafCert) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        cert.configure_cert(context)
        return context

    return make


class Lapse(WatchLoop):
    """A loop with real connections, on which hours pass at a word."""

    shift = 0.0

    def time(self) -> float:
        return super().time() + self.shift


class Watcher:
    """One daemon's view of signals over time: asks, lets time pass, asks again. Belongs to one test."""

    def __init__(self) -> None:
        self.context = ProbeContext()

    async def ask(self, kind: str, params: Params, *, timeout: float = 5.0) -> Outcome:
        return await run_check(Check(name=kind, kind=kind, params=params, timeout=timeout), self.context)

    def wait(self, seconds: float) -> None:
        """Lets so many seconds pass, in none."""
        loop = asyncio.get_running_loop()
        assert isinstance(loop, Lapse)
        loop.shift += seconds


class Over(Protocol):
    """Runs a test's coroutine with a Watcher on a Lapse."""

    def __call__(self, act: Callable[[Watcher], Awaitable[T]]) -> T: ...


@pytest.fixture
def over() -> Over:
    def runner(act: Callable[[Watcher], Awaitable[T]]) -> T:
        async def whole() -> T:
            watcher = Watcher()
            try:
                return await act(watcher)
            finally:
                await watcher.context.aclose()

        with asyncio.Runner(loop_factory=Lapse) as loop:
            return loop.run(whole())

    return runner
