"""The http probe: one question over HTTP, and whether the answer is the one that was hoped for."""

import base64
import html
import json
import re
import zlib
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any, Final

import httpx
import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult

from config.checks import HttpParams, Sign
from config.secret import Secret
from monitor.probes.attempt import attempt, mask
from monitor.probes.base import Answer, Outcome, ProbeContext, Sight, Verdict, clean, header_secrets

MAX_REDIRECTS: Final = 5
# How much of a body is shown to people.
EXCERPT: Final = 120
# A compressed answer is not asked for (a health answer is small), but one that comes anyway is read.
BASE_HEADERS: Final = {
    "user-agent": "watchkeeper",
    "accept": "*/*",
    "accept-encoding": "identity",
    "connection": "close",
}


async def probe(params: HttpParams, *, timeout: float, context: ProbeContext) -> Outcome:
    """Asks the question of HttpParams once; see there for what counts as a pass."""
    secrets = header_secrets(params.headers)
    return await attempt(partial(_ask, params, context, timeout, secrets), timeout=timeout, secrets=secrets)


async def _ask(params: HttpParams, context: ProbeContext, timeout: float, secrets: tuple[Secret, ...]) -> Answer:
    transport = context.transport(verify=params.verify_tls)
    last = len(params.paths) - 1
    for number, path in enumerate(params.paths):
        request = _request(params, path, timeout)
        page = await _fetch(transport, request, params, secrets)
        if isinstance(page, Answer):
            return page
        if number == last or not _is_no_such_path(page, params):
            return weigh(page, params)
    raise ValueError("the check has no path to ask for")


def _request(params: HttpParams, path: str, timeout: float) -> httpx.Request:
    url = _url(params.url.rstrip("/") + path if path else params.url)
    headers = BASE_HEADERS.copy()
    if url.userinfo:
        headers["authorization"] = "Basic " + base64.b64encode(url.userinfo).decode()
    for name, value in params.headers.items():
        text = value.reveal() if isinstance(value, Secret) else value
        if not text.isascii():
            raise ValueError(f"the header {name} holds characters that HTTP does not allow")
        headers[name.lower()] = text
    extensions = {"timeout": {"connect": timeout}, "family": params.family}
    return httpx.Request(params.method, url, headers=headers, content=params.body, extensions=extensions)


@dataclass(kw_only=True)
class Page:
    """One HTTP answer, read as far as `max_body` allows.

    `whole` says whether that was all of it, `trouble` why it could not be unpacked. `secrets` are masked wherever the
    answer is shown: servers do quote the key they refuse.
    """

    status: int
    headers: httpx.Headers
    body: bytes
    whole: bool = True
    trouble: str = ""
    secrets: tuple[Secret, ...] = ()

    @property
    def text(self) -> str:
        """The body as text; what is no UTF-8 is replaced."""
        return self.body.decode("utf-8", "replace")

    @property
    def is_html(self) -> bool:
        """Whether this is a page for people, by its type or by its first bytes."""
        start = self.body[:256].lstrip().lower()
        return "html" in self.headers.get("content-type", "").lower() or start.startswith((b"<!doctype html", b"<html"))

    @cached_property
    def parsed(self) -> tuple[Any, bool]:
        """The body as parsed JSON, and whether it is JSON at all."""
        try:
            return json.loads(self.body), True
        except (ValueError, RecursionError):
            return None, False

    @cached_property
    def data(self) -> Mapping[str, Any]:
        """What a sign's JMESPath is asked of."""
        return {"status": self.status, "headers": dict(self.headers), "body": self.parsed[0]}

    def show(self, text: str) -> str:
        """Gives part of the answer as people may see it."""
        return clean(mask(text, self.secrets), EXCERPT)

    def excerpt(self) -> str:
        """What people get to see of the body: an HTML page by its title, all else by its beginning."""
        start = self.body[:4096].decode("utf-8", "replace")
        title = re.search(r"<title[^>]*>([^<]{1,200})", start, re.IGNORECASE) if self.is_html else None
        return f"HTML page titled “{self.show(title[1])}”" if title else self.show(start)


async def _fetch(
    transport: httpx.AsyncBaseTransport, request: httpx.Request, params: HttpParams, secrets: tuple[Secret, ...]
) -> Page | Answer:
    """Gives the page, after redirects where they are followed; an Answer when a redirect ends the matter."""
    been: set[Hashable] = set()
    for _ in range(MAX_REDIRECTS + 1):
        been.add(_place(request.url))
        page = await _get(transport, request, params.max_body)
        page.secrets = secrets
        target = page.headers.get("location") if 300 <= page.status < 400 else None
        if target is None or page.status in params.status:
            return page
        url = _join(request.url, target)
        if url is None:
            return _fail(page, "redirect", "it redirects to something that is no address")
        place = f"{url.scheme}://{url.netloc.decode('ascii', 'replace').rpartition('@')[2]}"
        if _place(url) in been:
            return _fail(page, "redirect", f"it redirects in a circle, to {place}{url.path} again")
        if not params.follow_redirects:
            return _fail(page, "redirect", f"it redirects to {place}{url.path}")
        if url.scheme not in ("http", "https") or request.method not in ("GET", "HEAD"):
            return _fail(page, "redirect", f"it redirects to {place}, which is not followed")
        request = _redirected(request, url)
    return _fail(page, "redirect", f"it redirects more than {MAX_REDIRECTS} times, at last to {place}")


def _join(base: httpx.URL, target: str) -> httpx.URL | None:
    """Where a redirect leads; None when that is no address."""
    try:
        url = base.join(target)
        valid = bool(url.host) and (url.port or 80) < 65_536
    except (httpx.InvalidURL, ValueError):
        return None
    return url if valid else None


def _place(url: httpx.URL) -> Hashable:
    """An address as far as a server gets to see it: two that are the same to it are equal."""
    return url.scheme, url.host, url.port, url.raw_path


def _redirected(request: httpx.Request, url: httpx.URL) -> httpx.Request:
    """The next request; another host, port or scheme gets none of the headers that were meant for the first."""
    same = (url.scheme, url.host, url.port) == (request.url.scheme, request.url.host, request.url.port)
    headers = (
        {k: v for k, v in request.headers.items() if k not in ("host", "content-length")} if same else BASE_HEADERS
    )
    return httpx.Request(request.method, url, headers=headers, extensions=request.extensions)


async def _get(transport: httpx.AsyncBaseTransport, request: httpx.Request, limit: int) -> Page:
    response = await transport.handle_async_request(request)
    body = bytearray()
    try:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        async for chunk in response.stream:
            body += chunk
            if len(body) > limit:
                break
    finally:
        await response.aclose()
    page = Page(
        status=response.status_code, headers=response.headers, body=bytes(body[:limit]), whole=len(body) <= limit
    )
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if body and encoding not in ("identity", ""):
        _decompress(page, encoding, limit)
    return page


def _decompress(page: Page, encoding: str, limit: int) -> None:
    """Unpacks the body in place, never to more than `limit` bytes whatever it would grow to."""
    if encoding not in ("gzip", "x-gzip", "deflate"):
        page.trouble = f"the answer is encoded as {encoding}, which was not asked for"
        return
    try:
        # 32 + 15: zlib finds out by itself whether the wrapping is gzip's or zlib's.
        unpacked = zlib.decompressobj(47).decompress(page.body, limit + 1)
    except zlib.error:
        page.trouble = f"the answer says it is encoded as {encoding} and is not"
        return
    page.whole = page.whole and len(unpacked) <= limit
    page.body = unpacked[:limit]


def _is_no_such_path(page: Page, params: HttpParams) -> bool:
    if page.status == 404:
        return 404 not in params.status
    return page.is_html and _wants_json(params) and page.status in params.status


def _wants_json(params: HttpParams) -> bool:
    return params.json or params.expect_json is not None


@lru_cache(maxsize=4096)
def _url(text: str) -> httpx.URL:
    return httpx.URL(text)


@lru_cache(maxsize=1024)
def _path(expression: str) -> ParsedResult:
    return jmespath.compile(expression)


@lru_cache(maxsize=1024)
def _pattern(expression: str) -> re.Pattern[str]:
    return re.compile(expression)


def _search(expression: str, data: Any) -> Any:
    """What the expression finds; None where the data have not the shape it speaks of."""
    try:
        return _path(expression).search(data)
    except (JMESPathError, TypeError, ValueError, AttributeError):
        return None


def weigh(page: Page, params: HttpParams) -> Answer:
    """Gives what a page proves: its signs first, then each expectation in turn. Pure.

    Raises jmespath's ParseError and re.error for expressions that config let through.
    """
    for sign in params.signs:
        if _is_seen(sign, page):
            says = sign.says or sign.name.replace("_", " ")
            return _answer(Verdict(sign.verdict), page, sign.name, says, facts=_facts(page, params))
    for check in (_check_status, _check_json, _check_text, _check_headers, _check_words):
        missed = check(page, params)
        if missed is not None:
            return _fail(page, *missed, facts=_facts(page, params), garbled=missed[0] == "json" and page.is_html)
    return Answer(verdict=Verdict.PASS, text=f"HTTP {page.status}", code=str(page.status), facts=_facts(page, params))


Missed = tuple[str, str]


def _check_status(page: Page, params: HttpParams) -> Missed | None:
    if page.status in params.status:
        return None
    return "status", "expected " + " or ".join(map(str, params.status))


def _check_json(page: Page, params: HttpParams) -> Missed | None:
    if not _wants_json(params):
        return None
    trouble = _json_trouble(page, params)
    if trouble:
        return "json", trouble
    if params.expect_json is not None and not _search(params.expect_json, page.parsed[0]):
        return "expect_json", f"not so in the answer: {params.expect_json}"
    return None


def _json_trouble(page: Page, params: HttpParams) -> str:
    if page.is_html and not page.trouble:
        return "a page for people where JSON was expected"
    if not page.whole:
        return f"the answer is larger than {params.max_body} bytes, so its JSON was not read"
    if not page.body:
        return "the answer is empty where JSON was expected"
    return page.trouble or ("" if page.parsed[1] else "the answer is not JSON")


def _check_text(page: Page, params: HttpParams) -> Missed | None:
    if params.expect_text is None or _pattern(params.expect_text).search(page.text):
        return None
    where = "the answer" if page.whole else f"its first {params.max_body} bytes"
    return "expect_text", page.trouble or f"not found in {where}: {params.expect_text}"


def _check_words(page: Page, params: HttpParams) -> Missed | None:
    words = params.expect_words
    if words is None or words in page.text or words in html.unescape(page.text):
        return None
    return "expect_words", page.trouble or f"these words are not in it: “{page.show(words)}”"


def _check_headers(page: Page, params: HttpParams) -> Missed | None:
    for name, pattern in params.expect_header.items():
        value = page.headers.get(name)
        if value is None:
            return "expect_header", f"the header {name} is missing"
        if not _pattern(pattern).search(value):
            return "expect_header", f"the header {name} is “{page.show(value)}”, expected {pattern}"
    return None


def _is_seen(sign: Sign, page: Page) -> bool:
    if sign.json is not None:
        return bool(_search(sign.json, page.data))
    if sign.header is not None:
        name, _, pattern = sign.header.partition(":")
        value = page.headers.get(name.strip())
        return value is not None and _pattern(pattern.strip()).search(value) is not None
    return sign.text is not None and _pattern(sign.text).search(page.text) is not None


def _facts(page: Page, params: HttpParams) -> Mapping[str, str]:
    found = {}
    for name, where in params.facts.items():
        value = page.headers.get(where[7:].strip()) if where.startswith("header:") else _search(where, page.parsed[0])
        if isinstance(value, bool):
            value = str(value).lower()
        if isinstance(value, (str, int, float)) and value != "":
            found[name] = page.show(str(value))
    return found


def _fail(page: Page, sign: str, says: str, *, facts: Mapping[str, str] | None = None, garbled: bool = False) -> Answer:
    return _answer(
        Verdict.FAIL, page, sign, says, facts=facts or {}, sight=Sight.GARBLED if garbled else Sight.ANSWERED
    )


def _answer(
    verdict: Verdict, page: Page, sign: str, says: str, *, facts: Mapping[str, str], sight: Sight = Sight.ANSWERED
) -> Answer:
    shown = page.excerpt()
    text = f"HTTP {page.status}, {says}" + (f"; it says: {shown}" if shown else "")
    return Answer(verdict=verdict, sight=sight, text=text, code=str(page.status), sign=sign, facts=facts)
