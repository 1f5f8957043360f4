"""Keys that must match, and the list of models that shows which key Open WebUI really uses."""

from collections.abc import Callable
from typing import Any

import pytest

from config.causes import Cause
from config.secret import Secret
from config.services import Check, Service
from config.signals import KeySignalParams, OpenwebuiSignalParams
from demo.contract import Contract
from demo.contracts.needs import Needs
from demo.contracts.wire import WIRE_FAULTS
from demo.litellm import LiteLlm
from demo.process import Keeper
from monitor.diagnose.base import Diagnosis
from monitor.diagnose.table import diagnose
from monitor.probes.base import Outcome, Sight

ContractFactory = Callable[..., Contract]
MASTER = "sk-demo-master-key"
OWN = "sk-demo-open-webui"


def key(server: Any, given: str, provider: str = "litellm", **changes: Any) -> KeySignalParams:
    return KeySignalParams(url=server.url, key=Secret(given), provider=provider, **changes)  # type: ignore[arg-type]


def models(server: Contract, provider: Contract | None = None, **changes: Any) -> OpenwebuiSignalParams:
    known = {"provider": provider.url, "provider_key": Secret(MASTER)} if provider else {}
    return OpenwebuiSignalParams(url=server.url, **{"key": Secret(OWN), **known, **changes})


def seen(outcome: Outcome) -> tuple[str, str]:
    """The verdict and the code; "n/a" for what is not available."""
    return (outcome.verdict.value if outcome.available else "n/a"), outcome.evidence.code


def told(kind: str, outcome: Outcome, params: Any = None) -> Diagnosis:
    params = params or OpenwebuiSignalParams(url="http://w", key=Secret("k"))
    check = Check(name="x", kind=kind, params=params)
    of = Service(name="w", kind="open-webui", title="Open WebUI", address="http://w", checks=(check,))
    found = diagnose(of, check, outcome)
    assert found is not None
    assert "Open WebUI at http://w" in found.sentence
    assert len(found.remedy) > 60
    return found


@pytest.mark.parametrize(
    ("given", "code", "says"),
    [
        ("sk-another-key", "wrong", "Received API Key"),
        ("sk-ant-api03-abcdef", "foreign", "belongs to Anthropic"),
        ("sk-proj-abcdef", "foreign", "belongs to OpenAI"),
        ("sk-lf-abcdef", "foreign", "belongs to Langfuse"),
        ("${{litellm.KEY}}", "foreign", "a reference that was not filled in"),
        ("cm9vdDpub3Q=", "form", "does not begin with sk-"),
    ],
)
def test_a_key_that_litellm_refuses_is_told_by_what_it_looks_like(
    contract: ContractFactory, over: Any, given: str, code: str, says: str
) -> None:
    server = contract("litellm")
    outcome = over(lambda watcher: watcher.ask("key_signal", key(server, given)))
    assert seen(outcome) == ("fail", code)
    assert says in outcome.evidence.text
    assert given not in outcome.evidence.text
    diagnosis = told("key_signal", outcome, key(server, given))
    assert (diagnosis.cause, "LiteLLM" in diagnosis.sentence) == (Cause.AUTH, True)


def test_a_key_that_is_taken(contract: ContractFactory, over: Any) -> None:
    litellm, langfuse = contract("litellm", keys=("sk-virtual",)), contract("langfuse-web")
    qdrant = contract("qdrant", api_key="demo")
    user = Secret("pk-lf-demo")
    for asked in (
        key(litellm, MASTER),
        key(litellm, "sk-virtual"),
        key(qdrant, "demo", "qdrant"),
        key(langfuse, "sk-lf-demo", "langfuse", user=user),
    ):
        assert seen(over(lambda watcher, asked=asked: watcher.ask("key_signal", asked))) == ("pass", "")


def test_a_key_that_the_others_refuse(contract: ContractFactory, over: Any) -> None:
    langfuse, qdrant = contract("langfuse-web"), contract("qdrant", api_key="demo")
    user = Secret("pk-lf-demo")
    for asked, code in (
        (key(qdrant, "other", "qdrant"), "wrong"),
        (key(qdrant, "sk-lf-x", "qdrant"), "foreign"),
        (key(langfuse, "sk-lf-other", "langfuse", user=user), "wrong"),
        (key(langfuse, "sk-other", "langfuse", user=user), "form"),
    ):
        outcome = over(lambda watcher, asked=asked: watcher.ask("key_signal", asked))
        assert seen(outcome) == ("fail", code)
        provider = "Qdrant" if asked.provider == "qdrant" else "Langfuse"
        assert provider in told("key_signal", outcome, asked).sentence


@pytest.mark.parametrize("fault", ["db_lost", "shutting_down", *(name for name in WIRE_FAULTS if name != "slow")])
def test_a_provider_that_is_not_well_proves_nothing_about_a_key(
    contract: ContractFactory, over: Any, fault: str
) -> None:
    server = contract("litellm", fault=fault)
    outcome = over(lambda watcher: watcher.ask("key_signal", key(server, "sk-another-key"), timeout=0.5))
    assert outcome.evidence.sight in (Sight.NOT_ASKED, Sight.ANSWERED)
    well = fault in ("shutting_down", "flapping")  # it refuses the key as ever, and every second time
    assert seen(outcome)[0] in (("fail", "n/a") if well else ("n/a",))


@pytest.mark.parametrize(
    ("faults", "expected", "cause"),
    [
        ({}, ("pass", ""), None),
        ({"web": "stale_key"}, ("fail", "stale"), Cause.MISCONFIGURED),
        ({"web": "api_key_deleted"}, ("fail", "auth"), Cause.AUTH),
        ({"web": "api_keys_off"}, ("n/a", ""), None),
        ({"web": "html"}, ("n/a", ""), None),
        ({"web": "refuse"}, ("n/a", ""), None),
        ({"litellm": "salt_changed"}, ("n/a", ""), None),
        ({"litellm": "key_changed"}, ("n/a", ""), None),
        ({"litellm": "refuse"}, ("n/a", ""), None),
    ],
)
def test_open_webuis_list_is_compared_with_litellms(
    contract: ContractFactory, over: Any, faults: dict[str, str], expected: tuple[str, str], cause: Cause | None
) -> None:
    proxy = contract("litellm")
    web = contract("open-webui", needs=Needs(litellm=proxy.url, litellm_key=MASTER))
    for name, fault in faults.items():
        {"web": web, "litellm": proxy}[name].break_with(fault)
    outcome = over(lambda watcher: watcher.ask("openwebui_signal", models(web, proxy)))
    assert seen(outcome) == expected
    if cause:
        assert told("openwebui_signal", outcome).cause == cause


def test_without_litellms_list_an_empty_one_is_all_that_can_be_told(contract: ContractFactory, over: Any) -> None:
    web = contract("open-webui")
    assert seen(over(lambda watcher: watcher.ask("openwebui_signal", models(web)))) == ("pass", "")
    web.break_with("stale_key")
    empty = over(lambda watcher: watcher.ask("openwebui_signal", models(web)))
    assert seen(empty) == ("fail", "none")
    assert told("openwebui_signal", empty).cause == Cause.BAD_ANSWER


@pytest.mark.skipif(not LiteLlm.installed(), reason="LiteLLM is not installed here: make demo-litellm")
def test_the_real_litellm_refuses_in_words_that_are_understood(keeper: Keeper, over: Any) -> None:
    with LiteLlm(keeper=keeper) as real:

        async def act(watcher: Any) -> None:
            assert seen(await watcher.ask("key_signal", key(real, MASTER), timeout=20)) == ("pass", "")
            for given, code in (("sk-another", "wrong"), ("sk-ant-x", "foreign"), ("nothing", "form")):
                assert seen(await watcher.ask("key_signal", key(real, given), timeout=20)) == ("fail", code)

        over(act)
