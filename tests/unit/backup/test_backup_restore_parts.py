"""The pure parts of a restore: scripts cut into statements, roles a dump needs, what is chosen, who undoes what."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup import manifest
from backup.catalog import Catalog
from backup.errors import BackupError, SettingsError, StoppedError, TargetError
from backup.layout import point_prefix
from backup.manifest import MANIFEST, Artifact, Manifest
from backup.part import Hands, Order, engine_of
from backup.plan import duration
from backup.postgres.archive import Contents, major_of, pick_reader
from backup.postgres.clients import Client
from backup.postgres.database import Database
from backup.postgres.leftovers import WORK, dated
from backup.postgres.prepare import refuse_server
from backup.postgres.roles import Roles, how_to_log_in, needed
from backup.postgres.script import elements, spellings, statements, unquoted
from backup.postgres.target import fit_name
from backup.proof import Proof, record
from backup.restore import _bring_in, _names, restore
from backup.selection import newest_roles, select
from backup.sweep import plan
from config.backup_settings import RetentionSettings

SCRIPT = r"""--
-- PostgreSQL database cluster dump; with a semicolon
--
\restrict abc;def
SET client_encoding = 'UTF8';
CREATE ROLE "we;ird ""q"" x";
COMMENT ON ROLE app IS 'it''s; a
comment on -- two lines';
ALTER ROLE app SET search_path TO 'a;b', E'c\'d;e';
DO $x$ BEGIN PERFORM ';'; END $x$;
\unrestrict abc
"""


def test_a_script_is_cut_where_statements_end() -> None:
    assert list(statements(SCRIPT)) == [
        "SET client_encoding = 'UTF8'",
        'CREATE ROLE "we;ird ""q"" x"',
        "COMMENT ON ROLE app IS 'it''s; a\ncomment on -- two lines'",
        r"ALTER ROLE app SET search_path TO 'a;b', E'c\'d;e'",
        "DO $x$ BEGIN PERFORM ';'; END $x$",
    ]
    assert list(statements("")) == []
    assert list(statements("SELECT 1")) == ["SELECT 1"]


@given(st.lists(st.text(min_size=1, max_size=30).filter(lambda text: "\0" not in text), max_size=6))
def test_names_and_texts_survive_the_cutting(texts: list[str]) -> None:
    made = []
    for text in texts:
        name, literal = text.replace('"', '""'), text.replace("'", "''")
        made.append(f"COMMENT ON ROLE \"{name}\" IS '{literal}'")
    assert list(statements("".join(f"{one};\n" for one in made))) == made


@given(st.text(min_size=1).filter(lambda text: "\0" not in text))
def test_a_name_is_what_its_spellings_say(name: str) -> None:
    assert {unquoted(one) for one in spellings(name)} == {name}


def test_lists_of_names() -> None:
    assert elements('"$user", public,"a ""b"", c"') == ["$user", "public", 'a "b", c']
    assert elements('""') == [""]
    assert elements("") == []


def test_roles_that_a_dump_needs() -> None:
    roles = Roles(script='CREATE ROLE app;\nCREATE ROLE "Odd one";\nCREATE ROLE unused;\nCREATE ROLE other;')
    schema = (
        "ALTER TABLE public.t OWNER TO app;\n"
        'GRANT SELECT ON TABLE public.t TO "Odd one" WITH GRANT OPTION;\n'
        "CREATE POLICY p ON public.t TO other USING (true);\n"
    )
    assert needed(schema, roles) == {"app", "Odd one", "other"}
    assert needed(schema, Roles()) == {"app", "Odd one"}
    assert (
        needed("GRANT USAGE ON SCHEMA public TO PUBLIC; ALTER SCHEMA x OWNER TO pg_database_owner;", Roles()) == set()
    )
    assert 'made the roles "app"' in how_to_log_in(["app"], passwords=False)


@pytest.fixture
def clients(tmp_path: Path) -> Callable[..., list[Client]]:
    """Clients of these majors, with a pg_restore each."""

    def make(*majors: int) -> list[Client]:
        made = []
        for major in majors:
            folder = tmp_path / str(major)
            folder.mkdir(exist_ok=True)
            program = folder / "pg_restore"
            program.touch()
            program.chmod(0o755)
            made.append(Client(folder=folder, version=f"{major}.1", major=major))
        return made

    return make


@pytest.mark.parametrize(
    ("there", "tool", "server", "picked"),
    [
        ((14, 15, 16, 18), "pg_dump 15.4", 15, 15),
        ((14, 15, 16, 18), "pg_dump 15.4", 16, 16),
        ((15, 18), "pg_dump 15.4", 17, 18),
        ((15, 16), "pg_dump 15.4", 17, 16),  # as near as there is: it reads the archive, and any server takes it
        ((14, 18), "pg_dump 15.4", 15, 18),
        ((16, 17, 18), "pg_dump 15.4", None, 16),
        ((18,), "", 18, 18),
    ],
)
def test_the_right_pg_restore(
    clients: Callable[..., list[Client]], there: tuple[int, ...], tool: str, server: int | None, picked: int
) -> None:
    artifact = Artifact(engine="postgres", kind="database", name="d", status="whole", server="15.4", tool=tool)
    assert pick_reader(clients(*there), artifact, server).major == picked


def test_no_pg_restore_is_new_enough(clients: Callable[..., list[Client]]) -> None:
    artifact = Artifact(
        engine="postgres", kind="database", name="d", status="whole", server="18.6", tool="pg_dump 18.6"
    )
    with pytest.raises(SettingsError, match="apt-get install postgresql-client-18"):
        pick_reader(clients(15, 17), artifact)
    assert [major_of(text) for text in ("18.6", "pg_dump 15.14", "18beta1", "")] == [18, 15, 18, 0]


def test_what_to_install_for_vector() -> None:
    artifact = Artifact(engine="postgres", kind="database", name="d", status="whole", server="16.1")
    contents = Contents(entries=("2; 3079 1 EXTENSION - vector ", "3; 0 0 COMMENT - EXTENSION vector "), of_database=())
    found = [what.removeprefix("EXTENSION - ").strip() for _, what in contents.described() if what[:9] == "EXTENSION"]
    dump: Any = SimpleNamespace(chosen=SimpleNamespace(artifact=artifact), extensions=dict.fromkeys(found, "0.8.0"))
    target: Any = SimpleNamespace(place="PostgreSQL 17.2 at db:5432", major=17, extensions=lambda: {"plpgsql": "1.0"})
    with pytest.raises(TargetError, match=re.escape("pgvector/pgvector:pg17, or postgresql-17-pgvector")):
        refuse_server(dump, target)


def test_names_that_fit() -> None:
    assert fit_name("litellm", "_restored_20261121") == "litellm_restored_20261121"
    long = fit_name("ü" * 40, "_restored_20261121")
    assert len(long.encode()) <= 63
    assert long.endswith("ü_restored_20261121")
    there = Database(name="x", oid=1, owner="", allows=True, template=False, size=0, comment="")
    when = datetime(2026, 11, 21, tzinfo=UTC)
    taken = {"a_restored_20261121": there, "a_restored_20261121_2": there}
    assert dated("a", when, taken) == "a_restored_20261121_3"
    assert WORK.search("a_restoring_0123ab")
    assert not WORK.search("a_restoring_today")


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.2, 60, 600, 7200)] == ["1 s", "60 s", "10 min", "2.0 h"]


def test_databases_as_they_are_asked_for() -> None:
    known = ["a", "b=c", "d"]
    assert _names([], known) is None
    assert _names(["a", "b=c", "d=e"], known) == {"a": None, "b=c": None, "d": "e"}
    assert _names(["b=c=x"], known) == {"b=c": "x"}
    for wrong in ("nope", "nope=x", "d="):
        with pytest.raises(SettingsError):
            _names([wrong], known)
    assert engine_of("postgres") == "postgres"
    assert engine_of(None) is None
    with pytest.raises(SettingsError):
        engine_of("mysql")


def artifact(name: str, status: Any = "whole", engine: Any = "postgres", kind: Any = "database") -> Artifact:
    return Artifact(
        engine=engine, kind=kind, name=name, status=status, server="18.1", error="x" if status != "whole" else ""
    )


def put(storage: Any, point: str, *artifacts: Artifact) -> None:
    at = "2026-11-21T00:00:00Z"
    made = Manifest(id=point, source="s", created_at=at, ended_at=at, tool_version="t", artifacts=artifacts)
    storage.put(f"{point_prefix('s', point)}{MANIFEST}", manifest.dump(made))


OLD, MIDDLE, NEW = "20261119T000000Z-0001", "20261120T000000Z-0002", "20261121T000000Z-0003"


def test_latest_is_judged_database_by_database(memory: Any) -> None:
    put(memory, OLD, artifact("a"), artifact("b"), artifact("gone"), artifact("globals", kind="globals"))
    put(memory, MIDDLE, artifact("a"), artifact("b", "failed"), artifact("ch", engine="clickhouse"))
    put(memory, NEW, artifact("a"), artifact("b", "failed"), artifact("never", "failed"))
    catalog = Catalog(memory, "s")
    found = select(catalog, "latest", "postgres")
    assert [(one.artifact.name, one.point.id) for one in found.databases] == [("a", NEW), ("b", OLD)]
    notes = "\n".join(found.notes)
    assert f"b comes from {OLD}" in notes
    assert "there is no good dump of postgres/database/never" in notes
    click = select(catalog, "latest", "clickhouse")
    assert [(one.artifact.name, one.point.id) for one in click.databases] == [("ch", MIDDLE)]
    assert [one.artifact.name for one in select(catalog, MIDDLE, "postgres").databases] == ["a"]
    roles = newest_roles(catalog, found.databases[0].point)
    assert roles is not None
    assert roles.point.id == OLD


def test_what_the_newest_point_no_longer_knows_is_told(memory: Any) -> None:
    """It may have been dropped by the accident that the restore is for."""
    put(memory, OLD, artifact("a"), artifact("it's b"), artifact("a_before_20261121"))
    put(memory, MIDDLE, artifact("*", "failed"))
    put(memory, NEW, artifact("a"))
    found = select(Catalog(memory, "s"), "latest", "postgres")
    assert [one.artifact.name for one in found.databases] == ["a"]
    (note,) = found.notes
    assert f"in {OLD} before it: it's b; to bring that back" in note
    assert f"restore {OLD} --only postgres --database 'it'\"'\"'s b'" in note


def test_what_verify_found_damaged_does_not_serve_nor_count(memory: Any) -> None:
    for point in (OLD, NEW):
        put(memory, point, artifact("a"), artifact("b"))
    catalog = Catalog(memory, "s")
    proof = Proof(level="written", at="2026-11-21T00:00:00Z", says="", error="a piece is missing")
    record(memory, catalog.load(NEW), {"postgres/database/a": proof})
    found = select(catalog, "latest", "postgres")
    assert [(one.artifact.name, one.point.id) for one in found.databases] == [("a", OLD), ("b", NEW)]
    assert "verify found it damaged: a piece is missing" in "\n".join(found.notes)
    # Whoever names a point has it.
    assert [one.artifact.name for one in select(catalog, NEW, "postgres").databases] == ["a", "b"]
    kept = plan(catalog, RetentionSettings(days=0.01, keep_min=1), clock=lambda: memory.time).of(OLD)
    assert [(one.label, one.keep) for one in kept.artifacts] == [
        ("postgres/database/a", True),
        ("postgres/database/b", False),
    ]


def test_an_engine_that_failed_as_a_whole(memory: Any) -> None:
    put(memory, OLD, artifact("a"))
    put(memory, NEW, artifact("*", "failed"), artifact("ch", engine="clickhouse"))
    memory.put(f"{point_prefix('s', MIDDLE)}{MANIFEST}", b"not json")
    found = select(Catalog(memory, "s"), "latest", "postgres")
    assert [(one.artifact.name, one.point.id) for one in found.databases] == [("a", OLD)]
    assert f"in {NEW} all of postgres failed" in found.notes[0]
    assert f"{MIDDLE} cannot be used" in found.notes[1]
    assert newest_roles(Catalog(memory, "s"), found.databases[0].point) is None


def test_what_is_in_one_engines_way_need_not_be_in_the_others(memory: Any) -> None:
    put(memory, NEW, artifact("a"), artifact("ch", engine="clickhouse"))

    def unreachable(*_: Any) -> Any:
        raise TargetError("ClickHouse does not answer", "check CLICKHOUSE_URL")

    def tried(only: Any = None) -> str:
        said: list[str] = []
        hands: Any = SimpleNamespace(
            catalog=Catalog(memory, "s"), say=said.append, clickhouse=unreachable, postgres=None, identities=()
        )
        with pytest.raises(BackupError) as raised:
            restore(Order(only=only), hands)
        return f"{' '.join(said)} {raised.value}"

    assert "check CLICKHOUSE_URL; or restore the other alone: --only postgres" in tried()
    assert tried("clickhouse").endswith("check CLICKHOUSE_URL")
    assert "NOT restored: postgres (a), since no server is named: set DATABASE_URL" in tried("postgres")
    assert tried("postgres").endswith("set DATABASE_URL, or give --to-postgres")


class FakePart:
    """A part that remembers what it was told, and fails where it shall."""

    count = 1
    problems = ()

    def __init__(self, engine: Any, fails: str = "", error: type[Exception] = TargetError) -> None:
        self.engine, self.fails, self.error = engine, fails, error
        self.did: list[str] = []

    def _do(self, what: str) -> None:
        self.did.append(what)
        if what == self.fails:
            raise self.error(f"{what} failed")

    def prepare(self) -> None: ...

    def proofs(self) -> Iterator[Any]:
        return iter(())

    def lines(self) -> Iterator[str]:
        return iter(())

    def cuts(self) -> str:
        return ""

    def restore(self) -> None:
        self._do("restore")

    def finish(self) -> None:
        self._do("finish")

    def leave(self) -> None:
        self._do("leave")

    def drop(self) -> None:
        self._do("drop")

    def undo(self) -> None:
        self._do("undo")

    def report(self) -> Iterator[str]:
        return iter(())

    def close(self) -> None: ...


@pytest.mark.parametrize(
    ("swap", "first", "second", "did", "failed"),
    [
        (True, "", "", (["restore", "finish"], ["restore", "finish"]), 0),
        (True, "", "restore", (["restore", "leave"], ["restore"]), 1),
        (True, "", "finish", (["restore", "finish", "undo"], ["restore", "finish"]), 1),
        (True, "finish", "", (["restore", "finish"], ["restore"]), 1),
        (False, "", "restore", (["restore", "finish"], ["restore"]), 1),
        (False, "finish", "", (["restore", "finish"], ["restore", "finish"]), 1),
    ],
)
def test_all_or_none_is_exchanged(
    memory: Any, swap: bool, first: str, second: str, did: tuple[list[str], list[str]], failed: int
) -> None:
    parts = [FakePart("postgres", first), FakePart("clickhouse", second)]
    assert len(_bring_in(parts, hands(memory), swap=swap)) == failed
    assert tuple(part.did for part in parts) == did


def test_told_to_stop_nothing_is_left(memory: Any) -> None:
    parts = [FakePart("postgres"), FakePart("clickhouse", "restore", StoppedError)]
    with pytest.raises(StoppedError):
        _bring_in(parts, hands(memory), swap=False)
    assert parts[0].did == ["restore", "drop"]


def hands(storage: Any) -> Hands:
    nobody: Any = None
    return Hands(catalog=Catalog(storage, "s"), environ={}, listener=nobody, say=lambda _: None, agree=lambda _: True)


def test_an_order_is_for_all_by_default() -> None:
    assert replace(Order(), swap=True) == Order(swap=True)
