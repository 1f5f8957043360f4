"""Writes docs/reference/outages.md from what demo/ expects of the watch: `python docs/outages.py`."""

from collections.abc import Iterator
from pathlib import Path

from demo.contracts.table import faults
from demo.expectations import ANYWHERE, OWN, STAND_IN_STORE, Expected, expected
from demo.mistakes import MISTAKES
from demo.outages import groups

PAGE = Path(__file__).parent / "reference" / "outages.md"

HEAD = """# Outages, and what is said of them

Generated from `demo/expectations.py` and `demo/mistakes.py` by `python docs/outages.py`; do not edit.
`tests/daemon/test_stack_outages.py` plays every line against the whole demo stack: one look, after which exactly these
services are not up, for these causes, and every other is up; once it is mended, what was touched is up again.

`python -m demo --outage NAME` plays one with the daemon. A service that is "up" is so by design; the last column says
why. What each cause means and what to do: [causes](causes.md).
"""

COMMON = """## Every stand-in

Each of these is played on every service that a stand-in plays, `litellm/hang` for example; every stand-in has another
one at the same time, and each is told by its own cause. The service is down; a `flapping` one is down or degraded, by
which question comes first, and a `waking` one is up once it was asked again. Qdrant's gRPC port shares what befalls the
connection. Stopped (`NAME`) is told as `refuse`, frozen (`NAME/pause`) as `hang`; these are played one at a time, and
of that service alone. Where a service differs, its own table above says so.
"""

WRONG = """## Wrong variables

The stack is well, and the watch was told wrongly.
"""


def cell(text: str) -> str:
    """Text fit for a table's cell."""
    return text.replace("|", "\\|").replace("_", "\\_")


def told(one: Expected) -> str:
    """Who is not up, in words; the same state and cause said once."""
    by_told: dict[str, list[str]] = {}
    for name, what in one.not_up.items():
        by_told.setdefault(f"{what.state}, {cell(what.cause.value)}", []).append(name)
    return "; ".join(f"**{', '.join(names)}** {what}" for what, names in by_told.items()) or "all up"


def table(rows: Iterator[tuple[str, str, str, str]]) -> Iterator[str]:
    """A table of outages."""
    yield "| outage | what happens | not up | why |"
    yield "|---|---|---|---|"
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""


def own(names: dict[str, str]) -> Iterator[tuple[str, str, str, str]]:
    """Rows of outages, given each one's line for people."""
    for name, says in names.items():
        one = expected(name)
        yield f"`{name}`", cell(says), told(one), cell(one.why)


def sections() -> Iterator[str]:
    """Everything below the head."""
    for heading, outages in groups().items():
        names = {outage.name: outage.says for outage in outages}
        if heading != "Real servers":
            names = {name: says for name, says in names.items() if name in OWN}
        if names:
            yield f"## {heading}\n"
            yield from table(own(names))
    says = faults("minio")
    stored = {name: says[name.partition("/")[2]] for name in OWN if name.startswith(STAND_IN_STORE)}
    yield "## MinIO, played by its stand-in as a second store without keys\n"
    yield from table(own(stored))
    yield COMMON
    common = faults("r2r")
    yield "| outage | what happens | cause | note |"
    yield "|---|---|---|---|"
    for fault, (cause, _, why) in ANYWHERE.items():
        yield f"| `…/{fault}` | {cell(common[fault])} | {cell(cause.value)} | {cell(why)} |"
    yield f"| `…/waking` | {cell(common['waking'])} | none | {cell(expected('r2r/waking').why)} |"
    yield ""
    yield WRONG
    yield from table((f"`{one.variable}`", one.says, told(one.expected), cell(one.expected.why)) for one in MISTAKES)


def page() -> str:
    """The whole page."""
    return HEAD + "\n" + "\n".join(sections()).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
