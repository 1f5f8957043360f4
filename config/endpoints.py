"""The text of an address → what a preset's placeholders stand for, one way for each form of address."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote

from config.presets import Preset
from config.secret import Secret
from config.syntax import LIBPQ_OPTIONS, SSL_MODES
from config.urls import FORMS, Address, AddressError, parse_address, shown_names


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One address, understood. `values` has an entry for each placeholder, None where nothing is known."""

    address: Address
    values: Mapping[str, object]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresEndpoint:
    """A PostgreSQL address for a client: what libpq is told, its further parameters by name, and what was assumed.

    `user` and `database` are as libpq would default them where the address names none: postgres, and the user's name.
    """

    host: str
    port: int
    user: str
    password: Secret | None
    database: str
    options: Mapping[str, str]
    notes: tuple[str, ...]


def read_postgres(text: str) -> PostgresEndpoint:
    """What a DATABASE_URL says; ORM parameters are dropped with a note. Raises AddressError."""
    address = parse_address(text, FORMS["postgres"], port=5432)
    notes = list(address.notes)
    address, database, options, dropped = _postgres(address, notes)
    if dropped:
        notes.append(f"parameters that are not for us were dropped: {shown_names(dropped)}")
    user = address.user or "postgres"
    return PostgresEndpoint(
        host=address.host,
        port=address.port,
        user=user,
        password=address.password,
        database=database or user,
        options=options,
        notes=tuple(notes),
    )


def read_endpoint(text: str, preset: Preset, companions: Mapping[str, object]) -> Endpoint:
    """What `text` says, in the form the preset reads; `companions` fill in what it does not. Raises AddressError."""
    secure = companions.get("secure")
    wanted = secure if isinstance(secure, bool) else None
    address = parse_address(text, FORMS[preset.reads], port=preset.port, secure=wanted)
    notes = list(address.notes)
    if wanted is not None and "://" in text and wanted != address.tls:
        notes.append(f"its scheme {address.scheme} counts, not what {preset.companions['secure'].variables[0]} says")
    database: object = None
    options: dict[str, str] = {}
    dropped = list(address.options)
    if preset.reads == "postgres":
        address, database, options, dropped = _postgres(address, notes)
    elif preset.reads == "redis":
        database = _redis(address, password_elsewhere=bool(companions.get("password")))
    elif preset.reads == "http":
        address = _without_endings(address, preset.drop_paths, notes)
    elif address.path:
        address = replace(address, path="")
        notes.append("what stands after host and port was dropped")
    if dropped:
        notes.append(f"parameters that are not for us were dropped: {shown_names(dropped)}")
    values: dict[str, object] = {
        "url": address.url,
        "host": address.host,
        "port": address.port,
        "tls": address.tls,
        "user": address.user,
        "password": address.password,
        "database": database,
        "options": options or None,
    }
    for name, value in companions.items():
        if values.get(name) is None:
            values[name] = value
    return Endpoint(address=address, values=values, notes=tuple(notes))


def _postgres(address: Address, notes: list[str]) -> tuple[Address, str | None, dict[str, str], list[str]]:
    """The address with user and password wherever they stand, the database, libpq's options, and what is dropped."""
    given = dict(address.options)
    user = given.pop("user", "") or address.user
    secret = given.pop("password", "")
    password = Secret(secret) if secret else address.password
    database = unquote(address.path.strip("/")) or given.pop("dbname", "") or user
    options = {name: text for name, text in given.items() if name in LIBPQ_OPTIONS}
    if options.get("sslmode") == "no-verify":  # node-postgres has this word, libpq has not
        options["sslmode"] = "require"
        notes.append("sslmode=no-verify is read as sslmode=require")
    if options.get("sslmode", "prefer") not in SSL_MODES:
        raise AddressError("has an sslmode PostgreSQL does not know", f"write one of {', '.join(SSL_MODES)}")
    dropped = [name for name in given if name not in LIBPQ_OPTIONS]
    return replace(address, user=user, password=password), database, options, dropped


def _redis(address: Address, *, password_elsewhere: bool) -> int | None:
    """The database's number, if the address has one."""
    if address.user and not address.password and not password_elsewhere:
        raise AddressError(
            "names a user and no password", "a password alone is written with a colon: redis://:password@host:6379"
        )
    text = address.path.strip("/")
    if text and not (text.isascii() and text.isdigit() and len(text) <= 5):
        raise AddressError("has something other than a number after the slash", "write a database's number, or nothing")
    return int(text) if text else None


def _without_endings(address: Address, endings: tuple[str, ...], notes: list[str]) -> Address:
    """The address without what people copy along, such as /v1."""
    for ending in endings:
        if address.path.endswith(ending):
            address = replace(address, path=address.path.removesuffix(ending).rstrip("/"))
            notes.append(f"{ending} at the end was dropped; it is not part of the address")
    return address
