"""A thousand HTTP services on loopback for five minutes, some of them black holes: lateness, missed runs, CPU, memory.

    python benchmarks/soak.py [--services 1000] [--holes 0] [--seconds 300] [--interval 60]

The services are played by another process; only the daemon is measured. A black hole accepts and never answers.
"""

import argparse
import asyncio
import multiprocessing
import os
import re
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import httpx
import psutil

from demo.daemon import Daemon
from demo.process import Keeper

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 15\r\nConnection: close\r\n\r\n"
ANSWER = HEAD + b'{"status":"ok"}'


class Answers(asyncio.Protocol):
    """Answers whatever is asked, once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, _: bytes) -> None:
        assert isinstance(self.transport, asyncio.Transport)
        self.transport.write(ANSWER)
        self.transport.close()


def play(pipe: Connection) -> None:
    """The process that plays all services: one port that answers, one that is a black hole."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        answers = await loop.create_server(Answers, "127.0.0.1", 0, backlog=4096)
        hole = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0, backlog=4096)
        pipe.send([server.sockets[0].getsockname()[1] for server in (answers, hole)])
        await asyncio.Event().wait()

    asyncio.run(main())


def watch_file(services: int, holes: int, ports: list[int]) -> str:
    """A WATCH_FILE of so many services, the holes spread evenly among them."""
    lines = []
    for number in range(services):
        dark = holes and number * holes // services != (number + 1) * holes // services
        url = f"http://127.0.0.1:{ports[1] if dark else ports[0]}/{number}"
        name = f"hole-{number}" if dark else f"fine-{number}"
        check = f'kind = "http"\nurl = "{url}"\nexpect_json = "status == \'ok\'"\n'
        lines.append(f"[services.{name}]\n[services.{name}.checks.health]\n{check}")
    return "\n".join(lines)


def numbers(metrics: str, name: str) -> dict[str, float]:
    """Every sample of one metric by its labels."""
    pattern = re.compile(rf"^{name}(?:\{{(.*?)\}})? (\S+)$", re.MULTILINE)
    return {labels: float(value) for labels, value in pattern.findall(metrics)}


def quantile(buckets: dict[str, float], share: float) -> str:
    """The bucket a share of all runs is in."""
    ordered = sorted((float(re.search(r'le="([^"]+)"', labels)[1]), count) for labels, count in buckets.items())  # type: ignore[index]
    total = ordered[-1][1]
    return next(f"<= {bound * 1000:g} ms" for bound, count in ordered if count >= share * total)


def main() -> None:
    """Runs one soak and prints what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--holes", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--interval", type=float, default=60)
    wish = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    player = multiprocessing.Process(target=play, args=(theirs,), daemon=True)
    player.start()
    with tempfile.TemporaryDirectory() as folder, Keeper.start() as keeper:
        file = Path(folder) / "watch.toml"
        file.write_text(watch_file(wish.services, wish.holes, ours.recv()))
        variables = {"WATCH_FILE": str(file), "CHECK_INTERVAL": f"{wish.interval:g}", "START_PERIOD": "0"}
        with Daemon(variables, keeper=keeper) as daemon:
            measure(daemon, wish)
    player.terminate()


def measure(daemon: Daemon, wish: argparse.Namespace) -> None:
    """Lets the daemon work and prints its figures."""
    process = psutil.Process(daemon.pid)
    began, cpu = time.monotonic(), sum(process.cpu_times()[:2])
    start = process.memory_info().rss
    time.sleep(wish.seconds)
    seconds, used = time.monotonic() - began, sum(process.cpu_times()[:2]) - cpu
    metrics = httpx.get(f"{daemon.url}/metrics", trust_env=False, timeout=30).text
    runs = sum(numbers(metrics, "watchkeeper_check_runs_total").values())
    late = numbers(metrics, "watchkeeper_run_lateness_seconds_bucket")
    missed = sum(numbers(metrics, "watchkeeper_check_missed_runs_total").values())
    states: dict[str, int] = {}
    for service in daemon.services().values():
        key = f"{service['name'].split('-')[0]} {service['state']}"
        states[key] = states.get(key, 0) + 1
    print(f"services            {wish.services}, {wish.holes} of them black holes, every {wish.interval:g} s")
    print(f"measured            {seconds:.0f} s on {os.cpu_count()} cores")
    print(f"runs                {runs:.0f} (due on the grid: {wish.services * seconds / wish.interval:.0f})")
    print(f"missed runs         {missed:.0f}")
    print(f"lateness p50 / p99  {quantile(late, 0.5)} / {quantile(late, 0.99)}; all {quantile(late, 1.0)}")
    print(f"CPU                 {used / seconds:.2%} of a core, {1000 * used / runs:.2f} ms a run")
    print(f"RSS                 {start / 1e6:.0f} MB at start, {process.memory_info().rss / 1e6:.0f} MB at the end")
    print(f"states              {', '.join(f'{count} {key}' for key, count in sorted(states.items()))}")


if __name__ == "__main__":
    main()
