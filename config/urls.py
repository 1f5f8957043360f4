"""An address as people write it → its parts, or why it cannot be used.

Nothing here repeats what it was given: a password with an unescaped character may end up anywhere in a URL, so messages
speak of the shape alone. `urllib.parse` is used for percent-decoding only; its own errors quote their input.
"""

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from config.secret import Secret

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
AFTER_AUTHORITY = re.compile(r"[/?#].*", re.DOTALL)
SCHEME_WITHOUT_SLASHES = re.compile(
    r"(?:https?|rediss?|grpcs?|postgres(?:ql)?|clickhouse):/?(?!/)[^0-9]", re.IGNORECASE
)
HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?")
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}")

# Endings of names that exist only inside a private network.
PRIVATE_ENDINGS = (".internal", ".local", ".localhost", ".lan", ".svc", ".home.arpa")


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """How one kind of address is written: the schemes it may have and the ports that go without saying.

    `plain` is the scheme of a private address that names none, `public` that of a public name that names none.
    `aliases` are schemes that mean one of `schemes`. `wrong` tells what to do about a scheme people mix up with it.
    """

    noun: str
    schemes: tuple[str, ...]
    plain: str
    public: str
    example: str
    aliases: Mapping[str, str] = field(default_factory=dict)
    wrong: Mapping[str, str] = field(default_factory=dict)


NATIVE_CLICKHOUSE = "give the HTTP interface: http://host:8123"

FORMS: Mapping[str, Form] = {
    "http": Form(
        noun="an HTTP address",
        schemes=("http", "https"),
        plain="http",
        public="https",
        example="http://name.railway.internal:4000",
    ),
    "grpc": Form(
        noun="a gRPC address",
        schemes=("grpc", "grpcs"),
        plain="grpc",
        public="grpcs",
        example="name.railway.internal:6334",
        aliases={"http": "grpc", "https": "grpcs"},
    ),
    "postgres": Form(
        noun="a PostgreSQL address",
        schemes=("postgresql",),
        plain="postgresql",
        public="postgresql",
        example="postgresql://user:password@host:5432/database",
        aliases={"postgres": "postgresql"},
    ),
    "redis": Form(
        noun="a Redis address",
        schemes=("redis", "rediss"),
        plain="redis",
        public="redis",
        example="redis://:password@host:6379",
        aliases={"valkey": "redis", "valkeys": "rediss"},
        wrong={"unix": "give host and port: a socket on another machine cannot be reached"},
    ),
    "clickhouse": Form(
        noun="a ClickHouse HTTP address",
        schemes=("http", "https"),
        plain="http",
        public="https",
        example="http://host:8123",
        wrong={"clickhouse": NATIVE_CLICKHOUSE, "tcp": NATIVE_CLICKHOUSE},
    ),
    "s3": Form(
        noun="an S3 endpoint",
        schemes=("http", "https"),
        plain="http",
        public="https",
        example="http://minio.railway.internal:9000",
        wrong={"s3": "give the endpoint, not the bucket: http://host:9000"},
    ),
}

# Schemes that a message may repeat; anything else before :// could be part of a secret.
KNOWN_SCHEME = re.compile(
    r"https?|wss?|grpcs?|tcp|unix|file|ftp|s3|rediss?|valkeys?|clickhouse|postgres(ql)?(\+[a-z0-9]{1,10})?|prisma|"
    r"mysql(\+[a-z0-9]{1,10})?|mariadb|mongodb(\+srv)?|sqlite|amqps?|kafka|nats|memcached"
)

SCHEME_PORTS = {"http": 80, "https": 443, "grpcs": 443, "postgresql": 5432, "redis": 6379, "rediss": 6379}


class AddressError(ValueError):
    """An address that cannot be used. Neither text repeats any part of it but its scheme."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(f"{message}; {remedy}")
        self.message = message
        self.remedy = remedy


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """The parts of an address. `path` begins with "/" or is empty; `options` are the query's parameters.

    `notes` say what was assumed.
    """

    scheme: str
    host: str
    port: int
    path: str = ""
    user: str | None = None
    password: Secret | None = None
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def tls(self) -> bool:
        """Whether the scheme asks for TLS."""
        return self.scheme in ("https", "rediss", "grpcs")

    @property
    def place(self) -> str:
        """Host and port, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        """Scheme, host, port and path; never user, password or query."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.scheme in ("http", "https") and self.port == SCHEME_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{host}{port}{self.path}"


def parse_address(value: str, form: Form, *, port: int | None = None, secure: bool | None = None) -> Address:
    """The parts of `value`, which is written in `form`.

    Given the port the service has by default, and whether TLS is wanted where the scheme does not say (None: TLS for
    public names only). Raises AddressError.
    """
    value = value.strip()
    if any(ord(character) <= 32 or ord(character) == 127 for character in value):
        raise AddressError("holds a blank in the middle", f"write {form.noun} such as {form.example}")
    if "${" in value or "<" in value or "{{" in value:
        raise AddressError("holds a placeholder that was never filled in", f"write {form.example}")
    if SCHEME_WITHOUT_SLASHES.match(value):
        raise AddressError("has a scheme without ://", f"write {form.noun} such as {form.example}")
    written, separator, rest = value.partition("://")
    if not separator or not SCHEME.fullmatch(written):
        written, rest = "", value
    tail = AFTER_AUTHORITY.search(rest)
    authority, after = (rest[: tail.start()], tail.group()) if tail else (rest, "")
    if "@" in after:
        raise AddressError(
            "has an @ after the host, as happens when a password holds / ? or #",
            "percent-encode the password's special characters: / is %2F, ? is %3F, # is %23, @ is %40",
        )
    path, _, query = after.partition("#")[0].partition("?")
    userinfo, _, place = authority.rpartition("@")
    host, port_text = _split_place(place, form)
    number = _port(port_text, form)
    scheme, notes = _scheme(written.lower(), host, number, form, secure)
    number, more = _default_port(number, host, scheme, bool(written), port)
    user, colon, password = userinfo.partition(":")
    if scheme == "https" and host.endswith(".railway.internal"):
        more = (*more, "asks for https on Railway's private network, which carries plain http; write http:// instead")
    return Address(
        scheme=scheme,
        host=host,
        port=number,
        path=path.rstrip("/"),
        user=unquote(user) or None,
        password=Secret(unquote(password)) if colon and password else None,
        options=_options(query),
        notes=notes + more,
    )


def is_private(host: str) -> bool:
    """Whether `host` is a name or address that only a private network knows: no dot, a private ending, a private IP."""
    try:
        return not ipaddress.ip_address(host.partition("%")[0]).is_global
    except ValueError:
        return "." not in host or host.endswith(PRIVATE_ENDINGS)


def _split_place(place: str, form: Form) -> tuple[str, str]:
    """Host in lower case and the text of the port, both checked for form only."""
    example = f"write {form.noun} such as {form.example}"
    if place.startswith("["):
        inner, bracket, rest = place[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise AddressError("has an IPv6 address whose brackets do not match", "write it like [::1]:8080")
        try:
            ipaddress.IPv6Address(inner)
        except ValueError:
            raise AddressError("has brackets around what is no IPv6 address", "write it like [::1]:8080") from None
        return inner.lower(), rest[1:]
    if "," in place:
        raise AddressError("names several hosts", "name one, and give each other its own variable, as in NAME__EU")
    if place.count(":") > 1:
        try:
            ipaddress.IPv6Address(place)
        except ValueError:
            raise AddressError("has more than one colon in host and port", example) from None
        raise AddressError("has an IPv6 address without brackets", "write it like [::1]:8080")
    host, _, port_text = place.partition(":")
    if not host:
        raise AddressError("names no host", example)
    if not HOST_NAME.fullmatch(host) or len(host) > 253:
        raise AddressError("names a host with characters no host name has", example)
    return host.lower().rstrip("."), port_text


def _port(text: str, form: Form) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise AddressError(
            "has a port that is not a number, or a password without user@ before the host",
            f"write {form.noun} such as {form.example}",
        )
    if not 1 <= int(text[:6]) <= 65_535:
        raise AddressError("has a port out of range", "ports go from 1 to 65535")
    return int(text)


def _scheme(written: str, host: str, port: int | None, form: Form, secure: bool | None) -> tuple[str, tuple[str, ...]]:
    """The scheme to use, and what was assumed."""
    if written:
        # SQLAlchemy writes the driver into the scheme: postgresql+asyncpg.
        plain = written.partition("+")[0] if "postgresql" in form.schemes else written
        plain = form.aliases.get(plain, plain)
        if plain in form.schemes:
            return plain, ()
        named = f"the scheme {written}://" if KNOWN_SCHEME.fullmatch(written) else "a scheme"
        raise AddressError(
            f"has {named}, which is not {form.noun}",
            form.wrong.get(written, f"write {form.example}"),
        )
    if secure is not None:
        return (form.public if secure else form.plain), ()
    if form.plain == form.public:
        return form.plain, ()
    scheme = form.plain if is_private(host) or port not in (None, 443) else form.public
    assumed = f"is a public name without a scheme; {scheme} is assumed"
    return scheme, ((assumed,) if scheme == form.public else ())


def _default_port(
    number: int | None, host: str, scheme: str, written: bool, port: int | None
) -> tuple[int, tuple[str, ...]]:
    """The port to use, and what was assumed. A public web address without a port means the scheme's own port."""
    if number is not None:
        return number, ()
    web = scheme in ("http", "https")
    if port is not None and (not web or is_private(host)):
        return port, ((f"names no port; {port} is assumed",) if web and written else ())
    return SCHEME_PORTS.get(scheme, port or 0), ()


def _options(query: str) -> dict[str, str]:
    options = {}
    for part in query.split("&"):
        name, _, text = part.partition("=")
        if name:
            options[unquote(name)] = unquote(text)
    return options


def shown_names(names: list[str]) -> str:
    """Names of parameters for a note; one that does not look like a name is not repeated."""
    return ", ".join(name if WORD.fullmatch(name) else "…" for name in names)
