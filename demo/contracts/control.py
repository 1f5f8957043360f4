"""The plain HTTP way to tell contract servers in another process what to do. Loopback only, no key: it is a demo.

GET /                         what runs: address, variables, version, fault, counts, and the faults there are
POST /<kind>/fault            {"name": "hang", "seconds": 5}
POST /<kind>/mend | pause | resume | stop | start
"""

import asyncio
import json
from collections.abc import Mapping

from demo.contracts.base import Answer, Request, World, as_json
from demo.contracts.http1 import BAD_REQUEST, BadRequestError, read_request, render
from demo.contracts.listener import Listener
from demo.contracts.needs import Needs
from demo.contracts.server import Server
from demo.contracts.table import faults


class Control:
    """The control port over `servers`, by name."""

    def __init__(self, servers: Mapping[str, Server], *, port: int = 0) -> None:
        self._servers = servers
        self._listener = Listener("127.0.0.1", port, self._serve)

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return f"http://127.0.0.1:{self._listener.port}"

    async def start(self) -> None:
        """Take the port. Raises OSError when it is taken."""
        await self._listener.open()

    async def stop(self) -> None:
        """Let go of it."""
        await self._listener.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = await read_request(reader, World(Needs()))
        except BadRequestError:
            answer = BAD_REQUEST
        else:
            if request is None:
                return
            answer = await self._answer(request)
        writer.write(render(answer, server="", extra={"connection": "close"}))
        await writer.drain()

    async def _answer(self, request: Request) -> Answer:
        name, _, verb = request.path.strip("/").partition("/")
        if request.method == "GET" and not name:
            return as_json({name: report(server) for name, server in self._servers.items()})
        if name not in self._servers:
            return as_json({"error": f"there is no {name!r} here; there are {', '.join(self._servers)}"}, 404)
        server = self._servers[name]
        plain = {s.__name__: s for s in (server.mend, server.pause, server.resume, server.stop, server.start)}
        if request.method != "POST" or verb not in {*plain, "fault"}:
            return as_json({"error": f"POST /{name}/ and one of fault, {', '.join(plain)}"}, 404)
        try:
            if verb == "fault":
                asked = json.loads(request.body)
                await server.break_with(asked["name"], seconds=asked.get("seconds"))
            else:
                await plain[verb]()
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            return as_json({"error": f"{type(problem).__name__}: {problem}"}, 400)
        except OSError as problem:
            return as_json({"error": f"port {server.port}: {problem}"}, 409)
        return as_json(report(server))


def report(server: Server) -> dict[str, object]:
    """What a person or a test wants to know of one server."""
    return {
        "url": server.url,
        "version": server.version,
        "environ": server.environ,
        "fault": server.fault,
        "seen": server.seen,
        "counts": server.counts,
        "faults": faults(server.kind),
    }
