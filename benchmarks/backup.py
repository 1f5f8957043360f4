"""Our backup beside what people write by hand: the same database, the same store, in one run, in turn.

python -m benchmarks.backup [--megabytes 1000] [--runs 3] [--level 3] [--ours-alone | --skip-gzip]

Dump: `python -m backup run` (all of it: imports, lease, row counts, globals, pg_restore reading along) beside
`pg_dump -Fc | rclone rcat` and `pg_dump -Fc -Z0 | zstd -3 -T2 | rclone rcat`. Restore: `python -m backup restore` until
the database is compared and ready beside `rclone cat | pg_restore` and `rclone copyto` then `pg_restore -j2`.

CPU is that of the client's whole process tree. Memory is the tree's, sampled 20 times a second: `RSS` sums what each
live process has had at most so far (VmHWM), `PSS` what they have now, with shared pages shared out. rclone and zstd are
the system's. Ratios are of medians; with other load on the machine only they say anything.
"""

import argparse
import array
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from backup.postgres.clients import installed
from demo.postgres import Postgres
from demo.process import Keeper
from demo.seaweedfs import Seaweedfs

BUCKET = "backups"
# Within less it burns more CPU than all contenders, and the machine is what is measured.
STORE_MEMORY = "2GiB"
TABLES = """
CREATE EXTENSION vector;
CREATE TABLE spend_logs (request_id text PRIMARY KEY, model text NOT NULL, spend double precision NOT NULL,
  total_tokens int NOT NULL, started timestamptz NOT NULL, messages jsonb NOT NULL, response text NOT NULL);
CREATE TABLE chunks (id bigint PRIMARY KEY, content text NOT NULL, embedding vector(384));
"""
SMALLER = "CREATE TABLE small_{0} (id int PRIMARY KEY, name text, made timestamptz, note text)"
INDEXES = """
CREATE INDEX ON spend_logs (started); CREATE INDEX ON spend_logs (model); ANALYZE
"""


@dataclass(frozen=True)
class Measured:
    """One run: seconds, and megabytes of memory."""

    wall: float
    cpu: float
    rss: float
    pss: float


@dataclass(frozen=True)
class Bench:
    """What every contender works with."""

    postgres: Postgres
    store: Seaweedfs
    folder: Path
    clients: Path
    environ: Mapping[str, str]

    def ours(self, *words: str) -> Measured:
        """`python -m backup …`."""
        return measure([sys.executable, "-P", "-m", "backup", *words], self.environ, self.folder)

    def shell(self, script: str) -> Measured:
        """A pipe as people write it."""
        return measure(["bash", "-o", "pipefail", "-ec", script], self.environ, self.folder)

    def stored(self, prefix: str) -> float:
        """Megabytes under a prefix."""
        found = self.store.client().list_objects(bucket_name=BUCKET, prefix=prefix, recursive=True)
        return sum(one.size or 0 for one in found) / 1e6

    def clear(self, prefix: str) -> None:
        """Removes what is under a prefix."""
        client = self.store.client()
        for one in list(client.list_objects(bucket_name=BUCKET, prefix=prefix, recursive=True)):
            client.remove_object(bucket_name=BUCKET, object_name=str(one.object_name))

    def drop(self) -> None:
        """Takes what was restored away, and lets the server come to rest."""
        with self.postgres.connect() as connection:
            connection.execute("DROP DATABASE IF EXISTS again WITH (FORCE)")
            connection.execute("CHECKPOINT")


def main() -> None:
    """Makes the database and the store, measures, and prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=1000, help="text in the database")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--level", type=int, default=3, help="zstd's, of ours")
    parser.add_argument("--skip-gzip", action="store_true", help="without pg_dump's own compression, nor restore")
    parser.add_argument("--ours-alone", action="store_true", help="only what memory ours takes")
    arguments = parser.parse_args()
    for program in () if arguments.ours_alone else ("rclone", "zstd"):
        if not shutil.which(program):
            sys.exit(f"{program} is not installed; on Debian: apt-get install {program}")
    with (
        Keeper.start() as keeper,
        tempfile.TemporaryDirectory() as folder,
        Postgres(keeper=keeper, seed=False) as postgres,
        Seaweedfs(keeper=keeper, memory=STORE_MEMORY) as store,
    ):
        fill(postgres, arguments.megabytes)
        bench = bench_of(postgres, store, Path(folder), level=arguments.level)
        dumps(bench, arguments.runs, alone=arguments.ours_alone, gzip=not arguments.skip_gzip)
        if not arguments.skip_gzip:
            restores(bench, arguments.runs, alone=arguments.ours_alone)


def bench_of(postgres: Postgres, store: Seaweedfs, folder: Path, *, level: int) -> Bench:
    """The environment of every contender, and PostgreSQL's programs."""
    client = next(one for one in installed() if one.major == 18)
    url = f"postgresql://postgres:{postgres.superuser_password}@{postgres.host}:{postgres.port}/bench"
    environ = {
        "PATH": f"{client.folder}:{os.environ['PATH']}",
        "HOME": str(folder),
        **store.environ(),
        "DATABASE_URL": url,
        "BACKUP_DATABASES": "bench",
        "BACKUP_ZSTD_LEVEL": str(level),
        "PGHOST": postgres.host,
        "PGPORT": str(postgres.port),
        "PGUSER": "postgres",
        "PGPASSWORD": postgres.superuser_password,
        "PGSSLMODE": "disable",
        "RCLONE_CONFIG_STORE_TYPE": "s3",
        "RCLONE_CONFIG_STORE_PROVIDER": "Other",
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_STORE_ENDPOINT": f"http://{store.host}:{store.port}",
        "RCLONE_S3_NO_CHECK_BUCKET": "true",
        "RCLONE_CONFIG_STORE_ACCESS_KEY_ID": store.access_key,
        "RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY": store.secret_key,
    }
    return Bench(postgres=postgres, store=store, folder=folder, clients=client.folder, environ=environ)


def dumps(bench: Bench, runs: int, *, alone: bool, gzip: bool) -> None:
    """Measures the ways out. The last of each is left in the store."""
    ways: dict[str, tuple[str, Callable[[], Measured]]] = {
        "ours": ("watchkeeper/", lambda: bench.ours("run", "--only", "postgres")),
        "pg_dump -Fc | rclone": ("fc/", lambda: bench.shell(f"pg_dump -Fc bench | rclone rcat store:{BUCKET}/fc/x")),
        "pg_dump -Z0 | zstd -3 -T2 | rclone": (
            "zstd/",
            lambda: bench.shell(f"pg_dump -Fc -Z0 bench | zstd -q -3 -T2 | rclone rcat store:{BUCKET}/zstd/x"),
        ),
    }
    if not gzip:
        del ways["pg_dump -Fc | rclone"]
    taken = in_turn({"ours": ways["ours"]} if alone else ways, runs, bench.clear)
    tell("dump", taken, {name: bench.stored(prefix) for name, (prefix, _) in ways.items()})


def restores(bench: Bench, runs: int, *, alone: bool) -> None:
    """Measures the ways back, into a database that is not there before."""
    fetched = bench.folder / "x"
    ways: dict[str, tuple[str, Callable[[], Measured]]] = {
        "ours": ("", lambda: bench.ours("restore", "--only", "postgres", "--database", "bench=again", "--yes")),
        "rclone cat | pg_restore": (
            "",
            lambda: bench.shell(f"createdb again; rclone cat store:{BUCKET}/fc/x | pg_restore -d again"),
        ),
        "rclone copyto; pg_restore -j2": (
            "",
            lambda: bench.shell(
                f"createdb again; rclone copyto store:{BUCKET}/fc/x {fetched}; pg_restore -j2 -d again {fetched}"
            ),
        ),
    }
    taken = in_turn({"ours": ways["ours"]} if alone else ways, runs, lambda _: bench.drop())
    bench.drop()
    tell("restore", taken, {})


def in_turn(
    ways: Mapping[str, tuple[str, Callable[[], Measured]]], runs: int, clear: Callable[[str], None]
) -> dict[str, list[Measured]]:
    """Every way `runs` times, one after the other; each time in another order, so that none is always first."""
    taken: dict[str, list[Measured]] = {name: [] for name in ways}
    for turn in range(runs):
        names = list(ways)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            prefix, way = ways[name]
            clear(prefix)
            taken[name].append(way())
            one = taken[name][-1]
            load = os.getloadavg()[0]
            print(f"  {name}: {one.wall:.1f} s, CPU {one.cpu:.1f} s (load {load:.1f})", file=sys.stderr, flush=True)
    return taken


def tell(what: str, taken: Mapping[str, Sequence[Measured]], stored: Mapping[str, float]) -> None:
    """The table, with what ours takes of each other's."""
    ours = middle(taken["ours"])
    print(f"\n{what:36} wall s   CPU s  RSS MB  PSS MB  stored MB  ours/wall  ours/CPU")
    for name, runs in taken.items():
        one = middle(runs)
        kept = f"{stored[name]:9.0f}" if stored.get(name) else " " * 9
        ratios = f"{ours.wall / one.wall:9.2f}  {ours.cpu / one.cpu:8.2f}"
        print(f"{name:36} {one.wall:6.1f}  {one.cpu:6.1f}  {one.rss:6.0f}  {one.pss:6.0f}  {kept}  {ratios}")


def middle(runs: Sequence[Measured]) -> Measured:
    """The median of times, the most of memory."""
    return Measured(
        wall=statistics.median(one.wall for one in runs),
        cpu=statistics.median(one.cpu for one in runs),
        rss=max(one.rss for one in runs),
        pss=max(one.pss for one in runs),
    )


def measure(argv: Sequence[str], environ: Mapping[str, str], folder: Path) -> Measured:
    """Runs a program to its end. CPU is of it and of every descendant that was waited for."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as out:
        child = subprocess.Popen(argv, env=dict(environ), cwd=folder, stdout=out, stderr=subprocess.STDOUT)
        done = threading.Event()
        peaks = [0.0, 0.0]
        sampler = threading.Thread(target=sample, args=(child.pid, peaks, done))
        sampler.start()
        _, status, used = os.wait4(child.pid, 0)
        wall = time.monotonic() - began
        child.returncode = os.waitstatus_to_exitcode(status)
        done.set()
        sampler.join()
        if child.returncode:
            out.seek(0)
            sys.exit(f"{' '.join(argv[:4])} ended with {child.returncode}: {out.read().decode()[-2000:]}")
    return Measured(wall=wall, cpu=used.ru_utime + used.ru_stime, rss=peaks[0], pss=peaks[1])


def sample(pid: int, peaks: list[float], done: threading.Event) -> None:
    """Keeps the tree's highest sums of VmHWM and of PSS, in MB."""
    while not done.wait(0.05):
        sums = [0.0, 0.0]
        for one in tree(pid):
            with suppress(OSError, StopIteration):
                sums[0] += kilobytes(Path(f"/proc/{one}/status"), "VmHWM:") / 1e3 * 1.024
                sums[1] += kilobytes(Path(f"/proc/{one}/smaps_rollup"), "Pss:") / 1e3 * 1.024
        peaks[:] = map(max, peaks, sums)


def tree(pid: int, words: bytes = b"") -> Iterator[int]:
    """A process and its descendants, but for copies of a parent that have not come to their own program yet."""
    try:
        own = Path(f"/proc/{pid}/cmdline").read_bytes()
        if own == words:
            return
        yield pid
        below = [task / "children" for task in Path(f"/proc/{pid}/task").iterdir()]
        children = [int(one) for path in below for one in path.read_text().split()]
    except OSError:
        return
    for child in children:
        yield from tree(child, own)


def kilobytes(path: Path, field: str) -> int:
    """A field of one of /proc's files."""
    return next(int(line.split()[1]) for line in path.read_text().splitlines() if line.startswith(field))


def fill(postgres: Postgres, megabytes: int) -> None:
    """One large table of text that compresses about threefold, one with embeddings, twenty small ones."""
    draw = random.Random(4)
    text = Text(draw)
    with postgres.connect() as connection:
        connection.execute("CREATE DATABASE bench STRATEGY file_copy")
    with postgres.connect("bench") as connection:
        connection.execute(TABLES)
        with connection.cursor().copy("COPY spend_logs FROM STDIN") as copy:
            left = megabytes * 850_000
            while left > 0:
                number = draw.getrandbits(128)
                message, answer = text.take(200 + number % 500), text.take(100 + number % 150)
                line = (
                    f"{number:032x}\tmodel-{number % 12}\t{number % 9973 / 1e6}\t{number % 4096}\t"
                    f"2026-{number % 12 + 1:02}-{number % 28 + 1:02} {number % 24:02}:00:00.{number % 999983:06}+00\t"
                    f'[{{"role": "user", "content": "{message}"}}]\t{answer}\n'
                )
                copy.write(line)
                left -= len(line)
        with connection.cursor().copy("COPY chunks FROM STDIN") as copy:
            for number in range(megabytes * 130_000 // 4800):
                vector = ",".join(f"{draw.uniform(-1, 1):.7f}" for _ in range(384))
                copy.write(f"{number}\t{text.take(100)}\t[{vector}]\n")
        for table in range(20):
            connection.execute(SMALLER.format(table))
            with connection.cursor().copy(f"COPY small_{table} FROM STDIN") as copy:
                for number in range(megabytes * 20_000 // 20 // 100):
                    copy.write(f"{number}\tname {number}\t2026-01-01 00:00:00+00\t{text.take(8)}\n")
        connection.execute(INDEXES)
        (size,) = connection.execute("SELECT pg_database_size('bench') / 1000000").fetchone() or (0,)
    print(f"database: {megabytes} MB of text, {size} MB on the server's disk", flush=True)


class Text:
    """Words as often as words are in speech, one after the other by chance."""

    def __init__(self, draw: random.Random) -> None:
        syllables = [
            a + b for a in "bcdfghjklmnprstvwz" for b in ("a", "e", "i", "o", "u", "an", "er", "in", "on", "st")
        ]
        words = ["".join(draw.choices(syllables, k=1 + number % 4)) for number in range(12_000)]
        shares = [1 / (rank + 3) for rank in range(len(words))]
        self._words = draw.choices(words, shares, k=65_536)

    def take(self, count: int) -> str:
        """So many words."""
        return " ".join(map(self._words.__getitem__, array.array("H", os.urandom(2 * count))))


if __name__ == "__main__":
    main()
