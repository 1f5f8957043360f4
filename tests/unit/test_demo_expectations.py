"""What is expected of the watch covers every outage there is, and is published as it stands."""

import runpy
from pathlib import Path

from demo.contracts.table import faults
from demo.expectations import OWN, REAL, STAND_IN_STORE, expected
from demo.outages import groups

ROOT = Path(__file__).parents[2]
OUTAGES = {outage.name for outages in groups().values() for outage in outages}
STORE = {f"{STAND_IN_STORE}/{fault}" for fault in faults("minio")}


def test_every_outage_is_thought_of() -> None:
    for name in OUTAGES | STORE:
        one = expected(name)
        assert (one.not_up and one.shows) or one.why, name


def test_nothing_is_expected_of_an_outage_that_is_not() -> None:
    assert {*REAL, *OWN} <= OUTAGES | STORE


def test_the_page_is_what_is_expected() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "outages.py"))["page"]()
    assert (ROOT / "docs/reference/outages.md").read_text(encoding="utf-8") == made, "run: python docs/outages.py"
