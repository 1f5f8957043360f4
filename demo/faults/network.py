"""Rows of the matrix about addresses, names and ports."""

from collections.abc import Mapping

from config.causes import Cause
from demo.expectations import Expected, Told, down
from demo.faults.matrix import Play, Row, play

NAMED = ("chat-both", "chat-old", "chat-client", "chat-lost", "qdrant-moved")


def _named(name: str, not_up: Mapping[str, Told], shows: str) -> Play:
    uses = frozenset({"names"}) if name.partition("/")[0] in ("names", "chat-lost", "chat-client") else frozenset()
    return play(name, wanted=Expected(not_up=not_up, shows=shows), uses=uses)


NETWORK: tuple[Row, ...] = (
    Row(
        number=22,
        failure="A service listens on one kind of address, and is called over the other",
        plays=(
            _named("chat-both/four_only", down(Cause.IPV4_ONLY, "chat-both"), "listens on IPv4 alone"),
            _named("chat-old/four_only", down(Cause.REFUSED, "chat-old"), "over IPv6, the only kind"),
        ),
        apart="both kinds are tried: refused over the one and open over the other is no dead service. Where the name "
        "has IPv6 alone, as in older environments, that is said with the refusal",
    ),
    Row(
        number=23,
        failure="A client looks for IPv4 alone, and the name has IPv6 alone",
        plays=(_named("chat-client/six_only", down(Cause.IPV6_ONLY, "chat-client"), "IPv6 addresses only"),),
        apart="the service answers over IPv6, so neither it nor the names are at fault",
    ),
    Row(
        number=24,
        failure="A name is wrong, or no name is there",
        plays=(
            _named("chat-lost/name", down(Cause.DNS, "chat-lost"), "resolves"),
            _named("names/all", down(Cause.NO_NAMES, *NAMED), "name"),
        ),
        apart="other names of the same network are looked up: one that is missing alone is a typo",
    ),
    Row(
        number=25,
        failure="Another service, or nothing, is at the port",
        plays=(
            play("LITELLM_URL names a port where nobody listens"),
            _named("qdrant-moved/port", down(Cause.WRONG_PORT, "qdrant-moved"), "6333"),
            play("QDRANT_URL holds the address of ClickHouse"),
            play("QDRANT_GRPC_URL holds the address of Qdrant's HTTP port"),
            play("OPEN_WEBUI_URL holds the address of the React client"),
            play("REDIS_URL holds the address of PostgreSQL"),
        ),
        apart="each service is known by what only it says; where nobody listens, its usual port is tried",
    ),
    Row(
        number=26,
        failure="TLS is asked of a server that speaks plain text",
        plays=(
            play("API_GATEWAY_URL says https"),
            play("REDIS_URL says rediss"),
            play("CLICKHOUSE_URL says https"),
        ),
        apart="the same port answers in plain text",
    ),
)
