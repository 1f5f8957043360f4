"""Every kind of probe against servers that answer as no server should: an outcome in time, in bounds, without a word
of what is secret.

FUZZ_ROUNDS=20 asks every signal everything and makes more noise; without it each attack meets one signal of a kind.
"""

import asyncio
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from config.checks import DnsParams
from config.kinds import PARAMS
from demo.hostile import ANY, Attack, noise, said
from demo.hostile_binary import HTTP2, POSTGRES, TLS
from demo.hostile_text import HTTP, RESP
from demo.trial import HOMES, NAMES, TIMEOUT, Arena, Case, check_of, in_arena, in_bounds, params_of, signals
from monitor.net import Resolver, WatchLoop
from monitor.probes.base import ProbeContext
from monitor.probes.table import run_check
from monitor.truth import look
from monitor.ways import Speech

ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "1"))
pytestmark = pytest.mark.timeout(120 * ROUNDS)
MOST = 96 << 20  # bytes by which this process may grow while endless answers are read

PROTOCOLS: Mapping[str, tuple[Attack, ...]] = {
    "http": HTTP,
    "resp": RESP,
    "postgres": POSTGRES,
    "http2": HTTP2,
    "tls": TLS,
    "line": (),
}


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


def test_every_signal_on_trial_reaches_its_server() -> None:
    """One that asks nothing, for want of a parameter, would pass every attack."""

    async def act(arena: Arena) -> list[str]:
        reached, asked = set[str](), list[str]()
        for kind in HOMES:
            for one in signals(kind):
                asked.append(f"{kind} {one}")

                async def note(reader: asyncio.StreamReader, _: asyncio.StreamWriter, name: str = asked[-1]) -> None:
                    reached.add(name)
                    await reader.read(1)

                check = check_of(kind, params_of(kind, await arena.serve(note), one))
                await run_check(check, arena.context)
        return [name for name in asked if name not in reached]

    assert not in_arena(act)


async def cases_of(arena: Arena, kinds: Sequence[str], attacks: Sequence[Attack], **own: Any) -> list[Case]:
    """Each kind against each attack: with one of its signals, another each time, or in the long form with all."""
    cases = []
    for number, attack in enumerate(attacks):
        port = await arena.serve(attack.play)
        for kind in kinds:
            every = signals(kind)
            for one in every if ROUNDS > 1 else (every[number % len(every)],):
                check = check_of(kind, params_of(kind, port, one, **own))
                cases.append(Case(check=check, against=attack.name))
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


def test_the_look_at_the_way_to_a_port_survives_them_too() -> None:
    attacks = [*ANY, *TLS, *HTTP2] if ROUNDS == 1 else [*ANY, *(one for some in PROTOCOLS.values() for one in some)]

    async def act(arena: Arena) -> list[str]:
        gate = asyncio.Semaphore(20)

        async def one(attack: Attack) -> str:
            async with gate:
                port = await arena.serve(attack.play)
                found = await look("127.0.0.1", port, context=arena.context, wanted=Speech.HTTP, listen=True)
                return found.summary()

        return await asyncio.gather(*map(one, attacks))

    for summary in in_arena(act):
        assert summary.isprintable()
        assert "takes connections" in summary


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
