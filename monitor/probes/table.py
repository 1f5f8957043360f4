"""Every kind of probe, and running one with a deadline that holds whatever the probe does."""

import asyncio
from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import replace
from importlib import import_module
from typing import Any

from config.kinds import PARAMS, SIGNALS
from config.services import Check
from monitor.probes.base import Evidence, Outcome, Probe, ProbeContext, Sight, Verdict, clean

# A probe keeps its own deadline; beyond it by this many seconds it counts as hung and is cancelled.
MARGIN = 0.5
# Seconds for a probe whose own deadline came due just now.
TURN = 0.05
# How long a cancelled probe may take to close its connection before it is left behind.
PATIENCE = 0.5


KINDS = (*PARAMS, "backups")


def _lazy(kind: str) -> Probe:
    """Client libraries load only for the kinds that are configured: the module is imported at its first run."""

    def probe(params: Any, *, timeout: float, context: ProbeContext) -> Awaitable[Outcome]:
        # Imported here and not in a coroutine, so that it is done before the deadline begins to run.
        run: Probe = import_module(f"monitor.probes.{kind}").probe
        return run(params, timeout=timeout, context=context)

    return probe


PROBES: Mapping[str, Probe] = {kind: _lazy(kind) for kind in KINDS}


def load(kinds: Iterable[str]) -> None:
    """Imports the probes of `kinds` now, so that the first round is not late for it."""
    for kind in kinds:
        import_module(f"monitor.probes.{kind}")


async def run_check(
    check: Check, context: ProbeContext, *, timeout: float | None = None, probes: Mapping[str, Probe] = PROBES
) -> Outcome:
    """Runs `check` once and gives its Outcome within `timeout` (else the check's own) seconds and a small margin.

    Whatever escapes a probe becomes verdict unknown with sight fault. A probe that outlives its deadline is cancelled
    and counted in `context.hung`. A pass slower than the check's latency_threshold becomes a warning with sign "slow",
    but for signals.
    Raises nothing but CancelledError.
    """
    seconds = check.timeout if timeout is None else timeout
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        task = asyncio.ensure_future(probes[check.kind](check.params, timeout=seconds, context=context))
    except Exception as error:  # noqa: BLE001 -- a client library that does not load must not end the round
        return _fault(f"the probe did not load: {type(error).__name__}: {error}", 0.0)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds + MARGIN)
        if not done:
            # After a stall of the loop both deadlines come due in one turn; the probe's own goes first.
            done, _ = await asyncio.wait({task}, timeout=TURN)
        if not done:
            context.hung += 1
            task.cancel()
            await asyncio.wait({task}, timeout=PATIENCE)
            return _fault(f"the probe did not keep its deadline of {seconds:g} s", loop.time() - began)
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait({task}, timeout=PATIENCE)
        raise
    if task.cancelled():
        return _fault("the probe was cancelled from within", loop.time() - began)
    broken = task.exception()
    if broken is not None:
        return _fault(f"the probe broke: {type(broken).__name__}: {broken}", loop.time() - began)
    return _judge_speed(task.result(), None if check.kind in SIGNALS else check.latency_threshold)


def _fault(text: str, latency: float) -> Outcome:
    return Outcome(verdict=Verdict.UNKNOWN, latency=latency, evidence=Evidence(sight=Sight.FAULT, text=clean(text)))


def _judge_speed(outcome: Outcome, threshold: float | None) -> Outcome:
    if threshold is None or outcome.verdict != Verdict.PASS or outcome.latency <= threshold:
        return outcome
    text = clean(f"answered in {outcome.latency:.2f} s, more than {threshold:g} s; {outcome.evidence.text}")
    return replace(outcome, verdict=Verdict.WARN, evidence=replace(outcome.evidence, sign="slow", text=text))
