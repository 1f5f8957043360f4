"""Qdrant over HTTP. There is no /health; whether a path is whitelisted decides before whether it exists."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from demo.contracts.base import Answer, Fault, Handler, Request, Service, always, as_json, as_text, reached

OPEN_EXACT = ("/", "/healthz")
OPEN_PREFIXES = ("/readyz", "/livez", "/dashboard")
SILENCE = 60.0  # seconds
NO_KEY = "Must provide an API key or an Authorization bearer token"
WRONG_KEY = "Invalid API key or JWT"
RECOVERY = (
    "Qdrant was killed during initialization. Most likely it's Out-of-Memory.\nPlease check memory consumption, "
    "increase memory limit or remove some collections and restart"
)
NO_SPACE = "Service internal error: No space left on device (os error 28)"


@dataclass(frozen=True, kw_only=True)
class Qdrant(Service):
    """One Qdrant node. `api_key` "" is a server without one. `optimizer_error` comes with a red collection."""

    VARIABLE: ClassVar[str] = "QDRANT_URL"
    SERVER: ClassVar[str] = ""
    VERSIONS: ClassVar[Mapping[str, str]] = {
        "1.13.1": "collections say status, optimizer_status and counts",
        "1.17.0": "collections also say warnings and update_queue",
    }
    FAULTS: ClassVar[Mapping[str, Fault]] = {
        "not_ready": Fault("its shards are not ready", {"ready": False}),
        "key_changed": Fault("the API key is another one", {"api_key": "another-key"}),
        "cloud_403": Fault("it answers 403 without a key, as Qdrant Cloud does", {"cloud": True}),
        "collection_yellow": Fault("a collection is optimising: no outage", {"status": "yellow"}),
        "collection_grey": Fault("a collection waits for optimisation: no outage", {"status": "grey"}),
        "collection_red": Fault(
            "a collection failed", {"status": "red", "optimizer_error": "Service internal error: wal is corrupted"}
        ),
        "disk_full": Fault(
            "its disk is full: red collections, health green", {"status": "red", "optimizer_error": NO_SPACE}
        ),
        "collection_unread": Fault("a collection did not load: asking for it is 500", {"loaded": False}),
        "collection_silent": Fault("a collection does not answer, the list of them does", {"silent": True}),
        "recovery_mode": Fault("it started in recovery mode: no collection is readable", {"recovery_mode": True}),
        "metrics_recovery": Fault(
            "it says recovery mode in its metrics alone", {"recovery_mode": True, "collections": ()}
        ),
        "replica_dead": Fault("a shard has a replica that is not active", {"dead_replicas": 1}),
        "queue_behind": Fault("changes arrive faster than they are applied", {"queue": 250_000}),
        "grpc_not_serving": Fault("gRPC health says NOT_SERVING (Qdrant itself never does)", {"grpc_serving": False}),
    }

    version: str = "1.17.0"
    api_key: str = ""
    collections: tuple[str, ...] = ("documents",)
    status: str = "green"
    optimizer_error: str = ""
    ready: bool = True
    cloud: bool = False
    recovery_mode: bool = False
    loaded: bool = True
    silent: bool = False
    dead_replicas: int = 0
    queue: int = 0
    grpc_serving: bool = True

    def environ(self, url: str) -> dict[str, str]:
        return {self.VARIABLE: url} | ({"QDRANT_API_KEY": self.api_key} if self.api_key else {})

    def routes(self) -> Mapping[str, Handler]:
        ready = as_text("all shards are ready") if self.ready else as_text("some shards are not ready", 503)
        names = [{"name": name} for name in self.collections]
        return {
            "/": always(as_json(self._title())),
            "/healthz": always(as_text("healthz check passed")),
            "/livez": always(as_text("healthz check passed")),
            "/readyz": always(ready),
            "/metrics": always(self._metrics()),
            "/telemetry": always(self._result({"id": "demo", "app": {"name": "qdrant", "version": self.version}})),
            "/collections": always(self._result({"collections": names})),
        } | {f"/collections/{name}": self._one for name in self.collections}

    async def missing(self, request: Request) -> Answer:
        if request.path.startswith("/collections/"):
            name = request.path.removeprefix("/collections/")
            return as_json({"status": {"error": f"Not found: Collection `{name}` doesn't exist!"}, "time": 1e-05}, 404)
        return Answer(status=404)

    async def answer(self, request: Request) -> Answer:
        is_open = request.path in OPEN_EXACT or request.path.startswith(OPEN_PREFIXES)
        key = request.headers.get("api-key") or request.bearer()
        if self.cloud and key != self.api_key:
            return as_json({"error": "forbidden"}, 403)
        if self.api_key and not is_open and key != self.api_key:
            return as_text(WRONG_KEY if key else NO_KEY, 401)
        return await super().answer(request)

    def _title(self) -> dict[str, str]:
        return {"title": "qdrant - vector search engine", "version": self.version, "commit": "8d6b2ad5"}

    def _result(self, result: object) -> Answer:
        return as_json({"result": result, "status": "ok", "time": 1.2e-05})

    async def _one(self, _: Request) -> Answer:
        if self.silent:
            await asyncio.sleep(SILENCE)
        return self._collection()

    def _collection(self) -> Answer:
        if self.recovery_mode or not self.loaded:
            why = RECOVERY if self.recovery_mode else "Failed to load local shard: WAL error"
            said = f"Service internal error: Failed to Get Info,  {why}"
            return as_json({"status": {"error": said}, "time": 1e-05}, 500)
        result: dict[str, object] = {
            "status": self.status,
            "optimizer_status": {"error": self.optimizer_error} if self.optimizer_error else "ok",
            "indexed_vectors_count": 0,
            "points_count": 1200,
            "segments_count": 2,
            "config": {"params": {"vectors": {"size": 1536, "distance": "Cosine"}}},
        }
        if reached(self.version, "1.17.0"):
            result |= {"warnings": [], "update_queue": {"length": self.queue}}
        return self._result(result)

    def _metrics(self) -> Answer:
        return as_text(
            f'# TYPE app_info gauge\napp_info{{name="qdrant",version="{self.version}"}} 1\n'
            f"# TYPE app_status_recovery_mode gauge\napp_status_recovery_mode {int(self.recovery_mode)}\n"
            f"# TYPE collections_total gauge\ncollections_total {len(self.collections)}\n"
            f"# TYPE collection_dead_replicas gauge\ncollection_dead_replicas {self.dead_replicas}\n"
        )
