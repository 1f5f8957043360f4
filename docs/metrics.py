"""Writes the table of docs/reference/metrics.md from monitor/families.py: `python docs/metrics.py`."""

from pathlib import Path

from monitor.families import FAMILIES

PAGE = Path(__file__).parent / "reference" / "metrics.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"


def table() -> str:
    """The table: a row for each metric."""
    rows = (f"| `{f.name}` | {f.kind} | {', '.join(f.labels) or '-'} | {f.help} |\n" for f in FAMILIES)
    return "| metric | type | labels | meaning |\n|---|---|---|---|\n" + "".join(rows)


def page() -> str:
    """The whole page: what stands around the table is written by hand and stays."""
    before, begin, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE} lacks the marks around its table: {BEGIN.strip()} and {END.strip()}")
    return before + begin + table() + end + after


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
