"""The clickhouse probe: against the real engine, and against listeners that answer as broken ones do."""

import asyncio
import time
from contextlib import suppress
from dataclasses import replace
from typing import Any

import psutil
import pytest

from config.causes import Cause
from config.checks import ClickhouseParams
from config.secret import Secret
from config.services import Check, Service
from demo.clickhouse import Clickhouse
from monitor.diagnose.table import diagnose
from monitor.net import Resolver
from monitor.probes.base import Outcome, Sight, Verdict

CANARY = "canary-p\\w'é%40"


def params(server: Clickhouse) -> ClickhouseParams:
    return ClickhouseParams(
        url=server.url, user=server.user, password=Secret(server.password), database=server.database
    )


def once(run: Any, asked: ClickhouseParams, *, timeout: float = 5.0, look_up: Any = None) -> Outcome:
    async def act(scene: Any) -> Outcome:
        outcome: Outcome = await scene.ask("clickhouse", asked, timeout=timeout)
        return outcome

    result: Outcome = run(act, resolver=Resolver(look_up) if look_up else None)
    return result


def cause(asked: ClickhouseParams, outcome: Outcome) -> Cause:
    check = Check(name="query", kind="clickhouse", params=asked)
    service = Service(name="ch", kind="clickhouse", title="ClickHouse", address="ch:8123", checks=(check,))
    diagnosis = diagnose(service, check, outcome)
    assert diagnosis is not None
    return diagnosis.cause


def test_it_asks_as_the_user_and_learns_what_the_server_is(run: Any, clickhouse: Clickhouse) -> None:
    outcome = once(run, params(clickhouse))
    assert outcome.verdict == Verdict.PASS
    assert outcome.evidence.address == f"127.0.0.1:{clickhouse.port}"
    assert int(outcome.facts["version"].split(".")[0]) >= 24
    assert outcome.facts["uptime"].isdigit()


@pytest.mark.parametrize("addresses", [("::1",), ("::1", "127.0.0.1"), ("127.0.0.9", "127.0.0.1")])
def test_every_address_of_a_name_is_tried(
    run: Any, names: Any, clickhouse: Clickhouse, addresses: tuple[str, ...]
) -> None:
    asked = replace(params(clickhouse), url=f"http://shop:{clickhouse.port}")
    assert once(run, asked, look_up=names(shop=addresses)).verdict == Verdict.PASS


@pytest.mark.parametrize(
    ("changes", "code", "proves"),
    [
        ({"password": Secret("wrong")}, "516", Cause.AUTH),
        ({"password": None}, "516", Cause.AUTH),
        ({"user": "nobody"}, "516", Cause.AUTH),
        ({"database": "nowhere"}, "81", Cause.NOT_FOUND),
    ],
)
def test_a_refusal_tells_why(
    run: Any, clickhouse: Clickhouse, changes: dict[str, Any], code: str, proves: Cause
) -> None:
    asked = replace(params(clickhouse), **changes)
    outcome = once(run, asked)
    assert (outcome.verdict, outcome.evidence.sight, outcome.evidence.code) == (Verdict.FAIL, Sight.ANSWERED, code)
    assert cause(asked, outcome) == proves


def test_a_frozen_server_ends_with_the_deadline(run: Any, fresh_clickhouse: Any) -> None:
    server = fresh_clickhouse(seed=0)
    server.pause()
    began = time.monotonic()
    outcome = once(run, params(server), timeout=0.4)
    server.resume()
    assert outcome.evidence.sight == Sight.NO_ANSWER
    assert time.monotonic() - began < 1.0


async def ask_page(scene: Any, script: Any, *, timeout: float = 2.0) -> Outcome:
    stage = await scene.serve(script)
    asked = ClickhouseParams(url=f"http://127.0.0.1:{stage.port}", user="u", password=Secret(CANARY))
    outcome: Outcome = await scene.ask("clickhouse", asked, timeout=timeout)
    return outcome


ASKED = ClickhouseParams(url="http://127.0.0.1:1")

CODES = [
    (500, "241", "DB::Exception: (total) memory limit exceeded. (MEMORY_LIMIT_EXCEEDED)", Cause.CAPACITY),
    (500, "243", "DB::Exception: Cannot reserve 1.00 MiB, not enough space. (NOT_ENOUGH_SPACE)", Cause.CAPACITY),
    (500, "252", "DB::Exception: Too many parts (300). (TOO_MANY_PARTS)", Cause.CAPACITY),
    (500, "202", "DB::Exception: Too many simultaneous queries. (TOO_MANY_SIMULTANEOUS_QUERIES)", Cause.CAPACITY),
    (500, "164", "DB::Exception: u: Cannot execute query in readonly mode. (READONLY)", Cause.READONLY),
    (401, "516", "DB::Exception: u: Authentication failed. (AUTHENTICATION_FAILED)", Cause.AUTH),
    (403, "516", "DB::Exception: u: Authentication failed. (AUTHENTICATION_FAILED)", Cause.AUTH),
    (404, "81", "DB::Exception: Database x does not exist. (UNKNOWN_DATABASE)", Cause.NOT_FOUND),
    (500, "999", "Coordination::Exception: Keeper. DB::Exception: lost (KEEPER_EXCEPTION)", Cause.DEPENDENCY),
]


@pytest.mark.parametrize("header", [True, False], ids=["header", "body only"])
@pytest.mark.parametrize(("status", "code", "says", "proves"), CODES, ids=[f"{row[0]}-{row[1]}" for row in CODES])
def test_an_exception_is_read_from_the_header_or_the_body(
    run: Any, say: Any, page: Any, status: int, code: str, says: str, proves: Cause, header: bool
) -> None:
    headers = {"X_ClickHouse_Exception_Code": code} if header else {}
    answer = page(f"Code: {code}. {says} (version 25.1.1.1)\n".encode(), status=status, kind="text/plain", **headers)
    outcome = run(lambda scene: ask_page(scene, say(answer)))
    assert (outcome.verdict, outcome.evidence.code) == (Verdict.FAIL, code)
    assert outcome.evidence.text.startswith(f"code {code}: ")
    assert cause(ASKED, outcome) == proves


def test_an_exception_after_an_answer_that_began_well_is_seen(run: Any, say: Any, page: Any) -> None:
    answer = page(b"1\t25.1\t7\nCode: 241. DB::Exception: Memory limit exceeded (version 25.1)\n", kind="text/plain")
    outcome = run(lambda scene: ask_page(scene, say(answer)))
    assert (outcome.verdict, outcome.evidence.code) == (Verdict.FAIL, "241")


OTHERS = [
    (200, "text/html", b"<!doctype html><title>React</title>", Cause.WRONG_SERVICE),
    (200, "text/plain", b"Ok.\n", Cause.WRONG_SERVICE),
    (200, "application/json", b'{"status":"ok"}', Cause.WRONG_SERVICE),
    (200, "text/plain", b"", Cause.WRONG_SERVICE),
    (200, "text/plain", b"2\t25.1\t7\n", Cause.WRONG_SERVICE),
    (404, "application/json", b'{"detail":"Not Found"}', Cause.WRONG_SERVICE),
    (401, "application/json", b'{"error":"no key"}', Cause.WRONG_SERVICE),
    (301, "text/plain", b"", Cause.WRONG_SERVICE),
    (502, "text/html", b"Application failed to respond", Cause.SERVER_ERROR),
    (503, "text/plain", b"", Cause.SERVER_ERROR),
]


@pytest.mark.parametrize(("status", "kind", "body", "proves"), OTHERS)
def test_what_is_not_clickhouse(
    run: Any, say: Any, page: Any, status: int, kind: str, body: bytes, proves: Cause
) -> None:
    outcome = run(lambda scene: ask_page(scene, say(page(body, status=status, kind=kind))))
    assert outcome.verdict == Verdict.FAIL
    assert cause(ASKED, outcome) == proves


def test_the_native_port_says_so(run: Any, say: Any) -> None:
    head = b"HTTP/1.0 400 Bad Request\r\n\r\n"
    answer = head + b"Port 9000 is for clickhouse-client program\r\nYou must use port 8123 for HTTP.\r\n"
    outcome = run(lambda scene: ask_page(scene, say(answer)))
    assert outcome.evidence.sight == Sight.GARBLED
    check = Check(name="query", kind="clickhouse", params=ASKED)
    service = Service(name="ch", kind="clickhouse", title="ClickHouse", address="ch:9000", checks=(check,))
    diagnosis = diagnose(service, check, outcome)
    assert diagnosis is not None
    assert "native" in diagnosis.sentence


def test_an_endless_answer_is_not_read_to_its_end(run: Any) -> None:
    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(10_000):
            writer.write(b"x" * 65_536)
            await writer.drain()

    outcome = run(lambda scene: ask_page(scene, flood))
    assert outcome.evidence.sight == Sight.GARBLED
    assert outcome.latency < 1.0


def test_silence_and_absence(run: Any, silent: Any, deaf: Any, free_port: int) -> None:
    async def act(scene: Any) -> list[Outcome]:
        ports = ((await scene.serve(silent)).port, deaf(), free_port)
        asked = [ClickhouseParams(url=f"http://127.0.0.1:{port}") for port in ports]
        return [await scene.ask("clickhouse", one, timeout=0.4) for one in asked]

    assert [outcome.evidence.sight for outcome in run(act)] == [Sight.NO_ANSWER, Sight.NO_CONNECT, Sight.REFUSED]


def test_no_connection_is_left_by_many_probes_nor_by_cancelled_ones(run: Any, page: Any) -> None:
    """`run` itself fails the test when a server of the scene sees a connection stay open."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(0.001)
            writer.write(page(b"1\t25.1\t7\n", kind="text/plain"))

    async def act(scene: Any) -> tuple[int, int, int]:
        stage = await scene.serve(answer)
        asked = ClickhouseParams(url=f"http://127.0.0.1:{stage.port}")
        await scene.ask("clickhouse", asked)
        await scene.settle()
        before = psutil.Process().num_fds()
        for _ in range(50):
            assert (await scene.ask("clickhouse", asked)).verdict == Verdict.PASS
        tasks = [asyncio.create_task(scene.ask("clickhouse", asked)) for _ in range(100)]
        for number, task in enumerate(tasks):
            asyncio.get_running_loop().call_later(number * 0.0003, task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
        await scene.settle()
        return before, await scene.fds(before), sum(task.cancelled() for task in tasks)

    before, after, cancelled = run(act)
    assert after <= before
    assert cancelled > 10


def test_no_secret_in_what_is_seen(run: Any, clickhouse: Clickhouse) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nx-clickhouse-exception-code: " + CANARY.encode() + b"\r\n\r\n" + head)

    async def quote(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + head)

    async def reverse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(CANARY.encode() + b"\r\n\r\n")

    async def act(scene: Any) -> list[Outcome]:
        asked = replace(params(clickhouse), password=Secret(CANARY))
        urls = [f"http://127.0.0.1:{(await scene.serve(script)).port}" for script in (quote, echo, reverse)]
        variants = [replace(asked, url=url) for url in (*urls, "http://127.0.0.1:1", "http://", "nonsense")]
        variants += [asked, *(replace(asked, password=Secret(f"{CANARY}{end}")) for end in ("\r\nx: y", " ", "\0"))]
        return [await scene.ask("clickhouse", variant) for variant in variants]

    outcomes = run(act)
    assert all(outcome.verdict != Verdict.PASS for outcome in outcomes)
    assert "x-clickhouse-key: ***" in outcomes[0].evidence.text
    assert "canary" not in repr(outcomes)
