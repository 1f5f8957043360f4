"""A probe on trial: asked of servers that do their worst, and held to what its outcome must be whatever they answer.

A kind of check that HOMES does not tell how to reach fails the tests: whoever adds one says how it is to be tried.
"""

import asyncio
import math
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, get_args, get_type_hints

from config.kinds import PARAMS, Params
from config.secret import Secret, telling
from config.services import Check, Service
from monitor.diagnose.table import diagnose
from monitor.net import WatchLoop
from monitor.probes.base import Outcome, ProbeContext, Sight, Verdict
from monitor.probes.table import MARGIN, PATIENCE, load, run_check

T = TypeVar("T")
Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

TIMEOUT = 0.4  # seconds a probe is given: every answer that does not come takes so long
LATE = MARGIN + PATIENCE  # seconds by which a busy machine may be late
AT_ONCE = 40
SETTLE = 0.05  # seconds for connections that are just being opened or closed
AGAIN = (8, 2, 1)  # how many at once when what was not as it must be is run again
MAY_BE_LATE = (": took ", ": a fault of ours: ")  # complaints that a busy machine may cause; of others one is enough


@dataclass(frozen=True)
class Home:
    """The protocol that a kind of probe speaks, and what its parameters need beside an address and keys."""

    protocol: str
    settings: Mapping[str, Any] = field(default_factory=dict)


HOMES: Mapping[str, Home] = {
    "http": Home("http", {"expect_json": "data", "facts": {"version": "data.version", "date": "header:date"}}),
    "tcp": Home("line", {"send": "PING", "expect": "PONG$"}),
    "tls": Home("tls"),
    "grpc": Home("http2", {"headers": {"api-key": Secret("hidden-grpc-key")}}),
    "postgres": Home("postgres"),
    "redis": Home("resp"),
    "clickhouse": Home("http"),
    "s3": Home("http", {"bucket": "backups"}),
    "postgres_signal": Home("postgres"),
    "redis_signal": Home("resp"),
    "litellm_signal": Home("http", {"model": "small"}),
    "langfuse_signal": Home("http"),
    "queue_signal": Home("resp"),
    "openwebui_signal": Home("http"),
    "key_signal": Home("http", {"provider": "litellm"}),
    "qdrant_signal": Home("http"),
    "clickhouse_signal": Home("http"),
    "s3_signal": Home("http", {"bucket": "backups", "buckets": ("backups", "media")}),
}
# A name is looked up and no port is asked: its hostile answers are a resolver's.
NAMES = "dns"


def signals(kind: str) -> tuple[str, ...]:
    """The signals of a kind; one without a name for a plain check."""
    hint = get_type_hints(PARAMS[kind]).get("signal")
    return get_args(hint) or ("",)


def params_of(kind: str, port: int, one: str = "", *, scheme: str = "http", **own: Any) -> Params:
    """Parameters that look at `port` of this machine and hold a key wherever one can be given."""
    cls, values = PARAMS[kind], dict[str, Any]()
    url = f"{scheme}://127.0.0.1:{port}"
    for slot in fields(cls):
        if slot.name in ("url", "web") or (slot.name == "provider" and kind == "openwebui_signal"):
            values[slot.name] = url
        elif "Secret" in str(get_type_hints(cls)[slot.name]) and slot.name != "headers":
            values[slot.name] = Secret(f"hidden-{slot.name}-0123")
    known = {slot.name for slot in fields(cls)}
    given = {
        "host": "127.0.0.1",
        "port": port,
        "signal": one,
        "warn": 1.0,
        "fail": 2.0,
        **HOMES[kind].settings,
        **own,
    }
    made: Params = cls(**{**values, **{name: value for name, value in given.items() if name in known}})
    return made


@dataclass(frozen=True, kw_only=True)
class Case:
    """One probe against one server; `against` says what that does."""

    check: Check
    against: str

    @property
    def name(self) -> str:
        """For whoever reads what is wrong."""
        return f"{self.check.kind} {getattr(self.check.params, 'signal', '')} against one who {self.against}"


def check_of(kind: str, params: Params) -> Check:
    """A check of that kind which is given TIMEOUT."""
    return Check(name="check", kind=kind, params=params, timeout=TIMEOUT)


def secrets_in(params: Params) -> Iterator[str]:
    """Every form in which what is secret among `params` might be told."""
    for slot in fields(params):
        value = getattr(params, slot.name)
        for one in value.values() if isinstance(value, Mapping) else (value,):
            if isinstance(one, Secret):
                yield from telling(one)


def in_bounds(case: str, check: Check, outcome: Outcome, seconds: float) -> list[str]:
    """What is wrong with an outcome, in words; nothing if it is as it must be."""
    seen, wrong = outcome.evidence, list[str]()
    if seen.sight == Sight.FAULT:
        wrong.append("a fault of ours")
    if seconds > TIMEOUT + LATE:
        wrong.append(f"took {seconds:.2f} s")
    if not (0 < len(seen.text) <= 300 and seen.text.isprintable()):
        wrong.append("text out of bounds")
    if len(seen.code) > 80 or not seen.code.isprintable():
        wrong.append("code out of bounds")
    if any(len(text) > 120 or not text.isprintable() for text in outcome.facts.values()):
        wrong.append("facts out of bounds")
    if not all(math.isfinite(number) for number in outcome.measures.values()):
        wrong.append("measures that are no numbers")
    wrong += _told(check, outcome)
    return [f"{case}: {one}: {outcome}" for one in wrong]


def _told(check: Check, outcome: Outcome) -> list[str]:
    """What is wrong with what is told of an outcome."""
    service = Service(name="x", kind="custom", title="X", address="x:1", checks=(check,), variables=("X_URL",))
    found = diagnose(service, check, outcome)
    wrong = []
    if (found is None) != (outcome.verdict == Verdict.PASS):
        wrong.append("diagnosed wrongly")
    if found is not None and not (found.sentence.isprintable() and found.remedy.isprintable()):
        wrong.append("a sentence that draws")
    told = f"{outcome!r} {found!r}"
    if any(form in told for form in secrets_in(check.params)):
        wrong.append("a secret is told")
    return wrong


class Arena:
    """Hostile servers and probes on one loop."""

    def __init__(self) -> None:
        self.context = ProbeContext()
        self._plays: set[asyncio.Future[None]] = set()
        self._servers: list[asyncio.Server] = []

    async def serve(self, script: Script, tls: ssl.SSLContext | None = None) -> int:
        """Gives the port where `script` is played to whoever connects."""

        async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(script(reader, writer))
            self._plays.add(task)
            with suppress(asyncio.CancelledError, OSError):  # the arena closes, or the other side has had enough
                await task
            self._plays.discard(task)
            writer.close()

        server = await asyncio.start_server(play, "127.0.0.1", 0, backlog=256, ssl=tls)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def ask(self, name: str, check: Check) -> list[str]:
        """Runs one check, and lets go of the session that it would keep; gives what is wrong with its outcome."""
        began = time.monotonic()
        outcome = await run_check(check, self.context)
        seconds = time.monotonic() - began
        while self.context.kept:
            self.context.kept.popitem()[1].close()
        return in_bounds(name, check, outcome, seconds)

    async def run(self, cases: Sequence[Case], at_once: int = AT_ONCE) -> list[str]:
        """Runs them all; gives what is wrong. What came late is run again beside fewer: the machine may be busy."""
        told = await self._round(cases, at_once)
        proven = [line for _, wrong in told for line in wrong if not any(word in line for word in MAY_BE_LATE)]
        for fewer in AGAIN:
            told = await self._round([case for case, _ in told], fewer)
        return [*proven, *(line for _, wrong in told for line in wrong if line not in proven)]

    async def _round(self, cases: Sequence[Case], at_once: int) -> list[tuple[Case, list[str]]]:
        gate, told = asyncio.Semaphore(at_once), list[tuple[Case, list[str]]]()

        async def one(case: Case) -> None:
            async with gate:
                if wrong := await self.ask(case.name, case.check):
                    told.append((case, wrong))

        async with asyncio.TaskGroup() as group:
            for case in cases:
                group.create_task(one(case))
        return told

    async def close(self) -> None:
        """Ends every connection, and takes no more."""
        await self.context.aclose()
        for server in self._servers:
            server.close()
        await asyncio.sleep(SETTLE)  # what was accepted just now begins to play, or it could not be closed
        for play in self._plays:
            play.cancel()
        await asyncio.sleep(SETTLE)


def in_arena(act: Callable[[Arena], Awaitable[T]]) -> T:
    """Runs `act` with an Arena on the daemon's own kind of loop."""

    async def whole() -> T:
        arena = Arena()
        try:
            return await act(arena)
        finally:
            await arena.close()

    load(PARAMS)
    with asyncio.Runner(loop_factory=WatchLoop) as loop:
        return loop.run(whole())
