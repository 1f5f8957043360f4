"""One look at a service that slept: the platform's edge answers the question that wakes it, so it is asked again."""

import asyncio
import time

import pytest

from config.services import discover
from demo.contract import Contract
from monitor.board import ServiceStatus
from monitor.judge import State
from monitor.net import WatchLoop
from monitor.once import look_once


def seen(agent: Contract, wakes: float) -> ServiceStatus:
    services = discover({"AGENT_SERVICE_URL": agent.url}).services
    with asyncio.Runner(loop_factory=WatchLoop) as runner:
        board = runner.run(look_once(services, instance="test", wakes=wakes))
    (status,) = board.services.values()
    return status


@pytest.mark.parametrize(("fault", "state"), [("waking", State.UP), ("http_502_edge", State.DOWN)])
def test_what_the_edge_answered_for_is_asked_again(fault: str, state: State) -> None:
    with Contract("agent") as agent:
        agent.break_with(fault)
        status = seen(agent, 0.05)
    assert status.state == state
    texts = [one.outcome.evidence.text for one in status.checks.values() if one.outcome]
    says = "it was asleep: 0.05 s before" if state == State.UP else "asked twice, 0.05 s apart"
    assert any(says in text for text in texts)


@pytest.mark.parametrize("fault", ["", "refuse", "http_503"])
def test_what_is_well_or_fails_by_itself_is_not_waited_for(fault: str) -> None:
    with Contract("agent") as agent:
        if fault:
            agent.break_with(fault)
        began = time.monotonic()
        status = seen(agent, 30.0)
    assert time.monotonic() - began < 10
    assert status.state == (State.DOWN if fault else State.UP)
