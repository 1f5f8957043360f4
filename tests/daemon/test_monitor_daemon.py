"""The daemon as a process: starting, telling, standing by, surviving, ending."""

import json
import os
import signal
import socket
import sqlite3
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
from demo.process import clean_environ
from demo.provider import ROUTING_KEY, SLACK_TOKEN, Provider

Start = Callable[..., Daemon]
Until = Callable[..., Any]
CANARY = "canary-7f3a9c"


def state(daemon: Daemon, name: str = "saas-api") -> str:
    return str(daemon.services().get(name, {}).get("state"))


def flips(daemon: Daemon) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in daemon.log.read_text().splitlines() if line.startswith("{")]
    return [entry for entry in entries if entry["event"] == "flip"]


def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "monitor", *arguments]
    return subprocess.run(
        command, env=clean_environ(**variables), capture_output=True, text=True, timeout=60, check=False
    )


def test_an_outage_is_told_in_one_line_and_so_is_its_end(daemon: Start, target: Contract, until: Until) -> None:
    one = daemon(target.environ())
    until(lambda: state(one) == "up")
    target.break_with("refuse")
    until(lambda: state(one) == "down")
    target.mend()
    until(lambda: state(one) == "up")
    told = flips(one)
    assert [(flip["old"], flip["new"]) for flip in told] == [("unknown", "up"), ("up", "down"), ("down", "up")]
    down = told[1]
    assert down["cause"] == "refused"
    assert down["remedy"]
    assert "\n" not in down["says"]
    for part in ("saas-api", "up", "down", "refuse"):
        assert part in down["says"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_within_three_seconds_with_everything_written(
    daemon: Start, target: Contract, until: Until, number: signal.Signals
) -> None:
    target.break_with("hang")  # a probe under way must not hold it up
    one = daemon(target.environ())
    until(lambda: state(one) == "down")
    with socket.create_connection((one.host, one.port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")  # nor a client that never finishes its request
        began = time.monotonic()
        os.kill(one.pid, number)
        code = until(lambda: [one.keeper.poll(one.pid)] if not one.running else None, 5)
    assert time.monotonic() - began < 3
    assert code == [0]
    with sqlite3.connect(one.folder / "state" / "watchkeeper.db") as file:
        assert file.execute("SELECT new FROM flips").fetchall() == [("down",)]
        assert file.execute("SELECT count(*) FROM outcomes").fetchone()[0] >= 3


def test_kill_and_restart_keep_the_open_outage_and_its_beginning(daemon: Start, target: Contract, until: Until) -> None:
    one = daemon(target.environ())
    until(lambda: state(one) == "up")
    target.break_with("refuse")
    since = until(lambda: state(one) == "down" and one.services()["saas-api"]["since"])
    until(lambda: len(flips(one)) == 2)
    time.sleep(1.2)  # a batch is written each second
    one.keeper.signal(one.pid, signal.SIGKILL)
    until(lambda: not one.running)
    one.start()
    until(one.services)
    assert state(one) == "down"
    assert one.services()["saas-api"]["since"] == since
    time.sleep(2.5)
    assert len(flips(one)) == 2, "an outage that goes on is not told again"


def test_a_second_daemon_stands_by_and_takes_over(
    daemon: Start, target: Contract, until: Until, tmp_path: Path
) -> None:
    shared = {**target.environ(), "INSTANCE": "first"}
    first = daemon(shared)
    until(lambda: state(first) == "up")
    folder = str(first.folder / "state")

    class Second(Daemon):
        def environ(self) -> dict[str, str]:
            return {"PORT": str(self.port), "STATE_DIR": folder}

    second = Second({**shared, "INSTANCE": "second"}, keeper=first.keeper)
    second.start()
    try:
        health = httpx.get(f"{second.url}/healthz", trust_env=False)
        assert health.status_code == 200
        assert "standing by" in health.text
        assert not second.services()
        assert "instance first" in second.log.read_text()
        first.keeper.signal(first.pid, signal.SIGKILL)
        until(lambda: state(second) == "up")
    finally:
        second.close()


def test_a_state_file_of_garbage_is_set_aside_and_told(daemon: Start, target: Contract, until: Until) -> None:
    one = daemon(target.environ())
    until(lambda: state(one) == "up")
    one.stop()
    file = one.folder / "state" / "watchkeeper.db"
    for extra in file.parent.glob("watchkeeper.db-*"):
        extra.unlink()
    file.write_bytes(b"not a database, not at all" * 400)
    one.start()
    until(lambda: state(one) == "up")
    assert len(list(file.parent.glob("watchkeeper.db*"))) > 1
    assert "set aside" in one.log.read_text()


def test_a_port_that_is_taken_is_one_line_that_names_it(target: Contract) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = run("run", PORT=port, **target.environ())
    assert ended.returncode == 2
    assert ended.stderr.splitlines()[-1].startswith(f"watchkeeper: PORT={port} is already taken")


def test_nothing_to_watch_says_what_to_set() -> None:
    for command in ("run", "check", "config"):
        ended = run(command)
        assert ended.returncode == 2
        assert "DATABASE_URL" in ended.stderr
        assert "Traceback" not in ended.stderr


def test_every_bad_value_is_named_at_once_and_none_is_shown() -> None:
    ended = run(
        "check",
        DATABASE_URL=f"redis://u:{CANARY}@x/0",
        REDIS_URL="${{Redis.REDIS_URL}}",
        QDRANT_URL="http://qdrant:99999",
        CHECK_INTERVAL="often",
    )
    assert ended.returncode == 2
    for name in ("DATABASE_URL", "REDIS_URL", "QDRANT_URL", "CHECK_INTERVAL"):
        assert any(line.startswith(f"watchkeeper: {name}") for line in ended.stderr.splitlines()), name
    assert CANARY not in ended.stderr + ended.stdout


def test_check_and_config_speak_for_people_and_for_machines(target: Contract) -> None:
    ended = run("check", "--json", **target.environ())
    document = json.loads(ended.stdout)
    assert ended.returncode == 0
    service = document["services"][0]
    assert (service["name"], service["state"]) == ("saas-api", "up")
    assert {"name", "verdict", "latency_seconds", "cause", "evidence", "remedy"} <= set(service["checks"][0])
    target.break_with("html")
    ended = run("check", **target.environ())
    assert ended.returncode == 1
    assert "saas-api" in ended.stdout
    assert "wrong_service" in ended.stdout
    ended = run("config", **target.environ())
    assert ended.returncode == 0
    assert "SAAS_API_URL" in ended.stdout


@pytest.mark.parametrize(("option", "seconds"), [((), 3.0), (("--timeout", "1"), 1.0)])
def test_a_look_at_a_service_that_hangs_is_soon_over(target: Contract, option: tuple[str, ...], seconds: float) -> None:
    target.break_with("hang")
    ended = run("check", "--json", *option, **target.environ())
    assert ended.returncode == 1
    (seen,) = json.loads(ended.stdout)["services"][0]["checks"]
    assert seen["cause"] == "no_answer"
    assert f"did not answer within {seconds:g} s; the watch itself waits 10 s" in seen["evidence"]
    assert seconds <= seen["latency_seconds"] < seconds + 1


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Those who are told; Discord knows the webhook no more, so that its answer is kept and told elsewhere."""
    with Provider() as provider:
        provider.behave("not_found", only="discord")
        yield provider


def test_no_secret_is_seen_anywhere(daemon: Start, target: Contract, provider: Provider, until: Until) -> None:
    variables = {
        **target.environ(),
        "DATABASE_URL": f"postgresql://u:{CANARY}-pg@127.0.0.1:1/x",
        "REDIS_URL": f"redis://:{CANARY}-redis@127.0.0.1:1",
        "CLICKHOUSE_URL": f"http://u:{CANARY}-ch@127.0.0.1:1",
        "LITELLM_URL": f"http://u:{CANARY}-basic@127.0.0.1:1",
        "LITELLM_MASTER_KEY": f"sk-{CANARY}",
        "MINIO_ENDPOINT": target.url,
        "MINIO_ACCESS_KEY": f"{CANARY}-access",
        "MINIO_SECRET_KEY": f"{CANARY}-secret",
        "QDRANT_URL": target.url,
        "QDRANT_API_KEY": f"{CANARY}-qdrant",
        **provider.environ("slack", "pagerduty"),
        "DISCORD_WEBHOOK_URL": f"{provider.url}/api/webhooks/1/{CANARY}-discord",
        "ALERT_WEBHOOK_URL": f"{provider.url}/hook/{CANARY}-hook?key={CANARY}",
        "ALERT_WEBHOOK_SECRET": f"{CANARY}-signs",
        "HEARTBEAT_URL": f"{provider.url}/ping/{CANARY}-ping",
        "PAGE_AFTER": "0",
        "LOG_LEVEL": "debug",
    }
    one = daemon({**variables, "API_TOKEN": f"{CANARY}-token", "METRICS_TOKEN": f"{CANARY}-metrics"})
    tokens = [{"Authorization": f"Bearer {CANARY}-{name}"} for name in ("token", "metrics")]
    status = until(lambda: _down(one, tokens[0]))
    pages = [httpx.get(one.url + path, headers=tokens[0], trust_env=False).text for path in ("/", "/healthz")]
    pages.append(httpx.get(f"{one.url}/metrics", headers=tokens[1], trust_env=False).text)
    assert "watchkeeper_service_state" in pages[-1]
    for place in ("slack", "discord", "pagerduty", "webhook", "heartbeat"):
        provider.wait(1, place=place, timeout=30)
    until(lambda: "Alerts do not reach discord" in str(provider.memory.slack))
    asked = [run(*command, **variables) for command in (("check",), ("check", "--json"), ("config",), ("test-alert",))]
    argv = Path(f"/proc/{one.pid}/cmdline").read_text()
    one.stop()
    kept = b"".join(file.read_bytes() for file in (one.folder / "state").iterdir())
    out = "".join(ended.stdout + ended.stderr for ended in asked)
    told = b"".join(one.body for one in provider.received)
    shown = {"pages": "".join(pages), "status": status, "log": one.log.read_text(), "commands": out, "argv": argv}
    for place, text in shown.items():
        assert not [secret for secret in (CANARY, SLACK_TOKEN, ROUTING_KEY) if secret in text], place
    assert not [secret for secret in (CANARY, SLACK_TOKEN, ROUTING_KEY) if secret.encode() in kept]
    assert not [secret for secret in (CANARY, SLACK_TOKEN) if secret.encode() in told]
    assert ROUTING_KEY not in str([provider.memory.slack, provider.memory.hooks])


def _down(daemon: Daemon, token: dict[str, str]) -> str:
    answer = httpx.get(f"{daemon.url}/api/v1/status", headers=token, trust_env=False)
    return answer.text if answer.text.count('"state": "down"') + answer.text.count('"state":"down"') >= 6 else ""
