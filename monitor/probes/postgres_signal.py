"""What PostgreSQL tells of itself: one snapshot over one connection for all signals that want it at the same time."""

import asyncio
import json
import socket
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Error

from config.signals import PostgresSignalParams
from monitor.probes import postgres_weigh as weigh
from monitor.probes.attempt import attempt
from monitor.probes.base import Answer, Outcome, ProbeContext, Sight, not_asked, not_available
from monitor.probes.postgres_queries import HOURS, MINUTES
from monitor.probes.postgres_session import Refusal, Session, conninfo, read

MAX_AGE = 2.0  # seconds: signals that run together share a snapshot, and a second look is a look of its own
OWN_SHARE = 0.8  # of an asker's time for the snapshot, so that a server that hangs is known before the asker gives up

Seen = Mapping[str, Any]
Weigh = Callable[[Seen, PostgresSignalParams], Answer]

# Each signal's section and what is made of it. growth alone remembers, and is seen to below.
SIGNALS: Mapping[str, tuple[str, Weigh]] = {
    "slots": ("sessions", weigh.slots),
    "transactions": ("sessions", weigh.transactions),
    "idle_in_transaction": ("sessions", weigh.idle_in_transaction),
    "writable": ("writable", weigh.writable),
    "wraparound": ("wraparound", weigh.wraparound),
    "replication": ("replication", weigh.replication),
    "retained_wal": ("replication", weigh.retained_wal),
    "archiver": ("archiver", weigh.archiver),
    "size": ("size", weigh.size),
    "growth": ("size", weigh.growth),
}


class _Unreached(Exception):  # noqa: N818 -- an answer, not a fault
    """Nothing can be asked of the server just now, in words; its plain check tells more."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What each section gave: its JSON, or why there is none."""

    sections: Mapping[str, Seen | Answer]


async def probe(params: PostgresSignalParams, *, timeout: float, context: ProbeContext) -> Outcome:
    """Tells one signal. Evidence.sign is the signal's name where it warns or fails."""
    secrets = (params.password,)
    # After a stall of the loop this deadline and those of the questions come due at once, in any order.
    return await attempt(lambda: _tell(params, timeout, context), timeout=timeout, secrets=secrets, late=not_asked())


async def _tell(params: PostgresSignalParams, timeout: float, context: ProbeContext) -> Answer:
    section, make = SIGNALS[params.signal]
    questions = MINUTES if section in MINUTES else HOURS
    login = (params.host, params.port, params.user, params.password, params.database, *sorted(params.options.items()))
    seconds = timeout * OWN_SHARE
    key: Hashable = ("postgres_signal", *login, questions is MINUTES)

    async def take() -> Snapshot:
        async with asyncio.timeout(seconds):
            return await _take(params, questions, seconds, context, key if questions is MINUTES else None)

    try:
        async with asyncio.timeout(timeout * (1 + OWN_SHARE) / 2):
            snapshot = await context.shared(key, take, MAX_AGE)
    except _Unreached as unreached:
        return not_asked(str(unreached))
    except OSError:  # TimeoutError, and what the look-up raises, among them
        return not_asked()
    found = snapshot.sections[section]
    if isinstance(found, Answer):
        return found
    if params.signal == "growth":
        now = asyncio.get_running_loop().time()
        before = context.samples.since((*login, "size"), found["bytes"], weigh.GROWTH_WINDOW, now)
        found = {**found, "before": before}
    return make(found, params)


async def _take(
    params: PostgresSignalParams,
    questions: Mapping[str, str],
    seconds: float,
    context: ProbeContext,
    keep_as: Hashable,
) -> Snapshot:
    """Asks every question over a new session, which is kept as `keep_as`, if that is said, until the next one is there.

    When every slot is taken nobody new is let in, and somebody must be inside to see who holds them.
    """
    kept = context.kept.get(keep_as)
    try:
        session = await _open(params, seconds)
    except Refusal as refusal:
        said = read(refusal.message)
        if not isinstance(kept, Session) or said.code != "53300":
            _drop(context, keep_as)
            raise _Unreached(_kept_out(said)) from None
        session = kept
    except BaseException as error:
        _drop(context, keep_as)
        if isinstance(error, Error):  # what libpq says of options it cannot use
            raise _Unreached("no session can be opened") from None
        raise
    keeping = False
    try:
        snapshot = Snapshot({name: await _ask(session, text, params, seconds) for name, text in questions.items()})
        keeping = keep_as is not None
    finally:
        if not keeping:
            session.close()
        if context.kept.get(keep_as) is not session:
            _drop(context, keep_as)
        elif not keeping:
            del context.kept[keep_as]
    if keeping:
        context.kept[keep_as] = session
    return snapshot


def _kept_out(said: Answer) -> str:
    """Why no session was opened, in words: an answer of the server's is not told as silence."""
    if said.sight != Sight.ANSWERED:
        return "no session can be opened"
    return f"the server does not let us in ({said.code})" if said.code else "the server does not let us in"


def _drop(context: ProbeContext, key: Hashable) -> None:
    kept = context.kept.pop(key, None)
    if kept is not None:
        kept.close()


async def _open(params: PostgresSignalParams, seconds: float) -> Session:
    """A session at the first address that answers, each having its share of `seconds`. Raises Refusal, or OSError."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    found = await loop.getaddrinfo(params.host, params.port, type=socket.SOCK_STREAM)
    for left, (*_, address) in zip(range(len(found), 0, -1), found, strict=True):
        session = Session(conninfo(params, str(address[0])))
        try:
            async with asyncio.timeout((end - loop.time()) / left):
                await session.open()
        except (Refusal, TimeoutError) as miss:
            session.close()
            if left == 1 or (isinstance(miss, Refusal) and read(miss.message).sight == Sight.ANSWERED):
                raise
        except BaseException:
            session.close()
            raise
        else:
            return session
    raise ConnectionRefusedError("the name has no address")


async def _ask(session: Session, text: str, params: PostgresSignalParams, seconds: float) -> Seen | Answer:
    """One section, or why it cannot be told. Raises _Unreached when the session ended on the way."""
    try:
        # SET LOCAL ends with the statement, so a pooler's connection goes back as it came.
        row = await session.query(f"SET LOCAL statement_timeout = {max(100, int(seconds * 900))}; {text}")
        seen = json.loads(row[0])
    except Refusal as refusal:
        if session.lost:
            raise _Unreached("the server ended our session") from None
        return _lacking(read(refusal.message, refusal.sqlstate), params)
    except (IndexError, ValueError):
        return not_available("what answers does not give JSON, so it is no PostgreSQL of version 13 or later")
    return seen if isinstance(seen, dict) else not_available("the server keeps no such statistics")


def _lacking(said: Answer, params: PostgresSignalParams) -> Answer:
    """Why a section was refused, in words."""
    if said.code == "42501":
        return not_available(f"{said.text}; GRANT pg_monitor TO {weigh.quoted(params.user)}")
    if said.code == "57014":
        return not_available("the server did not finish this question in time")
    return not_available(f"this server cannot say it ({said.code} {said.text})")
