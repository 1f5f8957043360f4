"""Every kind of probe against the answer of a good server that is cut, spoilt or comes in drops on its way.

FUZZ_ROUNDS=20 cuts at every byte, asks every signal and spoils more; without it some places of each answer are taken.
"""

import asyncio
import json
import os
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import trustme

from config.kinds import PARAMS
from config.secret import Secret
from demo.trial import NAMES, Arena, Case, Script, check_of, in_arena, params_of, signals
from monitor.probes.base import Sight, Verdict
from monitor.probes.table import run_check

ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "1"))
pytestmark = pytest.mark.timeout(120 * ROUNDS)
CUTS, SPOILT = 9, 5  # for each kind, in one round
LONG = 40_000  # bytes of an answer beyond which not every one is cut at

Maim = Callable[[int, bytes], bytes | None]
"""Gives what is passed on of a piece of an answer that begins at an offset; None ends the connection."""

TYPES: tuple[Any, ...] = (
    None,
    True,
    -1,
    1e308,
    10**400,
    "",
    "x" * 5_000,
    "\x1b[2J\ud800",
    [],
    [[]],
    {},
    {"data": None},
    [None] * 50,
)


@dataclass
class Good:
    """A server that is well: its port, what the parameters need, and what only some signals are asked of."""

    port: int
    settings: Mapping[str, Any] = field(default_factory=dict)
    only: tuple[str, ...] = ()


@pytest.fixture
def good(request: pytest.FixtureRequest, contract: Any) -> Callable[[str], Good]:
    """Gives the good server for a kind of check."""

    def server(kind: str) -> Good:
        if kind in ("postgres", "postgres_signal"):
            postgres = request.getfixturevalue("postgres")
            login = {"user": postgres.user, "password": Secret(postgres.password), "database": "litellm"}
            return Good(postgres.port, login)
        if kind in ("redis", "redis_signal", "queue_signal", "tcp"):
            valkey = request.getfixturevalue("valkey")
            return Good(valkey.port, {"password": Secret(valkey.password), "user": None, "expect": "NOAUTH|PONG"})
        if kind in ("clickhouse", "clickhouse_signal"):
            clickhouse = request.getfixturevalue("clickhouse").environ()
            login = {"user": clickhouse["CLICKHOUSE_USER"], "password": Secret(clickhouse["CLICKHOUSE_PASSWORD"])}
            return Good(int(clickhouse["CLICKHOUSE_URL"].rpartition(":")[2]), login)
        if kind in ("s3", "s3_signal"):
            store = request.getfixturevalue("seaweedfs").environ()
            keys = {name: Secret(store[f"MINIO_{name.upper()}"]) for name in ("access_key", "secret_key")}
            return Good(int(store["MINIO_ENDPOINT"].rpartition(":")[2]), {**keys, "buckets": ("backups",)})
        return applications(kind, contract)

    return server


def applications(kind: str, contract: Any) -> Good:
    """The stand-ins of the applications."""
    if kind == "grpc":
        return Good(contract("qdrant", grpc_port=0).grpc_port, {"headers": {}})
    if kind == "qdrant_signal":
        return Good(contract("qdrant").port, {"key": None})
    if kind == "langfuse_signal":
        web = contract("langfuse-web").environ()
        keys = {name: Secret(web.get(f"LANGFUSE_{name.upper()}", "x")) for name in ("public_key", "secret_key")}
        return Good(int(web["LANGFUSE_URL"].rpartition(":")[2]), keys, only=("trace",))
    litellm = contract("litellm")
    key = Secret(litellm.environ()["LITELLM_MASTER_KEY"])
    if kind == "openwebui_signal":
        webui = contract("open-webui")
        own = Secret(webui.environ()["OPEN_WEBUI_API_KEY"])
        return Good(webui.port, {"key": own, "provider": litellm.url, "provider_key": key})
    headers = {"authorization": Secret(f"Bearer {key.reveal()}")}
    return Good(litellm.port, {"key": key, "paths": ("/v1/models",), "json": True, "headers": headers, "user": None})


def relay(port: int, maim: Maim, pause: float = 0.0) -> Script:
    """Passes all on to the server at `port`, and what that says through `maim`."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)

        async def forth() -> None:
            while data := await reader.read(65_536):
                back.write(data)
                await back.drain()

        async def hither() -> None:
            offset = 0
            while data := await there.read(65_536):
                said = maim(offset, data)
                offset += len(data)
                for drop in [said] if not pause or not said else [said[at : at + 1] for at in range(len(said))]:
                    writer.write(drop or b"")
                    await writer.drain()
                    await asyncio.sleep(pause)
                if said is None or len(said) < len(data):
                    return

        ways = [asyncio.create_task(forth()), asyncio.create_task(hither())]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            back.close()

    return script


def cut_at(place: int) -> Maim:
    """Ends the connection after so many bytes."""
    return lambda offset, data: data[: max(0, place - offset)] or None if offset + len(data) > place else data


def spoil(seed: int) -> Maim:
    """Changes, doubles and swaps some bytes of each piece."""
    dice = random.Random(seed)

    def maim(_: int, data: bytes) -> bytes:
        spoilt = bytearray(data)
        for _ in range(dice.randint(1, 4)):
            at, length = dice.randrange(len(spoilt)), dice.randint(1, 8)
            piece = bytes(spoilt[at : at + length])
            choices = (dice.randbytes(length), piece * 9, piece[::-1], b"\xff" * length, b"0" * length, b"9" * length)
            spoilt[at : at + len(piece)] = dice.choice(choices)
        return bytes(spoilt) if len(spoilt) >= len(data) else data

    return maim


def another(dice: random.Random, value: Any) -> Any:
    """A JSON value with something of another type somewhere in it."""
    if isinstance(value, dict) and value and dice.random() < 0.8:
        key = dice.choice(list(value))
        return {**value, key: another(dice, value[key])}
    if isinstance(value, list) and value and dice.random() < 0.8:
        at = dice.randrange(len(value))
        return [*value[:at], another(dice, value[at]), *value[at + 1 :]]
    return dice.choice(TYPES)


def mistaken(port: int, seed: int) -> Script:
    """Passes a request on, and the answer with another value in its JSON."""
    dice = random.Random(seed)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)
        try:
            back.write(await reader.read(65_536))
            head, _, body = (await there.read()).partition(b"\r\n\r\n")
        finally:
            back.close()
        try:
            body = json.dumps(another(dice, json.loads(body))).encode()
        except ValueError:
            body = dice.randbytes(40)
        kept = [
            line for line in head.split(b"\r\n") if b"length" not in line.lower() and b"chunked" not in line.lower()
        ]
        writer.write(b"\r\n".join([*kept, b"content-length: %d" % len(body), b"", body]))
        await writer.drain()

    return script


async def measured(arena: Arena, kind: str, one: str, good: Good) -> int:
    """How many bytes a good answer takes; the probe must understand it."""
    longest = [0]

    def count(offset: int, data: bytes) -> bytes:
        longest[0] = max(longest[0], offset + len(data))
        return data

    port = await arena.serve(relay(good.port, count))
    check = check_of(kind, params_of(kind, port, one, **good.settings))
    outcome = await run_check(check, arena.context, timeout=10.0)
    assert outcome.verdict != Verdict.UNKNOWN, outcome
    assert outcome.evidence.sight == Sight.ANSWERED, outcome
    return longest[0]


def maimed(kind: str, good: Good, length: int) -> Iterator[tuple[str, Script]]:
    """What is done to its answer, and how."""
    places = range(length) if ROUNDS > 1 and length < LONG else {length * part // CUTS for part in range(CUTS)}
    for place in sorted({*places, max(0, length - 1)}):
        yield f"ends after {place} bytes", relay(good.port, cut_at(place))
    for seed in range(SPOILT * ROUNDS):
        yield f"spoils it ({seed})", relay(good.port, spoil(seed))
        if "url" in PARAMS[kind].__dataclass_fields__:
            yield f"says something else ({seed})", mistaken(good.port, seed)
    yield "lets it drip", relay(good.port, lambda _, data: data, pause=0.01)


@pytest.mark.parametrize("kind", [kind for kind in PARAMS if kind not in (NAMES, "tls")])
def test_a_good_answer_that_is_maimed_on_its_way(kind: str, good: Callable[[str], Good]) -> None:
    server = good(kind)

    async def act(arena: Arena) -> list[str]:
        cases, every = [], server.only or signals(kind)
        lengths = {one: await measured(arena, kind, one, server) for one in (every if ROUNDS > 1 else every[:1])}
        for number, (what, script) in enumerate(maimed(kind, server, max(lengths.values()))):
            port = await arena.serve(script)
            # A cut is met by one signal, since all of a kind read alike; what is spoilt, in the long form, by each.
            for one in every if ROUNDS > 1 and "ends" not in what else (every[number % len(every)],):
                params = params_of(kind, port, one, **server.settings)
                cases.append(Case(check=check_of(kind, params), against=what))
        return await arena.run(cases, at_once=12)

    wrong = in_arena(act)
    assert not wrong, "\n".join(wrong)


def test_a_handshake_that_is_cut_anywhere(tls_of: Any) -> None:
    context = tls_of(trustme.CA().issue_cert("127.0.0.1"))

    async def silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def act(arena: Arena) -> list[str]:
        good = Good(await arena.serve(silent, tls=context), {"verify": False})
        length = await measured(arena, "tls", "", good)
        cases = []
        for what, script in maimed("tls", good, length):
            params = params_of("tls", await arena.serve(script), "", **good.settings)
            cases.append(Case(check=check_of("tls", params), against=what))
        return await arena.run(cases, at_once=12)

    wrong = in_arena(act)
    assert not wrong, "\n".join(wrong)
