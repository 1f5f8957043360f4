"""`python -m demo.faults`: plays the fault matrix on real servers and contract servers, and writes its page."""

import argparse
import sys
import time
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from config.services import discover
from demo.faults.bench import Bench
from demo.faults.matrix import Play
from demo.faults.page import PAGE, lines_of, page, told
from demo.faults.rows import NOT_PRODUCED, ROWS
from demo.faults.runner import Runner
from demo.faults.sighting import Result
from demo.process import DemoError, Keeper


def chosen(names: Sequence[str]) -> list[Play]:
    """The plays meant by names of plays, of servers (`redis`: all of `redis/…`) or numbers of rows; all without any.

    Raises DemoError for a name that means none.
    """
    plays = {play.name: (row.number, play) for row in ROWS for play in row.plays}
    found: dict[str, Play] = {}
    for name in names:
        meant = {one: play for one, (row, play) in plays.items() if name in (one, play.head, str(row))}
        if not meant:
            raise DemoError(f"no fault of the matrix is called {name!r}; --list shows them")
        found |= meant
    return list(found.values() if names else (play for _, play in plays.values()))


def line(result: Result) -> Text:
    """One result for the terminal."""
    mark, style = ("✓", "green") if result.right else ("✗", "bold red")
    times = " ".join(
        f"{value:5.1f}s" if value is not None else "     –" for value in (result.seen_after, result.told_after)
    )
    text = Text.assemble((f"{mark} ", style), f"{result.play.name:<50} {times}  ", told(result.told).replace("**", ""))
    for problem in result.problems:
        text.append(f"\n    {problem}", style="red")
    return text


def run(plays: Sequence[Play]) -> int:
    """Plays those that this machine can; 1 if one of them was not told right."""
    console = Console(highlight=False, soft_wrap=True)
    began = time.monotonic()
    with Keeper.start() as keeper:
        bench = Bench(keeper)
        try:
            bench.start()
            console.print(
                f"{len(plays)} faults, on {len(bench.stack.parts)} servers; seen after, told after, what is told"
            )
            lacking = {play.name: why for play in plays if (why := bench.lacking(play))}
            for name, why in lacking.items():
                console.print(f"– {name} is not played: {why}")
            able = [play for play in plays if play.name not in lacking]
            results = Runner(bench, lambda result: console.print(line(result))).run(able)
            services = {service.name: service for service in discover(bench.variables).services}
        finally:
            bench.stop()
    wrong = [result for result in results if not result.right]
    console.print(f"{len(results) - len(wrong)} of {len(results)} are told right; {time.monotonic() - began:.0f} s")
    by_name = {result.play.name: result for result in results}
    earlier = lines_of(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
    PAGE.write_text(page(ROWS, by_name, NOT_PRODUCED, services, earlier), encoding="utf-8")
    console.print(f"written: {PAGE}")
    return 1 if wrong else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Does what the command line asks; 2 when it cannot."""
    parser = argparse.ArgumentParser(prog="python -m demo.faults", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="these: names, servers or numbers of rows"
    )
    parser.add_argument("--list", action="store_true", help="show the faults, a line each")
    arguments = parser.parse_args(argv)
    try:
        plays = chosen(arguments.only)
        if arguments.list:
            for row in ROWS:
                print(f"{row.number:>3}  {row.failure}: {', '.join(play.name for play in row.plays)}")
            return 0
        return run(plays)
    except DemoError as problem:
        print(f"faults: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
