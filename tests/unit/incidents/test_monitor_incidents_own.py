"""One outage does not swallow another: a trouble of a service's own is told while something it needs is out too."""

from typing import Any

import pytest

from config.causes import Cause
from config.checks import HttpParams
from config.secret import Secret
from config.signals import KeySignalParams
from config.watched import Check
from monitor.outages import AFTERMATH

WORLD: dict[str, tuple[str, ...]] = {
    "postgres": (),
    "qdrant": (),
    "langfuse": ("postgres",),
    "litellm": ("postgres",),
    "open-webui": ("litellm", "postgres", "qdrant"),
}


@pytest.fixture
def stage(stage_of: Any) -> Any:
    """Open WebUI holds a key for LiteLLM, which it needs; LiteLLM one for Langfuse, which it does not need."""
    stage = stage_of(WORLD)
    for name, provider in (("langfuse", None), ("litellm", "langfuse"), ("open-webui", "litellm")):
        checks = [Check(name="ready", kind="http", params=HttpParams(url=f"http://{name}"))]
        if provider:
            params = KeySignalParams(url=f"http://{provider}/", key=Secret("sk-1"), provider="litellm")
            checks.append(Check(name="key", kind="key_signal", params=params, severity="degraded"))
        stage.become(stage.service(name, *WORLD[name], checks=tuple(checks)))
    return stage


def opened(stage: Any) -> dict[str, tuple[str, ...]]:
    """Whose incidents are open, and whom each takes down."""
    return {root: case.incident.affected for root, case in stage.book.cases.items()}


def test_a_key_of_its_own_is_told_at_once_while_another_refuses_keys(stage: Any) -> None:
    stage.degraded("qdrant", cause=Cause.AUTH)
    stage.degraded("open-webui", cause=Cause.AUTH)
    stage.passes("postgres", "litellm")
    stage.turn()
    assert stage.story() == ["0 opened open-webui", "0 opened qdrant"]
    assert opened(stage) == {"open-webui": (), "qdrant": ()}


def test_a_certificate_of_its_own_is_told_while_its_database_is_down(stage: Any) -> None:
    stage.down("postgres")
    stage.down("langfuse", cause=Cause.CERT_EXPIRED)
    stage.down("litellm", cause=Cause.DEPENDENCY)
    stage.turn()
    assert opened(stage) == {"langfuse": (), "postgres": ("litellm", "open-webui")}


def test_what_is_expected_to_fail_takes_nobody_down_who_has_a_trouble_of_its_own(stage: Any) -> None:
    stage.down("postgres")
    stage.down("open-webui", cause=Cause.CERT_EXPIRED)
    stage.passes("litellm", "qdrant")
    stage.turn()
    assert opened(stage) == {"open-webui": (), "postgres": ("langfuse", "litellm")}


def test_the_provider_whose_keys_changed_is_the_one_incident(stage: Any) -> None:
    stage.degraded("litellm", cause=Cause.AUTH)
    stage.degraded("open-webui", cause=Cause.AUTH, check="key")
    stage.passing(300)
    assert opened(stage) == {"litellm": ("open-webui",)}


def test_the_provider_need_not_be_a_dependency(stage: Any) -> None:
    """And whoever holds a key for it is no root for its own dependents, nor expected to fail while it is down."""
    stage.degraded("langfuse", cause=Cause.AUTH)
    stage.degraded("litellm", cause=Cause.AUTH, check="key")
    stage.degraded("open-webui", cause=Cause.SLOW, missed=0)
    stage.passes("postgres", "qdrant")
    stage.passing(300)
    assert opened(stage) == {"langfuse": ("litellm",), "open-webui": ()}
    stage.down("langfuse")
    stage.up("litellm", "open-webui")
    stage.turn()
    assert opened(stage) == {"langfuse": ()}


def test_a_key_refused_by_a_provider_that_takes_others_is_its_holders(stage: Any) -> None:
    stage.degraded("litellm", cause=Cause.AUTH, check="key")
    stage.passes("postgres", "langfuse")
    stage.turn()
    assert opened(stage) == {"litellm": ()}


def test_the_provider_that_was_not_seen_well_since_is_waited_for(stage: Any) -> None:
    stage.passing(50)
    stage.degraded("litellm", cause=Cause.AUTH, check="key")
    stage.passes("postgres")
    stage.passing(30)
    stage.degraded("langfuse", cause=Cause.AUTH)
    stage.passing(200)
    assert opened(stage) == {"langfuse": ("litellm",)}


def test_a_cause_that_wavers_while_a_parent_is_down_is_no_second_incident(stage: Any) -> None:
    """What answers in its place while it restarts may look like a wrong address; it is told when that lasts."""
    stage.down("postgres")
    stage.down("litellm", cause=Cause.DEPENDENCY)
    stage.turn()
    stage.trouble("litellm", stage.seen["litellm"].state, cause=Cause.NOT_FOUND)
    stage.passing(60)
    assert set(opened(stage)) == {"postgres"}
    stage.trouble("litellm", stage.seen["litellm"].state, cause=Cause.DEPENDENCY)
    stage.passing(300)
    stage.trouble("litellm", stage.seen["litellm"].state, cause=Cause.NOT_FOUND)
    stage.passing(AFTERMATH)
    assert set(opened(stage)) == {"postgres", "litellm"}


def test_a_parent_lost_from_sight_excuses_as_it_was_known(stage: Any) -> None:
    stage.degraded("qdrant", cause=Cause.AUTH)
    stage.turn()
    stage.unknown("qdrant")
    stage.degraded("open-webui", cause=Cause.AUTH)
    stage.passes("postgres", "litellm")
    stage.turn()
    assert set(opened(stage)) == {"qdrant", "open-webui"}
