"""The state file against real files, real threads, killed processes and disks that fail."""

import asyncio
import contextlib
import functools
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from monitor.database import Schema
from monitor.opening import KEPT_ASIDE
from monitor.state import StateClosedError, StateFile
from monitor.store import Notice

TABLES = """
CREATE TABLE pairs (n INTEGER PRIMARY KEY, a INTEGER NOT NULL, b INTEGER NOT NULL) STRICT;
CREATE TABLE seen (n INTEGER PRIMARY KEY, filling TEXT NOT NULL) STRICT;
"""
SCHEMA = Schema(owner="test", steps=(TABLES,), live=("pairs",), history=("seen",))
NOON = 1_790_000_000.0


def on_a_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Makes an async test one that pytest can call."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


@asynccontextmanager
async def opened(folder: Path, **options: Any) -> AsyncIterator[tuple[StateFile, list[Notice]]]:
    """A state file in `folder`, and the notices it gives."""
    notices: list[Notice] = []
    arguments = {"schemas": (SCHEMA,), "clock": lambda: NOON, "tick": 0.02, **options}
    state = await StateFile.open(folder, on_notice=notices.append, **arguments)
    try:
        yield state, notices
    finally:
        await state.close()


def put(number: int, a: int | None = None) -> Callable[[sqlite3.Connection], object]:
    """Writes one pair."""
    return lambda conn: conn.execute(
        "INSERT OR REPLACE INTO pairs VALUES (?, ?, ?)", (number, a or number, a or number)
    )


def numbers(conn: sqlite3.Connection) -> list[int]:
    return [n for (n,) in conn.execute("SELECT n FROM pairs ORDER BY n")]


async def until(condition: Callable[[], bool]) -> None:
    """Waits until `condition` holds, or fails."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 -- what is waited for has no event to wait on
            await asyncio.sleep(0.01)


def set_aside(folder: Path, kind: str) -> list[Path]:
    """The state files that were set aside, oldest first."""
    found = folder.glob(f"watchkeeper.db.{kind}-*")
    return sorted(path for path in found if not path.name.endswith(("-wal", "-shm")))


def child(script: str, *arguments: object) -> "subprocess.Popen[str]":
    """Another Python process that runs `script`."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])


def scribble(path: Path, offset: int, data: bytes) -> None:
    """Overwrites part of a file from another process: closing it in ours would drop SQLite's locks on it."""
    script = "import sys; f = open(sys.argv[1], 'r+b'); f.seek(int(sys.argv[2])); f.write(sys.stdin.buffer.read())"
    subprocess.run([sys.executable, "-c", script, path, str(offset)], input=data, check=True)


@on_a_loop
async def test_what_was_written_is_there_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path / "made" / "for" / "it") as (state, notices):
        await state.transact(put(1))
    async with opened(tmp_path / "made" / "for" / "it") as (state, more):
        assert await state.read(numbers) == [1]
        assert state.problem is None
    assert notices == more == []


@on_a_loop
async def test_transactions_run_in_order_and_each_alone(tmp_path: Path) -> None:
    """A read-modify-write by a hundred tasks at once loses nothing."""

    def count_up(conn: sqlite3.Connection) -> int:
        found = conn.execute("SELECT a FROM pairs WHERE n = 1").fetchone()[0]
        conn.execute("UPDATE pairs SET a = ?, b = ? WHERE n = 1", (found + 1, found + 1))
        return int(found) + 1

    async with opened(tmp_path) as (state, _):
        await state.transact(put(1, 1000))
        results = await asyncio.gather(*(state.transact(count_up) for _ in range(100)))
    assert results == list(range(1001, 1101))


@on_a_loop
async def test_an_exception_rolls_back_and_reaches_the_caller(tmp_path: Path) -> None:
    def half(conn: sqlite3.Connection) -> None:
        put(1)(conn)
        raise KeyError("mistake")

    async with opened(tmp_path) as (state, notices):
        with pytest.raises(KeyError, match="mistake"):
            await state.transact(half)
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            await state.transact(lambda conn: conn.execute("SELECT * FROM missing"))
        await state.transact(put(2))
        assert await state.read(numbers) == [2]
    assert notices == []


@on_a_loop
async def test_reading_goes_on_beside_a_long_write_and_sees_none_of_it(tmp_path: Path) -> None:
    going_on, may_end = threading.Event(), threading.Event()

    def slow(conn: sqlite3.Connection) -> None:
        put(2)(conn)
        going_on.set()
        assert may_end.wait(10)

    async with opened(tmp_path) as (state, _):
        await state.transact(put(1))
        writing = asyncio.create_task(state.transact(slow))
        await until(going_on.is_set)
        assert await asyncio.wait_for(state.read(numbers), 5) == [1]
        may_end.set()
        await writing
        assert await state.read(numbers) == [1, 2]


@on_a_loop
async def test_a_reader_cannot_write(tmp_path: Path) -> None:
    async with opened(tmp_path) as (state, _):
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            await state.read(put(1))
        assert await state.read(numbers) == []


@on_a_loop
async def test_a_cancelled_caller_leaves_a_whole_transaction(tmp_path: Path) -> None:
    going_on, may_end = threading.Event(), threading.Event()

    def slow(conn: sqlite3.Connection) -> None:
        put(1)(conn)
        going_on.set()
        assert may_end.wait(10)
        put(2)(conn)

    async with opened(tmp_path) as (state, _):
        running, waiting = (asyncio.create_task(state.transact(fn)) for fn in (slow, put(3)))
        await until(going_on.is_set)
        running.cancel()
        waiting.cancel()
        await asyncio.gather(running, waiting, return_exceptions=True)
        may_end.set()
        assert await state.transact(numbers) == [1, 2, 3]


@on_a_loop
async def test_a_cancelled_reader_does_not_end_the_reading_thread(tmp_path: Path) -> None:
    may_end = threading.Event()

    def slow(conn: sqlite3.Connection) -> None:
        assert may_end.wait(10)

    async with opened(tmp_path) as (state, _):
        tasks = [asyncio.create_task(state.read(slow)) for _ in range(2)]
        await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        may_end.set()
        assert await asyncio.wait_for(state.read(numbers), 5) == []


@on_a_loop
async def test_a_killed_writer_leaves_whole_transactions_and_all_it_was_told_of(tmp_path: Path) -> None:
    writer = child(KILLED_WRITER, tmp_path, TABLES)
    assert writer.stdout is not None
    told = [int(writer.stdout.readline()) for _ in range(50)]
    writer.kill()
    told += [int(line) for line in writer.stdout.read().split("\n")[:-1]]
    writer.wait()
    writer.stdout.close()
    async with opened(tmp_path) as (state, notices):
        rows = await state.read(lambda conn: conn.execute("SELECT n, a, b FROM pairs").fetchall())
    assert notices == []
    assert {n for n, _, _ in rows} >= set(told)
    assert all(a == b for _, a, b in rows)


KILLED_WRITER = """
import asyncio, pathlib, sys
from monitor.database import Schema
from monitor.state import StateFile
def pair(conn, n):
    conn.execute("INSERT INTO pairs VALUES (?, ?, 0)", (n, n))
    conn.execute("UPDATE pairs SET b = a WHERE n = ?", (n,))
async def main():
    schema = Schema(owner="test", steps=(sys.argv[2],), live=("pairs",), history=("seen",))
    state = await StateFile.open(pathlib.Path(sys.argv[1]), schemas=(schema,))
    n = 0
    while True:
        n += 1
        await state.transact(lambda conn: pair(conn, n))
        print(n, flush=True)
asyncio.run(main())
"""


async def filled(folder: Path, rows: int = 2_000) -> Path:
    """A closed state file of some four megabytes, too large for SQLite's page cache."""
    async with opened(folder) as (state, _):
        await state.transact(lambda conn: [put(n)(conn) for n in range(100)])
        filling = [(n, "x" * 2_000) for n in range(rows)]
        await state.transact(lambda conn: conn.executemany("INSERT INTO seen VALUES (?, ?)", filling))
    return folder / "watchkeeper.db"


@pytest.mark.parametrize("seed", range(12))
@on_a_loop
async def test_a_file_with_random_damage_never_stops_the_start(tmp_path: Path, seed: int) -> None:
    path = await filled(tmp_path, rows=200)
    dice = random.Random(seed)
    size = path.stat().st_size
    if seed % 4 == 3:
        os.truncate(path, dice.randrange(1, size))
    else:
        offset = 0 if seed == 0 else dice.randrange(size)
        scribble(path, offset, dice.randbytes(dice.choice((16, 512, 8192))))
    async with opened(tmp_path) as (state, notices):
        await state.transact(put(1_000))
        assert 1_000 in await state.read(numbers)
        assert state.problem is None
    aside = set_aside(tmp_path, "damaged")
    assert len(aside) == len(notices)
    for notice in notices:
        assert "is damaged" in notice.sentence
        assert aside[0].name in notice.sentence


@pytest.mark.parametrize("content", [b"not a database at all" * 300, b"\0" * 5000], ids=["text", "zeros"])
@on_a_loop
async def test_a_file_that_is_no_database_is_set_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "watchkeeper.db"
    path.write_bytes(content)
    async with opened(tmp_path) as (state, notices):
        await state.transact(put(1))
    assert [notice.problem for notice in notices] == [None]
    assert [aside.read_bytes() for aside in set_aside(tmp_path, "damaged")] == [content]


@on_a_loop
async def test_damage_found_while_running_keeps_what_can_be_read(tmp_path: Path) -> None:
    path = await filled(tmp_path)
    async with opened(tmp_path) as (state, notices):
        scribble(path, 2_000_000, b"\xff" * 400_000)
        await state.read(lambda conn: conn.execute("SELECT sum(length(filling)) FROM seen").fetchone())
        assert len(set_aside(tmp_path, "damaged")) == 1
        assert await state.read(numbers) == list(range(100))
        await state.transact(put(1_000))
        await until(lambda: bool(notices))
    (notice,) = notices
    assert notice.fresh
    assert notice.problem is None
    assert "not carried over whole: seen" in notice.sentence
    async with opened(tmp_path) as (state, notices):
        assert 1_000 in await state.read(numbers)
        assert notices == []


@on_a_loop
async def test_only_the_newest_damaged_files_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "watchkeeper.db"
    for day in range(KEPT_ASIDE + 2):
        path.write_bytes(b"day %d" % day * 1000)
        async with opened(tmp_path, clock=lambda day=day: NOON + day * 86_400):
            pass
    kept = set_aside(tmp_path, "damaged")
    assert [aside.read_bytes()[:5] for aside in kept] == [b"day 2", b"day 3", b"day 4"]


@on_a_loop
async def test_an_old_log_is_not_taken_for_the_fresh_file_s(tmp_path: Path) -> None:
    """A write-ahead log left beside a damaged file goes aside with it."""
    path = tmp_path / "watchkeeper.db"
    keeper = child(LEAVES_A_LOG, path)
    keeper.communicate()
    assert path.with_name(path.name + "-wal").stat().st_size > 0
    scribble(path, 0, b"\xff" * 100)
    async with opened(tmp_path) as (state, notices):
        assert await state.read(numbers) == []
        assert len(notices) == 1
        assert await state.transact(lambda conn: conn.execute("PRAGMA integrity_check").fetchone()) == ("ok",)


LEAVES_A_LOG = """
import os, sqlite3, sys
conn = sqlite3.connect(sys.argv[1], isolation_level=None)
conn.execute("PRAGMA journal_mode = WAL")
conn.execute("CREATE TABLE t (x)")
conn.execute("PRAGMA wal_checkpoint")
conn.execute("INSERT INTO t VALUES (1)")
os._exit(0)
"""


@on_a_loop
async def test_a_folder_in_place_of_the_file_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "watchkeeper.db").mkdir()
    async with opened(tmp_path) as (state, notices):
        await state.transact(put(1))
        assert state.problem is None
    assert "cannot be written" in notices[0].sentence
    assert (tmp_path / "watchkeeper.db").is_file()


@on_a_loop
async def test_a_folder_that_cannot_be_used_means_memory_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    async with opened(tmp_path / "file" / "state") as (state, notices):
        await state.transact(put(1))
        assert await state.read(numbers) == [1]
        assert state.problem is not None
        assert state.in_memory
        await until(lambda: bool(notices))
        assert str(tmp_path / "file" / "state") in state.problem
        assert "kept in memory" in state.problem
    assert notices[0].problem == state.problem


def as_ordinary_user(folder: Path) -> Any:
    """What a process without root's rights makes of the state file in `folder`: its report."""
    process = child(ORDINARY_USER, folder, TABLES)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return json.loads(output)


ORDINARY_USER = """
import asyncio, concurrent.futures.thread, json, os, pathlib, sys, structlog
from monitor.database import Schema
from monitor.state import StateFile
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
folder, tables = sys.argv[1:]
if os.getuid() == 0:
    os.setuid(65534)
async def main():
    schema = Schema(owner="test", steps=(tables,), live=("pairs",), history=("seen",))
    notices = []
    state = await StateFile.open(pathlib.Path(folder), schemas=(schema,), on_notice=notices.append)
    await state.transact(lambda conn: conn.execute("INSERT INTO pairs VALUES (2, 2, 2)"))
    rows = await state.read(lambda conn: conn.execute("SELECT n FROM pairs").fetchall())
    said = [notice.sentence for notice in notices]
    print(json.dumps({"rows": rows, "problem": state.problem, "said": said}))
    await state.close()
asyncio.run(main())
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that an ordinary user can reach: pytest's own are closed to all but their owner."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        if os.getuid() == 0:
            os.chown(folder, 65534, 65534)
        yield folder
        folder.chmod(0o700)


def test_a_folder_that_may_not_be_written_means_memory(folder: Path) -> None:
    folder.chmod(0o500)
    report = as_ordinary_user(folder)
    assert report["rows"] == [[2]]
    assert "unable to open database file" in report["problem"] or "Permission denied" in report["problem"]


def test_a_file_that_may_not_be_written_is_set_aside_and_its_rows_carried_over(folder: Path) -> None:
    @on_a_loop
    async def fill() -> None:
        async with opened(folder) as (state, _):
            await state.transact(put(1))

    fill()
    (folder / "watchkeeper.db").chmod(0o444)
    report = as_ordinary_user(folder)
    assert report["rows"] == [[1], [2]]
    assert report["problem"] is None
    assert "cannot be written" in report["said"][0]
    assert len(set_aside(folder, "unwritable")) == 1


@on_a_loop
async def test_a_full_disk_moves_to_memory_and_back_with_every_row(tmp_path: Path) -> None:
    """SQLITE_FULL, by a page limit on the writer's connection that a fresh connection does not have."""
    async with opened(tmp_path, retry_every=0.2) as (state, notices):
        await state.transact(lambda conn: [put(n)(conn) for n in range(10)])
        await state.transact(lambda conn: conn.execute("INSERT INTO seen VALUES (1, 'before')"))
        await state.transact(lambda conn: conn.execute("PRAGMA max_page_count = 1"))
        large = "x" * 20_000
        await state.transact(lambda conn: conn.execute("INSERT INTO seen VALUES (2, ?)", (large,)))
        assert state.problem is not None
        assert "full" in state.problem
        assert await state.read(numbers) == list(range(10))
        await state.transact(lambda conn: conn.execute("DELETE FROM pairs WHERE n < 5"))
        await state.transact(put(11))
        await until(lambda: len(notices) == 2)
        assert state.problem is None
        assert await state.read(numbers) == [5, 6, 7, 8, 9, 11]
        found = await state.read(lambda conn: conn.execute("SELECT n FROM seen ORDER BY n").fetchall())
        assert found == [(1,), (2,)]
    assert [notice.problem is None for notice in notices] == [False, True]
    assert "in use again" in notices[1].sentence


@on_a_loop
async def test_a_disk_that_takes_no_more_bytes_loses_nothing_once_it_does(tmp_path: Path) -> None:
    """The real thing: the kernel refuses to let files grow, and later allows it again."""
    process = child(FULL_DISK, tmp_path, TABLES)
    output, _ = process.communicate(timeout=60)
    report = json.loads(output)
    assert process.returncode == 0
    assert report["problem_while_full"] is not None
    assert report["problem_after"] is None
    assert report["rows_in_memory"] == report["written_by_then"]
    async with opened(tmp_path) as (state, notices):
        assert await state.read(numbers) == list(range(report["written"]))
        assert notices == []


FULL_DISK = """
import asyncio, json, pathlib, resource, sys
from monitor.database import Schema
from monitor.state import StateFile
def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
async def main():
    schema = Schema(owner="test", steps=(sys.argv[2],), live=("pairs",), history=("seen",))
    folder = pathlib.Path(sys.argv[1])
    state = await StateFile.open(folder, schemas=(schema,), retry_every=0.1, tick=0.02)
    report, n = {}, 0
    async def write():
        nonlocal n
        number = n
        await state.transact(lambda conn: conn.execute("INSERT OR REPLACE INTO pairs VALUES (?, 0, 0)", (number,)))
        n += 1
    for _ in range(20):
        await write()
    limit(50_000)
    while state.problem is None:
        await write()
    for _ in range(20):
        await write()
    await asyncio.sleep(0.3)
    report["problem_while_full"] = state.problem
    report["rows_in_memory"] = await state.read(lambda conn: conn.execute("SELECT count(*) FROM pairs").fetchone()[0])
    report["written_by_then"] = n
    limit(resource.RLIM_INFINITY)
    async with asyncio.timeout(20):
        while state.problem is not None:
            await asyncio.sleep(0.02)
    report["problem_after"] = state.problem
    await write()
    report["written"] = n
    await state.close()
    print(json.dumps(report), file=sys.__stdout__)
import structlog
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
asyncio.run(main())
"""


@on_a_loop
async def test_a_disk_that_hangs_is_left_behind_and_nothing_waits_for_it(tmp_path: Path) -> None:
    stuck, freed = threading.Event(), threading.Event()

    def hangs_once(conn: sqlite3.Connection) -> None:
        put(2)(conn)
        conn.execute("INSERT INTO seen VALUES (1, ?)", ("again" if stuck.is_set() else "late",))
        if not stuck.is_set():
            stuck.set()
            assert freed.wait(30)

    async with opened(tmp_path, stall_after=0.2, retry_every=0.2) as (state, notices):
        await state.transact(put(1))
        hanging, behind = asyncio.create_task(state.transact(hangs_once)), asyncio.create_task(state.transact(put(3)))
        await asyncio.wait_for(asyncio.gather(hanging, behind), 10)
        assert state.problem is not None
        assert "has not answered" in state.problem
        assert await state.read(numbers) == [2, 3]  # what only the file knew cannot be read now
        freed.set()
        await until(lambda: state.problem is None)
        assert await state.read(numbers) == [1, 2, 3]
        assert await state.read(lambda conn: conn.execute("SELECT filling FROM seen").fetchall()) == [("again",)]
        await until(lambda: len(notices) == 2)


@on_a_loop
async def test_a_writer_that_is_busy_all_the_time_has_not_hung(tmp_path: Path) -> None:
    async with opened(tmp_path, stall_after=0.3) as (state, notices):
        await asyncio.gather(*(state.transact(lambda _: time.sleep(0.03)) for _ in range(30)))
        assert state.problem is None
    assert notices == []


@on_a_loop
async def test_closing_does_not_wait_for_a_disk_that_hangs(tmp_path: Path) -> None:
    stuck, freed = threading.Event(), threading.Event()

    def hangs(conn: sqlite3.Connection) -> None:
        stuck.set()
        freed.wait(30)

    async with opened(tmp_path) as (state, _):
        hanging = asyncio.create_task(state.transact(hangs))
        await until(stuck.is_set)
        async with asyncio.timeout(3):
            await state.close(timeout=0.1)
        freed.set()
        with pytest.raises(StateClosedError):
            await hanging
        with pytest.raises(StateClosedError, match="is closed"):
            await state.transact(put(1))


@on_a_loop
async def test_the_end_of_the_watch_over_the_writer_is_heard(tmp_path: Path) -> None:
    """Here it fails because its tick is no number; without it a disk that hangs would be noticed by nobody."""
    async with opened(tmp_path, tick="soon") as (state, _):
        with pytest.raises(TypeError):
            await asyncio.wait_for(state.tending(), 5)
        await state.transact(put(1))
    async with opened(tmp_path) as (state, _):
        tending = asyncio.create_task(state.tending())
        await asyncio.wait({tending}, timeout=0.1)
        assert not tending.done()
        assert await state.read(numbers) == [1]
    await asyncio.wait_for(tending, 5)


@on_a_loop
async def test_a_return_to_the_file_that_fails_is_logged_and_tried_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    faults = [RuntimeError("a mistake in the return")]
    clocked: list[int] = []

    def clock() -> float:
        clocked.append(1)
        if len(clocked) == 2 and faults:
            raise faults.pop()
        return NOON

    with capture_logs() as logs:
        async with opened(tmp_path / "file" / "state", retry_every=0.1, clock=clock) as (state, _):
            await state.transact(put(1))
            (tmp_path / "file").unlink()
            await until(lambda: state.problem is None)
            assert await state.read(numbers) == [1]
    (failed,) = [line for line in logs if line["event"] == "state_return_failed"]
    assert str(failed["exc_info"]) == "a mistake in the return"


@on_a_loop
async def test_migrations_run_once_each_and_the_next_version_adds_to_them(tmp_path: Path) -> None:
    second = Schema(
        owner="test",
        steps=(*SCHEMA.steps, "ALTER TABLE pairs ADD COLUMN c INTEGER NOT NULL DEFAULT 7;"),
        live=("pairs",),
        history=("seen",),
    )
    async with opened(tmp_path) as (state, _):
        await state.transact(put(1))
    for _ in range(2):
        async with opened(tmp_path, schemas=(second,)) as (state, notices):
            assert await state.read(lambda conn: conn.execute("SELECT n, c FROM pairs").fetchall()) == [(1, 7)]
            assert notices == []


@on_a_loop
async def test_a_column_that_the_next_version_drops_takes_no_row_with_it(tmp_path: Path) -> None:
    second = replace(SCHEMA, steps=(*SCHEMA.steps, "ALTER TABLE pairs DROP COLUMN b;"))
    async with opened(tmp_path) as (state, _):
        await state.transact(put(1))
    for _ in range(2):
        async with opened(tmp_path, schemas=(second,)) as (state, notices):
            assert await state.read(lambda conn: conn.execute("SELECT * FROM pairs").fetchall()) == [(1, 1)]
            assert notices == []


@on_a_loop
async def test_a_file_of_a_newer_version_is_kept_and_its_rows_carried_over(tmp_path: Path) -> None:
    newer = Schema(owner="test", steps=(*SCHEMA.steps, "ALTER TABLE pairs ADD COLUMN c INTEGER;"))
    async with opened(tmp_path, schemas=(newer,)) as (state, _):
        await state.transact(lambda conn: conn.execute("INSERT INTO pairs VALUES (1, 1, 1, 8)"))
        await state.transact(lambda conn: conn.execute("INSERT INTO seen VALUES (1, 'kept')"))
    async with opened(tmp_path) as (state, notices):
        assert await state.read(lambda conn: conn.execute("SELECT * FROM pairs").fetchall()) == [(1, 1, 1)]
        assert await state.read(lambda conn: conn.execute("SELECT * FROM seen").fetchall()) == [(1, "kept")]
    assert "newer version" in notices[0].sentence
    (aside,) = set_aside(tmp_path, "newer")
    conn = sqlite3.connect(aside)
    assert conn.execute("SELECT c FROM pairs").fetchone() == (8,)
    conn.close()


@on_a_loop
async def test_rows_that_fit_only_a_newer_version_are_not_said_to_be_carried_over(tmp_path: Path) -> None:
    newer = replace(SCHEMA, steps=(*SCHEMA.steps, "ALTER TABLE pairs DROP COLUMN b;"))
    async with opened(tmp_path, schemas=(newer,)) as (state, _):
        await state.transact(lambda conn: conn.execute("INSERT INTO pairs VALUES (1, 1)"))
        await state.transact(lambda conn: conn.execute("INSERT INTO seen VALUES (1, 'kept')"))
    async with opened(tmp_path) as (state, notices):
        assert await state.read(numbers) == []
        assert await state.read(lambda conn: conn.execute("SELECT * FROM seen").fetchall()) == [(1, "kept")]
    assert "not carried over whole: pairs" in notices[0].sentence


@on_a_loop
async def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    broken = Schema(owner="test", steps=(*SCHEMA.steps, "CREATE TABLE more (n INTEGER);\nCREATE TABLE pairs (n);"))
    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        async with opened(tmp_path, schemas=(broken,)):
            pass
    async with opened(tmp_path) as (state, notices):
        await state.transact(put(1))
        assert not await state.read(lambda conn: conn.execute("PRAGMA table_info(more)").fetchall())
        assert notices == []


@on_a_loop
async def test_free_pages_go_back_to_the_disk(tmp_path: Path) -> None:
    path = await filled(tmp_path)
    async with opened(tmp_path) as (state, _):
        await state.transact(lambda conn: conn.execute("DELETE FROM seen"))
        await state.tidy(pages=50)
        assert await state.read(lambda conn: conn.execute("PRAGMA freelist_count").fetchone()) == (0,)
    assert path.stat().st_size < 100_000


@on_a_loop
async def test_no_thread_and_no_open_file_is_left(tmp_path: Path) -> None:
    def ours() -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("state-")]

    def held() -> list[str]:
        found = []
        for fd in Path("/proc/self/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # the listing's own
                found.append(str(fd.readlink()))
        return [link for link in found if link.startswith(str(tmp_path))]

    before = ours()
    async with opened(tmp_path) as (state, _):
        await state.transact(put(1))
        await state.read(numbers)
        assert held()
    assert ours() == before
    assert held() == []


@on_a_loop
async def test_a_process_that_was_stopped_has_not_hung(tmp_path: Path) -> None:
    """SIGSTOP for longer than the stall limit, in the middle of a transaction."""
    process = child(STOPPED, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(0.8)
    process.send_signal(signal.SIGCONT)
    assert process.stdout.readline() == "problem: None\n"
    process.wait(10)
    process.stdout.close()


STOPPED = """
import asyncio, pathlib, sys, time
from monitor.database import Schema
from monitor.state import StateFile
def slow(conn):
    print("writing", flush=True)
    for _ in range(20):
        time.sleep(0.01)
async def main():
    state = await StateFile.open(pathlib.Path(sys.argv[1]), schemas=(), stall_after=0.5, tick=0.1)
    await state.transact(slow)
    print("problem:", state.problem, flush=True)
    await state.close()
asyncio.run(main())
"""


@on_a_loop
async def test_a_folder_removed_while_in_use_is_noticed_and_made_anew(tmp_path: Path) -> None:
    """What is written to a file without a name is lost, and SQLite never says so."""
    folder = tmp_path / "state"
    async with opened(folder, look_every=0.05, retry_every=0.2) as (state, notices):
        await state.transact(put(1))
        shutil.rmtree(folder)
        await until(lambda: state.in_memory)
        assert state.problem is not None
        assert "was removed" in state.problem
        assert await state.read(numbers) == [1]
        await state.transact(put(2))
        await until(lambda: not state.in_memory)
        assert await state.read(numbers) == [1, 2]
    assert [notice.problem is None for notice in notices] == [False, True]
    async with opened(folder) as (state, _):
        assert await state.read(numbers) == [1, 2]


@on_a_loop
async def test_a_file_removed_alone_leaves_no_log_for_the_fresh_one(tmp_path: Path) -> None:
    async with opened(tmp_path, look_every=0.05, retry_every=0.2) as (state, _):
        for number in range(1, 50):
            await state.transact(put(number))
        (tmp_path / "watchkeeper.db").unlink()
        await until(lambda: state.in_memory)
        await state.transact(put(50))
        await until(lambda: not state.in_memory)
        assert await state.read(numbers) == list(range(1, 51))
    async with opened(tmp_path) as (state, more):
        assert await state.read(numbers) == list(range(1, 51))
        assert more == []


@on_a_loop
async def test_a_file_put_in_place_of_ours_is_noticed(tmp_path: Path) -> None:
    async with opened(tmp_path, look_every=0.05, retry_every=60) as (state, _):
        await state.transact(put(1))
        (tmp_path / "other").touch()
        (tmp_path / "other").rename(tmp_path / "watchkeeper.db")
        await until(lambda: state.in_memory)


@on_a_loop
async def test_nothing_returns_to_a_folder_that_is_another_daemons_by_now(tmp_path: Path) -> None:
    folder, ours = tmp_path / "state", [False]
    async with opened(folder, look_every=0.05, retry_every=0.1, may_return=lambda: ours[0]) as (state, _):
        await state.transact(put(1))
        shutil.rmtree(folder)
        await until(lambda: state.in_memory)
        await asyncio.sleep(0.5)
        assert state.in_memory
        ours[0] = True
        await until(lambda: not state.in_memory)


@on_a_loop
async def test_a_file_where_the_folder_should_be_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    async with opened(tmp_path / "state") as (state, _):
        assert state.problem is not None
        assert f"{tmp_path / 'state'} is a file, not a folder" in state.problem
