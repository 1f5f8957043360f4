"""What people read on a terminal: the table of a round, what was discovered, and a flip in one line.

Where the output is no terminal nothing is wrapped or cut: a line of a table is one line of the file.
"""

import codecs
import contextlib
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO

from rich.console import Console, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from config.configuration import Configuration
from monitor.board import WORST_FIRST, Board, ServiceStatus
from monitor.depth import LeftOut
from monitor.judge import Flip, State
from monitor.probes.base import Verdict
from monitor.reasoning import TROUBLE, reason

LOOKS = {
    State.UP: ("✓ up", "green"),
    State.DEGRADED: ("! degraded", "yellow"),
    State.DOWN: ("✗ down", "bold red"),
    State.UNKNOWN: ("? unknown", "magenta"),
    State.PAUSED: ("– paused", "dim"),
}

INCIDENT_LOOKS = {
    "over": ("✓ over", "green"),
    "up": ("✓ up now", "yellow"),  # open until it stays so
    "degraded": LOOKS[State.DEGRADED],
    "down": LOOKS[State.DOWN],
    "blind": ("? blind", "bold red"),
}

EXIT_OUTPUT = 74  # sysexits.h: EX_IOERR
WIDE = 10_000

# What stands for our signs where the output's encoding has none of them; anything else becomes a question mark.
PLAIN = {"✓": "+", "✗": "x", "–": "-", "→": "->", "…": "...", "“": '"', "”": '"', "’": "'"}


def _plainly(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(PLAIN.get(sign, "?") for sign in error.object[error.start : error.end]), error.end


codecs.register_error("watchkeeper.plainly", _plainly)


@contextlib.contextmanager
def writing(stream: IO[str] | None = None) -> Iterator[None]:
    """Around all that is written to `stream` (standard output if None): what it cannot encode is written in plain
    letters, and when it takes nothing (a full disk) that is said in one line and ends the program with EXIT_OUTPUT.
    """
    stream = sys.stdout if stream is None else stream
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="watchkeeper.plainly")
    try:
        yield
        stream.flush()
    except BrokenPipeError:
        _give_up(stream)  # whoever read has seen enough
    except OSError as error:
        sys.stderr.write(f"watchkeeper: the output cannot be written: {error.strerror}\n")
        _give_up(stream)


def _give_up(stream: IO[str]) -> None:
    """Ends the program. What is still buffered goes nowhere, or Python would try again at its end, with a traceback."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    raise SystemExit(EXIT_OUTPUT)


def on_terminal() -> bool:
    """Whether somebody reads this in a window of some width, where long lines are folded or cut."""
    return sys.stdout.isatty() or bool(os.environ.get("COLUMNS"))


def print_parts(*parts: RenderableType, console: Console | None = None) -> None:
    """Prints to the terminal in its width; elsewhere in full width, without the blanks tables are filled up with."""
    if console is None:
        wide = None if on_terminal() else WIDE
        console = Console(width=wide)
    with writing(console.file):
        if console.is_terminal:
            console.print(*parts, sep="\n")
            return
        with console.capture() as captured:
            console.print(*parts, sep="\n")
        console.file.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def flip_line(flip: Flip) -> str:
    """A flip in one line: which service, from what to what, the cause in words, what to do."""
    head = f"{flip.service}: {flip.old} → {flip.new}"
    if flip.cause:
        head += f" ({flip.cause})"
    said = " ".join(part.strip() for part in (flip.sentence, flip.remedy) if part.strip())
    return " ".join(f"{head}: {said}".split()) if said else head


def check_table(
    board: Board, console: Console | None = None, *, left: Sequence[LeftOut] = (), deep: bool = False
) -> None:
    """Prints one round: a line for each service, the worst first, and under each that is not up what was seen.

    One that is in trouble for want of another comes after that, and names it in place of what to do. `left` are the
    checks that it left out; of those that a `deep` one left out each is named with the reason.
    """
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("service", no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("slowest", justify="right", no_wrap=True)
    table.add_column("what was seen", overflow="fold")
    hit = _hit(board)
    statuses = sorted(
        board.services.values(), key=lambda status: (WORST_FIRST.index(status.state), status.service.name in hit)
    )
    for status in statuses:
        word, style = LOOKS[status.state]
        seen = Text("\n").join(_seen(status, hit.get(status.service.name)))
        table.add_row(status.service.name, Text(word, style), _slowest(status), seen)
    print_parts(table, *left_out(left, brief=not deep), _summary(board), console=console)


def _hit(board: Board) -> dict[str, str]:
    """The services in trouble for want of another one, and which is to be mended first."""
    roots = {name: reason(board, name).root for name, status in board.services.items() if status.state in TROUBLE}
    for _ in roots:  # a root may have one of its own
        roots = {name: roots.get(root, root) for name, root in roots.items()}
    return {name: root for name, root in roots.items() if root != name}


def left_out(left: Sequence[LeftOut], *, brief: bool) -> list[Text]:
    """What was not asked: a line for each reason, or in `brief` one for all that a deep look would ask."""
    if brief:
        what = f"{len(left)} checks that are slow or cost something; --deep asks them"
        if len(left) == 1:
            what = "1 check that is slow or costs something; --deep asks it"
        return [Text(f"not asked: {what}", "dim")] if left else []
    reasons: dict[str, list[str]] = {}
    for one in left:
        reasons.setdefault(one.why, []).append(f"{one.service} {one.check}")
    return [Text(f"not asked: {', '.join(names)} ({why})", "dim") for why, names in reasons.items()]


def _slowest(status: ServiceStatus) -> str:
    outcomes = [check.outcome for check in status.checks.values() if check.outcome]
    return f"{max(outcome.latency for outcome in outcomes) * 1000:.0f} ms" if outcomes else ""


def _seen(status: ServiceStatus, root: str | None) -> Iterator[Text]:
    """For a service that is up its version; of each check that missed: cause, evidence, remedy; what cannot be told.

    With `root`, the service to mend first, that one has the remedy.
    """
    if root is not None:
        yield Text(f"mend {root} first: this one needs it", "bold")
    if status.state == State.UP and (version := status.facts.get("version")):
        yield Text(version, "dim")
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
        if root is None and found and found.remedy and found.remedy not in told:
            told.add(found.remedy)
            yield Text(f"  do: {found.remedy}")
    for why, names in status.unavailable().items():
        yield Text(f"{', '.join(names)} {why}", "dim")


def _summary(board: Board) -> Text:
    counts = Counter(status.state for status in board.services.values())
    total = sum(counts.values())
    style = "green" if counts[State.UP] == total else "bold"
    if total == 1:
        return Text(f"The one service is {next(iter(counts)).value}.", style)
    if counts[State.UP] == total:
        return Text(f"All {total} services are up.", style)
    parts = [f"{counts[state]} {state.value}" for state in WORST_FIRST if counts[state]]
    return Text(f"{', '.join(parts)} of {total} services.", style)


def config_table(configuration: Configuration, console: Console | None = None) -> None:
    """Prints what is watched, from which variables, and every setting that was read; secrets are masked."""
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
    settings = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("setting", "value", "meaning"):
        settings.add_column(name, overflow="fold")
    for read in configuration.settings:
        settings.add_row(read.variable, escape(read.shown) or Text(read.default or "not set", "dim"), escape(read.says))
    notes = [Text(f"note: {note}", "yellow") for note in discovery.notes]
    print_parts(table, "", settings, *notes, console=console)
