"""The contract servers answer as facts say the real ones do, and break at the socket as they are told to."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]  # ships no types
import httpx
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # ships no types

from demo.contract import Contract, main
from demo.contracts.needs import Needs
from demo.contracts.process import ContractProcess
from demo.contracts.server import Plan
from demo.contracts.table import KINDS, faults
from demo.contracts.wire import WIRE_FAULTS
from demo.process import DemoError, Keeper

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

    def __str__(self) -> str:
        return " ".join(filter(None, (self.kind, self.version, self.fault, self.method, self.path)))


def rows(*cases: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    return cases


def litellm(path: str, status: int, says: object, **more: Any) -> Case:
    return Case(kind="litellm", path=path, status=status, says=says, **more)


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
    litellm("/health/history", 200, '"total_records": 2', headers=KEY),
    litellm("/health/backlog", 200, {"in_flight_requests": 0}, headers=KEY),
    litellm("/health/services", 400, "Service must be specified", headers=KEY),
    litellm("/health/services?service=langfuse", 200, '"status": "success"', headers=KEY),
    litellm("/metrics", 307, ""),
    litellm("/metrics/", 200, "litellm_requests_metric_total", version="1.84.0"),
    litellm("/metrics/", 401, "auth_error", version="1.85.0"),
    litellm("/v1/chat/completions", 200, "Hello!", headers=KEY, method="POST"),
    litellm("/v1/chat/completions", 400, "budget_exceeded", headers=KEY, version="1.80.8", fault="budget_exceeded"),
    litellm("/v1/chat/completions", 429, "budget_exceeded", headers=KEY, fault="budget_exceeded"),
    litellm("/v1/chat/completions", 503, "overloaded_error", headers=KEY, fault="overloaded"),
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
        {"path": "/api/public/ingestion", "status": 401, "method": "POST"},
        {"path": "/api/public/ingestion", "status": 207, "method": "POST", "headers": {"authorization": "Basic eA=="}},
        {
            "path": "/api/public/ingestion",
            "status": 500,
            "says": "Failed to upload events to blob storage",
            "method": "POST",
            "headers": {"authorization": "Basic eA=="},
            "fault": "bucket_missing",
        },
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
        {"path": STUCK, "says": {"status": "ok"}},
        {"path": STUCK, "status": 503, "says": "Queue consumption stuck", "fault": "queue_stuck"},
        {"path": STUCK, "says": {"status": "ok"}, "fault": "queue_stuck", "version": "4.14.0"},
        {
            "path": "/api/health?failIfEventPropagationStuck=true",
            "status": 503,
            "says": '"propagationDelaySeconds": 2400',
            "fault": "propagation_stuck",
        },
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
    Case(kind="r2r", path="/v3/system/status", status=401, says="error_type"),
    Case(kind="r2r", path="/v3/documents", status=500, says="error_type", fault="db_down"),
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


@pytest.mark.parametrize(
    "case", [*LITELLM, *WEB_CASES, *WORKER_CASES, *WEBUI_CASES, *QDRANT_CASES, *OTHER_CASES], ids=str
)
def test_answers_as_the_real_service_of_that_version(case: Case, contract: ContractFactory) -> None:
    server = contract(case.kind, version=case.version, fault=case.fault, **(case.settings or {}))
    answer = httpx.request(case.method, server.url + case.path, headers=case.headers, trust_env=False)
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
) -> None:
    answer = httpx.request(method, contract("minio", fault=fault).url + path, trust_env=False)
    assert (answer.status_code, {name: answer.headers.get(name) for name in headers}) == (status, headers)


def test_litellm_counts_the_calls_that_cost_money(contract: ContractFactory) -> None:
    server = contract("litellm")
    for path in ("/health/readiness", "/health/latest", "/v1/models", "/health/services?service=langfuse"):
        httpx.get(server.url + path, headers=KEY, trust_env=False)
    httpx.get(f"{server.url}/health", trust_env=False)  # without a key nothing is called
    assert server.counts == {"mock_traces": 1}
    httpx.get(f"{server.url}/health", headers=KEY, trust_env=False)
    assert server.counts["paid_calls"] == 2  # one for each model
    assert server.seen["GET /health"] == 2


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


def test_what_is_not_known_is_named(contract: ContractFactory) -> None:
    with pytest.raises(ValueError, match="no contract 'qdrnt'; there are litellm"):
        Contract("qdrnt")
    with pytest.raises(ValueError, match="qdrant has no setting apikey; it has api_key"):
        Contract("qdrant", apikey="x")
    with pytest.raises(ValueError, match="litellm has no gRPC port"):
        Contract("litellm", grpc_port=0)
    with pytest.raises(ValueError, match="listens on one of 127"):
        Contract("qdrant", host="0.0.0.0")
    with pytest.raises(ValueError, match="r2r has no fault 'hagn'; it has db_down"):
        contract("r2r").break_with("hagn")


# At the socket.


def dial(server: Contract, *, timeout: float = 2.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout)


def ask(server: Contract, path: str = "/health", *, timeout: float = 2.0) -> bytes:
    """The bytes of one answer, to the end of the connection."""
    with dial(server, timeout=timeout) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        return read_to_end(sock)


def read_to_end(sock: socket.socket) -> bytes:
    received = b""
    while data := sock.recv(65_536):
        received += data
    return received


@pytest.fixture
def chat(contract: ContractFactory) -> Contract:
    return contract("chat")


def test_refuse_is_a_closed_port_of_the_same_number(chat: Contract) -> None:
    with dial(chat) as idle:
        idle.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert idle.recv(65_536).endswith(b"}")
        chat.break_with("refuse")
        assert idle.recv(1) == b""  # the dead process's connections ended too
    port = chat.port
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            dial(chat)
    with socket.socket() as thief, pytest.raises(OSError, match="in use"):
        thief.bind(("127.0.0.1", port))  # nobody is given the number meanwhile
    chat.mend()
    assert chat.port == port
    assert b"healthy" in ask(chat)


def test_reset_is_a_rst(chat: Contract) -> None:
    chat.break_with("reset")
    with dial(chat) as sock, pytest.raises(ConnectionResetError):
        sock.recv(1)
    chat.break_with("reset_midway")
    with dial(chat) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert sock.recv(4) == b"HTTP"
        with pytest.raises(ConnectionResetError):
            read_to_end(sock)


def test_close_is_a_fin_without_a_byte(chat: Contract) -> None:
    chat.break_with("close")
    assert ask(chat) == b""


def test_hang_accepts_and_never_answers_and_keeps_no_dead_connection(chat: Contract) -> None:
    chat.break_with("hang")
    for _ in range(5):
        with pytest.raises(TimeoutError):
            ask(chat, timeout=0.05)
    wait_until(lambda: not connections_of(chat))


def test_pause_stands_still_and_goes_on(chat: Contract) -> None:
    chat.pause()
    with dial(chat, timeout=0.2) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        with pytest.raises(TimeoutError):
            sock.recv(1)
        chat.resume()
        sock.settimeout(2.0)
        assert sock.recv(12) == b"HTTP/1.1 200"


def test_slow_and_slow_drip_take_their_time(chat: Contract) -> None:
    whole = len(ask(chat))
    chat.break_with("slow", seconds=0.3)
    begun = time.monotonic()
    assert len(ask(chat)) == whole
    assert time.monotonic() - begun >= 0.3
    chat.break_with("slow_drip", seconds=0.001)
    begun = time.monotonic()
    assert len(ask(chat)) == whole
    assert time.monotonic() - begun >= whole * 0.001


def test_truncated_promises_more_than_it_sends(chat: Contract) -> None:
    chat.break_with("truncated")
    head, _, body = ask(chat).partition(b"\r\n\r\n")
    assert int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) > len(body) > 0


def test_garbage_is_no_http(chat: Contract) -> None:
    chat.break_with("garbage")
    assert not ask(chat).startswith(b"HTTP/")


def test_huge_is_as_long_as_it_says_and_stops_with_its_reader(chat: Contract) -> None:
    chat.break_with("huge")
    with dial(chat) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert b"content-length: 67108864" in sock.recv(4096)
    wait_until(lambda: not connections_of(chat))
    assert httpx.get(f"{chat.url}/health", trust_env=False, timeout=20).json()["padding"].startswith("xxx")


@pytest.mark.parametrize(
    ("fault", "status", "says"),
    [
        ("http_500", 500, "Internal Server Error"),
        ("http_503", 503, "Service Unavailable"),
        ("http_502_edge", 502, "Application failed to respond"),
        ("http_404_edge", 404, "Application not found"),
        ("not_found", 404, "Not Found"),
        ("unauthorized", 401, "Unauthorized"),
        ("html", 200, HTML),
        ("wrong_service", 200, "qdrant"),
        ("redirect", 302, ""),
        ("redirect_loop", 302, ""),
        ("empty", 200, ""),
        ("bad_json", 200, '{"status": "ok'),
    ],
)
def test_another_answer_to_everything(fault: str, status: int, says: str, chat: Contract) -> None:
    chat.break_with(fault)
    answer = httpx.get(f"{chat.url}/health", trust_env=False)
    assert (answer.status_code, says in answer.text) == (status, True)
    chat.mend()
    assert httpx.get(f"{chat.url}/health", trust_env=False).json() == {"status": "healthy"}


def test_redirect_leads_to_a_page_and_the_loop_nowhere(chat: Contract) -> None:
    chat.break_with("redirect")
    assert HTML in httpx.get(f"{chat.url}/health", trust_env=False, follow_redirects=True).text
    chat.break_with("redirect_loop")
    with pytest.raises(httpx.TooManyRedirects):
        httpx.get(f"{chat.url}/health", trust_env=False, follow_redirects=True)


def test_every_wire_fault_is_tested_here() -> None:
    source = Path(__file__).read_text()
    assert [name for name in WIRE_FAULTS if f'"{name}"' not in source] == []


def test_a_connection_is_kept_and_a_fault_reaches_it(chat: Contract) -> None:
    with httpx.Client(trust_env=False) as client:
        for _ in range(3):
            assert client.get(f"{chat.url}/health").status_code == 200
        assert len(connections_of(chat)) == 1
        chat.break_with("reset")
        with pytest.raises(httpx.ReadError):
            client.get(f"{chat.url}/health")


def test_what_is_not_http_is_told_so_at_once(chat: Contract) -> None:
    for opening in (b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r\n", b"*1\r\n$4\r\nPING\r\n"):
        with dial(chat) as sock:
            sock.sendall(opening)
            assert sock.recv(4096).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(("host", "families"), [("::1", {"::1"}), ("localhost", {"127.0.0.1", "::1"})])
def test_listens_where_it_is_told(host: str, families: set[str], contract: ContractFactory) -> None:
    server = contract("chat", host=host)
    reached = set()
    for address in ("127.0.0.1", "::1"):
        try:
            socket.create_connection((address, server.port), 2.0).close()
        except ConnectionRefusedError:
            continue
        reached.add(address)
    assert reached == families
    assert httpx.get(f"{server.url}/health", trust_env=False).status_code == 200


# What it truly needs.


def test_only_what_truly_depends_on_redis_fails_with_it(contract: ContractFactory, valkey_gone: str) -> None:
    needs = Needs(redis=valkey_gone)
    expected = {"langfuse-worker": 500, "open-webui": 503, "litellm": 200, "langfuse-web": 200}
    paths = {"langfuse-worker": WORKER, "open-webui": "/ready", "litellm": READINESS, "langfuse-web": WEB_DB}
    got = {
        kind: httpx.get(contract(kind, needs=needs).url + path, trust_env=False).status_code
        for kind, path in paths.items()
    }
    assert got == expected


@pytest.fixture
def valkey_gone(contract: ContractFactory) -> str:
    """The address of a Redis that refuses."""
    return f"redis://127.0.0.1:{contract('chat', fault='refuse').port}/0"


def test_only_what_truly_depends_on_postgres_fails_with_it(contract: ContractFactory) -> None:
    gone = contract("chat", fault="refuse").port
    needs = Needs(postgres=f"postgresql://demo@127.0.0.1:{gone}/litellm")
    asked = {
        ("litellm", READINESS): 503,
        ("litellm", "/health/liveness"): 200,
        ("langfuse-web", WEB): 200,
        ("langfuse-web", WEB_DB): 503,
        ("langfuse-web", "/api/public/ready"): 200,
        ("langfuse-worker", WORKER): 500,
        ("open-webui", "/ready"): 503,
        ("open-webui", "/health/db"): 500,
        ("r2r", "/v3/health"): 200,
    }
    got = {
        (kind, path): httpx.get(contract(kind, needs=needs).url + path, trust_env=False).status_code
        for kind, path in asked
    }
    assert got == asked


def test_needs_are_looked_at_for_real(contract: ContractFactory, postgres: Any, valkey: Any) -> None:
    variables = postgres.environ() | valkey.environ()
    needs = Needs(postgres=variables["DATABASE_URL"], redis=variables["REDIS_URL"])
    server = contract("langfuse-worker", needs=needs)
    assert httpx.get(server.url + WORKER, trust_env=False).json() == {"status": "ok"}


def test_open_webui_lists_what_litellm_lists(contract: ContractFactory) -> None:
    proxy = contract("litellm", models=("one", "two"))
    needs = Needs(litellm=proxy.url, litellm_key="sk-demo-master-key")
    server = contract("open-webui", needs=needs)

    def names() -> list[str]:
        answer = httpx.get(f"{server.url}/api/models", headers=OWUI_KEY, trust_env=False)
        return [model["id"] for model in answer.json()["data"]]

    assert names() == ["one", "two"]
    proxy.break_with("key_changed")
    assert names() == []


def test_clickhouse_is_asked_only_by_its_flag(contract: ContractFactory) -> None:
    clickhouse = contract("chat")  # answers 404 to a query, which is a failed one
    server = contract("langfuse-web", needs=Needs(clickhouse=clickhouse.url))
    assert httpx.get(server.url + WEB_DB, trust_env=False).status_code == 200
    answer = httpx.get(server.url + WEB_EVENTS, trust_env=False)
    assert (answer.status_code, answer.json()["status"]) == (503, "Couldn't fetch recent events")
    assert clickhouse.seen["POST /"] == 1


def test_a_good_database_answer_is_believed_for_its_time() -> None:
    async def run() -> None:
        asked = 0

        async def question() -> None:
            nonlocal asked
            asked += 1
            if asked > 1:
                raise ConnectionError

        needs = Needs()
        assert await needs._ask("postgres", question, 0.1)
        assert await needs._ask("postgres", question, 0.1)
        assert asked == 1
        await asyncio.sleep(0.12)
        assert not await needs._ask("postgres", question, 0.1)

    asyncio.run(run())


# gRPC.


def grpc_status(server: Contract) -> int:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return int(stub.Check(health_pb2.HealthCheckRequest(), timeout=2.0).status)


def test_grpc_health_answers_without_a_key_and_breaks(contract: ContractFactory) -> None:
    server = contract("qdrant", grpc_port=0, api_key="demo")
    serving = health_pb2.HealthCheckResponse
    assert server.environ()["QDRANT_GRPC_URL"] == f"http://127.0.0.1:{server.grpc_port}"
    assert grpc_status(server) == serving.SERVING
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        assert b"1.17.0" in channel.unary_unary("/qdrant.Qdrant/HealthCheck")(b"", timeout=2.0)
    server.break_with("grpc_not_serving")
    assert grpc_status(server) == serving.NOT_SERVING
    for fault, code in (("refuse", "UNAVAILABLE"), ("reset", "UNAVAILABLE"), ("hang", "DEADLINE_EXCEEDED")):
        server.break_with(fault)
        with pytest.raises(grpc.RpcError) as caught:
            grpc_status(server)
        assert caught.value.code().name == code
    server.mend()
    assert grpc_status(server) == serving.SERVING


# Ending, and the process.


def connections_of(server: Contract) -> list[Any]:
    """The sockets of this process that are connected on the server's own port."""
    found = psutil.Process().net_connections("tcp")
    return [c for c in found if c.laddr.port == server.port and c.status != psutil.CONN_LISTEN]


def wait_until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_no_socket_is_left_open() -> None:
    process = psutil.Process()

    def ports() -> set[int]:
        return {connection.laddr.port for connection in process.net_connections("tcp")}

    with Contract("qdrant", host="localhost", grpc_port=0) as server:
        idle = [dial(server) for _ in range(3)]
        for fault in ("hang", "huge", "refuse", "slow"):
            server.break_with(fault, seconds=30.0)
            if fault != "refuse":
                idle.append(dial(server))
                idle[-1].sendall(b"GET / HTTP/1.1\r\n\r\n")
        server.pause()
        mine = {server.port, server.grpc_port}
        assert ports() & mine
    for sock in idle:
        sock.close()
    assert not ports() & mine
    server.start()  # on the same port
    server.mend()
    server.resume()
    assert server.port in mine
    assert b"qdrant" in ask(server, "/")
    server.stop()
    assert not ports() & mine


def test_a_port_somebody_has_is_an_error_not_a_hang(chat: Contract) -> None:
    taken = Contract("chat", port=chat.port)
    with pytest.raises(OSError, match="in use"):
        taken.start()
    taken.stop()


def test_one_process_hosts_many_and_is_told_what_to_do(keeper: Keeper) -> None:
    plans = [Plan(kind=kind) for kind in KINDS if kind != "qdrant"] + [Plan(kind="qdrant", grpc_port=0)]
    with ContractProcess(plans, keeper=keeper) as contracts:
        variables = contracts.environ()
        assert {"LITELLM_URL", "LITELLM_MASTER_KEY", "QDRANT_GRPC_URL", "AGENT_SERVICE_URL"} <= variables.keys()
        report = contracts.report()
        assert report.keys() == KINDS.keys()
        assert report["r2r"]["faults"] == faults("r2r")
        contracts.break_with("r2r", "http_500")
        url = f"{variables['R2R_URL']}/v3/health"
        assert httpx.get(url, trust_env=False).status_code == 500
        assert contracts.report()["r2r"]["fault"] == "http_500"
        contracts.break_with("r2r", "slow", seconds=0.05)
        assert httpx.get(url, trust_env=False).status_code == 200
        contracts.mend("r2r")
        for verb, seen in (("stop", httpx.ConnectError), ("pause", httpx.ReadTimeout)):
            contracts.tell("r2r", verb)
            with pytest.raises(seen):
                httpx.get(url, trust_env=False, timeout=0.3)
            contracts.tell("r2r", "start" if verb == "stop" else "resume")
            assert httpx.get(url, trust_env=False).status_code == 200
        assert contracts.report()["r2r"]["seen"]["GET /v3/health"] >= 4
        for kind, fault, words in (("r2r", "hagn", "r2r has no fault 'hagn'"), ("r3r", "hang", "there is no 'r3r'")):
            with pytest.raises(DemoError, match=words):
                contracts.break_with(kind, fault)
        with pytest.raises(DemoError, match="one of fault, mend"):
            contracts.tell("r2r", "explode")


def spawn(*arguments: str) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-m", "demo.contract", *arguments],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def alone() -> Iterator[subprocess.Popen[str]]:
    with spawn("--kind", "qdrant", "--fault", "not_ready", "--set", "api_key=demo", "--version", "1.13.1") as process:
        yield process
        process.kill()


def test_starts_alone_and_ends_at_a_signal(alone: subprocess.Popen[str]) -> None:
    assert alone.stdout is not None
    url = json.loads(alone.stdout.readline())["ready"]["qdrant"]
    assert httpx.get(f"{url}/readyz", trust_env=False).status_code == 503
    assert httpx.get(f"{url}/collections", trust_env=False).status_code == 401
    assert httpx.get(url, trust_env=False).json()["version"] == "1.13.1"
    os.kill(alone.pid, signal.SIGTERM)
    assert alone.wait(5) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--kind", "qdrant", "--fault", "hagn"], "qdrant has no fault 'hagn'"),
        (["--kind", "qdrant", "--set", "key=x"], "qdrant has no setting key"),
        (["--kind", "qdrant", "--needs", "mysql=x"], "mysql"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert says in capsys.readouterr().err


def test_list_names_every_kind_and_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    shown = capsys.readouterr().out
    for kind in KINDS:
        assert f"{kind}\n" in shown
        assert all(f"fault {name} " in shown for name in faults(kind))
