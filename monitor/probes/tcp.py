"""The tcp probe: a connection that opens, and a line that is answered."""

import re
from functools import partial

from config.checks import TcpParams
from monitor.probes.attempt import attempt
from monitor.probes.base import Answer, Outcome, ProbeContext, Sight, Verdict, clean
from monitor.wire import Wire, dial

# Bytes of an answer that are searched for what is expected.
MAX_ANSWER = 16_384


async def probe(params: TcpParams, *, timeout: float, context: ProbeContext) -> Outcome:  # noqa: ARG001 -- Probe's
    """Opens a connection; with `send` sends that line, with `expect` waits until what came matches."""
    return await attempt(partial(_ask, params, timeout), timeout=timeout)


async def _ask(params: TcpParams, timeout: float) -> Answer:
    wire = await dial(params.host, params.port, timeout=timeout, family=params.family)
    try:
        if params.send is not None:
            line = params.send if params.send.endswith("\n") else params.send + "\r\n"
            await wire.write(line.encode())
        if params.expect is None:
            return Answer(verdict=Verdict.PASS, text="the connection opens")
        return await _listen(wire, params.expect)
    finally:
        wire.close()


async def _listen(wire: Wire, expect: str) -> Answer:
    """Reads until `expect` is found, the far side ends, or enough has come; a deadline ends it from outside."""
    pattern = re.compile(expect)
    heard = b""
    while len(heard) < MAX_ANSWER:
        data = await wire.read(MAX_ANSWER - len(heard))
        heard += data
        text = heard.decode("utf-8", "replace")
        if pattern.search(text):
            return Answer(verdict=Verdict.PASS, text=f"answered: {clean(text, 120)}")
        if not data:
            break
    if not heard:
        return Answer(verdict=Verdict.FAIL, sight=Sight.RESET, text="the connection was ended without a word")
    said = clean(heard.decode("utf-8", "replace"), 120)
    return Answer(verdict=Verdict.FAIL, sign="expect", text=f"expected {expect}; it says: {said}")
