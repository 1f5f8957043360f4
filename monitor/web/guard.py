"""Who may ask, and what holds for every request and every answer."""

import base64
import binascii
import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from http import HTTPStatus

from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from config.secret import Secret

BODY_LIMIT = 65_536  # bytes

# Who sends one of these speaks for another.
FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")

Endpoint = Callable[[Request], Awaitable[Response]]


class Guard:
    """Lets through who knows the token, as a bearer token or as the password of basic authentication."""

    def __init__(self, token: Secret | None) -> None:
        self._token = token.reveal().encode() if token else b""

    @property
    def asks(self) -> bool:
        """Whether a token is asked for at all."""
        return bool(self._token)

    def around(self, endpoint: Endpoint) -> Endpoint:
        """Gives `endpoint` behind this guard; with no token set, `endpoint` itself."""
        if not self._token:
            return endpoint

        async def guarded(request: Request) -> Response:
            given = _credentials(request.headers.get("authorization", ""))
            if not hmac.compare_digest(given, self._token):
                challenge = 'Bearer realm="watchkeeper", Basic realm="watchkeeper", charset="UTF-8"'
                raise HTTPException(HTTPStatus.UNAUTHORIZED, headers={"www-authenticate": challenge})
            return await endpoint(request)

        return guarded


def is_near(request: Request) -> bool:
    """Whether it comes from this machine itself, and through no proxy that says so."""
    if request.client is None or any(name in request.headers for name in FORWARDED):
        return False
    try:
        address = ipaddress.ip_address(request.client.host)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _credentials(header: str) -> bytes:
    """Gives the token in an Authorization header, or nothing."""
    scheme, _, rest = header.partition(" ")
    raw = rest.strip().encode("latin-1")
    if scheme.lower() == "bearer":
        return raw
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(raw, validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return b""


class Manners:
    """What holds for every request and every answer: no large bodies; safe headers; nothing is cached."""

    HEADERS: Mapping[str, str] = {
        "cache-control": "no-store",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
        "x-robots-tag": "noindex",
    }

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def politely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["date"] = formatdate(usegmt=True)
                for name, value in self.HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = _too_much(Request(scope))
        await (refusal or self._app)(scope, receive, politely)


def _too_much(request: Request) -> Response | None:
    """Gives the refusal of a request whose body is too large or of unknown length, and closes on it."""
    length = request.headers.get("content-length", "0")
    if "transfer-encoding" in request.headers:
        status = HTTPStatus.LENGTH_REQUIRED
    elif len(length) > 9 or int(length) > BODY_LIMIT:
        status = HTTPStatus(413)
    else:
        return None
    return JSONResponse({"error": status.phrase.lower()}, status, {"connection": "close"})
