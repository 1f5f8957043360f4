"""What ClickHouse tells of itself: one answer for all signals that want it at the same time, and a heavier query."""

import asyncio
import json
import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from config.signals import ClickhouseSignalParams
from monitor.probes import clickhouse_weigh as weigh
from monitor.probes.ask import beside, told_elsewhere
from monitor.probes.base import Answer, Garbled, Outcome, ProbeContext, Verdict, not_available
from monitor.probes.clickhouse_queries import HEAVY, HEAVY_ANSWER, HOURS, MINUTES, Questions, statement
from monitor.probes.clickhouse_weigh import Row, Seen
from monitor.probes.clickhouse_words import exception_in, login
from monitor.probes.fetch import fetch, request

MAX_AGE = 2.0  # seconds: signals that run together share an answer, and a second look is a look of its own
OWN_SHARE = 0.8  # of an asker's time for the answer, so that a server that hangs is known before the asker gives up
MEMORY = 3_600.0  # seconds until what was refused is asked again: somebody may have granted it
LIMIT = 262_144  # bytes of an answer; a quiet server's has 2,000

Weigh = Callable[[Seen, ClickhouseSignalParams, weigh.Memory], Answer]

# Each signal's section and what is made of it.
SIGNALS: Mapping[str, tuple[str, Weigh]] = {
    "disk": ("disks", weigh.disk),
    "parts": ("parts", weigh.parts),
    "mutations": ("mutations", weigh.mutations),
    "replicas": ("replicas", weigh.replicas),
    "errors": ("errors", weigh.errors),
    "queries": ("queries", weigh.queries),
    "size": ("sizes", weigh.size),
    "logs": ("sizes", weigh.logs),
}

# Bounds on what we ask for, and no row of ours in system.query_log.
SETTINGS = {"max_result_rows": "1000", "log_queries": "0"}
# Without the wait nobody else's query is killed to make room for the heavy one, which is refused instead.
PATIENT = {"max_threads": "1", "memory_usage_overcommit_max_wait_microseconds": "0", "log_queries": "0"}

# A profile that is read-only, or constrained, lets nobody change a setting; 115: an old server does not know it.
_NO_SETTINGS = frozenset({"164", "452", "115"})
_NO_GRANT = frozenset({"497", "291"})
_NO_SUCH = frozenset({"60", "47", "46", "42", "43", "62", "81"})  # a table, column or function of another version
# What SELECT 1 is refused with as well: the login, too many queries, the end of the process.
_PLAIN = frozenset({"516", "192", "193", "194", "195", "202", "201", "236", "394"})
_TOO_SLOW = frozenset({"159", "160", "209"})


class Refused(Exception):  # noqa: N818 -- an answer, not a fault
    """ClickHouse refuses a statement. `code` is its own, `text` its words."""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(code)
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class Learned:
    """What a login may not do here, as of `at` on the loop's clock: change settings; ask these sections, and why."""

    at: float
    plain: bool = False
    lacking: Mapping[str, Answer] = field(default_factory=dict)


async def probe(params: ClickhouseSignalParams, *, timeout: float, context: ProbeContext) -> Outcome:
    """Tells one signal. Evidence.sign is the signal's name where it warns or fails, code ClickHouse's error."""
    tell = _memory if params.signal == "memory" else _tell
    return await beside(lambda: tell(params, timeout, context), timeout=timeout, secrets=(params.password,))


async def _tell(params: ClickhouseSignalParams, timeout: float, context: ProbeContext) -> Answer:
    section, make = SIGNALS[params.signal]
    questions = MINUTES if section in MINUTES else HOURS
    server = _server(params)
    seconds = timeout * OWN_SHARE

    async def take() -> Mapping[str, Seen | Answer]:
        async with asyncio.timeout(seconds):
            return await _take(params, questions, seconds, context)

    found = (await context.shared((*server, questions is MINUTES), take, MAX_AGE))[section]
    if isinstance(found, Answer):
        return replace(found, sign=params.signal) if found.verdict != Verdict.PASS else found
    return make(found, params, weigh.Memory(context.samples, server, asyncio.get_running_loop().time()))


def _server(params: ClickhouseSignalParams) -> tuple[Hashable, ...]:
    return ("clickhouse_signal", params.url, params.user, params.password)


async def _take(
    params: ClickhouseSignalParams, questions: Questions, seconds: float, context: ProbeContext
) -> Mapping[str, Seen | Answer]:
    """Each section's rows, or why there are none. What a login may not ask is left out for an hour."""
    learned = _learned(params, context)
    wanted = {name: arms for name, arms in questions.items() if name not in learned.lacking}
    known: dict[str, Seen | Answer] = {name: learned.lacking[name] for name in questions if name in learned.lacking}
    try:
        rows = await _rows(params, wanted.values(), seconds, context) if wanted else []
    except Refused as refused:
        if refused.code not in _NO_GRANT | _NO_SUCH:
            return known | {name: _refusal(name, refused) for name in wanted}
        return known | {name: await _alone(name, params, arms, seconds, context) for name, arms in wanted.items()}
    return known | dict.fromkeys(wanted, Seen.of(rows))


async def _alone(
    name: str, params: ClickhouseSignalParams, arms: tuple[str, ...], seconds: float, context: ProbeContext
) -> Seen | Answer:
    """One section by itself; that it is refused is remembered."""
    try:
        return Seen.of(await _rows(params, [arms], seconds, context))
    except Refused as refused:
        if refused.code in _NO_GRANT:
            user = weigh.quoted(params.user)
            answer = not_available(
                f"{params.user} may not ask: GRANT SELECT ON system.* TO {user}; GRANT SHOW TABLES ON *.* TO {user} "
                f"({refused.text})"
            )
        elif refused.code in _NO_SUCH:
            answer = not_available(f"this version does not tell it ({refused.code} {refused.text})")
        else:
            return _refusal(name, refused)
        learned = _learned(params, context)
        _note(params, context, replace(learned, lacking={**learned.lacking, name: answer}))
        return answer


def _refusal(section: str, refused: Refused) -> Answer:
    """What it means that everything is refused at once."""
    if refused.code in weigh.LIMITS and section == "errors":
        text = f"our own question is refused: code {refused.code}: {refused.text}"
        return Answer(verdict=Verdict.FAIL, text=text, code=refused.code)
    if refused.code in _PLAIN or refused.code in weigh.LIMITS:
        return told_elsewhere(f"ClickHouse refuses questions (code {refused.code})")
    if refused.code in _TOO_SLOW:
        return not_available("the server did not finish this question in time")
    return not_available(f"the server cannot say it ({refused.code} {refused.text})")


async def _memory(params: ClickhouseSignalParams, timeout: float, context: ProbeContext) -> Answer:
    """A query that needs memory: SELECT 1 is well while every such query is refused."""
    if _learned(params, context).plain:
        return _unguarded(params)
    try:
        async with asyncio.timeout(timeout * OWN_SHARE):
            text = await _send(params, HEAVY, PATIENT, timeout * OWN_SHARE, context)
    except Refused as refused:
        if refused.code in _NO_SETTINGS:
            _note(params, context, replace(_learned(params, context), plain=True))
            return _unguarded(params)
        return _without_memory(params, refused)
    if text.strip() != HEAVY_ANSWER:
        return told_elsewhere("what answers is no ClickHouse")
    return Answer(verdict=Verdict.PASS, text="a query that takes 61 MiB is answered")


def _without_memory(params: ClickhouseSignalParams, refused: Refused) -> Answer:
    """What it means that the heavy query is refused."""
    if refused.code == "241" and weigh.own_limit(refused.text):
        return not_available(f"{params.user} may take less memory for a query than this takes: {refused.text}")
    if refused.code in weigh.LIMITS:
        words = f"a query that takes 61 MiB is refused, whatever SELECT 1 says: code {refused.code}: {refused.text}"
        return Answer(verdict=Verdict.FAIL, text=words, code=refused.code, sign="memory")
    return _refusal("memory", refused)


def _unguarded(params: ClickhouseSignalParams) -> Answer:
    return not_available(
        f"{params.user} may not change settings (its profile is read-only), so the query could not be kept from "
        "displacing somebody's query; readonly = 2 in its profile allows it"
    )


async def _rows(
    params: ClickhouseSignalParams, questions: Iterable[tuple[str, ...]], seconds: float, context: ProbeContext
) -> list[Row]:
    """What these sections give. Where settings may not be changed it is asked again without. Raises Refused."""
    asked = statement(questions)
    settings = {**SETTINGS, "max_execution_time": str(math.ceil(seconds))}
    plain = _learned(params, context).plain
    try:
        text = await _send(params, asked, {} if plain else settings, seconds, context)
    except Refused as refused:
        if plain or refused.code not in _NO_SETTINGS:
            raise
        text = await _send(params, asked, {}, seconds, context)
        _note(params, context, replace(_learned(params, context), plain=True))
    return _parse(text)


async def _send(
    params: ClickhouseSignalParams, asked: bytes, settings: Mapping[str, str], seconds: float, context: ProbeContext
) -> str:
    """The answer's text. Raises Refused, Garbled where it is not ClickHouse's, and what the network does."""
    # The whole answer is made before any of it is sent, so that an error has a status of its own.
    query = "&".join(f"{name}={value}" for name, value in {"wait_end_of_query": "1", **settings}.items())
    url = f"{params.url.rstrip('/')}/?{query}"
    reply = await fetch(context, request("POST", url, timeout=seconds, content=asked), login(params), limit=LIMIT)
    # What rows quote may look like an exception, so it is looked for where no row is.
    if reply.status != 200 or not reply.body.startswith(b"{"):
        code, said = exception_in(reply)
        if code:
            raise Refused(code, said)
    if reply.status != 200 or len(reply.body) >= LIMIT:
        raise Garbled(f"HTTP {reply.status}, which is not ClickHouse's answer")
    return reply.text


def _parse(text: str) -> list[Row]:
    """The rows of an answer. Raises Garbled where it is none of ours."""
    rows = []
    for line in text.splitlines():
        try:
            one = json.loads(line)
            rows.append(Row(str(one["tag"]), {str(name): str(value) for name, value in one["row"].items()}))
        except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
            raise Garbled("the answer is no row of ClickHouse's") from None
    if not any(row.tag == "server" for row in rows):
        raise Garbled("the answer lacks what was asked")
    return rows


def _learned(params: ClickhouseSignalParams, context: ProbeContext) -> Learned:
    now = asyncio.get_running_loop().time()
    known: Learned | None = context.samples.newest((*_server(params), "learned"))
    return known if known is not None and now - known.at < MEMORY else Learned(now)


def _note(params: ClickhouseSignalParams, context: ProbeContext, learned: Learned) -> None:
    key = (*_server(params), "learned")
    context.samples.forget(key)
    context.samples.since(key, learned, MEMORY, learned.at)
