"""Enough of HTTP/1.1 to be a server whose every byte is ours."""

import asyncio
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import parse_qsl, unquote, urlsplit

from demo.contracts.base import Answer, Request, World, as_text

MAX_HEAD = 65_536  # bytes, asyncio's own limit of a line as well
MAX_BODY = 1_048_576  # bytes; nobody sends these servers more

BAD_REQUEST = as_text("Invalid HTTP request received.", 400)  # what uvicorn says


class BadRequestError(Exception):
    """What came is not an HTTP request: a TLS hello, HTTP/2, another protocol."""


async def read_request(reader: asyncio.StreamReader, world: World) -> Request | None:
    """Read one request; None when the other side closed instead.

    Raises BadRequestError at the first byte that cannot begin a method, as a real server answers a TLS hello at once.
    """
    try:
        first = await reader.readexactly(1)
        if not first.isupper():
            raise BadRequestError
        head = first + await reader.readuntil(b"\r\n\r\n")
        start, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
        method, target, protocol = start.split(" ")
        if not protocol.startswith("HTTP/1."):
            raise BadRequestError
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if not 0 <= length <= MAX_BODY:
            raise BadRequestError
        body = await reader.readexactly(length)
    except asyncio.IncompleteReadError:
        return None
    except (ValueError, asyncio.LimitOverrunError) as problem:
        raise BadRequestError from problem
    url = urlsplit(target)
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    return Request(method=method, path=unquote(url.path), query=query, headers=headers, body=body, world=world)


def render(answer: Answer, *, server: str, body: bool = True, extra: Mapping[str, str] | None = None) -> bytes:
    """The bytes of `answer`. Content-Length speaks of its body even when `body` is false (HEAD)."""
    headers = {"date": formatdate(usegmt=True)}
    if server:
        headers["server"] = server
    if answer.content_type:
        headers["content-type"] = answer.content_type
    headers["content-length"] = str(len(answer.body))
    headers |= {**answer.headers, **(extra or {})}
    try:
        reason = HTTPStatus(answer.status).phrase
    except ValueError:
        reason = "Unknown"
    head = f"HTTP/1.1 {answer.status} {reason}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
    return head.encode("latin-1") + (answer.body if body else b"")
