"""The published page of settings is what the code reads."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_settings_page_is_what_the_code_reads() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "settings.py"))["page"]()
    assert (ROOT / "docs/reference/settings.md").read_text(encoding="utf-8") == made, "run: python docs/settings.py"
