"""What the daemon costs the servers it watches, at its own pace: connections, questions, bytes and the servers' CPU.

    python -m benchmarks.own_load [--seconds 600]

Real servers only: PostgreSQL, Valkey, SeaweedFS and LiteLLM (`make demo-litellm`), and the ClickHouse engine behind our
HTTP server. Applications that add questions of their own to these servers (Langfuse's queues, Open WebUI's models) are
played by stand-ins that ask nobody. Each server's processes are measured for --seconds without the daemon, then for as
long with it; what is left is the daemon's doing. It reaches the servers through relays that count. Ends with 1 when one
costs more than LIMIT.
"""

import argparse
import asyncio
import platform
import re
import sys
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
import psutil

from demo.clickhouse import Clickhouse
from demo.contract import Contract, LoopThread
from demo.daemon import Daemon
from demo.litellm import LiteLlm
from demo.ports import free_port
from demo.postgres import Postgres
from demo.process import Keeper
from demo.seaweedfs import Seaweedfs
from demo.server import Server
from demo.valkey import Valkey

STAND_INS = ("langfuse-web", "langfuse-worker", "open-webui")
WATCH_FILE = '[services.litellm]\ndepends_on = ["redis"]\n'  # the real one has no database here
SETTLE = 75.0  # seconds for imports and the first round, in which everything is asked for the first time
LIMIT = 1.0  # percent of a core

# A question in what a client of each protocol sends. One to PostgreSQL is a message of type Q that begins a chunk.
HTTP = re.compile(rb" HTTP/1\.1\r\n")
QUESTIONS: Mapping[str, re.Pattern[bytes]] = {
    "postgres": re.compile(rb"\AQ\0"),
    "redis": re.compile(rb"\*\d+\r\n\$\d+\r\n"),
    "clickhouse": HTTP,
    "minio": HTTP,
    "litellm": HTTP,
}


@dataclass
class Relay:
    """Passes on what comes to a port of its own to `port`, and counts it. Lives on one loop; times are the loop's."""

    port: int
    question: re.Pattern[bytes]
    own: int = field(default_factory=free_port)
    opened: int = 0
    questions: int = 0
    moved: int = 0
    most: int = 0
    held: float = 0.0
    now: set[float] = field(default_factory=set)
    server: asyncio.Server | None = None

    async def serve(self) -> None:
        """Listens until the loop ends."""
        self.server = await asyncio.start_server(self._take, "127.0.0.1", self.own)

    async def reset(self) -> None:
        """Counts anew; what is open goes on from here."""
        self.opened = self.questions = self.moved = 0
        self.held, self.most = -sum(self._ages()), len(self.now)

    async def tally(self) -> tuple[int, int, int, float, int]:
        """Connections opened, questions, bytes both ways, seconds of open connections, most open at once."""
        return self.opened, self.questions, self.moved, self.held + sum(self._ages()), self.most

    def _ages(self) -> Iterator[float]:
        return (asyncio.get_running_loop().time() - began for began in self.now)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began = asyncio.get_running_loop().time()
        self.opened += 1
        self.now.add(began)
        self.most = max(self.most, len(self.now))
        with suppress(OSError):
            to_read, to_write = await asyncio.open_connection("127.0.0.1", self.port)
            ways = {
                asyncio.create_task(self._pass_on(reader, to_write, asks=True)),
                asyncio.create_task(self._pass_on(to_read, writer)),
            }
            # Whoever has been told that the other is done closes at once, or is closed.
            _, left = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            if left:
                await asyncio.wait(left, timeout=1)
            for way in left:
                way.cancel()
            to_write.close()
        writer.close()
        self.now.discard(began)
        self.held += asyncio.get_running_loop().time() - began

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, asks: bool = False) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                self.moved += len(data)
                self.questions += len(self.question.findall(data)) if asks else 0
                writer.write(data)
                await writer.drain()
            writer.write_eof()


@contextmanager
def servers(keeper: Keeper) -> Iterator[dict[str, Server]]:
    """The real servers by the name the watch gives them, started at once."""
    found: dict[str, Server] = {
        "postgres": Postgres(keeper=keeper),
        "redis": Valkey(keeper=keeper),
        "clickhouse": Clickhouse(keeper=keeper),
        "minio": Seaweedfs(keeper=keeper, memory="8GiB"),
        "litellm": LiteLlm(keeper=keeper),
    }
    with ThreadPoolExecutor(len(found)) as pool:
        list(pool.map(lambda server: server.start(), found.values()))
    yield found
    for server in found.values():
        server.close()


def cpu(server: Server) -> float:
    """Seconds of CPU of a server's processes, those that have ended among them."""
    process = psutil.Process(server.pid)
    seconds = 0.0
    for one in (process, *process.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            seconds += sum(one.cpu_times()[:4])
    return seconds


def main() -> int:
    """Measures without the daemon and with it, and prints one table; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    seconds = parser.parse_args().seconds
    loop = LoopThread()
    with Keeper.start() as keeper, servers(keeper) as real:
        relays = {name: Relay(server.port, QUESTIONS[name]) for name, server in real.items()}
        stand_ins = [Contract(kind, port=free_port(), loop=loop).start() for kind in STAND_INS]
        for relay in relays.values():
            loop.call(relay.serve())
        file = keeper.folder / "watch.toml"
        file.write_text(WATCH_FILE)
        variables = {"WATCH_FILE": str(file), "BACKUP_SCHEDULE": "off", "LITELLM_SYNTHETIC_MODEL": "demo-small"}
        for one in (*real.values(), *stand_ins):
            variables |= one.environ()
        variables["OPEN_WEBUI_OPENAI_API_KEY"] = variables["LITELLM_MASTER_KEY"]
        for relay in relays.values():
            for name, value in variables.items():
                variables[name] = value.replace(f"127.0.0.1:{relay.port}", f"127.0.0.1:{relay.own}")
        alone, _ = used(real, seconds)
        with Daemon(variables, keeper=keeper) as daemon:
            time.sleep(SETTLE)
            for relay in relays.values():
                loop.call(relay.reset())
            watched, wall = used(real, seconds)
            counted = {name: loop.call(relay.tally()) for name, relay in relays.items()}
            light = report(daemon, alone, watched, counted, wall)
        for one in stand_ins:
            one.stop()
    loop.stop()
    return 0 if light else 1


def used(real: Mapping[str, Server], seconds: float) -> tuple[dict[str, float], float]:
    """CPU seconds of each server in the `seconds` to come, and how many those really were."""

    def look() -> dict[str, float]:
        return {name: cpu(server) for name, server in real.items()}

    began, before = time.monotonic(), look()
    time.sleep(seconds)
    after = look()
    return {name: after[name] - before[name] for name in real}, time.monotonic() - began


def report(
    daemon: Daemon,
    alone: Mapping[str, float],
    watched: Mapping[str, float],
    counted: Mapping[str, tuple[int, int, int, float, int]],
    wall: float,
) -> bool:
    """Prints the table, and what spoils it; gives whether every server is within LIMIT."""
    light = True
    services = daemon.services()
    checks = sum(len(service["checks"]) for service in services.values())
    host = httpx.get(f"{daemon.url}/healthz", trust_env=False).status_code
    print(
        f"{datetime.now(UTC):%Y-%m-%d}, {psutil.cpu_count()} cores, Python {platform.python_version()}, Linux", end=""
    )
    print(f" {platform.release()}; {len(services)} services, {checks} checks; {wall:.0f} s each; /healthz {host}\n")
    print(
        "| server | connections a minute | open on average | at once | questions a minute | KB a minute "
        "| CPU s alone | CPU s watched | of a core |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    minutes = wall / 60
    for name, (opened, questions, moved, held, most) in counted.items():
        version = services[name].get("facts", {}).get("version", "")
        share = 100 * (watched[name] - alone[name]) / wall
        print(
            f"| {name} {version} | {opened / minutes:.1f} | {held / wall:.2f} | {most} | {questions / minutes:.1f} "
            f"| {moved / 1000 / minutes:.1f} | {alone[name]:.2f} | {watched[name]:.2f} | {share:.2f} % |"
        )
        light = light and share <= LIMIT
        if share > LIMIT:
            print(f"TOO MUCH: {name} {share:.2f} % of a core")
    for name, service in services.items():
        if service["state"] != "up" and name != "backups":
            print(f"not up: {name} {service['state']} {service['cause']} {service.get('evidence')}")
    return light


if __name__ == "__main__":
    sys.exit(main())
