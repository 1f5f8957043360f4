"""Checks that ask a service about another one: what they are filled with, and when they are left out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from config.secret import Secret
from config.services import Discovery, discover

LITELLM = {"LITELLM_URL": "http://litellm:4000", "LITELLM_MASTER_KEY": "sk-master"}
WEBUI = {"OPEN_WEBUI_URL": "http://webui:8080", "OPEN_WEBUI_API_KEY": "sk-webui"}
WORKER = {"LANGFUSE_WORKER_URL": "http://worker:3030"}
REDIS = {"REDIS_URL": "redis://:first@redis:6379/2"}


def checks(discovery: Discovery, name: str) -> dict[str, Any]:
    assert discovery.problems == ()
    service = next(service for service in discovery.services if service.name == name)
    return {check.name: check.params for check in service.checks}


def params(environ: Mapping[str, str], name: str, check: str, file: Path | None = None) -> Any:
    return checks(discover(environ, watch_file=file), name)[check]


def test_the_queues_are_looked_at_in_the_redis_that_the_worker_depends_on() -> None:
    seen = params({**WORKER, **REDIS, "LANGFUSE_REDIS_KEY_PREFIX": "lf"}, "langfuse-worker", "queues")
    assert (seen.host, seen.port, seen.password, seen.database, seen.prefix) == (
        "redis",
        6379,
        Secret("first"),
        2,
        "lf",
    )
    own = {**WORKER, **REDIS, "REDIS_URL__LANGFUSE": "redis://:other@queues:6379"}
    assert params(own, "langfuse-worker", "queues").host == "queues"


def test_without_a_redis_there_is_no_look_at_the_queues_and_no_word() -> None:
    discovery = discover(WORKER)
    assert "queues" not in checks(discovery, "langfuse-worker")
    assert not any("queues" in note for note in discovery.notes)


def test_watch_file_says_which_redis_it_is(tmp_path: Path) -> None:
    file = tmp_path / "watch.toml"
    environ = {**WORKER, **REDIS, "REDIS_URL__CACHE": "redis://:other@cache:6379"}
    file.write_text('[services.langfuse-worker]\ndepends_on = ["redis-cache"]\n')
    assert params(environ, "langfuse-worker", "queues", file).host == "cache"
    file.write_text("[services.langfuse-worker]\ndepends_on = []\n")
    assert "queues" not in checks(discover(environ, watch_file=file), "langfuse-worker")


def test_open_webuis_models_are_compared_with_litellms_where_both_are_watched() -> None:
    seen = params({**LITELLM, **WEBUI}, "open-webui", "models")
    assert (seen.provider, seen.provider_key) == ("http://litellm:4000", Secret("sk-master"))
    alone = params(WEBUI, "open-webui", "models")
    assert (alone.provider, alone.provider_key) == (None, None)


def test_a_consumers_key_is_tried_only_where_it_is_given() -> None:
    assert "litellm_key" not in checks(discover({**LITELLM, **WEBUI}), "open-webui")
    given = {**WEBUI, "OPEN_WEBUI_OPENAI_API_KEY": "sk-consumer"}
    assert "litellm_key" not in checks(discover(given), "open-webui")  # there is nothing to try it at
    seen = params({**LITELLM, **given}, "open-webui", "litellm_key")
    assert (seen.url, seen.key) == ("http://litellm:4000", Secret("sk-consumer"))
    words = next(
        check.remedies.values()
        for service in discover({**LITELLM, **given}).services
        for check in service.checks
        if service.name == "open-webui" and check.name == "litellm_key"
    )
    assert "here OPEN_WEBUI_OPENAI_API_KEY" in " ".join(words)


def test_litellms_keys_for_langfuse_are_tried_at_the_langfuse_that_it_does_not_depend_on() -> None:
    keys = {"LITELLM_LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LITELLM_LANGFUSE_SECRET_KEY": "sk-lf-1"}
    discovery = discover({**LITELLM, **keys, "LANGFUSE_URL": "http://web:3000"})
    seen = checks(discovery, "litellm")["langfuse_key"]
    assert (seen.url, seen.user, seen.key) == ("http://web:3000", Secret("pk-lf-1"), Secret("sk-lf-1"))
    assert next(service for service in discovery.services if service.name == "litellm").depends_on == ()
    half = discover({**LITELLM, "LITELLM_LANGFUSE_SECRET_KEY": "sk-lf-1", "LANGFUSE_URL": "http://web:3000"})
    assert [problem.place for problem in half.problems] == ["LITELLM_LANGFUSE_PUBLIC_KEY"]


def test_a_paid_call_is_made_only_where_a_model_is_named() -> None:
    discovery = discover(LITELLM)
    assert "completion" not in checks(discovery, "litellm")
    assert discovery.notes == ()
    seen = params({**LITELLM, "LITELLM_SYNTHETIC_MODEL": "small"}, "litellm", "completion")
    assert (seen.model, seen.every, seen.daily_tokens) == ("small", 900.0, 5000.0)
    often = {"LITELLM_SYNTHETIC_INTERVAL": "120", "LITELLM_SYNTHETIC_DAILY_TOKENS": "300"}
    seen = params({**LITELLM, **often, "LITELLM_SYNTHETIC_MODEL": "small"}, "litellm", "completion")
    assert (seen.every, seen.daily_tokens) == (120.0, 300.0)


@pytest.mark.parametrize("value", ["often", "5", "nan", "-900"])
def test_a_number_that_cannot_be_used_is_told_once_with_its_variable(value: str) -> None:
    environ = {**LITELLM, "LITELLM_SYNTHETIC_MODEL": "small", "LITELLM_SYNTHETIC_INTERVAL": value}
    assert [problem.place for problem in discover(environ).problems] == ["LITELLM_SYNTHETIC_INTERVAL"]


def test_a_second_litellm_takes_numbers_of_its_own() -> None:
    environ = {
        "LITELLM_URL__EU": "http://eu:4000",
        "LITELLM_MASTER_KEY__EU": "sk-eu",
        "LITELLM_SYNTHETIC_MODEL__EU": "x",
    }
    assert params(environ, "litellm-eu", "completion").every == 900.0
    environ["LITELLM_SYNTHETIC_INTERVAL__EU"] = "60"
    assert params(environ, "litellm-eu", "completion").every == 60.0


def test_a_trace_is_written_only_where_writing_is_allowed() -> None:
    environ = {"LANGFUSE_URL": "http://web:3000", "LANGFUSE_PUBLIC_KEY": "pk-lf-1", "LANGFUSE_SECRET_KEY": "sk-lf-1"}
    assert "trace" in checks(discover(environ), "langfuse-web")
    assert "trace" not in checks(discover({**environ, "CANARY_WRITES": "off"}), "langfuse-web")


def test_every_key_of_these_is_masked_in_logs() -> None:
    environ = {**LITELLM, **WEBUI, "OPEN_WEBUI_OPENAI_API_KEY": "sk-consumer"}
    discovery = discover(environ)
    assert {Secret("sk-consumer"), Secret("sk-webui"), Secret("sk-master")} <= set(discovery.secrets)
    assert "sk-consumer" not in repr(discovery)


def test_an_address_in_watch_file_has_no_user(tmp_path: Path) -> None:
    file = tmp_path / "watch.toml"
    file.write_text(
        '[services.mine.checks.key]\nkind = "key_signal"\nprovider = "litellm"\nkey = "sk-1"\n'
        'url = "http://me:s3cret@litellm:4000"\n'
    )
    (problem,) = discover({}, watch_file=file).problems
    assert "take user and parameters out" in problem.remedy
    assert "s3cret" not in str(problem)
