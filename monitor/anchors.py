"""The anchors: places that answer while our own network is well, asked only when services seem to vanish.

Nothing is sent while all is well. A run that waited in vain, with nothing else on its side of the network seen to
answer meanwhile, has the anchors of that side asked, all at once: a bare connection, or a DNS question for a resolver.
Whatever comes back, a refusal too, is an answer.
"""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

import structlog

from config.alert_settings import Anchor
from config.checks import BackupsParams, DnsParams
from config.service_tables import address_of
from config.services import Check, Service
from monitor.incidents import Blindness
from monitor.probes.base import Outcome, Sight
from monitor.vantage import Side, Sightings, Witness, side_of, sign_at, wants_witness, weigh
from monitor.wire import connect

DEADLINE = 2.0  # seconds an anchor has
REST = 5.0  # seconds from one asking of a side's anchors to the next; what was said counts until then
AGAIN = 0.8  # seconds after which a DNS question is put once more: one datagram may be lost
SERVICES_ASKED = 8  # other services that stand in as anchors of the private network; a sample will do
NAMES_ASKED = 3
DNS_PORT = 53
RESOLV_CONF = Path("/etc/resolv.conf")

log = structlog.get_logger()


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


def stand_ins(services: Iterable[Service]) -> tuple[Anchor, ...]:
    """The watched services of the private network as anchors of it, one an address."""
    found: dict[tuple[str, int], Anchor] = {}
    for service in services:
        for check in () if service.paused else service.checks:
            host, port = target(check)
            if port and side_of(host) == Side.INSIDE:
                found[host, port] = Anchor(host=host, port=port, inside=True)
    return tuple(found.values())


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


class Lookout:
    """Says of every outcome whether we could look, and of the whole whether we are blind.

    `anchors` are ANCHORS'; none: only what each probe itself saw counts. Where none of them is inside, the private
    network's resolvers of `resolv_conf` are its anchors, and the other watched services in it. Make it on the loop
    that the watch runs on.
    """

    def __init__(
        self,
        services: Sequence[Service],
        anchors: Sequence[Anchor],
        *,
        resolv_conf: Path = RESOLV_CONF,
        deadline: float = DEADLINE,
        rest: float = REST,
        is_ours: Callable[[str], bool] | None = None,
    ) -> None:
        if anchors and not any(anchor.inside for anchor in anchors):
            anchors = (*anchors, *nameservers(resolv_conf), *stand_ins(services)[:SERVICES_ASKED])
        self._anchors = Anchors(anchors, deadline=deadline, rest=rest)
        self._deadline = deadline
        self._is_ours = is_ours or ours
        hosts = {host for service in services for check in service.checks if (host := target(check)[0])}
        hosts |= {anchor.host for anchor in anchors}
        self._names = {side: sorted(host for host in hosts if side_of(host) == side and named(host)) for side in Side}
        self._quorum = bool(anchors)
        rounds = {
            service.name: min(check.interval + check.timeout for check in service.checks)
            for service in services
            if service.checks
        }
        self._sightings = Sightings(began=asyncio.get_running_loop().time(), rounds=rounds)
        self._blind: Blindness | None = None

    async def weigh(self, service: Service, check: Check, outcome: Outcome, began: float) -> Outcome:
        """Given what `vantage.look` made of a run that began at `began` (loop's clock), gives what may be judged.

        Takes as long as asking the anchors does, and only when the run leaves no other way to tell.
        """
        host, _ = target(check)
        if not host:
            return outcome
        side, raw = self._side(host, outcome.evidence.address), outcome.evidence.sight
        before = self._sightings.raw(service.name, check.name)
        if self._quorum and side != Side.HERE and wants_witness(outcome, before):
            outcome = weigh(outcome, await self._witness(side, host, outcome, began))
        at = asyncio.get_running_loop().time()
        # A name that resolves proves a resolver, which may be on this very machine.
        sign = None if isinstance(check.params, DnsParams) else sign_at(raw, began, at)
        self._sightings.note(service.name, check.name, side, raw, outcome, at, sign)
        return outcome

    def blindness(self, unknown: Iterable[str] = ()) -> Blindness | None:
        """Whether we cannot look just now, and since when (loop's clock); None while we can.

        `unknown` are the services that the judge holds unknown for any cause but that they are starting. Costs about a
        millisecond for a thousand services: ask once a second. A change is logged.
        """
        blind = self._sightings.blindness(unknown, asyncio.get_running_loop().time())
        if blind and not self._blind:
            log.warning("blind", says=blind.sentence, evidence=blind.evidence, remedy=blind.remedy)
        elif self._blind and not blind:
            log.info("sees_again")
        self._blind = blind
        return blind

    def _side(self, host: str, dialled: str) -> Side:
        """Where the host is: by the address that was dialled, where one was; by its name otherwise."""
        address = dialled.rpartition(":")[0].strip("[]") or dialled or host
        side = side_of(address)
        return Side.HERE if side == Side.INSIDE and self._is_ours(address) else side

    async def _witness(self, side: Side, host: str, outcome: Outcome, began: float) -> Witness:
        if outcome.evidence.sight == Sight.NO_RESOLVER:
            return await self._name_witness(side, host)
        if name := self._sightings.sign(side, began):
            return Witness(answered=name)
        witness = await self._anchors.ask(side, besides=host)
        # While the anchors were asked another service may have answered.
        return (
            witness if witness.answered else Witness(answered=self._sightings.sign(side, began), silent=witness.silent)
        )

    async def _name_witness(self, side: Side, host: str) -> Witness:
        """Another name of that side that can be looked up now; outside, only while the internet is there as well."""
        names = [name for name in self._names[side] if name != host][:NAMES_ASKED]
        found = await asyncio.gather(*(self._finds(name) for name in names))
        name = next((name for name, ok in zip(names, found, strict=True) if ok), "")
        if not name or (side == Side.OUTSIDE and not (await self._anchors.ask(side)).answered):
            return Witness()
        return Witness(answered=name)

    async def _finds(self, name: str) -> bool:
        try:
            async with asyncio.timeout(self._deadline):
                await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except (OSError, ValueError):
            return False
        return True


def named(host: str) -> bool:
    """Whether a host is written as a name."""
    try:
        socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except OSError:
        return True
    return False


def ours(address: str) -> bool:
    """Whether an address is one of this very machine's: then no network lies between it and us."""
    if named(address):
        return False  # binding to a name would look it up, and hold everything up meanwhile
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
    except OSError:
        return False
    return True
