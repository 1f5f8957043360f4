"""The React client: nginx that serves one page at any path."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from demo.contracts.base import Answer, Fault, Handler, Request, Service, as_html


@dataclass(frozen=True, kw_only=True)
class ReactClient(Service):
    """nginx with `try_files … /index.html`."""

    VARIABLE: ClassVar[str] = "REACT_CLIENT_URL"
    SERVER: ClassVar[str] = "nginx"
    VERSIONS: ClassVar[Mapping[str, str]] = {"1.0.0": "any path is the page"}
    FAULTS: ClassVar[Mapping[str, Fault]] = {
        "not_built": Fault("the build is missing: nginx answers 403 or 404", {"built": False}),
    }

    version: str = "1.0.0"
    built: bool = True

    def routes(self) -> Mapping[str, Handler]:
        return {}

    async def missing(self, request: Request) -> Answer:
        if self.built:
            return as_html("R2R Client")
        status, reason = (403, "Forbidden") if request.path == "/" else (404, "Not Found")
        page = f"<html><head><title>{status} {reason}</title></head><body>nginx</body></html>"
        return Answer(status=status, body=page.encode(), content_type="text/html")
