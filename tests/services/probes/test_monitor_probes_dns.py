"""The dns probe over a resolver of the test's own."""

import socket
from collections.abc import Callable
from typing import Any

import pytest

from config.checks import DnsParams
from monitor.net import Resolver
from monitor.probes.base import Outcome, Sight, Verdict

Maker = Callable[..., Any]


def once(run: Any, look_up: Any, **params: Any) -> Outcome:
    async def act(scene: Any) -> Outcome:
        outcome: Outcome = await scene.ask("dns", DnsParams(name="shop", **params))
        return outcome

    result: Outcome = run(act, resolver=Resolver(look_up, deadline=0.3))
    return result


def test_a_name_with_both_kinds(run: Any, names: Maker) -> None:
    outcome = once(run, names(shop=("10.1.2.3", "fd12::7")), types=("A", "AAAA"), expect=("FD12:0::7",))
    assert outcome.verdict == Verdict.PASS
    assert outcome.evidence.text == "shop is 10.1.2.3, fd12::7"


@pytest.mark.parametrize(("kind", "has"), [("A", "fd12::7"), ("AAAA", "10.1.2.3")])
def test_a_kind_that_is_missing_is_named(run: Any, names: Maker, kind: Any, has: str) -> None:
    outcome = once(run, names(shop=(has,)), types=(kind,))
    assert (outcome.verdict, outcome.evidence.sight, outcome.evidence.code) == (
        Verdict.FAIL,
        Sight.NO_NAME,
        "EAI_NODATA",
    )
    assert ("IPv4" if kind == "A" else "IPv6") in outcome.evidence.text


def test_another_address_than_expected(run: Any, names: Maker) -> None:
    outcome = once(run, names(shop=("10.1.2.3",)), expect=("10.1.2.4",))
    assert (outcome.verdict, outcome.evidence.sight, outcome.evidence.sign) == (Verdict.FAIL, Sight.ANSWERED, "expect")
    assert "10.1.2.4" in outcome.evidence.text


def test_no_such_name(run: Any, names: Maker) -> None:
    outcome = once(run, names())
    assert (outcome.verdict, outcome.evidence.sight) == (Verdict.FAIL, Sight.NO_NAME)


def test_a_resolver_that_fails_is_unknown(run: Any) -> None:
    def failing(*_: Any) -> Any:
        raise socket.gaierror(socket.EAI_FAIL, "Non-recoverable failure in name resolution")

    outcome = once(run, failing)
    assert (outcome.verdict, outcome.evidence.sight, outcome.evidence.code) == (
        Verdict.UNKNOWN,
        Sight.NO_RESOLVER,
        "EAI_FAIL",
    )
