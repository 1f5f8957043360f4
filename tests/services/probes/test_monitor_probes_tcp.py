"""The tcp probe, and with it what every probe makes of connections that do not come about."""

import asyncio
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from config.checks import DnsParams, GrpcParams, TcpParams
from monitor.net import Resolver
from monitor.probes.base import Outcome, Sight, Verdict

Maker = Callable[..., Any]


def once(run: Any, params: TcpParams, *, timeout: float = 2.0, look_up: Any = None) -> Outcome:
    async def act(scene: Any) -> Outcome:
        outcome: Outcome = await scene.ask("tcp", params, timeout=timeout)
        return outcome

    result: Outcome = run(act, resolver=Resolver(look_up, deadline=1.0) if look_up else None)
    return result


async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    line = await reader.readline()
    writer.write(b"+PO")
    await writer.drain()
    await asyncio.sleep(0.02)
    writer.write(b"NG " + line)
    await reader.read()


def test_a_connection_that_opens_passes_over_both_families(run: Any, silent: Any) -> None:
    async def act(scene: Any) -> list[Outcome]:
        four = await scene.serve(silent)
        six = await scene.serve(silent, host="::1")
        return [
            await scene.ask("tcp", TcpParams(host="127.0.0.1", port=four.port)),
            await scene.ask("tcp", TcpParams(host="::1", port=six.port)),
        ]

    first, second = run(act)
    assert (first.verdict, second.verdict) == (Verdict.PASS, Verdict.PASS)
    assert first.evidence.address.startswith("127.0.0.1:")
    assert second.evidence.address.startswith("[::1]:")


def test_a_line_is_sent_and_the_answer_awaited(run: Any) -> None:
    async def act(scene: Any) -> list[Outcome]:
        port = (await scene.serve(greet)).port
        asked = [("hello", "^\\+PONG hello", 5.0), ("hello", "^-ERR", 1.0), (None, "PONG", 1.0)]
        return [
            await scene.ask("tcp", TcpParams(host="127.0.0.1", port=port, send=send, expect=expect), timeout=timeout)
            for send, expect, timeout in asked
        ]

    good, other, unasked = run(act)
    assert good.verdict == Verdict.PASS
    assert (other.verdict, other.evidence.sight) == (Verdict.FAIL, Sight.NO_ANSWER)
    assert (unasked.verdict, unasked.evidence.sight) == (Verdict.FAIL, Sight.NO_ANSWER)


def test_another_answer_and_none_at_all(run: Any) -> None:
    async def other(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"-ERR max number of clients reached password=hunter2\r\n")

    async def mute(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async def act(scene: Any) -> list[Outcome]:
        ports = [(await scene.serve(script)).port for script in (other, mute)]
        return [await scene.ask("tcp", TcpParams(host="127.0.0.1", port=port, expect="PONG")) for port in ports]

    said, nothing = run(act)
    assert (said.verdict, said.evidence.sight, said.evidence.sign) == (Verdict.FAIL, Sight.ANSWERED, "expect")
    assert "max number of clients" in said.evidence.text
    assert "hunter2" not in said.evidence.text
    assert nothing.evidence.sight == Sight.RESET


def test_refused(run: Any, free_port: int) -> None:
    outcome = once(run, TcpParams(host="127.0.0.1", port=free_port))
    assert (outcome.verdict, outcome.evidence.sight) == (Verdict.FAIL, Sight.REFUSED)
    assert outcome.evidence.address == f"127.0.0.1:{free_port}"


def test_reset(run: Any) -> None:
    async def slam(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        writer.transport.abort()

    async def act(scene: Any) -> Outcome:
        port = (await scene.serve(slam)).port
        outcome: Outcome = await scene.ask("tcp", TcpParams(host="127.0.0.1", port=port, send="x", expect="y"))
        return outcome

    outcome = run(act)
    assert (outcome.verdict, outcome.evidence.sight, outcome.evidence.code) == (Verdict.FAIL, Sight.RESET, "ECONNRESET")


def test_no_connection_in_time(run: Any, deaf: Callable[..., int]) -> None:
    outcome = once(run, TcpParams(host="127.0.0.1", port=deaf()), timeout=1.0)
    assert (outcome.verdict, outcome.evidence.sight) == (Verdict.FAIL, Sight.NO_CONNECT)
    assert 0.9 < outcome.latency < 1.6


def test_connected_and_never_answered(run: Any, silent: Any) -> None:
    async def act(scene: Any) -> Outcome:
        port = (await scene.serve(silent)).port
        outcome: Outcome = await scene.ask("tcp", TcpParams(host="127.0.0.1", port=port, expect="x"), timeout=1.0)
        return outcome

    outcome = run(act)
    assert (outcome.verdict, outcome.evidence.sight) == (Verdict.FAIL, Sight.NO_ANSWER)


def test_no_such_name(run: Any, names: Maker) -> None:
    outcome = once(run, TcpParams(host="shop.internal", port=80), look_up=names())
    assert (outcome.verdict, outcome.evidence.sight) == (Verdict.FAIL, Sight.NO_NAME)
    assert "no such name as shop.internal" in outcome.evidence.text


def test_no_address_of_that_family(run: Any, names: Maker) -> None:
    outcome = once(run, TcpParams(host="shop", port=80, family="ipv6"), look_up=names(shop=("127.0.0.1",)))
    assert (outcome.verdict, outcome.evidence.sight) == (Verdict.FAIL, Sight.NO_NAME)
    assert "shop has no IPv6 address" in outcome.evidence.text


@pytest.mark.parametrize("host", ["a" * 70 + ".example", "..", "no name", "xn--\udc80"])
def test_what_cannot_be_a_name(run: Any, host: str) -> None:
    outcome = once(run, TcpParams(host=host, port=80))
    assert outcome.evidence.sight in (Sight.NO_NAME, Sight.NO_RESOLVER)


def test_a_resolver_that_says_it_cannot_is_no_sight_of_the_service(run: Any) -> None:
    def failing(*_: Any) -> Any:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    outcome = once(run, TcpParams(host="shop", port=80), look_up=failing)
    assert (outcome.verdict, outcome.evidence.sight) == (Verdict.UNKNOWN, Sight.NO_RESOLVER)


def test_a_name_with_two_addresses_takes_the_one_that_works(run: Any, silent: Any, names: Maker) -> None:
    async def act(scene: Any) -> list[Outcome]:
        port = (await scene.serve(silent)).port
        return [
            await scene.ask("tcp", TcpParams(host="shop", port=port, family=family))
            for family in ("any", "ipv4", "ipv6")
        ]

    both, four, six = run(act, resolver=Resolver(names(shop=("::1", "127.0.0.1"))))
    assert (both.verdict, four.verdict) == (Verdict.PASS, Verdict.PASS)
    assert both.evidence.address.startswith("127.0.0.1:")
    assert (six.verdict, six.evidence.sight) == (Verdict.FAIL, Sight.REFUSED)
    assert six.evidence.address.startswith("[::1]:")


def test_an_address_that_swallows_packets_does_not_hide_one_that_works(
    run: Any, silent: Any, names: Maker, deaf: Callable[..., int]
) -> None:
    async def act(scene: Any) -> Outcome:
        port = (await scene.serve(silent)).port
        deaf("127.0.0.2", port)
        outcome: Outcome = await scene.ask("tcp", TcpParams(host="shop", port=port), timeout=2.0)
        return outcome

    outcome = run(act, resolver=Resolver(names(shop=("127.0.0.2", "127.0.0.1"))))
    assert outcome.verdict == Verdict.PASS
    assert outcome.evidence.address.startswith("127.0.0.1:")


def test_of_two_failures_the_more_telling_one_is_told(run: Any, names: Maker, deaf: Callable[..., int]) -> None:
    port = deaf("127.0.0.2")
    look_up = names(shop=("127.0.0.2", "127.0.0.1"))
    outcome = once(run, TcpParams(host="shop", port=port), look_up=look_up, timeout=1.5)
    assert outcome.evidence.sight == Sight.NO_CONNECT
    assert outcome.evidence.address == f"127.0.0.2:{port}"


def test_dead_names_leave_another_probe_alone(run: Any, silent: Any) -> None:
    release = threading.Event()

    def look_up(host: str, *_: Any) -> Any:
        if host.startswith("dead"):
            release.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    async def act(scene: Any) -> tuple[float, list[Outcome]]:
        port = (await scene.serve(silent)).port
        dead = [
            asyncio.ensure_future(scene.ask("tcp", TcpParams(host=f"dead{n}", port=port), timeout=2.0))
            for n in range(100)
        ]
        await asyncio.sleep(0.05)
        live = [await scene.ask("tcp", TcpParams(host=f"live{n}", port=port)) for n in range(20)]
        assert {outcome.verdict for outcome in live} == {Verdict.PASS}
        return max(outcome.latency for outcome in live), await asyncio.gather(*dead)

    try:
        worst, dead = run(act, resolver=Resolver(look_up))
    finally:
        release.set()
    assert worst < 1.0
    assert {outcome.evidence.sight for outcome in dead} == {Sight.NO_RESOLVER}
    assert {outcome.verdict for outcome in dead} == {Verdict.UNKNOWN}


def test_a_pass_that_is_slow_warns(run: Any, silent: Any) -> None:
    async def act(scene: Any) -> list[Outcome]:
        port = (await scene.serve(silent)).port
        params = TcpParams(host="127.0.0.1", port=port)
        return [await scene.ask("tcp", params, latency_threshold=bound) for bound in (0.0, 10.0)]

    slow, quick = run(act)
    assert (slow.verdict, slow.evidence.sign) == (Verdict.WARN, "slow")
    assert (quick.verdict, quick.evidence.sign) == (Verdict.PASS, "")


def test_many_probes_of_every_fate_leak_nothing(run: Any, silent: Any, names: Maker, deaf: Any, free_port: int) -> None:
    psutil = pytest.importorskip("psutil")
    me = psutil.Process()
    hole = deaf()

    async def act(scene: Any) -> tuple[int, int, int]:
        open_port = (await scene.serve(silent)).port
        bound = asyncio.Semaphore(100)

        async def one(kind: str, params: Any, timeout: float) -> None:
            async with bound:
                await scene.ask(kind, params, timeout=timeout)

        def jobs(count: int) -> list[Any]:
            fates = [
                ("tcp", TcpParams(host="127.0.0.1", port=open_port), 5.0),
                ("tcp", TcpParams(host="shop", port=open_port), 5.0),
                ("tcp", TcpParams(host="127.0.0.1", port=open_port, expect="never"), 0.05),
                ("tcp", TcpParams(host="127.0.0.1", port=free_port), 5.0),
                ("tcp", TcpParams(host="127.0.0.1", port=hole), 0.05),
                ("grpc", GrpcParams(host="127.0.0.1", port=open_port), 0.05),
                ("dns", DnsParams(name="shop"), 5.0),
            ]
            return [one(*fate) for _ in range(count) for fate in fates]

        await asyncio.gather(*jobs(1))
        await scene.settle()
        before = me.num_fds()
        await asyncio.gather(*jobs(100))
        await scene.settle()
        return before, await scene.fds(before), scene.context.hung

    before, after, hung = run(act, resolver=Resolver(names(shop=("127.0.0.1",))))
    assert after <= before
    assert hung == 0
