"""A database with one of everything comes back byte-true on a second server."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from psycopg import sql

from backup.seal import keygen

# The shared server may serve another worker's copy of this module at the same time.
OWN = uuid4().hex[:6]
NAME = f'Ünï {OWN} "quöted\' & Spaced" ☃'
ODD_ROLE = f'Rôle "x" {OWN}'

EVERYTHING = """
CREATE EXTENSION vector;
CREATE EXTENSION pg_trgm;
CREATE SCHEMA "My Schema";
COMMENT ON SCHEMA "My Schema" IS 'it''s; a schema
on two lines';
CREATE TYPE mood AS ENUM ('sad', 'Ok', 'very happy');
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TYPE pair AS (a int, b text);
CREATE FUNCTION double(n int) RETURNS int LANGUAGE sql IMMUTABLE AS $$ SELECT n * 2 $$;
CREATE FUNCTION "My Schema".touch() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN NEW.touched := 'touched; ' || coalesce(NEW.touched, ''); RETURN NEW; END $body$;
CREATE TABLE "My Schema"."Table ""One"" x" (
  id bigint GENERATED ALWAYS AS IDENTITY (START 7 INCREMENT 3) PRIMARY KEY, "Größe" positive, m mood, p pair,
  doc jsonb, list text[], grid int[][], at timestamptz, price numeric(20, 6), uid uuid, net inet, span tstzrange,
  raw bytea, ok boolean, half real, vec vector(3), touched text, twice int GENERATED ALWAYS AS (double("Größe")) STORED,
  words tsvector);
COMMENT ON COLUMN "My Schema"."Table ""One"" x"."Größe" IS 'ünï';
CREATE TRIGGER "Trig ger" BEFORE INSERT ON "My Schema"."Table ""One"" x" FOR EACH ROW
  EXECUTE FUNCTION "My Schema".touch();
INSERT INTO "My Schema"."Table ""One"" x" ("Größe", m, p, doc, list, grid, at, price, uid, net, span, raw, ok, half,
    vec, words)
  SELECT n, (ARRAY['sad', 'Ok', 'very happy'])[n % 3 + 1]::mood, ROW(n, E'tab\\tline\\nback\\\\slash')::pair,
    jsonb_build_object('n', n, 'deep', jsonb_build_array(n, NULL, 'ü"q')), ARRAY['a,b', NULL, '"', ''],
    ARRAY[[n, 1], [2, 3]], '2026-01-01T00:00:00.123456Z'::timestamptz + n * interval '1 hour', n / 7.0,
    md5(n::text)::uuid, '10.0.0.1', tstzrange('2026-01-01', '2026-02-01'), sha256(n::text::bytea), n % 2 = 0,
    'NaN', ARRAY[n, n / 3.0, -1]::vector, to_tsvector('english', 'the quick brown fox ' || n)
  FROM generate_series(1, 300) n;
CREATE INDEX ON "My Schema"."Table ""One"" x" USING hnsw (vec vector_l2_ops);
CREATE INDEX ON "My Schema"."Table ""One"" x" USING gin (doc jsonb_path_ops);
CREATE INDEX "partial IX" ON "My Schema"."Table ""One"" x" (lower(touched)) WHERE ok;
CREATE TABLE parts (k int, day date, v text, PRIMARY KEY (k, day)) PARTITION BY RANGE (day);
CREATE TABLE parts_2025 PARTITION OF parts FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE parts_2026 PARTITION OF parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01') PARTITION BY LIST (k);
CREATE TABLE parts_2026_a PARTITION OF parts_2026 FOR VALUES IN (1, 2, 3);
CREATE TABLE parts_rest PARTITION OF parts_2026 DEFAULT;
INSERT INTO parts SELECT n % 9, '2025-06-01'::date + n, 'v' || n FROM generate_series(0, 500) n;
CREATE TABLE parent (id int PRIMARY KEY, note text);
CREATE TABLE child (extra text) INHERITS (parent);
INSERT INTO parent VALUES (1, 'p'); INSERT INTO child VALUES (2, 'c', 'x');
CREATE TABLE refers (id int PRIMARY KEY, parent int REFERENCES parent ON DELETE CASCADE DEFERRABLE, self int
  REFERENCES refers);
INSERT INTO refers VALUES (1, 1, 2), (2, NULL, 1);
CREATE UNLOGGED TABLE unlogged (n int); INSERT INTO unlogged VALUES (1);
CREATE TABLE empty_one (n int);
CREATE TABLE no_columns (); INSERT INTO no_columns DEFAULT VALUES; INSERT INTO no_columns DEFAULT VALUES;
CREATE TABLE dropped (a int, b int, c text); ALTER TABLE dropped DROP b; INSERT INTO dropped VALUES (1, 'c');
CREATE SEQUENCE counter START 5 INCREMENT 5; SELECT nextval('counter'), nextval('counter');
CREATE VIEW seen AS SELECT id, "Größe" FROM "My Schema"."Table ""One"" x";
CREATE MATERIALIZED VIEW counted AS SELECT m, count(*) AS c FROM "My Schema"."Table ""One"" x" GROUP BY m;
CREATE UNIQUE INDEX ON counted (m);
CREATE MATERIALIZED VIEW hollow AS SELECT 1 AS n WITH NO DATA;
CREATE RULE quiet AS ON DELETE TO empty_one DO INSTEAD NOTHING;
ALTER TABLE refers ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON refers TO {role} USING (id > 0);
ALTER TABLE parent OWNER TO {role};
GRANT SELECT (id), UPDATE ON refers TO {role} WITH GRANT OPTION;
GRANT USAGE ON SCHEMA "My Schema" TO PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE {role} IN SCHEMA "My Schema" GRANT SELECT ON TABLES TO PUBLIC;
CREATE STATISTICS about (dependencies) ON k, day FROM parts;
CREATE PUBLICATION news FOR TABLE parent;
SELECT lo_from_bytea(0, sha512('one')), lo_from_bytea(0, repeat('large ', 200000)::bytea);
COMMENT ON TABLE parts IS 'parts';
DO $$ BEGIN FOR n IN 1..1000 LOOP
  EXECUTE format('CREATE TABLE "My Schema".many_%s (n int)', n);
  IF n % 100 = 0 THEN EXECUTE format('INSERT INTO "My Schema".many_%s SELECT generate_series(1, %s)', n, n); END IF;
END LOOP; END $$;
"""


@pytest.fixture(scope="module")
def everything(postgres: Any, second: Any, helpers: Any) -> Iterator[str]:
    """The database, on the shared server; both servers are clean of it afterwards."""
    role = sql.Identifier(ODD_ROLE)
    with postgres.connect() as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'canary-of-the-role'").format(role))
    helpers.make(postgres, NAME)
    with postgres.connect(NAME) as connection:
        connection.execute(sql.SQL(EVERYTHING).format(role=role))
        database = sql.Identifier(NAME)
        for text in (
            "ALTER DATABASE {d} OWNER TO {r}",
            """ALTER DATABASE {d} SET search_path TO "$user", 'My Schema', public""",
            """ALTER DATABASE {d} SET "app.secret" TO 'it''s a canary'""",
            "ALTER ROLE {r} IN DATABASE {d} SET work_mem TO '7MB'",
            "ALTER DATABASE {d} CONNECTION LIMIT 33",
            "REVOKE TEMPORARY ON DATABASE {d} FROM PUBLIC",
            "GRANT CREATE ON DATABASE {d} TO {r} WITH GRANT OPTION",
            "COMMENT ON DATABASE {d} IS 'a comment; with '' quotes'",
        ):
            connection.execute(sql.SQL(text).format(d=database, r=role))
    yield NAME
    for server in (postgres, second):
        for name in helpers.names(server):
            if name.startswith(NAME[:10]):
                helpers.drop(server, name)
        with server.connect() as connection:
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(role))


PROPERTIES = """
SELECT pg_get_userbyid(datdba), datconnlimit, datcollate, pg_encoding_to_char(encoding),
  (SELECT array_agg(one::text ORDER BY one::text) FROM unnest(datacl) one),
  shobj_description(oid, 'pg_database'),
  (SELECT array_agg((setrole::regrole, setconfig)::text ORDER BY setrole) FROM pg_db_role_setting
    WHERE setdatabase = d.oid)
FROM pg_database d WHERE datname = {name}
"""


@pytest.fixture(scope="module")
def sealed(postgres: Any, everything: str, helpers: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A sealed point of it, and the key."""
    pair = keygen()
    bench = helpers.bench(postgres, tmp_path_factory.mktemp("store"))
    bench.take(everything, recipients=[pair.recipient])
    return bench, pair.identity


def test_everything_comes_back(sealed: Any, postgres: Any, second: Any, everything: str, helpers: Any) -> None:
    bench, identity = sealed
    helpers.drop(second, everything)
    assert bench.restore(second, identities=[identity]) == 0, bench.text
    # All of it as text, rows included, in the order in which they lie there.
    assert helpers.script(second, everything) == helpers.script(postgres, everything)
    query = sql.SQL(PROPERTIES).format(name=sql.Literal(everything))
    assert helpers.rows(second, "postgres", query) == helpers.rows(postgres, "postgres", query)
    digest = "SELECT md5(string_agg(c::text, '' ORDER BY c::text)) FROM counted c"
    assert helpers.rows(second, everything, digest) == helpers.rows(postgres, everything, digest)
    assert "connections" in bench.text
    # It can be used: the next numbers, the index, the trigger.
    with second.connect(everything) as connection:
        assert connection.execute("SELECT nextval('counter')").fetchall() == [(15,)]
        connection.execute("SET enable_seqscan = off")
        assert connection.execute(
            'SELECT id FROM "My Schema"."Table ""One"" x" ORDER BY vec <-> \'[5,1.66,-1]\' LIMIT 1'
        ).fetchall() == [(19,)]
    with second.connect() as connection:
        assert connection.execute(
            "SELECT rolcanlogin, rolpassword FROM pg_authid WHERE rolname = %s", (ODD_ROLE,)
        ).fetchall() == [(False, None)]
    assert "canary" not in bench.text
    unanalyzed = "SELECT count(*) FROM pg_stats WHERE tablename = 'parts_2025'"
    assert helpers.rows(second, everything, unanalyzed) != [(0,)]


def test_the_difference_would_be_seen(postgres: Any, everything: str, helpers: Any) -> None:
    before = helpers.script(postgres, everything)
    with postgres.connect(everything) as connection:
        connection.execute("UPDATE refers SET self = 1 WHERE id = 1")
        try:
            assert helpers.script(postgres, everything) != before
        finally:
            connection.execute("UPDATE refers SET self = 2 WHERE id = 1")


def test_a_large_table_is_loaded_by_all_connections(
    bench: Any, postgres: Any, second: Any, database: str, helpers: Any
) -> None:
    with postgres.connect(database) as connection:
        connection.execute(
            """
            CREATE TABLE large (n int, doc jsonb, note text);
            INSERT INTO large SELECT n, jsonb_build_object('text', repeat(md5(n::text), 40), 'n', n),
              CASE n % 3 WHEN 0 THEN NULL WHEN 1 THEN E'\\\\.\n\\\\.' ELSE '' END FROM generate_series(1, 20000) n;
            CREATE TABLE long_row (t text); INSERT INTO long_row SELECT repeat('x', 5000000);
            INSERT INTO long_row SELECT repeat('y', n) FROM generate_series(0, 3) n;
            """
        )
    bench.take(database)
    assert bench.restore(second) == 0, bench.text
    for table in ("large", "long_row", "words"):
        digest = f"SELECT count(*), md5(string_agg(md5(t::text), '' ORDER BY md5(t::text))) FROM {table} t"
        assert helpers.rows(second, database, digest) == helpers.rows(postgres, database, digest)
