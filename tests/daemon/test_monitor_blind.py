"""The daemon in a network that is cut off: real namespaces, real cables, real silence.

Two namespaces: ours, with the daemon, and the world, with what it watches, the anchors and whoever is told. Two cables
lead there: one is the private network, one is the internet. Nothing leaves the machine: neither namespace has any
other way out.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from demo.contract import Contract
from demo.daemon import Daemon
from demo.process import Command, Keeper, clean_environ

Until = Callable[..., Any]

# Addresses of the world: what is watched, and the anchors. Some are public ones, in a namespace without a way out.
STORE, CACHE, WEB = "10.9.0.5", "10.9.0.6", "93.184.215.14"
GATES = "10.9.0.2", "93.184.215.99"
# The daemon in a hurry: two minutes of blindness are four seconds, and the rest after it is one.
DAEMON = (
    "from monitor import own_sight\n"
    "assert (own_sight.BLIND_AFTER, own_sight.BLIND_REST) == (120.0, 30.0)\n"  # set where they are read, or they wait
    "own_sight.BLIND_AFTER, own_sight.BLIND_REST = 4.0, 1.0\n"
    "from monitor.__main__ import main; main()"
)

CABLES = f"""
set -e
ip link set lo up
unshare -n sleep 600 &
world=$!
until [ "$(readlink /proc/$world/ns/net)" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
there() {{ nsenter -t $world -n "$@"; }}
for cable in v w; do
  ip link add ${{cable}}0 type veth peer name ${{cable}}1
  ip link set ${{cable}}1 netns $world
done
there ip link set lo up
there ip addr add {GATES[0]}/24 dev v1
there ip addr add {STORE}/32 dev v1
there ip addr add {CACHE}/32 dev v1
there ip addr add 10.8.0.2/24 dev w1
there ip addr add {WEB}/32 dev w1
there ip addr add {GATES[1]}/32 dev w1
there ip link set v1 up
there ip link set w1 up
ip addr add 10.9.0.1/24 dev v0
ip addr add 10.8.0.1/24 dev w0
ip link set v0 up
ip link set w0 up
ip route add default via 10.8.0.2
echo world $world
exec sleep 600
"""

WORLD = f"""
import asyncio, http.server, pathlib, sys, threading

class Hook(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        with pathlib.Path(sys.argv[1]).open("ab") as file:
            file.write(body.replace(b"\\n", b" ") + b"\\n")
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_): pass

async def main():
    for host in ("{STORE}", "{CACHE}", "{WEB}"):
        await asyncio.start_server(lambda reader, writer: writer.close(), host, 7001)
    print("listening", flush=True)
    await asyncio.Event().wait()

threading.Thread(target=http.server.HTTPServer(("{WEB}", 8000), Hook).serve_forever, daemon=True).start()
asyncio.run(main())
"""

WATCHED = "".join(
    f'[services.{name}]\n[services.{name}.checks.answers]\nkind = "tcp"\nhost = "{host}"\nport = 7001\n'
    for name, host in (("store", STORE), ("cache", CACHE), ("web", WEB))
)


class World:
    """The two namespaces, until closed."""

    def __init__(self, keeper: Keeper, folder: Path, until: Until) -> None:
        self.keeper = keeper
        self.hook = folder / "hook.jsonl"
        self._user = [] if os.geteuid() == 0 else ["-r"]
        self._started: list[int] = []
        log = folder / "cables.log"
        ours = self._spawn(["unshare", *self._user, "-n", "sh", "-c", CABLES], log, folder)
        self.ours = ours
        until(lambda: "world" in log.read_text() or keeper.poll(ours) is not None)
        assert "world " in log.read_text(), log.read_text()
        self.there = int(log.read_text().partition("world ")[2].split()[0])
        log = folder / "world.log"
        self._spawn([*self.enter(self.there), sys.executable, "-c", WORLD, str(self.hook)], log, folder)
        until(lambda: "listening" in log.read_text())

    def _spawn(self, argv: list[str], log: Path, folder: Path) -> int:
        log.touch()
        self._started.append(self.keeper.spawn(Command(argv=argv, environ=clean_environ()), cwd=folder, log=log))
        return self._started[-1]

    def enter(self, pid: int) -> list[str]:
        """The command that runs another one in the namespaces of `pid`."""
        return ["nsenter", "-t", str(pid), *(["-U", "--preserve-credentials"] if self._user else []), "-n"]

    def ip(self, *words: str, there: bool = False) -> None:
        pid = self.there if there else self.ours
        subprocess.run([*self.enter(pid), "ip", *words], check=True, capture_output=True, timeout=10)

    def swallow(self, *ours: str, back: bool = False) -> None:
        """Has the world's answers to these addresses of ours vanish without a word; or `back` again."""
        for address in ours:
            self.ip("route", "del" if back else "add", "blackhole", f"{address}/32", there=True)

    def told(self) -> list[dict[str, Any]]:
        """The alerts that arrived, in their order."""
        return [json.loads(line) for line in self.hook.read_text().splitlines()] if self.hook.exists() else []

    def close(self) -> None:
        for pid in reversed(self._started):
            self.keeper.signal(pid, signal.SIGKILL, group=True)


class Inside(Daemon):
    """The daemon in our namespace, where only its log reaches us from."""

    def ready(self) -> bool:
        return any(entry["event"] == "watching" for entry in self.entries())

    def entries(self) -> list[dict[str, Any]]:
        if not self.log.exists():
            return []
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]

    def flips(self) -> list[tuple[str, str]]:
        return [(entry["service"], entry["new"]) for entry in self.entries() if entry["event"] == "flip"]

    def states(self) -> dict[str, str]:
        return dict(self.flips())

    def incidents(self, what: str) -> list[str]:
        return [entry["says"] for entry in self.entries() if entry["event"] == "incident" and entry["what"] == what]


def may_make_networks() -> None:
    """Skips where namespaces and cables cannot be made; in CI, which is root, that fails."""
    missing = [name for name in ("unshare", "nsenter", "ip") if not shutil.which(name)]
    why = f"{', '.join(missing)} not installed: Debian's packages util-linux and iproute2" if missing else ""
    if not why:
        user = [] if os.geteuid() == 0 else ["-r"]
        words = ["unshare", *user, "-n", "ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1"]
        tried = subprocess.run(words, capture_output=True, text=True, timeout=10, check=False)
        why = f"no network namespace with a cable can be made here: {tried.stderr.strip()}" if tried.returncode else ""
    if why and os.environ.get("CI"):
        pytest.fail(why)
    if why:
        pytest.skip(why)


@pytest.fixture
def world(keeper: Keeper, tmp_path: Path, until: Until) -> Iterator[World]:
    may_make_networks()
    world = World(keeper, tmp_path, until)
    yield world
    world.close()


@pytest.fixture
def daemon(world: World, keeper: Keeper, tmp_path: Path, until: Until) -> Iterator[Inside]:
    (tmp_path / "watch.toml").write_text(WATCHED)
    variables = {
        "WATCH_FILE": str(tmp_path / "watch.toml"),
        "ANCHORS": f"{GATES[0]}:9,{GATES[1]}:9",  # nothing listens there: a refusal is an answer
        "ALERT_WEBHOOK_URL": f"http://{WEB}:8000/hook",
        "CHECK_INTERVAL": "2",
        "CONFIRM_INTERVAL": "0.3",
        "PROBE_TIMEOUT": "1",
        "START_PERIOD": "0",
        "LOG_FORMAT": "json",
    }
    one = Inside(variables, keeper=keeper, command=[*world.enter(world.ours), sys.executable, "-c", DAEMON, "run"])
    one.start()
    until(lambda: one.states() == {"store": "up", "cache": "up", "web": "up"})
    yield one
    one.close()


@pytest.mark.parametrize("cut", ["swallowed", "unplugged"])
def test_cut_off_from_everything_one_blind_alert_and_no_other(
    world: World, daemon: Inside, until: Until, cut: str
) -> None:
    if cut == "swallowed":
        world.swallow("10.9.0.1", "10.8.0.1")
    else:
        world.ip("link", "set", "v0", "down")
        world.ip("link", "set", "w0", "down")
    until(lambda: set(daemon.states().values()) == {"unknown"})
    opened = until(lambda: daemon.incidents("opened"))
    time.sleep(3)  # for whatever else might be said
    assert len(opened) == len(daemon.incidents("opened")) == 1
    assert "Nothing at all is seen" in opened[0]
    assert world.told() == [], "there is no way out"
    if cut == "swallowed":
        world.swallow("10.9.0.1", "10.8.0.1", back=True)
    else:
        world.ip("link", "set", "v0", "up")
        world.ip("link", "set", "w0", "up")
        world.ip("route", "add", "default", "via", "10.8.0.2")
    until(lambda: set(daemon.states().values()) == {"up"})
    until(lambda: daemon.incidents("resolved"))
    until(lambda: world.told() and world.told()[-1]["kind"] in ("resolve", "brief"), 40)
    time.sleep(2)
    kinds = [alert["kind"] for alert in world.told()]
    assert kinds in (["brief"], ["open", "resolve"])
    assert {alert["severity"] for alert in world.told() if alert["kind"] != "resolve"} == {"critical"}
    assert "down" not in [state for _, state in daemon.flips()]


def test_the_private_network_alone_is_told_while_the_internet_works_and_a_dead_host_is_an_outage(
    world: World, daemon: Inside, until: Until
) -> None:
    world.swallow("10.9.0.1")
    first = until(world.told)
    assert [alert["kind"] for alert in first] == ["open"]
    assert "Nothing of the private network is seen" in str(first[0])
    assert daemon.states() == {"store": "unknown", "cache": "unknown", "web": "up"}
    world.swallow("10.9.0.1", back=True)
    until(lambda: set(daemon.states().values()) == {"up"})
    until(lambda: [alert["kind"] for alert in world.told()] == ["open", "resolve"])
    world.ip("addr", "del", f"{CACHE}/32", "dev", "v1", there=True)
    until(lambda: daemon.states()["cache"] == "down")
    until(lambda: len(world.told()) == 3)
    assert world.told()[2]["kind"] == "open"
    assert "cache" in str(world.told()[2])
    assert daemon.states() == {"store": "up", "cache": "down", "web": "up"}


def test_a_daemon_that_was_suspended_tells_nothing_and_is_well_at_once(
    keeper: Keeper, target: Contract, until: Until
) -> None:
    """Eight seconds are four rounds of this daemon's; the whole process is frozen, its clock is not."""
    quick = {"CHECK_INTERVAL": "2", "CONFIRM_INTERVAL": "0.3", "PROBE_TIMEOUT": "1", "LOG_FORMAT": "json"}
    one = Inside({**target.environ(), **quick}, keeper=keeper, command=[sys.executable, "-c", DAEMON, "run"])
    try:
        one.start()
        until(lambda: one.states() == {"saas-api": "up"})
        one.pause()
        time.sleep(8)
        one.resume()
        time.sleep(1)
        assert httpx.get(f"{one.url}/healthz", trust_env=False).status_code == 200
        time.sleep(6)
        assert one.flips() == [("saas-api", "up")]
        assert not [entry for entry in one.entries() if entry["event"] in ("blind", "incident")]
    finally:
        one.close()
