"""R2R. Everything is under /v3; its health is a constant."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from demo.contracts.base import Answer, Fault, Handler, Request, Service, always, as_json


@dataclass(frozen=True, kw_only=True)
class R2r(Service):
    """One R2R server."""

    VARIABLE: ClassVar[str] = "R2R_URL"
    VERSIONS: ClassVar[Mapping[str, str]] = {"3.6.5": "/v3/health; no /health"}
    FAULTS: ClassVar[Mapping[str, Fault]] = {
        "db_down": Fault("PostgreSQL is gone: documents are 500, health stays green", {"db": False}),
    }

    version: str = "3.6.5"
    db: bool = True

    def routes(self) -> Mapping[str, Handler]:
        refused = as_json({"message": "Not authenticated", "error_type": "R2RException"}, 401)
        return {
            "/v3/health": always(as_json({"results": {"message": "ok"}})),
            "/v3/system/status": always(refused),
            "/v3/documents": self._documents,
        }

    async def _documents(self, request: Request) -> Answer:
        if self.db and await request.world.needs.has_postgres():
            return as_json({"results": [], "total_entries": 0})
        return as_json({"message": "An error occurred: connection refused", "error_type": "R2RException"}, 500)
