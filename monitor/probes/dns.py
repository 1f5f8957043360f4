"""The dns probe: a name that resolves, to records of each type asked for."""

import asyncio
import ipaddress
import socket
from functools import partial

from config.checks import DnsParams
from monitor.probes.attempt import attempt
from monitor.probes.base import Answer, Outcome, ProbeContext, Verdict

_FAMILIES = {"A": socket.AF_INET, "AAAA": socket.AF_INET6}


async def probe(params: DnsParams, *, timeout: float, context: ProbeContext) -> Outcome:  # noqa: ARG001 -- Probe's
    """Looks the name up with the system's resolver, all types at once; every address of `expect` must be found."""
    return await attempt(partial(_ask, params), timeout=timeout)


async def _ask(params: DnsParams) -> Answer:
    loop = asyncio.get_running_loop()
    looks = [
        loop.getaddrinfo(params.name, None, family=_FAMILIES[kind], type=socket.SOCK_STREAM) for kind in params.types
    ]
    answers = await asyncio.gather(*looks, return_exceptions=True)
    found: list[str] = []
    for kind, answer in zip(params.types, answers, strict=True):
        if isinstance(answer, BaseException):
            raise answer
        addresses = [str(info[4][0]) for info in answer]
        if not addresses:
            return Answer(verdict=Verdict.FAIL, sign="expect", text=f"{params.name} has no {kind} record")
        found += addresses
    missing = {_plain(text) for text in params.expect} - {_plain(text) for text in found}
    shown = f"{params.name} is {', '.join(dict.fromkeys(found))}"
    if missing:
        return Answer(verdict=Verdict.FAIL, sign="expect", text=f"{shown}; expected {', '.join(sorted(missing))} too")
    return Answer(verdict=Verdict.PASS, text=shown)


def _plain(address: str) -> str:
    """One spelling for one address: IPv6 has many."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return address
