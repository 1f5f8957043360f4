"""Qdrant's signals against its contract server: what is asked, how often, and what is masked."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from config.secret import Secret
from config.signals import QdrantSignalParams
from demo.contract import Contract
from demo.contracts.wire import WIRE_FAULTS
from monitor.probes.base import Outcome, Sight
from monitor.probes.qdrant_signal import MOST

ContractFactory = Callable[..., Contract]
SIGNALS = ("key", "collections", "queue", "recovery", "replicas")


def params(server: Contract, signal: str, key: str | None = None) -> QdrantSignalParams:
    return QdrantSignalParams(url=server.url, signal=signal, key=Secret(key) if key else None, warn=1)  # type: ignore[arg-type]  # a word of the type


def seen(outcome: Outcome) -> tuple[str, str]:
    """The verdict and the code; "n/a" for what is not available."""
    return (outcome.verdict.value if outcome.available else "n/a"), outcome.evidence.code


def all_signals(over: Any, server: Contract, key: str | None = None) -> dict[str, Outcome]:
    async def act(watcher: Any) -> dict[str, Outcome]:
        asked = [watcher.ask("qdrant_signal", params(server, signal, key)) for signal in SIGNALS]
        return dict(zip(SIGNALS, await asyncio.gather(*asked), strict=True))

    found: dict[str, Outcome] = over(act)
    return found


def test_all_signals_share_one_look(contract: ContractFactory, over: Any) -> None:
    server = contract("qdrant", collections=("documents", "a/b ?#%"))
    assert {seen(outcome) for outcome in all_signals(over, server).values()} == {("pass", "")}
    assert sorted(server.seen) == [
        "GET /collections",
        "GET /collections/a/b ?#%",
        "GET /collections/documents",
        "GET /metrics",
    ]
    assert set(server.seen.values()) == {1}


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ("disk_full", {"collections": ("fail", "space")}),
        ("collection_red", {"collections": ("warn", "red")}),
        ("collection_unread", {"collections": ("fail", "unread"), "queue": ("n/a", "")}),
        ("recovery_mode", {"collections": ("fail", "recovery"), "recovery": ("fail", ""), "queue": ("n/a", "")}),
        ("metrics_recovery", {"recovery": ("fail", ""), "queue": ("n/a", "")}),
        ("replica_dead", {"replicas": ("warn", "")}),
        ("queue_behind", {"queue": ("warn", "behind")}),
        ("collection_grey", {}),
        ("collection_yellow", {}),
    ],
)
def test_each_fault_is_told_by_its_signal(
    contract: ContractFactory, over: Any, fault: str, told: dict[str, tuple[str, str]]
) -> None:
    found = all_signals(over, contract("qdrant", fault=fault))
    assert {name: seen(outcome) for name, outcome in found.items() if seen(outcome) != ("pass", "")} == told


def test_a_key_that_is_lacking_or_wrong(contract: ContractFactory, over: Any) -> None:
    server = contract("qdrant", api_key="right")
    without = all_signals(over, server)
    assert {seen(outcome)[0] for outcome in without.values()} == {"n/a"}
    assert {"set QDRANT_API_KEY" in outcome.evidence.text for outcome in without.values()} == {True}
    wrong = all_signals(over, server, "wrong-key-of-ours")
    assert seen(wrong.pop("key")) == ("fail", "wrong")
    assert {outcome.evidence.text for outcome in wrong.values()} == {
        "not asked: Qdrant refuses the key, which another check tells"
    }
    assert {seen(outcome) for outcome in all_signals(over, server, "right").values()} == {("pass", "")}


def test_a_collection_that_does_not_answer_is_told_in_time(contract: ContractFactory, over: Any) -> None:
    server = contract("qdrant", fault="collection_silent")
    outcome = over(lambda watcher: watcher.ask("qdrant_signal", params(server, "collections"), timeout=1.0))
    assert seen(outcome) == ("warn", "silent")
    assert outcome.evidence.text == "documents of 1 collection silent; documents: no answer in time"


def test_no_more_collections_are_asked_than_one_look_may(contract: ContractFactory, over: Any) -> None:
    server = contract("qdrant", collections=tuple(f"c{number:03}" for number in range(MOST + 5)))
    outcome = over(lambda watcher: watcher.ask("qdrant_signal", params(server, "collections")))
    assert outcome.evidence.text == f"collections: {MOST} green; 5 of {MOST + 5} were not asked"
    assert sum(server.seen.values()) == MOST + 1


@pytest.mark.parametrize("fault", WIRE_FAULTS)
def test_whatever_else_breaks_is_told_by_the_plain_check(contract: ContractFactory, over: Any, fault: str) -> None:
    server = contract("qdrant", fault=fault)
    seconds = 0.5 if fault in ("hang", "slow", "slow_drip") else 5.0  # no answer comes, or one does

    async def act(watcher: Any) -> list[Outcome]:
        asked = [watcher.ask("qdrant_signal", params(server, name), timeout=seconds) for name in SIGNALS]
        return list(await asyncio.gather(*asked))

    for signal, outcome in zip(SIGNALS, over(act), strict=True):
        assert outcome.evidence.sight != Sight.FAULT, outcome.evidence.text
        answered = fault in ("http_500", "http_503", "http_502_edge", "waking", "flapping")
        expected = {"pass", "n/a", "fail"} if signal == "key" and answered else {"pass", "n/a"}
        assert seen(outcome)[0] in expected
