"""The lookout: says of every outcome whether we could look, and of the whole whether we are blind.

It holds what is remembered of every look, and asks the anchors where an outcome leaves no other way to tell.
"""

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import structlog

from config.alert_settings import Anchor
from config.checks import DnsParams
from config.services import Check, Service
from monitor.anchors import DEADLINE, RESOLV_CONF, REST, Anchors, nameservers, stand_ins, target
from monitor.incidents import Blindness
from monitor.probes.base import Outcome, Sight
from monitor.sightings import Sightings
from monitor.vantage import Side, Witness, side_of, sign_at, wants_witness, weigh

NAMES_ASKED = 3  # other names that are looked up to tell a broken name from a broken resolver

log = structlog.get_logger()


class Lookout:
    """Says of every outcome whether we could look, and of the whole whether we are blind.

    `anchors` are ANCHORS'; none: only what each probe itself saw counts. Where none of them is inside, the private
    network's resolvers of `resolv_conf` are. With `ask_services` the other watched services are asked as well. Make it
    on the loop that the watch runs on.
    """

    def __init__(
        self,
        services: Sequence[Service],
        anchors: Sequence[Anchor],
        *,
        resolv_conf: Path = RESOLV_CONF,
        deadline: float = DEADLINE,
        rest: float = REST,
        ask_services: bool = True,
        is_ours: Callable[[str], bool] | None = None,
    ) -> None:
        if anchors and not any(anchor.inside for anchor in anchors):
            anchors = (*anchors, *nameservers(resolv_conf))
        if anchors and ask_services:
            anchors = tuple(dict.fromkeys((*anchors, *stand_ins(services))))
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
        self._cut: set[Side] = set()
        self._back: dict[Side, float] = {}

    async def weigh(self, service: Service, check: Check, outcome: Outcome, began: float) -> Outcome:
        """Given what `vantage.look` made of a run that began at `began` (loop's clock), gives what may be judged.

        Takes as long as asking the anchors does, and only when the run leaves no other way to tell.
        """
        host, _ = target(check)
        if not host or outcome.evidence.sight == Sight.NOT_ASKED:
            return outcome
        side, raw = self._side(host, outcome.evidence.address), outcome.evidence.sight
        before = self._sightings.raw(service.name, check.name)
        if self._quorum and side != Side.HERE and wants_witness(outcome, before):
            witness = await self._witness(side, host, outcome, began)
            self._notice(side, witness)
            outcome = weigh(outcome, witness, cut_meanwhile=began < self._back.get(side, began))
        at = asyncio.get_running_loop().time()
        # A name that resolves proves a resolver, which may be on this very machine.
        sign = None if isinstance(check.params, DnsParams) else sign_at(raw, began, at)
        if sign is not None:
            self._notice(side, Witness(answered=service.name))
        self._sightings.note(service.name, check.name, side, raw, outcome, at, sign)
        return outcome

    def _notice(self, side: Side, witness: Witness) -> None:
        """Remembers when a side that was cut off came back: what began before that may have waited for nothing."""
        if witness.answered and side in self._cut:
            self._cut.discard(side)
            self._back[side] = asyncio.get_running_loop().time()
        elif witness.silent and not witness.answered:
            self._cut.add(side)

    def blindness(self, unknown: Iterable[str] = ()) -> Blindness | None:
        """Whether we cannot look just now, and since when (loop's clock); None while we can.

        `unknown` are the services that the judge holds unknown for any cause but that they are starting. Costs about a
        millisecond for a thousand services: ask once a second. A change is logged.
        """
        blind = self._sightings.blindness(unknown, asyncio.get_running_loop().time())
        if blind and (not self._blind or self._blind.partly != blind.partly):
            event = "partly_blind" if blind.partly else "blind"
            log.warning(event, says=blind.sentence, evidence=blind.evidence, remedy=blind.remedy)
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
