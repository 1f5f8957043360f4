"""LiteLLM's readiness by version: its status is healthy whatever happens, so the status code and db must be read."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from config.causes import Cause
from config.services import Service, discover
from demo.contracts.base import Answer, as_json
from demo.contracts.litellm import LiteLlm
from monitor.diagnose.table import diagnose
from monitor.probes.base import ProbeContext
from monitor.probes.table import run_check

ContextFactory = Callable[[Any], ProbeContext]
URL = {"LITELLM_URL": "http://litellm.test"}
BESIDE = {"DATABASE_URL": "postgresql://u:p@db.test/litellm"}
ALONE = "[services.litellm]\ndepends_on = []\n"


def litellm(environ: Mapping[str, str], watch_file: Path | None = None) -> Service:
    discovery = discover(environ, watch_file=watch_file)
    assert discovery.problems == ()
    return next(service for service in discovery.services if service.kind == "litellm")


def told(service: Service, answers: Any, answered_by: ContextFactory) -> dict[str, Cause]:
    """The cause that each check which is not well names; those of a version before 1.84 are among the plain ones."""

    async def look() -> dict[str, Cause]:
        context = answered_by(answers)
        found: dict[str, Cause] = {}
        for check in service.checks:
            if check.name in ("alive", "ready", "database"):
                diagnosis = diagnose(service, check, await run_check(check, context))
                found |= {check.name: diagnosis.cause} if diagnosis else {}
        return found

    return asyncio.run(look())


class Says(LiteLlm):
    """A LiteLLM whose readiness is exactly this."""

    READINESS: Answer

    async def _readiness(self, _: Any) -> Answer:
        return self.READINESS


def readiness(status: int, body: object) -> LiteLlm:
    made = type("Said", (Says,), {"READINESS": as_json(body, status)})()
    assert isinstance(made, LiteLlm)
    return made


@pytest.mark.parametrize("version", LiteLlm.VERSIONS)
@pytest.mark.parametrize("beside", [True, False])
def test_a_version_that_is_well_is_well_with_and_without_a_database_beside_it(
    answered_by: ContextFactory, version: str, *, beside: bool
) -> None:
    service = litellm({**URL, **(BESIDE if beside else {}), "LITELLM_MASTER_KEY": "sk-demo-master-key"})
    assert told(service, LiteLlm(version=version), answered_by) == {}


@pytest.mark.parametrize("version", LiteLlm.VERSIONS)
@pytest.mark.parametrize("allowed", [True, False])
def test_a_lost_database_is_told_of_every_version(answered_by: ContextFactory, version: str, *, allowed: bool) -> None:
    """1.83.10 says it to a key alone; every other one to anybody, whatever its status code is."""
    broken = LiteLlm(version=version, db="disconnected", allow_requests_on_db_unavailable=allowed)
    by_anybody = told(litellm({**URL, **BESIDE}), broken, answered_by)
    assert by_anybody == ({} if version == "1.83.10" else {"ready": Cause.DEPENDENCY})
    with_key = litellm({**URL, **BESIDE, "LITELLM_MASTER_KEY": broken.master_key})
    assert Cause.DEPENDENCY in told(with_key, broken, answered_by).values()


@pytest.mark.parametrize("version", LiteLlm.VERSIONS)
def test_a_database_that_was_never_there_is_a_fault_only_where_one_is_expected(
    answered_by: ContextFactory, tmp_path: Path, version: str
) -> None:
    never = LiteLlm(version=version, db="Not connected")
    silent = version == "1.83.10"  # which says nothing of it without a key
    assert told(litellm({**URL, **BESIDE}), never, answered_by) == ({} if silent else {"ready": Cause.DEPENDENCY})
    assert told(litellm(URL), never, answered_by) == {}
    file = tmp_path / "watch.toml"
    file.write_text(ALONE)
    assert told(litellm({**URL, **BESIDE}, file), never, answered_by) == {}
    # Who runs it without one on purpose is told where to say so.
    assert "WATCH_FILE: depends_on without postgres" in litellm({**URL, **BESIDE}).remedies[Cause.DEPENDENCY]
    with_key = litellm({**URL, **BESIDE, "LITELLM_MASTER_KEY": never.master_key})
    assert Cause.DEPENDENCY in told(with_key, never, answered_by).values()


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [
        (200, {"status": "healthy", "db": "connected"}, None),
        (200, {"status": "healthy"}, None),
        (200, {"status": "connected", "db": "connected"}, None),
        (200, {"status": "healthy", "db": "disconnected"}, Cause.DEPENDENCY),
        (503, {"status": "healthy", "db": "disconnected"}, Cause.DEPENDENCY),
        (200, {"status": "healthy", "db": "Not connected"}, Cause.DEPENDENCY),
        (503, {"detail": "Service Unhealthy (connection refused)"}, Cause.DEPENDENCY),
        (503, {"status": "healthy", "db": "connected"}, Cause.SERVER_ERROR),
        (503, {"status": "shutting_down"}, Cause.STOPPING),
        (200, {"status": "unhealthy", "db": "connected"}, Cause.BAD_ANSWER),
        (200, {"db": "connected"}, Cause.BAD_ANSWER),
        (200, [], Cause.BAD_ANSWER),
    ],
)
def test_each_answer_means_what_it_means(
    answered_by: ContextFactory, status: int, body: object, cause: Cause | None
) -> None:
    service = litellm({**URL, **BESIDE})
    assert told(service, readiness(status, body), answered_by) == ({"ready": cause} if cause else {})


def test_the_real_database_that_is_expected_is_the_one_with_its_suffix(answered_by: ContextFactory) -> None:
    never = LiteLlm(db="Not connected")
    own = {**URL, "DATABASE_URL__LITELLM": BESIDE["DATABASE_URL"]}
    assert told(litellm(own), never, answered_by) == {"ready": Cause.DEPENDENCY}
