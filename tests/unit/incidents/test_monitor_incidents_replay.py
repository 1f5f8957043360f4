"""Weeks of random trouble through the real judge, core and routing; the long form is benchmarks/replay.py."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="module")
def replay() -> SimpleNamespace:
    path = Path(__file__).parents[3] / "benchmarks" / "replay.py"
    return SimpleNamespace(**runpy.run_path(str(path), run_name="replay"))


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_what_must_hold_holds_for_weeks(replay: SimpleNamespace, seed: int) -> None:
    world = replay.World(seed, 7)
    world.play()
    verdicts = replay.Verdicts(world)
    verdicts.all()
    assert len(world.messages) > 50, "too little happened to prove anything"
    assert len(verdicts.delays()) > 5


def test_leaving_out_runs_that_change_nothing_changes_nothing(replay: SimpleNamespace) -> None:
    stories = []
    for every_run in (False, True):
        world = replay.World(21, 1.5, every_run=every_run)
        world.play()
        stories.append([(round(one.at, 3), one.channel, one.alert.kind, one.alert.incident) for one in world.messages])
    assert stories[0] == stories[1]
    assert len(stories[0]) > 5
