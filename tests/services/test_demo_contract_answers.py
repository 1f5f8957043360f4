"""The contract servers answer as facts say the real ones do, version by version and fault by fault."""

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import httpx
import pytest

from demo.contract import Contract
from demo.contracts.table import KINDS
from demo.contracts.wire import WIRE_FAULTS

ContractFactory = Callable[..., Contract]
KEY = {"authorization": "Bearer sk-demo-master-key"}
OWUI_KEY = {"authorization": "Bearer sk-demo-open-webui"}
HTML = "<!doctype html>"
SIGTERM_SAYS = "SIGTERM / SIGINT received, shutting down"
CLUSTER = "/minio/health/cluster"
WORKER = "/api/health"
STUCK = "/api/health?failIfQueueConsumptionStuck=true"
WEB = "/api/public/health"
WEB_DB = "/api/public/health?failIfDatabaseUnavailable=true"
WEB_EVENTS = "/api/public/health?failIfNoRecentEvents=true"
READINESS = "/health/readiness"
INGESTION = "/api/public/ingestion"
PAIR = {"authorization": "Basic " + base64.b64encode(b"pk-lf-demo:sk-lf-demo").decode()}
TRACE = {"batch": [{"id": "e1", "type": "trace-create", "body": {"id": "t1"}}]}
PROPAGATION = "/api/health?failIfEventPropagationStuck=true"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One question, and the status and the part of the answer that must come. `says` of type str is searched for."""

    kind: str
    path: str
    status: int = 200
    says: object = ""
    version: str | None = None
    fault: str | None = None
    headers: dict[str, str] | None = None
    method: str = "GET"
    settings: dict[str, object] | None = None
    body: object = None

    def __str__(self) -> str:
        return " ".join(filter(None, (self.kind, self.version, self.fault, self.method, self.path)))


def rows(*cases: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    return cases


def litellm(path: str, status: int, says: object, **more: Any) -> Case:
    return Case(kind="litellm", path=path, status=status, says=says, **more)


def complete(status: int, says: object, **more: Any) -> Case:
    asked = {"headers": KEY, "method": "POST", "body": {"model": "demo-small"}}
    return litellm("/v1/chat/completions", status, says, **(asked | more))


LITELLM = [
    *(litellm(path, 200, "I'm alive!") for path in ("/health/liveliness", "/health/liveness")),
    litellm("/health/liveness", 200, "I'm alive!", version="1.80.8", fault="shutting_down"),
    litellm("/health/liveness", 503, {"status": "shutting_down"}, fault="shutting_down"),
    litellm("/health/liveness", 200, "I'm alive!", fault="db_lost"),
    litellm(READINESS, 200, '"db": "connected"', version="1.80.8"),
    litellm(READINESS, 200, '"litellm_version": "1.80.8"', version="1.80.8"),
    litellm(READINESS, 503, '{"detail": "Service Unhealthy (', version="1.80.8", fault="db_lost"),
    litellm(READINESS, 200, '"db": "disconnected"', version="1.80.8", fault="db_lost_allowed"),
    litellm(READINESS, 200, '"db": "Not connected"', version="1.80.8", fault="db_not_connected"),
    litellm(READINESS, 200, '"db": "disconnected"', version="1.83.0", fault="db_lost"),
    litellm(READINESS, 200, {"status": "healthy"}, version="1.83.10"),
    litellm(READINESS, 200, {"status": "healthy"}, version="1.83.10", fault="db_lost"),
    litellm(READINESS, 200, {"status": "healthy", "db": "connected"}, version="1.84.0"),
    litellm(READINESS, 503, {"status": "healthy", "db": "disconnected"}, version="1.84.0", fault="db_lost"),
    litellm(READINESS, 503, {"status": "healthy", "db": "disconnected"}, version="1.84.0", fault="db_lost_allowed"),
    litellm(READINESS, 200, {"status": "healthy", "db": "Not connected"}, fault="db_not_connected"),
    litellm("/health/readiness/details", 401, "auth_error"),
    litellm("/health/readiness/details", 200, '"cache": "redis"', headers=KEY),
    litellm("/health", 401, "Authentication Error, No api key passed in."),
    litellm("/health", 200, '"unhealthy_count": 0', headers=KEY),
    litellm("/health", 200, '"healthy_count": 0', headers=KEY, fault="provider_key_expired"),
    litellm("/health?model=x", 503, '"healthy_count": 0', headers=KEY, fault="provider_key_expired"),
    litellm("/v1/models", 401, '"type": "auth_error", "param": "None", "code": "401"'),
    litellm("/v1/models", 401, "token_not_found_in_db", headers={"authorization": "Bearer sk-wrong"}),
    litellm("/v1/models", 401, "token_not_found_in_db", headers=KEY, fault="key_changed"),
    litellm("/v1/models", 503, "no_db_connection", headers={"authorization": "Bearer sk-wrong"}, fault="db_lost"),
    litellm("/v1/models", 200, '"id": "demo-small"', headers=KEY),
    litellm("/v1/models", 200, {"data": [], "object": "list"}, headers=KEY, fault="salt_changed"),
    litellm("/health/latest", 200, '"status": "healthy"', headers=KEY),
    litellm("/health/latest", 200, "AuthenticationError", headers=KEY, fault="provider_key_expired"),
    litellm("/health/latest", 200, '"total_models": 0', headers=KEY, settings={"background": False}),
    litellm("/health/latest", 500, "Database not initialized", headers=KEY, fault="db_not_connected"),
    litellm("/v1/models", 200, '"id": "demo-stored"', headers=KEY),
    litellm("/v1/models", 200, '"id": "demo-large"', headers=KEY, fault="stored_models_vanished"),
    litellm(
        "/v1/models", 200, "demo-small", headers={"authorization": "Bearer sk-own"}, settings={"keys": ("sk-own",)}
    ),
    litellm("/health/history", 200, '"total_records": 3', headers=KEY),
    litellm("/health/backlog", 200, {"in_flight_requests": 0}, headers=KEY),
    litellm("/health/services", 400, "Service must be specified", headers=KEY),
    litellm("/health/services?service=langfuse", 200, '"status": "success"', headers=KEY),
    litellm("/metrics", 307, ""),
    litellm("/metrics/", 200, "litellm_requests_metric_total", version="1.84.0"),
    litellm("/metrics/", 401, "auth_error", version="1.85.0"),
    complete(200, "Hello!"),
    complete(200, '"total_tokens": 30'),
    complete(400, "Invalid model name", body={"model": "unknown"}),
    complete(400, "Invalid model name", body=None),
    complete(400, "budget_exceeded", version="1.80.8", fault="budget_exceeded"),
    complete(429, "budget_exceeded", fault="budget_exceeded"),
    complete(503, "overloaded_error", fault="overloaded"),
    complete(401, "litellm.AuthenticationError", fault="provider_key_expired"),
    complete(429, "exceeded your current quota", fault="provider_quota_spent"),
    complete(404, "does not exist", fault="provider_model_retired"),
    complete(500, "Connection error", fault="provider_gone"),
    litellm("/nowhere", 404, {"detail": "Not Found"}),
]

WEB_CASES = [
    Case(kind="langfuse-web", **case)
    for case in rows(
        {"path": WEB, "says": {"status": "OK", "version": "4.16.0"}},
        {"path": WEB, "says": {"status": "OK", "version": "3.120.0"}, "version": "3.120.0"},
        *({"path": WEB, "says": '"OK"', "fault": fault} for fault in ("db_down", "clickhouse_down", "idle")),
        {"path": WEB_DB, "says": '"OK"'},
        {"path": WEB_DB, "status": 503, "says": "Database not available", "fault": "db_down"},
        {"path": WEB_DB, "says": '"OK"', "fault": "clickhouse_down"},
        {"path": WEB_EVENTS, "status": 503, "says": "No events within the last 3 minutes", "fault": "idle"},
        {"path": WEB_EVENTS, "status": 503, "says": "No traces within", "fault": "idle", "version": "3.120.0"},
        {"path": WEB_EVENTS, "status": 503, "says": "Couldn't fetch recent events", "fault": "clickhouse_down"},
        {"path": WEB, "says": '"OK"', "fault": "shutting_down"},
        {"path": WEB, "status": 503, "says": "Health check failed", "fault": "health_failed"},
        {"path": "/api/public/ready", "says": '"OK"'},
        {"path": "/api/public/ready", "status": 500, "says": SIGTERM_SAYS, "fault": "shutting_down"},
        {"path": "/api/public/ready", "status": 503, "says": "Readiness", "fault": "health_failed"},
        {"path": INGESTION, "status": 401, "method": "POST", "says": "No authorization header"},
        {"path": INGESTION, "status": 401, "method": "POST", "headers": {"authorization": "Basic eA=="}},
        {"path": INGESTION, "status": 405, "headers": PAIR},
        *(
            {"path": INGESTION, "method": "POST", "headers": PAIR, "body": TRACE, **case}
            for case in rows(
                {"status": 207, "says": '"errors": []'},
                {"status": 500, "says": "Failed to upload events to blob storage", "fault": "bucket_missing"},
                {"status": 401, "says": "Invalid credentials", "fault": "keys_changed"},
                {"status": 403, "says": "Ingestion suspended", "fault": "suspended"},
                {"status": 207, "says": "events_only", "settings": {"events_only": True}},
            )
        ),
        {"path": "/api/public/traces/t1", "status": 404, "says": "LangfuseNotFoundError", "headers": PAIR},
        {"path": "/api/public/traces/t1", "status": 401},
        {"path": "/api/public/traces/t1", "status": 500, "headers": PAIR, "fault": "queries_fail"},
        {
            "path": "/api/public/traces/t1",
            "status": 404,
            "says": "events_only",
            "headers": PAIR,
            "settings": {"events_only": True},
        },
        {"path": "/api/public/v2/observations?traceId=t1", "says": {"data": [], "meta": {}}, "headers": PAIR},
        {"path": "/api/public/v2/observations", "status": 404, "headers": PAIR, "version": "3.120.0"},
        {"path": "/api/public/projects", "says": '"id": "demo"', "headers": PAIR},
        {"path": "/api/admin/bullmq", "status": 401},
        {"path": "/api/admin/bullmq", "says": "ingestion-queue", "headers": {"authorization": "Bearer demo-admin-key"}},
        {"path": "/", "says": HTML},
        {"path": "/nowhere", "status": 404, "says": HTML},
    )
]

WORKER_CASES = [
    Case(kind="langfuse-worker", **case)
    for case in rows(
        {"path": WORKER, "says": {"status": "ok"}},
        {"path": "/api/ready", "says": {"status": "ok"}},
        *({"path": WORKER, "status": 500, "says": {"status": "error"}, "fault": f} for f in ("db_down", "redis_down")),
        {"path": WORKER, "says": {"status": "ok"}, "fault": "shutting_down"},
        {"path": "/api/ready", "status": 500, "says": {"status": SIGTERM_SAYS}, "fault": "shutting_down"},
        {"path": WORKER, "says": {"status": "ok"}, "fault": "queue_stuck"},
        {"path": STUCK, "says": '{"status": "ok", "queueConsumption": {"enabled": true'},
        {"path": STUCK, "says": {"status": "ok"}, "version": "4.14.0"},
        {"path": STUCK, "status": 503, "says": "Queue consumption stuck", "fault": "queue_stuck"},
        {"path": STUCK, "says": {"status": "ok"}, "fault": "queue_stuck", "version": "4.14.0"},
        {"path": PROPAGATION, "says": '"propagationDelaySeconds": 240'},
        {"path": PROPAGATION, "says": '"enabled": false', "settings": {"write_mode": "legacy"}},
        {"path": PROPAGATION, "status": 503, "says": "Event propagation stuck", "fault": "propagation_stuck"},
        {"path": PROPAGATION, "says": '"propagationDelaySeconds": 2400', "fault": "propagation_behind"},
        {"path": "/health", "status": 404},
    )
]

WEBUI_CASES = [
    Case(kind="open-webui", **case)
    for case in rows(
        {"path": "/health", "says": {"status": True}},
        {"path": "/health", "says": {"status": True}, "fault": "db_down"},
        {"path": "/health/db", "says": {"status": True}},
        {"path": "/health/db", "status": 500, "says": "Internal Server Error", "fault": "db_down"},
        {"path": "/health/db", "status": 500, "fault": "db_session_broken"},
        {"path": "/ready", "says": {"status": True}},
        {"path": "/ready", "says": HTML, "version": "0.6.5"},
        {"path": "/ready", "status": 503, "says": {"detail": "Startup not complete"}, "fault": "startup"},
        {"path": "/ready", "status": 503, "says": {"detail": "Database not ready"}, "fault": "db_down"},
        {"path": "/ready", "status": 503, "says": {"detail": "Redis not ready"}, "fault": "redis_down"},
        {"path": "/readyz", "says": HTML},
        {"path": "/nowhere.js", "status": 404},
        {"path": "/nowhere", "status": 404, "says": {"detail": "Not Found"}, "fault": "no_frontend"},
        {"path": "/api/version", "says": {"version": "0.9.0"}},
        {"path": "/api/models", "status": 401},
        {"path": "/api/models", "says": "demo-small", "headers": OWUI_KEY},
        {"path": "/api/models", "says": {"data": []}, "headers": OWUI_KEY, "fault": "stale_key"},
        {"path": "/api/models", "status": 403, "says": "not enabled", "headers": OWUI_KEY, "fault": "api_keys_off"},
        {"path": "/api/models", "status": 401, "headers": OWUI_KEY, "fault": "api_key_deleted"},
    )
]

LOCKED = {"api_key": "demo"}
QDRANT_CASES = [
    Case(kind="qdrant", **case)
    for case in rows(
        {"path": "/", "says": '"title": "qdrant - vector search engine", "version": "1.13.1"', "version": "1.13.1"},
        {"path": "/health", "status": 404},
        {"path": "/health", "status": 401, "says": "Must provide an API key", "settings": LOCKED},
        *({"path": p, "says": "healthz check passed", "settings": LOCKED} for p in ("/healthz", "/livez")),
        {"path": "/readyz", "says": "all shards are ready", "settings": LOCKED},
        {"path": "/readyz", "status": 503, "says": "some shards are not ready", "fault": "not_ready"},
        {"path": "/readyz", "says": "all shards are ready", "fault": "disk_full"},
        *({"path": p, "status": 401, "settings": LOCKED} for p in ("/metrics", "/telemetry", "/collections")),
        *(
            {"path": "/collections", "says": '"name": "documents"', "settings": LOCKED, "headers": headers}
            for headers in ({"api-key": "demo"}, {"authorization": "Bearer demo"})
        ),
        {
            "path": "/collections",
            "status": 401,
            "says": "Invalid API key or JWT",
            "settings": LOCKED,
            "headers": {"api-key": "demo"},
            "fault": "key_changed",
        },
        {"path": "/healthz", "settings": LOCKED, "fault": "key_changed"},
        {"path": "/healthz", "status": 403, "settings": LOCKED, "fault": "cloud_403"},
        {"path": "/collections/documents", "says": '"status": "green", "optimizer_status": "ok"'},
        *(
            {"path": "/collections/documents", "says": f'"status": "{colour}"', "fault": f"collection_{colour}"}
            for colour in ("yellow", "grey", "red")
        ),
        {"path": "/collections/documents", "says": "No space left on device (os error 28)", "fault": "disk_full"},
        {"path": "/collections/nothing", "status": 404, "says": "Collection `nothing` doesn't exist!"},
        {"path": "/metrics", "says": "app_status_recovery_mode 1", "fault": "recovery_mode"},
    )
]

OTHER_CASES = [
    Case(kind="r2r", path="/v3/health", says={"results": {"message": "ok"}}),
    Case(kind="r2r", path="/v3/health", says={"results": {"message": "ok"}}, fault="db_down"),
    Case(kind="r2r", path="/health", status=404, says={"detail": "Not Found"}),
    Case(kind="r2r", path="/v3/system/status", says="uptime_seconds"),
    Case(kind="r2r", path="/v3/system/status", status=401, says="No credentials", fault="authentication"),
    Case(kind="r2r", path="/v3/documents", status=401, says="Invalid token", headers={"x-api-key": "pk_a.sk_b"}),
    Case(kind="r2r", path="/v3/documents", status=500, says="Internal Server Error", fault="db_down"),
    Case(kind="react-client", path="/", says=HTML),
    Case(kind="react-client", path="/any/path", says=HTML),
    Case(kind="react-client", path="/", status=403, fault="not_built"),
    Case(kind="saas-api", path="/health", says={"status": "healthy", "service": "saas-llm-api"}),
    *(
        Case(kind=kind, path="/health", says={"status": "healthy"})
        for kind in ("api-gateway", "chat", "inference", "agent", "retrieval")
    ),
    Case(kind="chat", path="/health", says={"status": "unhealthy"}, fault="unhealthy"),
    Case(kind="chat", path="/", status=404, says={"detail": "Not Found"}),
    Case(kind="api-gateway", path="/health", status=500, says={"detail": "Internal server error"}, fault="crashing"),
]


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    """One client for all: making one costs 25 ms, and no cookie or connection is kept."""
    with httpx.Client(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0)) as shared:
        yield shared


@pytest.mark.parametrize(
    "case", [*LITELLM, *WEB_CASES, *WORKER_CASES, *WEBUI_CASES, *QDRANT_CASES, *OTHER_CASES], ids=str
)
def test_answers_as_the_real_service_of_that_version(
    case: Case, contract: ContractFactory, client: httpx.Client
) -> None:
    server = contract(case.kind, version=case.version, fault=case.fault, **(case.settings or {}))
    answer = client.request(case.method, server.url + case.path, headers=case.headers, json=case.body)
    assert answer.status_code == case.status
    if isinstance(case.says, str):
        assert case.says in answer.text
    else:
        assert answer.json() == case.says
    if case.says == HTML:
        assert answer.headers["content-type"].startswith("text/html")


@pytest.mark.parametrize(
    ("path", "fault", "status", "headers"),
    [
        ("/minio/health/live", None, 200, {"x-minio-server-status": None, "server": "MinIO"}),
        ("/minio/health/live", "booting", 200, {"x-minio-server-status": "offline"}),
        ("/minio/health/ready", "offline", 200, {"x-minio-server-status": "offline"}),
        ("/minio/health/live", "busy", 503, {}),
        ("/minio/health/live", "kms_down", 200, {}),
        ("/minio/health/ready", "kms_down", 503, {}),
        (CLUSTER, None, 200, {"x-minio-write-quorum": "3", "x-minio-server-status": None}),
        (CLUSTER, "offline", 503, {"x-minio-server-status": "offline"}),
        (CLUSTER, "metadata_offline", 503, {"x-minio-server-status": "bucket-metadata-offline"}),
        (CLUSTER, "iam_offline", 503, {"x-minio-server-status": "iam-offline"}),
        (CLUSTER, "no_quorum", 503, {"x-minio-server-status": None, "x-minio-write-quorum": "3"}),
        (f"{CLUSTER}/read", "no_quorum", 503, {"x-minio-read-quorum": "2"}),
        (CLUSTER, "read_only", 503, {}),
        (f"{CLUSTER}/read", "read_only", 200, {}),
        (CLUSTER, "healing", 200, {"x-minio-healing-drives": "1"}),
        (CLUSTER, "maintenance", 200, {}),
        (f"{CLUSTER}?maintenance=true", "maintenance", 412, {}),
        (f"{CLUSTER}?maintenance=true", None, 200, {}),
        ("/backups", None, 403, {"content-type": "application/xml"}),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_minio_tells_in_status_and_headers(
    method: str,
    path: str,
    fault: str | None,
    status: int,
    headers: dict[str, str | None],
    contract: ContractFactory,
    client: httpx.Client,
) -> None:
    answer = client.request(method, contract("minio", fault=fault).url + path)
    assert (answer.status_code, {name: answer.headers.get(name) for name in headers}) == (status, headers)


def test_litellm_counts_the_calls_that_cost_money(contract: ContractFactory, client: httpx.Client) -> None:
    server = contract("litellm")
    for path in ("/health/readiness", "/health/latest", "/v1/models", "/health/services?service=langfuse"):
        client.get(server.url + path, headers=KEY)
    client.get(f"{server.url}/health")  # without a key nothing is called
    assert server.counts == {"mock_traces": 1}
    client.get(f"{server.url}/health", headers=KEY)
    assert server.counts["paid_calls"] == 3  # one for each model
    assert server.seen["GET /health"] == 2


def test_langfuse_shows_a_trace_once_it_has_arrived(contract: ContractFactory, client: httpx.Client) -> None:
    server = contract("langfuse-web")
    assert client.post(server.url + INGESTION, headers=PAIR, json=TRACE).status_code == 207
    assert client.get(f"{server.url}/api/public/traces/t1", headers=PAIR).json()["id"] == "t1"
    server.break_with("traces_lost")
    assert client.get(f"{server.url}/api/public/traces/t1", headers=PAIR).status_code == 404


def test_langfuse_in_its_newest_mode_takes_spans(contract: ContractFactory, client: httpx.Client) -> None:
    server = contract("langfuse-web", events_only=True)
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [{"traceId": "t2"}]}]}]}
    assert client.post(f"{server.url}/api/public/otel/v1/traces", headers=PAIR, json=body).status_code == 200
    found = client.get(f"{server.url}/api/public/v2/observations?traceId=t2", headers=PAIR)
    assert found.json()["data"][0]["traceId"] == "t2"


@pytest.mark.parametrize("kind", KINDS)
def test_every_fault_of_a_service_changes_a_field_it_has(kind: str) -> None:
    service = KINDS[kind]()  # type: ignore[call-arg]  # every subclass gives version a default
    names = {f.name for f in fields(service)}
    for name, fault in service.FAULTS.items():
        assert fault.changes, name
        assert fault.changes.keys() <= names, name
        assert any(getattr(service, field) != value for field, value in fault.changes.items()), name
    assert service.version == list(service.VERSIONS)[-1]
    assert not service.FAULTS.keys() & WIRE_FAULTS.keys()
