"""Looking names up in threads of their own: what never answers delays nobody and holds up no exit."""

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import httpx
import pytest

from monitor.net import Resolver, SilentResolver, WatchLoop, spell

T = TypeVar("T")


class Names:
    """A look-up function that hangs on names beginning with "dead" until released, and knows all others as ::1."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.left = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str, port: None, family: int, kind: int, proto: int, flags: int) -> Any:
        self.asked.append(host)
        if host.startswith("dead"):
            self.release.wait(30)
        self.left.set()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]


@pytest.fixture
def names() -> Iterator[Names]:
    found = Names()
    yield found
    found.release.set()


def on_loop(resolver: Resolver, act: Callable[[], Awaitable[T]]) -> T:
    async def whole() -> T:
        return await act()

    with asyncio.Runner(loop_factory=lambda: WatchLoop(resolver)) as runner:
        return runner.run(whole())


def test_a_hundred_dead_names_delay_nobody(names: Names) -> None:
    async def act() -> tuple[float, list[BaseException | Any]]:
        loop = asyncio.get_running_loop()
        dead = [asyncio.ensure_future(loop.getaddrinfo(f"dead{n}", 80)) for n in range(100)]
        await asyncio.sleep(0.05)
        worst = 0.0
        for n in range(50):
            before = time.perf_counter()
            assert (await loop.getaddrinfo(f"live{n}", 80))[0][4] == ("127.0.0.1", 80)
            worst = max(worst, time.perf_counter() - before)
        return worst, await asyncio.gather(*dead, return_exceptions=True)

    worst, dead = on_loop(Resolver(names, deadline=2.0), act)
    assert worst < 1.0
    assert {type(error) for error in dead} == {SilentResolver}


def test_dead_names_do_not_hold_up_the_end_of_the_process() -> None:
    program = """
import asyncio, time
from monitor.net import Resolver, WatchLoop

async def main():
    loop = asyncio.get_running_loop()
    dead = [asyncio.ensure_future(loop.getaddrinfo(f"dead{n}", 80)) for n in range(100)]
    await asyncio.wait(dead, timeout=10)
    print(sum(job.done() for job in dead))

look_up = lambda *_: time.sleep(60)
with asyncio.Runner(loop_factory=lambda: WatchLoop(Resolver(look_up, deadline=0.1))) as runner:
    runner.run(main())
"""
    before = time.perf_counter()
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
    assert ended.stdout == "100\n", ended.stderr
    assert ended.returncode == 0
    assert time.perf_counter() - before < 8


def test_one_name_is_asked_once_however_many_wait(names: Names) -> None:
    async def act() -> int:
        loop = asyncio.get_running_loop()
        waits = [asyncio.ensure_future(loop.getaddrinfo("dead", port)) for port in range(1, 41)]
        await asyncio.sleep(0.05)
        waits[0].cancel()
        names.release.set()
        found = await asyncio.gather(*waits[1:])
        assert [answer[0][4][1] for answer in found] == list(range(2, 41))
        return len(names.asked)

    assert on_loop(Resolver(names, deadline=5), act) == 1


def test_a_name_still_hanging_is_not_asked_again(names: Names) -> None:
    async def act() -> None:
        loop = asyncio.get_running_loop()
        for _ in range(3):
            with pytest.raises(SilentResolver, match="no answer for dead within"):
                await loop.getaddrinfo("dead", 80)

    on_loop(Resolver(names, deadline=0.05), act)
    assert names.asked == ["dead"]


def test_beyond_the_bound_a_look_up_fails_at_once_and_says_so(names: Names) -> None:
    async def act() -> None:
        loop = asyncio.get_running_loop()
        dead = [asyncio.ensure_future(loop.getaddrinfo(f"dead{n}", 80)) for n in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(SilentResolver, match="3 name look-ups are already waiting"):
            await loop.getaddrinfo("live", 80)
        names.release.set()
        await asyncio.gather(*dead)
        assert await loop.getaddrinfo("live", 80)

    on_loop(Resolver(names, deadline=5, max_threads=3), act)


@pytest.mark.parametrize(
    ("host", "family", "address"),
    [
        ("127.0.0.1", socket.AF_UNSPEC, ("127.0.0.1", 80)),
        ("::1", socket.AF_UNSPEC, ("::1", 80, 0, 0)),
        ("127.1", socket.AF_INET, ("127.0.0.1", 80)),
        (None, socket.AF_INET, ("127.0.0.1", 80)),
    ],
)
def test_an_address_asks_nobody(names: Names, host: str | None, family: int, address: tuple[Any, ...]) -> None:
    async def act() -> Any:
        loop = asyncio.get_running_loop()
        return await loop.getaddrinfo(host, "80", family=family, type=socket.SOCK_STREAM)

    assert on_loop(Resolver(names), act)[0][4] == address
    assert names.asked == []


def test_an_address_of_the_other_family_is_no_address(names: Names) -> None:
    async def act() -> None:
        with pytest.raises(socket.gaierror):
            await asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80, family=socket.AF_INET6)

    on_loop(Resolver(names), act)
    assert names.asked == []


def test_what_look_up_raises_reaches_each_who_waits() -> None:
    def broken(*_: Any) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    async def act() -> list[Any]:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.getaddrinfo("name", 80) for _ in range(2)), return_exceptions=True)

    first, second = on_loop(Resolver(broken), act)
    assert (first.errno, second.errno) == (socket.EAI_AGAIN, socket.EAI_AGAIN)
    assert first is not second
    assert "the resolver failed for name" in first.strerror


def test_the_thread_that_comes_back_after_the_loop_closed_says_nothing(names: Names) -> None:
    async def act() -> None:
        with pytest.raises(SilentResolver):
            await asyncio.get_running_loop().getaddrinfo("dead", 80)

    on_loop(Resolver(names, deadline=0.05), act)
    names.release.set()
    assert names.left.wait(5)
    time.sleep(0.05)  # what the thread raised would fail this test


def test_asyncio_itself_looks_up_through_it(names: Names) -> None:
    async def act() -> None:
        server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("live.example", port)
        writer.close()
        server.close()

    on_loop(Resolver(names), act)
    assert names.asked == ["live.example"]


def test_httpx_looks_up_through_it_for_alerts_and_heartbeat(names: Names) -> None:
    """Beneath it anyio asks for the name in bytes."""

    async def act() -> int:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://hooks.example:{port}/")
        server.close()
        return answer.status_code

    assert on_loop(Resolver(names), act) == 204
    assert names.asked == ["hooks.example"]


def test_addresses_are_spelt_as_people_do() -> None:
    assert spell(("10.0.0.1", 80)) == "10.0.0.1:80"
    assert spell(("::1", 80, 0, 0)) == "[::1]:80"
    assert spell("/run/db.sock") == "/run/db.sock"
