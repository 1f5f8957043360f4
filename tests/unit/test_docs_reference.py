"""The pages of docs/reference that are generated are what the code says now."""

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
WRITERS = sorted(DOCS.glob("*.py"))


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.stem)
def test_a_generated_page_is_what_the_code_says(writer: Path) -> None:
    made = runpy.run_path(str(writer))["page"]()
    page = (DOCS / "reference" / writer.with_suffix(".md").name).read_text(encoding="utf-8")
    assert page == made, f"run: make pages, or .venv/bin/python docs/{writer.name}"
