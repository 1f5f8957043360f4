"""Langfuse's web container. Its health says nothing of the database unless a flag asks."""

import asyncio
import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from demo.contracts.base import Answer, Fault, Handler, Request, Service, always, as_html, as_json, reached

SIGTERM = "SIGTERM / SIGINT received, shutting down"
NO_HEADER = "No authorization header"
NO_BUCKET = "Failed to upload events to blob storage, aborting event processing"
NOT_HERE = "Event type is not accepted when LANGFUSE_MIGRATION_V4_WRITE_MODE is events_only."
TRACES = "/api/public/traces/"
QUEUES = ("ingestion-queue", "otel-ingestion-queue", "trace-upsert", "evaluation-execution-queue")


@dataclass(frozen=True, kw_only=True)
class LangfuseWeb(Service):
    """One web container. `recent` is what a look for events of the last three minutes finds.

    A trace it was given can be read after `delay` seconds. With `events_only`, a mode of version 4, it takes spans of
    OpenTelemetry alone.
    """

    VARIABLE: ClassVar[str] = "LANGFUSE_URL"
    SERVER: ClassVar[str] = ""
    VERSIONS: ClassVar[Mapping[str, str]] = {
        "3.120.0": "looks for recent traces and observations",
        "4.16.0": "looks for recent events",
    }
    FAULTS: ClassVar[Mapping[str, Fault]] = {
        "db_down": Fault("PostgreSQL is gone: seen only with failIfDatabaseUnavailable", {"db": False}),
        "clickhouse_down": Fault("ClickHouse fails queries: seen only with failIfNoRecentEvents", {"recent": "failed"}),
        "idle": Fault("no event in the last three minutes: seen only with failIfNoRecentEvents", {"recent": "none"}),
        "shutting_down": Fault("it received SIGTERM: /api/public/ready is 500", {"sigterm": True}),
        "health_failed": Fault("the health check itself raises", {"raises": True}),
        "bucket_missing": Fault("events cannot be put in the bucket; health is green", {"bucket": False}),
        "keys_changed": Fault("the project has other keys now", {"secret_key": "sk-lf-another"}),
        "traces_lost": Fault("it takes traces, and none of them ever appears; health is green", {"delay": 1e9}),
        "queries_fail": Fault("ClickHouse fails when a trace is read; health is green", {"readable": False}),
        "suspended": Fault("a usage threshold is passed: it takes nothing in", {"suspended": True}),
    }

    version: str = "4.16.0"
    admin_key: str = "demo-admin-key"
    public_key: str = "pk-lf-demo"
    secret_key: str = "sk-lf-demo"
    delay: float = 0.0
    events_only: bool = False
    readable: bool = True
    suspended: bool = False
    db: bool = True
    recent: str = "some"
    sigterm: bool = False
    raises: bool = False
    bucket: bool = True

    def routes(self) -> Mapping[str, Handler]:
        return {
            "/api/public/health": self._health,
            "/api/public/ready": self._ready,
            "/api/public/ingestion": self._with_keys(self._ingestion),
            "/api/public/otel/v1/traces": self._with_keys(self._spans),
            "/api/public/v2/observations": self._with_keys(self._observations),
            "/api/public/projects": self._with_keys(always(as_json({"data": [{"id": "demo", "name": "demo"}]}))),
            "/api/admin/bullmq": self._queues,
        }

    def environ(self, url: str) -> dict[str, str]:
        return {self.VARIABLE: url, "LANGFUSE_PUBLIC_KEY": self.public_key, "LANGFUSE_SECRET_KEY": self.secret_key}

    async def missing(self, request: Request) -> Answer:
        if request.path.startswith(TRACES) and request.method == "GET":
            return await self._with_keys(self._trace)(request)
        return as_html("Langfuse", 200 if request.path == "/" else 404)

    def _says(self, status: str, code: int) -> Answer:
        return as_json({"status": status, "version": self.version}, code)

    async def _health(self, request: Request) -> Answer:
        if self.raises:
            return self._says("Health check failed", 503)
        needs = request.world.needs
        if request.flag("failIfDatabaseUnavailable") and not (self.db and await needs.has_postgres()):
            return self._says("Database not available", 503)
        if request.flag("failIfNoRecentEvents"):
            if self.recent == "failed" or not await needs.has_clickhouse():
                return self._says("Couldn't fetch recent events", 503)
            if self.recent == "none":
                what = "events" if reached(self.version, "4.0.0") else "traces"
                return self._says(f"No {what} within the last 3 minutes", 503)
        return self._says("OK", 200)

    async def _ready(self, _: Request) -> Answer:
        if self.raises:
            return self._says("Readiness check failed", 503)
        return self._says(SIGTERM, 500) if self.sigterm else self._says("OK", 200)

    def _with_keys(self, handler: Handler) -> Handler:
        pair = base64.b64encode(f"{self.public_key}:{self.secret_key}".encode()).decode()

        async def handle(request: Request) -> Answer:
            given = request.headers.get("authorization")
            if given == f"Basic {pair}":
                return await handler(request)
            said = "Invalid credentials. Confirm that you've configured the correct host." if given else NO_HEADER
            return as_json({"message": said, "error": "UnauthorizedError"}, 401)

        return handle

    async def _ingestion(self, request: Request) -> Answer:
        if request.method != "POST":
            return as_json({"message": "Method not allowed"}, 405)
        if self.suspended:
            return as_json(
                {"error": "ForbiddenError", "message": "Ingestion suspended: Usage threshold exceeded."}, 403
            )
        if not self.bucket:
            return as_json({"message": "Invalid request data", "errors": [NO_BUCKET]}, 500)
        events = json.loads(request.body)["batch"] if request.body else []
        if self.events_only:
            refused = [{"id": event["id"], "status": 400, "error": NOT_HERE} for event in events]
            return as_json({"successes": [], "errors": refused}, 207)
        for event in events:
            request.world.kept[event["body"]["id"]] = asyncio.get_running_loop().time()
        return as_json({"successes": [{"id": event["id"], "status": 201} for event in events], "errors": []}, 207)

    async def _spans(self, request: Request) -> Answer:
        if not self.bucket:
            return as_json({"message": NO_BUCKET, "error": "Error"}, 500)
        for resource in json.loads(request.body)["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    request.world.kept[span["traceId"]] = asyncio.get_running_loop().time()
        return as_json({})

    async def _trace(self, request: Request) -> Answer:
        if self.events_only:
            return as_json({"message": "This endpoint is not available on deployments in events_only mode."}, 404)
        trace = request.path.removeprefix(TRACES)
        if not (self.readable and await request.world.needs.has_clickhouse()):
            return as_json({"message": "Internal Server Error", "error": "ClickhouseError"}, 500)
        if not self._arrived(request, trace):
            return as_json({"error": "LangfuseNotFoundError", "message": f"Trace {trace} not found"}, 404)
        return as_json({"id": trace, "name": "a trace", "observations": []})

    async def _observations(self, request: Request) -> Answer:
        if not reached(self.version, "4.0.0"):
            return as_html("Langfuse", 404)
        trace = request.query.get("traceId", "")
        rows = [{"id": "span", "traceId": trace}] if self._arrived(request, trace) else []
        return as_json({"data": rows, "meta": {}})

    def _arrived(self, request: Request, trace: str) -> bool:
        at = request.world.kept.get(trace)
        return at is not None and asyncio.get_running_loop().time() >= at + self.delay

    async def _queues(self, request: Request) -> Answer:
        if request.bearer() != self.admin_key:
            return as_json({"error": "Unauthorized"}, 401)
        jobs = {"waiting": 0, "active": 0, "prioritized": 0, "delayed": 0, "failed": 0, "completed": 12}
        return as_json([{"queueName": queue, "jobCounts": jobs} for queue in QUEUES])
