"""What PostgreSQL tells of itself, asked once a minute for all signals of one server."""

from config.checks import PostgresSignalParams
from monitor.probes.attempt import attempt
from monitor.probes.base import Answer, Outcome, ProbeContext, not_available


async def probe(params: PostgresSignalParams, *, timeout: float, context: ProbeContext) -> Outcome:  # noqa: ARG001
    """Asks for one signal."""

    async def ask() -> Answer:
        return not_available("this signal is not written yet")

    return await attempt(ask, timeout=timeout)
