"""The network truth about one port: what its name has, what each kind of address answers, what the port speaks.

Bounded: one look-up and one connection for each kind of address, all at once, within a deadline; up to four short
connections more where the port opens and did not answer in its protocol. Who calls sees to it that this is not done
often: `monitor.surveyor` does it once a minute while a service is not up.
"""

import asyncio
import errno
import re
import socket
import ssl
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

from config.fields import Family
from monitor.probes.base import ProbeContext
from monitor.ways import NetworkTruth, Reach, Records, Speech, Way
from monitor.wire import secure

DEADLINE = 1.5  # seconds for the look-ups and the connections; a lost first packet is sent again after one
SPEECH_DEADLINE = 1.0  # seconds for what the port speaks

_KINDS: dict[Literal["IPv4", "IPv6"], socket.AddressFamily] = {"IPv4": socket.AF_INET, "IPv6": socket.AF_INET6}
_NO_RECORD = {getattr(socket, name) for name in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY") if hasattr(socket, name)}


async def look(
    host: str,
    port: int,
    *,
    context: ProbeContext,
    asked: Family = "any",
    wanted: Speech | None = None,
    listen: bool = False,
    usual_port: int = 0,
    others: Collection[str] = (),
    deadline: float = DEADLINE,
) -> NetworkTruth:
    """Looks at every way to `host` and `port` now; with port 0 at its name alone. Raises nothing but CancelledError.

    `asked` and `wanted` are what the check asks for (see NetworkTruth). With `listen`, a port that opens is asked in
    other protocols than `wanted` what it speaks. `usual_port` is tried as well, and told of where it alone opens or
    what was wanted is not what `port` speaks. `others` are names of the same network, looked up when `host` does not
    resolve. Takes `deadline` seconds at most, and SPEECH_DEADLINE more where there is something to listen for.
    """
    seen = await asyncio.gather(*(_seen(host, port, kind, usual_port, deadline) for kind in _KINDS))
    seen = [one for one in seen if one.way.records != Records.NONE or not _literal(host)]
    opened = [one for one in seen if one.way.reach == Reach.OPENS]
    speech = None
    if listen and opened:
        speech = await _speech(host, opened[0].dialled, wanted, context)
    usual = usual_port if any(one.usual for one in seen) and (not opened or speech not in (None, wanted)) else 0
    resolves, lost = "", tuple[str, ...]()
    if not _literal(host) and all(one.way.records == Records.NONE for one in seen):
        resolves, lost = await _others(others, deadline)
    return NetworkTruth(
        host=host,
        port=port,
        ways=tuple(one.way for one in seen),
        asked=asked,
        wanted=wanted,
        speech=speech,
        usual_port=usual,
        resolves=resolves,
        lost=lost,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """One kind of address: the way there, the socket address that was dialled, and whether the usual port opens."""

    way: Way
    dialled: tuple[Any, ...] = ()
    usual: bool = False


def _literal(host: str) -> bool:
    """Whether a host is written as an address."""
    try:
        socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False
    return True


async def _seen(host: str, port: int, kind: Literal["IPv4", "IPv6"], usual_port: int, deadline: float) -> _Seen:
    """One kind of address, within `deadline` seconds."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(deadline):
            found = await loop.getaddrinfo(host, port, family=_KINDS[kind], type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return _Seen(way=Way(kind=kind, records=Records.NONE if error.errno in _NO_RECORD else Records.SILENT))
    except UnicodeError:  # a name that cannot be written in DNS
        return _Seen(way=Way(kind=kind, records=Records.NONE))
    except OSError:  # TimeoutError is one too
        return _Seen(way=Way(kind=kind, records=Records.SILENT))
    addresses = tuple(dict.fromkeys(str(info[4][0]) for info in found))
    dialled = found[0][4]
    if not port:
        return _Seen(way=Way(kind=kind, records=Records.FOUND, addresses=addresses), dialled=dialled)
    left = deadline - (loop.time() - began)
    tries = [_connect(dialled, port, left)]
    if usual_port not in (0, port):
        tries.append(_connect(dialled, usual_port, left))
    (reach, seconds), *usual = await asyncio.gather(*tries)
    way = Way(kind=kind, records=Records.FOUND, addresses=addresses, reach=reach, ms=seconds * 1000)
    return _Seen(way=way, dialled=dialled, usual=any(reach == Reach.OPENS for reach, _ in usual))


async def _connect(address: tuple[Any, ...], port: int, deadline: float) -> tuple[Reach, float]:
    """What becomes of connecting to an address at `port`, and the seconds that took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    try:
        async with asyncio.timeout(deadline):
            (await _open(address, port)).close()
        reach = Reach.OPENS
    except ConnectionRefusedError:
        reach = Reach.REFUSED
    except ConnectionError:
        reach = Reach.RESET
    except OSError as error:
        silent = isinstance(error, TimeoutError) or error.errno in (errno.EHOSTUNREACH, errno.EHOSTDOWN)
        reach = Reach.SILENT if silent else Reach.NO_ROUTE
    return reach, loop.time() - began


async def _open(address: tuple[Any, ...], port: int) -> socket.socket:
    """A connection to an address at `port`. Raises OSError."""
    sock = socket.socket(socket.AF_INET6 if len(address) == 4 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, (address[0], port, *address[2:]))
    except BaseException:
        sock.close()
        raise
    return sock


async def _others(names: Collection[str], deadline: float) -> tuple[str, tuple[str, ...]]:
    """The first of `names` that resolves, and those of which the resolver says that they do not exist."""
    found = await asyncio.gather(*(_exists(name, deadline) for name in names))
    said = list(zip(names, found, strict=True))
    return next((name for name, there in said if there), ""), tuple(name for name, there in said if there is False)


async def _exists(name: str, deadline: float) -> bool | None:
    try:
        async with asyncio.timeout(deadline):
            await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return False if error.errno in _NO_RECORD else None
    except (OSError, UnicodeError):
        return None
    return True


# What is said first in a protocol; PostgreSQL's is an SSLRequest, which is answered by one byte, S or N. Nothing is
# changed by it; a server that speaks something else notes a bad beginning in its log at most.
_OPENINGS: dict[Speech, bytes] = {
    Speech.HTTP: b"OPTIONS * HTTP/1.0\r\n\r\n",
    Speech.REDIS: b"PING\r\n",
    Speech.POSTGRES: b"\x00\x00\x00\x08\x04\xd2\x16\x2f",
}
_REDIS = re.compile(rb"\+PONG\r\n|-[A-Z]{2,20} ")


async def _speech(host: str, address: tuple[Any, ...], wanted: Speech | None, context: ProbeContext) -> Speech | None:
    """What the port at an address speaks that opens: what answers to the first words of another protocol.

    What is wanted is not asked for, since that was done. The first that is recognised counts.
    """
    asks = [_hear(address, words) for speech, words in _OPENINGS.items() if speech != wanted]
    if wanted != Speech.TLS:
        asks.append(_hear_tls(host, address, context))
    tasks = [asyncio.ensure_future(ask) for ask in asks]
    try:
        for one in asyncio.as_completed(tasks):
            if (speech := await one) is not None:
                return speech
        return None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _hear(address: tuple[Any, ...], words: bytes) -> Speech | None:
    """Says `words` and gives what protocol the first bytes that come back are of."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(SPEECH_DEADLINE):
            sock = await _open(address, address[1])
            with sock:
                await loop.sock_sendall(sock, words)
                return recognise(await loop.sock_recv(sock, 512))
    except OSError:
        return None


async def _hear_tls(host: str, address: tuple[Any, ...], context: ProbeContext) -> Speech | None:
    """Whether the port speaks TLS: shakes hands, or refuses to in TLS' own words."""
    try:
        async with asyncio.timeout(SPEECH_DEADLINE):
            sock = await _open(address, address[1])
            (await secure(sock, context.tls(verify=False), host)).close()
    except ssl.SSLError as error:
        return Speech.TLS if "ALERT" in (error.reason or "") else None
    except (OSError, ValueError):
        return None
    return Speech.TLS


def recognise(data: bytes) -> Speech | None:
    """The protocol that an answer's first bytes are of; None for what is not known. Pure."""
    if data.startswith(b"HTTP/"):
        return Speech.HTTP
    if data[:2] == b"\x15\x03":
        return Speech.TLS
    if data[:1] == b"\x00" and data[3:5] == b"\x04\x00":
        return Speech.GRPC
    if _REDIS.match(data):
        return Speech.REDIS
    return Speech.POSTGRES if data in (b"S", b"N") else None
