"""What `python -m demo` does: start the stack, run the daemon against it, break things, end without a trace."""

import contextlib
import select
import shlex
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, TextIO

from demo.daemon import CHECK, RUN, Change, Daemon, Recorder, daemon_variables
from demo.outages import Outage, find, listing
from demo.process import DemoError, Keeper, clean_environ
from demo.provider import Provider
from demo.stack import Stack

ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOOK = 0.25
"""Seconds between two looks at the daemon's words, its status and the keyboard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What was asked for. Times are seconds; `seconds` None means until Ctrl-C."""

    seconds: float | None = None
    outage: str | None = None
    interval: float = 5.0
    stand_in: bool = False
    daemon: Sequence[str] = RUN
    check: Sequence[str] = CHECK


def run(wish: Wish) -> int:
    """Runs the daemon against the stack until it is time; with an outage, plays it in the middle and sums up."""
    outage = find(wish.outage) if wish.outage else None
    with contextlib.suppress(KeyboardInterrupt), _stack(wish, outage) as stack, _daemon(stack, wish) as show:
        if outage:
            show.play(outage, seconds=wish.seconds or 60.0)
        else:
            show.follow(wish.seconds)
    _say("Everything has ended; no process and no file is left.")
    return 0


def check(wish: Wish) -> int:
    """Runs `python -m monitor check` once against the stack (broken, if an outage was named); gives its exit code."""
    outage = find(wish.outage) if wish.outage else None
    with _stack(wish, outage, stream=sys.stderr) as stack:
        if outage:
            outage.begin(stack)
        variables = clean_environ(**stack.variables, STATE_DIR=str(stack.keeper.folder))
        return subprocess.run(list(wish.check), env=variables, check=False).returncode


def environ(wish: Wish) -> int:
    """Prints the stack's variables as lines for a shell and keeps the stack until it is time."""
    with _stack(wish, None, stream=sys.stderr) as stack:
        for name, value in stack.variables.items():
            _say(f"export {name}={shlex.quote(value)}")
        _say("The stack runs until Ctrl-C.", sys.stderr)
        deadline = _deadline(wish.seconds)
        with contextlib.suppress(KeyboardInterrupt):
            while time.monotonic() < deadline:
                time.sleep(LOOK)
    return 0


def show_outages() -> int:
    """Prints every outage, a line each."""
    _say(listing())
    return 0


class Show:
    """The daemon's words and alerts as they come, and the outages in between: a planned one, or what is typed."""

    def __init__(self, stack: Stack, daemon: Daemon, provider: Provider) -> None:
        self._stack = stack
        self._daemon = daemon
        self._provider = provider
        self._told = 0
        self._paged = 0
        self._recorder = Recorder()
        self._broken: Outage | None = None

    def words(self) -> None:
        """Prints what the daemon said since the last call."""
        for line in self._daemon.said():
            _say(f"  {line}")
        self._alerts()

    def _alerts(self) -> None:
        """Prints what came to Slack's and PagerDuty's stand-ins since the last call, as a person would read it."""
        messages, events = self._provider.memory.slack[self._told :], self._provider.memory.events[self._paged :]
        self._told, self._paged = self._told + len(messages), self._paged + len(events)
        for message in messages:
            _say(textwrap.indent(slack_text(message), "  ┃ "))
        for event in events:
            if event["event_action"] == "trigger":
                _say(f"  ┃ PagerDuty wakes somebody: {event['payload']['summary']}")

    def follow(self, seconds: float | None) -> None:
        """Shows the daemon's words for some seconds or until Ctrl-C, and does what is typed on a terminal."""
        if sys.stdin.isatty():
            _say("Type an outage and Enter to break something, mend, list; Ctrl-C ends.")
        deadline = _deadline(seconds)
        while time.monotonic() < deadline:
            self._look()
            for line in _typed():
                self._obey(line)

    def play(self, outage: Outage, *, seconds: float) -> None:
        """Breaks the stack once all is up, mends it after two thirds of the time, then says what the daemon saw."""
        began = time.monotonic()
        self._until(began + seconds * 0.3, lambda: self._recorder.all_up)
        _say(f"→ {outage.name}: {outage.says}")
        broken = time.monotonic()
        outage.begin(self._stack)
        self._until(began + seconds * 0.67)
        _say(f"→ {outage.name} is over: what was broken is mended")
        outage.end(self._stack)
        mended = time.monotonic()
        self._until(began + seconds, lambda: self._recorder.all_up)
        for line in _summary(self._recorder, broken=broken, mended=mended):
            _say(line)

    def _until(self, deadline: float, done: Callable[[], bool] = lambda: False) -> None:
        while time.monotonic() < deadline and not done():
            self._recorder.look(self._daemon.services(), now=time.monotonic())
            self._look()

    def _look(self) -> None:
        time.sleep(LOOK)
        self.words()
        if not self._daemon.running:
            raise DemoError(f"the daemon has ended; its log says:\n{self._daemon.log_end()}")

    def _obey(self, line: str) -> None:
        try:
            if line == "list":
                show_outages()
            elif line == "mend":
                self._mend()
            elif line:
                outage = find(line)
                self._mend()
                _say(f"→ {outage.name}: {outage.says}")
                outage.begin(self._stack)
                self._broken = outage
        except DemoError as problem:
            _say(str(problem))

    def _mend(self) -> None:
        if self._broken:
            _say(f"→ {self._broken.name} is mended")
            self._broken.end(self._stack)
            self._broken = None


@contextlib.contextmanager
def _stack(wish: Wish, outage: Outage | None, *, stream: TextIO | None = None) -> Iterator[Stack]:
    """The started stack; afterwards everything is gone, whatever happened."""
    real_litellm = False if wish.stand_in or (outage and outage.stand_in) else None
    for number in ENDING_SIGNALS:
        signal.signal(number, _interrupt)
    keeper = Keeper.start()
    try:
        stack = Stack(keeper, real_litellm=real_litellm)
        _say(f"Starting {len(stack.parts)} servers on 127.0.0.1 …", stream)
        began = time.monotonic()
        stack.start()
        _say(f"They answer after {time.monotonic() - began:.1f} s.", stream)
        for note in stack.notes:
            _say(f"Note: {note}.", stream)
        yield stack
        stack.stop()
    finally:
        _ignore_signals()
        keeper.close()


@contextlib.contextmanager
def _daemon(stack: Stack, wish: Wish) -> Iterator[Show]:
    """The daemon, started and announced; afterwards it has ended and its last words are shown."""
    provider = Provider().start()
    tells = provider.environ("slack", "pagerduty")
    variables = {**daemon_variables(stack.variables, interval=wish.interval), **tells}
    daemon = Daemon(variables, command=wish.daemon, keeper=stack.keeper)
    show = Show(stack, daemon, provider)
    try:
        daemon.start()
        for line in _where(stack, daemon, wish):
            _say(line)
        yield show
    finally:
        _ignore_signals()
        daemon.stop()
        show.words()
        provider.stop()


def _where(stack: Stack, daemon: Daemon, wish: Wish) -> list[str]:
    """Where to look and how to break things, for the person at the terminal."""
    pids = ", ".join(f"{name} {server.pid}" for name, server in stack.real.items())
    pace = "every 60 s" if wish.interval == 60 else f"every {wish.interval:g} s (--interval 60 is its own pace)"
    return [
        "",
        f"  status page   {daemon.url}/",
        f"  metrics       {daemon.url}/metrics",
        f"  as JSON       {daemon.url}/api/v1/status",
        f"  its log       {daemon.log}",
        f"  it looks      {pace}",
        "  it tells      stand-ins of Slack and PagerDuty; what they are told is shown behind ┃",
        f"  to break      kill -STOP or kill -9 one of: {pids}",
        "                python -m demo --list shows what can be played with --outage",
        "",
    ]


def _summary(recorder: Recorder, *, broken: float, mended: float) -> list[str]:
    """What the daemon made of the outage, a line for each change."""
    lines = ["", "What the daemon saw"]
    changes = [change for change in recorder.changes if change.at >= broken]
    lines += [_change(change, broken=broken, mended=mended) for change in changes]
    if not changes:
        lines.append("  nothing: every service kept its state")
    left = [f"{name} {state}" for name, state in recorder.states.items() if state != "up"]
    lines.append(f"  not up at the end: {', '.join(left)}" if left else "  all up at the end")
    return [*lines, ""]


def _change(change: Change, *, broken: float, mended: float) -> str:
    cause = f" ({change.cause})" if change.cause else ""
    if change.at < mended:
        when = f"{change.at - broken:.1f} s after it was broken"
    else:
        when = f"{change.at - mended:.1f} s after it was mended"
    return f"  {change.name:<20} {change.before} → {change.after}{cause}, {when}"


def slack_text(message: Mapping[str, Any]) -> str:
    """What a message to Slack says, as plain lines."""
    blocks = [block for one in message.get("attachments", []) for block in one["blocks"]]
    texts = [message["text"], *(block["text"]["text"] for block in blocks if "text" in block)]
    return "\n".join(texts).replace("*", "").replace("`", "")


def _typed() -> list[str]:
    """The whole lines typed since the last call; none when there is no terminal."""
    if not sys.stdin.isatty() or not select.select([sys.stdin], [], [], 0)[0]:
        return []
    return [sys.stdin.readline().strip()]


def _say(text: str, stream: TextIO | None = None) -> None:
    print(text, file=stream or sys.stdout, flush=True)


def _deadline(seconds: float | None) -> float:
    return float("inf") if seconds is None else time.monotonic() + seconds


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _ignore_signals() -> None:
    """From here on everything is being ended; a second Ctrl-C must not stop that."""
    for number in ENDING_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
