"""What people read on a terminal: the table of a round, what was discovered, and a flip in one line."""

from collections import Counter
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from config.configuration import Configuration
from monitor.board import WORST_FIRST, Board, ServiceStatus
from monitor.judge import Flip, State
from monitor.probes.base import Verdict

LOOKS = {
    State.UP: ("✓ up", "green"),
    State.DEGRADED: ("! degraded", "yellow"),
    State.DOWN: ("✗ down", "bold red"),
    State.UNKNOWN: ("? unknown", "magenta"),
    State.PAUSED: ("– paused", "dim"),
}


def flip_line(flip: Flip) -> str:
    """A flip in one line: which service, from what to what, the cause in words, what to do."""
    head = f"{flip.service}: {flip.old} → {flip.new}"
    if flip.cause:
        head += f" ({flip.cause})"
    said = " ".join(part.strip() for part in (flip.sentence, flip.remedy) if part.strip())
    return " ".join(f"{head}: {said}".split()) if said else head


def check_table(board: Board, console: Console | None = None) -> None:
    """Prints one round: a line for each service, the worst first, and under each that is not up what was seen."""
    console = console or Console()
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("service", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("slowest", justify="right", no_wrap=True)
    table.add_column("what was seen", overflow="fold")
    statuses = sorted(board.services.values(), key=lambda status: WORST_FIRST.index(status.state))
    for status in statuses:
        word, style = LOOKS[status.state]
        table.add_row(status.service.name, Text(word, style), _slowest(status), Text("\n").join(_seen(status)))
    console.print(table)
    console.print(_summary(board))


def _slowest(status: ServiceStatus) -> str:
    outcomes = [check.outcome for check in status.checks.values() if check.outcome]
    return f"{max(outcome.latency for outcome in outcomes) * 1000:.0f} ms" if outcomes else ""


def _seen(status: ServiceStatus) -> Iterator[Text]:
    """For a service that is up its version; else of each check that missed: cause, evidence, remedy."""
    if status.state == State.UP:
        yield Text(status.facts.get("version", ""), "dim")
    told: set[str] = set()
    for check in status.checks.values():
        if check.outcome is None or check.outcome.verdict == Verdict.PASS:
            continue
        found = check.diagnosis
        cause = f" ({found.cause.value})" if found else ""
        yield Text.assemble(
            (f"{check.check.name} {check.outcome.verdict.value}{cause}: ", "bold"), found.sentence if found else ""
        )
        yield Text(f"  saw: {check.outcome.evidence.text}", "dim")
        if found and found.remedy and found.remedy not in told:
            told.add(found.remedy)
            yield Text(f"  do: {found.remedy}")


def _summary(board: Board) -> Text:
    counts = Counter(status.state for status in board.services.values())
    total = sum(counts.values())
    if counts[State.UP] == total:
        return Text(f"All {total} services are up." if total != 1 else "The one service is up.", "green")
    parts = [f"{counts[state]} {state.value}" for state in WORST_FIRST if counts[state]]
    return Text(f"{', '.join(parts)} of {total} services.", "bold")


def config_table(configuration: Configuration, console: Console | None = None) -> None:
    """Prints what is watched, from which variables, and every setting that was read; secrets are masked."""
    console = console or Console()
    discovery = configuration.discovery
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("service", "address", "checks", "depends on", "from"):
        table.add_column(name, overflow="fold")
    shown = {(source.service, source.variable): source.shown for source in discovery.sources}
    for service in discovery.services:
        variables = [f"{name}={shown.get((service.name, name), '')}".rstrip("=") for name in service.variables] or [
            "WATCH_FILE"
        ]
        table.add_row(
            service.name + (" (paused)" if service.paused else ""),
            escape(service.address),
            ", ".join(check.name for check in service.checks),
            ", ".join(service.depends_on),
            escape("\n".join(variables)),
        )
    console.print(table)
    settings = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("setting", "value", "meaning"):
        settings.add_column(name, overflow="fold")
    for read in configuration.settings:
        settings.add_row(read.variable, escape(read.shown) or Text(read.default or "not set", "dim"), escape(read.says))
    console.print()
    console.print(settings)
    for note in discovery.notes:
        console.print(Text(f"note: {note}", "yellow"))
