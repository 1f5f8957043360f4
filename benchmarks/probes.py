"""CPU per HTTP probe: httpx as it comes beside our own transport and the whole probe. `python -m benchmarks.probes`

One pass over 1,000 targets of a small server in another process on loopback, 50 and then 1,000 at a time; then again
with 300 of the 1,000 accepting and never answering. Takes some ten seconds.
"""

import asyncio
import json
import logging
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import httpx

from config.checks import HttpParams
from config.services import Check
from monitor.net import WatchLoop
from monitor.probes.base import ProbeContext, Verdict
from monitor.probes.table import run_check

TARGETS = 1000
BODY = json.dumps({"status": "healthy", "db": "connected", "litellm_version": "1.84.0"})

SERVER = f"""
import asyncio
HEAD = b"HTTP/1.1 200 OK\\r\\ncontent-type: application/json\\r\\ncontent-length: {len(BODY)}\\r\\n\\r\\n"

class Page(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        if b"/hole" not in data:
            self.transport.write(HEAD + {BODY.encode()!r})
            self.transport.close()

async def main():
    server = await asyncio.get_running_loop().create_server(Page, "127.0.0.1", 0, backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""

Ask = Callable[[str], Awaitable[float]]


async def measure(name: str, ask: Ask, port: int, at_once: int, holes: int = 0) -> None:
    """Asks every target once and prints CPU a probe, and the 99th percentile of the latency of those that answer."""
    bound = asyncio.Semaphore(at_once)

    async def one(number: int) -> float:
        async with bound:
            return await ask(f"http://127.0.0.1:{port}/{'hole' if number < holes else 'page'}{number}")

    await asyncio.gather(*(one(TARGETS) for _ in range(20)))
    cpu, wall = time.process_time(), time.perf_counter()
    latencies = sorted(await asyncio.gather(*(one(number) for number in range(TARGETS))))[: TARGETS - holes]
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    p99 = latencies[int(len(latencies) * 0.99)]
    print(f"{name:34} {at_once:5} {holes:6} {cpu / TARGETS * 1000:7.2f} {p99 * 1000:9.1f} {wall:7.2f}")


async def run(port: int) -> None:
    """All the passes."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    plain = httpx.AsyncClient(trust_env=False, limits=limits, timeout=10.0)
    context = ProbeContext()
    ours = httpx.AsyncClient(transport=context.transport(), trust_env=False, timeout=None)

    def client(used: httpx.AsyncClient) -> Ask:
        async def ask(url: str) -> float:
            began = time.perf_counter()
            (await used.get(url)).raise_for_status()
            return time.perf_counter() - began

        return ask

    async def probe(url: str) -> float:
        params = HttpParams(url=url, expect_json="db == 'connected'", facts={"version": "litellm_version"})
        outcome = await run_check(Check(name="page", kind="http", params=params, timeout=2.0), context)
        assert (outcome.verdict == Verdict.PASS) != ("/hole" in url), outcome
        return outcome.latency

    print(f"{'':34} {'once':>5} {'holes':>6} {'cpu ms':>7} {'p99 ms':>9} {'wall s':>7}")
    for at_once in (50, TARGETS):
        await measure("httpx's client as it comes", client(plain), port, at_once)
        await measure("httpx's client, our transport", client(ours), port, at_once)
        await measure("the whole probe", probe, port, at_once)
    await measure("the whole probe", probe, port, TARGETS, holes=300)
    await plain.aclose()
    await ours.aclose()


def main() -> None:
    """Starts the server and ends it."""
    logging.getLogger("httpx").setLevel(logging.WARNING)
    server = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        with asyncio.Runner(loop_factory=WatchLoop) as runner:
            runner.run(run(port))
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main()
