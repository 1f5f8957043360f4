"""kill -9 at random moments of a run: whatever dies, what is listed is whole, and the next run leaves nothing behind.

The moments are spread over a run by time and drawn from BACKUP_KILLS_SEED. BACKUP_KILLS=50 (`make test-kills`) is the
long form, with ClickHouse in every run; `-s` shows its table. The short form takes one kill of each kind.
"""

import contextlib
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from psycopg import sql

from backup.catalog import Catalog, Point
from backup.manifest import MANIFEST, PROOF, RECOVERY, RUN
from backup.storage.table import open_storage
from config.backup_store import StoreSettings
from config.secret import Secret
from demo.clickhouse import Clickhouse
from demo.postgres import Postgres
from demo.process import Keeper
from demo.seaweedfs import Seaweedfs

KILLS = int(os.environ.get("BACKUP_KILLS", "4"))
SEED = int(os.environ.get("BACKUP_KILLS_SEED", "4"))
LONG = KILLS > 4
TARGETS = ("process", "pg_dump", "server", "store")
# About 25 MB that hardly compress, in a dump of some seconds when the machine is busy.
ROWS = """
CREATE TABLE noise (n int PRIMARY KEY, data bytea);
ALTER TABLE noise ALTER data SET STORAGE EXTERNAL;
INSERT INTO noise SELECT n, (SELECT string_agg(sha512((n * 1000 + m)::text::bytea), '') FROM generate_series(1, 320) m)
  FROM generate_series(1, 1200) n;
CREATE TABLE words AS SELECT n, 'word ' || n AS word FROM generate_series(1, 50000) n;
"""
DIGEST = """
SELECT (SELECT md5(string_agg(md5(data), '' ORDER BY n)) FROM noise),
       (SELECT md5(string_agg(word, '' ORDER BY n)) FROM words)
"""


@dataclass
class World:
    """A PostgreSQL and a store that may be killed, and the program between them."""

    postgres: Postgres
    store: Seaweedfs
    environ: dict[str, str]
    folder: Path
    warm: Any
    expected: Any = None

    def start(self, *words: str, **more: str) -> Any:
        """`python -m backup …`; `more` is added to its environment."""
        return self.warm.start(words, {"PATH": os.environ["PATH"], **self.environ, **more}, self.folder)

    def run(self, *words: str, **more: str) -> tuple[int, str, str]:
        """Its exit code, standard output and standard error."""
        child = self.start(*words, **more)
        out, err = child.communicate(timeout=90)
        return child.returncode, out, err

    def points(self) -> dict[str, Point]:
        """What is listed."""
        store = StoreSettings(
            endpoint=f"127.0.0.1:{self.store.port}",
            access_key=Secret(self.store.access_key),
            secret_key=Secret(self.store.secret_key),
        )
        with contextlib.closing(open_storage(store)) as storage:
            return {point.id: point for point in Catalog(storage, "default").points()}

    def objects(self) -> set[str]:
        """Every object of the bucket, whatever its prefix."""
        found = self.store.client().list_objects(bucket_name="backups", recursive=True)
        return {str(one.object_name) for one in found}

    def orphans(self) -> set[str]:
        """Objects that no listed point's manifest names."""
        known = set()
        for point in self.points().values():
            assert point.manifest is not None, point.problem
            prefix = f"watchkeeper/{point.prefix}"
            known |= {prefix + name for name in (MANIFEST, RUN, RECOVERY, PROOF)}
            known |= {prefix + piece.key for one in point.whole() for piece in one.pieces}
            known |= {key for key in self.objects() if key.startswith(f"{prefix}clickhouse/")}
        # What is left of a look at the store's conditional PUT is cleared minutes later, since it may be another's.
        return {key for key in self.objects() - known if not key.startswith("watchkeeper/probe-")}

    def check(self, point: str, *, restore: bool) -> None:
        """The point verifies, and comes back equal."""
        code, out, err = self.run("verify", point)
        assert code == 0, out + err
        whole = [one.name for one in self.points()[point].whole() if one.kind == "database"]
        if not restore or "app" not in whole:
            return
        words = ["restore", point, "--only", "postgres", "--database", "app=again", "--yes"]
        code, out, err = self.run(*words)
        assert code == 0, out + err
        with self.postgres.connect("again") as connection:
            assert connection.execute(DIGEST).fetchone() == self.expected
        with self.postgres.connect() as connection:
            connection.execute("DROP DATABASE again WITH (FORCE)")

    def state(self, child: Any, listed: set[str]) -> str:
        """How far a run is, in words."""
        if child.poll() is not None:
            return "after its end"
        # Quickly, since the run goes on: a whole list is long after many runs.
        client = self.store.client()
        folders = [str(one.object_name) for one in client.list_objects("backups", "watchkeeper/default/")]
        live = [name for name in folders if "Z-" in name and name.split("/")[2] not in listed]
        if not live:
            return "before its first object"
        if any(client.list_objects("backups", live[0] + MANIFEST)):
            return "manifest written"
        return f"{sum(1 for _ in client.list_objects('backups', live[0] + 'postgres/', recursive=True))} pieces stored"

    def kill_server(self) -> None:
        """Every process of it: each backend leads a group of its own and would finish what it is at."""
        parent = psutil.Process(self.postgres.pid)
        parent.suspend()  # no backend begins while they are counted
        processes = [*parent.children(recursive=True), parent]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.postgres.kill()
        # One that has not quite gone holds the shared memory, and the server does not start beside it.
        psutil.wait_procs(processes, timeout=10)


@pytest.fixture(scope="module")
def world(keeper: Keeper, warm: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Two databases on a server of one's own, a store of one's own, and in the long form a ClickHouse."""
    with contextlib.ExitStack() as servers:
        postgres = servers.enter_context(Postgres(keeper=keeper, seed=False))
        store = servers.enter_context(Seaweedfs(keeper=keeper, memory="1GiB"))
        url = f"postgresql://postgres:{postgres.superuser_password}@{postgres.host}:{postgres.port}/postgres"
        environ = {**store.environ(), "DATABASE_URL": url, "BACKUP_DATABASES": "app,litellm"}
        if LONG:
            environ |= servers.enter_context(Clickhouse(keeper=keeper)).environ()
        made = World(
            postgres=postgres, store=store, environ=environ, folder=tmp_path_factory.mktemp("kills"), warm=warm
        )
        with postgres.connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE app STRATEGY file_copy"))
        with postgres.connect("app") as connection:
            connection.execute(sql.SQL(ROWS))
            made.expected = connection.execute(DIGEST).fetchone()
        yield made


@pytest.fixture(scope="module")
def lengths(world: World) -> tuple[float, float]:
    """Seconds that an undisturbed run takes, and its pg_dumps."""
    began = time.monotonic()
    child = world.start("run")
    wait_until(lambda: dumping(child), child)
    dump = time.monotonic()
    while dumping(child) and child.poll() is None:
        time.sleep(0.01)
    dump = time.monotonic() - dump
    out, err = child.communicate(timeout=90)
    assert child.returncode == 0, out + err
    return time.monotonic() - began, dump


def below(child: Any, name: str = "") -> list[psutil.Process]:
    """The live processes that a run has started."""
    found = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(child.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.status() != psutil.STATUS_ZOMBIE and name in process.name():
                    found.append(process)
    return found


def dumping(child: Any) -> list[psutil.Process]:
    """The pg_dump at work, not one that is asked for its version."""
    found = []
    for process in below(child, "pg_dump"):
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(word.startswith("--snapshot=") for word in process.cmdline()):
                found.append(process)
    return found


def wait_until(what: Callable[[], Any], child: Any, seconds: float = 30.0) -> Any:
    """What `what` gives once it is true; whatever it gives once the child has ended."""
    deadline = time.monotonic() + seconds
    while not (found := what()) and child.poll() is None:
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)
    return found


def strike(world: World, target: str, child: Any, moment: float, listed: set[str]) -> tuple[str, list[psutil.Process]]:
    """Kills one thing, `moment` seconds after the run began (a pg_dump: after it began), and starts it again. Gives the
    state the run was in, in words, and the programs it had started; `listed` are the points there were before."""
    if target == "pg_dump":
        wait_until(lambda: dumping(child), child)
    time.sleep(moment)
    state, programs = world.state(child, listed), below(child)
    if target == "process":
        child.kill()
    elif target == "pg_dump":
        for process in dumping(child):
            process.kill()
    elif target == "server":
        world.kill_server()
        world.postgres.start()
    else:
        world.store.kill()
        world.store.start()
    return state, programs


def moments() -> Iterator[tuple[str, float]]:
    """Targets in turn with a moment each, as a share of a run (a pg_dump's: of its dump), drawn from equal parts of it
    and dealt in random order."""
    draw = random.Random(SEED)
    each = {}
    for target in TARGETS:
        count = len(range(TARGETS.index(target), KILLS, len(TARGETS)))
        each[target] = [(index + draw.random()) / count for index in range(count)]
        draw.shuffle(each[target])
    for index in range(KILLS):
        target = TARGETS[index % len(TARGETS)]
        yield target, each[target].pop()


@pytest.mark.slow
@pytest.mark.timeout(120 + 40 * KILLS)
def test_killed_at_any_moment(world: World, lengths: tuple[float, float]) -> None:
    table: Counter[tuple[str, str]] = Counter()
    length, dump = lengths
    for number, (target, share) in enumerate(moments()):
        before = set(world.points())
        moment = share * (dump if target == "pg_dump" else length)
        child = world.start("run")
        began = time.monotonic()
        state, programs = strike(world, target, child, moment, before)
        out, err = child.communicate(timeout=90)
        label = f"{number}: {target} killed {moment:.2f} s into the run ({state}), exit code {child.returncode}"
        print(f"{label}, {time.monotonic() - began:.1f} s")  # noqa: T201  the long form's table
        assert child.returncode in ((-9, 0) if target == "process" else (0, 1)), label + out + err
        assert "Traceback" not in err, label + err
        if child.returncode == 1:
            finished = [line for line in map(json.loads, out.splitlines()) if line["event"] == "finished"]
            assert all("; " in error for error in finished[0]["errors"]), label + out
        listed = set(world.points()) - before
        assert len(listed) <= 1
        if child.returncode == 0:
            assert listed, label
        for point in listed:
            world.check(point, restore=True)
        gone(programs)
        thorough = LONG or number == KILLS - 1
        began = time.monotonic()
        code, out, err = world.run("run", **({} if thorough else {"BACKUP_DATABASES": "litellm"}))
        assert code == 0, label + out + err
        if thorough:  # the machine may be busier than it was
            length, dump = (time.monotonic() - began, dump * (time.monotonic() - began) / length)
        (following,) = set(world.points()) - before - listed
        assert world.orphans() == set(), label
        if thorough:
            world.check(following, restore=True)
        table[target, "listed" if listed else "not listed"] += 1
    for key, count in sorted(table.items()):
        print(*key, count)  # noqa: T201  likewise
    assert sum(table.values()) == KILLS


def gone(programs: list[psutil.Process]) -> None:
    """Whatever was killed, none of its programs runs on."""
    deadline = time.monotonic() + 10
    while any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in programs):
        assert time.monotonic() < deadline, "a program was left"
        time.sleep(0.02)


def test_others_remove_nothing_of_a_live_run(world: World) -> None:
    listed, there = set(world.points()), world.objects()
    child = world.start("run")
    try:
        program = wait_until(lambda: dumping(child), child)[0]
        program.suspend()
        while not any(".dump." in key for key in world.objects() - there):
            program.resume()
            time.sleep(0.005)
            program.suspend()
        time.sleep(0.5)
        before = world.objects()
        for words in (["run"], ["prune"]):
            code, out, err = world.run(*words)
            assert code == 3, out + err
            assert f"process {child.pid} on " in err
        assert set(world.points()) == listed
        assert world.objects() >= before
        program.resume()
        out, err = child.communicate(timeout=60)
    finally:
        child.kill()
        child.wait()
    assert child.returncode == 0, out + err
    (point,) = set(world.points()) - listed
    assert world.orphans() == set()
    world.check(point, restore=False)


@pytest.mark.slow
@pytest.mark.timeout(60 + 20 * KILLS)
def test_told_to_end_at_any_moment(world: World, lengths: tuple[float, float]) -> None:
    """SIGTERM: over within 3 s, and nothing of the run is left in the store."""
    length, _ = lengths
    draw = random.Random(SEED)
    for index in range(max(2, KILLS // 2)):
        before = world.objects()
        child = world.start("run")
        time.sleep(length * (index + draw.random()) / max(2, KILLS // 2))
        programs = below(child)
        began = time.monotonic()
        child.send_signal(signal.SIGTERM)
        out, err = child.communicate(timeout=20)
        took = time.monotonic() - began
        # Before Python has come to its handler, and while it puts its things away, it ends by the signal itself: with
        # nothing begun, or with all done.
        assert child.returncode in (0, 130, -signal.SIGTERM), out + err
        assert took < 3, f"{took:.1f} s"
        gone(programs)
        done = [line["exit_code"] for line in map(json.loads, out.splitlines()) if line["event"] == "finished"] == [0]
        assert done or child.returncode, out + err
        if done:
            assert world.orphans() == set()
        else:
            assert world.objects() == before, out + err
