"""What Redis or Valkey tells of itself: one INFO for all signals that want it at the same time, and a canary."""

import asyncio
import ssl
from collections.abc import Callable, Hashable, Mapping

from redis.exceptions import RedisError, ResponseError

from config.signals import RedisSignalParams
from monitor.probes import redis_weigh as weigh
from monitor.probes.attempt import attempt
from monitor.probes.base import Answer, Garbled, Outcome, ProbeContext, Sight, Verdict, not_asked, not_available
from monitor.probes.redis_session import FreshConnection, read, text_of

MAX_AGE = 2.0  # seconds: signals that run together share an INFO, and a second look is a look of its own
OWN_SHARE = 0.8  # of an asker's time for INFO, so that a server that hangs is known before the asker gives up
CANARY = "watchkeeper:canary"
CANARY_TTL = 60  # seconds

Info = Mapping[str, str]

SIGNALS: Mapping[str, Callable[[Info, RedisSignalParams, weigh.Memory], Answer]] = {
    "memory": weigh.memory,
    "policy": weigh.policy,
    "evicted": weigh.evicted,
    "rejected": weigh.rejected,
    "persistence": weigh.persistence,
    "replica": weigh.replica,
    "restarts": weigh.restarts,
}


async def probe(params: RedisSignalParams, *, timeout: float, context: ProbeContext) -> Outcome:
    """Tells one signal. Evidence.sign is the signal's name where it warns or fails, code the canary's error."""
    tell = _write if params.signal == "canary" else _tell
    secrets = (params.password,)
    # After a stall of the loop this deadline and those of the questions come due at once, in any order.
    return await attempt(lambda: tell(params, timeout, context), timeout=timeout, secrets=secrets, late=not_asked())


async def _tell(params: RedisSignalParams, timeout: float, context: ProbeContext) -> Answer:
    server: Hashable = ("redis_signal", params.host, params.port, params.user, params.password, params.tls)
    tls = context.tls() if params.tls else None
    seconds = timeout * OWN_SHARE

    async def take() -> Info | Answer:
        async with asyncio.timeout(seconds):
            said = await _command(params, seconds, tls, "INFO")
        return said if isinstance(said, Answer) else _lines(said)

    try:
        async with asyncio.timeout(timeout * (1 + OWN_SHARE) / 2):
            info = await context.shared(server, take, MAX_AGE)
    except (RedisError, Garbled, OSError, EOFError, ValueError) as error:
        return _unasked(error)
    if isinstance(info, Answer):
        return info
    now = asyncio.get_running_loop().time()
    return SIGNALS[params.signal](info, params, weigh.Memory(context.samples, server, now))


async def _write(params: RedisSignalParams, timeout: float, context: ProbeContext) -> Answer:
    """Writes the canary: PING and INFO are well while every write is refused."""
    tls = context.tls() if params.tls else None
    try:
        async with asyncio.timeout(timeout * OWN_SHARE):
            said = await _command(params, timeout, tls, "SET", CANARY, "1", "EX", str(CANARY_TTL))
    except (RedisError, Garbled, OSError, EOFError, ValueError) as error:
        return _unasked(error)
    if isinstance(said, str):
        return Answer(verdict=Verdict.PASS, text=f"it takes writes (key {CANARY})")
    return said


# A write's refusals that are the plain check's to tell, which meets them at PING or at the login.
_PLAIN = frozenset({"LOADING", "BUSY", "MASTERDOWN", "NOAUTH", "WRONGPASS", "DENIED"})


async def _command(params: RedisSignalParams, seconds: float, tls: ssl.SSLContext | None, *words: str) -> str | Answer:
    """What one command is answered over a fresh connection; an Answer where it is refused.

    Raises what the network does, and RedisError for a login that is refused.
    """
    connection = FreshConnection(params, seconds, tls)
    try:
        await connection.connect()  # type: ignore[no-untyped-call]  # redis-py has no types here
        (said,) = await connection.ask(words)
    finally:
        await connection.abandon()
    return _refused(read(said), params, words[0]) if isinstance(said, ResponseError) else text_of(said)


def _unasked(error: Exception) -> Answer:
    """What is said of a question that was never put: no login, no connection, or no Redis."""
    try:
        said = read(error) if isinstance(error, RedisError) else None
    except (RedisError, Garbled, OSError) as read_as:
        said, error = None, read_as
    if said is not None:
        return not_asked(f"the server does not let us in ({said.code or said.text})")
    if isinstance(error, Garbled | ValueError) and not isinstance(error, OSError):
        return not_asked("what answers is not as it should be")
    return not_asked()


def _refused(said: Answer, params: RedisSignalParams, command: str) -> Answer:
    """What it means that a command was refused."""
    if said.sight != Sight.ANSWERED or said.code in _PLAIN:
        return not_asked(
            f"the server does not let us in ({said.code})"
            if said.code in ("NOAUTH", "WRONGPASS", "DENIED")
            else f"the server answers no question ({said.code or said.text})"
        )
    if said.code == "NOPERM":
        user = params.user or "default"
        rights = f"~{CANARY} +set" if command == "SET" else "+info"
        return not_available(f"{said.text}; ACL SETUSER {user} {rights}")
    if said.code in ("MOVED", "ASK"):
        return not_available("this is one node of a cluster, and the canary's key belongs to another")
    if command == "SET":
        return Answer(verdict=Verdict.FAIL, text=f"a write is refused: {said.text}", code=said.code, sign=params.signal)
    return not_available(f"this server does not answer {command}: {said.text}")


def _lines(said: str) -> Info:
    lines = (line.partition(":") for line in said.splitlines())
    return {name: value.strip() for name, colon, value in lines if colon and not name.startswith("#")}
