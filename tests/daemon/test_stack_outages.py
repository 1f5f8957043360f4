"""Every outage the demo can play, against the whole stack: exactly what fails is not up, and its cause is right."""

import asyncio
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from config.causes import Cause
from config.services import Service, discover
from demo.contract import Contract
from demo.contracts.table import faults
from demo.expectations import ANYWHERE, STAND_IN_STORE, Expected, expected
from demo.litellm import LiteLlm
from demo.mistakes import MISTAKES, Mistake
from demo.outages import ANOTHER, STAND_INS, find, groups
from demo.process import Keeper
from demo.stack import Stack
from monitor.board import Board, ServiceStatus
from monitor.judge import State
from monitor.net import WatchLoop
from monitor.once import look_once

ANYHOW = (*ANYWHERE, "waking")
ALONE = [
    name
    for name in (outage.name for outages in groups().values() for outage in outages)
    if name.partition("/")[2] not in ANYHOW
]
STORE_FAULTS = [fault for fault in faults("minio") if fault not in ANYHOW]
ACTORS = (*STAND_INS, "litellm", STAND_IN_STORE)
AMPLE = 10.0
"""Seconds for what is to answer, however busy this machine is."""
SOON = 2.0
"""Seconds for what is not to answer: no longer than the test must wait for nothing."""


@pytest.fixture(scope="module")
def store(stack: Stack) -> Iterator[Contract]:
    """MinIO's stand-in, beside the real store of the stack."""
    with Contract("minio") as contract:
        yield contract


@pytest.fixture
def services(stack: Stack, store: Contract) -> tuple[Service, ...]:
    """All of the stack and the second store, which has no keys: it stores nothing."""
    return watched({**stack.variables, "MINIO_ENDPOINT__STANDIN": urlsplit(store.url).netloc})


def watched(variables: Mapping[str, str]) -> tuple[Service, ...]:
    """The services in `variables`, which must be without problems."""
    discovery = discover(variables)
    assert discovery.problems == ()
    return discovery.services


def timed(service: Service, wanted: Expected) -> Service:
    """The service with time to answer; with little of it where no answer is expected."""
    told = wanted.not_up.get(service.name)
    seconds = SOON if told and told.cause == Cause.NO_ANSWER else AMPLE
    return replace(service, checks=tuple(replace(check, timeout=seconds) for check in service.checks))


def look(services: tuple[Service, ...], wanted: Expected) -> Board:
    """One look at all of them; another where this machine was too busy to look, which proves nothing."""
    for _ in range(3):
        with asyncio.Runner(loop_factory=WatchLoop) as runner:
            asked = [timed(service, wanted) for service in services]
            # One look: no trace arrives in time, and a stand-in that was woken is awake.
            board = runner.run(look_once(asked, instance="test", settles=0.0, wakes=0.1))
        if all(status.state != State.UNKNOWN for status in board.services.values()):
            break
    return board


def assert_told(board: Board, wanted: Expected) -> None:
    """Exactly what is expected is not up, for its cause, in words that help."""
    seen = {name: status for name, status in board.services.items() if status.state != State.UP}
    assert {name: status.track.cause for name, status in seen.items()} == {
        name: told.cause for name, told in wanted.not_up.items()
    }
    for name, told in wanted.not_up.items():
        assert seen[name].state == told.state or (told.state == "not up" and seen[name].state != State.UNKNOWN)
        assert_helpful(seen[name])
    assert_shown(board, wanted)


def assert_shown(board: Board, wanted: Expected) -> None:
    """What is told of the first of them says what it is about; where nothing is told, there is a reason."""
    if not wanted.not_up:
        assert wanted.why
        return
    status = board.services[next(iter(wanted.not_up))]
    assert status.diagnosis
    assert wanted.shows in f"{status.evidence} {status.diagnosis.sentence} {status.diagnosis.remedy}"


def assert_helpful(status: ServiceStatus) -> None:
    """Somebody woken by it knows which service, where, what was seen and what to do."""
    assert status.diagnosis
    assert status.evidence
    assert status.service.address in status.diagnosis.sentence
    assert len(status.diagnosis.remedy) > 20
    assert "{" not in status.diagnosis.remedy.replace("${{", "")


def assert_mended(stack: Stack, services: tuple[Service, ...], names: Collection[str]) -> None:
    """These are up again."""
    forget(stack)
    board = look(tuple(service for service in services if service.name in names), Expected())
    assert {name: status.evidence for name, status in board.services.items() if status.state != State.UP} == {}


def forget(stack: Stack) -> None:
    """No stand-in believes a good answer of before."""
    for contract in stack.contracts.values():
        contract.forget()


def test_everything_is_up(stack: Stack, services: tuple[Service, ...]) -> None:
    board = look(services, Expected())
    assert {name: status.evidence for name, status in board.services.items() if status.state != State.UP} == {}
    # Every part is watched, and a second database, Qdrant's second port and the second store.
    assert set(board.services) == {*stack.parts, "postgres-langfuse", "qdrant-grpc", STAND_IN_STORE}


@pytest.mark.parametrize("name", ALONE)
def test_an_outage_is_told_of_what_fails_and_of_nothing_else(
    stack: Stack, services: tuple[Service, ...], name: str
) -> None:
    outage, wanted = find(name), expected(name)
    forget(stack)
    outage.begin(stack)
    try:
        assert_told(look(services, wanted), wanted)
    finally:
        outage.end(stack)
    assert_mended(stack, services, {*wanted.not_up, name.partition("/")[0]})


@pytest.mark.parametrize("fault", STORE_FAULTS)
def test_a_fault_of_minio_is_told_of_the_store_alone(
    stack: Stack, store: Contract, services: tuple[Service, ...], fault: str
) -> None:
    wanted = expected(f"{STAND_IN_STORE}/{fault}")
    store.break_with(fault)
    try:
        assert_told(look(services, wanted), wanted)
    finally:
        store.mend()
    assert_mended(stack, services, {STAND_IN_STORE})


@pytest.mark.parametrize("first", range(len(ANYHOW)))
def test_every_stand_in_is_told_by_its_own_fault_when_each_has_another(
    stack: Stack, store: Contract, services: tuple[Service, ...], first: int
) -> None:
    played = {name: ANYHOW[(first + number) % len(ANYHOW)] for number, name in enumerate(ACTORS)}
    wanted = {name: expected(f"{name}/{fault}") for name, fault in played.items()}
    everyone = Expected(not_up={name: told for one in wanted.values() for name, told in one.not_up.items()})
    actors = {**stack.contracts, STAND_IN_STORE: store}
    forget(stack)
    for name, fault in played.items():
        actors[name].break_with(fault)
    try:
        board = look(services, everyone)
    finally:
        for name in played:
            actors[name].mend()
    assert_told(board, everyone)
    for one in wanted.values():
        assert_shown(board, one)
    assert_mended(stack, services, {*played, *everyone.not_up})


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_a_wrong_variable_is_told_of_its_service_alone(stack: Stack, mistake: Mistake) -> None:
    forget(stack)
    mistaken = watched({**stack.variables, mistake.variable: mistake.value(stack.variables)})
    assert_told(look(mistaken, mistake.expected), mistake.expected)


@pytest.mark.skipif(not LiteLlm.installed(), reason="LiteLLM is not installed here: make demo-litellm")
def test_the_real_litellm_is_told_right_in_each_of_its_outages(keeper: Keeper) -> None:
    stack = Stack(keeper, real_litellm=True)
    try:
        services = watched(stack.start().variables)
        assert_told(look(services, Expected()), Expected(why="nothing is broken"))
        wrong = next(mistake for mistake in MISTAKES if mistake.variable == "LITELLM_MASTER_KEY")
        # As when LiteLLM itself is given another key, which takes it two restarts.
        assert_told(look(watched({**stack.variables, wrong.variable: ANOTHER}), wrong.expected), wrong.expected)
        for outage in (find("litellm/pause"), find("litellm")):
            outage.begin(stack)
            assert_told(look(services, expected(outage.name)), expected(outage.name))
            if outage.name == "litellm/pause":
                outage.end(stack)
                assert_mended(stack, services, {"litellm"})
    finally:
        stack.close()
