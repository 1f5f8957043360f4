"""Anchors that are real listeners on loopback, and the lookout over them."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from config.alert_settings import Anchor
from config.causes import Cause
from config.checks import BackupsParams, DnsParams, TcpParams
from config.services import Check, Service
from monitor.anchors import Anchors, nameservers, stand_ins, target
from monitor.lookout import Lookout, ours
from monitor.net import LookUp, Resolver, WatchLoop
from monitor.probes.base import Evidence, Outcome, Sight, Verdict
from monitor.vantage import Side

T = TypeVar("T")
HOST = "127.0.0.1"
VAIN = Evidence(sight=Sight.NO_CONNECT, text="no connection to 10.0.0.5:5432 within 5 s", address="10.0.0.5:5432")


def run(act: Callable[[], Awaitable[T]], look_up: LookUp | None = None) -> T:
    async def main() -> T:
        return await act()

    resolver = Resolver(look_up) if look_up else None
    with asyncio.Runner(loop_factory=lambda: WatchLoop(resolver)) as runner:
        return runner.run(main())


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[tuple[Anchor, list[float]]]:
    """An anchor that takes connections, and when it did."""
    taken: list[float] = []

    def take(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        taken.append(asyncio.get_running_loop().time())
        writer.close()

    server = await asyncio.start_server(take, HOST, 0)
    async with server:
        yield Anchor(host=HOST, port=server.sockets[0].getsockname()[1], inside=True), taken


@contextlib.contextmanager
def silent(*, inside: bool = True) -> Any:
    """An anchor that never takes a connection: its queue is full."""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.create_server((HOST, 0), backlog=0))
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(sock.getsockname())
        yield Anchor(host=HOST, port=sock.getsockname()[1], inside=inside)


def refusing(*, inside: bool = True) -> Anchor:
    with socket.create_server((HOST, 0)) as sock:
        return Anchor(host=HOST, port=sock.getsockname()[1], inside=inside)


def test_an_anchor_that_takes_a_connection_answers() -> None:
    async def act() -> None:
        async with listening() as (anchor, taken):
            found = await Anchors([anchor], deadline=1).ask(Side.INSIDE)
            assert found.answered == f"{HOST}:{anchor.port}"
            await asyncio.sleep(0.05)
            assert len(taken) == 1

    run(act)


def test_a_refusal_is_an_answer() -> None:
    anchor = refusing()
    assert run(lambda: Anchors([anchor], deadline=1).ask(Side.INSIDE)).answered


def test_silence_takes_the_deadline_and_names_who_was_silent() -> None:
    async def act() -> None:
        with silent() as one, silent() as other:
            loop = asyncio.get_running_loop()
            began = loop.time()
            found = await Anchors([one, other], deadline=0.4).ask(Side.INSIDE)
            assert 0.35 < loop.time() - began < 1.5
            assert not found.answered
            assert found.silent == [f"{HOST}:{one.port}", f"{HOST}:{other.port}"]

    run(act)


def test_the_first_answer_is_enough() -> None:
    async def act() -> None:
        with silent() as one:
            anchor = refusing()
            loop = asyncio.get_running_loop()
            began = loop.time()
            found = await Anchors([one, anchor], deadline=5).ask(Side.INSIDE)
            assert found.answered == f"{HOST}:{anchor.port}"
            assert loop.time() - began < 1

    run(act)


def test_sides_are_asked_apart() -> None:
    async def act() -> None:
        with silent() as inside:
            anchors = Anchors([inside, refusing(inside=False)], deadline=0.3)
            assert (await anchors.ask(Side.OUTSIDE)).answered
            assert not (await anchors.ask(Side.INSIDE)).answered
            assert (await anchors.ask(Side.HERE)).silent == []

    run(act)


def test_many_askers_share_one_asking_and_it_rests() -> None:
    async def act() -> None:
        async with listening() as (anchor, taken):
            anchors = Anchors([anchor], deadline=0.2, rest=0.5)
            await asyncio.gather(*(anchors.ask(Side.INSIDE) for _ in range(50)))
            await anchors.ask(Side.INSIDE)
            await asyncio.sleep(0.05)
            assert len(taken) == 1
            await asyncio.sleep(0.5)
            await anchors.ask(Side.INSIDE)
            await asyncio.sleep(0.05)
            assert len(taken) == 2

    run(act)


def test_what_is_asked_about_has_no_say() -> None:
    async def act() -> None:
        with silent() as one:
            found = await Anchors([one, refusing()], deadline=0.2).ask(Side.INSIDE, besides=HOST)
            assert (found.answered, found.silent) == ("", [])

    run(act)


@pytest.mark.parametrize("answers", [True, False])
def test_a_resolver_is_asked_a_question(answers: bool) -> None:
    async def act() -> None:
        loop = asyncio.get_running_loop()
        asked: list[bytes] = []

        class Dns(asyncio.DatagramProtocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, addr: Any) -> None:
                asked.append(data)
                if answers and len(asked) > 1:  # the first datagram is lost
                    self.transport.sendto(data[:2] + b"\x81\x85" + data[4:], addr)

        transport, _ = await loop.create_datagram_endpoint(Dns, local_addr=(HOST, 0))
        port = transport.get_extra_info("sockname")[1]
        anchor = Anchor(host=HOST, port=port, inside=True)
        found = await Anchors([anchor], deadline=1.5, dns_port=port).ask(Side.INSIDE)
        transport.close()
        assert bool(found.answered) == answers
        assert b"\x09localhost\x00" in asked[0]

    run(act)


def test_names_that_nobody_knows_prove_nothing() -> None:
    def look_up(*_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    anchor = Anchor(host="typo.example", port=443, inside=False)
    found = run(lambda: Anchors([anchor], deadline=0.5).ask(Side.OUTSIDE), look_up)
    assert (found.answered, found.silent) == ("", [])


def test_nameservers_are_those_of_the_private_network(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(
        "# generated\nsearch railway.internal\nnameserver fd12::10\nnameserver 127.0.0.53\n"
        "nameserver 8.8.8.8\nnameserver 10.0.0.2\nnameserver\n"
    )
    assert nameservers(file) == (
        Anchor(host="fd12::10", port=53, inside=True),
        Anchor(host="10.0.0.2", port=53, inside=True),
    )
    assert nameservers(tmp_path / "none") == ()


def service(name: str, host: str, port: int = 5432, *, paused: bool = False, timeout: float = 5.0) -> Service:
    check = Check(name="answers", kind="tcp", params=TcpParams(host=host, port=port), timeout=timeout)
    return Service(name=name, kind="custom", title=name, address=host, checks=(check,), paused=paused)


def test_the_watched_services_stand_in() -> None:
    services = [
        service("a", "a.railway.internal"),
        service("also-a", "a.railway.internal"),
        service("b", "10.0.0.7", 80),
        service("paused", "c.internal", paused=True),
        service("here", "127.0.0.1"),
        service("web", "chat.example.com", 443),
    ]
    assert [(anchor.host, anchor.port, anchor.inside) for anchor in stand_ins(services)] == [
        ("a.railway.internal", 5432, True),
        ("10.0.0.7", 80, True),
        ("chat.example.com", 443, False),
    ]
    assert [anchor.host for anchor in stand_ins(services, most=1)] == ["a.railway.internal", "chat.example.com"]


def test_targets() -> None:
    assert target(service("a", "::1", 80).checks[0]) == ("::1", 80)
    assert target(Check(name="dns", kind="dns", params=DnsParams(name="x.example"))) == ("x.example", 0)
    assert target(Check(name="fresh", kind="backups", params=BackupsParams())) == ("", 0)


def test_our_own_addresses_are_known_without_looking_a_name_up() -> None:
    assert ours("127.0.0.1")
    assert not ours("192.0.2.1")
    assert not ours("name.that.would.be.looked.up.example")


class Scene:
    """A lookout over services inside (10.0.0.x), with the anchors given and none of this machine's."""

    def __init__(
        self, anchors: list[Anchor], *services: Service, deadline: float = 0.3, ask_services: bool = False
    ) -> None:
        self.services = {one.name: one for one in services}
        self.lookout = Lookout(
            services,
            anchors,
            resolv_conf=Path("/nonexistent"),
            deadline=deadline,
            rest=0.0,
            ask_services=ask_services,
            is_ours=lambda _: False,
        )

    async def sees(self, name: str, evidence: Evidence, verdict: Verdict = Verdict.FAIL, *, ago: float = 0) -> Outcome:
        one = self.services[name]
        outcome = Outcome(verdict=verdict, latency=5.0, evidence=evidence)
        began = asyncio.get_running_loop().time() - ago
        return await self.lookout.weigh(one, one.checks[0], outcome, began)


POSTGRES, REDIS = service("postgres", "10.0.0.5"), service("redis", "10.0.0.6", 6379)


def test_a_service_that_times_out_is_an_outage_while_an_anchor_answers() -> None:
    async def act() -> None:
        seen = await Scene([refusing()], POSTGRES).sees("postgres", VAIN)
        assert (seen.verdict, seen.evidence) == (Verdict.FAIL, VAIN)

    run(act)


def test_a_service_that_times_out_is_unknown_while_no_anchor_answers() -> None:
    async def act() -> None:
        with silent() as anchor:
            scene = Scene([anchor], POSTGRES)
            seen = await scene.sees("postgres", VAIN)
            assert (seen.verdict, seen.evidence.sight) == (Verdict.UNKNOWN, Sight.CUT_OFF)
            assert seen.evidence.text.endswith(f"; nor did {HOST}:{anchor.port} answer")

    run(act)


def test_a_run_that_began_while_the_network_was_cut_proves_nothing_when_it_is_back() -> None:
    async def act() -> None:
        with silent() as anchor:
            scene = Scene([anchor], POSTGRES, REDIS)
            assert (await scene.sees("postgres", VAIN)).verdict == Verdict.UNKNOWN
            began = asyncio.get_running_loop().time()
            await asyncio.sleep(0.05)
            await scene.sees(
                "redis", Evidence(sight=Sight.ANSWERED, text="PONG", address="10.0.0.6:6379"), Verdict.PASS
            )
            ago = asyncio.get_running_loop().time() - began
            assert (await scene.sees("postgres", VAIN, ago=ago)).verdict == Verdict.UNKNOWN
            began = asyncio.get_running_loop().time()
            await scene.sees(
                "redis", Evidence(sight=Sight.ANSWERED, text="PONG", address="10.0.0.6:6379"), Verdict.PASS
            )
            ago = asyncio.get_running_loop().time() - began
            assert (await scene.sees("postgres", VAIN, ago=ago)).verdict == Verdict.FAIL

    run(act)


def test_a_signal_that_was_not_asked_is_no_sign_of_life() -> None:
    async def act() -> None:
        with silent() as anchor:
            scene = Scene([anchor], POSTGRES, REDIS)
            began = asyncio.get_running_loop().time()
            seen = await scene.sees("redis", Evidence(sight=Sight.NOT_ASKED, text="not asked"), Verdict.PASS)
            assert (seen.verdict, seen.evidence.sight) == (Verdict.PASS, Sight.NOT_ASKED)
            ago = asyncio.get_running_loop().time() - began
            assert (await scene.sees("postgres", VAIN, ago=ago)).evidence.sight == Sight.CUT_OFF

    run(act)


def test_without_anchors_nothing_is_asked_and_nothing_excused() -> None:
    async def act() -> None:
        scene = Scene([], POSTGRES, REDIS)
        assert (await scene.sees("postgres", VAIN)).verdict == Verdict.FAIL
        gone = Evidence(sight=Sight.NO_ROUTE, text="no route", code="EHOSTUNREACH", address="10.0.0.5:5432")
        assert (await scene.sees("postgres", gone, Verdict.UNKNOWN)).verdict == Verdict.UNKNOWN

    run(act)


def test_another_service_that_answered_meanwhile_spares_the_anchors() -> None:
    async def act() -> None:
        async with listening() as (anchor, taken):
            scene = Scene([anchor], POSTGRES, REDIS)
            refused = Evidence(sight=Sight.REFUSED, text="connection refused", address="10.0.0.6:6379")
            await scene.sees("redis", refused)
            assert (await scene.sees("postgres", VAIN, ago=5)).verdict == Verdict.FAIL
            await asyncio.sleep(0.05)
            assert taken == []

    run(act)


def test_what_answered_before_the_run_began_proves_nothing() -> None:
    async def act() -> None:
        with silent() as anchor:
            scene = Scene([anchor], POSTGRES, REDIS)
            await scene.sees(
                "redis", Evidence(sight=Sight.ANSWERED, text="PONG", address="10.0.0.6:6379"), Verdict.PASS
            )
            await asyncio.sleep(0.05)
            assert (await scene.sees("postgres", VAIN)).verdict == Verdict.UNKNOWN

    run(act)


def test_a_service_on_this_machine_is_never_excused_and_never_a_witness() -> None:
    async def act() -> None:
        with silent() as anchor:
            scene = Scene([anchor], POSTGRES, service("local", "localhost", 80))
            here = Evidence(sight=Sight.NO_CONNECT, text="no connection", address="127.0.0.1:80")
            assert (await scene.sees("local", here)).verdict == Verdict.FAIL
            await scene.sees(
                "local", Evidence(sight=Sight.ANSWERED, text="hello", address="127.0.0.1:80"), Verdict.PASS
            )
            assert (await scene.sees("postgres", VAIN, ago=5)).verdict == Verdict.UNKNOWN

    run(act)


def test_a_process_that_listens_and_never_answers_is_an_outage_by_its_second_connection() -> None:
    async def act() -> None:
        with silent() as anchor:
            scene = Scene([anchor], POSTGRES)
            hung = Evidence(sight=Sight.NO_ANSWER, text="took the connection", address="10.0.0.5:5432")
            verdicts = [(await scene.sees("postgres", hung)).verdict for _ in range(3)]
            assert verdicts == [Verdict.UNKNOWN, Verdict.FAIL, Verdict.FAIL]

    run(act)


def test_ipv6_alone_as_an_older_private_network_has_it() -> None:
    async def act() -> None:
        with silent() as anchor:
            scene = Scene([anchor], service("postgres", "postgres.railway.internal"))
            vain = Evidence(sight=Sight.NO_CONNECT, text="no connection", address="[fd12:3456::7]:5432")
            assert (await scene.sees("postgres", vain)).verdict == Verdict.UNKNOWN

    run(act)


def test_the_dialled_address_says_which_side_a_public_name_is_on() -> None:
    async def act() -> None:
        with silent(inside=False) as outside:
            scene = Scene([outside, refusing()], service("web", "chat.example.com", 443))
            private = Evidence(sight=Sight.NO_CONNECT, text="no connection", address="10.1.2.3:443")
            assert (await scene.sees("web", private)).verdict == Verdict.FAIL
            public = Evidence(sight=Sight.NO_CONNECT, text="no connection", address="93.184.215.14:443")
            assert (await scene.sees("web", public)).verdict == Verdict.UNKNOWN

    run(act)


def test_with_no_anchor_inside_the_other_services_stand_in() -> None:
    async def act() -> None:
        with silent(inside=False) as outside, silent() as other:
            # Both names are this machine for the anchors; the probe's evidence alone says where the service is.
            suspect = service("postgres", "db.internal", refusing().port)
            scene = Scene([outside], suspect, service("other", "other.internal", other.port), ask_services=True)
            seen = await scene.sees("postgres", VAIN)
            assert seen.evidence.sight == Sight.CUT_OFF
            assert seen.evidence.text.endswith(f"; nor did other.internal:{other.port} answer")
        anchor = refusing()
        fine = service("other", "other.internal", anchor.port)
        scene = Scene([refusing(inside=False)], suspect, fine, ask_services=True)
        assert (await scene.sees("postgres", VAIN)).verdict == Verdict.FAIL

    run(act, resolving(**{"other.internal": HOST, "db.internal": HOST}))


def resolving(**names: str) -> LookUp:
    """A resolver that knows these names, and fails for all others as one does whose upstream is gone."""

    def look_up(host: str, *_: Any, **__: Any) -> Any:
        if host not in names:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (names[host], 0))]

    return look_up


LOST = Evidence(sight=Sight.NO_RESOLVER, text="the resolver failed for gone.internal", code="EAI_AGAIN")


def test_a_name_that_fails_alone_is_that_services_outage() -> None:
    gone, fine = service("gone", "gone.internal"), service("fine", "fine.internal")

    async def act() -> Outcome:
        return await Scene([refusing()], gone, fine).sees("gone", LOST, Verdict.UNKNOWN)

    seen = run(act, resolving(**{"fine.internal": "10.0.0.9"}))
    assert (seen.verdict, seen.evidence.sight) == (Verdict.FAIL, Sight.NO_NAME)
    assert seen.evidence.text == "the resolver failed for gone.internal; fine.internal was found meanwhile"
    assert run(act, resolving()).verdict == Verdict.UNKNOWN


def test_a_public_name_that_fails_is_excused_while_the_internet_is_gone() -> None:
    gone, fine = service("gone", "gone.example.com"), service("fine", "fine.example.com")
    cached = resolving(**{"fine.example.com": "93.184.215.14"})

    async def act(anchor: Anchor) -> Verdict:
        return (await Scene([anchor], gone, fine).sees("gone", LOST, Verdict.UNKNOWN)).verdict

    with silent(inside=False) as anchor:
        assert run(lambda: act(anchor), cached) == Verdict.UNKNOWN
    assert run(lambda: act(refusing(inside=False)), cached) == Verdict.FAIL


def test_the_lookout_is_blind_and_sees_again() -> None:
    async def act() -> None:
        with silent() as anchor:
            quick = service("postgres", "10.0.0.5", timeout=0.05)
            quick = Service(
                name="postgres",
                kind="custom",
                title="postgres",
                address="",
                checks=(Check(name="answers", kind="tcp", params=quick.checks[0].params, interval=0.1, timeout=0.05),),
            )
            scene = Scene([anchor], quick, deadline=0.05)
            pong = Evidence(sight=Sight.ANSWERED, text="PONG", address="10.0.0.5:5432")
            await scene.sees("postgres", pong, Verdict.PASS)
            assert scene.lookout.blindness() is None
            await asyncio.sleep(0.2)
            cut = asyncio.get_running_loop().time()
            await scene.sees("postgres", VAIN)
            blind = scene.lookout.blindness()
            assert blind is not None
            assert blind.cause == Cause.CUT_OFF
            assert cut <= blind.since <= asyncio.get_running_loop().time()
            assert f"nor did {HOST}:{anchor.port} answer" in blind.evidence
            await scene.sees("postgres", pong, Verdict.PASS)
            assert scene.lookout.blindness() is None

    run(act)
