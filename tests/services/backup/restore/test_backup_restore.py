"""Where a database comes back, what a restore refuses, and what is left when it fails."""

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from psycopg import sql

from backup import manifest
from backup.errors import ArchiveError, BackupError, KeyMissingError, SettingsError, StoppedError, TargetError
from backup.manifest import MANIFEST
from backup.postgres.database import Mark
from backup.postgres.login import Login
from backup.postgres.server import survey
from backup.seal import keygen
from config.secret import Secret


def words(server: Any, database: str, helpers: Any) -> int:
    """How many rows the table of the small database has."""
    return int(helpers.rows(server, database, "SELECT count(*) FROM words")[0][0])


def ours(server: Any, database: str, helpers: Any) -> list[str]:
    """The databases whose names begin with this."""
    return [name for name in helpers.names(server) if name.startswith(database)]


def rewrite(bench: Any, point: str, change: Callable[[Any], Any]) -> None:
    """Writes the manifest anew."""
    key = f"default/{point}/{MANIFEST}"
    read = manifest.load(bench.storage.get(key))
    artifacts = tuple(change(one) if one.kind == "database" else one for one in read.artifacts)
    bench.storage.put(key, manifest.dump(replace(read, artifacts=artifacts)))


def test_a_free_name_is_taken(bench: Any, second: Any, database: str, helpers: Any) -> None:
    bench.take(database)
    assert bench.restore(second) == 0
    assert ours(second, database, helpers) == [database]
    assert words(second, database, helpers) == 200
    assert "207 rows in 2 tables, as many as were dumped" in bench.text


def test_an_empty_database_is_filled_and_keeps_nothing_aside(
    bench: Any, second: Any, database: str, helpers: Any
) -> None:
    bench.take(database)
    helpers.make(second, database)
    with second.connect(database) as session:
        session.execute("CREATE EXTENSION vector")  # an image brings it along; the database is empty all the same
        assert bench.restore(second) == 0
        assert ours(second, database, helpers) == [database]
    assert words(second, database, helpers) == 200


def test_a_live_database_is_not_touched(bench: Any, second: Any, database: str, helpers: Any) -> None:
    point = bench.take(database).point
    helpers.make(second, database, "CREATE TABLE words (n int); INSERT INTO words VALUES (1)")
    assert bench.restore(second, yes=False) == 0
    aside = f"{database}_restored_{point[:8]}"
    assert ours(second, database, helpers) == [database, aside]
    assert words(second, database, helpers) == 1
    assert words(second, aside, helpers) == 200
    assert bench.catalog.proof(point)["level"] == "restored"
    shown = bench.catalog.proof(point)["artifacts"][f"postgres/database/{database}"]
    assert "207 rows in 2 tables, as many as were dumped" in shown["says"]
    # Again: it is there already, and compared anew.
    assert bench.restore(second, yes=False) == 0
    assert ours(second, database, helpers) == [database, aside]
    assert "still holds what was dumped" in bench.text
    # Changed since, it is not taken for the restore that was asked for.
    with second.connect(aside) as connection:
        connection.execute("DELETE FROM words WHERE n = 1")
    assert bench.restore(second, yes=False) == 0
    assert ours(second, database, helpers) == [database, aside, f"{aside}_2"]
    assert words(second, f"{aside}_2", helpers) == 200
    # A backup leaves aside what lies aside, unless it is in use or asked for.
    login = Login.read(Secret(helpers.url_of(second)), "TEST_URL")
    with second.connect(aside):
        found = survey(login, ())
    assert (aside in found.databases, f"{aside}_2" in found.databases) == (True, False)
    assert any(f"{aside}_2" in note and "BACKUP_DATABASES" in note for note in found.notes)
    assert survey(login, [aside]).databases == (aside,)


def test_another_name(bench: Any, second: Any, database: str, helpers: Any) -> None:
    bench.take(database)
    assert bench.restore(second, databases=[f"{database}={database}_copy"]) == 0
    assert ours(second, database, helpers) == [f"{database}_copy"]
    with pytest.raises(TargetError, match="is not empty; name a new one"):
        bench.restore(second, databases=[f"{database}={database}_copy"])
    with pytest.raises(SettingsError, match='no whole dump of "nobody"'):
        bench.restore(second, databases=["nobody=x"])


def test_one_table(bench: Any, second: Any, database: str, helpers: Any) -> None:
    point = bench.take(database).point
    helpers.make(second, database, "CREATE TABLE words (n int)")
    assert bench.restore(second, tables=["Other Table"], databases=[database]) == 0
    aside = f"{database}_restored_{point[:8]}"
    assert helpers.rows(second, aside, 'SELECT count(*) FROM "Other Table"') == [(7,)]
    assert words(second, aside, helpers) == 0
    with pytest.raises(SettingsError, match="is not in it"):
        bench.restore(second, tables=["nothing"], databases=[database])
    with pytest.raises(SettingsError, match="do not go together"):
        bench.restore(second, tables=["words"], swap=True)
    # What holds some tables only is never taken for the whole.
    assert bench.restore(second) == 0
    assert words(second, f"{aside}_2", helpers) == 200


def test_the_plan_changes_nothing(bench: Any, second: Any, database: str, helpers: Any) -> None:
    bench.environ = {"LITELLM_SALT_KEY": "then", "SALT": "same"}
    bench.take(database)
    bench.environ = {"LITELLM_SALT_KEY": "now", "SALT": "same"}
    helpers.make(second, database, "CREATE TABLE words (n int, at timestamptz); CREATE INDEX ON words (at)")
    with second.connect(database) as session:
        session.execute("INSERT INTO words VALUES (1, now() + interval '2 seconds'), (2, now() + interval '9 years')")
        time.sleep(2.1)
        state = "SELECT datname, oid, datallowconn FROM pg_database ORDER BY 1"
        before = helpers.rows(second, "postgres", state)
        assert bench.restore(second, plan=True, swap=True) == 0
        assert helpers.rows(second, "postgres", state) == before
        session.execute("SELECT 1")
    text = bench.text
    assert f'takes the place of the live "{database}", which is kept as "{database}_before_' in text
    assert "DATA NEWER THAN THE POINT" in text
    assert "words.at" in text
    assert f'sessions that will be ended: 1 of an unnamed client as postgres in "{database}"' in text
    assert "WARNING: LITELLM_SALT_KEY is another" in text
    assert "SALT is another" not in text.replace("LITELLM_SALT_KEY is another", "")
    assert "space needed" in text
    assert "time to expect" in text
    assert "nothing was changed: this is the plan" in text


def test_the_plan_says_what_it_cannot_know(bench: Any, second: Any, database: str, helpers: Any) -> None:
    bench.take(database)
    helpers.make(
        second,
        database,
        "CREATE TABLE _prisma_migrations (migration_name text, finished_at timestamptz);"
        "INSERT INTO _prisma_migrations VALUES ('2026_new', now())",
    )
    assert bench.restore(second, plan=True) == 0
    assert "unknown (no indexed column of time" in bench.text


def test_migrations_are_compared(bench: Any, second: Any, database: str, postgres: Any, helpers: Any) -> None:
    table = "CREATE TABLE _prisma_migrations (migration_name text, finished_at timestamptz);"
    with postgres.connect(database) as connection:
        connection.execute(table + "INSERT INTO _prisma_migrations VALUES ('2026_old', now())")
    bench.take(database)
    helpers.make(second, database, table + "INSERT INTO _prisma_migrations VALUES ('2026_new', now())")
    assert bench.restore(second, plan=True) == 0
    assert "migration 2026_old in the point, 2026_new live" in bench.text


@pytest.mark.parametrize("how", ["flip", "cut", "gone"])
def test_a_broken_archive_leaves_nothing(bench: Any, second: Any, database: str, helpers: Any, how: str) -> None:
    report = bench.take(database)
    helpers.make(second, database, "CREATE TABLE words (n int)")
    key = f"default/{report.point}/{report.artifacts[0].pieces[0].key}"
    data = bench.storage.get(key)
    if how == "gone":
        bench.storage.delete([key])
    else:
        bench.storage.put(key, data[:-1] if how == "cut" else data[:-20] + bytes([data[-20] ^ 1]) + data[-19:])
    with pytest.raises(ArchiveError, match=report.artifacts[0].pieces[0].key):
        bench.restore(second, swap=True)
    assert ours(second, database, helpers) == [database]


def test_a_wrong_key_and_none(bench: Any, second: Any, database: str, helpers: Any) -> None:
    bench.take(database, recipients=[keygen().recipient])
    with pytest.raises(KeyMissingError, match="set BACKUP_AGE_IDENTITY"):
        bench.restore(second)
    with pytest.raises(KeyMissingError, match="does not open it"):
        bench.restore(second, identities=[keygen().identity])
    assert ours(second, database, helpers) == []


def test_what_differs_from_the_dump_is_dropped(bench: Any, second: Any, database: str, helpers: Any) -> None:
    report = bench.take(database)

    def wrong(artifact: Any) -> Any:
        tables = tuple(replace(one, rows=one.rows + 1) if "words" in one.name else one for one in artifact.tables)
        return replace(artifact, tables=tables)

    rewrite(bench, report.point, wrong)
    assert bench.restore(second) == 1
    assert "public.words has 200 rows instead of 201" in bench.text
    assert ours(second, database, helpers) == []


def test_estimates_are_not_compared(bench: Any, second: Any, database: str, helpers: Any) -> None:
    report = bench.take(database)
    rewrite(
        bench,
        report.point,
        lambda one: replace(one, tables=tuple(replace(table, rows=1, exact=False) for table in one.tables)),
    )
    assert bench.restore(second) == 0
    assert "tables without an exact count to compare with: 2" in bench.text


def test_a_server_that_lacks_an_extension(older: Any, second: Any, helpers: Any, tmp_path: Path) -> None:
    name = f"b4_{uuid4().hex[:8]}"
    # PostgreSQL 15 has it, 18 has not.
    helpers.make(older, name, "CREATE EXTENSION old_snapshot; CREATE TABLE words AS SELECT generate_series(1, 5) n")
    bench = helpers.bench(older, tmp_path)
    bench.take(name)
    helpers.drop(older, name)
    with pytest.raises(TargetError, match=r"has no files for old_snapshot.*install them on the server"):
        bench.restore(second)
    assert ours(second, name, helpers) == []


def test_an_older_server(bench: Any, database: str, older: Any, helpers: Any) -> None:
    bench.take(database)
    with pytest.raises(TargetError, match=r"15\..* is older than the PostgreSQL 18.*restore to a server of version 18"):
        bench.restore(older)
    assert ours(older, database, helpers) == []


def test_a_newer_client_for_an_old_server(bench: Any, older: Any, second: Any, helpers: Any, tmp_path: Path) -> None:
    """pg_restore 17 and newer say SET transaction_timeout, which PostgreSQL 15 does not know."""
    name = f"b4_{uuid4().hex[:8]}"
    helpers.make(older, name, "CREATE TABLE words AS SELECT generate_series(1, 5) n")
    old_bench = helpers.bench(older, tmp_path / "old")
    report = old_bench.take(name)
    # As if pg_dump 18 had been the only one there: its archives are for pg_restore 17 and newer.
    artifact = old_bench.dump_again(report, name, 18)
    assert artifact.tool.startswith("pg_dump 18")
    assert artifact.server.startswith("15")
    helpers.drop(older, name)
    assert old_bench.restore(older) == 0, old_bench.text
    assert words(older, name, helpers) == 5
    helpers.drop(older, name)
    # And to a newer server.
    assert old_bench.restore(second) == 0
    assert words(second, name, helpers) == 5
    helpers.drop(second, name)


def test_no_room(bench: Any, second: Any, database: str, helpers: Any) -> None:
    report = bench.take(database)
    rewrite(bench, report.point, lambda one: replace(one, detail={**one.detail, "database_bytes": 1 << 60}))
    with pytest.raises(TargetError, match="MiB free on its disk, and about"):
        bench.restore(second)
    assert ours(second, database, helpers) == []


def test_roles_are_made_without_login_and_live_ones_left(
    bench: Any, second: Any, database: str, postgres: Any, helpers: Any
) -> None:
    role = f"{database}_role"
    identifier = sql.Identifier(role)
    pair = keygen()
    with postgres.connect(database) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEDB PASSWORD 'canary-old'").format(identifier))
        connection.execute(sql.SQL("ALTER TABLE words OWNER TO {}").format(identifier))
        connection.execute(sql.SQL("GRANT pg_monitor TO {}").format(identifier))
    state = sql.SQL("SELECT rolcanlogin, rolcreatedb, rolpassword FROM pg_authid WHERE rolname = {}").format(
        sql.Literal(role)
    )
    try:
        then = helpers.rows(postgres, "postgres", state)
        bench.take(database, recipients=[pair.recipient])
        assert bench.restore(second, identities=[pair.identity]) == 0
        assert helpers.rows(second, "postgres", state) == [(False, False, None)]
        assert f'made the roles "{role}", which may not log in yet' in bench.text
        assert "run the restore again with --globals" in bench.text
        owner = "SELECT relowner::regrole::text FROM pg_class WHERE relname = 'words'"
        assert helpers.rows(second, database, owner) == [(role,)]
        with second.connect() as connection:
            connection.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD 'canary-live'").format(identifier))
        live = helpers.rows(second, "postgres", state)
        helpers.drop(second, database)
        assert bench.restore(second, identities=[pair.identity]) == 0
        assert helpers.rows(second, "postgres", state) == live
        helpers.drop(second, database)
        mine = "SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'"
        own = helpers.rows(second, "postgres", mine)
        assert bench.restore(second, identities=[pair.identity], roles=True) == 0
        assert helpers.rows(second, "postgres", state) == then
        assert helpers.rows(second, "postgres", mine) == own
        assert "canary" not in bench.text
    finally:
        for server in (postgres, second):
            helpers.drop(server, database)
            with server.connect() as connection:
                connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(identifier))


def test_roles_and_live_data_need_leave(bench: Any, second: Any, database: str, helpers: Any) -> None:
    bench.take(database)
    helpers.make(second, database, "CREATE TABLE words (n int)")
    for wish in ({"swap": True}, {"roles": True}):
        with pytest.raises(TargetError, match="nothing was touched; run it again with --yes"):
            bench.restore(second, yes=False, **wish)
    assert ours(second, database, helpers) == [database]


def test_a_role_that_may_not(bench: Any, second: Any, database: str, helpers: Any) -> None:
    bench.take(database)
    url = helpers.url_of(second, user=second.user, password=second.password)
    with pytest.raises(TargetError, match='the role "watchkeeper" may not create databases; restore as a superuser'):
        bench.restore(second, url=url)


def test_no_superuser_but_its_own_master(bench: Any, second: Any, database: str, helpers: Any) -> None:
    """What hosts give: may make databases and roles, and is no superuser."""
    with second.connect() as connection:
        connection.execute("CREATE ROLE host_admin LOGIN CREATEDB CREATEROLE PASSWORD 'x'")
    try:
        bench.take(database)
        url = helpers.url_of(second, user="host_admin", password="x")
        assert bench.restore(second, url=url) == 0, bench.text
        assert words(second, database, helpers) == 200
        assert 'all objects will belong to "host_admin", which is no member of postgres' in bench.text
        owner = "SELECT DISTINCT relowner::regrole::text FROM pg_class WHERE relname IN ('words', 'Other Table')"
        assert helpers.rows(second, database, owner) == [("host_admin",)]
    finally:
        helpers.drop(second, database)
        with second.connect() as connection:
            connection.execute("DROP ROLE host_admin")


def test_the_newest_good_dump_of_each_database(bench: Any, second: Any, database: str, helpers: Any) -> None:
    old = bench.take(database)
    time.sleep(1.1)  # a point's name tells its second
    new = bench.take(database, "litellm")
    rewrite(
        bench,
        new.point,
        lambda one: replace(one, status="failed", error="the disk was on fire") if one.name == database else one,
    )
    assert bench.restore(second, databases=[database]) == 0
    assert f"comes from {old.point}, the newest point in which it is whole" in bench.text
    assert "the disk was on fire" in bench.text
    assert words(second, database, helpers) == 200


def test_nothing_comes_back_of_an_empty_database(bench: Any, second: Any) -> None:
    bench.take("postgres")
    assert bench.restore(second) == 0
    assert "nothing to bring back into postgres: empty when dumped" in bench.text


def test_told_to_stop_it_leaves_nothing(bench: Any, second: Any, database: str, helpers: Any) -> None:
    bench.take(database)
    bench.told.on_progress = lambda progress: bench.stop.set() if progress.table == "comparing" else None
    with pytest.raises(StoppedError):
        bench.restore(second)
    assert ours(second, database, helpers) == []


def test_what_a_killed_restore_left_is_mended(bench: Any, second: Any, database: str, helpers: Any) -> None:
    bench.take(database)
    point = bench.catalog.load("latest").id
    # As a restore leaves it that died in its middle, and one that died before the exchange.
    with contextlib.closing(helpers.target_of(second)) as target:
        dead = Mark(point=point, database=database, sha256="x", state="restoring", pid=1, since="then")
        alive = replace(dead, pid=target.pid, since=target.since)
        made = {
            f"{database}_restoring_aaaaaa": dead,
            f"{database}_restoring_bbbbbb": replace(dead, state="restored"),
            f"{database}_restoring_cccccc": None,
            f"{database}_restoring_dddddd": alive,
        }
        for name, mark in made.items():
            helpers.make(second, name)
            if mark:
                target.mark(name, mark)
        assert bench.restore(second, plan=True) == 0
        assert set(made) <= set(ours(second, database, helpers))
        assert "died in its middle" in bench.text
        assert "died before it could exchange it" in bench.text
        assert bench.restore(second) == 0
        kept = f"{database}_restored_{point[:8]}"
        assert ours(second, database, helpers) == [database, kept, f"{database}_restoring_dddddd"]


def test_killed_in_its_middle(bench: Any, second: Any, database: str, program: Any, helpers: Any) -> None:
    bench.take(database)
    child = program.start("restore", "--to-postgres", "TARGET", TARGET=helpers.url_of(second))
    deadline = time.monotonic() + 60
    while not any("_restoring_" in name for name in ours(second, database, helpers)):
        assert time.monotonic() < deadline, child.communicate()
    os.kill(child.pid, signal.SIGKILL)
    child.communicate()
    time.sleep(0.3)  # the server ends its session
    assert bench.restore(second) == 0, bench.text
    assert database in ours(second, database, helpers)
    assert not [name for name in helpers.names(second) if "_restoring_" in name]


def test_it_needs_nothing_else(bench: Any, second: Any, database: str, program: Any, helpers: Any) -> None:
    """Only the store, the server and the key: what is wrong with other settings does not matter, and nothing secret is
    told."""
    pair = keygen()
    bench.take(database, recipients=[pair.recipient])
    url = helpers.url_of(second)
    code, text = program.run(
        "restore",
        "--to-postgres",
        "NEW_ADDRESS",
        NEW_ADDRESS=url,
        BACKUP_AGE_IDENTITY=pair.identity.reveal(),
        DATABASE_URL="${{Postgres.DATABASE_URL}}",
        SLACK_WEBHOOK_URL="${{shared.SLACK}}",
        BACKUP_RETENTION_DAYS="never",
        BACKUP_COUNT_SECONDS="many",
        BACKUP_AGE_RECIPIENTS="nonsense",
        CLICKHOUSE_PORT="x",
    )
    assert code == 0, text
    assert words(second, database, helpers) == 200
    assert second.superuser_password not in text
    assert pair.identity.reveal() not in text
    helpers.drop(second, database)
    code, text = program.run("restore", "--to-postgres", "NEW_ADDRESS", NEW_ADDRESS=url, BACKUP_AGE_IDENTITY="wrong")
    assert code == 2
    assert "BACKUP_AGE_IDENTITY" in text
    code, text = program.run("restore", BACKUP_AGE_IDENTITY=pair.identity.reveal())
    assert code == 2
    assert "set DATABASE_URL, or give --to-postgres" in text


def test_no_secret_in_arguments_or_environments(bench: Any, second: Any, database: str, helpers: Any) -> None:
    """Whatever runs while a restore does is looked at, again and again."""
    bench.take(database)
    seen: set[str] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            for folder in Path("/proc").iterdir():
                if folder.name.isdigit():
                    try:
                        command = (folder / "cmdline").read_bytes()
                        if b"pg_restore" in command:
                            seen.add((command + (folder / "environ").read_bytes()).decode(errors="replace"))
                    except OSError:
                        continue

    thread = threading.Thread(target=look)
    thread.start()
    try:
        assert bench.restore(second) == 0
    finally:
        done.set()
        thread.join()
    assert any("--dbname" in text for text in seen)
    assert not [text for text in seen if second.superuser_password in text]


def test_the_mark_is_read_back() -> None:
    mark = Mark(point="p", database="d\"'", sha256="s", state="restored", pid=3, since="t")
    assert Mark.read(mark.text()) == mark
    for other in ("", "hello", "{}", "[]", json.dumps({"watchkeeper restore": 3}), json.dumps(asdict(mark))):
        assert Mark.read(other) is None


def test_no_server_no_point(bench: Any, second: Any) -> None:
    with pytest.raises(ArchiveError, match="no restore point of default"):
        bench.restore(second)
    with pytest.raises(BackupError, match="there is no restore point 20261121T030000Z-7f3a"):
        bench.restore(second, point="20261121T030000Z-7f3a")
