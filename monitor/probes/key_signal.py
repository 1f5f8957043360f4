"""What a service says to the key another one holds for it."""

from config.checks import KeySignalParams
from monitor.probes.attempt import attempt
from monitor.probes.base import Answer, Outcome, ProbeContext, not_available


async def probe(params: KeySignalParams, *, timeout: float, context: ProbeContext) -> Outcome:  # noqa: ARG001 -- not yet
    """Asks for one signal."""

    async def ask() -> Answer:
        return not_available("this signal is not written yet")

    return await attempt(ask, timeout=timeout)
