"""What Open WebUI lists."""

from config.checks import OpenwebuiSignalParams
from monitor.probes.attempt import attempt
from monitor.probes.base import Answer, Outcome, ProbeContext, not_available


async def probe(params: OpenwebuiSignalParams, *, timeout: float, context: ProbeContext) -> Outcome:  # noqa: ARG001 -- not yet
    """Asks for one signal."""

    async def ask() -> Answer:
        return not_available("this signal is not written yet")

    return await attempt(ask, timeout=timeout)
