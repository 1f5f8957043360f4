"""AUTH and PING over a fresh Redis or Valkey connection, and what INFO says of version, role, uptime and memory."""

import ssl
from collections.abc import Mapping

from redis.asyncio import Connection
from redis.exceptions import RedisError, ResponseError

from config.checks import RedisParams
from monitor.probes.attempt import attempt
from monitor.probes.base import Answer, Garbled, Outcome, ProbeContext, Verdict
from monitor.probes.redis_session import FreshConnection, read, text_of

SECTIONS = ("server", "replication", "memory")
ROLES = {"master": "primary", "slave": "replica"}


async def probe(params: RedisParams, *, timeout: float, context: ProbeContext) -> Outcome:
    """Logs in and asks PING. Evidence.code is the first word of the server's error."""
    tls = context.tls() if params.tls else None
    return await attempt(lambda: _ask(params, timeout, tls), timeout=timeout, secrets=(params.password,))


async def _ask(params: RedisParams, timeout: float, tls: ssl.SSLContext | None) -> Answer:
    connection = FreshConnection(params, timeout, tls)
    try:
        await connection.connect()  # type: ignore[no-untyped-call]  # redis-py has no types here
        questions = [("PING",), *(("INFO", section) for section in SECTIONS)]
        await connection.send_packed_command(connection.pack_commands(questions))
        pong = await connection.read_response()
        if pong != b"PONG":
            raise Garbled(f"PING was answered with {text_of(pong)}")
        return _weigh([await _info(connection) for _ in SECTIONS])
    except RedisError as error:
        return read(error)
    except ValueError:
        # What the parser and asyncio's reader raise for a length that is no number, or a line without end.
        raise Garbled("the answer is not Redis's protocol") from None
    finally:
        await connection.abandon()


async def _info(connection: Connection) -> Mapping[str, str]:
    """One section of INFO; nothing where the server or an ACL does not give it."""
    try:
        said = await connection.read_response(disconnect_on_error=False)
    except ResponseError:
        return {}
    lines = (line.partition(":") for line in text_of(said).splitlines())
    return {name: value.strip() for name, colon, value in lines if colon}


def _weigh(sections: list[Mapping[str, str]]) -> Answer:
    """PING passes while every write is refused for want of memory, so that is told from INFO."""
    server, replication, memory = sections
    facts = {
        "version": server.get("valkey_version") or server.get("redis_version", ""),
        "role": ROLES.get(replication.get("role", ""), ""),
        "uptime": server.get("uptime_in_seconds", ""),
    }
    facts = {name: value for name, value in facts.items() if value}
    most, policy = _number(memory, "maxmemory"), memory.get("maxmemory_policy", "")
    used = _number(memory, "used_memory") - _number(memory, "mem_not_counted_for_evict")
    if most and used > most and policy == "noeviction":
        text = f"PING is answered, but {used} of {most} bytes are used with noeviction: every write is refused"
        return Answer(verdict=Verdict.FAIL, code="OOM", text=text, facts=facts)
    return Answer(verdict=Verdict.PASS, text="PING answered", facts=facts)


def _number(section: Mapping[str, str], name: str) -> int:
    value = section.get(name, "")
    return int(value) if value.isdigit() else 0
