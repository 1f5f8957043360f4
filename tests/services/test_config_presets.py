"""Each preset against its service's answers, version by version and fault by fault: what is seen, and why."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from config.causes import Cause
from config.checks import HttpParams
from config.services import Service, discover
from demo.contract import Contract
from demo.contracts.table import KINDS
from monitor.diagnose.table import diagnose
from monitor.probes.base import ProbeContext, Verdict
from monitor.probes.table import load, run_check

ContractFactory = Callable[..., Contract]
Seen = dict[str, tuple[Verdict, Cause | None]]

WELL = [(kind, version) for kind, service in KINDS.items() for version in service.VERSIONS]

# kind, version (None: the newest), fault, and what each check that is not well says. Other checks pass.
FAULTS = [
    ("litellm", "1.80.8", "db_lost", {"ready": ("fail", Cause.DEPENDENCY)}),
    ("litellm", "1.83.0", "db_lost", {"ready": ("fail", Cause.DEPENDENCY)}),
    ("litellm", "1.83.10", "db_lost", {"database": ("fail", Cause.DEPENDENCY)}),  # its readiness says nothing
    ("litellm", "1.84.0", "db_lost", dict.fromkeys(("ready", "database"), ("fail", Cause.DEPENDENCY))),
    ("litellm", "1.80.8", "db_lost_allowed", {"ready": ("fail", Cause.DEPENDENCY)}),
    ("litellm", None, "db_not_connected", dict.fromkeys(("ready", "database"), ("fail", Cause.DEPENDENCY))),
    ("litellm", None, "shutting_down", {"alive": ("fail", Cause.STOPPING)}),
    ("litellm", None, "key_changed", {"models": ("fail", Cause.AUTH)}),
    ("litellm", None, "salt_changed", {"models": ("warn", Cause.BAD_ANSWER)}),
    ("langfuse-web", "3.120.0", "db_down", {"health": ("fail", Cause.DEPENDENCY)}),
    ("langfuse-web", None, "db_down", {"health": ("fail", Cause.DEPENDENCY)}),
    ("langfuse-web", None, "clickhouse_down", {"events": ("fail", Cause.DEPENDENCY)}),
    ("langfuse-web", "3.120.0", "idle", {}),
    ("langfuse-web", None, "idle", {}),
    ("langfuse-web", None, "shutting_down", {"ready": ("fail", Cause.STOPPING)}),
    ("langfuse-worker", None, "db_down", dict.fromkeys(("health", "ready"), ("fail", Cause.DEPENDENCY))),
    ("langfuse-worker", None, "redis_down", dict.fromkeys(("health", "ready"), ("fail", Cause.DEPENDENCY))),
    ("langfuse-worker", None, "queue_stuck", {"health": ("fail", Cause.CAPACITY)}),
    ("langfuse-worker", None, "shutting_down", {"ready": ("fail", Cause.STOPPING)}),
    ("langfuse-worker", None, "propagation_stuck", {"ready": ("fail", Cause.CAPACITY)}),
    ("langfuse-worker", "4.14.0", "propagation_stuck", {}),
    ("open-webui", None, "startup", {"ready": ("fail", Cause.STARTING)}),
    ("open-webui", None, "db_down", {"ready": ("fail", Cause.DEPENDENCY)}),
    ("open-webui", None, "redis_down", {"ready": ("fail", Cause.DEPENDENCY)}),
    ("qdrant", None, "not_ready", {"ready": ("fail", Cause.STARTING)}),
    ("qdrant", None, "collection_yellow", {}),
    ("qdrant", None, "collection_grey", {}),
    ("qdrant", None, "disk_full", {"collections": ("fail", Cause.CAPACITY)}),
    ("qdrant", "1.13.1", "collection_red", {"collections": ("warn", Cause.SERVER_ERROR)}),
    ("qdrant", None, "cloud_403", dict.fromkeys(("ready", "identity"), ("fail", Cause.AUTH))),
    ("minio", None, "booting", {"cluster": ("fail", Cause.STARTING)}),
    ("minio", None, "iam_offline", {"cluster": ("fail", Cause.STARTING)}),
    ("minio", None, "metadata_offline", {"cluster": ("fail", Cause.STARTING)}),
    ("minio", None, "no_quorum", {"cluster": ("fail", Cause.CAPACITY)}),
    ("minio", None, "read_only", {"cluster": ("fail", Cause.CAPACITY)}),
    ("minio", None, "healing", {}),
    ("minio", None, "maintenance", {}),
    ("minio", None, "html", {"cluster": ("fail", Cause.WRONG_SERVICE)}),
    ("minio", None, "http_404_edge", {"cluster": ("fail", Cause.NOT_FOUND)}),
    ("minio", None, "not_found", {"cluster": ("fail", Cause.WRONG_SERVICE)}),
    ("minio", None, "wrong_service", {"cluster": ("fail", Cause.WRONG_SERVICE)}),
    ("minio", None, "http_503", {"cluster": ("fail", Cause.SERVER_ERROR)}),
    ("saas-api", None, "unhealthy", {"health": ("fail", Cause.BAD_ANSWER)}),
    ("saas-api", None, "wrong_service", {"health": ("fail", Cause.WRONG_SERVICE)}),
    ("react-client", None, "not_built", {"page": ("fail", Cause.NOT_FOUND)}),
    ("chat", None, "unhealthy", {"health": ("fail", Cause.BAD_ANSWER)}),
    ("api-gateway", None, "crashing", dict.fromkeys(("health", "identity"), ("fail", Cause.SERVER_ERROR))),
    ("r2r", None, "db_down", {"documents": ("fail", Cause.DEPENDENCY)}),
    ("r2r", None, "authentication", {}),
    ("react-client", None, "default_page", {"page": ("fail", Cause.NOT_FOUND)}),
    ("react-client", None, "listing", {"page": ("fail", Cause.NOT_FOUND)}),
    ("react-client", None, "bad_json", {"page": ("fail", Cause.BAD_ANSWER)}),
    ("react-client", None, "html", {"page": ("fail", Cause.WRONG_SERVICE)}),
    ("react-client", None, "sign_in", {"page": ("fail", Cause.WRONG_SERVICE)}),
    ("react-client", None, "other_client", {"page": ("fail", Cause.WRONG_SERVICE)}),
]

# Faults any service can have, and the cause that each of its checks whose miss means "down" must name.
ANYWHERE = {
    "refuse": {Cause.REFUSED},
    "http_500": {Cause.SERVER_ERROR},
    "http_502_edge": {Cause.SERVER_ERROR},
    "http_404_edge": {Cause.NOT_FOUND},
    "unauthorized": {Cause.AUTH},
    "empty": {Cause.BAD_ANSWER, Cause.WRONG_SERVICE},
}


def watched(server: Contract) -> Service:
    """The service as its variables make it. A database beside it makes LiteLLM's readiness expect one."""
    environ = {**server.environ(), "DATABASE_URL": "postgresql://db.invalid/x", "PROBE_TIMEOUT": "2"}
    discovery = discover(environ)
    assert discovery.problems == ()
    return next(service for service in discovery.services if service.kind == server.kind)


def look(service: Service) -> Seen:
    """Every check of the service but the signed one (contracts store nothing), once."""
    checks = [check for check in service.checks if check.kind in ("http", "qdrant_signal")]
    load({"http"})

    async def run() -> Seen:
        context = ProbeContext()
        outcomes = await asyncio.gather(*(run_check(check, context) for check in checks))
        found = zip(checks, outcomes, strict=True)
        causes = {check.name: (outcome, diagnose(service, check, outcome)) for check, outcome in found}
        return {name: (outcome.verdict, told.cause if told else None) for name, (outcome, told) in causes.items()}

    return asyncio.run(run())


def plain(service: Service) -> list[str]:
    """The checks by which alone a service is down when it does not answer as itself."""
    beside = ("documents", "identity") if service.kind != "qdrant" else ()
    checks = [check for check in service.checks if check.kind == "http" and check.name not in beside]
    return [check.name for check in checks if check.severity == "down"]


@pytest.mark.parametrize(("kind", "version"), WELL)
def test_a_service_that_is_well_passes_every_check(contract: ContractFactory, kind: str, version: str) -> None:
    seen = look(watched(contract(kind, version=version)))
    assert seen
    assert {name: verdict for name, (verdict, _) in seen.items() if verdict != Verdict.PASS} == {}


@pytest.mark.parametrize(("kind", "version", "fault", "expected"), FAULTS)
def test_a_fault_is_seen_by_the_check_that_is_meant_for_it(
    contract: ContractFactory, kind: str, version: str | None, fault: str, expected: dict[str, tuple[str, Cause | None]]
) -> None:
    server = contract(kind, version=version)
    service = watched(server)
    server.break_with(fault)
    seen = {name: told for name, told in look(service).items() if told[0] != Verdict.PASS}
    assert {name: verdict.value for name, (verdict, _) in seen.items()} == {
        name: verdict for name, (verdict, _) in expected.items()
    }
    for name, (_, cause) in expected.items():
        assert cause in (seen[name][1], None)


@pytest.mark.parametrize("fault", ANYWHERE)
@pytest.mark.parametrize("kind", ["litellm", "langfuse-web", "langfuse-worker", "open-webui", "r2r", "qdrant", "chat"])
def test_a_fault_any_service_can_have_is_told_by_its_cause(contract: ContractFactory, kind: str, fault: str) -> None:
    server = contract(kind)
    service = watched(server)
    server.break_with(fault)
    seen = look(service)
    down = plain(service)
    assert {seen[name][0] for name in down} == {Verdict.FAIL}
    assert {seen[name][1] for name in down} <= ANYWHERE[fault]


@pytest.mark.parametrize(
    "kind", ["litellm", "langfuse-web", "langfuse-worker", "open-webui", "r2r", "qdrant", "saas-api"]
)
@pytest.mark.parametrize("fault", ["html", "wrong_service"])
def test_another_service_at_the_address_is_told_apart(contract: ContractFactory, kind: str, fault: str) -> None:
    server = contract(kind)
    service = watched(server)
    server.break_with(fault)
    seen = look(service)
    assert {seen[name][1] for name in plain(service)} <= {Cause.WRONG_SERVICE, Cause.NOT_FOUND, Cause.BAD_ANSWER}
    assert Verdict.PASS not in {seen[name][0] for name in plain(service)}


def test_litellm_is_never_asked_the_question_that_costs_money(contract: ContractFactory) -> None:
    server = contract("litellm")
    look(watched(server))
    assert server.counts["paid_calls"] == 0
    assert "GET /health" not in server.seen
    assert server.seen["GET /health/readiness"] == 1


def test_qdrant_is_never_asked_for_a_path_it_has_not(contract: ContractFactory) -> None:
    server = contract("qdrant", api_key="k")
    look(watched(server))
    listed = {"GET /collections", "GET /collections/documents", "GET /metrics"}
    assert set(server.seen) == {"GET /readyz", "GET /", *listed}


def test_an_r2r_that_wants_a_key_is_asked_with_ours(contract: ContractFactory) -> None:
    server = contract("r2r", api_key="pk_a.sk_b")
    service = watched(server)
    assert look(service)["documents"] == (Verdict.PASS, None)
    server.break_with("authentication")
    assert look(service)["documents"] == (Verdict.WARN, Cause.AUTH)


def test_a_qdrant_key_that_is_refused(contract: ContractFactory) -> None:
    server = contract("qdrant", api_key="k")
    service = watched(server)
    server.break_with("key_changed")
    seen = look(service)
    assert seen["key"] == (Verdict.FAIL, Cause.AUTH)
    assert (seen["ready"][0], seen["identity"][0]) == (Verdict.PASS, Verdict.PASS)


@pytest.mark.parametrize("version", [None, "1.80.8"])
def test_a_spent_budget_of_our_own_key_is_no_outage(contract: ContractFactory, version: str | None) -> None:
    """LiteLLM answers any question of such a key so; the stand-in does for completions."""
    server = contract("litellm", version=version, fault="budget_exceeded")
    check = next(check for check in watched(server).checks if check.name == "models")
    assert isinstance(check.params, HttpParams)
    params = replace(check.params, paths=("/v1/chat/completions",), method="POST")
    outcome = asyncio.run(run_check(replace(check, params=params), ProbeContext()))
    assert (outcome.verdict, outcome.evidence.sign) == (Verdict.PASS, "budget_exceeded")
