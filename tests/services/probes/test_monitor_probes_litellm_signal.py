"""LiteLLM's signals over time, against its contract server and the real one."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from config.causes import Cause
from config.secret import Secret
from config.services import Check, Service
from config.signals import LitellmSignalParams
from demo.contract import Contract
from demo.contracts.wire import WIRE_FAULTS
from demo.litellm import LiteLlm
from demo.process import Keeper
from monitor.diagnose.table import diagnose
from monitor.probes.base import Outcome, Sight
from monitor.probes.litellm_completion import PAUSE, RESERVE, RETRY

ContractFactory = Callable[..., Contract]
KEY = "sk-demo-master-key"


def params(server: Any, signal: str, **changes: Any) -> LitellmSignalParams:
    values: dict[str, Any] = {"url": server.url, "key": Secret(KEY), "signal": signal, "warn": 1, "fail": 100}
    return LitellmSignalParams(**{**values, "model": "demo-small", **changes})


def seen(outcome: Outcome) -> tuple[str, str]:
    """The verdict and the code; "n/a" for what is not available."""
    return (outcome.verdict.value if outcome.available else "n/a"), outcome.evidence.code


def cause(outcome: Outcome) -> Cause | None:
    check = Check(name="x", kind="litellm_signal", params=LitellmSignalParams(url="", key=Secret("k"), signal="models"))
    of = Service(name="litellm", kind="litellm", title="LiteLLM", address="http://l", checks=(check,))
    told = diagnose(of, check, outcome)
    if told:
        assert "LiteLLM" in told.sentence
        assert len(told.remedy) > 60
    return told.cause if told else None


def test_models_that_vanish_are_told_by_name_for_an_hour(contract: ContractFactory, over: Any) -> None:
    server = contract("litellm")
    asked = params(server, "models", warn=25, fail=None)

    async def act(watcher: Any) -> None:
        first = await watcher.ask("litellm_signal", asked)
        assert seen(first) == ("pass", "")
        assert first.measures == {"models_listed": 3.0}
        watcher.wait(600)
        server.break_with("stored_models_vanished")
        gone = await watcher.ask("litellm_signal", asked)
        assert seen(gone) == ("warn", "vanished")
        assert "2 models are listed, 3 were 10 min ago; gone: demo-stored" in gone.evidence.text
        assert cause(gone) == Cause.BAD_ANSWER
        watcher.wait(3500)
        assert seen(await watcher.ask("litellm_signal", asked)) == ("pass", "")
        server.mend()
        assert seen(await watcher.ask("litellm_signal", asked)) == ("pass", "")

    over(act)


@pytest.mark.parametrize(
    ("fault", "code", "means"),
    [
        ("provider_key_expired", "provider_auth", Cause.AUTH),
        ("provider_quota_spent", "provider_quota", Cause.CAPACITY),
        ("provider_model_retired", "model_missing", Cause.NOT_FOUND),
        ("provider_gone", "provider_unreached", Cause.DEPENDENCY),
    ],
)
@pytest.mark.parametrize("signal", ["health", "completion"])
def test_a_providers_trouble_is_told_apart_from_litellms(
    contract: ContractFactory, over: Any, signal: str, fault: str, code: str, means: Cause
) -> None:
    server = contract("litellm", fault=fault)
    outcome = over(lambda watcher: watcher.ask("litellm_signal", params(server, signal)))
    assert seen(outcome) == ("fail", code)
    assert cause(outcome) == means
    assert server.counts["paid_calls"] == 0


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"background": False}, "background_health_checks"),
        ({"checked_at": "2025-01-01T00:00:00"}, "in the last two hours"),
        ({"checked_at": "soon"}, "in the last two hours"),
        ({"fault": "db_not_connected"}, "in a database, and has none"),
        ({"fault": "db_lost"}, "which another check tells"),
        ({"fault": "key_changed"}, "refuses this key"),
        ({"fault": "not_found"}, "too old"),
        ({"fault": "http_500"}, "which another check tells"),
    ],
)
def test_health_that_is_not_stored_is_not_available_and_says_why(
    contract: ContractFactory, over: Any, settings: dict[str, Any], why: str
) -> None:
    server = contract("litellm", **settings)
    outcome = over(lambda watcher: watcher.ask("litellm_signal", params(server, "health")))
    assert seen(outcome)[0] == "n/a"
    assert why in outcome.evidence.text


def test_a_completion_is_paid_for_once_in_its_interval(contract: ContractFactory, over: Any) -> None:
    server = contract("litellm")
    asked = params(server, "completion", every=900)

    async def act(watcher: Any) -> None:
        for _ in range(5):
            outcome = await watcher.ask("litellm_signal", asked)
            assert seen(outcome) == ("pass", "")
        assert server.counts["paid_calls"] == 1
        assert outcome.measures == {"tokens_today": 30.0, "cost_today_dollars": pytest.approx(0.00015)}
        watcher.wait(890)
        await watcher.ask("litellm_signal", asked)
        assert server.counts["paid_calls"] == 1
        watcher.wait(20)
        outcome = await watcher.ask("litellm_signal", asked)
        assert server.counts["paid_calls"] == 2
        assert outcome.measures["tokens_today"] == 60

    over(act)


def test_no_more_is_paid_than_the_days_tokens(contract: ContractFactory, over: Any) -> None:
    server = contract("litellm")
    asked = params(server, "completion", every=60, daily_tokens=RESERVE + 60)

    async def act(watcher: Any) -> None:
        for _ in range(20):
            outcome = await watcher.ask("litellm_signal", asked)
            watcher.wait(61)
        assert server.counts["paid_calls"] == 3
        assert seen(outcome)[0] == "n/a"
        assert "tokens are spent" in outcome.evidence.text

    over(act)


def test_a_spent_budget_is_no_outage_and_rests_the_question(contract: ContractFactory, over: Any) -> None:
    server = contract("litellm", fault="budget_exceeded")
    asked = params(server, "completion", every=60)

    async def act(watcher: Any) -> None:
        for _ in range(10):
            outcome = await watcher.ask("litellm_signal", asked)
            assert seen(outcome) == ("n/a", "budget")
            watcher.wait(PAUSE / 20)
        assert server.seen["POST /v1/chat/completions"] == 1
        server.mend()
        watcher.wait(PAUSE)
        assert seen(await watcher.ask("litellm_signal", asked)) == ("pass", "")

    over(act)


def test_a_miss_is_looked_at_again_at_once_and_then_seldom(contract: ContractFactory, over: Any) -> None:
    server = contract("litellm", fault="overloaded")
    asked = params(server, "completion")

    async def act(watcher: Any) -> None:
        for _ in range(10):
            outcome = await watcher.ask("litellm_signal", asked)
            assert seen(outcome) == ("fail", "overloaded")
            watcher.wait(10)
        assert cause(outcome) == Cause.CAPACITY
        assert server.seen["POST /v1/chat/completions"] == 3
        server.mend()
        watcher.wait(RETRY)
        assert seen(await watcher.ask("litellm_signal", asked)) == ("pass", "")

    over(act)


@pytest.mark.parametrize(
    ("settings", "changes", "expected", "means"),
    [
        ({}, {"model": "gone"}, ("fail", "unknown_model"), Cause.NOT_FOUND),
        ({"fault": "key_changed"}, {}, ("n/a", ""), None),
        ({"fault": "hang"}, {}, ("fail", "late"), Cause.NO_ANSWER),
        ({"fault": "refuse"}, {}, ("n/a", ""), None),
        ({"fault": "http_500"}, {}, ("n/a", ""), None),
        ({"fault": "html"}, {}, ("n/a", ""), None),
    ],
)
def test_what_else_can_become_of_a_completion(
    contract: ContractFactory,
    over: Any,
    settings: dict[str, Any],
    changes: dict[str, Any],
    expected: tuple[str, str],
    means: Cause | None,
) -> None:
    server = contract("litellm", **settings)
    ask = params(server, "completion", **changes)
    outcome = over(lambda watcher: watcher.ask("litellm_signal", ask, timeout=1.0))
    assert (seen(outcome), cause(outcome)) == (expected, means)
    assert KEY not in outcome.evidence.text


@pytest.mark.parametrize("fault", [name for name in WIRE_FAULTS if name not in ("waking", "flapping", "slow")])
@pytest.mark.parametrize("signal", ["models", "health", "completion"])
def test_whatever_is_wrong_with_the_answer_is_told_by_another_check(
    contract: ContractFactory, over: Any, signal: str, fault: str
) -> None:
    server = contract("litellm", fault=fault)
    outcome = over(lambda watcher: watcher.ask("litellm_signal", params(server, signal), timeout=0.5))
    assert outcome.evidence.sight in (Sight.NOT_ASKED, Sight.ANSWERED)
    assert outcome.latency < 1.0
    assert seen(outcome)[0] == "n/a" or seen(outcome) == ("fail", "late")


@pytest.fixture(scope="module")
def real(keeper: Keeper) -> Iterator[LiteLlm]:
    if not LiteLlm.installed():
        pytest.skip("LiteLLM is not installed here: make demo-litellm")
    with LiteLlm(keeper=keeper) as server:
        yield server


def test_the_real_litellm(real: LiteLlm, over: Any) -> None:
    async def act(watcher: Any) -> None:
        models = await watcher.ask("litellm_signal", params(real, "models"), timeout=20)
        assert seen(models) == ("pass", "")
        health = await watcher.ask("litellm_signal", params(real, "health"), timeout=20)
        assert seen(health)[0] == "n/a"
        assert "in a database, and has none" in health.evidence.text
        done = await watcher.ask("litellm_signal", params(real, "completion"), timeout=30)
        assert seen(done) == ("pass", "")
        assert done.measures["tokens_today"] > 0
        unknown = await watcher.ask("litellm_signal", params(real, "completion", model="gone"), timeout=30)
        assert seen(unknown) == ("fail", "unknown_model")
        refused = await watcher.ask("litellm_signal", params(real, "completion", key=Secret("sk-other")), timeout=30)
        assert seen(refused)[0] == "n/a"

    over(act)
