"""Checks of presets that are off until something holds: who depends on the service, who asks it already, CANARY_WRITES.

Played on the presets themselves, where each condition occurs.
"""

from pathlib import Path

import pytest

from config.presets import presets
from config.services import CONDITIONS, Service, discover

REDIS = {"REDIS_URL": "redis://:secret@redis:6379/0"}
LANGFUSE = {"LANGFUSE_WORKER_URL": "http://worker:3030"}


def service(environ: dict[str, str], name: str, file: Path | None = None) -> Service:
    discovery = discover(environ, watch_file=file)
    assert discovery.problems == ()
    return next(one for one in discovery.services if one.name == name)


def names(environ: dict[str, str], name: str, file: Path | None = None) -> set[str]:
    return {check.name for check in service(environ, name, file).checks}


def conditioned(kind: str, condition: str) -> set[str]:
    return {name for name, table in presets()[kind].checks.items() if table.get(condition)}


def test_every_condition_is_used_by_some_preset_and_with_a_known_kind() -> None:
    tables = [table for preset in presets().values() for table in preset.checks.values()]
    assert all(any(condition in table for table in tables) for condition in CONDITIONS)
    kinds = {kind for table in tables for kind in table.get("needed_by", ())}  # type: ignore[attr-defined]  # a list
    assert kinds <= presets().keys()


def test_a_policy_matters_only_where_somebody_depends_on_it() -> None:
    wanted = conditioned("redis", "needed_by")
    assert wanted
    assert not wanted & names(REDIS, "redis")
    assert wanted <= names({**REDIS, **LANGFUSE}, "redis")


def test_a_worker_with_a_redis_of_its_own_asks_nothing_of_the_others() -> None:
    environ = {**REDIS, **LANGFUSE, "REDIS_URL__LANGFUSE": "redis://:secret@queues:6379/0"}
    wanted = conditioned("redis", "needed_by")
    assert not wanted & names(environ, "redis")
    assert wanted <= names(environ, "redis-langfuse")


def test_what_is_of_the_whole_server_is_asked_once() -> None:
    environ = {
        "DATABASE_URL": "postgresql://u:p@db/litellm",
        "DATABASE_URL__LANGFUSE": "postgresql://u:p@db/langfuse",
        "DATABASE_URL__OTHER": "postgresql://u:p@other/langfuse",
    }
    whole = conditioned("postgres", "server_wide")
    assert whole
    assert whole <= names(environ, "postgres")
    assert not whole & names(environ, "postgres-langfuse")
    assert names(environ, "postgres") - names(environ, "postgres-langfuse") == {*whole, "certificate"}
    assert whole <= names(environ, "postgres-other")


@pytest.mark.parametrize(("word", "on"), [("off", False), ("on", True), ("", True)])
def test_no_check_writes_that_may_not(word: str, on: bool) -> None:
    writes = conditioned("redis", "writes")
    assert writes
    assert (writes <= names({**REDIS, "CANARY_WRITES": word}, "redis")) is on


def test_watch_file_can_switch_on_what_is_off(tmp_path: Path) -> None:
    file = tmp_path / "watch.toml"
    (check,) = conditioned("redis", "writes")
    file.write_text(f"[services.redis.checks.{check}]\nenabled = true\ninterval = 120\n")
    assert check in names({**REDIS, "CANARY_WRITES": "off"}, "redis", file)
