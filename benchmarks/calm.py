"""The healthy stack under load, watched at ten times the pace: nothing may change its state, and nobody may be told.

    python -m benchmarks.calm [--seconds 720] [--faster 10]

720 s at ten times the pace are as many looks of each check as two hours are at the daemon's own. Real PostgreSQL,
Valkey, SeaweedFS, LiteLLM (`make demo-litellm`) and the ClickHouse engine; the other services are stand-ins that truly
look at these. The load: pgbench and redis-benchmark where they are installed (else loops of our own), completions
through LiteLLM, inserts and aggregates in ClickHouse, and `python -m backup run`, one after the other, all at a low
priority. Ends with 1 when a service was anything but up, when anything was told, or when a kind of load did nothing.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg

from config.services import discover
from demo.daemon import Daemon
from demo.litellm import LiteLlm
from demo.process import Keeper, clean_environ
from demo.provider import Provider
from demo.stack import Stack

Task = Callable[[], None]
NICE = ("nice", "-n", "10")
SETTLE = 40.0  # seconds after the start in which services are seen for the first time


class Load:
    """Everything that works on the stack. `did` counts what was done, by its name; `failed` what went wrong."""

    def __init__(self, stack: Stack, variables: Mapping[str, str]) -> None:
        self._stack = stack
        self._variables = dict(variables)
        self._end = threading.Event()
        self._children: list[subprocess.Popen[bytes]] = []
        self.did: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        tasks: dict[str, Task] = {
            "pgbench": self._pgbench() or self._rows,
            "redis-benchmark": self._redis_benchmark() or self._keys,
            "completions": self._completion,
            "clickhouse": self._clickhouse,
            "backups": self._backup,
        }
        self._kinds = tuple(tasks)
        self._threads = [threading.Thread(target=self._loop, args=item, daemon=True) for item in tasks.items()]

    def start(self) -> None:
        """Begins, each kind in a thread of its own."""
        with self._stack.postgres.connect() as admin:
            admin.execute("CREATE DATABASE bench")
        for thread in self._threads:
            thread.start()

    @property
    def idle(self) -> list[str]:
        """The kinds of load that have not done anything yet."""
        return [kind for kind in self._kinds if not self.did[kind]]

    def stop(self) -> None:
        """Ends all of it."""
        self._end.set()
        for child in self._children:
            child.terminate()
        for thread in self._threads:
            thread.join(30)

    def _loop(self, name: str, task: Task) -> None:
        while not self._end.is_set():
            try:
                task()
                self.did[name] += 1
            except (OSError, httpx.HTTPError, psycopg.Error, RuntimeError) as error:
                if not self._end.is_set():
                    self.failed[f"{name}: {str(error).strip()[:200]}"] += 1
                    self._end.wait(1)

    def _run(self, argv: Sequence[str], **environ: str) -> None:
        child = subprocess.Popen(
            [*NICE, *argv], env=clean_environ(**environ), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        self._children.append(child)
        _, said = child.communicate()
        self._children.remove(child)
        if child.returncode and not self._end.is_set():
            raise RuntimeError(f"{Path(argv[0]).name} ended with {child.returncode}: {said.decode()[-200:]}")

    def _pgbench(self) -> Task | None:
        found = shutil.which("pgbench") or next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin/pgbench"))), None)
        if found is None:
            return None
        server = self._stack.postgres
        words = [str(found), "-h", server.host, "-p", str(server.port), "-U", "postgres", "bench"]

        def task() -> None:
            password = {"PGPASSWORD": server.superuser_password, "PGSSLMODE": "disable"}
            if not self.did["pgbench"]:
                self._run([*words, "-i", "-q", "-s", "2"], **password)
            self._run([*words, "-n", "-c", "4", "-R", "100", "-T", "20"], **password)

        return task

    def _rows(self) -> None:
        with self._stack.postgres.connect("bench") as client:
            client.execute("CREATE TABLE IF NOT EXISTS rows (n bigserial PRIMARY KEY, text text)")
            for _ in range(1000):
                client.execute("INSERT INTO rows (text) SELECT md5(random()::text) FROM generate_series(1, 20)")
                client.execute("SELECT count(*), max(text) FROM rows WHERE n % 7 = 0")
                time.sleep(0.01)
            client.execute("TRUNCATE rows")

    def _redis_benchmark(self) -> Task | None:
        found = shutil.which("redis-benchmark")
        server = self._stack.valkey
        words = [str(found), "-h", server.host, "-p", str(server.port), "-c", "20", "-n", "30000", "-r", "1000", "-q"]

        def task() -> None:
            self._run([*words, "-a", server.password or "", "-t", "set,get,incr,sadd"])
            self._end.wait(2)

        return task if found else None

    def _keys(self) -> None:
        with self._stack.valkey.client() as client:
            for number in range(5000):
                client.set(f"bench:{number % 1000}", "x" * 100, ex=60)
                client.get(f"bench:{(number + 7) % 1000}")
        self._end.wait(1)

    def _completion(self) -> None:
        litellm = self._stack.litellm.environ()
        body = {"model": "demo-small", "messages": [{"role": "user", "content": "How are you?"}]}
        headers = {"authorization": f"Bearer {litellm['LITELLM_MASTER_KEY']}"}
        with httpx.Client(headers=headers, timeout=30, trust_env=False) as client:
            for _ in range(50):
                client.post(f"{litellm['LITELLM_URL']}/v1/chat/completions", json=body).raise_for_status()
                if self._end.wait(0.1):
                    return

    def _clickhouse(self) -> None:
        server = self._stack.clickhouse
        server.query("CREATE TABLE IF NOT EXISTS bench (n UInt64, text String) ENGINE = MergeTree ORDER BY n")
        server.query("INSERT INTO bench SELECT number, toString(rand()) FROM numbers(20000)")
        server.query("SELECT n % 100 AS k, count(), uniq(text) FROM bench GROUP BY k ORDER BY 2 DESC LIMIT 5")
        if self.did["clickhouse"] % 50 == 49:
            server.query("TRUNCATE TABLE bench")
        self._end.wait(1)

    def _backup(self) -> None:
        self._run([sys.executable, "-m", "backup", "run", "--json"], **self._variables)
        self._end.wait(5)


def faster(variables: Mapping[str, str], factor: float, file: Path) -> dict[str, str]:
    """The variables for a watch `factor` times as fast; what a preset asks less often is in WATCH_FILE, `file`."""
    pace = {"CHECK_INTERVAL": 60 / factor, "CONFIRM_INTERVAL": 10 / factor, "PAGE_AFTER": 60 / factor}
    lines = [file.read_text()] if file.exists() else []
    lines += [
        f"[services.{service.name}.checks.{check.name}]\ninterval = {check.interval / factor:g}\n"
        for service in discover(variables).services
        for check in service.checks
        if check.interval != 60
    ]
    file.write_text("\n".join(lines))
    return {**variables, **{name: f"{seconds:g}" for name, seconds in pace.items()}, "WATCH_FILE": str(file)}


def main() -> int:
    """Runs the load and the watch, and says whether it was calm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=720)
    parser.add_argument("--faster", type=float, default=10)
    wish = parser.parse_args()
    with Keeper.start() as keeper, Provider() as provider:
        stack = Stack(keeper, real_litellm=LiteLlm.installed()).start()
        own = {**stack.variables, "BACKUP_SCHEDULE": "daily"}
        variables = faster(own, wish.faster, keeper.folder / "watch.toml")
        load = Load(stack, own)
        load.start()
        with Daemon({**variables, **provider.environ("webhook", "slack")}, keeper=keeper) as daemon:
            time.sleep(SETTLE)
            began = time.monotonic()
            first = counters(daemon)
            while time.monotonic() < began + wish.seconds:
                time.sleep(1)
            seconds = time.monotonic() - began
            looks = counters(daemon) - first
            load.stop()
            told = [*provider.of("webhook"), *provider.of("slack")]
            calm = report(daemon, looks, seconds, wish.faster, load)
            for one in told:
                print(f"TOLD {one.place}: {one.body.decode()[:600]}")
        stack.close()
    return 0 if calm and not told else 1


def counters(daemon: Daemon) -> Counter[tuple[str, str]]:
    """Every counter of runs, by which and by the check."""
    metrics = httpx.get(f"{daemon.url}/metrics", trust_env=False, timeout=30).text
    pattern = re.compile(
        r'^watchkeeper_check_(\w*runs_total)\{(?=.*service="([^"]+)")(?=.*check="([^"]+)").*\} (\S+)$', re.MULTILINE
    )
    return Counter({(kind, f"{service}/{check}"): float(n) for kind, service, check, n in pattern.findall(metrics)})


def may_be(name: str) -> tuple[str, ...]:
    """The states that a service is well in; backups are looked at seldom, so in a short run none has been seen yet."""
    return ("up", "unknown") if name == "backups" else ("up",)


def report(daemon: Daemon, looks: Counter[tuple[str, str]], seconds: float, factor: float, load: Load) -> bool:
    """Prints what was looked at, what the load did, and everything that was not calm; gives whether all of it was."""
    services = daemon.services()
    totals: Counter[str] = Counter()
    for (kind, _), count in looks.items():
        totals[kind] += int(count)
    made = sorted(count for (kind, check), count in looks.items() if kind == "runs_total")
    print(f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}")
    print(f"watched   {seconds:.0f} s at {factor:g} times the pace: {seconds * factor / 3600:.2f} hours' looks")
    print(f"services  {len(services)}, {len(made)} checks, {totals['runs_total']} runs")
    print(
        f"failed    {totals['failed_runs_total']}, warned {totals['warned_runs_total']}, "
        f"unseen {totals['unseen_runs_total']}, missed {totals['missed_runs_total']}"
    )
    print(f"load      {', '.join(f'{count} {name}' for name, count in sorted(load.did.items()))}")
    for what, count in load.failed.items():
        print(f"the load itself failed {count} times: {what}")
    for (kind, check), count in sorted(looks.items()):
        if kind != "runs_total" and count:
            print(f"  {check}: {count:.0f} {kind.removesuffix('_runs_total')}")
    flips = [json.loads(line) for line in daemon.log.read_text().splitlines() if '"event": "flip"' in line]
    bad = [flip for flip in flips if flip["new"] not in may_be(flip["service"])]
    for flip in bad:
        print(f"FLIP {json.dumps(flip, ensure_ascii=False)}")
    sick = {name: one for name, one in services.items() if one["state"] not in may_be(name)}
    for name, service in sick.items():
        print(f"NOT UP {name}: {json.dumps(service, ensure_ascii=False)[:1500]}")
    for kind in load.idle:
        print(f"NO LOAD {kind} did nothing")
    calm = not bad and not sick and not load.idle
    print("calm: nothing changed its state" if calm else "NOT CALM")
    return calm


if __name__ == "__main__":
    sys.exit(main())
