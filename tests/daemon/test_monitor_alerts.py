"""What people are told while real servers of the stack break: one alert at the root, one resolve, nothing else."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from demo.daemon import Daemon
from demo.outages import find
from demo.play import slack_text
from demo.process import Keeper
from demo.provider import Provider
from demo.stack import Stack

PACE = {
    "CHECK_INTERVAL": "2",
    "CONFIRM_INTERVAL": "0.3",
    "PROBE_TIMEOUT": "1.5",
    "START_PERIOD": "0",
    "PAGE_AFTER": "3",
}
TOLD_WITHIN, OVER_WITHIN, QUIET_FOR = 30.0, 45.0, 2.0

ON_POSTGRES = {"LiteLLM", "Langfuse web", "Langfuse worker", "Open WebUI"}
ON_REDIS = {"LiteLLM", "Langfuse web", "Langfuse worker"}
ON_CLICKHOUSE = ON_MINIO = {"Langfuse web", "Langfuse worker"}


@dataclass(frozen=True)
class Told:
    """What one channel was told, in its own order: the kind and the whole text of each message."""

    opened: list[str]
    resolved: list[str]
    other: list[str]


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    """Stand-ins of the providers."""
    with Provider(host="localhost") as provider:  # a name, as the real ones have
        yield provider


@pytest.fixture(scope="module")
def watching(stack: Stack, provider: Provider, keeper: Keeper) -> Iterator[Daemon]:
    """A daemon that watches the whole stack and tells every provider; all is up, and what it resolved is forgotten."""
    # No backups: one that fails while ClickHouse is down is told as well, and rightly.
    daemon = Daemon({**stack.variables, **PACE, **provider.environ(), "BACKUP_SCHEDULE": "off"}, keeper=keeper)
    try:
        daemon.start()
        wait(lambda: all_up(daemon), 30)
        yield daemon
    finally:
        daemon.close()


def all_up(daemon: Daemon) -> bool:
    """Whether every service of the stack is up; backups are not taken."""
    services = daemon.services()
    return bool(services) and all(one["state"] == "up" for one in services.values())


def wait(wanted: Callable[[], Any], seconds: float) -> Any:
    """Waits for `wanted()` to be true and gives what it gave."""
    deadline = time.monotonic() + seconds
    while not (got := wanted()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(0.1)
    return got


def told(provider: Provider) -> Mapping[str, Told]:
    """What each channel was told since the provider was cleared."""
    slack = [slack_text(message) for message in provider.memory.slack]
    hooks = list(provider.memory.hooks)
    # A daemon without state resolves, one by one, what its forerunner may have left open: that is about other services.
    keys = {one["dedup_key"] for one in provider.memory.events if one["event_action"] == "trigger"}
    pages = [one for one in provider.memory.events if one["dedup_key"] in keys]
    return {
        "slack": Told(
            [text for text in slack if text.startswith("🔴")],
            [text for text in slack if text.startswith("🟢")],
            [text for text in slack if text[0] not in "🔴🟢"],
        ),
        "webhook": Told(
            [one["text"] for one in hooks if one["kind"] == "open"],
            [one["text"] for one in hooks if one["kind"] == "resolve"],
            [one["text"] for one in hooks if one["kind"] not in ("open", "resolve")],
        ),
        "pagerduty": Told(
            [str(one) for one in pages if one["event_action"] == "trigger"],
            [str(one) for one in pages if one["event_action"] == "resolve"],
            [],
        ),
    }


@pytest.mark.parametrize(
    ("outage", "title", "takes_down"),
    [
        ("postgres", "PostgreSQL", ON_POSTGRES),
        ("postgres/pause", "PostgreSQL", ON_POSTGRES),
        ("redis", "Redis", ON_REDIS),
        ("redis/pause", "Redis", ON_REDIS),
        ("clickhouse", "ClickHouse", ON_CLICKHOUSE),
        ("clickhouse/pause", "ClickHouse", ON_CLICKHOUSE),
        ("minio", "MinIO", ON_MINIO),
        ("minio/pause", "MinIO", ON_MINIO),
    ],
)
def test_one_outage_is_one_alert_at_the_root_and_one_resolve(
    stack: Stack, watching: Daemon, provider: Provider, outage: str, title: str, takes_down: set[str]
) -> None:
    wait(lambda: all_up(watching) and not provider.memory.incidents, OVER_WITHIN)
    for contract in stack.contracts.values():
        contract.forget()
    provider.clear()
    find(outage).begin(stack)
    try:
        wait(lambda: all(one.opened for one in told(provider).values()), TOLD_WITHIN)
    finally:
        find(outage).end(stack)
    wait(lambda: all(one.resolved for one in told(provider).values()) and all_up(watching), OVER_WITHIN)
    time.sleep(QUIET_FOR)
    for channel, one in told(provider).items():
        assert len(one.opened) == 1, (channel, one)
        assert title in one.opened[0]
        assert {name for name in takes_down if name not in one.opened[0]} == set(), (channel, one)
        assert len(one.resolved) == 1, (channel, one)
        assert not one.other, (channel, one)
    assert not provider.memory.incidents
    assert len(provider.memory.discord) == 2  # the alert, edited when it was over, and the line that says so
    assert sum(provider.memory.edits.values()) >= 1
    assert not provider.memory.pings
