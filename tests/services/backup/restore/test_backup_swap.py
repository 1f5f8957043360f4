"""Restored databases take the place of live ones, under load, all or none, and back."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any, Self

import psycopg
import pytest
from psycopg import sql

from backup.errors import TargetError
from backup.postgres.login import Login
from backup.postgres.restore import PostgresRestore, Wish
from backup.selection import select
from backup.swap import Exchange, commands, exchange
from config.secret import Secret


def ours(server: Any, database: str, helpers: Any) -> list[str]:
    return [name for name in helpers.names(server) if name.startswith(database)]


def count(server: Any, database: str, helpers: Any, table: str = "words") -> int:
    return int(helpers.rows(server, database, f"SELECT count(*) FROM {table}")[0][0])


class Writer:
    """A client that connects, writes a row, and again, as an application with retries does. `done` are the numbers
    whose commit was confirmed."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.done: list[int] = []
        self.errors: list[str] = []
        self.fatal: list[str] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(begin,)) for begin in (1_000_000, 2_000_000)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self, number: int) -> None:
        while not self._stop.is_set():
            try:
                with psycopg.connect(self.url, autocommit=True, sslmode="disable", connect_timeout=20) as connection:
                    while not self._stop.is_set():
                        number += 1
                        connection.execute("INSERT INTO words (n, word) VALUES (%s, 'new')", (number,))
                        self.done.append(number)
                        time.sleep(0.002)
            except psycopg.OperationalError as error:
                self.errors.append(str(error))
            except psycopg.Error as error:
                self.fatal.append(str(error))


def test_under_load_nothing_is_lost_and_clients_work_on(bench: Any, postgres: Any, database: str, helpers: Any) -> None:
    bench.take(database)
    with Writer(helpers.url_of(postgres, database)) as writer:
        time.sleep(0.5)
        assert bench.restore(postgres, swap=True) == 0, bench.text
        swapped = len(writer.done)
        deadline = time.monotonic() + 20
        while len(writer.done) < swapped + 50:
            assert time.monotonic() < deadline, writer.errors[-3:]
            time.sleep(0.01)
    kept = next(name for name in ours(postgres, database, helpers) if "_before_" in name)
    assert ours(postgres, database, helpers) == [database, kept]
    query = "SELECT n FROM words WHERE n >= 1000000"
    before = {row[0] for row in helpers.rows(postgres, kept, query)}
    after = {row[0] for row in helpers.rows(postgres, database, query)}
    # Each row that was confirmed is in the old data or the new, and in one of them only.
    assert before | after >= set(writer.done)
    assert not before & after
    assert len(before) > 10
    assert len(after) >= 50
    assert writer.fatal == []
    assert count(postgres, database, helpers) == 200 + len(after)
    assert f'the data it replaced are kept as "{kept}"' in bench.text
    # What it says for taking it back does that.
    for line in [one.strip() for one in bench.text.splitlines() if one.strip().startswith("ALTER DATABASE")]:
        with postgres.connect() as connection:
            connection.execute(line)
    assert ours(postgres, database, helpers) == [database, f"{database}_taken_back"]
    assert count(postgres, database, helpers) == 200 + len(before)


def test_owner_grants_and_settings_stay(bench: Any, postgres: Any, database: str, helpers: Any) -> None:
    """What the live database has by now counts, not what it had at the point."""
    bench.take(database)
    identifier, role = sql.Identifier(database), sql.Identifier(f"{database} röle")
    state = sql.SQL("""
        SELECT pg_get_userbyid(datdba), datconnlimit, shobj_description(oid, 'pg_database'),
          (SELECT array_agg(one::text ORDER BY one::text) FROM unnest(datacl) one),
          (SELECT array_agg(s.setrole::regrole::text || s.setconfig::text ORDER BY s.setrole) FROM pg_db_role_setting s
            WHERE setdatabase = d.oid)
        FROM pg_database d WHERE datname = {}""").format(sql.Literal(database))
    with postgres.connect() as connection:
        connection.execute(sql.SQL("CREATE ROLE {}").format(role))
    try:
        with postgres.connect() as connection:
            for text in (
                "ALTER DATABASE {d} OWNER TO {r}",
                """ALTER DATABASE {d} SET search_path TO "$user", 'My, "Schema', public""",
                "ALTER DATABASE {d} SET \"app.what\" TO 'a, ''b'''",
                "ALTER DATABASE {d} SET temp_tablespaces TO ''",
                "ALTER ROLE {r} IN DATABASE {d} SET work_mem TO '5MB'",
                "ALTER DATABASE {d} CONNECTION LIMIT 17",
                "REVOKE ALL ON DATABASE {d} FROM PUBLIC",
                "GRANT CONNECT ON DATABASE {d} TO {r} WITH GRANT OPTION",
                "COMMENT ON DATABASE {d} IS 'it''s live'",
            ):
                connection.execute(sql.SQL(text).format(d=identifier, r=role))
        before = helpers.rows(postgres, "postgres", state)
        oid = helpers.rows(postgres, "postgres", f"SELECT oid FROM pg_database WHERE datname = '{database}'")
        assert bench.restore(postgres, swap=True) == 0, bench.text
        assert helpers.rows(postgres, "postgres", state) == before
        assert helpers.rows(postgres, "postgres", f"SELECT oid FROM pg_database WHERE datname = '{database}'") != oid
        # The same dump again, restored beside first with the point's own properties, then put in its place.
        assert bench.restore(postgres) == 0
        assert bench.restore(postgres, swap=True) == 0
        assert "still holds what was dumped and is used" in bench.text
        assert helpers.rows(postgres, "postgres", state) == before
    finally:
        for name in ours(postgres, database, helpers):
            helpers.drop(postgres, name)
        with postgres.connect() as connection:
            connection.execute(sql.SQL("DROP ROLE {}").format(role))


@pytest.fixture
def pair(postgres: Any, database: str, helpers: Any) -> Iterator[tuple[str, str, str, str]]:
    """Two live databases and what was restored of them."""
    made = (database, f"{database}_x", f"{database}_new", f"{database}_x_new")
    for name in made[1:]:
        helpers.make(postgres, name, f"CREATE TABLE me AS SELECT '{name}' AS name")
    helpers.rows(postgres, database, "SELECT 1")
    return made


def exchanges_of(pair: tuple[str, str, str, str]) -> list[Exchange]:
    one, two, new_one, new_two = pair
    return [
        Exchange(live=one, restored=new_one, kept=f"{one}_old"),
        Exchange(live=two, restored=new_two, kept=f"{two}_old"),
    ]


def oids(server: Any, database: str, helpers: Any) -> dict[str, int]:
    return dict(helpers.rows(server, "postgres", f"SELECT datname, oid FROM pg_database WHERE datname ~ '^{database}'"))


def test_all_or_none(postgres: Any, database: str, pair: Any, helpers: Any) -> None:
    before = oids(postgres, database, helpers)
    helpers.make(postgres, f"{database}_x_old")
    before = oids(postgres, database, helpers)
    with contextlib.closing(helpers.target_of(postgres)) as target:
        with pytest.raises(TargetError, match="were not exchanged, and are as they were"):
            exchange(target, exchanges_of(pair))
        assert oids(postgres, database, helpers) == before
        helpers.drop(postgres, f"{database}_x_old")
        exchange(target, exchanges_of(pair))
    after = oids(postgres, database, helpers)
    one, two, new_one, new_two = pair
    assert (after[one], after[two]) == (before[new_one], before[new_two])
    assert (after[f"{one}_old"], after[f"{two}_old"]) == (before[one], before[two])


def test_a_check_that_fails_undoes_it(postgres: Any, database: str, pair: Any, helpers: Any) -> None:
    before = oids(postgres, database, helpers)

    def check(name: str) -> None:
        if name.endswith("_x"):
            raise TargetError("it is not well", "")

    with contextlib.closing(helpers.target_of(postgres)) as target, pytest.raises(TargetError, match="not well"):
        exchange(target, exchanges_of(pair), check)
    assert oids(postgres, database, helpers) == before


def test_an_exchange_is_taken_back_when_the_other_engine_fails(
    bench: Any, postgres: Any, database: str, helpers: Any
) -> None:
    emptied = f"{database}_emptied"
    helpers.make(postgres, emptied, "CREATE TABLE t AS SELECT 1 AS n")
    point = bench.take(database, emptied).point
    with postgres.connect(database) as connection:
        connection.execute("DELETE FROM words WHERE n > 150")
    with postgres.connect(emptied) as connection:
        connection.execute("DROP TABLE t")
    restore = PostgresRestore(
        bench.catalog,
        select(bench.catalog, point, "postgres").databases,
        identities=(),
        login=Login.read(Secret(helpers.url_of(postgres)), "TEST_URL"),
        wish=Wish(swap=True),
        listener=bench.told,
        stop=threading.Event(),
    )
    with contextlib.closing(restore):
        restore.prepare()
        done = restore.restore()
        restore.finish(done)
        assert count(postgres, database, helpers) == 200
        # One that was empty has given way for good: there is nothing to take back.
        assert [one.live for one in restore.exchanges] == [database]
        restore.undo(done)
    aside = f"{database}_restored_{point[:8]}"
    assert ours(postgres, database, helpers) == sorted([database, emptied, aside])
    helpers.drop(postgres, emptied)
    assert count(postgres, database, helpers) == 150
    # What was restored is known again, and serves the next try.
    assert bench.restore(postgres, swap=True) == 0
    assert "still holds what was dumped and is used" in bench.text
    assert count(postgres, database, helpers) == 200


def test_nobody_is_asked_where_nobody_is(bench: Any, postgres: Any, database: str, program: Any, helpers: Any) -> None:
    bench.take(database)
    code, text = program.run("restore", "--swap", "--to-postgres", "T", T=helpers.url_of(postgres))
    assert code == 1
    assert f"this would exchange the live PostgreSQL databases {database}; say so with --yes" in text
    assert ours(postgres, database, helpers) == [database]


def test_sessions_that_come_back_again_and_again(postgres: Any, database: str, pair: Any, helpers: Any) -> None:
    """A pool that reconnects at once must not keep the exchange from being done, nor be locked out after it."""
    stop = threading.Event()
    seen: list[str] = []

    def hammer() -> None:
        while not stop.is_set():
            try:
                with psycopg.connect(helpers.url_of(postgres, database), sslmode="disable") as connection:
                    seen.append(str(connection.execute("SELECT current_database()").fetchall()[0][0]))
                    connection.execute("SELECT pg_sleep(0.2)")
            except psycopg.OperationalError:
                continue

    threads = [threading.Thread(target=hammer) for _ in range(6)]
    for thread in threads:
        thread.start()
    try:
        with contextlib.closing(helpers.target_of(postgres)) as target:
            began = time.monotonic()
            exchange(target, exchanges_of(pair)[:1])
            assert time.monotonic() - began < 15
        count_then = len(seen)
        deadline = time.monotonic() + 15
        while len(seen) < count_then + 10:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert set(seen) == {database}


def test_prepared_transactions_are_named(fresh_postgres: Any, helpers: Any) -> None:
    server = fresh_postgres(seed=False)
    with server.connect() as connection:
        connection.execute("ALTER SYSTEM SET max_prepared_transactions = 5")
    server.stop()
    server.start()
    for name in ("live", "new"):
        helpers.make(server, name)
    with server.connect("live") as connection:
        connection.execute("BEGIN")
        connection.execute("CREATE TABLE t (n int)")
        connection.execute("PREPARE TRANSACTION 'stuck one'")
        said = r'"live" has the prepared transaction "stuck one".*ROLLBACK PREPARED'
        with contextlib.closing(helpers.target_of(server)) as target, pytest.raises(TargetError, match=said):
            exchange(target, [Exchange(live="live", restored="new", kept="old")])
        connection.execute("ROLLBACK PREPARED 'stuck one'")


@pytest.mark.parametrize("moment", range(6))
def test_killed_while_it_exchanges(
    bench: Any, postgres: Any, database: str, program: Any, helpers: Any, moment: int
) -> None:
    """kill -9 at any moment: the live name leads to the old data or to the new, and is connected to at once."""
    bench.take(database)
    with postgres.connect(database) as connection:
        connection.execute("INSERT INTO words (n, word) VALUES (1000000, 'newer than the point')")
    assert bench.restore(postgres) == 0  # so that what the program does is the exchange alone
    child = program.start("restore", "--swap", "--yes", "--to-postgres", "T", T=helpers.url_of(postgres))
    with psycopg.connect(helpers.url_of(postgres, database), autocommit=True, sslmode="disable") as session:
        deadline = time.monotonic() + 60
        with contextlib.suppress(psycopg.OperationalError):  # our session is ended: the exchange is under way
            while time.monotonic() < deadline and child.poll() is None:
                session.execute("SELECT 1")
                time.sleep(0.001)
    time.sleep(moment * 0.004)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    with psycopg.connect(
        helpers.url_of(postgres, database), autocommit=True, sslmode="disable", connect_timeout=20
    ) as session:
        found = session.execute("SELECT count(*) FROM words").fetchall()[0][0]
    there = ours(postgres, database, helpers)
    exchanged = any("_before_" in name for name in there)
    assert found == (200 if exchanged else 201)
    assert len(there) == 2
    # And the next command does it, or does it again.
    assert bench.restore(postgres, swap=True) == 0, bench.text
    assert count(postgres, database, helpers) == 200


def test_a_name_that_is_too_long(bench: Any, postgres: Any, helpers: Any) -> None:
    name = "b4_" + "ü" * 12 + "x" * 36
    helpers.make(postgres, name, "CREATE TABLE words (n int); INSERT INTO words VALUES (1)")
    try:
        bench.take(name)
        assert bench.restore(postgres, swap=True) == 0, bench.text
        there = [one for one in helpers.names(postgres) if one.startswith("b4_ü")]
        assert len(there) == 2
        assert all(len(one.encode()) <= 63 for one in there)
        assert count(postgres, name, helpers) == 1
    finally:
        for one in helpers.names(postgres):
            if one.startswith("b4_ü"):
                helpers.drop(postgres, one)


def test_the_database_it_logs_in_to(bench: Any, second: Any, helpers: Any, postgres: Any) -> None:
    """The one the address names may be exchanged, `postgres` too."""
    with second.connect("postgres") as connection:
        connection.execute("CREATE TABLE words AS SELECT generate_series(1, 5) n")
    own = helpers.bench(second, bench.store.folder.parent / "own")
    own.take("postgres")
    with second.connect("postgres") as connection:
        connection.execute("DELETE FROM words")
    assert own.restore(second, swap=True) == 0, own.text
    assert count(second, "postgres", helpers) == 5


def test_a_live_database_that_lets_nobody_in(bench: Any, postgres: Any, database: str, helpers: Any) -> None:
    """What is broken is what a restore is for."""
    bench.take(database)
    with postgres.connect() as connection:
        connection.execute(
            sql.SQL("ALTER DATABASE {} SET session_preload_libraries TO 'gone'").format(sql.Identifier(database))
        )
    with pytest.raises(psycopg.OperationalError):
        postgres.connect(database)
    assert bench.restore(postgres) == 0
    aside = next(name for name in ours(postgres, database, helpers) if "_restored_" in name)
    assert count(postgres, aside, helpers) == 200


def test_commands_for_people() -> None:
    made = commands([Exchange(live='a"b', restored="a_new", kept="a_old"), Exchange(live="free", restored="x")])
    assert made == [
        'ALTER DATABASE "a""b" RENAME TO "a""b_taken_back";',
        'ALTER DATABASE "a_old" RENAME TO "a""b";',
    ]
