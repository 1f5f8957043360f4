"""[every.KIND] of a preset: what every check of a kind has."""

from config.presets import Preset, presets, whole
from config.tables import Place


def preset(every: dict[str, dict[str, object]]) -> Preset:
    checks: dict[str, dict[str, object]] = {
        "ping": {"kind": "redis", "host": "${host}"},
        "memory": {"kind": "redis_signal", "signal": "memory", "warn": 85},
        "policy": {"kind": "redis_signal", "signal": "policy", "server_wide": False},
    }
    return Preset(title="", reads="redis", variables=(), says="", port=1, checks=checks, remedies={}, every=every)


def told(given: Preset) -> tuple[Preset, list[Place]]:
    """The whole preset, and the places that were wrong in it."""
    wrong: list[Place] = []
    return whole(given, lambda place, _message, _remedy: wrong.append(place)), wrong


def test_it_goes_to_the_checks_of_its_kind_whose_own_word_goes_before_it() -> None:
    found, wrong = told(preset({"redis_signal": {"host": "${host}", "server_wide": True}}))
    assert not wrong
    assert found.checks == {
        "ping": {"kind": "redis", "host": "${host}"},
        "memory": {"kind": "redis_signal", "signal": "memory", "warn": 85, "host": "${host}", "server_wide": True},
        "policy": {"kind": "redis_signal", "signal": "policy", "host": "${host}", "server_wide": False},
    }


def test_a_kind_of_no_check_is_wrong() -> None:
    assert told(preset({"postgres_signal": {}}))[1] == [("every", "postgres_signal")]


def test_each_signal_looks_where_the_plain_question_does() -> None:
    for kind, plain in (("redis", "ping"), ("postgres", "query")):
        asked = presets()[kind].checks
        place = {key: value for key, value in asked[plain].items() if key != "kind"}
        signals = [table for table in asked.values() if table["kind"] == f"{kind}_signal"]
        assert len(signals) > 5
        assert all({key: table.get(key) for key in place} == place for table in signals)
