"""`python -m monitor explain` and `check --deep` as people type them, with a daemon and without."""

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

from demo.contract import Contract
from demo.daemon import Daemon
from demo.ports import free_port
from demo.process import Keeper

ROOT = Path(__file__).parents[2]
API = ROOT / "docs" / "reference" / "api.md"
TOKEN = "an-api-token-of-ours"


def monitor(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """Runs `python -m monitor …`, in an environment that holds nothing else."""
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "VIRTUAL_ENV")}
    done = subprocess.run(
        [sys.executable, "-m", "monitor", *arguments],
        env={**kept, "PYTHONIOENCODING": "utf-8", "LOG_LEVEL": "error", "PORT": str(free_port()), **environ},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr
    assert not [one for one in (TOKEN, "sk-demo-master-key") if one in done.stdout + done.stderr]
    return done


Stack = tuple[dict[str, str], Contract, Contract]


@pytest.fixture
def stack(contract: Callable[..., Contract]) -> Stack:
    """LiteLLM, which Open WebUI needs, and the variables that have both watched; Redis is nowhere."""
    litellm, webui = contract("litellm"), contract("open-webui")
    return {**litellm.environ(), **webui.environ(), "REDIS_URL": "redis://127.0.0.1:1"}, litellm, webui


def test_a_service_that_is_up_is_told_in_full_without_a_daemon(stack: Stack) -> None:
    environ, litellm, _ = stack
    done = monitor("explain", "litellm", **environ)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("✓ up now: LiteLLM at http://127.0.0.1:")
    assert len(lines) < 40
    assert "needs: ✗ redis down (refused)" in lines
    assert any(line.startswith("needed by: ✓ open-webui up") for line in lines)
    assert any("completion (it needs LITELLM_SYNTHETIC_MODEL" in line for line in lines)
    assert "history: not known here; no daemon answers" in lines[-1]
    # The slow signals were asked, and nothing that costs.
    assert any("models well" in line for line in lines)
    assert not litellm.seen["POST /v1/chat/completions"]


def test_the_page_fits_a_terminal(stack: Stack) -> None:
    environ, litellm, _ = stack
    litellm.break_with("db_lost")
    done = monitor("explain", "litellm", **environ, COLUMNS="80")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 40
    assert sum(line[:3] in ("✓  ", "✗  ", "–  ") for line in lines) == 6


def test_the_cause_is_followed_to_the_dependency(stack: Stack) -> None:
    environ, litellm, webui = stack
    litellm.break_with("refuse")
    webui.break_with("hang")
    found = json.loads(monitor("explain", "open-webui", "--json", "--timeout", "0.5", **environ).stdout)
    thought = found["reasoning"]
    assert (thought["root"], thought["confidence"]) == ("litellm", "likely")
    assert [one["state"] for one in found["needs"] if one["name"] == "litellm"] == ["down"]
    assert found["remembered"] is None
    assert "no daemon answers" in found["forgotten"]


def test_an_unknown_name_is_met_with_those_that_come_near(stack: Stack) -> None:
    environ, _, _ = stack
    done = monitor("explain", "litelm", **environ)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == "watchkeeper: litelm: no such service; did you mean litellm? There are litellm, open-webui, redis\n"
    )
    assert monitor("check", "nothing", **environ).returncode == 2
    assert monitor("explain", "litellm").returncode == 2


def held(daemon: Daemon, name: str, state: str) -> None:
    """Waits until the daemon holds the service to be in `state`."""
    deadline = time.monotonic() + 20
    headers = {"Authorization": f"Bearer {TOKEN}"}
    while True:
        answer = httpx.get(f"{daemon.url}/api/v1/status", headers=headers, trust_env=False)
        services = {one["name"]: one["state"] for one in answer.json().get("services", [])}
        if services.get(name) == state:
            return
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)


@pytest.fixture
def watched(stack: Stack, keeper: Keeper) -> Iterator[tuple[Daemon, Stack]]:
    quick = {"CHECK_INTERVAL": "1", "CONFIRM_INTERVAL": "0.2", "PROBE_TIMEOUT": "0.5", "START_PERIOD": "0"}
    environ = {name: value for name, value in stack[0].items() if name != "REDIS_URL"}
    with Daemon({**environ, **quick, "API_TOKEN": TOKEN}, keeper=keeper) as daemon:
        yield daemon, (environ, *stack[1:])


def test_what_the_daemon_remembers_is_told(watched: tuple[Daemon, Stack]) -> None:
    daemon, (environ, litellm, _) = watched
    reach = {**environ, "PORT": str(daemon.port), "API_TOKEN": TOKEN}
    held(daemon, "litellm", "up")
    litellm.break_with("db_lost")
    held(daemon, "litellm", "down")
    assert monitor("ack", "litellm", "--by", "Anna", **reach).returncode == 0
    assert monitor("silence", "lite*", "--for", "2h", "--why", "new disks", "--by", "Anna", **reach).returncode == 0

    page = monitor("explain", "litellm", **reach)
    assert (page.returncode, page.stderr) == (1, "")
    for part in ("; for the daemon down since ", "history: up ", "→ down (dependency)", "database connected → disconn"):
        assert part in page.stdout
    assert "Anna looks after it" in page.stdout
    assert "by Anna: new disks" in page.stdout

    found = json.loads(monitor("explain", "litellm", "--json", **reach).stdout)
    assert found["remembered"]["state"] == "down"
    assert found["remembered"]["incident"]["acknowledged_by"] == "Anna"
    assert found["remembered"]["flips"][0]["new"] == "down"
    assert found["forgotten"] is None
    told(found)

    # The daemon wants two passes: what it holds counts until then.
    litellm.mend()
    held(daemon, "litellm", "up")
    assert monitor("explain", "litellm", **reach).returncode == 0
    refused = monitor("explain", "litellm", **{**reach, "API_TOKEN": "another"})
    assert refused.returncode == 0
    assert "asks for its API_TOKEN" in refused.stdout


def told(found: dict[str, Any]) -> None:
    """Every key of an explanation stands in the page about the API."""
    text = API.read_text(encoding="utf-8").partition("## An explanation")[2]
    keys = {*found, *found["reasoning"], *found["service"]["checks"][0], *found["remembered"]}
    assert not [key for key in keys if f"`{key}`" not in text]


def test_a_daemon_that_watches_something_else_is_told_of(
    watched: tuple[Daemon, Stack], contract: Callable[..., Contract]
) -> None:
    daemon, _ = watched
    done = monitor("explain", "qdrant", **contract("qdrant").environ(), PORT=str(daemon.port), API_TOKEN=TOKEN)
    assert done.returncode == 0
    assert "does not watch this service" in done.stdout


def test_a_deep_look_asks_what_a_plain_one_leaves_out(contract: Callable[..., Contract]) -> None:
    litellm, web = contract("litellm"), contract("langfuse-web")
    keys = {"LANGFUSE_PUBLIC_KEY": "pk-lf-demo", "LANGFUSE_SECRET_KEY": "sk-lf-demo"}
    environ = {**litellm.environ(), **web.environ(), **keys, "LITELLM_SYNTHETIC_MODEL": "fake-model"}
    plain = json.loads(monitor("check", "--json", **environ).stdout)
    left = {(one["service"], one["check"]): one["why"] for one in plain["left_out"]}
    assert left["litellm", "completion"] == "it costs money"
    assert ("langfuse-web", "trace") in left
    assert not litellm.seen["POST /v1/chat/completions"]

    deep = json.loads(monitor("check", "--deep", "--json", **environ).stdout)
    asked = {(one["name"], check["name"]) for one in deep["services"] for check in one["checks"]}
    assert set(left) <= asked
    assert litellm.seen["POST /v1/chat/completions"] == 1
    assert "completion" not in {one["check"] for one in deep["left_out"]}
    page = monitor("check", "litellm", **environ).stdout
    assert "not asked: 3 checks that are slow or cost something; --deep asks them" in page
