"""`python -m monitor explain SERVICE`: a page about one service, for whoever was woken by it."""

import json
import shutil
import time
from collections.abc import Iterator
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from alerts.texts import duration
from monitor.asking import asks
from monitor.board import CheckStatus, ServiceStatus
from monitor.command_incidents import seconds
from monitor.explain import Explanation, Remembered, explanation_document, ways
from monitor.judge import State
from monitor.probes.base import Verdict
from monitor.terminal import LOOKS, left_out, on_terminal, print_parts, writing
from monitor.times import clock, timestamp
from monitor.ways import REACHED_OVER

VERDICTS = {
    Verdict.PASS: ("✓", "green"),
    Verdict.WARN: ("!", "yellow"),
    Verdict.FAIL: ("✗", "bold red"),
    Verdict.UNKNOWN: ("?", "magenta"),
}
NOT_TOLD = ("–", "dim")
NARROW = 110  # columns of a terminal that are too few for what was seen and what was asked side by side
CHANGES = 4  # of the newest ones that are shown


def explain_command(found: Explanation, *, as_json: bool) -> None:
    """Writes all that is known of a service, as a page or as JSON."""
    if as_json:
        with writing():
            typer.echo(json.dumps(explanation_document(found), indent=2))
        return
    around = (*_network(found.status), *_around(found), *_history(found))
    print_parts(*_head(found), "", _checks(found.status), "", *around)


def _head(found: Explanation) -> Iterator[Text]:
    """What it is, why, and what to do."""
    service, thought = found.status.service, found.reasoning
    word, style = LOOKS[found.status.state]
    since = ""
    if held := found.remembered:
        began = seconds(held.status["since"])
        since = f"; for the daemon {held.status['state']} since {timestamp(began)} ({duration(time.time() - began)})"
    yield Text.assemble((word, style), f" now: {service.title} at {service.address}{since}")
    yield Text(thought.sentence, "bold")
    if held and found.status.state == State.UP and not found.well:
        why = held.status["sentence"] or "see its history below"
        yield Text(f"The daemon holds it {held.status['state']} all the same: {why}", "yellow")
    if found.name != thought.root:
        yield Text(f"root: {thought.root}; see python -m monitor explain {thought.root}", "bold")
    for number, step in enumerate(thought.because):
        yield Text.assemble((f"why ({thought.confidence}): " if not number else "  and: ", "bold"), step)
    for step in thought.ruled_out:
        yield Text.assemble(("  and: ", "dim"), (step, "dim"))
    if thought.remedy:
        yield Text.assemble(("do: ", "bold"), thought.remedy)


def _checks(status: ServiceStatus) -> Table:
    """A line for each check. A terminal cuts what does not fit; a narrow one has no column for what is asked."""
    rows = [_row(one) for one in status.checks.values()]
    table = Table(box=None, pad_edge=False, header_style="dim", expand=on_terminal())
    for number, name in enumerate(("", "check", "took", "every", "weighs")):
        widest = max(len(name), *(len(row[number]) for row in rows))
        table.add_column(name, no_wrap=True, min_width=widest, justify="right" if number in (2, 3) else "left")
    table.add_column("saw", no_wrap=True, overflow="ellipsis", ratio=3)
    narrow = on_terminal() and shutil.get_terminal_size().columns < NARROW
    if not narrow:
        table.add_column("asks", no_wrap=True, overflow="ellipsis", ratio=2, style="dim")
    for row in rows:
        table.add_row(*row[:-1] if narrow else row)
    return table


def _row(one: CheckStatus) -> tuple[Text | str, ...]:
    check, outcome = one.check, one.outcome
    if outcome is None:
        return Text(*NOT_TOLD), check.name, "", f"{check.interval:g} s", check.severity, "not looked at", asks(check)
    sign, style = VERDICTS[outcome.verdict] if outcome.available else NOT_TOLD
    took = f"{outcome.latency * 1000:.0f} ms"
    if check.latency_threshold is not None:
        took += f" of {check.latency_threshold * 1000:.0f}"
    cause = f"{one.diagnosis.cause.value}: " if one.diagnosis else ""
    saw = Text(f"{cause}{outcome.evidence.text}", "" if outcome.available else "dim")
    return Text(sign, style), check.name, took, f"{check.interval:g} s", check.severity, saw, asks(check)


def _network(status: ServiceStatus) -> Iterator[Text]:
    """The ways to it: what was seen of them where a check failed on the way, else by which it is reached."""
    told = dict.fromkeys(ways(one.outcome) for one in status.checks.values())
    for lines in told:
        if lines:
            yield Text.assemble(("network: ", "dim"), "; ".join(lines))
    if reached := status.facts.get(REACHED_OVER, ""):
        yield Text.assemble(("network: ", "dim"), f"reached over {reached}")


def _around(found: Explanation) -> Iterator[Text]:
    """What it needs, who needs it, and what was not asked."""
    for what, names in (("needs", found.needs), ("needed by", found.needed_by)):
        line = Text(f"{what}: ", "dim")
        for number, name in enumerate(names):
            status = found.board.services[name]
            word, style = LOOKS[status.state]
            cause = f" ({status.diagnosis.cause.value})" if status.diagnosis else ""
            line.append(", " if number else "").append(word[:1], style).append(f" {name} {status.state.value}{cause}")
        yield line if names else line.append("nothing that is watched")
    yield from left_out(found.left_out, brief=False)


def _history(found: Explanation) -> Iterator[Text]:
    """What the daemon remembers; without one, why it is not told."""
    held = found.remembered
    if held is None:
        yield Text(f"history: not known here; {found.forgotten}", "dim")
        return
    shares = [f"{_share(held.history['watched'][name])} of the last {name}" for name in ("24h", "7d")]
    yield Text.assemble(("history: ", "dim"), f"up {', '.join(shares)}")
    changes = [_change(flip) for flip in held.history["flips"][:CHANGES]]
    if changes:
        yield Text.assemble(("changes: ", "dim"), "; ".join(changes))
    told = [_fact(fact) for fact in held.history["facts"] if fact["before"] is not None][:CHANGES]
    if told:
        yield Text.assemble(("itself: ", "dim"), "; ".join(told))
    yield from _told(held)


def _share(watched: dict[str, Any]) -> str:
    if not watched["seconds"]:
        return "?"
    return f"{watched['shares'].get(State.UP.value, 0.0) * 100:.2f} % ({duration(watched['seconds'])} watched)"


def _change(flip: dict[str, Any]) -> str:
    cause = f" ({flip['cause']})" if flip["cause"] else ""
    return f"{clock(seconds(flip['since']))} {flip['old']} → {flip['new']}{cause}"


def _fact(fact: dict[str, Any]) -> str:
    ago = duration(time.time() - seconds(fact["since"]))
    return f"{fact['name']} {fact['before']} → {fact['value']}, {ago} ago"


def _told(held: Remembered) -> Iterator[Text]:
    """The incident that is open, who looks after it, and the silences."""
    if one := held.incident:
        after = one["acknowledged_by"]
        nobody = f"nobody looks after it yet: python -m monitor ack {one['service']}"
        who = f"{after} looks after it" if after else nobody
        began = timestamp(seconds(one["since"]))
        yield Text.assemble(("incident: ", "dim"), f"{one['id']}, {one['title']}, open since {began}; {who}")
    for silence in held.silences:
        until = f"until {timestamp(seconds(silence['until']))}" if silence["until"] else f"by {silence['cron']}"
        yield Text.assemble(("silenced: ", "dim"), f"{until}, by {silence['by']}: {silence['why']}")
