"""One round now, judged by itself: what `python -m monitor check` shows."""

import asyncio
import contextlib
import math
import time
from collections.abc import Iterable
from dataclasses import replace
from importlib.metadata import version

from config.services import Check, Service
from monitor.board import Board, CheckStatus, ServiceStatus
from monitor.diagnose.table import diagnose
from monitor.judge import State, Track, judge
from monitor.probes.base import UNDER_WAY, Outcome, ProbeContext, Verdict, clean
from monitor.probes.table import load, run_check
from monitor.surveyor import Surveyor, answered_by_edge
from monitor.vantage import WAITED_IN_VAIN, look

AT_ONCE = 256
SETTLES, SETTLING = 30.0, 2.0  # seconds: Langfuse takes about ten to show a trace that it took

WAKES = 10.0  # seconds from the question that wakes a service to the one that counts


async def look_once(
    services: Iterable[Service],
    *,
    instance: str,
    longest: float = math.inf,
    settles: float = SETTLES,
    wakes: float = WAKES,
) -> Board:
    """Runs every check of `services` once, side by side, and gives the board that follows from this round alone.

    With no second look, one miss is enough: thresholds of one, and no start period. No check is given more than
    `longest` seconds, whatever its own timeout; where that cut it short, the evidence says so. What was sent on its way
    is waited for, `settles` seconds at most. Where the platform's edge answered for a service that may sleep, it is
    asked once more after `wakes` seconds, as the watch does.
    """
    board = Board(instance=instance, version=version("watchkeeper"), started_at=time.time())
    context, gate = ProbeContext(), asyncio.Semaphore(AT_ONCE)
    services = [hasty(service) for service in services]
    load({check.kind for service in services for check in service.checks})
    surveyor = Surveyor(services, context)

    async def ask(check: Check) -> Outcome:
        # The backups are asked by a program of their own, which takes its time to start.
        cap = math.inf if check.kind == "backups" else longest
        async with gate:
            outcome = await settled(check, context, timeout=min(check.timeout, cap), most=settles)
        return cut_short(look(outcome, 0.0), check, cap)

    async def look_at(status: ServiceStatus, one: CheckStatus) -> None:
        outcome = await ask(one.check)
        if outcome.verdict == Verdict.FAIL and answered_by_edge(outcome):
            await asyncio.sleep(wakes)
            outcome = awake(outcome, await ask(one.check), wakes)
        outcome = await surveyor.survey(status.service, one.check, outcome)
        one.outcome, one.ran_at = outcome, time.time()
        one.diagnosis = diagnose(status.service, one.check, outcome)
        one.runs[outcome.verdict] += 1
        status.facts.update(outcome.facts)
        status.track, _ = judge(status.track, status.service, one.check, outcome, one.diagnosis, one.ran_at)
        status.show_decided()

    async with contextlib.aclosing(context), asyncio.TaskGroup() as group:
        for service in services:
            now = time.time()
            statuses = {check.name: CheckStatus(check=check) for check in service.checks}
            status = ServiceStatus(service=service, track=Track(since=now, watched_since=now), checks=statuses)
            board.services[service.name] = status
            for one in statuses.values() if not service.paused else ():
                group.create_task(look_at(status, one))
    return board


async def settled(check: Check, context: ProbeContext, *, timeout: float, most: float) -> Outcome:
    """Runs a check; one that sends something on its way is asked again until that arrived, or for `most` seconds."""
    loop = asyncio.get_running_loop()
    end = loop.time() + most
    outcome = await run_check(check, context, timeout=timeout)
    while outcome.evidence.code == UNDER_WAY and loop.time() < end:
        await asyncio.sleep(SETTLING)
        outcome = await run_check(check, context, timeout=timeout)
    return outcome


def awake(first: Outcome, second: Outcome, pause: float) -> Outcome:
    """The second of two outcomes, `pause` seconds apart, which says what the first one met."""
    if second.verdict == Verdict.PASS:
        text = f"{second.evidence.text}; it was asleep: {pause:g} s before, {first.evidence.text}"
    else:
        text = f"{second.evidence.text}; asked twice, {pause:g} s apart"
    return replace(second, evidence=replace(second.evidence, text=clean(text)))


def cut_short(outcome: Outcome, check: Check, longest: float) -> Outcome:
    """The outcome, which says how long the watch would have waited when it was not given that long."""
    if check.timeout <= longest or outcome.evidence.sight not in WAITED_IN_VAIN:
        return outcome
    text = f"{outcome.evidence.text}; the watch itself waits {check.timeout:g} s"
    return replace(outcome, evidence=replace(outcome.evidence, text=text))


def hasty(service: Service) -> Service:
    """The service judged by one look."""
    checks = tuple(
        replace(check, failure_threshold=1, warn_threshold=1, success_threshold=1) for check in service.checks
    )
    return replace(service, checks=checks, start_period=0.0)


def all_up(board: Board) -> bool:
    """Whether everything that is not paused is up."""
    return all(status.state in (State.UP, State.PAUSED) for status in board.services.values())
