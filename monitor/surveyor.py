"""The surveyor: has the ways to a service looked at when a check of it failed, and now and then while it is well.

A failed run that never got to the service's own answer is given the network truth (`monitor.truth`) as evidence, so
that diagnose can tell an address of the wrong kind, a wrong port or a missing name from a service that is down. One
that passed tells, as the fact `reached_over`, by which kinds of address the service can be reached.
"""

import asyncio
import math
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace

import structlog

from config.checks import (
    ClickhouseParams,
    DnsParams,
    GrpcParams,
    HttpParams,
    PostgresParams,
    RedisParams,
    S3Params,
    TlsParams,
)
from config.fields import Family
from config.kinds import PLAIN, Params
from config.presets import presets
from config.services import Check, Service
from monitor.anchors import target
from monitor.lookout import named
from monitor.probes.base import Outcome, ProbeContext, Sight, Verdict, clean
from monitor.truth import DEADLINE, look
from monitor.vantage import Side, side_of
from monitor.ways import REACHED_OVER, Finding, NetworkTruth, Speech

log = structlog.get_logger()

Weigh = Callable[[Service, Check, Outcome, float], Awaitable[Outcome]]

REST = 60.0  # seconds from one look at a target that fails to the next
WELL_REST = 300.0  # seconds from one look at a target that is well to the next
SLEEPS_AFTER = 600.0  # seconds that nobody asked, after which a platform lets a service sleep
AT_ONCE = 24  # looks under way: four sockets and two look-ups each, which the probes must not miss
NAMES_ASKED = 3  # other names that are looked up where one does not resolve

# What the network itself said; whatever got an answer in its own protocol needs no look at the ways there.
_LOOKS = frozenset({Sight.REFUSED, Sight.RESET, Sight.NO_NAME, Sight.NO_CONNECT, Sight.GARBLED, Sight.TLS})
# How a service that sleeps meets the first question: nobody listens yet, or the platform's edge answers for it.
_ASLEEP = frozenset({Sight.REFUSED, Sight.RESET, Sight.NO_CONNECT})
_EDGE = re.compile("application (failed to respond|not found)", re.IGNORECASE)
# Their handshake was spoken, and says by itself what is wrong.
_TOLD_BY_TLS = frozenset(
    {"expired", "not_yet_valid", "wrong_name", "untrusted", "self_signed", "not_tls", "tls_port", "no_tls", "insecure"}
)


def _usual_port(service: Service) -> int:
    """The port of the service's preset, 0 where it has none."""
    preset = presets().get(service.kind)
    return preset.port if preset else 0


class _Busy(Exception):  # noqa: N818 -- no error: later is soon enough
    """As many looks are under way as there may be."""


class Surveyor:
    """Looks at the ways to services. Belongs to one event loop; `context` is what the probes share.

    `rest` and `well_rest` are seconds between two looks at one target, `deadline` those of one look. `usual_port`
    gives the port that a service of that kind has mostly, 0 for none.
    """

    def __init__(
        self,
        services: Iterable[Service],
        context: ProbeContext,
        *,
        rest: float = REST,
        well_rest: float = WELL_REST,
        deadline: float = DEADLINE,
        usual_port: Callable[[Service], int] = _usual_port,
    ) -> None:
        self._context = context
        self._rest = rest
        self._well_rest = well_rest
        self._deadline = deadline
        self._usual_port = usual_port
        self._places = {target(check) for service in services for check in service.checks if check.kind in PLAIN}
        hosts = {host for host, _ in self._places}
        self._names: Mapping[Side, list[str]] = {
            side: sorted(host for host in hosts if host and side_of(host) == side and named(host)) for side in Side
        }
        self._failing: set[tuple[str, str]] = set()
        self._recoveries: dict[tuple[str, int], int] = {}
        self._refused_since: dict[tuple[str, int], float] = {}
        self._well_at: dict[tuple[str, int], float] = {}
        self._looking = 0
        self._asked_at: dict[tuple[str, int], float] = {}

    async def look(
        self, service: Service, check: Check, *, listen: bool = False, well: bool = False
    ) -> NetworkTruth | None:
        """Looks now at every way to where `check` looks; None for what is no place in the network.

        `listen`: a port that opens is also asked what it speaks. `well`: it answers, so that no other port is tried.
        Takes 2.5 s at most.
        """
        host, port = target(check)
        if not host or host.startswith(("/", "@")):
            return None
        side = side_of(host)
        # At a bare address, or under a name that another watched service has too, that port may be somebody else's.
        usual = self._usual_port(service) if port and side == Side.INSIDE and named(host) else 0
        self._looking += 1
        try:
            found = await look(
                host,
                port,
                context=self._context,
                asked=asked(check.params),
                wanted=wanted(check.params),
                listen=listen,
                usual_port=0 if well or (host, usual) in self._places else usual,
                others=[name for name in self._names[side] if name != host][:NAMES_ASKED],
                deadline=self._deadline,
            )
        finally:
            self._looking -= 1
        return replace(found, refused_for=self._refused_for((host, port)))

    async def survey(self, service: Service, check: Check, outcome: Outcome) -> Outcome:
        """Gives the outcome with what is known of the network: the truth where it failed, the fact where it is well.

        At most once a minute for one target, however many checks it has, the ways there are looked at anew.
        Raises nothing but CancelledError.
        """
        try:
            return await self._survey(service, check, outcome)
        except Exception:  # the outcome is known without it: a fault of ours here must not end the watch
            log.exception("survey_failed", service=service.name, check=check.name)
            return outcome

    async def _survey(self, service: Service, check: Check, outcome: Outcome) -> Outcome:
        if check.kind not in PLAIN:
            return outcome
        place = target(check)
        self._count(service, check, outcome)
        if outcome.verdict == Verdict.PASS:
            return await self._well(service, check, outcome)
        seen = outcome.evidence
        # Some wait in silence for the rest of what they do not understand. Over HTTP that is a server which hangs.
        waits = seen.sight == Sight.NO_ANSWER and (seen.code == "tls" or check.kind in ("redis", "postgres"))
        told = seen.code in _TOLD_BY_TLS or "_alert_" in seen.code
        if outcome.verdict != Verdict.FAIL or told or not (seen.sight in _LOOKS or waits):
            return outcome
        listen = waits or seen.sight in (Sight.RESET, Sight.GARBLED, Sight.TLS)
        kept = (
            place,
            service.kind,
            asked(check.params),
            wanted(check.params),
            seen.sight,
            self._recoveries.get(place, 0),
        )

        async def ask() -> NetworkTruth | None:
            if self._looking >= AT_ONCE:
                raise _Busy
            return await self.look(service, check, listen=listen)

        try:
            truth = await self._context.shared(("network", kept), ask, self._rest)
        except _Busy:
            return outcome  # the next run of it will have its look
        if truth is None:
            return outcome
        truth = replace(truth, refused_for=self._refused_for(place))
        # Where it shows no more than the probe saw, it would only make a message longer.
        more = truth.findings - {Finding.IPV4_NAME} or len({way.reach for way in truth.ways if way.addresses}) > 1
        text = clean(f"{seen.text}; {truth.summary()}") if more else seen.text
        return replace(outcome, evidence=replace(seen, network=truth, text=text))

    def beside(self, weigh: Weigh) -> Weigh:
        """Gives what surveys an outcome while `weigh` (Lookout.weigh) weighs it: neither waits for the other.

        A first failure after ten minutes in which nobody asked is unknown: a service that slept wakes by it, and the
        watch asks again at once. A second one counts.
        """

        async def both(service: Service, check: Check, outcome: Outcome, began: float) -> Outcome:
            slept = self._rested(check, began) >= SLEEPS_AFTER
            weighed, surveyed = await asyncio.gather(
                weigh(service, check, outcome, began), self.survey(service, check, outcome)
            )
            found = surveyed.evidence
            if slept and weighed.verdict == Verdict.FAIL and _may_sleep(weighed):
                text = f"{weighed.evidence.text}; nobody had asked it for ten minutes"
                asleep = replace(weighed.evidence, sight=Sight.WAKING, text=text)
                return replace(weighed, verdict=Verdict.UNKNOWN, evidence=asleep)
            if weighed.verdict != Verdict.FAIL or found.network is None or weighed.evidence.sight != found.sight:
                return replace(weighed, facts=surveyed.facts)
            return replace(weighed, evidence=replace(weighed.evidence, network=found.network, text=found.text))

        return both

    def _rested(self, check: Check, began: float) -> float:
        """Seconds for which no check had asked its target when this run began; 0 for the first one."""
        place = target(check)
        before = self._asked_at.get(place, began)
        self._asked_at[place] = asyncio.get_running_loop().time()
        return began - before

    def _count(self, service: Service, check: Check, outcome: Outcome) -> None:
        """Notes since when a target does nothing but refuse, and when it is well again: it is looked at anew then."""
        place, who = target(check), (service.name, check.name)
        if outcome.verdict == Verdict.UNKNOWN or not outcome.available:
            return
        if outcome.evidence.sight == Sight.REFUSED:
            self._refused_since.setdefault(place, asyncio.get_running_loop().time())
        else:
            self._refused_since.pop(place, None)
        if outcome.verdict == Verdict.FAIL:
            self._failing.add(who)
        elif who in self._failing:
            self._failing.discard(who)
            self._recoveries[place] = self._recoveries.get(place, 0) + 1

    def _refused_for(self, place: tuple[str, int]) -> float:
        now = asyncio.get_running_loop().time()
        return now - self._refused_since.get(place, now)

    async def _well(self, service: Service, check: Check, outcome: Outcome) -> Outcome:
        """The fact of by what it is reached, where it has a name and it is time to look."""
        host, port = place = target(check)
        now = asyncio.get_running_loop().time()
        if not port or side_of(host) == Side.HERE or not named(host) or not outcome.available:
            return outcome
        if now - self._well_at.get(place, -math.inf) < self._well_rest or self._looking >= AT_ONCE:
            return outcome
        self._well_at[place] = now
        truth = await self.look(service, check, well=True)
        over = truth.reached_over() if truth else ""
        facts = {**outcome.facts, REACHED_OVER: over} if over else outcome.facts
        return replace(outcome, facts=facts, evidence=replace(outcome.evidence, network=truth))


def _may_sleep(outcome: Outcome) -> bool:
    """Whether a service that sleeps is met like this."""
    return outcome.evidence.sight in _ASLEEP or answered_by_edge(outcome)


def answered_by_edge(outcome: Outcome) -> bool:
    """Whether the platform's edge answered for a service: one that sleeps is woken by the question."""
    seen = outcome.evidence
    said = seen.sight == Sight.ANSWERED and seen.code in ("404", "502", "503")
    return said and _EDGE.search(seen.text) is not None


def asked(params: Params) -> Family:
    """The kind of address that a check asks for."""
    if isinstance(params, DnsParams):
        return "any" if len(params.types) != 1 else "ipv4" if params.types[0] == "A" else "ipv6"
    family: Family = getattr(params, "family", "any")
    return family


def wanted(params: Params) -> Speech | None:
    """What a check speaks; None where it says nothing of its own."""
    match params:
        case HttpParams(url=url) | ClickhouseParams(url=url) | S3Params(url=url):
            return Speech.TLS if url.lower().startswith("https:") else Speech.HTTP
        case RedisParams(tls=tls):
            return Speech.TLS if tls else Speech.REDIS
        case GrpcParams(tls=tls):
            return Speech.TLS if tls else Speech.GRPC
        case PostgresParams():
            return Speech.POSTGRES
        case TlsParams(starttls=starttls):
            return Speech.TLS if starttls == "none" else Speech.POSTGRES
    return None
