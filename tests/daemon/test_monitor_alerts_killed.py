"""kill -9 of the whole daemon at any moment from an outage to its end: one incident at the provider, and its resolve.

The short form kills it twice; ALERT_KILLS=200 makes it two hundred, in about a quarter of an hour, and prints at which
step each kill came.
"""

import contextlib
import os
import random
import shutil
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from demo.contract import Contract
from demo.daemon import Daemon
from demo.process import Keeper
from demo.provider import Provider

KILLS = int(os.environ.get("ALERT_KILLS", "2"))
PACE = {"CHECK_INTERVAL": "0.4", "CONFIRM_INTERVAL": "0.1", "PROBE_TIMEOUT": "0.3", "START_PERIOD": "0"}
# Seconds after the break, or the mending, within which the daemon dies: from before the first miss to after the settle.
SPAN = 1.2


@pytest.fixture
def provider() -> Iterator[Provider]:
    """PagerDuty and Slack, which keep what they are told."""
    with Provider(host="localhost") as provider:  # a name, as the real ones have
        yield provider


def step_of(daemon: Daemon, provider: Provider, key: str, kind: str) -> str:
    """How far it had come when it died: by its state file and by what the provider has."""
    path = daemon.folder / "state" / "watchkeeper.db"
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as conn:
        rows = conn.execute(
            "SELECT fate, attempts FROM outbox WHERE channel = 'pagerduty' AND kind = ? ORDER BY sequence DESC", (kind,)
        ).fetchall()
    there = key in provider.memory.incidents
    accepted = there if kind == "open" else not there
    if not rows or rows[0][0] == "sent":
        return "settled" if rows and accepted else "before the flip was kept"
    return "sent, not settled" if accepted else "put, not sent" if not rows[0][1] else "being sent"


@pytest.mark.parametrize("lost", [False, True], ids=["state kept", "state lost"])
def test_a_killed_daemon_leaves_one_incident_and_its_resolve(
    keeper: Keeper, provider: Provider, target: Contract, capsys: pytest.CaptureFixture[str], lost: bool
) -> None:
    variables = {"SAAS_API_URL": target.url, "INSTANCE": "here", "PAGE_AFTER": "0", **PACE}
    daemon = Daemon({**variables, **provider.environ("slack", "pagerduty")}, keeper=keeper)
    key, seed, steps = "here/saas-api", random.Random(KILLS + lost), Counter[str]()
    try:
        for _ in range(KILLS // 2):
            daemon.start()
            wait_up(daemon)
            provider.clear()
            provider.behave("slow", seconds=seed.choice((0.0, 0.6)))
            target.break_with("refuse")
            die(daemon, provider, key, "open", seed, steps, lost=lost)
            wait_for(lambda: key in provider.memory.incidents, "the incident at PagerDuty")
            target.mend()
            die(daemon, provider, key, "resolve", seed, steps, lost=lost)
            wait_for(lambda: key not in provider.memory.incidents, "its resolve")
            assert provider.memory.opened == {key: 1}
            daemon.kill()
            forget(daemon)  # else it flaps, and its resolve waits
    finally:
        daemon.close()
    with capsys.disabled():
        print(f"\n{KILLS} kills, state {'lost' if lost else 'kept'}:", dict(steps))  # noqa: T201 -- for a long run
    assert sum(steps.values()) == KILLS // 2 * 2


def forget(daemon: Daemon) -> None:
    """Its state is gone."""
    shutil.rmtree(daemon.folder / "state")
    (daemon.folder / "state").mkdir()


def die(
    daemon: Daemon, provider: Provider, key: str, kind: str, seed: random.Random, steps: Counter[str], *, lost: bool
) -> None:
    """kill -9 at a random moment, and a new start, with an empty folder if the state is `lost`."""
    time.sleep(seed.uniform(0, SPAN))
    daemon.kill()
    steps[f"{kind}: {step_of(daemon, provider, key, kind)}"] += 1
    if lost:
        forget(daemon)
    daemon.start()


def wait_for(wanted: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Waits until `wanted()` is true."""
    deadline = time.monotonic() + seconds
    while not wanted():
        assert time.monotonic() < deadline, f"{what} did not come within {seconds:g} s"
        time.sleep(0.02)


def wait_up(daemon: Daemon) -> None:
    """Waits until the service is up."""
    wait_for(lambda: daemon.services().get("saas-api", {}).get("state") == "up", "up")
