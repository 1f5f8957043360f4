"""What speaks a protocol of its own, against every server that speaks HTTP: it is told that it is not there."""

import asyncio
from collections.abc import Callable

import pytest

from config.causes import Cause
from config.services import Service, discover
from demo.contract import Contract
from demo.contracts.table import KINDS
from monitor.diagnose.table import diagnose
from monitor.net import WatchLoop
from monitor.probes.base import Outcome, ProbeContext, Verdict
from monitor.probes.table import run_check

ContractFactory = Callable[..., Contract]
VARIABLES = {
    "postgres": "postgresql://u:p@127.0.0.1:{port}/d?sslmode=disable",
    "redis": "redis://:p@127.0.0.1:{port}",
    "qdrant-grpc": "127.0.0.1:{port}",
}
NAMES = {"postgres": "DATABASE_URL", "redis": "REDIS_URL", "qdrant-grpc": "QDRANT_GRPC_URL"}


def watched(kind: str, port: int) -> Service:
    (service,) = discover({NAMES[kind]: VARIABLES[kind].format(port=port)}).services
    return service


def look(services: list[Service]) -> list[Outcome]:
    """The first check of each, at once."""

    async def run() -> list[Outcome]:
        context = ProbeContext()
        asked = (run_check(service.checks[0], context, timeout=5.0) for service in services)
        outcomes = await asyncio.gather(*asked)
        await context.aclose()
        return outcomes

    with asyncio.Runner(loop_factory=WatchLoop) as runner:
        return runner.run(run())


@pytest.mark.parametrize("kind", NAMES)
def test_no_server_of_the_stack_passes_for_one_that_speaks_another_protocol(
    contract: ContractFactory, kind: str
) -> None:
    ports = [contract(other).port for other in KINDS]
    services = [watched(kind, port) for port in ports]
    for service, outcome, name in zip(services, look(services), KINDS, strict=True):
        told = diagnose(service, service.checks[0], outcome)
        assert told, name
        assert (outcome.verdict, told.cause) == (Verdict.FAIL, Cause.WRONG_SERVICE), (name, outcome.evidence)
