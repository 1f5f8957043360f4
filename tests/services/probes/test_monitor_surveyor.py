"""From a real failure on loopback to its cause: probe, look at the ways there, diagnosis. Names are the test's own."""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme

from config.causes import Cause
from config.checks import DnsParams, HttpParams, PostgresParams, RedisParams, TcpParams
from config.kinds import Params
from config.services import Check, Service
from monitor.diagnose.base import Diagnosis
from monitor.diagnose.table import diagnose
from monitor.net import LookUp, Resolver
from monitor.probes.base import NOT_AVAILABLE, Evidence, Outcome, ProbeContext, Sight, Verdict
from monitor.surveyor import AT_ONCE, Surveyor, wanted
from monitor.watch import as_it_is
from monitor.ways import REACHED_OVER, REFUSED_LONG, Reach, Speech

Maker = Callable[..., Any]
KINDS = {HttpParams: "http", TcpParams: "tcp", DnsParams: "dns", RedisParams: "redis", PostgresParams: "postgres"}
BOTH, FOUR, SIX = ("127.0.0.1", "::1"), ("127.0.0.1",), ("::1",)


def service(params: Params, kind: str = "custom", name: str = "shop") -> Service:
    check = Check(name="answers", kind=KINDS[type(params)], params=params)
    return Service(name=name, kind=kind, title="The Shop", address="shop.internal", checks=(check,), variables=("URL",))


async def survey(scene: Any, one: Service, *others: Service, timeout: float = 0.4) -> Outcome:
    """One run of its check, with what a surveyor of `one` and `others` adds."""
    surveyor = Surveyor((one, *others), scene.context, deadline=0.3)
    outcome: Outcome = await scene.ask(one.checks[0].kind, one.checks[0].params, timeout=timeout)
    return await surveyor.survey(one, one.checks[0], outcome)


def evidence(sight: Sight) -> Evidence:
    return Evidence(sight=sight, text="x")


def told(one: Service, outcome: Outcome) -> Diagnosis:
    found = diagnose(one, one.checks[0], outcome)
    assert found is not None
    return found


async def line(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A Redis with a password, as far as it matters here."""
    heard = await reader.read(4096)
    writer.write(b"-NOAUTH Authentication required.\r\n" if heard[:1] != b"\x16" else b"")
    await writer.drain()
    if heard[:1] == b"\x16":
        await reader.read()  # it waits for the end of a line that never comes


async def database(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A PostgreSQL, as far as it matters here: it hangs up on what is no start packet of its own."""
    if await reader.read(8) == b"\x00\x00\x00\x08\x04\xd2\x16\x2f":
        writer.write(b"N")
        await writer.drain()


async def cut(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read(1)


@pytest.fixture
def known(names: Maker) -> LookUp:
    """both, four, six: by their kinds of address; "other" is a sibling. All end in .internal."""
    found: LookUp = names(**{"both.internal": BOTH, "four.internal": FOUR, "six.internal": SIX, "other.internal": FOUR})
    return found


@pytest.fixture
def mine(run: Any, known: LookUp) -> Callable[[Callable[[Any], Awaitable[Any]]], Any]:
    return lambda act: run(act, resolver=Resolver(known))


@pytest.mark.parametrize(
    ("listens", "name", "family", "cause", "over"),
    [
        ("::1", "both.internal", "ipv4", Cause.IPV6_ONLY, "IPv6 only: IPv4 is refused"),
        ("127.0.0.1", "both.internal", "ipv6", Cause.IPV4_ONLY, "IPv4 only: IPv6 is refused"),
        ("::1", "six.internal", "ipv4", Cause.IPV6_ONLY, "IPv6 only: its name has no IPv4 address"),
        ("127.0.0.1", "four.internal", "ipv6", Cause.IPV4_ONLY, "IPv4 only: its name has no IPv6 address"),
    ],
)
def test_one_kind_of_address_fails_and_the_service_is_well(
    mine: Any, silent: Any, shut: Maker, listens: str, name: str, family: Any, cause: Cause, over: str
) -> None:
    async def act(scene: Any) -> tuple[Outcome, Outcome]:
        stage = await scene.serve(silent, host=listens, port=shut(but=listens))
        params = TcpParams(host=name, port=stage.port, family=family)
        failed = await survey(scene, service(params))
        passed = await survey(scene, service(replace(params, family="any")))
        assert told(service(params), failed).cause == cause
        return failed, passed

    failed, passed = mine(act)
    assert (failed.verdict, passed.verdict) == (Verdict.FAIL, Verdict.PASS)
    assert passed.facts == {REACHED_OVER: over}
    assert "takes connections" in failed.evidence.text


def test_a_refusal_on_a_network_of_one_kind_names_it(mine: Any, shut: Maker) -> None:
    one = service(TcpParams(host="six.internal", port=shut()))
    found = told(one, mine(lambda scene: survey(scene, one)))
    assert found.cause == Cause.REFUSED
    assert "over IPv6, the only kind of address its name has" in found.sentence
    assert "0.0.0.0" in found.remedy


def test_what_a_name_without_a_service_says_of_itself(mine: Any) -> None:
    one = service(DnsParams(name="six.internal", types=("A",)))
    assert told(one, mine(lambda scene: survey(scene, one))).cause == Cause.IPV6_ONLY


def http(stage: Any, scheme: str = "http", host: str = "127.0.0.1") -> HttpParams:
    return HttpParams(url=f"{scheme}://{host}:{stage.port}", paths=("/health",), verify_tls=False)


def tls_server() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


# The script, whether it is under TLS, what is asked of it → cause, words of the sentence.
CROSSED: list[tuple[str, Callable[[Any], Params], Cause, str]] = [
    ("tls", http, Cause.PLAIN_ON_TLS, "speaks TLS on that port"),
    ("tls", lambda at: RedisParams(host="127.0.0.1", port=at.port), Cause.PLAIN_ON_TLS, "speaks TLS on that port"),
    ("web", lambda at: http(at, "https"), Cause.TLS_ON_PLAIN, "plain text"),
    ("redis", lambda at: RedisParams(host="127.0.0.1", port=at.port, tls=True), Cause.TLS_ON_PLAIN, "plain text"),
    ("database", lambda at: http(at, "https"), Cause.TLS_ON_PLAIN, "PostgreSQL's protocol"),
    ("database", http, Cause.WRONG_SERVICE, "PostgreSQL's protocol"),
    ("redis", http, Cause.WRONG_SERVICE, "Redis' protocol"),
    ("web", lambda at: RedisParams(host="127.0.0.1", port=at.port), Cause.WRONG_SERVICE, "HTTP"),
    ("web", lambda at: PostgresParams(host="127.0.0.1", port=at.port), Cause.WRONG_SERVICE, "HTTP"),
    ("cut", http, Cause.RESET, "cut it"),
    ("cut", lambda at: http(at, "https"), Cause.RESET, "cut it"),
]


@pytest.mark.parametrize(("server", "asks", "cause", "words"), CROSSED)
def test_a_port_that_speaks_something_else(
    run: Any, say: Maker, page: Maker, server: str, asks: Callable[[Any], Params], cause: Cause, words: str
) -> None:
    scripts = {"tls": cut, "web": say(page(b"{}", status=400)), "redis": line, "database": database, "cut": cut}

    async def act(scene: Any) -> tuple[Service, Outcome]:
        stage = await scene.serve(scripts[server], tls=tls_server() if server == "tls" else None)
        one = service(asks(stage))
        return one, await survey(scene, one)

    one, outcome = run(act)
    found = told(one, outcome)
    assert (found.cause, outcome.verdict) == (cause, Verdict.FAIL)
    assert words in found.sentence


def test_a_certificate_signed_by_itself_is_told_from_one_of_an_unknown_authority(
    run: Any, silent: Any, tmp_path: Path
) -> None:
    stranger = trustme.CA()
    leaf = stranger.issue_cert("127.0.0.1")
    lone, whole = (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(2))
    leaf.configure_cert(lone)
    chain = tmp_path / "chain.pem"
    chain.write_bytes(leaf.private_key_and_cert_chain_pem.bytes() + stranger.cert_pem.bytes())
    whole.load_cert_chain(chain)

    async def act(scene: Any) -> list[str]:
        stages = [await scene.serve(silent, tls=tls) for tls in (lone, whole)]
        asked = [HttpParams(url=f"https://127.0.0.1:{stage.port}") for stage in stages]
        return [(await scene.ask("http", params)).evidence.code for params in asked]

    assert run(act) == ["untrusted", "self_signed"]


def test_the_usual_port_takes_what_another_one_refuses(mine: Any, silent: Any, shut: Maker) -> None:
    closed = shut()

    async def act(scene: Any) -> tuple[Outcome, ...]:
        stage = await scene.serve(silent)
        found = []
        for host, others in (("both.internal", ()), ("127.0.0.1", ()), ("both.internal", (stage.port,))):
            one = service(TcpParams(host=host, port=closed), kind="litellm")
            known = [service(TcpParams(host=host, port=port)) for port in others]
            surveyor = Surveyor((one, *known), ProbeContext(), usual_port=lambda _: stage.port)
            outcome = await scene.ask("tcp", one.checks[0].params)
            found.append(await surveyor.survey(one, one.checks[0], outcome))
        return tuple(found)

    by_name, by_address, beside_another = mine(act)
    one = service(TcpParams(host="both.internal", port=closed))
    assert told(one, by_name).cause == Cause.WRONG_PORT
    # At a bare address many services may live; and that port may be known to be another one's.
    assert told(one, by_address).cause == told(one, beside_another).cause == Cause.REFUSED


def test_ten_minutes_of_refusals_are_told_and_forgotten_after_an_answer(over: Any, shut: Maker) -> None:
    one = service(TcpParams(host="127.0.0.1", port=shut()))
    well = Outcome(verdict=Verdict.PASS, latency=0.1, evidence=evidence(Sight.ANSWERED))
    forgone = replace(well, evidence=Evidence(sight=Sight.NOT_ASKED, text="x", sign=NOT_AVAILABLE))

    async def act(watcher: Any) -> list[Cause]:
        surveyor, causes = Surveyor((one,), watcher.context), []
        for wait in (0.0, REFUSED_LONG - 1, 2.0, 60.0, None, 60.0):
            if wait is None:
                await surveyor.survey(one, one.checks[0], well)
                continue
            watcher.wait(wait)
            await surveyor.survey(one, one.checks[0], forgone)  # another check of it, which tells nothing
            outcome = await watcher.ask("tcp", one.checks[0].params)
            causes.append(told(one, await surveyor.survey(one, one.checks[0], outcome)).cause)
        return causes

    refused, for_good = Cause.REFUSED, Cause.NOT_RESTARTED
    assert over(act) == [refused, refused, for_good, for_good, refused]


def test_a_target_is_looked_at_once_a_minute_and_anew_when_it_came_back(over: Any, names: Maker) -> None:
    looked: list[Any] = []
    well = Outcome(verdict=Verdict.PASS, latency=0.1, evidence=evidence(Sight.ANSWERED))
    one = service(TcpParams(host="127.0.0.1", port=9))

    async def act(watcher: Any) -> None:
        surveyor = Surveyor((one,), watcher.context)
        failed = Outcome(verdict=Verdict.FAIL, latency=0.1, evidence=evidence(Sight.REFUSED))

        async def fail(wait: float) -> None:
            watcher.wait(wait)
            outcome = await surveyor.survey(one, one.checks[0], failed)
            assert outcome.evidence.network is not None
            looked.append(id(outcome.evidence.network.ways))

        for wait in (0.0, 10.0, 49.0, 2.0):
            await fail(wait)
        await surveyor.survey(one, one.checks[0], well)
        await fail(1.0)

    over(act)
    assert [looked.index(one) for one in looked] == [0, 0, 0, 3, 4]


@pytest.mark.parametrize(
    ("waits", "sight", "code", "text", "verdict"),
    [
        (900.0, Sight.ANSWERED, "502", "HTTP 502; it says: Application failed to respond", Verdict.UNKNOWN),
        (900.0, Sight.ANSWERED, "404", "HTTP 404; it says: Application not found", Verdict.UNKNOWN),
        (900.0, Sight.REFUSED, "ECONNREFUSED", "refused", Verdict.UNKNOWN),
        (900.0, Sight.ANSWERED, "502", "HTTP 502; it says: nginx", Verdict.FAIL),
        (900.0, Sight.ANSWERED, "401", "HTTP 401", Verdict.FAIL),
        (60.0, Sight.REFUSED, "ECONNREFUSED", "refused", Verdict.FAIL),
    ],
)
def test_the_first_question_in_ten_minutes_may_wake_a_service(
    over: Any, waits: float, sight: Sight, code: str, text: str, verdict: Verdict
) -> None:
    one = service(TcpParams(host="127.0.0.1", port=9))
    well = Outcome(verdict=Verdict.PASS, latency=0.1, evidence=evidence(Sight.ANSWERED))
    failed = Outcome(verdict=Verdict.FAIL, latency=0.1, evidence=Evidence(sight=sight, text=text, code=code))

    async def act(watcher: Any) -> list[Outcome]:
        weigh, loop = Surveyor((one,), watcher.context).beside(as_it_is), asyncio.get_running_loop()
        found = []
        for wait, outcome in ((0.0, well), (waits, failed), (10.0, failed)):
            watcher.wait(wait)
            found.append(await weigh(one, one.checks[0], outcome, loop.time()))
        return found

    first, second, third = over(act)
    assert [first.verdict, second.verdict, third.verdict] == [Verdict.PASS, verdict, Verdict.FAIL]
    if verdict == Verdict.UNKNOWN:
        assert told(one, second).cause == Cause.WAKING


def test_looks_take_no_more_than_their_share_of_sockets(run: Any, deaf: Maker) -> None:
    port = deaf()
    many = [service(TcpParams(host=f"127.0.0.{number}", port=port), name=f"s{number}") for number in range(1, 61)]
    failed = Outcome(verdict=Verdict.FAIL, latency=0.1, evidence=evidence(Sight.NO_CONNECT))

    async def act(scene: Any) -> tuple[list[Outcome], Outcome]:
        surveyor = Surveyor(many, scene.context, deadline=0.1)
        first = await asyncio.gather(*(surveyor.survey(one, one.checks[0], failed) for one in many))
        return first, await surveyor.survey(many[0], many[0].checks[0], failed)

    first, later = run(act)
    assert 0 < sum(outcome.evidence.network is not None for outcome in first) <= AT_ONCE
    assert later.evidence.network is not None


def test_a_fault_of_ours_in_looking_leaves_the_outcome_as_it_is(run: Any) -> None:
    def broken(_: Service) -> int:
        raise RuntimeError("a bug")

    one = service(TcpParams(host="shop.internal", port=9))
    failed = Outcome(verdict=Verdict.FAIL, latency=0.1, evidence=evidence(Sight.REFUSED))

    async def act(scene: Any) -> Outcome:
        return await Surveyor((one,), scene.context, usual_port=broken).survey(one, one.checks[0], failed)

    assert run(act) is failed


def test_a_service_that_hangs_is_not_burdened(run: Any, silent: Any) -> None:
    async def act(scene: Any) -> tuple[Outcome, int]:
        stage = await scene.serve(silent)
        return await survey(scene, service(http(stage))), stage.taken

    outcome, taken = run(act)
    assert (outcome.evidence.sight, outcome.evidence.network, taken) == (Sight.NO_ANSWER, None, 1)


def test_a_way_that_swallows_everything_is_silent_and_bounded(run: Any, deaf: Callable[..., int]) -> None:
    one = service(TcpParams(host="127.0.0.1", port=deaf()))
    outcome = run(lambda scene: survey(scene, one, timeout=0.1))
    assert told(one, outcome).cause == Cause.TIMEOUT
    assert [way.reach for way in outcome.evidence.network.ways] == [Reach.SILENT]


@pytest.mark.parametrize(
    ("params", "speech"),
    [
        (HttpParams(url="HTTPS://a"), Speech.TLS),
        (HttpParams(url="http://a"), Speech.HTTP),
        (RedisParams(host="a", tls=True), Speech.TLS),
        (PostgresParams(host="a"), Speech.POSTGRES),
        (TcpParams(host="a", port=1), None),
    ],
)
def test_what_a_check_speaks(params: Params, speech: Speech | None) -> None:
    assert wanted(params) == speech
