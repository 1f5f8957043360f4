"""Langfuse's web container. Its health says nothing of the database unless a flag asks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from demo.contracts.base import Answer, Fault, Handler, Request, Service, as_html, as_json, reached

SIGTERM = "SIGTERM / SIGINT received, shutting down"
QUEUES = ("ingestion-queue", "otel-ingestion-queue", "trace-upsert", "evaluation-execution-queue")


@dataclass(frozen=True, kw_only=True)
class LangfuseWeb(Service):
    """One web container. `recent` is what a look for events of the last three minutes finds."""

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
    }

    version: str = "4.16.0"
    admin_key: str = "demo-admin-key"
    db: bool = True
    recent: str = "some"
    sigterm: bool = False
    raises: bool = False
    bucket: bool = True

    def routes(self) -> Mapping[str, Handler]:
        return {
            "/api/public/health": self._health,
            "/api/public/ready": self._ready,
            "/api/public/ingestion": self._ingestion,
            "/api/admin/bullmq": self._queues,
        }

    async def missing(self, request: Request) -> Answer:
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

    async def _ingestion(self, request: Request) -> Answer:
        if request.method != "POST":
            return as_json({"message": "Method not allowed"}, 405)
        if not request.headers.get("authorization", "").startswith("Basic "):
            return as_json({"message": "No authorization header", "error": "UnauthorizedError"}, 401)
        if not self.bucket:
            return as_json({"message": "Failed to upload events to blob storage", "error": "Error"}, 500)
        return as_json({"successes": [], "errors": []}, 207)

    async def _queues(self, request: Request) -> Answer:
        if request.bearer() != self.admin_key:
            return as_json({"error": "Unauthorized"}, 401)
        jobs = {"waiting": 0, "active": 0, "prioritized": 0, "delayed": 0, "failed": 0, "completed": 12}
        return as_json([{"queueName": queue, "jobCounts": jobs} for queue in QUEUES])
