"""One question serves all who ask it at the same time, and what is not available is no failure and no flip."""

import asyncio
from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from config.services import Check, Service
from config.signals import PostgresSignalParams
from monitor.board import Board, CheckStatus, ServiceStatus
from monitor.diagnose.table import diagnose
from monitor.grid import phase
from monitor.judge import State, Track
from monitor.probes.attempt import attempt
from monitor.probes.base import Answer, Outcome, ProbeContext, Sight, Verdict, not_asked, not_available
from monitor.probes.shared import FAILED, MOST, SAMPLES, Samples
from monitor.probes.table import run_check
from monitor.terminal import check_table
from monitor.watch import place
from monitor.web.api import services_document
from monitor.web.page import PageSnapshot, draw


class Server:
    """Counts how often it is asked; `wait` seconds for each answer; `fails` as long as that is set."""

    def __init__(self, wait: float = 1.0) -> None:
        self.wait = wait
        self.asked = 0
        self.ended = 0
        self.fails = False

    async def ask(self) -> int:
        self.asked += 1
        number = self.asked
        try:
            await asyncio.sleep(self.wait)
        finally:
            self.ended += 1
        if self.fails:
            raise ConnectionResetError("cut")
        return number


def test_those_who_ask_at_once_share_one_answer_and_those_after_it_its_age(virtual: Callable[..., Any]) -> None:
    async def act() -> None:
        context, server = ProbeContext(), Server()
        assert await asyncio.gather(*(context.shared("a", server.ask, 5.0) for _ in range(10))) == [1] * 10
        await asyncio.sleep(4.9)
        assert await context.shared("a", server.ask, 5.0) == 1
        assert await context.shared("b", server.ask, 5.0) == 2  # another key
        assert await context.shared("a", server.ask, 2.0) == 3  # somebody who wants it fresher
        await asyncio.sleep(5.0)
        assert await context.shared("a", server.ask, 5.0) == 4

    virtual(act())


def test_one_who_stops_waiting_ends_it_for_nobody_else(virtual: Callable[..., Any]) -> None:
    async def act() -> None:
        context, server = ProbeContext(), Server()
        first = asyncio.create_task(context.shared("a", server.ask, 5.0))
        second = asyncio.create_task(context.shared("a", server.ask, 5.0))
        await asyncio.sleep(0.5)
        first.cancel()
        assert await second == 1
        assert first.cancelled()

    virtual(act())


def test_a_failure_reaches_all_who_wait_and_nobody_after_them(virtual: Callable[..., Any]) -> None:
    async def act() -> None:
        context, server = ProbeContext(), Server()
        server.fails = True
        results = await asyncio.gather(
            *(context.shared("a", server.ask, 50.0) for _ in range(3)), return_exceptions=True
        )
        assert [type(result) for result in results] == [ConnectionResetError] * 3
        server.fails = False
        with pytest.raises(ConnectionResetError):
            await context.shared("a", server.ask, 50.0)
        await asyncio.sleep(FAILED)
        assert await context.shared("a", server.ask, 50.0) == 2

    virtual(act())


def test_a_failure_nobody_waits_for_any_more_is_no_noise(virtual: Callable[..., Any]) -> None:
    async def act() -> list[Any]:
        said: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: said.append(what))
        context, server = ProbeContext(), Server()
        server.fails = True
        asker = asyncio.create_task(context.shared("a", server.ask, 5.0))
        await asyncio.sleep(0.5)
        asker.cancel()
        await asyncio.sleep(10)
        with pytest.raises(ConnectionResetError):
            await context.shared("a", server.ask, 5.0)
        return said

    assert virtual(act()) == []


def test_nothing_outlives_the_context(virtual: Callable[..., Any]) -> None:
    class Session:
        closed = False

        def close(self) -> None:
            self.closed = True

    async def act() -> None:
        context, server, session = ProbeContext(), Server(wait=1000.0), Session()
        context.kept["a"] = session
        asker = asyncio.create_task(context.shared("a", server.ask, 5.0))
        await asyncio.sleep(0.1)
        await context.aclose()
        assert server.ended == 1
        assert session.closed
        with pytest.raises(asyncio.CancelledError):
            await asker
        with pytest.raises(RuntimeError):
            await context.shared("a", server.ask, 5.0)

    virtual(act())


def test_no_question_lasts_for_ever_and_no_answer_is_kept_for_ever(virtual: Callable[..., Any]) -> None:
    async def act() -> None:
        context, hanging, quick = ProbeContext(), Server(wait=1e6), Server(wait=0.0)
        with pytest.raises(TimeoutError):
            await context.shared("hangs", hanging.ask, 5.0)
        for number in range(3 * MOST):
            await context.shared(number, quick.ask, 1e9)
        assert len(context._answers._flights) <= MOST

    virtual(act())


def test_samples_give_the_oldest_of_their_window_and_stay_few() -> None:
    samples: Samples[int] = Samples()
    assert samples.since("a", 0, 300.0, 0.0) is None
    for second in range(10, 2000, 10):
        before = samples.since("a", second, 300.0, float(second))
        assert before is not None
        assert before[0] <= 300
        assert before[1] == second - before[0]
        assert before[0] >= min(second, 300) - 2 * 300 / SAMPLES
    assert len(samples._rows["a"]) <= SAMPLES + 1
    samples.forget("a")
    assert samples.since("a", 1, 300.0, 2000.0) is None
    for number in range(3 * MOST):
        samples.since(number, 0, 300.0, 3000.0)
    assert len(samples._rows) == MOST


PARAMS = PostgresSignalParams(host="db", signal="slots")


def check(name: str, interval: float = 60.0) -> Check:
    return Check(name=name, kind="postgres_signal", params=PARAMS, interval=interval, latency_threshold=0.1)


def test_signals_of_one_service_meet_whatever_their_intervals() -> None:
    service = Service(name="postgres", kind="postgres", title="PostgreSQL", address="db", checks=())
    quick, slow = (phase(*place(service, check(name, span))) for name, span in (("slots", 60.0), ("size", 300.0)))
    assert quick == slow
    assert phase(*place(service, check("a", 7.0))) < 7.0
    plain = Check(name="query", kind="postgres", params=PARAMS, interval=300.0)
    assert place(service, plain) == ("postgres/query", 300.0)


def outcome_of(virtual: Callable[..., Any], answer: Answer, wait: float = 0.0) -> Outcome:
    async def probe(params: Any, *, timeout: float, context: ProbeContext) -> Outcome:
        async def ask() -> Answer:
            await asyncio.sleep(wait)
            return answer

        return await attempt(ask, timeout=timeout)

    outcome: Outcome = virtual(run_check(check("slots"), ProbeContext(), probes={"postgres_signal": probe}))
    return outcome


def test_not_available_is_a_pass_that_says_why_and_proves_nothing(virtual: Callable[..., Any]) -> None:
    outcome = outcome_of(virtual, not_available("GRANT pg_monitor TO x"), wait=3.0)
    assert (outcome.verdict, outcome.available) == (Verdict.PASS, False)
    assert outcome.evidence.text == "not available: GRANT pg_monitor TO x"
    service = Service(name="postgres", kind="postgres", title="PostgreSQL", address="db", checks=(check("slots"),))
    assert diagnose(service, check("slots"), outcome) is None
    unasked = outcome_of(virtual, not_asked())
    assert (unasked.available, unasked.evidence.sight) == (False, Sight.NOT_ASKED)


def test_the_page_the_api_and_the_terminal_say_what_is_not_available_once(virtual: Callable[..., Any]) -> None:
    why = not_available("<b>GRANT</b> pg_monitor TO x")
    names = ("slots", "transactions")
    checks = {
        name: CheckStatus(check=check(name), outcome=outcome_of(virtual, why), ran_at=1_700_000_000.0) for name in names
    }
    service = Service(
        name="postgres",
        kind="postgres",
        title="PostgreSQL",
        address="db",
        checks=tuple(status.check for status in checks.values()),
    )
    track = Track(state=State.UP, since=1_700_000_000.0, watched_since=1_700_000_000.0)
    board = Board(instance="here", version="1", started_at=1_700_000_000.0)
    board.services["postgres"] = ServiceStatus(service=service, track=track, checks=checks)
    shown = services_document(board)[0]["checks"][0]
    assert (shown["verdict"], shown["available"], shown["evidence"]) == ("pass", False, why.text)
    page = draw(PageSnapshot.take(board, (True, {}), {}, 1_700_000_000.0)).decode()
    assert page.count("slots, transactions not available: &lt;b&gt;GRANT&lt;/b&gt; pg_monitor TO x") == 1
    out = StringIO()
    check_table(board, Console(file=out, width=200))
    assert "slots, transactions not available: <b>GRANT</b>" in out.getvalue()
    assert "The one service is up." in out.getvalue()
