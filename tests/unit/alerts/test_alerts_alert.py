"""An alert comes back from its JSON as it was, whatever a service made it say."""

import json
import sqlite3

import pytest

from alerts.alert import from_json, to_json
from demo.situations import SITUATIONS


@pytest.mark.parametrize("name", SITUATIONS)
def test_what_is_kept_is_what_was_put(name: str) -> None:
    assert from_json(to_json(SITUATIONS[name])) == SITUATIONS[name]


def test_a_database_takes_half_a_character(box: sqlite3.Connection) -> None:
    text = to_json(SITUATIONS["hostile"])
    assert "\ud83d" in from_json(text).evidence
    assert box.execute("SELECT ?", (text,)).fetchone() == (text,)


def test_what_another_version_knew_is_passed_over() -> None:
    record = {**json.loads(to_json(SITUATIONS["resolve"])), "mood": "bad"}
    assert from_json(json.dumps(record)) == SITUATIONS["resolve"]


@pytest.mark.parametrize("text", ["", "7", "[]", "{}", '{"kind": "sung"}'])
def test_what_is_no_alert_is_refused(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        from_json(text)
