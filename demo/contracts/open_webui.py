"""Open WebUI. Any path it does not know is its index page with 200, so HTML is no proof of anything."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from demo.contracts.base import (
    NOT_FOUND,
    Answer,
    Fault,
    Handler,
    Request,
    Service,
    always,
    as_html,
    as_json,
    as_text,
    reached,
)

OK = as_json({"status": True})
READY_SINCE = "0.8.0"  # the number stands for the first release that has /ready


@dataclass(frozen=True, kw_only=True)
class OpenWebUi(Service):
    """One Open WebUI. `provider_key_works` is about the key it keeps in its own database, not the variable."""

    VARIABLE: ClassVar[str] = "OPEN_WEBUI_URL"
    VERSIONS: ClassVar[Mapping[str, str]] = {
        "0.6.5": "has no /ready: the page answers there",
        "0.9.0": "/ready with a detail at 503",
    }
    FAULTS: ClassVar[Mapping[str, Fault]] = {
        "startup": Fault("it has not started fully", {"started": False}),
        "db_down": Fault("its database is gone", {"db": False}),
        "db_session_broken": Fault(
            "/health/db is 500 for good after one lost transaction (#24605)", {"session": False}
        ),
        "redis_down": Fault("its Redis is gone", {"redis": False}),
        "stale_key": Fault("the key it stored for LiteLLM is old: it lists no models", {"provider_key_works": False}),
        "api_keys_off": Fault("API keys are not enabled: it refuses ours, and people work on", {"api_keys": False}),
        "api_key_deleted": Fault("the user of our API key is gone", {"api_key": "sk-another-open-webui"}),
        "no_frontend": Fault("the page was not built: unknown paths are 404", {"frontend": False}),
    }

    version: str = "0.9.0"
    api_key: str = "sk-demo-open-webui"
    started: bool = True
    db: bool = True
    session: bool = True
    redis: bool = True
    provider_key_works: bool = True
    frontend: bool = True
    api_keys: bool = True

    def environ(self, url: str) -> dict[str, str]:
        return {self.VARIABLE: url, "OPEN_WEBUI_API_KEY": self.api_key}

    def routes(self) -> Mapping[str, Handler]:
        routes = {
            "/health": always(OK),
            "/health/db": self._db,
            "/api/version": always(as_json({"version": self.version})),
            "/api/models": self._models,
        }
        if reached(self.version, READY_SINCE):
            routes["/ready"] = self._ready
        return routes

    async def missing(self, request: Request) -> Answer:
        return NOT_FOUND if request.path.endswith(".js") or not self.frontend else as_html("Open WebUI")

    async def _ready(self, request: Request) -> Answer:
        needs = request.world.needs
        if not self.started:
            return as_json({"detail": "Startup not complete"}, 503)
        if not (self.db and await needs.has_postgres()):
            return as_json({"detail": "Database not ready"}, 503)
        if not (self.redis and await needs.has_redis()):
            return as_json({"detail": "Redis not ready"}, 503)
        return OK

    async def _db(self, request: Request) -> Answer:
        good = self.db and self.session and await request.world.needs.has_postgres()
        return OK if good else as_text("Internal Server Error", 500)

    async def _models(self, request: Request) -> Answer:
        if not self.api_keys:
            return as_json({"detail": "Use of API key is not enabled in the environment."}, 403)
        if request.bearer() != self.api_key:
            return as_json({"detail": "Your session has expired or the token is invalid. Please sign in again."}, 401)
        names = await request.world.needs.models(["demo-small"]) if self.provider_key_works else []
        return as_json({"data": [{"id": name, "object": "model", "owned_by": "openai"} for name in names]})
