"""`python -m monitor incidents | ack | silence | test-alert` as people type them, real daemon and providers."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from alerts.channels.table import open_channels
from config.alert_settings import AlertSettings
from config.env import Env
from demo.contract import Contract
from demo.daemon import Daemon
from demo.ports import free_port
from demo.process import Keeper
from demo.provider import DISCORD_TOKEN, HOOK_TOKEN, ROUTING_KEY, SLACK_TOKEN, Provider
from monitor.command_test_alert import trial_alert, try_channels

TOKEN = "an-api-token-of-ours"
CANARIES = (SLACK_TOKEN, DISCORD_TOKEN, HOOK_TOKEN, ROUTING_KEY, TOKEN)


def monitor(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Runs `python -m monitor …`, in an environment that holds nothing else."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "VIRTUAL_ENV")}
    done = subprocess.run(
        [sys.executable, "-m", "monitor", *arguments],
        env={**kept, "PYTHONIOENCODING": "utf-8", "NO_PROXY": "*", **environ},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    assert not [canary for canary in CANARIES if canary in said]
    return done


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as one:
        yield one


def test_test_alert_goes_through_every_channel_and_says_what_was_answered(provider: Provider) -> None:
    done = monitor("test-alert", **provider.environ("slack", "discord", "pagerduty", "webhook"))
    assert done.returncode == 0, done.stderr
    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "✓ slack",
        "✓ discord",
        "✓ pagerduty",
        "✓ webhook",
    ]
    memory = provider.memory
    assert "Test: alerts reach you here" in memory.slack[0]["text"]
    assert len(memory.discord) == len(memory.hooks) == 1
    assert (list(memory.opened.values()), list(memory.resolved.values()), memory.incidents) == ([1], [1], {})
    assert memory.events[0]["payload"]["severity"] == "info"


def test_test_alert_of_one_channel_tries_that_one_alone(provider: Provider) -> None:
    done = monitor("test-alert", "discord", **provider.environ())
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1)
    assert {one.place for one in provider.received} == {"discord"}


def test_test_alert_fails_when_one_channel_does_and_tries_the_others_all_the_same(provider: Provider) -> None:
    provider.behave("not_found", only="slack")
    done = monitor("test-alert", **provider.environ("slack", "discord"))
    assert done.returncode == 1
    assert "✗ slack: " in done.stdout
    assert "404" in done.stdout
    assert "✓ discord: " in done.stdout


@pytest.mark.parametrize("fault", ["hang", "reset", "garbage", "wrong_body", "rate_limited", "server_error"])
def test_a_channel_that_does_not_take_it_is_told_in_words(provider: Provider, fault: str) -> None:
    provider.behave(fault)
    env = Env(provider.environ("slack", "pagerduty"))
    channels = open_channels(AlertSettings.read(env))
    said = asyncio.run(try_channels(channels, trial_alert("here", time.time()), wait=1.0))
    assert [took for took, _ in said.values()] == [False, False]
    assert all(words and not any(canary in words for canary in CANARIES) for _, words in said.values())


def test_test_alert_with_nothing_set_up_says_what_to_set() -> None:
    done = monitor("test-alert")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no channel is set up: set SLACK_WEBHOOK_URL" in done.stderr
    done = monitor("test-alert", "pagerduty", DISCORD_WEBHOOK_URL="http://127.0.0.1:9/api/webhooks/1/x")
    assert (done.returncode, "there are discord" in done.stderr) == (2, True)
    done = monitor("test-alert", PAGERDUTY_ROUTING_KEY="short")
    assert (done.returncode, "has 5 characters" in done.stderr) == (2, True)


def test_variables_for_proxies_that_are_nonsense_are_told(provider: Provider) -> None:
    # A blank too many, and httpx no longer knows which part of it is the password.
    proxy = " http://anna:canary-of-a-proxy@127.0.0.1:9"
    done = monitor("test-alert", **provider.environ("slack"), HTTPS_PROXY=proxy, NO_PROXY="")
    assert done.returncode == 1
    assert "HTTPS_PROXY" in done.stdout
    assert "canary" not in done.stdout + done.stderr


@pytest.fixture
def watched(contract: Callable[..., Contract], keeper: Keeper) -> Iterator[tuple[Daemon, Contract]]:
    target = contract("qdrant")
    quick = {"CHECK_INTERVAL": "1", "CONFIRM_INTERVAL": "0.2", "PROBE_TIMEOUT": "0.5", "START_PERIOD": "0"}
    with Daemon({**target.environ(), **quick, "API_TOKEN": TOKEN}, keeper=keeper) as daemon:
        yield daemon, target


def open_ones(daemon: Daemon, *, count: int) -> list[dict[str, Any]]:
    """The open incidents once there are so many."""
    deadline = time.monotonic() + 20
    headers = {"Authorization": f"Bearer {TOKEN}"}
    while True:
        answer = httpx.get(f"{daemon.url}/api/v1/incidents", headers=headers, trust_env=False)
        found: list[dict[str, Any]] = answer.json().get("incidents", [])
        if answer.is_success and len(found) == count:
            return found
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)


def test_an_outage_from_the_command_line(watched: tuple[Daemon, Contract]) -> None:
    daemon, target = watched
    reach = {"PORT": str(daemon.port), "API_TOKEN": TOKEN}
    open_ones(daemon, count=0)
    assert monitor("incidents", **reach).stdout == "No incident is open.\n"

    target.break_with("refuse")
    (incident,) = open_ones(daemon, count=1)
    done = monitor("incidents", **reach)
    assert (done.returncode, done.stderr) == (0, "")
    assert incident["id"] in done.stdout
    assert "refuses the connection" in done.stdout
    assert json.loads(monitor("incidents", "--json", **reach).stdout)["incidents"][0]["service"] == "qdrant"

    assert monitor("ack", "qdrant", "--by", "Anna", **reach).returncode == 0
    assert "Anna looks after it" in monitor("incidents", **reach).stdout
    assert "Anna looks after it" in httpx.get(daemon.url, trust_env=False).text
    done = monitor("ack", "redis", "--by", "Anna", **reach)
    assert (done.returncode, incident["id"] in done.stderr) == (1, True)

    target.mend()
    open_ones(daemon, count=0)
    assert "✓ over" in monitor("incidents", "--all", **reach).stdout
    assert "Over, in the last 7 days" in httpx.get(daemon.url, trust_env=False).text


def test_a_silence_from_the_command_line(watched: tuple[Daemon, Contract]) -> None:
    daemon, _ = watched
    reach = {"PORT": str(daemon.port), "API_TOKEN": TOKEN}
    open_ones(daemon, count=0)
    done = monitor("silence", "qdrant", "--for", "2h", "--why", "new disks", "--by", "Anna", **reach)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Nothing is told about qdrant until 2" in done.stdout
    weekly = monitor("silence", "qd*", "--for", "1h", "--why", "vacuum", "--cron", "30 3 * * sun", **reach)
    assert "each time, 30 3 * * sun (UTC)" in weekly.stdout
    found = json.loads(monitor("silence", "--list", "--json", **reach).stdout)["silences"]
    assert [(one["why"], one["cron"]) for one in found] == [("new disks", None), ("vacuum", "30 3 * * sun")]
    table = monitor("silence", "--list", **reach).stdout
    assert "new disks" in table
    assert "30 3 * * sun UTC, 1 h each" in table
    assert monitor("silence", "--end", found[0]["id"], **reach).returncode == 0
    done = monitor("silence", "--end", found[0]["id"], **reach)
    assert (done.returncode, "no silence has the id" in done.stderr) == (1, True)
    done = monitor("silence", "postgres", "--for", "2h", "--why", "x", **reach)
    assert (done.returncode, "no service is called postgres; there are qdrant" in done.stderr) == (1, True)
    done = monitor("silence", "--list", PORT=str(daemon.port), API_TOKEN="another-one")
    assert (done.returncode, "asks for its API_TOKEN" in done.stderr) == (1, True)


def test_no_daemon_is_one_sentence_and_an_exit_code_of_its_own() -> None:
    port = str(free_port())
    for command in (("ack", "x"), ("silence", "x", "--for", "1h", "--why", "y")):
        done = monitor(*command, PORT=port)
        assert (done.returncode, done.stdout) == (69, "")
        assert done.stderr.startswith(f"watchkeeper: no daemon answers at 127.0.0.1:{port}: start it (python -m ")
        assert len(done.stderr.splitlines()) == 1


def test_somebody_else_at_the_port_is_not_taken_for_the_daemon(contract: Callable[..., Contract]) -> None:
    done = monitor("incidents", PORT=str(contract("qdrant").port))
    assert (done.returncode, "is not Watchkeeper" in done.stderr) == (1, True)


@pytest.mark.parametrize("arguments", [(), ("x",), ("x", "--list"), ("x", "--for", "2h"), ("--end", "1", "--list")])
def test_a_silence_that_is_not_said_in_full_is_asked_for(arguments: tuple[str, ...]) -> None:
    done = monitor("silence", *arguments, PORT="1")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("watchkeeper: say ")
