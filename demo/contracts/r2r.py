"""R2R. Everything is under /v3; its health is a constant. Without require_authentication nobody needs a key."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from demo.contracts.base import Answer, Fault, Handler, Request, Service, always, as_json, as_text

NO_KEY = "No credentials provided. Create an account and set your API key."
WRONG_KEY = "Invalid token or API key"


@dataclass(frozen=True, kw_only=True)
class R2r(Service):
    """One R2R server. `api_key` "" is one that requires no authentication."""

    VARIABLE: ClassVar[str] = "R2R_URL"
    VERSIONS: ClassVar[Mapping[str, str]] = {"3.6.5": "/v3/health; no /health"}
    FAULTS: ClassVar[Mapping[str, Fault]] = {
        "db_down": Fault("PostgreSQL is gone: documents are 500, health stays green", {"db": False}),
        "authentication": Fault("it requires authentication now", {"api_key": "pk_a.sk_another"}),
    }

    version: str = "3.6.5"
    api_key: str = ""
    db: bool = True

    def environ(self, url: str) -> dict[str, str]:
        return {self.VARIABLE: url} | ({"R2R_API_KEY": self.api_key} if self.api_key else {})

    def routes(self) -> Mapping[str, Handler]:
        status = {"uptime_seconds": 1200.0, "cpu_usage": 3.1, "memory_usage": 41.0}
        return {
            "/v3/health": always(as_json({"results": {"message": "ok"}})),
            "/v3/system/status": self._reads(as_json({"results": status})),
            "/v3/documents": self._reads(as_json({"results": [], "total_entries": 0})),
        }

    def _reads(self, answer: Answer) -> Handler:
        """Who asks is looked up in the database before anything else."""

        async def handle(request: Request) -> Answer:
            given = request.headers.get("x-api-key") or request.bearer()
            if self.api_key and not given:
                return as_json({"message": NO_KEY, "error_type": "R2RException"}, 401)
            if not (self.db and await request.world.needs.has_postgres()):
                return as_text("Internal Server Error", 500)
            if given and given != self.api_key:
                return as_json({"message": WRONG_KEY, "error_type": "R2RException"}, 401)
            return answer

        return handle
