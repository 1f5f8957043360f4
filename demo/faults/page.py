"""docs/reference/fault-matrix.md, from the rows and what came of them."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from demo.expectations import Expected
from demo.faults.bench import CONFIRM, INTERVAL
from demo.faults.matrix import Play, Row
from demo.faults.sighting import Result

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "fault-matrix.md"

HEAD = f"""# The fault matrix

Written by `make faults`, which plays every line with a real daemon over the demo's stack; do not edit. A line is right
when exactly the services named are told, for exactly these causes, from the first word on; when what is told says what
it is about; when no other service is told; and when all is up again once it is mended.

The daemon is in a hurry here: a look every {INTERVAL:g} s and a second look after {CONFIRM:g} s, where its own pace is
60 s and 10 s. “Seen” is the time from the fault to the first look that did not pass, “told” that to the confirmed
state: three misses in a row, or three looks for a warning. At its own pace a miss is seen within 60 s and told 20 s
later, a warning is told within three minutes, and what is asked only every five minutes that much later. The times are
those of one run.

A contract server answers as the real service does, version by version, where no real one can be had or be made to fail
like that; how an outage begins stands in [outages](outages.md), what a cause means in [causes](causes.md).
"""


def page(rows: Iterable[Row], results: Mapping[str, Result], not_produced: Mapping[int, str]) -> str:
    """The whole page. `results` by the play's name; one that is missing was not played."""
    return "\n".join([HEAD, *_table(rows, results), "", "## Not played", "", *_left(not_produced)]) + "\n"


def expected(rows: Iterable[Row]) -> dict[str, Result]:
    """The results of a run in which all is right, without times."""
    return {play.name: _right(play) for row in rows for play in row.plays}


def without_times(text: str) -> str:
    """The page without the two columns that differ from run to run."""
    return "\n".join(line.rsplit(" | ", 2)[0] if line.count(" | ") >= 7 else line for line in text.splitlines())


def told(what: Mapping[str, tuple[str, str | None]]) -> str:
    """Who is told, how, and why, in words; the same said once."""
    by_told: dict[str, list[str]] = {}
    for name, (state, cause) in what.items():
        by_told.setdefault(f"{state}, {cause}", []).append(name)
    return "; ".join(f"**{', '.join(names)}** {what}" for what, names in by_told.items()) or "nothing"


def wanted(expectation: Expected) -> str:
    """What must be told, in the same words."""
    return told({name: (one.state, one.cause.value) for name, one in expectation.not_up.items()})


def _right(play: Play) -> Result:
    return Result(play=play, told={name: (one.state, one.cause.value) for name, one in play.expected.not_up.items()})


def _table(rows: Iterable[Row], results: Mapping[str, Result]) -> Iterator[str]:
    yield "| # | fault | how | on | expected | told | told apart | seen s | told s |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        for play in row.plays:
            result = results.get(play.name)
            yield f"| {' | '.join(_line(row, play, result))} |"


def _line(row: Row, play: Play, result: Result | None) -> Iterator[str]:
    yield str(row.number)
    yield _cell(row.failure)
    yield f"`{play.name}`"
    yield play.server
    yield _cell(wanted(play.expected))
    if result is None:
        yield "not played"
    else:
        yield _cell(told(result.told)) if result.right else f"WRONG: {_cell('; '.join(result.problems))}"
    yield _cell(row.apart)
    yield _seconds(result.seen_after if result else None)
    yield _seconds(result.told_after if result else None)


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _left(not_produced: Mapping[int, str]) -> Iterator[str]:
    yield "| # | why |"
    yield "|---|---|"
    for number, why in not_produced.items():
        yield f"| {number} | {_cell(why)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("_", "\\_")
