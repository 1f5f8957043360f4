"""Live tables exchanged for restored ones, under writers who check that nothing is lost and nothing counted twice."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from backup.clickhouse.client import ClickhouseError, Server
from backup.clickhouse.gate import GATE
from backup.clickhouse.sql import name
from backup.clickhouse.swap import Exchange, Swapped, swap_all
from backup.errors import StoppedError, TargetError
from demo.clickhouse import fill_langfuse

TABLES = (
    "CREATE TABLE {d}.raw (id UInt64, kind String) ENGINE = ReplacingMergeTree ORDER BY id",
    "CREATE TABLE {d}.by_kind (kind String, n UInt64) ENGINE = SummingMergeTree ORDER BY kind",
    "CREATE MATERIALIZED VIEW {d}.raw_to_kind TO {d}.by_kind AS SELECT kind, count() AS n FROM {d}.raw GROUP BY kind",
    "CREATE TABLE {d}.total (n UInt64) ENGINE = SummingMergeTree ORDER BY tuple()",
    "CREATE MATERIALIZED VIEW {d}.kind_to_total TO {d}.total AS SELECT sum(n) AS n FROM {d}.by_kind",
    "CREATE TABLE {d}.plain (id UInt64) ENGINE = MergeTree ORDER BY id",
    "CREATE VIEW {d}.kinds AS SELECT kind, sum(n) AS n FROM {d}.by_kind GROUP BY kind",
    "INSERT INTO {d}.raw SELECT number, if(number % 2, 'odd', 'even') FROM numbers(1000)",
    "INSERT INTO {d}.plain SELECT number FROM numbers(1000)",
)


def fill(lab: Any, database: str) -> None:
    for statement in TABLES:
        lab.run(statement.replace("{d}", name(database)))


class Writer:
    """Inserts without pause into one table, each row once with an id of its own; an insert that is refused is tried
    again with the same rows, as a client does. `accepted` are the ids the server has confirmed."""

    def __init__(self, lab: Any, table: str, row: str, first: int) -> None:
        self.accepted: list[int] = []
        self.refused: Counter[int] = Counter()
        self._server = Server(lab.settings.clickhouse, lab.mask)
        self._table, self._row, self._next = table, row, first
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        while not self._stop.is_set():
            batch = list(range(self._next, self._next + 5))
            self._next += 5
            while True:
                try:
                    self._server.run(
                        f"INSERT INTO {self._table} SELECT {self._row} FROM numbers({batch[0]}, 5)",
                        of="a client's insert",
                    )
                except ClickhouseError as error:
                    self.refused[error.code] += 1
                    time.sleep(0.02)
                    continue
                self.accepted += batch
                break

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        self._server.close()


@pytest.fixture
def write() -> Iterator[Callable[..., Writer]]:
    writers: list[Writer] = []

    def start(*arguments: Any) -> Writer:
        writers.append(Writer(*arguments))
        return writers[-1]

    yield start
    for writer in writers:
        writer.close()


def restored_beside(lab: Any, database: str) -> tuple[Any, str]:
    artifact = lab.back_up(database)[database]
    assert artifact.status == "whole", artifact.error
    aside = f"{database}__restored_1"
    lab.restorer().database(artifact, lab.prefix, aside)
    return artifact, aside


def exchange(lab: Any, artifact: Any, aside: str, server: Server | None = None) -> Swapped:
    made = Exchange(server or lab.server, artifact, aside, f"{artifact.name}__before_1")
    return swap_all([made], threading.Event())[0]


def ids(lab: Any, database: str, table: str) -> Counter[int]:
    return Counter(row["id"] for row in lab.server.rows(f"SELECT id FROM {name(database, table)}"))


def count(lab: Any, sql: str) -> int:
    return int(lab.server.value(sql) or 0)


def test_nothing_is_lost_and_nothing_counted_twice_under_writers(
    lab: Any, database: str, write: Callable[..., Writer]
) -> None:
    fill(lab, database)
    artifact, aside = restored_beside(lab, database)
    raw = [
        write(lab, name(database, "raw"), "number AS id, if(number % 2, 'odd', 'even')", n) for n in (10_000, 50_000)
    ]
    plain = write(lab, name(database, "plain"), "number", 10_000)
    time.sleep(0.5)
    swapped = exchange(lab, artifact, aside)
    time.sleep(0.5)
    for writer in (*raw, plain):
        writer.close()

    assert set(swapped.exchanged) == {"raw", "by_kind", "total", "plain"}
    assert set(swapped.held) == {"raw", "by_kind"}
    assert swapped.notes == ()
    assert not plain.refused, "a table that feeds no view is exchanged without a hitch"
    assert all(set(writer.refused) <= {469} for writer in raw)
    kept = f"{database}__before_1"
    for table, writers in (("raw", raw), ("plain", [plain])):
        new, old = ids(lab, database, table), ids(lab, kept, table)
        accepted = [one for writer in writers for one in writer.accepted]
        assert accepted[-1] in new
        assert accepted[0] in old
        assert Counter(accepted) == Counter(one for found in (new, old) for one in found.elements() if one >= 10_000)
        assert all(new[one] == old[one] == 1 for one in range(1000))
    for place in (database, kept):
        rows = count(lab, f"SELECT count() AS n FROM {name(place, 'raw')}")
        assert count(lab, f"SELECT sum(n) AS m FROM {name(place, 'by_kind')}") == rows
        assert count(lab, f"SELECT sum(n) AS m FROM {name(place, 'total')}") == rows
    assert count(lab, f"SELECT sum(n) AS m FROM {name(database, 'kinds')}") == count(
        lab, f"SELECT count() AS n FROM {name(database, 'raw')}"
    )
    gone = "SELECT count() AS n FROM system.databases WHERE name = {d:String}"
    assert lab.server.value(gone, {"d": aside}) == 0
    left = "SELECT count() AS n FROM system.tables WHERE position(create_table_query, {g:String}) > 0 AND name = 'raw'"
    assert lab.server.value(left, {"g": GATE}) == 0


def test_langfuse_tables_are_swapped_under_load(
    fresh_clickhouse: Any, fresh_lab: Any, write: Callable[..., Writer]
) -> None:
    server = fresh_clickhouse(seed=0)
    fill_langfuse(server, traces=300)
    lab = fresh_lab(server)
    artifact, aside = restored_beside(lab, "default")
    columns = (
        "concat('w', toString(number)) AS id, 'trace', 'project-9', 'GENERATION', now64(3), 'x', 'DEFAULT', now64(3), 0"
    )
    into = "default.observations (id, trace_id, project_id, type, start_time, name, level, event_ts, is_deleted)"
    writer = write(lab, into, columns, 0)
    time.sleep(0.5)
    swapped = exchange(lab, artifact, aside)
    time.sleep(0.5)
    writer.close()

    assert swapped.held == ("observations",)
    found = [
        row["id"]
        for place in ("default", "default__before_1")
        for row in lab.server.rows(f"SELECT id FROM {name(place, 'observations')} WHERE project_id = 'project-9'")
    ]
    assert sorted(found) == sorted(f"w{one}" for one in writer.accepted)
    for place in ("default", "default__before_1"):
        seen = count(lab, f"SELECT count() AS n FROM {name(place, 'observations')} WHERE type = 'GENERATION'")
        assert count(lab, f"SELECT sum(calls) AS n FROM {name(place, 'model_usage_by_day')}") == seen
    assert count(lab, "SELECT count() AS n FROM default.observations WHERE project_id = 'project-9'") > 0


# Of the 18 steps: 0 to 7 hold two tables and their restored ones, 8 to 11 drop views, 12 to 15 exchange, 16 and 17 make
# the views again.
FAILING = (1, 6, 9, 13, 15, 17)


def test_a_failure_at_any_step_puts_everything_back(lab: Any, database: str) -> None:
    fill(lab, database)
    artifact, aside = restored_beside(lab, database)
    before = look(lab, database), look(lab, aside)
    server = Breaking(lab.settings.clickhouse, lab.mask)
    for rows, failing in enumerate(FAILING, start=1001):
        server.left = failing
        with pytest.raises(TargetError, match=r"everything is as it was before: .* broken by the test"):
            exchange(lab, artifact, aside, server)
        assert (look(lab, database), look(lab, aside)) == before, failing
        lab.run(f"INSERT INTO {name(database, 'raw')} SELECT {76_000 + rows}, 'after'")
        assert count(lab, f"SELECT sum(n) AS m FROM {name(database, 'total')}") == rows, failing
    server.left = FAILING[-1] + 1
    exchange(lab, artifact, aside, server)
    assert server.left == 0, "there is no step after the last that was broken"
    server.close()


def test_when_the_second_database_fails_the_first_is_put_back(
    lab: Any, database: str, write: Callable[..., Writer]
) -> None:
    second = f"{database} 2"
    lab.run(f"CREATE DATABASE {name(second)}")
    fill(lab, database)
    lab.run(f"CREATE TABLE {name(second, 'plain')} (id UInt64) ENGINE = MergeTree ORDER BY id")
    made = [(*restored_beside(lab, one), one) for one in (database, second)]
    before = [look(lab, found) for _, aside, one in made for found in (one, aside)]
    server = Breaking(lab.settings.clickhouse, lab.mask)
    server.left = 18  # all of the first's steps, and none of the second's
    exchanges = [Exchange(server, artifact, aside, f"{one}__before_1") for artifact, aside, one in made]
    writer = write(lab, name(database, "raw"), "number AS id, 'odd' AS kind", 10_000)
    with pytest.raises(TargetError, match=r"broken by the test.*; .käse.* put back as before"):
        swap_all(exchanges, threading.Event())
    writer.close()

    assert [look(lab, found) for _, aside, one in made for found in (one, aside)] == before
    places = (database, made[0][1])
    found = Counter(one for place in places for one in ids(lab, place, "raw").elements() if one >= 10_000)
    assert found == Counter(writer.accepted)
    for place in places:
        rows = count(lab, f"SELECT count() AS n FROM {name(place, 'raw')}")
        assert count(lab, f"SELECT sum(n) AS m FROM {name(place, 'total')}") == rows
    stop = threading.Event()
    stop.set()
    with pytest.raises(StoppedError, match="the live tables are as they were"):
        swap_all([Exchange(lab.server, *made[0][:2], "x")], stop)
    again = [Exchange(lab.server, artifact, aside, f"{one}__before_1") for artifact, aside, one in made]
    assert [one.notes for one in swap_all(again, threading.Event())] == [(), ()]
    server.close()


class Breaking(Server):
    """Refuses the statement that changes something when `left` others have gone before it."""

    left = -1

    def run(self, sql: str, **arguments: Any) -> None:
        if arguments.get("of", "").startswith("the step"):
            sql = "SELECT throwIf(1, 'broken by the test')" if self.left == 0 else sql
            self.left -= 1
        super().run(sql, **arguments)


def look(lab: Any, database: str) -> dict[str, Any]:
    found = lab.server.rows(
        "SELECT name, engine, create_table_query AS ddl, toString(uuid) AS id, dependencies_table AS d "
        "FROM system.tables WHERE database = {d:String}",
        {"d": database},
    )
    return {
        row["name"]: (row["ddl"], row["id"] if "View" not in row["engine"] else "", sorted(row["d"])) for row in found
    }


def test_a_view_that_keeps_its_rows_itself_is_refused_with_the_steps(lab: Any, database: str) -> None:
    fill(lab, database)
    kept = f"CREATE MATERIALIZED VIEW {name(database, 'own')} ENGINE = MergeTree ORDER BY id"
    lab.run(f"{kept} AS SELECT id FROM {name(database, 'raw')}")
    artifact, aside = restored_beside(lab, database)
    before = look(lab, database)
    with pytest.raises(TargetError, match="own keeps its rows itself") as raised:
        exchange(lab, artifact, aside)
    assert f"RENAME TABLE {name(database, 'raw')} TO" in raised.value.remedy
    assert "MOVE PARTITION" in raised.value.remedy
    assert look(lab, database) == before


def test_a_table_that_cannot_refuse_inserts_is_refused(lab: Any, database: str) -> None:
    fill(lab, database)
    lab.run(f"CREATE TABLE {name(database, 'gate')} (id UInt64) ENGINE = Null")
    view = f"CREATE MATERIALIZED VIEW {name(database, 'gate_view')} TO {name(database, 'plain')}"
    lab.run(f"{view} AS SELECT id FROM {name(database, 'gate')}")
    artifact, aside = restored_beside(lab, database)
    with pytest.raises(TargetError, match="feeds a view and is of engine Null"):
        exchange(lab, artifact, aside)


def test_a_dropped_table_comes_back_and_a_newer_one_stays(lab: Any, database: str) -> None:
    fill(lab, database)
    artifact, aside = restored_beside(lab, database)
    lab.run(f"DROP TABLE {name(database, 'plain')} SYNC")
    lab.run(f"CREATE TABLE {name(database, 'newer')} (a Int8) ENGINE = MergeTree ORDER BY a")
    lab.run(f"DROP VIEW {name(database, 'kinds')} SYNC")

    before = look(lab, database)
    swapped = exchange(lab, artifact, aside)

    assert "newer" in swapped.notes[0]
    assert len(ids(lab, database, "plain")) == 1000
    assert count(lab, f"SELECT sum(n) AS m FROM {name(database, 'kinds')}") == 1000
    # What it says for taking it back does that, but for what there was not before.
    for statement in swapped.back:
        lab.run(statement.removesuffix(";"))
    after = look(lab, database)
    assert set(after) - set(before) == {"plain"}
    assert {one: after[one] for one in before} == before
    lab.run(f"INSERT INTO {name(database, 'raw')} SELECT 5000, 'after'")
    assert count(lab, f"SELECT sum(n) AS m FROM {name(database, 'total')}") == 1001


def test_what_was_restored_before_serves_the_swap_while_it_is_the_same(lab: Any, database: str) -> None:
    fill(lab, database)
    artifact, aside = restored_beside(lab, database)
    found = lab.restorer().same(artifact, aside)
    assert found is not None
    assert (found.level, found.created) == ("equal", False)
    lab.run(f"INSERT INTO {name(aside, 'plain')} SELECT 5000")
    assert lab.restorer().same(artifact, aside) is None
    assert lab.restorer().same(artifact, "no such database") is None


def test_a_hold_ends_by_itself(lab: Any, database: str) -> None:
    """What a swap leaves that is killed while it holds a table."""
    fill(lab, database)
    until = count(lab, "SELECT toUnixTimestamp(now()) + 1 AS t")
    lab.run(f"ALTER TABLE {name(database, 'raw')} ADD CONSTRAINT {GATE} CHECK now() > fromUnixTimestamp({until})")
    with pytest.raises(ClickhouseError, match=GATE):
        lab.run(f"INSERT INTO {name(database, 'raw')} SELECT 5000, 'held'")
    time.sleep(2.1)
    lab.run(f"INSERT INTO {name(database, 'raw')} SELECT 5000, 'held'")
    artifact, aside = restored_beside(lab, database)
    assert exchange(lab, artifact, aside).held
