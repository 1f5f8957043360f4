"""From which number a signal warns and fails, as WATCH_FILE may say it: what cannot be meant is told, not obeyed."""

from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from config.kinds import PARAMS
from config.services import Discovery, discover
from config.signals import WITHOUT_THRESHOLD, RedisSignalParams


def told(folder: Path, *lines: str) -> Discovery:
    """What is discovered of a Redis with these lines about its check `memory`, which warns from 85."""
    path = folder / "watch.toml"
    path.write_text("\n".join(["[services.redis.checks.memory]", *lines]))
    return discover({"REDIS_URL": "redis://r", "WATCH_FILE": str(path)})


@pytest.mark.parametrize(
    ("lines", "key", "says"),
    [
        (("warn = nan",), "warn", "is out of range; write a number from 0 to"),
        (("fail = -inf",), "fail", "is out of range"),
        (("fail = inf",), "fail", "is out of range"),
        (("warn = -5",), "warn", "is out of range"),
        (('warn = "lots"',), "warn", "is text, not a number"),
        (("warn = 90", "fail = 80"), "warn", "is above fail (80), so it would never warn; lower it, or raise fail"),
        (("fail = 50",), "fail", "is below warn (85), so it would never warn; write a lower warn as well"),
    ],
)
def test_what_cannot_be_meant_is_a_problem(tmp_path: Path, lines: tuple[str, ...], key: str, says: str) -> None:
    (problem,) = told(tmp_path, *lines).problems
    assert f"services.redis.checks.memory.{key}: {says}" in str(problem)


@pytest.mark.parametrize("key", ["warn", "fail"])
def test_a_threshold_of_what_has_no_number_is_a_problem(tmp_path: Path, key: str) -> None:
    path = tmp_path / "watch.toml"
    path.write_text(f"[services.redis.checks.persistence]\n{key} = 3\n")
    (problem,) = discover({"REDIS_URL": "redis://r", "WATCH_FILE": str(path)}).problems
    assert f"services.redis.checks.persistence.{key}: would do nothing: persistence is either well or not" in str(
        problem
    )


def test_a_check_of_the_presets_does_not_become_another(tmp_path: Path) -> None:
    (problem,) = told(tmp_path, 'signal = "policy"').problems
    assert "services.redis.checks.memory.signal: cannot be changed; redis's memory is memory" in str(problem)
    assert not told(tmp_path, 'signal = "memory"', "warn = 70").problems


def test_signals_without_thresholds_are_signals() -> None:
    for kind, signals in WITHOUT_THRESHOLD.items():
        assert signals <= set(get_args(get_type_hints(PARAMS[kind])["signal"])), kind


@pytest.mark.parametrize(
    ("lines", "warn", "fail"),
    [
        (("warn = 0",), 0, None),
        (("warn = 70", "fail = 70"), 70, 70),
        (("fail = 95",), 85, 95),
        (("warn = 1.5", "fail = 3"), 1.5, 3),
    ],
)
def test_what_can_be_meant_is_taken(tmp_path: Path, lines: tuple[str, ...], warn: float, fail: float | None) -> None:
    found = told(tmp_path, *lines)
    assert found.problems == ()
    (redis,) = found.services
    params = next(check.params for check in redis.checks if check.name == "memory")
    assert isinstance(params, RedisSignalParams)
    assert (params.warn, params.fail) == (warn, fail)


def test_changes_to_a_service_that_is_not_watched_are_a_note(tmp_path: Path) -> None:
    path = tmp_path / "watch.toml"
    path.write_text("[services.clickhouse.checks.disk]\nwarn = 90\n")
    found = discover({"REDIS_URL": "redis://r", "WATCH_FILE": str(path)})
    assert found.problems == ()
    assert any("clickhouse is not watched here, so these changes do nothing" in note for note in found.notes)


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ("[services.reddis.checks.memory]\nwarn = 80\n", "did you mean redis?"),
        ("[services.clickhouse.checks.mine]\nurl = 'http://a'\n", "lacks kind"),
        ("[services.shop.checks.health]\nurl = 'http://a'\n", "lacks kind"),
    ],
)
def test_what_is_no_change_of_a_known_service_is_a_problem(tmp_path: Path, table: str, says: str) -> None:
    path = tmp_path / "watch.toml"
    path.write_text(table)
    (problem,) = discover({"REDIS_URL": "redis://r", "WATCH_FILE": str(path)}).problems
    assert says in str(problem)


def test_changes_to_a_check_that_is_not_asked_here_are_a_note(tmp_path: Path) -> None:
    path = tmp_path / "watch.toml"
    path.write_text(
        "[services.litellm.checks.completion]\nevery = 7200\n[services.litellm.checks.alive]\ntimeout = 4\n"
    )
    found = discover({"LITELLM_URL": "litellm:4000", "LITELLM_MASTER_KEY": "sk-1", "WATCH_FILE": str(path)})
    assert found.problems == ()
    assert any("litellm's completion is not asked, for what it needs is not set" in note for note in found.notes)
    (litellm,) = found.services
    assert next(check.timeout for check in litellm.checks if check.name == "alive") == 4
    path.write_text("[services.litellm.checks.completions]\nevery = 7200\n")
    (problem,) = discover({"LITELLM_URL": "litellm:4000", "WATCH_FILE": str(path)}).problems
    assert "is not a check of litellm" in str(problem)
