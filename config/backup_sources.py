"""The servers that are backed up: how to reach them, and what of them is wanted."""

import re
from dataclasses import dataclass
from pathlib import Path

from config.backup_store import listed, read_endpoint, unmask
from config.env import Env
from config.secret import Secret
from config.urls import FORMS, Address, AddressError, parse_address

DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresSettings:
    """The PostgreSQL server to back up. `databases` names those wanted, as they are written; empty: all but templates.

    `url_variable` is where `url` came from; `clients` the folder of PostgreSQL's programs to use before any other.
    Times are seconds; `longest_seconds` is how long the snapshots of one run may hold back the server's vacuum.
    """

    url: Secret | None = None
    url_variable: str = "DATABASE_URL"
    databases: tuple[str, ...] = ()
    count_seconds: float = 60.0
    lock_wait_seconds: float = 120.0
    longest_seconds: float = 6 * 3600.0
    clients: Path | None = None

    @classmethod
    def read(cls, env: Env) -> "PostgresSettings":
        """This section from `env`; what cannot be used becomes a problem there."""
        direct = env.secret(
            "BACKUP_DATABASE_URL", says="PostgreSQL's direct address, when DATABASE_URL leads through a pooler."
        )
        url = env.secret("DATABASE_URL", says="PostgreSQL's address with user, password and database.")
        clients = env.text(
            "BACKUP_PG_BIN", says="Folder of pg_dump, pg_dumpall and pg_restore, if not the usual.", kind="path"
        )
        return cls(
            url=direct or url,
            url_variable="BACKUP_DATABASE_URL" if direct else "DATABASE_URL",
            databases=listed(env, "BACKUP_DATABASES", says="PostgreSQL databases to back up, by comma. Unset: all."),
            count_seconds=env.number(
                "BACKUP_COUNT_SECONDS",
                default=60.0,
                least=0,
                most=DAY,
                says="Seconds to spend on counting rows; tables not counted by then have the server's estimates.",
            ),
            lock_wait_seconds=env.number(
                "BACKUP_LOCK_WAIT_SECONDS",
                default=120.0,
                least=1,
                most=DAY,
                says="Seconds a dump waits for a table that somebody has locked.",
            ),
            longest_seconds=env.number(
                "BACKUP_LONGEST_SECONDS",
                default=6 * 3600.0,
                least=1,
                most=30 * DAY,
                says="Seconds after which PostgreSQL's dumps are given up: until then vacuum cannot clean behind them.",
            ),
            clients=Path(clients) if clients else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickhouseSettings:
    """The ClickHouse server to back up. `url` is its HTTP address without user and password, "" when none is set.

    `s3_endpoint` is the store's URL as ClickHouse reaches it; None: as we do. `s3_collection` is a named collection of
    ClickHouse's that holds the bucket's URL and its keys. `databases` as they are written.
    """

    url: str = ""
    user: str = "default"
    password: Secret | None = None
    database: str = "default"
    databases: tuple[str, ...] = ()
    s3_endpoint: str | None = None
    s3_collection: str = ""

    @classmethod
    def read(cls, env: Env) -> "ClickhouseSettings":
        """This section from `env`; what cannot be used becomes a problem there."""
        address = _clickhouse_address(env)
        user = env.text("CLICKHOUSE_USER", says="ClickHouse user to back up as; needs the BACKUP privilege.")
        password = env.secret("CLICKHOUSE_PASSWORD", says="That user's password.")
        database = env.text("CLICKHOUSE_DB", default="default", says="The database to connect to.")
        reached = read_endpoint(
            env, "CLICKHOUSE_S3_ENDPOINT", None, says="The store's address as ClickHouse reaches it."
        )
        collection = env.text(
            "CLICKHOUSE_S3_COLLECTION",
            default="",
            says="A named collection of ClickHouse's with url (endpoint and bucket), access_key_id and "
            "secret_access_key: then no key is in any statement. Unset: its query log shows the access key.",
        )
        if collection and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", collection):
            env.problem("CLICKHOUSE_S3_COLLECTION", "is no collection's name", "write letters, digits and underscore")
            collection = ""
        return cls(
            url=address.url if address else "",
            user=user or (address and address.user) or "default",
            password=password or (address.password if address else None),
            database=database,
            databases=listed(
                env, "BACKUP_CLICKHOUSE_DATABASES", says="ClickHouse databases to back up, by comma. Unset: all."
            ),
            s3_endpoint=reached.url if reached else None,
            s3_collection=collection,
        )


def _clickhouse_address(env: Env) -> Address | None:
    """CLICKHOUSE_URL, else CLICKHOUSE_HOST and CLICKHOUSE_PORT."""
    secret = env.secret("CLICKHOUSE_URL", says="ClickHouse's HTTP address.")  # it may hold a password
    url = secret.reveal() if secret else None
    host = env.text("CLICKHOUSE_HOST", says="ClickHouse's host, without CLICKHOUSE_URL.")
    port = env.whole("CLICKHOUSE_PORT", default=8123, least=1, most=65_535, says="Its HTTP port.")
    name, value = ("CLICKHOUSE_URL", url) if url else ("CLICKHOUSE_HOST", host)
    if value is None:
        return None
    try:
        address = parse_address(value, FORMS["clickhouse"], port=port)
    except AddressError as error:
        env.problem(name, error.message, error.remedy)
        return None
    unmask(env, secret)
    return address
