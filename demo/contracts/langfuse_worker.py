"""Langfuse's worker. It looks at PostgreSQL and Redis, and answers 500 (not 503) when one is gone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from demo.contracts.base import Answer, Fault, Handler, Request, Service, as_json, as_text, reached
from demo.contracts.langfuse_web import SIGTERM

STUCK_SINCE = "4.15.0"  # the flags came on 28 July 2026; the number stands for the release after it


@dataclass(frozen=True, kw_only=True)
class LangfuseWorker(Service):
    """One worker. ClickHouse and the bucket are not looked at. `write_mode` is Langfuse 4's; legacy passes none on."""

    VARIABLE: ClassVar[str] = "LANGFUSE_WORKER_URL"
    SERVER: ClassVar[str] = ""
    VERSIONS: ClassVar[Mapping[str, str]] = {
        "3.120.0": "ignores the flags for stuck queues: success is no proof",
        "4.14.0": "ignores the flags for stuck queues: success is no proof",
        "4.16.0": "503 with failIfQueueConsumptionStuck or failIfEventPropagationStuck when that is so",
    }
    FAULTS: ClassVar[Mapping[str, Fault]] = {
        "db_down": Fault("PostgreSQL is gone", {"db": False}),
        "redis_down": Fault("Redis is gone", {"redis": False}),
        "shutting_down": Fault("it received SIGTERM: /api/ready is 500", {"sigterm": True}),
        "queue_stuck": Fault("no job was taken for an hour: seen only by flag, in new versions", {"stuck_minutes": 75}),
        "propagation_stuck": Fault(
            "events are not passed on: seen only by flag", {"behind_minutes": 40, "job_stands": True}
        ),
        "propagation_behind": Fault(
            "its job runs and passes nothing on: seen only by its number, over time", {"behind_minutes": 40}
        ),
    }

    version: str = "4.16.0"
    db: bool = True
    redis: bool = True
    sigterm: bool = False
    stuck_minutes: int = 0
    behind_minutes: int = 0
    job_stands: bool = False
    write_mode: str = "dual"

    def routes(self) -> Mapping[str, Handler]:
        return {"/api/health": self._health, "/api/ready": self._health}

    async def missing(self, request: Request) -> Answer:
        return as_text(f"Cannot {request.method} {request.path}", 404)

    async def _health(self, request: Request) -> Answer:
        if self.sigterm and request.path == "/api/ready":
            return as_json({"status": SIGTERM}, 500)
        needs = request.world.needs
        if not (self.db and self.redis and await needs.has_postgres() and await needs.has_redis()):
            return as_json({"status": "error"}, 500)
        if not reached(self.version, STUCK_SINCE):
            return as_json({"status": "ok"})
        details: dict[str, object] = {}
        failures = []
        if request.flag("failIfEventPropagationStuck"):
            details["eventPropagation"] = self._propagation()
            failures += ["Event propagation stuck"] if self.behind_minutes and self.job_stands else []
        if request.flag("failIfQueueConsumptionStuck"):
            details["queueConsumption"] = self._consumption()
            failures += ["Queue consumption stuck"] if self.stuck_minutes else []
        return as_json({"status": "; ".join(failures) or "ok", **details}, 503 if failures else 200)

    def _propagation(self) -> dict[str, object]:
        if self.write_mode == "legacy":
            return {"enabled": False, "propagationDelaySeconds": None, "stuck": False}
        cursor = datetime.now(UTC) - timedelta(minutes=self.behind_minutes or 4)
        if self.behind_minutes:
            cursor = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
        return {
            "enabled": True,
            "secondsSinceLastRun": self.behind_minutes * 60 if self.job_stands else 20,
            "propagationDelaySeconds": (self.behind_minutes or 4) * 60,
            "lastProcessedPartition": cursor.strftime("%Y-%m-%d %H:%M:%S"),
            "thresholdSeconds": 900,
            "stuck": bool(self.behind_minutes and self.job_stands),
        }

    def _consumption(self) -> dict[str, object]:
        idle = self.stuck_minutes * 60 or 12
        return {
            "enabled": True,
            "registeredWorkerCount": 31,
            "secondsSinceLastActivity": idle,
            "thresholdSeconds": 3600,
            "stuck": bool(self.stuck_minutes),
        }
