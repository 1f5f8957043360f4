"""Signs of life to a real listener that answers as it is told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from config.secret import Secret
from demo.provider import Provider
from monitor.heartbeat import Form, Heartbeat, Signal, address, form_of

HOST = "127.0.0.1"
TOKEN = "canary-3f0a5c1e-7b21"


class Receiver:
    """Keeps each request as (method, target, body); answers with what `answer` gives, or hangs for None."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []
        self.answer: Callable[[str, str], tuple[int, str] | None] = lambda _method, _target: (200, "OK")
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            method, target, _ = head.split("\r\n")[0].split(" ")
            lengths = [line.split(":")[1] for line in head.split("\r\n") if line.lower().startswith("content-length")]
            body = (await reader.readexactly(int(lengths[0]))).decode() if lengths else ""
            self.seen.append((method, target, body))
            answer = self.answer(method, target)
            if answer is None:
                await asyncio.sleep(30)
                return
            status, text = answer
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
            await writer.drain()
        finally:
            writer.close()

    def targets(self) -> list[str]:
        return [target for _, target, _ in self.seen]


def direct() -> httpx.AsyncClient:
    """Without the proxies this machine's environment may name."""
    return httpx.AsyncClient(trust_env=False, follow_redirects=True)


@contextlib.asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, HOST, 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


class Life:
    """What `alive` says; well until told otherwise."""

    def __init__(self) -> None:
        self.says = (True, "")

    def __call__(self) -> tuple[bool, str]:
        return self.says


@contextlib.asynccontextmanager
async def beating(url: str, life: Callable[[], tuple[bool, str]], **arguments: Any) -> AsyncIterator[Heartbeat]:
    given = {"every": 0.3, "look": 0.03, "deadline": 0.5, "client": direct, "wall": lambda: 42.0, **arguments}
    heartbeat = Heartbeat(Secret(url), alive=life, instance="test", **given)
    task = asyncio.create_task(heartbeat.run())
    try:
        yield heartbeat
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(wanted: Callable[[], object], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not wanted():  # noqa: ASYNC110 -- what is waited for is another task's plain value
            await asyncio.sleep(0.01)


def run(act: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await act()

    asyncio.run(main())


def test_start_first_then_a_sign_of_life_each_interval() -> None:
    async def act() -> None:
        async with receiving() as receiver, beating(f"http://{HOST}:{receiver.port}/ping/{TOKEN}", Life()) as one:
            await until(lambda: receiver.seen)
            assert one.last_sent_at is None
            await until(lambda: len(receiver.seen) >= 3)
            assert receiver.targets()[:3] == [f"/ping/{TOKEN}/start", f"/ping/{TOKEN}", f"/ping/{TOKEN}"]
            assert {method for method, _, _ in receiver.seen} == {"POST"}
            await until(lambda: one.sent >= 2)
            assert one.failed == 0
            await until(lambda: one.last_sent_at == 42.0)

    run(act)


def test_nothing_is_said_to_be_well_before_the_daemon_has_lived_an_interval() -> None:
    async def act() -> None:
        async with receiving() as receiver, beating(f"http://{HOST}:{receiver.port}/x", Life(), every=60.0):
            await asyncio.sleep(0.4)
            assert receiver.targets() == ["/x/start"]

    run(act)


def test_trouble_is_told_at_once_with_what_stands_still_and_its_end_too() -> None:
    async def act() -> None:
        life = Life()
        async with receiving() as receiver, beating(f"http://{HOST}:{receiver.port}/x", life, every=60.0):
            await until(lambda: receiver.seen)
            life.says = (False, "the calendar has stood still for 130 s")
            await until(lambda: len(receiver.seen) == 2)
            assert receiver.seen[1] == ("POST", "/x/fail", "the calendar has stood still for 130 s")
            life.says = (True, "")
            await until(lambda: len(receiver.seen) == 3)
            assert receiver.seen[2][1] == "/x"

    run(act)


def test_while_trouble_lasts_nothing_is_said_to_be_well() -> None:
    async def act() -> None:
        life = Life()
        life.says = (False, "the outbox is overdue")
        async with receiving() as receiver, beating(f"http://{HOST}:{receiver.port}/x", life, every=0.1):
            await until(lambda: len(receiver.seen) >= 4)
            assert set(receiver.targets()) == {"/x/start", "/x/fail"}

    run(act)


def test_a_single_look_at_trouble_is_not_told() -> None:
    looks = iter([True, False, True, True, False] + [True] * 1000)

    async def act() -> None:
        async with (
            receiving() as receiver,
            beating(f"http://{HOST}:{receiver.port}/x", lambda: (next(looks), "a hiccup"), every=60.0),
        ):
            await asyncio.sleep(0.5)
            assert receiver.targets() == ["/x/start"]

    run(act)


@pytest.mark.parametrize(
    ("url", "signal", "wanted"),
    [
        ("https://hc/uuid", Signal.START, "https://hc/uuid/start"),
        ("https://hc/uuid/", Signal.FAIL, "https://hc/uuid/fail"),
        ("https://hc/uuid/", Signal.WELL, "https://hc/uuid"),
        ("https://hc/key/slug?create=1", Signal.START, "https://hc/key/slug/start?create=1"),
        ("https://hc/key/slug/?create=1&rid=a%20b", Signal.WELL, "https://hc/key/slug?create=1&rid=a%20b"),
        ("https://u:p@hc:8443/uuid", Signal.FAIL, "https://u:p@hc:8443/uuid/fail"),
        ("https://kuma/api/push/tok", Signal.START, None),
        ("https://kuma/api/push/tok", Signal.WELL, "https://kuma/api/push/tok?status=up&msg=OK"),
        (
            "https://kuma/api/push/tok?status=up&msg=OK&ping=",
            Signal.FAIL,
            "https://kuma/api/push/tok?status=down&msg=it+stands+still&ping=",
        ),
        ("https://host/sub/api/push/tok/", Signal.WELL, "https://host/sub/api/push/tok?status=up&msg=OK"),
    ],
)
def test_addresses(url: str, signal: Signal, wanted: str | None) -> None:
    words = "it stands still" if signal == Signal.FAIL else ""
    assert address(url, form_of(url), signal, words) == wanted


def test_a_plain_address_hears_of_good_times_alone() -> None:
    said = [address("https://snitch/x?a=1", Form.PLAIN, signal, "") for signal in Signal]
    assert said == [None, "https://snitch/x?a=1", None]


def test_uptime_kuma_is_pushed_to() -> None:
    async def act() -> None:
        life = Life()
        url = "http://{host}:{port}/api/push/{token}?status=up&msg=OK&ping="
        async with receiving() as receiver:
            async with beating(url.format(host=HOST, port=receiver.port, token=TOKEN), life):
                await until(lambda: receiver.seen)
                life.says = (False, "the outbox is overdue")
                await until(lambda: len(receiver.seen) == 2)
            assert receiver.seen == [
                ("GET", f"/api/push/{TOKEN}?status=up&msg=OK&ping=", ""),
                ("GET", f"/api/push/{TOKEN}?status=down&msg=the+outbox+is+overdue&ping=", ""),
            ]

    run(act)


@pytest.mark.parametrize("status", [404, 405])
def test_an_address_that_knows_no_start_is_a_plain_one(status: int) -> None:
    async def act() -> None:
        life = Life()
        async with receiving() as receiver:
            receiver.answer = lambda _, target: (200, "thanks") if target == "/x" else (status, "what?")
            async with beating(f"http://{HOST}:{receiver.port}/x", life) as one:
                await until(lambda: len(receiver.seen) == 2)
                life.says = (False, "stuck")
                await asyncio.sleep(0.5)
                assert receiver.targets() == ["/x/start", "/x"]
                life.says = (True, "")
                await until(lambda: len(receiver.seen) == 3)
                assert receiver.seen[2] == ("GET", "/x", "")
                assert one.failed == 0

    run(act)


def test_an_address_that_nobody_knows_stays_what_it_is_and_is_told() -> None:
    async def act() -> None:
        async with receiving() as receiver:
            receiver.answer = lambda *_: (404, "not found")
            with capture_logs() as logs:
                async with beating(f"http://{HOST}:{receiver.port}/{TOKEN}", Life(), every=0.1) as one:
                    await until(lambda: one.failed >= 2)
                    receiver.answer = lambda *_: (200, "OK")
                    await until(lambda: one.sent)
                    await asyncio.sleep(0.05)
            events = [entry["event"] for entry in logs]
            assert events == ["heartbeat_failed", "heartbeat_again", "heartbeat_plain"]
            assert "it answered 404" in logs[0]["says"]
            assert TOKEN not in str(logs)

    run(act)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ((500, "oops"), "it answered 500"),
        ((200, "OK (not found)"), "it answered OK (not found)"),
        (None, "no answer within 0.2 s"),
    ],
)
def test_what_was_not_taken_is_counted_logged_once_and_tried_again(
    answer: tuple[int, str] | None, problem: str
) -> None:
    async def act() -> None:
        async with receiving() as receiver:
            receiver.answer = lambda *_: answer
            with capture_logs() as logs:
                async with beating(f"http://{HOST}:{receiver.port}/{TOKEN}", Life(), every=0.05, deadline=0.2) as one:
                    await until(lambda: one.failed >= 3)
                    assert one.problem == problem
                    assert one.last_sent_at is None
            assert [entry["event"] for entry in logs] == ["heartbeat_failed"]
            assert TOKEN not in str(logs)

    run(act)


def test_a_receiver_that_is_gone_is_survived() -> None:
    async def act() -> None:
        async with receiving() as receiver:
            port = receiver.port
        async with beating(f"http://{HOST}:{port}/{TOKEN}", Life(), every=0.05) as one:
            await until(lambda: one.failed >= 2)
            assert one.problem == "no answer: ConnectError"

    run(act)


def test_an_endless_answer_is_not_read() -> None:
    async def act() -> None:
        async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(ConnectionError):
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    writer.write(b"OK" * 10_000)
                    await writer.drain()

        server = await asyncio.start_server(pour, HOST, 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            async with beating(f"http://{HOST}:{port}/x", Life(), every=0.05) as one:
                await until(lambda: one.sent >= 2)

    run(act)


def test_nothing_can_be_sent_with_nonsense_for_a_proxy_and_that_is_no_end_of_the_daemon() -> None:
    def broken() -> httpx.AsyncClient:
        raise ValueError("Unknown scheme for proxy URL URL('%20http://anna:canary-of-a-proxy@127.0.0.1:9')")

    async def act() -> None:
        with capture_logs() as logs:
            await Heartbeat(Secret("http://127.0.0.1:9/x"), alive=Life(), client=broken).run()
        assert [entry["event"] for entry in logs] == ["heartbeat_off"]
        assert "HTTPS_PROXY" in str(logs)
        assert "canary" not in str(logs)

    run(act)


def test_healthchecks_as_the_demo_has_it() -> None:
    async def act() -> None:
        with Provider() as provider:
            async with beating(provider.heartbeat_url, Life()) as one:
                await until(lambda: one.last_sent_at)
            assert one.failed == 0

    run(act)
