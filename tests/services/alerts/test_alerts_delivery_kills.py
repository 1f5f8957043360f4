"""kill -9 at every step from the put of an alert to its settling: after a restart all is told, nothing opens twice.

DELIVERY_KILLS=200 is the long form: that many kills, spread evenly over all steps. DELIVERY_KILLS_SEED draws the second
kill of those that are killed twice.
"""

import json
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.provider import ROUTING_KEY, Provider

KILLS = int(os.environ.get("DELIVERY_KILLS", "12"))
SEED = int(os.environ.get("DELIVERY_KILLS_SEED", "5"))
CHILD = Path(__file__).with_name("delivery_child.py")
KEY = "test/postgres"
WHOLE = ["open", "update", "resolve"]

Child = Callable[..., dict[str, Any]]


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


@pytest.fixture
def child(provider: Provider) -> Iterator[Child]:
    """Runs stages over a folder: `child(folder, ["open"], kill_at=7)`; gives the exit code and the steps passed."""
    root = str(Path(__file__).parents[3])
    process = subprocess.Popen(
        [sys.executable, CHILD],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": root},
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def run(folder: Path, stages: list[str], *, kill_at: int | None = None) -> dict[str, Any]:
        urls = {"slack": provider.slack_url, "pagerduty": provider.pagerduty_url, "key": ROUTING_KEY}
        asked = {"folder": str(folder), "stages": stages, "kill_at": kill_at, **urls}
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(asked) + "\n")
        process.stdin.flush()
        answer: dict[str, Any] = json.loads(process.stdout.readline())
        return answer

    try:
        yield run
    finally:
        process.stdin.close()
        assert process.wait(30) == 0
        process.stdout.close()


def steps_of(child: Child, folder: Path, stages: list[str]) -> int:
    folder.mkdir()
    answer = child(folder, stages)
    assert answer["code"] == 0
    return len(answer["steps"])


def kill_points(count: int, kills: int) -> list[int]:
    """`kills` steps, evenly spread over all `count`; each at least once when there are as many."""
    return [number * count // kills if kills < count else number % count for number in range(kills)]


def signs(provider: Provider) -> str:
    """What chat shows, one letter a message: r(ed) while it lasts, g(reen) for its end."""
    return "".join("g" if message["text"].startswith("🟢") else "r" for message in provider.memory.slack)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_after_a_kill_at_any_step_one_incident_is_open_and_its_resolve_arrives(
    child: Child, provider: Provider, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    count = steps_of(child, tmp_path / "whole", WHOLE)
    assert count > 40
    killed: Counter[str] = Counter()
    chance = random.Random(SEED)
    for number, kill_at in enumerate(kill_points(count, KILLS)):
        provider.clear()
        folder = tmp_path / str(number)
        folder.mkdir()
        answer = child(folder, WHOLE, kill_at=kill_at)
        assert answer["code"] in (-signal.SIGKILL, 0)  # two channels take turns as they like: it may have been the end
        killed[answer["steps"][-1] if answer["code"] else "(ended before)"] += 1
        twice = number % 3 == 0
        if twice:
            child(folder, WHOLE, kill_at=chance.randrange(20))
        before = provider.memory.resolved[KEY]
        if not before:
            assert child(folder, ["open", "update"])["code"] == 0
            if not provider.memory.resolved[KEY]:
                assert list(provider.memory.incidents) == [KEY], "one incident is open"
        assert child(folder, WHOLE)["code"] == 0
        at = f"killed at step {kill_at}, {answer['steps'][-1]}"
        assert (provider.memory.opened[KEY], provider.memory.resolved[KEY]) == (1, 1), at
        assert not provider.memory.incidents, at
        check_chat(signs(provider), kills=1 + twice, at=at)
    with capsys.disabled():
        if KILLS > 12:
            print("\n" + "\n".join(f"{times:4} {step}" for step, times in sorted(killed.items())))  # noqa: T201 -- the long form's table
    assert killed["(ended before)"] <= KILLS * 0.1


def check_chat(seen: str, *, kills: int, at: str) -> None:
    """Open, update, resolve, in this order; a kill may repeat one message."""
    assert seen.rstrip("g").count("g") == 0, f"{at}: something came after the end: {seen}"
    reds, greens = seen.count("r"), seen.count("g")
    assert greens >= 1, f"{at}: no end: {seen}"
    assert reds >= 2, f"{at}: {seen}"
    assert reds + greens <= 3 + kills, f"{at}: told too often: {seen}"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_outage_that_ends_while_we_are_dead_leaves_nothing_open(
    child: Child, provider: Provider, tmp_path: Path
) -> None:
    count = steps_of(child, tmp_path / "open", ["open"])
    kills = min(KILLS // 2, 2 * count)
    for number, kill_at in enumerate(kill_points(count, kills)):
        provider.clear()
        folder = tmp_path / str(number)
        folder.mkdir()
        answer = child(folder, ["open"], kill_at=kill_at)
        was_put = "committed" in answer["steps"]
        assert child(folder, ["resolve"])["code"] == 0
        at = f"killed at step {kill_at}, {answer['steps'][-1]}"
        assert not provider.memory.incidents, f"{at}: it stays open for ever"
        assert provider.memory.opened[KEY] == provider.memory.resolved[KEY], at
        if was_put:
            assert signs(provider).endswith("g"), f"{at}: nobody learns that it is over"
