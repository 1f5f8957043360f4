"""Variables: read once, all problems at once, and the sections built from them."""

from pathlib import Path

import pytest

from config.env import ConfigError, Env
from config.secret import Secret
from config.settings import LogSettings, StateSettings, WatchSettings, WebSettings

CANARY = "c4n4ryS3cret"


def watch(**environ: str) -> tuple[WatchSettings, Env]:
    env = Env(environ)
    return WatchSettings.read(env), env


def test_every_default() -> None:
    settings, env = watch(INSTANCE="here")
    assert settings == WatchSettings(instance="here")
    assert (settings.interval, settings.confirm_interval, settings.probe_timeout) == (60, 10, 10)
    assert (settings.failure_threshold, settings.success_threshold, settings.start_period) == (3, 2, 120)
    assert env.problems == []
    assert WebSettings.read(env) == WebSettings(port=8080)
    assert StateSettings.read(env) == StateSettings()
    assert LogSettings.read(env) == LogSettings(level="info", json=None)


def test_the_templates_variables_keep_their_meaning() -> None:
    settings, env = watch(CHECK_INTERVAL="30", FAILURE_THRESHOLD="5")
    assert (settings.interval, settings.failure_threshold) == (30, 5)
    assert WebSettings.read(Env({"PORT": "9090"})).port == 9090
    assert env.problems == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CHECK_INTERVAL", "60s"),
        ("CHECK_INTERVAL", "-1"),
        ("CHECK_INTERVAL", "0"),
        ("CHECK_INTERVAL", "nan"),
        ("CHECK_INTERVAL", "inf"),
        ("CHECK_INTERVAL", "1e9"),
        ("CONFIRM_INTERVAL", "61"),
        ("PROBE_TIMEOUT", "60"),
        ("PROBE_TIMEOUT", "soon"),
        ("FAILURE_THRESHOLD", "2.5"),
        ("FAILURE_THRESHOLD", "0"),
        ("SUCCESS_THRESHOLD", "many"),
        ("START_PERIOD", "-1"),
        ("CHECK_INTERVAL", "${{shared.CHECK_INTERVAL}}"),
        ("INSTANCE", "two\nlines"),
    ],
)
def test_a_wrong_value_is_one_problem_and_the_default_goes_on(name: str, value: str) -> None:
    settings, env = watch(**{"INSTANCE": "here", name: value})
    assert [problem.place for problem in env.problems] == [name]
    assert "\n" not in str(env.problems[0])
    assert env.problems[0].remedy
    assert settings.interval == 60
    with pytest.raises(ConfigError, match=name):
        env.check()


def test_all_problems_come_at_once_one_line_each() -> None:
    env = Env(
        {"CHECK_INTERVAL": "x", "FAILURE_THRESHOLD": "y", "PORT": "70000", "LOG_LEVEL": "loud", "LOG_FORMAT": "xml"}
    )
    for section in (WatchSettings, WebSettings, StateSettings, LogSettings):
        section.read(env)
    with pytest.raises(ConfigError) as caught:
        env.check()
    lines = str(caught.value).splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        "CHECK_INTERVAL",
        "FAILURE_THRESHOLD",
        "PORT",
        "LOG_LEVEL",
        "LOG_FORMAT",
    ]


def test_each_section_validates_only_its_own() -> None:
    env = Env({"PORT": "no port", "CHECK_INTERVAL": "no number", "STATE_DIR": "/data"})
    assert StateSettings.read(env) == StateSettings(folder=Path("/data"), variable="STATE_DIR")
    env.check()


def test_state_goes_to_the_volume_when_nothing_else_is_said() -> None:
    volume = {"RAILWAY_VOLUME_MOUNT_PATH": "/volume"}
    assert StateSettings.read(Env(volume)).folder == Path("/volume")
    assert StateSettings.read(Env({**volume, "STATE_DIR": "/data"})).folder == Path("/data")


@pytest.mark.parametrize(("interval", "timeout"), [("60", 10.0), ("11", 10.0), ("10", 5.0), ("0.5", 0.25)])
def test_a_timeout_nobody_chose_gives_way_to_a_short_interval(interval: str, timeout: float) -> None:
    settings, env = watch(CHECK_INTERVAL=interval)
    assert settings.probe_timeout == timeout
    assert settings.confirm_interval <= settings.interval
    assert env.problems == []


def test_the_instance_is_named_by_the_user_else_by_railway_else_by_the_host() -> None:
    railway = {"RAILWAY_SERVICE_NAME": "watch", "RAILWAY_ENVIRONMENT_NAME": "production", "RAILWAY_REPLICA_ID": "r1"}
    assert watch(**railway)[0].instance == "watch@production"
    assert watch(**railway, INSTANCE="mine")[0].instance == "mine"
    assert watch()[0].instance


def test_blanks_and_quotes_around_a_value_are_taken_off() -> None:
    settings, env = watch(CHECK_INTERVAL=' "30" ', FAILURE_THRESHOLD=" 4\n")
    assert (settings.interval, settings.failure_threshold) == (30, 4)
    assert [note.partition(":")[0] for note in env.notes] == ["CHECK_INTERVAL"]


def test_empty_is_not_set() -> None:
    settings, env = watch(CHECK_INTERVAL="", PAUSE=" ", WATCH_FILE='""')
    assert settings.interval == 60
    assert settings.watch_file is None
    assert env.problems == []


def test_paused_names_are_a_list() -> None:
    assert watch(PAUSE=" redis, Langfuse-Worker,,redis ")[0].paused == ("redis", "langfuse-worker")


@pytest.mark.parametrize(("format_", "json"), [("json", True), ("CONSOLE", False), ("auto", None)])
def test_the_log_format(format_: str, json: bool | None) -> None:
    assert LogSettings.read(Env({"LOG_FORMAT": format_})).json is json


@pytest.mark.parametrize(("text", "says"), [("true", True), ("0", False), ("YES", True), ("off", False)])
def test_a_flag(text: str, says: bool) -> None:
    assert Env({"X": text}).flag("X", default=not says) is says


def test_a_secret_is_never_shown() -> None:
    env = Env({"METRICS_TOKEN": CANARY, "API_TOKEN": "${{x." + CANARY})
    web = WebSettings.read(env)
    assert web.metrics_token == Secret(CANARY)
    assert env.reads["METRICS_TOKEN"].shown == "***"
    assert CANARY not in f"{web!r} {env.reads} {env.problems} {env.notes} {env.secrets}"
    assert [problem.place for problem in env.problems] == ["API_TOKEN"]
