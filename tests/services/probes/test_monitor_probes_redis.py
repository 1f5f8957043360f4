"""The redis probe: against a real Valkey, and against listeners that speak exactly the bytes in question."""

import asyncio
import random
import time
from dataclasses import replace
from typing import Any

import psutil
import pytest

from config.causes import Cause
from config.checks import RedisParams
from config.secret import Secret
from config.services import Check, Service
from demo.postgres import Postgres
from demo.valkey import Valkey
from monitor.diagnose.table import diagnose
from monitor.net import Resolver
from monitor.probes.base import Outcome, Sight, Verdict

CANARY = "canary-p\\w 'é%40"


def params(server: Valkey) -> RedisParams:
    password = Secret(server.password) if server.password else None
    return RedisParams(host="127.0.0.1", port=server.port, password=password)


def once(run: Any, asked: RedisParams, *, timeout: float = 2.0, look_up: Any = None) -> Outcome:
    async def act(scene: Any) -> Outcome:
        outcome: Outcome = await scene.ask("redis", asked, timeout=timeout)
        return outcome

    result: Outcome = run(act, resolver=Resolver(look_up) if look_up else None)
    return result


def cause(asked: RedisParams, outcome: Outcome) -> Cause:
    check = Check(name="ping", kind="redis", params=asked)
    service = Service(name="redis", kind="redis", title="Redis", address="redis:6379", checks=(check,))
    diagnosis = diagnose(service, check, outcome)
    assert diagnosis is not None
    return diagnosis.cause


def test_it_logs_in_and_learns_what_the_server_is(run: Any, valkey: Valkey) -> None:
    outcome = once(run, params(valkey))
    assert outcome.verdict == Verdict.PASS
    assert outcome.evidence.address == f"127.0.0.1:{valkey.port}"
    assert int(outcome.facts["version"].split(".")[0]) >= 8
    assert outcome.facts["role"] == "primary"
    assert outcome.facts["uptime"].isdigit()


def test_tls_asked_of_a_redis_without_it_is_told_from_one_that_hangs(run: Any, valkey: Valkey, silent: Any) -> None:
    async def act(scene: Any) -> list[Outcome]:
        hangs = RedisParams(host="127.0.0.1", port=(await scene.serve(silent)).port, tls=True)
        asked = (replace(params(valkey), tls=True), hangs)
        return [await scene.ask("redis", one, timeout=1.2) for one in asked]

    plain, hung = run(act)
    assert cause(params(valkey), plain) == Cause.TLS_ON_PLAIN
    assert plain.latency < 1.1
    assert (hung.evidence.sight, hung.evidence.code) == (Sight.NO_ANSWER, "tls")
    check = Check(name="ping", kind="redis", params=params(valkey))
    remedies = {Cause.NO_ANSWER: "a slow command blocks all others"}
    service = Service(name="r", kind="redis", title="Redis", address="r", checks=(check,), remedies=remedies)
    diagnosis = diagnose(service, check, hung)
    assert diagnosis is not None
    assert "speak no TLS" in diagnosis.remedy


@pytest.mark.parametrize("addresses", [("::1",), ("::1", "127.0.0.1"), ("127.0.0.9", "127.0.0.1")])
def test_every_address_of_a_name_is_tried(run: Any, names: Any, valkey: Valkey, addresses: tuple[str, ...]) -> None:
    outcome = once(run, replace(params(valkey), host="shop"), look_up=names(shop=addresses))
    assert outcome.verdict == Verdict.PASS


@pytest.mark.parametrize(
    ("changes", "code", "proves"),
    [
        ({"password": Secret("wrong")}, "WRONGPASS", Cause.AUTH),
        ({"user": "nobody"}, "WRONGPASS", Cause.AUTH),
        ({"password": None}, "NOAUTH", Cause.AUTH),
        ({"database": 99}, "ERR", Cause.NOT_FOUND),
    ],
)
def test_a_refusal_tells_why(run: Any, valkey: Valkey, changes: dict[str, Any], code: str, proves: Cause) -> None:
    asked = replace(params(valkey), **changes)
    outcome = once(run, asked)
    assert (outcome.verdict, outcome.evidence.code) == (Verdict.FAIL, code)
    assert cause(asked, outcome) == proves


def test_a_password_for_a_server_without_one(run: Any, fresh_valkey: Any) -> None:
    server = fresh_valkey(password=None)
    assert once(run, params(server)).verdict == Verdict.PASS
    asked = replace(params(server), password=Secret("surplus"))
    outcome = once(run, asked)
    assert "without any password" in outcome.evidence.text
    assert cause(asked, outcome) == Cause.AUTH


def test_what_ails_a_real_server(run: Any, fresh_valkey: Any) -> None:
    server = fresh_valkey()
    asked = params(server)
    with server.client() as client:
        client.execute_command("ACL SETUSER bare on >bare-password +ping")
        client.execute_command("ACL SETUSER mute on >mute-password +info")
        client.execute_command("CONFIG SET replica-serve-stale-data no")
        client.execute_command("REPLICAOF 127.0.0.1 1")
        stale = once(run, asked)
        client.execute_command("CONFIG SET replica-serve-stale-data yes")
        replica = once(run, asked)
        client.execute_command("REPLICAOF NO ONE")
        client.execute_command("CONFIG SET maxclients 1")
        crowded = once(run, asked)
        client.execute_command("CONFIG SET maxclients 100")
    assert cause(asked, stale) == Cause.DEPENDENCY
    assert (replica.verdict, replica.facts["role"]) == (Verdict.PASS, "replica")
    assert cause(asked, crowded) == Cause.CAPACITY

    bare = once(run, replace(asked, user="bare", password=Secret("bare-password")))
    assert (bare.verdict, dict(bare.facts)) == (Verdict.PASS, {})
    mute = once(run, replace(asked, user="mute", password=Secret("mute-password")))
    assert mute.evidence.code == "NOPERM"

    server.fill()
    full = once(run, asked)
    assert (full.verdict, full.evidence.code) == (Verdict.FAIL, "OOM")
    assert cause(asked, full) == Cause.CAPACITY
    server.empty()
    assert once(run, asked).verdict == Verdict.PASS

    server.pause()
    began = time.monotonic()
    frozen = once(run, asked, timeout=0.4)
    server.resume()
    assert frozen.evidence.sight == Sight.NO_ANSWER
    assert time.monotonic() - began < 1.2


async def say(scene: Any, answer: bytes) -> int:
    """A listener that answers whatever comes first with these bytes and ends. Gives its port."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(answer)
        await writer.drain()

    stage = await scene.serve(script)
    port: int = stage.port
    return port


SAID = [
    (b"-LOADING Redis is loading the dataset in memory", "LOADING", Cause.STARTING),
    (b"-MISCONF Redis is configured to save RDB snapshots, but is unable to", "MISCONF", Cause.READONLY),
    (b"-READONLY You can't write against a read only replica.", "READONLY", Cause.READONLY),
    (b"-ERR max number of clients reached", "ERR", Cause.CAPACITY),
    (b"-OOM command not allowed when used memory > 'maxmemory'.", "OOM", Cause.CAPACITY),
    (b"-MASTERDOWN Link with MASTER is down", "MASTERDOWN", Cause.DEPENDENCY),
    (b"-CLUSTERDOWN The cluster is down", "CLUSTERDOWN", Cause.DEPENDENCY),
    (b"-BUSY Redis is busy running a script.", "BUSY", Cause.NO_ANSWER),
    (b"-DENIED Redis is running in protected mode", "DENIED", Cause.AUTH),
    (b"-NOAUTH Authentication required.", "NOAUTH", Cause.AUTH),
    (b"-ERR invalid password", "ERR", Cause.AUTH),
    (b"-ERR something new", "ERR", Cause.BAD_ANSWER),
    (b"-no code at all", "", Cause.BAD_ANSWER),
    (b"-", "", Cause.BAD_ANSWER),
]


@pytest.mark.parametrize("password", [None, Secret(CANARY)], ids=["open", "password"])
@pytest.mark.parametrize(("said", "code", "proves"), SAID, ids=[row[0].decode()[:24] for row in SAID])
def test_what_the_server_says(run: Any, said: bytes, code: str, proves: Cause, password: Secret | None) -> None:
    async def act(scene: Any) -> tuple[RedisParams, Outcome]:
        asked = RedisParams(host="127.0.0.1", port=await say(scene, said + b"\r\n"), password=password)
        return asked, await scene.ask("redis", asked)

    asked, outcome = run(act)
    assert (outcome.verdict, outcome.evidence.sight, outcome.evidence.code) == (Verdict.FAIL, Sight.ANSWERED, code)
    assert outcome.evidence.text
    assert cause(asked, outcome) == proves


@pytest.mark.parametrize("password", [None, Secret(CANARY)], ids=["open", "password"])
@pytest.mark.parametrize(
    ("said", "sight"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Sight.GARBLED),
        (b"\r\n", Sight.GARBLED),
        (b"$abc\r\n", Sight.GARBLED),
        (b"x" * 200_000, Sight.GARBLED),
        (b"%1\r\n+a\r\n+b\r\n", Sight.GARBLED),
        (b":1\r\n", Sight.GARBLED),
        (b"*1\r\n$4\r\nPING\r\n", Sight.GARBLED),
        (b"", Sight.RESET),
        (b"+PO", Sight.RESET),
        (b"$5\r\nab", Sight.RESET),
    ],
)
def test_something_else_on_the_port(run: Any, said: bytes, sight: Sight, password: Secret | None) -> None:
    async def act(scene: Any) -> tuple[RedisParams, Outcome]:
        asked = RedisParams(host="127.0.0.1", port=await say(scene, said), password=password)
        return asked, await scene.ask("redis", asked)

    asked, outcome = run(act)
    assert outcome.evidence.sight == sight
    assert cause(asked, outcome) == (Cause.WRONG_SERVICE if sight == Sight.GARBLED else Cause.RESET)


def test_postgres_on_the_port_is_not_taken_for_redis(run: Any, postgres: Postgres) -> None:
    outcome = once(run, RedisParams(host="127.0.0.1", port=postgres.port, password=Secret(CANARY)), timeout=0.6)
    assert outcome.verdict == Verdict.FAIL
    assert outcome.evidence.sight in (Sight.RESET, Sight.NO_ANSWER)


def test_only_what_every_server_knows_is_sent(run: Any) -> None:
    heard = bytearray()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            heard.extend(data)
            writer.write(b"+OK\r\n" if b"AUTH" in data else b"+PONG\r\n" + b"-ERR unknown\r\n" * 3)

    async def act(scene: Any) -> Outcome:
        stage = await scene.serve(listen)
        asked = RedisParams(host="127.0.0.1", port=stage.port, password=Secret("old"))
        outcome: Outcome = await scene.ask("redis", asked)
        return outcome

    outcome = run(act)
    assert outcome.verdict == Verdict.PASS
    words = [word for word in heard.split(b"\r\n") if word and word[:1] not in b"*$"]
    assert words == [b"AUTH", b"old", b"PING", b"INFO", b"server", b"INFO", b"replication", b"INFO", b"memory"]


def test_a_server_before_acls_is_asked_again_without_a_user(run: Any) -> None:
    async def old(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            if b"default" in data:
                writer.write(b"-ERR wrong number of arguments for 'auth' command\r\n")
            else:
                writer.write(b"+OK\r\n" if b"AUTH" in data else b"+PONG\r\n" + b"-ERR unknown\r\n" * 3)

    async def act(scene: Any) -> Outcome:
        stage = await scene.serve(old)
        asked = RedisParams(host="127.0.0.1", port=stage.port, user="default", password=Secret("old"))
        outcome: Outcome = await scene.ask("redis", asked)
        return outcome

    assert run(act).verdict == Verdict.PASS


@pytest.mark.usefixtures("authority")
def test_it_speaks_tls(run: Any, authority: Any, tls_of: Any) -> None:
    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            writer.write(b"+PONG\r\n" + b"-ERR unknown\r\n" * 3)

    async def act(scene: Any) -> list[Outcome]:
        good = await scene.serve(listen, tls=tls_of(authority.issue_cert("127.0.0.1")))
        other = await scene.serve(listen, tls=tls_of(authority.issue_cert("elsewhere.example")))
        plain = await scene.serve(listen)
        ports = (good.port, other.port, plain.port)
        return [await scene.ask("redis", RedisParams(host="127.0.0.1", port=port, tls=True)) for port in ports]

    good, other, plain = run(act)
    assert good.verdict == Verdict.PASS
    assert (other.evidence.sight, other.evidence.code) == (Sight.TLS, "wrong_name")
    assert (plain.evidence.sight, plain.evidence.code) == (Sight.TLS, "not_tls")


def test_silence_ends_with_the_deadline(run: Any, silent: Any, deaf: Any) -> None:
    async def act(scene: Any) -> list[Outcome]:
        ports = ((await scene.serve(silent)).port, deaf())
        return [await scene.ask("redis", RedisParams(host="127.0.0.1", port=port), timeout=0.4) for port in ports]

    dumb, shut = run(act)
    assert dumb.evidence.sight == Sight.NO_ANSWER
    assert shut.evidence.sight == Sight.NO_CONNECT
    assert max(dumb.latency, shut.latency) < 0.7


def test_nothing_there(run: Any, names: Any, free_port: int) -> None:
    asked = RedisParams(host="shop", port=free_port)
    assert once(run, asked, look_up=names(shop=("::1", "127.0.0.1"))).evidence.sight == Sight.REFUSED
    assert once(run, asked, look_up=names()).evidence.sight == Sight.NO_NAME


def test_no_connection_is_left_by_many_probes_nor_by_cancelled_ones(run: Any, fresh_valkey: Any) -> None:
    server = fresh_valkey()
    asked = params(server)
    dice = random.Random(7)

    async def act(scene: Any) -> tuple[int, int]:
        await scene.ask("redis", asked)
        await asyncio.sleep(0.01)
        before = psutil.Process().num_fds()
        for _ in range(50):
            assert (await scene.ask("redis", asked)).verdict == Verdict.PASS
        for _ in range(10):
            tasks = [asyncio.create_task(scene.ask("redis", asked)) for _ in range(10)]
            for task in tasks:
                await asyncio.sleep(dice.random() * 0.0004)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.05)
        return before, await scene.fds(before)

    before, after = run(act)
    assert after <= before
    with server.client() as client:
        for _ in range(100):
            if len(client.client_list()) == 1:
                break
            time.sleep(0.02)
        assert len(client.client_list()) == 1


def test_no_secret_in_what_is_seen(run: Any, valkey: Valkey, silent: Any) -> None:
    asked = replace(params(valkey), password=Secret(CANARY), user="user")

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            writer.write(data)

    async def quote(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(f"-ERR unknown command 'AUTH', with args beginning with: 'user' '{CANARY}'\r\n".encode())

    async def count(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(f"${CANARY}\r\n".encode())

    async def mumble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(f"{CANARY}\r\n".encode())

    async def act(scene: Any) -> list[Outcome]:
        ports = [(await scene.serve(script)).port for script in (quote, echo, mumble, count, silent)]
        return [await scene.ask("redis", replace(asked, port=port), timeout=0.4) for port in (*ports, valkey.port, 1)]

    outcomes = run(act)
    assert all(outcome.verdict != Verdict.PASS for outcome in outcomes)
    assert "beginning with: 'user' '***'" in outcomes[0].evidence.text
    assert "it begins with: ***" in outcomes[2].evidence.text
    assert "canary" not in repr(outcomes)
