"""Every kind of probe against servers that answer as no server should: an outcome in time, in bounds, without a word
of what is secret.

FUZZ_ROUNDS=20 asks every signal everything and makes more noise; without it each attack meets one signal of a kind.
"""

import asyncio
import math
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, get_args, get_type_hints

import psutil
import pytest

from config.checks import DnsParams
from config.kinds import PARAMS, Params
from config.secret import Secret, telling
from config.services import Check, Service
from demo.hostile import ANY, Attack, noise, said
from demo.hostile_binary import HTTP2, POSTGRES, TLS
from demo.hostile_text import HTTP, RESP
from monitor.diagnose.base import Diagnosis
from monitor.diagnose.table import diagnose
from monitor.net import Resolver, WatchLoop
from monitor.probes.base import Outcome, ProbeContext, Sight, Verdict
from monitor.probes.table import MARGIN, PATIENCE, load, run_check

ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "1"))
TIMEOUT = 0.4  # seconds: every attack that waits takes so long
LATE = MARGIN + PATIENCE  # seconds by which a busy machine may be late
AT_ONCE = 40
LONGEST = 60 * ROUNDS  # seconds for one test
MOST = 96 << 20  # bytes by which this process may grow while endless answers are read

PROTOCOLS: Mapping[str, tuple[Attack, ...]] = {
    "http": HTTP,
    "resp": RESP,
    "postgres": POSTGRES,
    "http2": HTTP2,
    "tls": TLS,
    "line": (),
}


@dataclass(frozen=True)
class Home:
    """The protocol that a kind of probe speaks, and what its parameters need beside an address and keys."""

    protocol: str
    settings: Mapping[str, Any] = field(default_factory=dict)


# A kind that is not here fails the tests: whoever adds one says how it is to be attacked.
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
    "s3_signal": Home("http", {"bucket": "backups"}),
}
# A name is looked up and no port is asked: its hostile answers are a resolver's.
NAMES = "dns"
# Beside what they speak in plain, these speak TLS.
OVER_TLS: Mapping[str, Mapping[str, Any]] = {
    "tls": {},
    "http": {},
    "clickhouse": {},
    "redis": {"tls": True},
    "redis_signal": {"tls": True},
    "grpc": {"tls": True},
}


def test_every_kind_of_probe_is_attacked() -> None:
    assert {*HOMES, NAMES} == {*PARAMS}


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
    """One probe against one attack."""

    check: Check
    attack: Attack
    port: int

    @property
    def name(self) -> str:
        return f"{self.check.kind} {getattr(self.check.params, 'signal', '')} against one who {self.attack.name}"


def check_of(kind: str, params: Params) -> Check:
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
    if isinstance(found, Diagnosis) and not (found.sentence.isprintable() and found.remedy.isprintable()):
        wrong.append("a sentence that draws")
    told = f"{outcome!r} {found!r}"
    if any(form in told for form in secrets_in(check.params)):
        wrong.append("a secret is told")
    return wrong


class Arena:
    """Hostile servers and probes on one loop."""

    def __init__(self) -> None:
        self.context = ProbeContext()
        self._servers: list[asyncio.Server] = []

    async def serve(self, attack: Attack) -> int:
        """Gives the port where `attack` is played."""

        async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await attack.play(reader, writer)
            except asyncio.CancelledError:
                pass  # the arena closes
            finally:
                writer.transport.abort() if attack.endless or attack.end == "hold" else writer.close()

        server = await asyncio.start_server(play, "127.0.0.1", 0, backlog=256)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def ask(self, name: str, check: Check) -> list[str]:
        """Runs one check; gives what is wrong with its outcome."""
        began = time.monotonic()
        outcome = await run_check(check, self.context)
        return in_bounds(name, check, outcome, time.monotonic() - began)

    async def run(self, cases: Sequence[Case], at_once: int = AT_ONCE) -> list[str]:
        """Runs them all; gives what is wrong. What is, is run again alone: a busy machine may have been late."""
        gate, doubtful = asyncio.Semaphore(at_once), list[Case]()

        async def one(case: Case) -> None:
            async with gate:
                if await self.ask(case.name, case.check):
                    doubtful.append(case)

        async with asyncio.TaskGroup() as group:
            for case in cases:
                group.create_task(one(case))
        return [wrong for case in doubtful for wrong in await self.ask(case.name, case.check)]

    async def close(self) -> None:
        await self.context.aclose()
        for server in self._servers:
            server.close()


def in_arena(act: Callable[[Arena], Any]) -> Any:
    """Runs `act` with an Arena on the daemon's own kind of loop."""

    async def whole() -> Any:
        arena = Arena()
        try:
            return await act(arena)
        finally:
            await arena.close()

    def stand_still(*_: object) -> None:
        raise AssertionError("the loop stands still: a probe does not give it back")

    load(kind for kind in PARAMS)
    before = signal.signal(signal.SIGALRM, stand_still)
    signal.alarm(LONGEST)
    try:
        with asyncio.Runner(loop_factory=WatchLoop) as loop:
            return loop.run(whole())
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


async def cases_of(arena: Arena, kinds: Sequence[str], attacks: Sequence[Attack], **own: Any) -> list[Case]:
    """Each kind against each attack: with one of its signals, another each time, or in the long form with all."""
    cases = []
    for number, attack in enumerate(attacks):
        port = await arena.serve(attack)
        for kind in kinds:
            every = signals(kind)
            for one in every if ROUNDS > 1 else (every[number % len(every)],):
                check = check_of(kind, params_of(kind, port, one, **own))
                cases.append(Case(check=check, attack=attack, port=port))
    return cases


def more_noise() -> tuple[Attack, ...]:
    return tuple(said(f"noise {seed}", noise(seed), noise(-seed), end="hold") for seed in range(100, 100 + 4 * ROUNDS))


FINITE = {protocol: tuple(one for one in attacks if not one.endless) for protocol, attacks in PROTOCOLS.items()}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_whatever_answers_the_outcome_is_in_time_and_in_bounds(protocol: str) -> None:
    kinds = [kind for kind, home in HOMES.items() if home.protocol == protocol]
    attacks = [*(one for one in ANY if not one.endless), *more_noise(), *FINITE[protocol]]

    async def act(arena: Arena) -> list[str]:
        return await arena.run(await cases_of(arena, kinds, attacks))

    wrong = in_arena(act)
    assert not wrong, "\n".join(wrong)


def test_half_a_handshake_is_an_outcome_too() -> None:
    attacks = [*TLS, *(one for one in ANY if not one.endless)]

    async def act(arena: Arena) -> list[str]:
        cases = []
        for kind, own in OVER_TLS.items():
            few = attacks if kind in ("tls", "http", "redis", "grpc") or ROUNDS > 1 else attacks[::4]
            finite = [one for one in few if not one.endless]
            cases += await cases_of(arena, [kind], finite, scheme="https", **own)
        return await arena.run(cases)

    wrong = in_arena(act)
    assert not wrong, "\n".join(wrong)


@contextmanager
def growth() -> Iterator[list[int]]:
    """Watches by how many bytes this process grows meanwhile; the most is appended at the end."""
    process, over, peak = psutil.Process(), threading.Event(), [0]
    before = process.memory_info().rss

    def watch() -> None:
        while not over.wait(0.005):
            peak[0] = max(peak[0], process.memory_info().rss - before)

    thread = threading.Thread(target=watch)
    thread.start()
    grown = list[int]()
    try:
        yield grown
    finally:
        over.set()
        thread.join()
        grown.append(peak[0])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_an_answer_without_end_costs_time_and_no_memory(protocol: str) -> None:
    kinds = [kind for kind, home in HOMES.items() if home.protocol == protocol]
    attacks = [one for one in (*ANY, *PROTOCOLS[protocol]) if one.endless]

    async def act(arena: Arena) -> list[str]:
        cases = []
        for number, attack in enumerate(attacks):
            # They differ by how they read, which kinds of one protocol mostly share.
            some = (
                kinds if ROUNDS > 1 else [kinds[(number + other) % len(kinds)] for other in range(min(2, len(kinds)))]
            )
            cases += await cases_of(arena, some, [attack])
        return await arena.run(cases, at_once=4)

    with growth() as grown:
        wrong = in_arena(act)
    assert not wrong, "\n".join(wrong)
    assert grown[0] < MOST, f"grew by {grown[0] >> 20} MiB"


def _raises(error: BaseException) -> Callable[..., Any]:
    def look_up(*_: Any) -> Any:
        raise error

    return look_up


NAMESERVERS: dict[str, Callable[..., Any]] = {
    "nothing": lambda *_: [],
    "a thousand addresses": lambda *_: [(2, 1, 6, "", (f"10.0.{n // 256}.{n % 256}", 0)) for n in range(1_000)],
    "words": lambda *_: [(2, 1, 6, "", ("\x1b[2J" + "x" * 5_000, 0))],
    "an errno": _raises(OSError(5, "Input/output error")),
    "no error that is known": _raises(socket.gaierror(-999, "\x1b[2J" + "x" * 5_000)),
    "an error in other letters": _raises(UnicodeError("label too long \ud800")),
    "no memory": _raises(socket.gaierror(socket.EAI_MEMORY, "Memory allocation failure")),
    "silence": lambda *_: time.sleep(TIMEOUT * 3),
}


@pytest.mark.parametrize("says", NAMESERVERS)
def test_a_resolver_may_say_anything(says: str) -> None:
    params = DnsParams(name="shop", types=("A", "AAAA"), expect=("10.1.2.3",))

    async def act() -> list[str]:
        began, context = time.monotonic(), ProbeContext()
        outcome = await run_check(check_of(NAMES, params), context)
        return in_bounds(says, check_of(NAMES, params), outcome, time.monotonic() - began)

    with asyncio.Runner(loop_factory=lambda: WatchLoop(Resolver(NAMESERVERS[says], deadline=0.3))) as loop:
        wrong = loop.run(act())
    assert not wrong, "\n".join(wrong)
