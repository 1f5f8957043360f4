"""The React client: nginx that serves one page at any path."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from demo.contracts.base import Answer, Fault, Handler, Request, Service, as_html

TITLE = "LLM Stack - React Client"
WELCOME = (
    "<!DOCTYPE html><html><head><title>Welcome to nginx!</title></head><body><h1>Welcome to nginx!</h1>"
    "<p>If you see this page, nginx is successfully installed and working.</p></body></html>\n"
)
LISTING = (
    '<html><head><title>Index of /</title></head><body><h1>Index of /</h1><pre><a href="../">../</a></pre></html>\n'
)
SIGN_IN = (
    "<!doctype html><html><head><title>Portal</title><script src='/portal.js'></script></head><body>"
    "<form method='post' action='/portal'><input name='user'><input type='password'></form></body></html>\n"
)


@dataclass(frozen=True, kw_only=True)
class ReactClient(Service):
    """nginx with `try_files … /index.html`."""

    VARIABLE: ClassVar[str] = "REACT_CLIENT_URL"
    SERVER: ClassVar[str] = "nginx"
    VERSIONS: ClassVar[Mapping[str, str]] = {"1.0.0": "any path is the page"}
    FAULTS: ClassVar[Mapping[str, Fault]] = {
        "not_built": Fault("the build is missing: nginx answers 403 or 404", {"built": False}),
        "default_page": Fault("the build is missing: nginx shows its welcome page", {"page": WELCOME}),
        "listing": Fault("the build is missing: the web server lists its folder", {"page": LISTING}),
        "sign_in": Fault("a proxy's sign-in page stands before it", {"page": SIGN_IN}),
        "other_client": Fault("another client's page is served", {"title": "Another Client"}),
    }

    version: str = "1.0.0"
    built: bool = True
    title: str = TITLE
    page: str = ""

    def environ(self, url: str) -> dict[str, str]:
        return {self.VARIABLE: url, "REACT_CLIENT_TEXT": TITLE}

    def routes(self) -> Mapping[str, Handler]:
        return {}

    async def missing(self, request: Request) -> Answer:
        if self.page:
            return Answer(body=self.page.encode(), content_type="text/html")
        if self.built:
            return as_html(self.title)
        status, reason = (403, "Forbidden") if request.path == "/" else (404, "Not Found")
        page = f"<html><head><title>{status} {reason}</title></head><body>nginx</body></html>"
        return Answer(status=status, body=page.encode(), content_type="text/html")
