"""The daemon's own signs of life: to somebody outside, and on /healthz."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from demo.contract import Contract
from demo.daemon import Daemon
from demo.provider import Provider

Start = Callable[..., Daemon]
Until = Callable[..., Any]


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider(host="localhost") as one:  # a name, as the real ones have
        yield one


def pings(provider: Provider) -> list[str]:
    return [one.path.rpartition("/")[2] for one in provider.received if one.place == "heartbeat"]


def test_the_start_is_told_once_and_by_the_daemon_that_works_alone(
    daemon: Start, target: Contract, provider: Provider, until: Until
) -> None:
    shared = {**target.environ(), **provider.environ("heartbeat")}
    first = daemon({**shared, "INSTANCE": "first"})
    until(lambda: pings(provider) == ["start"])
    folder = str(first.folder / "state")

    class Second(Daemon):
        def environ(self) -> dict[str, str]:
            return {"PORT": str(self.port), "STATE_DIR": folder}

    second = Second({**shared, "INSTANCE": "second"}, keeper=first.keeper)
    second.start()
    try:
        until(lambda: "standing by" in httpx.get(f"{second.url}/healthz", trust_env=False).text)
        time.sleep(2)
        assert pings(provider) == ["start"]
    finally:
        second.close()


def test_a_heartbeat_service_that_hangs_and_a_provider_that_does_are_no_illness_of_ours(
    daemon: Start, target: Contract, provider: Provider, until: Until
) -> None:
    provider.behave("hang")
    one = daemon({**target.environ(), **provider.environ()})
    until(lambda: one.services().get("saas-api", {}).get("state") == "up")
    target.break_with("refuse")
    until(lambda: one.services()["saas-api"]["state"] == "down")
    until(lambda: len({received.place for received in provider.received}) >= 3)
    checked = one.services()["saas-api"]["checks"][0]["last_run_at"]
    until(lambda: one.services()["saas-api"]["checks"][0]["last_run_at"] != checked)
    assert httpx.get(f"{one.url}/healthz", trust_env=False).status_code == 200
