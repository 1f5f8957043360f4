"""docs/reference/fault-matrix.md, from the rows and what came of them."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from config.services import Service
from demo.contracts.table import faults
from demo.expectations import Expected
from demo.faults import bench, names
from demo.faults.bench import CONFIRM, INTERVAL, THRESHOLDS
from demo.faults.matrix import OLD, Play, Row
from demo.faults.sighting import Result
from demo.outages import find

WRONG = "WRONG:"
OWN_CONFIRM = 10.0  # seconds
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "fault-matrix.md"

OWN = {**names.SAYS, **bench.SAYS}
BESIDE = {"minio-standin": "minio", **dict.fromkeys(OLD, "litellm")}
LOWERED = "; ".join(f"`{kind}` {check} ({said.replace(chr(10), ', ')})" for (kind, check), said in THRESHOLDS.items())

HEAD = f"""# The fault matrix

Written by `make faults`, which plays every line with a real daemon over the demo's stack; do not edit. A line is right
when exactly the services named are told, for exactly these causes, from the first word on; when what is told says what
it is about; when no other service is told; and when all is up again once it is mended.

The daemon is in a hurry here: a look every {INTERVAL:g} s and a second look after {CONFIRM:g} s, where its own pace is
60 s and 10 s. “Seen” is the time from the fault to the first look that did not pass, “told” that to the confirmed
state: three misses in a row, or three looks for a warning. They are those of the newest run
of each line. The last column is what that
comes to at its own pace, at most, by the checks that told it and their intervals; answers that are waited for come on
top, up to 10 s each. It is empty where a threshold was lowered, so that it need not be waited for by the hour:
{LOWERED}.

A contract server answers as the real service does, version by version, where no real one can be had or be made to fail
like that; how an outage begins stands in [outages](outages.md), what a cause means in [causes](causes.md).
"""


def page(
    rows: Iterable[Row],
    results: Mapping[str, Result],
    not_produced: Mapping[int, str],
    services: Mapping[str, Service] = MappingProxyType({}),
    earlier: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """The whole page. `results` by the play's name, without those not played; `services` at their own pace.

    `earlier` are lines of the page as it was, by the play's name: they stand for what was not played now.
    """
    lines = {**earlier, **{name: _line(result, services) for name, result in results.items()}}
    rows = list(rows)
    plays = [play for row in rows for play in row.plays]
    right = sum(play.name in lines and WRONG not in lines[play.name] for play in plays)
    count = f"{right} of {len(plays)} lines are right: {len(rows)} faults of {len(rows) + len(not_produced)}.\n"
    return "\n".join([HEAD, count, *_sections(rows, lines), "## Not played\n", *_left(not_produced)]) + "\n"


def lines_of(text: str) -> dict[str, str]:
    """The lines of a page by the play's name."""
    return {found[1]: found[0] for found in re.finditer(r"^\| `([^`|]+)` \|.*$", text, flags=re.MULTILINE)}


def expected(rows: Iterable[Row]) -> dict[str, Result]:
    """The results of a run in which all is right, without times."""
    return {play.name: _right(play) for row in rows for play in row.plays}


def without_times(text: str) -> str:
    """The page without the three columns that may differ from run to run."""
    return "\n".join(line.rsplit(" | ", 3)[0] if line.count(" | ") == 7 else line for line in text.splitlines())


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


def _sections(rows: Iterable[Row], lines: Mapping[str, str]) -> Iterator[str]:
    for row in rows:
        yield f"## {row.number}. {row.failure}\n"
        yield f"Told apart: {row.apart}.\n"
        yield "| how | what happens | on | expected | told | seen s | told s | own pace |"
        yield "|---|---|---|---|---|---|---|---|"
        for play in row.plays:
            yield lines.get(play.name, f"| `{play.name}` | {_cell(says(play))} | not played | | | – | – | – |")
        yield ""


def _line(result: Result, services: Mapping[str, Service]) -> str:
    play = result.play
    seen = _cell(told(result.told)) if result.right else f"{WRONG} {_cell('; '.join(result.problems))}"
    cells = [f"`{play.name}`", _cell(says(play)), play.server, _cell(wanted(play.expected)), seen]
    return f"| {' | '.join([*cells, *_times(result, services)])} |"


def says(play: Play) -> str:
    """What happens in a play, for people."""
    if play.mistake:
        return "the stack is well, and the watch is told wrongly"
    if play.name in OWN:
        return OWN[play.name]
    kind = BESIDE.get(play.head)
    return faults(kind)[play.name.partition("/")[2]] if kind else find(play.name).says


def _times(result: Result, services: Mapping[str, Service]) -> Iterator[str]:
    yield _seconds(result.seen_after)
    yield _seconds(result.told_after)
    service = services.get(next(iter(result.play.expected.not_up), ""))
    seconds = own_pace(service, result.checks) if service else None
    yield "–" if seconds is None else f"{seconds:.0f}"


def own_pace(service: Service, bad: Mapping[str, str]) -> float | None:
    """Seconds until it is told at its own pace, at most, by the earliest of the checks that are `bad` with a verdict.

    None where none is, or where WATCH_FILE had to lower a threshold for it here.
    """
    known = {check.name: check for check in service.checks}
    if any((service.kind, name) in THRESHOLDS for name in bad):
        return None
    within = []
    for name, verdict in bad.items():
        check = known.get(name)
        if check and verdict == "fail":
            within.append(check.interval + (check.failure_threshold - 1) * OWN_CONFIRM)
        elif check:
            within.append(check.interval * check.warn_threshold)
    return min(within, default=None)


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _left(not_produced: Mapping[int, str]) -> Iterator[str]:
    yield "| # | why |"
    yield "|---|---|"
    for number, why in not_produced.items():
        yield f"| {number} | {_cell(why)} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("_", "\\_")
