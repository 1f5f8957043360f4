"""/metrics as Prometheus itself sees it: promtool's rules, and a real server that scrapes a real daemon."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from demo.contract import Contract
from demo.daemon import Daemon
from demo.ports import free_port
from demo.process import Keeper


@pytest.fixture
def watched(contract: Callable[..., Contract], keeper: Keeper) -> Iterator[tuple[Daemon, Contract]]:
    target = contract("qdrant")
    quick = {"CHECK_INTERVAL": "1", "CONFIRM_INTERVAL": "0.2", "PROBE_TIMEOUT": "0.5", "START_PERIOD": "0"}
    with Daemon({**target.environ(), **quick}, keeper=keeper) as daemon:
        yield daemon, target


def settle(daemon: Daemon, state: str) -> None:
    deadline = time.monotonic() + 20
    while daemon.services().get("qdrant", {}).get("state") != state:
        assert time.monotonic() < deadline, state
        time.sleep(0.1)


def test_promtool_finds_nothing_to_say(watched: tuple[Daemon, Contract], program: Callable[[str], str]) -> None:
    daemon, target = watched
    settle(daemon, "up")
    for fault in (None, "refuse"):
        if fault:
            target.break_with(fault)
            settle(daemon, "down")
        text = httpx.get(f"{daemon.url}/metrics", trust_env=False).content
        checked = subprocess.run(
            [program("promtool"), "check", "metrics"], input=text, capture_output=True, timeout=30, check=False
        )
        assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_every_format_that_is_asked_for_parses(watched: tuple[Daemon, Contract]) -> None:
    from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
    from prometheus_client.parser import text_string_to_metric_families as plain

    daemon, _ = watched
    settle(daemon, "up")
    text = httpx.get(f"{daemon.url}/metrics", trust_env=False).text
    accept = {"Accept": "application/openmetrics-text;version=1.0.0"}
    opened = httpx.get(f"{daemon.url}/metrics", headers=accept, trust_env=False)
    assert opened.headers["content-type"].startswith("application/openmetrics-text")
    ours = {family.name for family in plain(text) if family.name.startswith("watchkeeper_")}
    assert len(ours) > 15
    assert len({family.name for family in openmetrics(opened.text)}) >= len(ours)
    assert "_created" not in text
    states = [line for line in text.splitlines() if line.startswith("watchkeeper_service_state{")]
    assert sorted(line.rsplit(" ", 1)[1] for line in states) == ["0.0"] * (len(states) - 1) + ["1.0"]


def test_prometheus_scrapes_it_and_its_query_api_returns_the_states(
    watched: tuple[Daemon, Contract], program: Callable[[str], str], tmp_path: Path
) -> None:
    daemon, target = watched
    prometheus, port = program("prometheus"), free_port()
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: watchkeeper, static_configs: [{{targets: ['127.0.0.1:{daemon.port}']}}]}}]\n"
    )
    command = [
        prometheus,
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    with (tmp_path / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as server:
        try:
            assert ask(port, 'watchkeeper_service_state{service="qdrant",state="up"}', "1")
            target.break_with("hang")
            assert ask(port, 'watchkeeper_service_state{service="qdrant",state="down"}', "1")
            assert ask(port, 'watchkeeper_service_problem_info{service="qdrant",cause="no_answer"}', "1")
        finally:
            server.terminate()


def ask(port: int, query: str, wanted: str) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": query}, trust_env=False)
            found = answer.json()["data"]["result"] if answer.is_success else []
        except httpx.TransportError:
            found = []
        if found and found[0]["value"][1] == wanted:
            return True
        time.sleep(0.3)
    return False
