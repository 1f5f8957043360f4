"""The postgres probe: against a real server, and against listeners that speak exactly the bytes in question."""

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import psutil
import pytest

from config.causes import Cause
from config.checks import PostgresParams
from config.secret import Secret
from config.services import Check, Service
from demo.postgres import Postgres
from demo.valkey import Valkey
from monitor.diagnose.table import diagnose
from monitor.net import Resolver
from monitor.probes.base import Outcome, Sight, Verdict
from monitor.probes.postgres_session import read

CANARY = "canary 'p\\w%40:/?#[]@ \" é"


def params(server: Postgres) -> PostgresParams:
    return PostgresParams(
        host="127.0.0.1", port=server.port, user=server.user, password=Secret(server.password), database="litellm"
    )


def once(run: Any, asked: PostgresParams, *, timeout: float = 3.0, look_up: Any = None) -> Outcome:
    async def act(scene: Any) -> Outcome:
        outcome: Outcome = await scene.ask("postgres", asked, timeout=timeout)
        return outcome

    result: Outcome = run(act, resolver=Resolver(look_up) if look_up else None)
    return result


def cause(asked: PostgresParams, outcome: Outcome) -> Cause:
    check = Check(name="query", kind="postgres", params=asked)
    service = Service(name="postgres", kind="postgres", title="PostgreSQL", address="db:5432", checks=(check,))
    diagnosis = diagnose(service, check, outcome)
    assert diagnosis is not None
    return diagnosis.cause


def test_it_logs_in_and_learns_what_the_server_is(run: Any, postgres: Postgres) -> None:
    outcome = once(run, params(postgres))
    assert outcome.verdict == Verdict.PASS
    assert outcome.evidence.address == f"127.0.0.1:{postgres.port}"
    assert outcome.facts["version"].startswith("18")
    assert outcome.facts["role"] == "primary"
    assert outcome.facts["uptime"].isdigit()


@pytest.mark.parametrize("addresses", [("::1",), ("::1", "127.0.0.1"), ("127.0.0.9", "127.0.0.1")])
def test_every_address_of_a_name_is_tried(run: Any, names: Any, postgres: Postgres, addresses: tuple[str, ...]) -> None:
    outcome = once(run, replace(params(postgres), host="shop"), look_up=names(shop=addresses))
    assert outcome.verdict == Verdict.PASS


def test_an_address_that_swallows_packets_does_not_hide_one_that_works(
    run: Any, names: Any, deaf: Any, postgres: Postgres
) -> None:
    deaf("127.0.0.9", postgres.port)
    look_up = names(shop=("127.0.0.9", "127.0.0.1"))
    outcome = once(run, replace(params(postgres), host="shop"), look_up=look_up, timeout=1.0)
    assert outcome.verdict == Verdict.PASS
    assert 0.3 < outcome.latency < 1.0


@pytest.mark.parametrize(
    ("changes", "code", "proves"),
    [
        ({"password": Secret("wrong")}, "28P01", Cause.AUTH),
        ({"password": None}, "28P01", Cause.AUTH),
        ({"user": "nobody"}, "28P01", Cause.AUTH),
        ({"database": "nowhere"}, "3D000", Cause.NOT_FOUND),
        ({"options": {"sslmode": "require"}}, "no_tls", Cause.TLS_ON_PLAIN),
    ],
)
def test_a_refusal_tells_why(run: Any, postgres: Postgres, changes: dict[str, Any], code: str, proves: Cause) -> None:
    asked = replace(params(postgres), **changes)
    outcome = once(run, asked)
    assert (outcome.verdict, outcome.evidence.code) == (Verdict.FAIL, code)
    assert cause(asked, outcome) == proves


@pytest.mark.parametrize("options", [{"pool_size": "5"}, {"sslmode": "nonsense"}])
def test_options_that_cannot_be_used_are_no_outage(run: Any, postgres: Postgres, options: dict[str, str]) -> None:
    asked = replace(params(postgres), options=options)
    outcome = once(run, asked)
    assert outcome.verdict == Verdict.UNKNOWN
    assert next(iter(options)) in outcome.evidence.text
    assert cause(asked, outcome) == Cause.PROBE_FAULT


def test_full_slots_are_told_from_a_dead_server(run: Any, fresh_postgres: Any) -> None:
    server = fresh_postgres(seed=False)
    server.take_slots()
    try:
        outcome = once(run, params(server))
    finally:
        server.free_slots()
    assert outcome.evidence.code == "53300"
    assert cause(params(server), outcome) == Cause.CAPACITY
    server.pause()
    began = time.monotonic()
    outcome = once(run, params(server), timeout=0.6)
    server.resume()
    assert outcome.evidence.sight == Sight.NO_ANSWER
    assert time.monotonic() - began < 1.5


def error(code: str, message: str) -> bytes:
    """PostgreSQL's ErrorResponse."""
    fields = b"".join(
        key + value.encode() + b"\0" for key, value in ((b"S", "FATAL"), (b"V", "FATAL"), (b"C", code), (b"M", message))
    )
    return b"E" + (len(fields) + 5).to_bytes(4, "big") + fields + b"\0"


def refuse(answer: bytes) -> Callable[..., Any]:
    """Says N to SSLRequest, reads the greeting, gives the answer."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            await reader.readexactly(8)
            writer.write(b"N")
            length = int.from_bytes(await reader.readexactly(4), "big")
            await reader.readexactly(length - 4)
            writer.write(answer)
            await writer.drain()

    return script


SAID = [
    ("57P03", "the database system is starting up", Cause.STARTING),
    ("57P03", "the database system is not yet accepting connections", Cause.STARTING),
    ("57P03", "the database system is in recovery mode", Cause.STARTING),
    ("57P03", "the database system is shutting down", Cause.STOPPING),
    ("57P01", "terminating connection due to administrator command", Cause.STOPPING),
    ("53300", "sorry, too many clients already", Cause.CAPACITY),
    ("53300", 'too many connections for role "x"', Cause.CAPACITY),
    ("28000", 'no pg_hba.conf entry for host "10.0.0.1", user "x", database "y", SSL encryption', Cause.AUTH),
    ("28000", 'role "x" does not exist', Cause.AUTH),
    ("42501", 'permission denied for database "x"', Cause.AUTH),
    ("55000", 'database "x" is not currently accepting connections', Cause.NOT_FOUND),
    ("3D000", "no such database: litellm", Cause.NOT_FOUND),
    ("53100", "could not write init file: No space left on device", Cause.CAPACITY),
    ("", "das Datenbanksystem startet", Cause.BAD_ANSWER),
]


@pytest.mark.parametrize(("code", "message", "proves"), SAID, ids=[row[1][:40] for row in SAID])
def test_what_the_server_says_at_login(run: Any, code: str, message: str, proves: Cause) -> None:
    async def act(scene: Any) -> tuple[PostgresParams, Outcome]:
        stage = await scene.serve(refuse(error(code or "57P03", message)))
        asked = PostgresParams(host="127.0.0.1", port=stage.port, password=Secret(CANARY))
        return asked, await scene.ask("postgres", asked)

    asked, outcome = run(act)
    assert (outcome.verdict, outcome.evidence.sight) == (Verdict.FAIL, Sight.ANSWERED)
    assert outcome.evidence.code == code
    assert outcome.evidence.text == message
    assert cause(asked, outcome) == proves


@pytest.mark.parametrize(("options", "proves"), [({}, Cause.AUTH), ({"sslmode": "disable"}, Cause.TLS)])
def test_no_encryption_means_tls_only_to_one_who_did_not_try_it(run: Any, options: Any, proves: Cause) -> None:
    said = error("28000", 'no pg_hba.conf entry for host "10.0.0.1", user "x", database "y", no encryption')

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if options:
            await reader.read(1024)
            writer.write(said)
            await writer.drain()
        else:
            await refuse(said)(reader, writer)

    async def act(scene: Any) -> tuple[PostgresParams, Outcome]:
        stage = await scene.serve(script)
        asked = PostgresParams(host="127.0.0.1", port=stage.port, password=Secret(CANARY), options=options)
        return asked, await scene.ask("postgres", asked)

    asked, outcome = run(act)
    assert (outcome.evidence.code, cause(asked, outcome)) == ("28000", proves)


@pytest.mark.parametrize(
    ("said", "sight"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Sight.GARBLED),
        (b"-ERR unknown command\r\n", Sight.GARBLED),
        (b"\x15\x03\x01\x00\x02\x02\x46", Sight.GARBLED),
        (b"", Sight.RESET),
    ],
)
def test_something_else_on_the_port(run: Any, said: bytes, sight: Sight) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(said)
        await writer.drain()

    async def act(scene: Any) -> Outcome:
        stage = await scene.serve(script)
        outcome: Outcome = await scene.ask("postgres", PostgresParams(host="127.0.0.1", port=stage.port))
        return outcome

    assert run(act).evidence.sight == sight


def test_redis_waits_in_silence_and_is_found_out(run: Any, valkey: Valkey) -> None:
    asked = PostgresParams(host="127.0.0.1", port=valkey.port, password=Secret(CANARY))
    outcome = once(run, asked, timeout=0.8)
    assert outcome.evidence.sight == Sight.GARBLED
    assert "NOAUTH" in outcome.evidence.text
    assert cause(asked, outcome) == Cause.WRONG_SERVICE
    assert outcome.latency < 1.0


def test_a_pooler_that_waits_for_its_server_is_silent_and_no_other_service(run: Any) -> None:
    error = b"SFATAL\0C08P01\0Mclient sent partial pkt in startup phase\0\0"

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await reader.read(1024) == b"PING\r\n":
            writer.write(b"E" + (len(error) + 4).to_bytes(4) + error)
            await writer.drain()
        else:
            await reader.read()

    async def act(scene: Any) -> Outcome:
        stage = await scene.serve(script)
        outcome: Outcome = await scene.ask("postgres", PostgresParams(host="127.0.0.1", port=stage.port), timeout=0.5)
        return outcome

    assert run(act).evidence.sight == Sight.NO_ANSWER


def test_a_pooler_that_cannot_reach_its_server_says_so() -> None:
    said = "consuming input failed: server login has been failing, try again later (server_login_retry)\n"
    told = read(f"{said}server closed the connection unexpectedly")
    assert (told.sight, told.code) == (Sight.ANSWERED, "08P01")


def test_silence_ends_with_the_deadline(run: Any, silent: Any) -> None:
    async def act(scene: Any) -> Outcome:
        stage = await scene.serve(silent)
        outcome: Outcome = await scene.ask("postgres", PostgresParams(host="127.0.0.1", port=stage.port), timeout=0.5)
        return outcome

    outcome = run(act)
    assert outcome.evidence.sight == Sight.NO_ANSWER
    assert 0.4 < outcome.latency < 0.8


def test_a_connection_that_does_not_open_is_told_from_silence(run: Any, deaf: Any) -> None:
    outcome = once(run, PostgresParams(host="127.0.0.1", port=deaf()), timeout=0.5)
    assert outcome.evidence.sight == Sight.NO_CONNECT
    assert outcome.latency < 0.8


def test_nothing_there(run: Any, names: Any, free_port: int) -> None:
    asked = PostgresParams(host="shop", port=free_port)
    refused = once(run, asked, look_up=names(shop=("::1", "127.0.0.1")))
    assert refused.evidence.sight == Sight.REFUSED
    nameless = once(run, asked, look_up=names())
    assert nameless.evidence.sight == Sight.NO_NAME


PROBE = """
import asyncio, sys
from config.checks import PostgresParams
from config.secret import Secret
from monitor.net import WatchLoop
from monitor.probes.base import ProbeContext
from monitor.probes.postgres import probe
port, user, password = sys.argv[1:]
params = PostgresParams(host="127.0.0.1", port=int(port), user=user, password=Secret(password), database="litellm")
with asyncio.Runner(loop_factory=WatchLoop) as runner:
    outcome = runner.run(probe(params, timeout=3, context=ProbeContext()))
print(outcome.verdict, outcome.evidence.text)
"""


def test_the_daemons_own_environment_steers_no_probe(postgres: Postgres) -> None:
    from psycopg import pq

    hostile = {option.envvar.decode(): "hostile" for option in pq.Conninfo.get_defaults() if option.envvar}
    hostile |= {"PGTZ": "No/Where", "PGDATESTYLE": "hostile", "PGGEQO": "hostile", "PGPORT": "1"}
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(postgres.port), postgres.user, postgres.password],
        env={**os.environ, **hostile},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout.startswith("pass"), done.stdout + done.stderr
    assert not done.stderr


def test_no_connection_is_left_by_many_probes_nor_by_cancelled_ones(run: Any, fresh_postgres: Any) -> None:
    server = fresh_postgres(seed=False)
    asked = params(server)
    dice = random.Random(7)

    async def act(scene: Any) -> tuple[int, int]:
        await scene.ask("postgres", asked)
        before = psutil.Process().num_fds()
        for _ in range(30):
            assert (await scene.ask("postgres", asked)).verdict == Verdict.PASS
        for _ in range(10):
            tasks = [asyncio.create_task(scene.ask("postgres", asked)) for _ in range(10)]
            for task in tasks:
                await asyncio.sleep(dice.random() * 0.004)
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.1)
        return before, await scene.fds(before)

    before, after = run(act)
    assert after <= before
    query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    with server.connect() as connection:
        for _ in range(100):
            row = connection.execute(query).fetchone()
            if row == (0,):
                break
            time.sleep(0.02)
        assert row == (0,)


def test_no_secret_in_what_is_seen(run: Any, postgres: Postgres, silent: Any) -> None:
    asked = replace(params(postgres), password=Secret(CANARY))

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.write(b"N")
        await reader.read(4096)
        writer.write(error("XX000", f"I was told {CANARY} and {CANARY}" + "." * 400))

    async def act(scene: Any) -> list[Outcome]:
        ports = [(await scene.serve(script)).port for script in (echo, silent)]
        variants = [replace(asked, port=port) for port in (postgres.port, *ports, 1)]
        variants += [replace(asked, options={"bogus": "1"}), replace(asked, options={"sslmode": "bogus"})]
        variants += [replace(asked, password=Secret(CANARY + "\0")), replace(asked, host="no such host")]
        return [await scene.ask("postgres", variant, timeout=0.4) for variant in variants]

    outcomes = run(act)
    assert all(outcome.verdict != Verdict.PASS for outcome in outcomes)
    assert "I was told *** and ***" in outcomes[1].evidence.text
    assert "canary" not in repr(outcomes)
