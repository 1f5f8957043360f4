"""What is known of the ways to a port: by which kind of address it can be found and reached. Values alone.

`monitor.truth` looks, `Evidence.network` carries what it saw, and the tables of `monitor.diagnose` tell causes by it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from config.fields import Family

REACHED_OVER = "reached_over"  # the fact by which kinds of address a service can be reached
# That fact where a name has no address of the other kind.
NAMED_ONLY = {
    "IPv4": "IPv4 only: its name has no IPv6 address",
    "IPv6": "IPv6 only: its name has no IPv4 address",
}
REFUSED_LONG = 600.0  # seconds of nothing but refusals, after which nobody is about to start it again


class Records(StrEnum):
    """What the resolver says of one kind of address."""

    FOUND = "found"
    NONE = "none"  # it answered: there is no such record
    SILENT = "silent"  # it did not answer


class Reach(StrEnum):
    """What became of connecting to one address."""

    OPENS = "opens"
    REFUSED = "refused"
    RESET = "reset"
    SILENT = "silent"  # no answer in time: filtered, or nobody there
    NO_ROUTE = "no_route"  # our own network does not carry it, which proves nothing of the far side
    NOT_TRIED = "not_tried"


class Speech(StrEnum):
    """What a port speaks."""

    HTTP = "http"
    TLS = "tls"
    GRPC = "grpc"  # HTTP/2 in plain
    POSTGRES = "postgres"
    REDIS = "redis"


class Finding(StrEnum):
    """What the ways to a port prove. Several may hold at once."""

    IPV6_LISTENER = "ipv6_listener"  # asked over IPv4, which does not connect while IPv6 does
    IPV4_LISTENER = "ipv4_listener"
    IPV6_NAME = "ipv6_name"  # the name has no IPv4 address
    IPV4_NAME = "ipv4_name"
    IPV6_WANTED = "ipv6_wanted"  # an address of the kind that was asked for is not in its name
    IPV4_WANTED = "ipv4_wanted"
    LONE_NAME = "lone_name"  # it does not resolve, while others of the same network do
    NO_NAMES = "no_names"  # it does not resolve, nor does any other name of the same network
    NEVER_BACK = "never_back"  # it has refused for REFUSED_LONG
    USUAL_PORT = "usual_port"  # the port that is usual for such a service takes connections there, this one does not
    SPEAKS_TLS = "speaks_tls"
    SPEAKS_PLAIN = "speaks_plain"
    SPEAKS_OTHER = "speaks_other"  # a protocol in plain text that was not asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One kind of address: what the name has of it, and what became of connecting to the first of them.

    `ms` is what that took, milliseconds.
    """

    kind: Literal["IPv4", "IPv6"]
    records: Records
    addresses: tuple[str, ...] = ()
    reach: Reach = Reach.NOT_TRIED
    ms: float = 0.0

    def line(self) -> str:
        """It in words: "IPv6 fd12::9: refused after 0.4 ms"."""
        if self.records != Records.FOUND:
            silent = self.records == Records.SILENT
            return f"{self.kind}: {'the resolver does not answer' if silent else 'the name has no such address'}"
        said = {
            Reach.NOT_TRIED: "",
            Reach.OPENS: f": takes connections, in {self.ms:.1f} ms",
            Reach.SILENT: f": no answer in {self.ms / 1000:.1f} s",
            Reach.NO_ROUTE: ": no route from here",
        }
        more = said.get(self.reach, f": {self.reach.value} after {self.ms:.1f} ms")
        return f"{self.kind} {', '.join(self.addresses)}{more}"


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkTruth:
    """What was seen of the ways to `host` and `port`; port 0: only its name was looked up.

    `asked` is the kind of address the check wants, `wanted` what it speaks. `speech` is what the port was found to
    speak, None where nothing was recognised or nobody asked. `usual_port` is the one usual for such a service, if it is
    another one and takes connections. `resolves` is another watched name of the same network that resolves; `lost` are
    those that were asked and do not. `refused_for` is seconds.
    """

    host: str
    port: int
    ways: tuple[Way, ...]
    asked: Family = "any"
    wanted: Speech | None = None
    speech: Speech | None = None
    usual_port: int = 0
    resolves: str = ""
    lost: tuple[str, ...] = ()
    refused_for: float = 0.0

    def way(self, kind: Literal["IPv4", "IPv6"]) -> Way | None:
        """What was seen of one kind of address; None where the host is an address of the other kind."""
        return next((way for way in self.ways if way.kind == kind), None)

    @property
    def opens(self) -> tuple[Way, ...]:
        """The ways that take connections."""
        return tuple(way for way in self.ways if way.reach == Reach.OPENS)

    @property
    def findings(self) -> frozenset[Finding]:
        """What all this proves."""
        return frozenset(self._findings())

    def _findings(self) -> Iterator[Finding]:
        yield from self._of_families()
        if self.ways and all(way.records == Records.NONE for way in self.ways):
            if self.resolves:
                yield Finding.LONE_NAME
            elif self.lost:
                yield Finding.NO_NAMES
        if self.refused_for >= REFUSED_LONG:
            yield Finding.NEVER_BACK
        if self.usual_port:
            yield Finding.USUAL_PORT
        if self.speech is not None and self.speech != self.wanted:
            if self.speech == Speech.TLS:
                yield Finding.SPEAKS_TLS
            elif self.wanted == Speech.TLS:
                yield Finding.SPEAKS_PLAIN
            else:
                yield Finding.SPEAKS_OTHER

    def _of_families(self) -> Iterator[Finding]:
        four, six = self.way("IPv4"), self.way("IPv6")
        if not four or not six:
            return
        if (four.records, six.records) == (Records.NONE, Records.FOUND):
            yield Finding.IPV6_NAME
            if self.asked == "ipv4":
                yield Finding.IPV4_WANTED
        if (four.records, six.records) == (Records.FOUND, Records.NONE):
            yield Finding.IPV4_NAME
            if self.asked == "ipv6":
                yield Finding.IPV6_WANTED
        shut = (Reach.REFUSED, Reach.RESET, Reach.SILENT)
        # Who asks by any kind of address and failed did so before: that one opens by now proves nothing of the other.
        if self.asked == "ipv4" and six.reach == Reach.OPENS and four.reach in shut:
            yield Finding.IPV6_LISTENER
        if self.asked == "ipv6" and four.reach == Reach.OPENS and six.reach in shut:
            yield Finding.IPV4_LISTENER

    def reached_over(self) -> str:
        """By which kinds of address it can be reached, in words that last; "" where that cannot be told from here.

        Silence is not told: one lost packet would change it.
        """
        four, six = self.way("IPv4"), self.way("IPv6")
        if not four or not six:
            return ""
        for one, other in ((four, six), (six, four)):
            if one.reach != Reach.OPENS:
                continue
            if other.reach == Reach.OPENS:
                return "IPv4 and IPv6"
            if other.records == Records.NONE:
                return NAMED_ONLY[one.kind]
            if other.reach == Reach.REFUSED:
                return f"{one.kind} only: {other.kind} is refused"
        return ""

    def lines(self) -> tuple[str, ...]:
        """All of it for people, a line each."""
        found = [way.line() for way in self.ways]
        if self.speech is not None:
            found.append(f"the port speaks {NAMES[self.speech]}")
        if self.usual_port:
            found.append(f"port {self.usual_port}, the usual one, takes connections there")
        if self.resolves:
            found.append(f"{self.resolves} resolves")
        elif self.lost:
            found.append(f"nor does {' or '.join(self.lost)} resolve")
        if self.refused_for >= REFUSED_LONG:
            found.append(f"nothing but refusals for {self.refused_for / 60:.0f} min")
        return tuple(found)

    def summary(self) -> str:
        """All of it in one line."""
        return "; ".join(self.lines())


NAMES = {
    Speech.HTTP: "HTTP",
    Speech.TLS: "TLS",
    Speech.GRPC: "HTTP/2, as gRPC does",
    Speech.POSTGRES: "PostgreSQL's protocol",
    Speech.REDIS: "Redis' protocol",
}
