"""A signal that is known is asked by a preset and told by a rule of its own; its kind may be written in WATCH_FILE."""

from typing import get_args, get_type_hints

import pytest

from config.kinds import PARAMS, SIGNALS
from config.presets import presets
from config.service_tables import CheckTable
from monitor.diagnose.table import TABLES


def known(kind: str) -> set[str]:
    """Every signal of a kind by its name."""
    return set(get_args(get_type_hints(SIGNALS[kind])["signal"]))


@pytest.mark.parametrize("kind", SIGNALS)
def test_each_is_asked_by_a_preset(kind: str) -> None:
    tables = [table for preset in presets().values() for table in preset.checks.values() if table["kind"] == kind]
    only = min(known(kind))  # the one of a kind that has no other goes without saying
    assert {table.get("signal", only) for table in tables} == known(kind)


@pytest.mark.parametrize("kind", SIGNALS)
def test_each_has_a_cause_and_a_remedy_of_its_own(kind: str) -> None:
    assert {sign for rule in TABLES[kind] for sign in rule.signs} == known(kind)


def test_every_kind_may_be_written_in_watch_file() -> None:
    assert set(get_args(get_type_hints(CheckTable)["kind"])) == set(PARAMS)
