"""One contract server: a service in some state behind a port that can misbehave. Lives on one event loop."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from demo.contracts.base import Answer, Service, World
from demo.contracts.http1 import BAD_REQUEST, BadRequestError, read_request, render
from demo.contracts.listener import Listener
from demo.contracts.needs import Needs
from demo.contracts.table import KINDS, faults
from demo.contracts.wire import WIRE_FAULTS, Link, WireFault

if TYPE_CHECKING:
    from demo.contracts.grpc_health import GrpcHealth


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What one contract server is to be.

    `kind` is a key of KINDS, `version` one that its VERSIONS spans (None: the newest). Port 0 takes a free one.
    `grpc_port` opens Qdrant's second port. `settings` are fields of the service, such as master_key.
    """

    kind: str
    version: str | None = None
    port: int = 0
    host: str = "127.0.0.1"
    grpc_port: int | None = None
    fault: str | None = None
    needs: Needs = field(default_factory=Needs)
    settings: Mapping[str, object] = field(default_factory=dict)


def build_service(plan: Plan) -> Service:
    """The service `plan` describes, unbroken. Raises ValueError that names what is unknown and what is known."""
    if plan.kind not in KINDS:
        raise ValueError(f"there is no contract {plan.kind!r}; there are {', '.join(KINDS)}")
    kind = KINDS[plan.kind]
    known = {f.name for f in fields(kind)} - {"version"}
    unknown = set(plan.settings) - known
    if unknown:
        raise ValueError(f"{plan.kind} has no setting {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}")
    settings: dict[str, Any] = dict(plan.settings)
    if plan.version is not None:
        settings["version"] = plan.version
    return kind(**settings)


class Server:
    """A contract server. Every method belongs to the loop it was started on."""

    def __init__(self, plan: Plan) -> None:
        self.kind = plan.kind
        self.fault: str | None = None
        self.world = World(plan.needs)
        self._whole = self._service = build_service(plan)
        self._wire: WireFault | None = None
        self._seconds = 0.0
        self._started = False
        self._awake = asyncio.Event()
        self._awake.set()
        self._listener = Listener(plan.host, plan.port, self._serve)
        self._grpc: GrpcHealth | None = None
        self._grpc_listener: Listener | None = None
        if plan.grpc_port is not None:
            if plan.kind != "qdrant":
                raise ValueError(f"{plan.kind} has no gRPC port; only qdrant has")
            self._grpc_listener = Listener(plan.host, plan.grpc_port, self._relay)
        if plan.fault is not None:
            self._set_fault(plan.fault, None)

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        host = "[::1]" if self._listener.host == "::1" else self._listener.host
        return f"http://{host}:{self._listener.port}"

    @property
    def version(self) -> str:
        """What it pretends to be."""
        return self._whole.version

    @property
    def port(self) -> int:
        """Its port; 0 before the first start with port 0."""
        return self._listener.port

    @property
    def grpc_port(self) -> int | None:
        """Its gRPC port, None without one."""
        return self._grpc_listener.port if self._grpc_listener else None

    @property
    def seen(self) -> Counter[str]:
        """How often each "METHOD /path" was read; one that a fault leaves unread is not seen."""
        return self.world.seen.copy()

    @property
    def counts(self) -> Counter[str]:
        """What the service counts itself: "paid_calls" of LiteLLM."""
        return self.world.counts.copy()

    @property
    def environ(self) -> dict[str, str]:
        """The variables that make the monitor watch it, as a person would have set them before any fault."""
        variables = self._whole.environ(self.url)
        if self._grpc_listener is not None:
            host = "[::1]" if self._listener.host == "::1" else self._listener.host
            variables["QDRANT_GRPC_URL"] = f"http://{host}:{self._grpc_listener.port}"
        return variables

    async def start(self) -> None:
        """Take the port and answer on it (or refuse, if that is its fault). Raises OSError when the port is taken."""
        if self._grpc_listener is not None and self._grpc is None:
            from demo.contracts.grpc_health import GrpcHealth  # 16 MB, for the one that has the port

            self._grpc = GrpcHealth(self._whole.version)
        self._started = True
        await self._settle()

    async def stop(self) -> None:
        """Let go of every port and connection. The port's number is kept for another start."""
        self._started = False
        for listener in self._listeners():
            await listener.close()
        if self._grpc is not None:
            await asyncio.to_thread(self._grpc.stop)
            self._grpc = None

    async def pause(self) -> None:
        """Stand still like a process under SIGSTOP: connections open, nothing is read or answered."""
        self._awake.clear()

    async def resume(self) -> None:
        """Go on where `pause` stood."""
        self._awake.set()

    async def break_with(self, fault: str, *, seconds: float | None = None) -> None:
        """Break in one way, in place of any other. `seconds` sets the measure of slow and slow_drip.

        Raises ValueError when its kind has no such fault.
        """
        self._set_fault(fault, seconds)
        await self._settle()

    async def forget(self) -> None:
        """Believe nothing of what it needs any longer, as after a while."""
        self.world.needs.forget()

    async def mend(self) -> None:
        """Be whole again, as after a restart: connections a fault held are ended."""
        self.fault, self._wire, self._service = None, None, self._whole
        for listener in self._listeners():
            await listener.drop()
        await self._settle()

    def _listeners(self) -> list[Listener]:
        return [self._listener] + ([self._grpc_listener] if self._grpc_listener else [])

    def _set_fault(self, fault: str, seconds: float | None) -> None:
        if fault not in faults(self.kind):
            raise ValueError(f"{self.kind} has no fault {fault!r}; it has {', '.join(faults(self.kind))}")
        own = self._whole.FAULTS.get(fault)
        changes: dict[str, Any] = dict(own.changes) if own else {}
        self._service = replace(self._whole, **changes)
        self._wire = None if own else WIRE_FAULTS[fault]
        default = self._wire.seconds if self._wire else 0.0
        self._seconds = default if seconds is None else seconds
        self.fault = fault
        self.world.since_fault = 0

    async def _settle(self) -> None:
        if not self._started:
            return
        refuses = self._wire is not None and self._wire.refuses
        for listener in self._listeners():
            await (listener.refuse() if refuses else listener.open())
        if self._grpc is not None:
            self._grpc.serving(bool(getattr(self._service, "grpc_serving", True)))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(reader, writer, self._seconds)
        while not writer.is_closing() and await self._exchange(link):
            pass

    async def _exchange(self, link: Link) -> bool:
        """Read one request and answer it; False when that was the connection's last."""
        await self._awake.wait()
        if await self._greeted(link):
            return False
        try:
            request = await read_request(link.reader, self.world)
        except BadRequestError:
            await link.send(self._render(BAD_REQUEST, closes=True))
            return False
        if request is None:
            return False
        self.world.seen[f"{request.method} {request.path}"] += 1
        self.world.since_fault += 1
        if await self._greeted(link):  # the fault came while this connection was idle
            return False
        wire = self._wire
        instead = wire.instead(self.kind, request) if wire and wire.instead else None
        answer = instead or await self._service.answer(request)
        closes = request.headers.get("connection", "").lower() == "close"
        data = self._render(answer, body=request.method != "HEAD", closes=closes)
        await self._awake.wait()
        if wire and wire.sends:
            await wire.sends(replace(link, seconds=self._seconds), data)
            return self.fault == "slow" and not closes
        await link.send(data)
        return not closes

    async def _greeted(self, link: Link) -> bool:
        if self._wire is None or self._wire.greets is None:
            return False
        await self._wire.greets(link)
        return True

    def _render(self, answer: Answer, *, body: bool = True, closes: bool) -> bytes:
        extra = {"connection": "close"} if closes else {}
        return render(answer, server=self._service.SERVER, body=body, extra=extra)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass a gRPC connection on to grpcio's own server, unless a fault takes it first."""
        assert self._grpc is not None  # `start` made it before this port opened
        await self._awake.wait()
        link = Link(reader, writer, self._seconds)
        if await self._greeted(link):
            return
        if self._wire and self._wire.sends:
            await self._wire.sends(link, b"")  # nothing of HTTP/1.1 to send: slow is late, garbage is garbage
            if self.fault != "slow":
                return
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", self._grpc.port)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, inner_writer))
                both.create_task(self._pump(inner_reader, writer))
        except* ConnectionError:
            pass  # one side left
        finally:
            inner_writer.close()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            await self._awake.wait()
            sink.write(data)
            await sink.drain()
        sink.close()
