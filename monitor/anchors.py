"""The anchors: places that answer while our own network is well, asked only when services seem to vanish.

Nothing is sent while all is well. A run that waited in vain, with nothing else on its side of the network seen to
answer meanwhile, has the anchors of that side asked, all at once: a bare connection, or a DNS question for a resolver.
Whatever comes back, a refusal too, is an answer.
"""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

from config.alert_settings import Anchor
from config.checks import BackupsParams, DnsParams
from config.service_tables import address_of
from config.services import Check, Service
from monitor.vantage import Side, Witness, side_of
from monitor.wire import connect

DEADLINE = 2.0  # seconds an anchor has
REST = 5.0  # seconds from one asking of a side's anchors to the next; what was said counts until then
AGAIN = 0.8  # seconds after which a DNS question is put once more: one datagram may be lost
SERVICES_ASKED = 8  # other services that stand in as anchors of their side; a sample will do
DNS_PORT = 53
RESOLV_CONF = Path("/etc/resolv.conf")


class Said(Enum):
    """What became of asking one anchor."""

    ANSWERED = "answered"
    SILENT = "silent"
    NOTHING = "nothing"  # proves neither: there is no such name


def nameservers(resolv_conf: Path = RESOLV_CONF) -> tuple[Anchor, ...]:
    """The resolvers of the private network that this machine is told to use; one on this very machine proves nothing.

    A file that cannot be read has none.
    """
    try:
        lines = resolv_conf.read_text(errors="replace").splitlines()
    except OSError:
        return ()
    words = (line.split() for line in lines)
    hosts = dict.fromkeys(line[1] for line in words if len(line) > 1 and line[0] == "nameserver")
    return tuple(Anchor(host=host, port=DNS_PORT, inside=True) for host in hosts if side_of(host) == Side.INSIDE)


def stand_ins(services: Iterable[Service], most: int = SERVICES_ASKED) -> tuple[Anchor, ...]:
    """The watched services as anchors, one an address and at most `most` of each side."""
    found: dict[Side, dict[tuple[str, int], Anchor]] = {side: {} for side in Side}
    for service in services:
        for check in () if service.paused else service.checks:
            host, port = target(check)
            side = side_of(host)
            if port and side != Side.HERE:
                found[side][host, port] = Anchor(host=host, port=port, inside=side == Side.INSIDE)
    return tuple(anchor for side in found.values() for anchor in list(side.values())[:most])


def target(check: Check) -> tuple[str, int]:
    """Host and port a check looks at; port 0 where it has none, and no host for what is no place in the network."""
    if isinstance(check.params, BackupsParams):
        return "", 0
    text = address_of(check.params)
    if isinstance(check.params, DnsParams):
        return text, 0
    parts = urlsplit(text if "://" in text else f"//{text}")
    return parts.hostname or "", parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)


@dataclass(slots=True)
class _Round:
    """One asking of all anchors of a side."""

    began: float
    tasks: dict[asyncio.Task[Said], Anchor]


class Anchors:
    """Asks anchors. `deadline` and `rest` are seconds, `dns_port` the port that is asked in DNS' own words.

    Belongs to one event loop; what it is asked at the same time shares one asking.
    """

    def __init__(
        self, anchors: Sequence[Anchor], *, deadline: float = DEADLINE, rest: float = REST, dns_port: int = DNS_PORT
    ) -> None:
        self._anchors = {
            Side.INSIDE: [anchor for anchor in anchors if anchor.inside],
            Side.OUTSIDE: [anchor for anchor in anchors if not anchor.inside],
        }
        self._deadline = deadline
        self._rest = rest
        self._dns_port = dns_port
        self._rounds: dict[Side, _Round] = {}

    def of(self, side: Side) -> Sequence[Anchor]:
        """The anchors of one side."""
        return self._anchors.get(side, ())

    async def ask(self, side: Side, *, besides: str = "") -> Witness:
        """Who of that side answers now; returns with the first that does, at the latest after the deadline.

        Anchors on host `besides` have no say: that is what is being asked about.
        """
        tasks = {task: anchor for task, anchor in self._asking(side).items() if not besides or anchor.host != besides}
        waiting = set(tasks)
        while waiting:
            done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if task.result() == Said.ANSWERED:
                    return Witness(answered=spell(tasks[task]))
        return Witness(silent=[spell(anchor) for task, anchor in tasks.items() if task.result() == Said.SILENT])

    def _asking(self, side: Side) -> dict[asyncio.Task[Said], Anchor]:
        """The newest asking if it is new enough, else another one, begun now."""
        now = asyncio.get_running_loop().time()
        newest = self._rounds.get(side)
        if newest is None or now - newest.began >= max(self._rest, self._deadline):
            tasks = {asyncio.create_task(self._ask_one(anchor)): anchor for anchor in self.of(side)}
            newest = self._rounds[side] = _Round(now, tasks)
        return newest.tasks

    async def _ask_one(self, anchor: Anchor) -> Said:
        try:
            async with asyncio.timeout(self._deadline):
                if anchor.port == self._dns_port:
                    await question(anchor.host, anchor.port)
                else:
                    (await connect(anchor.host, anchor.port, timeout=self._deadline)).close()
        except ConnectionError:
            return Said.ANSWERED
        except socket.gaierror as error:
            return Said.NOTHING if error.errno == socket.EAI_NONAME else Said.SILENT
        except OSError:  # TimeoutError is one too
            return Said.SILENT
        except ValueError:  # a name that cannot be asked for
            return Said.NOTHING
        return Said.ANSWERED


async def question(host: str, port: int) -> None:
    """Asks a resolver for localhost, which it knows by itself, and returns when anything comes back. Raises OSError."""
    loop = asyncio.get_running_loop()
    family, kind, proto, _, address = (await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM))[0]
    with socket.socket(family, kind, proto) as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, address)
        asked = secrets.token_bytes(2) + bytes.fromhex("01000001000000000000") + b"\x09localhost\x00\x00\x01\x00\x01"
        while True:
            await loop.sock_sendall(sock, asked)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(AGAIN):
                    await loop.sock_recv(sock, 512)
                    return


def spell(anchor: Anchor) -> str:
    """An anchor as people write it."""
    return f"[{anchor.host}]:{anchor.port}" if ":" in anchor.host else f"{anchor.host}:{anchor.port}"
