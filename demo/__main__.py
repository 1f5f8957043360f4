"""`python -m demo`: the daemon against a real local stack, on 127.0.0.1, in a temporary folder."""

import argparse
import os
import sys
from collections.abc import Sequence

EXAMPLES = """\
  python -m demo                            until Ctrl-C
  python -m demo --for 60 --outage redis    stops Valkey for a while and shows what the daemon says
  python -m demo --list                     the outages it can play
  python -m demo --check                    one round: python -m monitor check
  python -m demo --environ                  only the stack, and its variables for another shell
"""


def arguments_of(argv: Sequence[str] | None) -> argparse.Namespace:
    """Reads the command line; ends the program with 2 when it cannot."""
    parser = argparse.ArgumentParser(
        prog="python -m demo", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawTextHelpFormatter
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--list", action="store_true", help="show the outages it can play, a line each")
    what.add_argument("--check", action="store_true", help="run one check against the stack; its exit code is ours")
    what.add_argument("--environ", action="store_true", help="print the stack's variables; no daemon")
    parser.add_argument("--for", dest="seconds", type=_seconds, metavar="SECONDS", help="end after this long")
    parser.add_argument("--outage", metavar="NAME", help="break this in the middle (with --check: before)")
    parser.add_argument(
        "--interval", type=_seconds, default=5.0, metavar="SECONDS", help="the daemon's pace (5; its own is 60)"
    )
    parser.add_argument("--stand-in", action="store_true", help="play LiteLLM by its stand-in even if it is installed")
    return parser.parse_args(argv)


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError("must be above 0")
    return seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Does what the command line asks; 2 when the demo itself cannot."""
    arguments = arguments_of(argv)
    try:
        from demo import play
        from demo.process import DemoError
    except ModuleNotFoundError as missing:
        print(f"demo: {missing.name} is not installed here. Run: make venv, then .venv/bin/python -m demo")
        return 2
    wish = play.Wish(
        seconds=arguments.seconds, outage=arguments.outage, interval=arguments.interval, stand_in=arguments.stand_in
    )
    acts = {"list": lambda _: play.show_outages(), "check": play.check, "environ": play.environ}
    act = next((act for name, act in acts.items() if getattr(arguments, name)), play.run)
    try:
        return act(wish)
    except DemoError as problem:
        print(f"demo: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # nobody reads on, as with `| head`; everything has been ended all the same
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
