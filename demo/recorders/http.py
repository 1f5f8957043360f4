"""Keeps what a server answers to the very requests our checks send it."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from config.services import Check, Service, discover
from demo.process import DemoError
from demo.recorders.book import steady
from monitor.probes.base import ProbeContext
from monitor.probes.table import run_check

# Headers that something of ours reads or a person would look at.
KEPT = (
    *("content-type", "location", "server", "www-authenticate", "retry-after"),
    *("x-litellm-response-cost", "x-litellm-response-cost-original"),
)
KEPT_FAMILIES = ("x-amz-", "x-clickhouse-", "x-minio-")
DROPPED = ("x-clickhouse-exception-tag", "x-clickhouse-query-id", "x-clickhouse-summary")
IDS = ("x-amz-id-2", "x-amz-request-id")  # that they are there shows that it is S3


@dataclass
class _Recording(httpx.AsyncBaseTransport):
    """Sends as `way` does and keeps each exchange; what is handed on is the whole answer."""

    way: httpx.AsyncBaseTransport
    seen: list[dict[str, Any]] = field(default_factory=list)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        answer = await self.way.handle_async_request(request)
        body = await answer.aread()
        sent = (await request.aread()).decode("utf-8", "replace")
        # What is longer is a query of ours, which the code has; its answer is what we want to know.
        sent = sent if len(sent) < 500 else ""
        exchange: dict[str, Any] = {
            "asked": f"{request.method} {request.url.raw_path.decode()}",
            "status": answer.status_code,
            "headers": {
                name: "0" if name in IDS else steady(value)
                for name, value in sorted(answer.headers.items())
                if _is_kept(name)
            },
            "body": _in_order(steady(body.decode("utf-8", "replace"))),
        }
        self.seen.append(exchange | ({"sent": steady(sent)} if sent else {}))
        return httpx.Response(
            answer.status_code, headers=answer.headers.raw, stream=httpx.ByteStream(body), request=request
        )


def _in_order(body: str) -> str:
    """Rows of a UNION ALL come in any order."""
    return "".join(sorted(body.splitlines(keepends=True))) if body.startswith('{"tag":') else body


def _is_kept(name: str) -> bool:
    return name in KEPT or (name.startswith(KEPT_FAMILIES) and name not in DROPPED)


def send(method: str, url: str, headers: Mapping[str, str], body: str) -> dict[str, Any]:
    """Keeps what is answered to one request of the recorder's own."""

    async def go() -> dict[str, Any]:
        context = _Context()
        request = httpx.Request(method, url, headers=dict(headers), content=body)
        await context.recording.handle_async_request(request)
        return context.recording.seen[0]

    return asyncio.run(go())


class _Context(ProbeContext):
    """A probe's surroundings whose only way to a server is a recording one."""

    def __init__(self) -> None:
        super().__init__()
        self.recording = _Recording(super().transport())

    def transport(self, *, verify: bool = True) -> httpx.AsyncBaseTransport:  # noqa: ARG002 -- the way is made already
        return self.recording


def find(variables: Mapping[str, str], name: str) -> Service:
    """Gives the service of that name that these variables have watched."""
    found = discover(variables)
    for service in found.services:
        if service.name == name:
            return service
    raise DemoError(f"no service {name} in {sorted(variables)}: {found.problems}")


def ask(checks: Iterable[Check]) -> dict[str, Any]:
    """Runs each check once, alone; gives what was asked and answered by the check's name."""

    async def one(check: Check) -> list[dict[str, Any]]:
        context = _Context()
        try:
            await run_check(check, context, timeout=20)
        finally:
            await context.aclose()
        # Some ask several things at once, so what was answered first is not always the same.
        return sorted(context.recording.seen, key=lambda exchange: str(exchange["asked"]))

    async def every() -> dict[str, list[dict[str, Any]]]:
        return {check.name: await one(check) for check in checks}

    return {name: seen for name, seen in asyncio.run(every()).items() if seen}
