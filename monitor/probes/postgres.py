"""SELECT 1 over a fresh PostgreSQL connection, and what it says of version, role and uptime in the same round trip."""

import asyncio
import errno
import re
import socket

from psycopg import ProgrammingError

from config.checks import PostgresParams
from monitor.net import Stage, progress, spell
from monitor.probes.attempt import attempt
from monitor.probes.base import Answer, Garbled, Outcome, ProbeContext, Sight, Verdict
from monitor.probes.postgres_session import Refusal, Session, conninfo, read_login
from monitor.wire import dial

# SET LOCAL ends with the statement, so a pooler's connection goes back as it came.
QUERY = (
    "SET LOCAL statement_timeout = {milliseconds}; "
    "SELECT 1, current_setting('server_version'), pg_is_in_recovery(), "
    "extract(epoch FROM now() - pg_postmaster_start_time())::bigint"
)

COLUMNS = 4

# An ErrorResponse: its length, and the severity as its first field.
_REFUSAL = re.compile(rb"E.{4}S(FATAL|ERROR|PANIC)\x00", re.DOTALL)

# The share of the time that is kept to find out what it is that does not answer.
KNOCK_SHARE = 0.1


async def probe(params: PostgresParams, *, timeout: float, context: ProbeContext) -> Outcome:  # noqa: ARG001
    """Logs in and asks SELECT 1. Evidence.code is the SQLSTATE."""
    return await attempt(lambda: _ask(params, timeout), timeout=timeout, secrets=(params.password,))


async def _ask(params: PostgresParams, timeout: float) -> Answer:
    """Gives the first address's answer, else the most telling miss. Each address has its share of the time."""
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout * (1 - KNOCK_SHARE)
    found = await loop.getaddrinfo(params.host, params.port, type=socket.SOCK_STREAM)
    misses: list[tuple[Answer, str]] = []
    for left, (*_, address) in zip(range(len(found), 0, -1), found, strict=True):
        _note(Stage.CONNECT, spell(address))
        answer = await _try(params, str(address[0]), (end - loop.time()) / left)
        if answer.sight not in _ELSEWHERE:
            return answer
        misses.append((answer, spell(address)))
    worst, where = max(misses, key=lambda miss: _ELSEWHERE.index(miss[0].sight))
    if worst.sight == Sight.NO_ANSWER:
        await _knock(params, timeout)
    _note(Stage.CONNECT if worst.sight == Sight.NO_CONNECT else Stage.ANSWER, where)
    if worst.sight in (Sight.NO_CONNECT, Sight.NO_ANSWER):
        raise TimeoutError
    if worst.sight == Sight.REFUSED:
        raise ConnectionRefusedError(errno.ECONNREFUSED, worst.text)
    return worst


# What another address of the same host may do better; the least telling first.
_ELSEWHERE = [Sight.NO_ROUTE, Sight.REFUSED, Sight.NO_CONNECT, Sight.NO_ANSWER]


def _note(stage: Stage, address: str) -> None:
    """libpq connects past the loop, so what the loop would note of our progress is noted here."""
    seen = progress.get()
    if seen is not None:
        seen.stage, seen.address = stage, address


async def _try(params: PostgresParams, address: str, seconds: float) -> Answer:
    """One login and one query at one address."""
    try:
        session = Session(conninfo(params, address))
    except ProgrammingError as error:
        return Answer(verdict=Verdict.UNKNOWN, sight=Sight.FAULT, text=f"the options cannot be used: {error}")
    try:
        async with asyncio.timeout(seconds):
            await session.open()
            row = await session.query(QUERY.format(milliseconds=max(100, int(seconds * 900))))
    except TimeoutError:
        sight = Sight.NO_ANSWER if session.connected else Sight.NO_CONNECT
        return Answer(verdict=Verdict.FAIL, sight=sight, text="")
    except Refusal as refusal:
        return read_login(refusal, params)
    finally:
        session.close()
    if len(row) != COLUMNS or row[0] != "1":
        raise Garbled(f"SELECT 1 was answered with {', '.join(row[:COLUMNS]) or 'nothing'}")
    _, version, standby, uptime = row
    facts = {"version": version.split(" ")[0], "role": "standby" if standby == "t" else "primary", "uptime": uptime}
    return Answer(verdict=Verdict.PASS, text=f"SELECT 1 answered by PostgreSQL {facts['version']}", facts=facts)


async def _knock(params: PostgresParams, timeout: float) -> None:
    """Finds out whether it is Redis that keeps silent: it waits for a line to end, which a greeting of ours never does.

    Raises Garbled if so. A pooler whose server is away keeps silent too, and refuses the line in PostgreSQL's protocol.
    """
    wire = await dial(params.host, params.port, timeout=timeout * KNOCK_SHARE)
    try:
        await wire.write(b"PING\r\n")
        said = await wire.read(64)
    finally:
        wire.close()
    if said and not _REFUSAL.match(said):
        raise Garbled(f"it does not answer PostgreSQL's greeting, but it answers PING with {said.decode('latin-1')}")
