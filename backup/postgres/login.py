"""How PostgreSQL is reached: by our own connection, and by its programs without a secret in their arguments."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backup.errors import SettingsError
from backup.postgres.explain import explained
from config.endpoints import read_postgres
from config.secret import Secret
from config.urls import AddressError

if TYPE_CHECKING:
    from psycopg import Connection

CONNECT_SECONDS = 15
APPLICATION = "watchkeeper-backup"

# libpq's parameters that an address may carry, as the variables its programs read them from.
VARIABLES = {
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "channel_binding": "PGCHANNELBINDING",
    "gssencmode": "PGGSSENCMODE",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "options": "PGOPTIONS",
}
# Of our own environment a program needs these; nothing else is handed on.
KEPT = ("PATH", "HOME", "LD_LIBRARY_PATH", "TZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A server, and as whom. `database` is the one the address names; `options` are libpq's further parameters."""

    host: str
    port: int
    user: str
    password: Secret | None
    database: str
    options: Mapping[str, str]
    variable: str = "DATABASE_URL"
    notes: tuple[str, ...] = ()

    @classmethod
    def read(cls, url: Secret, variable: str) -> "Login":
        """What the address in `variable` says. Raises SettingsError, which repeats nothing of it."""
        try:
            found = read_postgres(url.reveal())
        except AddressError as error:
            raise SettingsError(f"{variable} {error.message}", error.remedy) from None
        return cls(
            host=found.host,
            port=found.port,
            user=found.user,
            password=found.password,
            database=found.database,
            options=found.options,
            variable=variable,
            notes=tuple(f"{variable} {note}" for note in found.notes),
        )

    @property
    def place(self) -> str:
        """Host and port, for people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def connect(self, database: str | None = None) -> "Connection[tuple[Any, ...]]":
        """A connection in autocommit, without time limits of its own; close it. Raises SourceError."""
        import psycopg
        from psycopg.conninfo import make_conninfo

        told = make_conninfo(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password.reveal() if self.password else None,
            passfile=os.devnull,  # without a password libpq would look into the home folder
            dbname=database or self.database,
            connect_timeout=CONNECT_SECONDS,
            application_name=APPLICATION,
            client_encoding="UTF8",
            keepalives_idle=60,
            **self.options,
        )
        connection: Connection[tuple[Any, ...]] | None = None
        try:
            connection = psycopg.connect(told, autocommit=True)
            connection.execute(NO_LIMITS)
        except psycopg.Error as error:
            if connection is not None:
                connection.close()
            raise explained(str(error), f'PostgreSQL at {self.place}, database "{database or self.database}"') from None
        return connection

    def environ(self, database: str, passfile: int | None) -> dict[str, str]:
        """The environment of one of PostgreSQL's programs: where and as whom, and the descriptor with the password."""
        given = {name: os.environ[name] for name in KEPT if name in os.environ}
        given |= {VARIABLES[name]: text for name, text in self.options.items()}
        return given | {
            "LC_ALL": "C",
            "PGHOST": self.host,
            "PGPORT": str(self.port),
            "PGUSER": self.user,
            # From here a name is taken as it is; as an argument, one with "=" would be read as a connection string.
            "PGDATABASE": database,
            "PGPASSFILE": os.devnull if passfile is None else f"/proc/self/fd/{passfile}",
            "PGCONNECT_TIMEOUT": str(CONNECT_SECONDS),
            "PGAPPNAME": APPLICATION,
        }


# A role or database may have limits that would end the transaction which holds the snapshot. Which there are depends on
# the version, so they are asked for.
NO_LIMITS = """
SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN (
  'statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout', 'idle_session_timeout',
  'transaction_timeout')
"""


@contextmanager
def password_file(password: Secret | None) -> Iterator[int | None]:
    """The descriptor of a password file for libpq that lies in memory only: nobody else can open it by a name, and
    nothing is left when we are killed. None without a password. Hand it to the program with `pass_fds`."""
    if password is None:
        yield None
        return
    escaped = password.reveal().replace("\\", "\\\\").replace(":", "\\:")
    descriptor = os.memfd_create("pgpass", os.MFD_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o600)  # libpq takes no file that others may read
        os.write(descriptor, f"*:*:*:*:{escaped}\n".encode())
        yield descriptor
    finally:
        os.close(descriptor)
