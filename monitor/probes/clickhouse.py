"""An authenticated SELECT 1 over ClickHouse's HTTP interface; /ping would answer whatever is broken behind it."""

from functools import partial

from config.checks import ClickhouseParams
from monitor.probes.attempt import attempt
from monitor.probes.base import Answer, Garbled, Outcome, ProbeContext, Sight, Verdict
from monitor.probes.clickhouse_words import exception_in, login
from monitor.probes.fetch import Reply, fetch, request

QUERY = b"SELECT 1, version(), uptime() FORMAT TabSeparated"


async def probe(params: ClickhouseParams, *, timeout: float, context: ProbeContext) -> Outcome:
    """Asks SELECT 1 as the user. Evidence.code is ClickHouse's exception code, or "HTTP <status>" without one."""
    return await attempt(partial(_ask, params, timeout, context), timeout=timeout, secrets=(params.password,))


async def _ask(params: ClickhouseParams, timeout: float, context: ProbeContext) -> Answer:
    asked = request("POST", f"{params.url.rstrip('/')}/", timeout=timeout, content=QUERY)
    headers = {**login(params), "x-clickhouse-database": params.database}
    return weigh(await fetch(context, asked, headers))


def weigh(reply: Reply) -> Answer:
    """Gives what the answer to QUERY proves. Raises Garbled if it is not ClickHouse's."""
    code, said = exception_in(reply)
    if code:
        return Answer(verdict=Verdict.FAIL, text=f"code {code}: {said}", code=code)
    fields = reply.text.rstrip("\n").split("\t")
    if reply.status == 200 and len(fields) == 3 and fields[0] == "1":
        facts = {"version": fields[1], "uptime": fields[2]}
        return Answer(verdict=Verdict.PASS, text=f"SELECT 1 answered by ClickHouse {fields[1]}", facts=facts)
    if reply.status >= 500:
        text = f"HTTP {reply.status} without a word of ClickHouse's: {reply.text}"
        return Answer(verdict=Verdict.FAIL, text=text, code=f"HTTP {reply.status}")
    kind = f" of type {reply.kind}" if reply.kind else ""
    raise Garbled(f"SELECT 1 was answered with HTTP {reply.status}{kind}: {reply.text}", sight=Sight.GARBLED)
