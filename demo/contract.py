"""A contract server: answers as one real service does, version by version, and breaks when told to.

As a library:

    with Contract("qdrant", api_key="demo") as qdrant:
        qdrant.break_with("hang")

As a process: `python -m demo.contract --kind qdrant --port 6333 --fault hang`; `--list` shows what there is.
"""

import argparse
import asyncio
import json
import signal
import sys
import threading
from collections import Counter
from collections.abc import Coroutine, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from demo.contracts.control import Control
from demo.contracts.needs import Needs
from demo.contracts.server import Plan, Server
from demo.contracts.table import KINDS, faults

T = TypeVar("T")
PATIENCE = 15.0
"""Seconds any one call to a server's loop may take."""


class LoopThread:
    """An event loop on a thread of its own; many contracts, and threads, may share one. Starts at the first call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` on the loop and give its result back, or raise what it raised."""
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="contracts", daemon=True)
                self._thread.start()
            future = asyncio.run_coroutine_threadsafe(work, self._loop)
        return future.result(PATIENCE)

    def stop(self) -> None:
        """End the loop and its thread. Twice is once; another call starts a new one."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None:
            return
        asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)
        loop.close()


class Contract:
    """One contract server in this process.

    `kind` is a key of KINDS, `version` what it pretends to be (None: the newest known), `host` 127.0.0.1, ::1 or
    localhost for both. `grpc_port` (0: a free one) opens Qdrant's second port. `needs` names the real servers it
    truly looks at. Further settings are fields of the service: `master_key=…`, `api_key=…`. `loop` shares one
    thread among many. Raises ValueError for what is not known.
    """

    def __init__(
        self,
        kind: str,
        *,
        version: str | None = None,
        port: int = 0,
        host: str = "127.0.0.1",
        grpc_port: int | None = None,
        fault: str | None = None,
        needs: Needs | None = None,
        loop: LoopThread | None = None,
        **settings: object,
    ) -> None:
        self.kind = kind
        self._own_loop = loop is None
        self._loop = loop or LoopThread()
        self._server = Server(
            Plan(
                kind=kind,
                version=version,
                port=port,
                host=host,
                grpc_port=grpc_port,
                fault=fault,
                needs=needs or Needs(),
                settings=settings,
            )
        )

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        return self._server.url

    @property
    def port(self) -> int:
        """Its port."""
        return self._server.port

    @property
    def grpc_port(self) -> int | None:
        """Its gRPC port, None without one."""
        return self._server.grpc_port

    @property
    def fault(self) -> str | None:
        """The fault it has."""
        return self._server.fault

    @property
    def seen(self) -> Counter[str]:
        """How often each "METHOD /path" was asked since it was made."""
        return self._server.seen

    @property
    def counts(self) -> Counter[str]:
        """What the service counts itself: "paid_calls" and "mock_traces" of LiteLLM."""
        return self._server.counts

    @property
    def faults(self) -> dict[str, str]:
        """Every fault it can be told to have, with a line for people."""
        return faults(self.kind)

    def environ(self) -> dict[str, str]:
        """The variables that make the monitor watch it."""
        return self._server.environ

    def start(self) -> Self:
        """Take the port and answer. Raises OSError when the port is taken."""
        self._loop.call(self._server.start())
        return self

    def stop(self) -> None:
        """Let go of ports, connections and (its own) thread; `start` begins again on the same port."""
        self._loop.call(self._server.stop())
        if self._own_loop:
            self._loop.stop()

    def pause(self) -> None:
        """Stand still as under SIGSTOP: connections open, nothing is answered."""
        self._loop.call(self._server.pause())

    def resume(self) -> None:
        """Go on after `pause`."""
        self._loop.call(self._server.resume())

    def break_with(self, fault: str, *, seconds: float | None = None) -> None:
        """Break in one way, in place of any other; see `faults`. Raises ValueError for one it cannot have."""
        self._loop.call(self._server.break_with(fault, seconds=seconds))

    def forget(self) -> None:
        """Look anew at what it needs: LiteLLM believes its database for 15 s after a good answer."""
        self._loop.call(self._server.forget())

    def mend(self) -> None:
        """Be whole again."""
        self._loop.call(self._server.mend())

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


async def host(plans: Sequence[Plan], control_port: int | None) -> None:
    """Host every plan's server, and a control port, until SIGTERM or SIGINT. Prints one JSON line when all answer."""
    servers = {plan.kind: Server(plan) for plan in plans}
    if len(servers) < len(plans):
        raise ValueError("one process hosts each kind once")
    control = None if control_port is None else Control(servers, port=control_port)
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    try:
        for server in servers.values():
            await server.start()
        if control:
            await control.start()
        addresses = {kind: server.url for kind, server in servers.items()}
        print(json.dumps({"ready": addresses, "control": control.url if control else None}), flush=True)
        await ended.wait()
    finally:
        if control:
            await control.stop()
        for server in servers.values():
            await server.stop()


def read_plans(path: Path) -> list[Plan]:
    """The plans in a JSON file: a list of objects with the fields of Plan."""
    return [Plan(**{**plan, "needs": Needs(**plan.get("needs", {}))}) for plan in json.loads(path.read_text())]


def one_plan(arguments: argparse.Namespace) -> Plan:
    """The plan that the command line describes."""
    needs = dict(pair.split("=", 1) for pair in arguments.needs)
    settings = dict(pair.split("=", 1) for pair in arguments.set)
    return Plan(
        kind=arguments.kind,
        version=arguments.version,
        port=arguments.port,
        host=arguments.host,
        grpc_port=arguments.grpc_port,
        fault=arguments.fault,
        needs=Needs(**needs),
        settings=settings,
    )


def show_list() -> None:
    """Print every kind with its versions and faults."""
    for kind, service in KINDS.items():
        print(kind)
        for version, says in service.VERSIONS.items():
            print(f"  version {version:<12} {says}")
        for name, fault in service.FAULTS.items():
            print(f"  fault {name:<22} {fault.says}")
    print("every kind")
    for name, says in faults("react-client").items():
        if name not in KINDS["react-client"].FAULTS:
            print(f"  fault {name:<22} {says}")


def main(argv: Sequence[str] | None = None) -> int:
    """Host contract servers until a signal; 2 when what was asked cannot be."""
    parser = argparse.ArgumentParser(prog="python -m demo.contract", description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--kind", choices=KINDS, help="host one server of this kind")
    what.add_argument("--plans", type=Path, metavar="FILE", help="host every server of a JSON list of plans")
    what.add_argument("--list", action="store_true", help="show every kind with its versions and faults")
    parser.add_argument("--version", help="what it pretends to be (the newest known)")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="127.0.0.1, ::1, or localhost for both")
    parser.add_argument("--grpc-port", type=int, help="open Qdrant's gRPC port; 0 takes a free one")
    parser.add_argument("--fault", help="break it from the start")
    parser.add_argument(
        "--needs", action="append", default=[], metavar="NAME=URL", help="postgres, redis, clickhouse, …"
    )
    parser.add_argument("--set", action="append", default=[], metavar="NAME=TEXT", help="a setting, such as api_key")
    parser.add_argument("--control", type=int, metavar="PORT", help="open a control port; 0 takes a free one")
    arguments = parser.parse_args(argv)
    if arguments.list:
        show_list()
        return 0
    try:
        plans = read_plans(arguments.plans) if arguments.plans else [one_plan(arguments)]
        asyncio.run(host(plans, arguments.control))
    except (ValueError, TypeError, OSError) as problem:
        print(f"demo.contract: {problem}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
