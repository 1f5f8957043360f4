"""What the ways to a port prove, and the causes that are told by it."""

from typing import Any, Literal

import pytest

from config.causes import Cause
from config.checks import DnsParams, HttpParams, TcpParams
from config.fields import Family
from config.services import Check, Service
from monitor.diagnose.table import diagnose
from monitor.diagnose.ways import WAYS
from monitor.probes.base import Evidence, Outcome, Sight, Verdict
from monitor.truth import recognise
from monitor.ways import REFUSED_LONG, Finding, NetworkTruth, Reach, Records, Speech, Way

Kind = Literal["IPv4", "IPv6"]
ADDRESS: dict[Kind, str] = {"IPv4": "10.0.0.9", "IPv6": "fd12::9"}


def way(kind: Kind, seen: Reach | Records) -> Way:
    if isinstance(seen, Records):
        return Way(kind=kind, records=seen)
    return Way(kind=kind, records=Records.FOUND, addresses=(ADDRESS[kind],), reach=seen, ms=0.4)


def truth(four: Reach | Records, six: Reach | Records, asked: Family = "any", **more: Any) -> NetworkTruth:
    return NetworkTruth(host="shop.internal", port=7, ways=(way("IPv4", four), way("IPv6", six)), asked=asked, **more)


Y, F, S, N = Reach.OPENS, Reach.REFUSED, Reach.SILENT, Records.NONE
GONE = truth(N, N)

# What is seen of IPv4 and IPv6, what was asked for → what that proves, and by what it is reached.
FAMILIES: list[tuple[Reach | Records, Reach | Records, Family, set[Finding], str]] = [
    (Y, Y, "any", set(), "IPv4 and IPv6"),
    (F, F, "any", set(), ""),
    (F, Y, "ipv4", {Finding.IPV6_LISTENER}, "IPv6 only: IPv4 is refused"),
    (S, Y, "ipv4", {Finding.IPV6_LISTENER}, ""),
    (Y, F, "ipv6", {Finding.IPV4_LISTENER}, "IPv4 only: IPv6 is refused"),
    (Y, S, "ipv6", {Finding.IPV4_LISTENER}, ""),
    # It failed by either kind before, and came back since: that proves nothing of the other one.
    (F, Y, "any", set(), "IPv6 only: IPv4 is refused"),
    # What was asked for opens: whatever the other kind does is no reason.
    (Y, F, "ipv4", set(), "IPv4 only: IPv6 is refused"),
    # Our own network carries no IPv6, or the resolver is silent about one kind: nothing is known of the service.
    (Y, Reach.NO_ROUTE, "ipv6", set(), ""),
    (Y, Records.SILENT, "ipv6", set(), ""),
    (N, Y, "any", {Finding.IPV6_NAME}, "IPv6 only: its name has no IPv4 address"),
    (N, F, "any", {Finding.IPV6_NAME}, ""),
    (N, Y, "ipv4", {Finding.IPV6_NAME, Finding.IPV4_WANTED}, "IPv6 only: its name has no IPv4 address"),
    (Y, N, "ipv6", {Finding.IPV4_NAME, Finding.IPV6_WANTED}, "IPv4 only: its name has no IPv6 address"),
    (N, N, "any", set(), ""),
]


@pytest.mark.parametrize(("four", "six", "asked", "proves", "over"), FAMILIES)
def test_kinds_of_address_prove_what_they_prove(
    four: Reach | Records, six: Reach | Records, asked: Family, proves: set[Finding], over: str
) -> None:
    seen = truth(four, six, asked)
    assert seen.findings == proves
    assert seen.reached_over() == over


def test_an_address_has_no_other_kind() -> None:
    seen = NetworkTruth(host="10.0.0.9", port=7, ways=(way("IPv4", F),), asked="ipv4")
    assert (seen.findings, seen.reached_over()) == (frozenset(), "")
    assert seen.lines() == ("IPv4 10.0.0.9: refused after 0.4 ms",)


def test_all_of_it_can_be_read_in_lines() -> None:
    seen = truth(N, F, usual_port=4000, refused_for=REFUSED_LONG + 60)
    assert seen.lines() == (
        "IPv4: the name has no such address",
        "IPv6 fd12::9: refused after 0.4 ms",
        "port 4000, the usual one, takes connections there",
        "nothing but refusals for 11 min",
    )
    assert "web.internal resolves" in truth(N, N, resolves="web.internal").summary()
    assert "nor does a.internal or b.internal resolve" in truth(N, N, lost=("a.internal", "b.internal")).summary()
    assert "the port speaks TLS" in truth(Y, Y, wanted=Speech.HTTP, speech=Speech.TLS).lines()


@pytest.mark.parametrize(
    ("data", "speech"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", Speech.HTTP),
        (b"\x15\x03\x01\x00\x02\x02\x46", Speech.TLS),
        (b"\x00\x00\x12\x04\x00\x00\x00\x00\x00", Speech.GRPC),
        (b"+PONG\r\n", Speech.REDIS),
        (b"-NOAUTH Authentication required.\r\n", Speech.REDIS),
        (b"-ERR unknown command 'OPTIONS'", Speech.REDIS),
        (b"S", Speech.POSTGRES),
        (b"N", Speech.POSTGRES),
        (b"SSH-2.0-OpenSSH_9.2", None),
        (b"220 mail.example ESMTP", None),
        (b"", None),
    ],
)
def test_a_protocol_is_known_by_its_first_bytes(data: bytes, speech: Speech | None) -> None:
    assert recognise(data) == speech


R, G, C, V, L = Sight.REFUSED, Sight.GARBLED, Sight.RESET, Sight.NO_CONNECT, Sight.NO_NAME

# What the probe saw, what the ways show → the cause, and words of its sentence or remedy.
TOLD: list[tuple[Sight, NetworkTruth, Cause, str]] = [
    (R, truth(F, F), Cause.REFUSED, "nothing listens"),
    (V, truth(S, S), Cause.TIMEOUT, "did not take the connection in time"),
    (R, truth(F, Y, "ipv4"), Cause.IPV6_ONLY, "listens on IPv6 alone"),
    (V, truth(S, Y, "ipv4"), Cause.IPV6_ONLY, "listens on IPv6 alone"),
    (R, truth(Y, F, "ipv6"), Cause.IPV4_ONLY, "It binds 0.0.0.0"),
    (L, truth(N, Y, "ipv4"), Cause.IPV6_ONLY, "family=0"),
    (L, truth(Y, N, "ipv6"), Cause.IPV4_ONLY, "AAAA record"),
    (R, truth(N, F), Cause.REFUSED, "the only kind of address its name has"),
    (R, truth(F, N), Cause.REFUSED, "nothing listens on that port"),
    (L, GONE, Cause.DNS, "no such name"),
    (L, truth(N, N, resolves="web.internal"), Cause.DNS, "while web.internal resolves"),
    (L, truth(N, N, lost=("web.internal",)), Cause.NO_NAMES, "nor web.internal"),
    (R, truth(F, F, usual_port=4000), Cause.WRONG_PORT, "port 4000, its usual one"),
    (V, truth(S, S, usual_port=4000), Cause.WRONG_PORT, "port 4000, its usual one"),
    (C, truth(Y, Y, usual_port=4000), Cause.WRONG_PORT, "port 4000, its usual one"),
    (R, truth(F, F, refused_for=REFUSED_LONG), Cause.NOT_RESTARTED, "redeploy it by hand"),
    (R, truth(F, F, refused_for=REFUSED_LONG - 1), Cause.REFUSED, "nothing listens"),
    (R, truth(F, F, refused_for=REFUSED_LONG, usual_port=4000), Cause.WRONG_PORT, "4000"),
    (C, truth(Y, Y, wanted=Speech.HTTP), Cause.RESET, "cut it"),
    (C, truth(Y, Y, wanted=Speech.HTTP, speech=Speech.TLS), Cause.PLAIN_ON_TLS, "https://"),
    (C, truth(Y, Y, wanted=Speech.HTTP, speech=Speech.POSTGRES), Cause.WRONG_SERVICE, "PostgreSQL's protocol"),
    (G, truth(Y, Y, wanted=Speech.HTTP, speech=Speech.REDIS), Cause.WRONG_SERVICE, "Redis' protocol"),
    (G, truth(Y, Y, wanted=Speech.POSTGRES, speech=Speech.HTTP), Cause.WRONG_SERVICE, "speaks HTTP"),
    (Sight.TLS, truth(Y, Y, wanted=Speech.TLS, speech=Speech.HTTP), Cause.TLS_ON_PLAIN, "Take the s out"),
    (Sight.NO_ANSWER, truth(Y, Y, wanted=Speech.TLS, speech=Speech.REDIS), Cause.TLS_ON_PLAIN, "redis://"),
    (Sight.TLS, truth(Y, Y, wanted=Speech.TLS), Cause.TLS, "handshake fails"),
    # A service that answers its own protocol with an error is told by that, wherever else it could be reached.
    (Sight.ANSWERED, truth(F, Y, "any"), Cause.BAD_ANSWER, "not what a healthy one says"),
]

SERVICE = Service(
    name="shop",
    kind="custom",
    title="The Shop",
    address="shop.internal:7",
    checks=(Check(name="x", kind="tcp", params=TcpParams(host="shop.internal", port=7)),),
    variables=("SHOP_URL",),
    remedies={Cause.REFUSED: "Its own remedy for a refusal.", Cause.WRONG_SERVICE: "Its own."},
)


@pytest.mark.parametrize(("sight", "seen", "cause", "words"), TOLD)
def test_the_ways_tell_the_cause(sight: Sight, seen: NetworkTruth, cause: Cause, words: str) -> None:
    outcome = Outcome(verdict=Verdict.FAIL, latency=0.1, evidence=Evidence(sight=sight, text="x", network=seen))
    found = diagnose(SERVICE, SERVICE.checks[0], outcome)
    assert found is not None
    assert found.cause == cause
    assert words in found.sentence + found.remedy
    assert "shop.internal:7" in found.sentence
    assert "{" not in found.sentence + found.remedy


def test_every_rule_of_the_ways_is_in_the_table_above() -> None:
    for rule in WAYS:
        assert any(
            cause == rule.cause and sight in rule.sights and seen.findings & set(rule.findings)
            for sight, seen, cause, _ in TOLD
        ), rule.proof


@pytest.mark.parametrize(
    "params",
    [
        HttpParams(url="http://shop.internal:7"),
        TcpParams(host="shop.internal", port=7),
        DnsParams(name="shop.internal"),
    ],
)
def test_a_name_of_one_kind_is_told_whatever_asked_for_it(params: Any) -> None:
    kind = {HttpParams: "http", TcpParams: "tcp", DnsParams: "dns"}[type(params)]
    check = Check(name="x", kind=kind, params=params)
    seen = Evidence(sight=L, code="EAI_NODATA", text="x", network=truth(N, Reach.OPENS, "ipv4"))
    found = diagnose(SERVICE, check, Outcome(verdict=Verdict.FAIL, latency=0.1, evidence=seen))
    assert found is not None
    assert found.cause == Cause.IPV6_ONLY
