"""Records anew what real servers answer, for the tests that hold our reading of it against it: tests/data/recorded.

    python -m demo.record [--only NAME] [--into FOLDER] [--older-litellm VENV]      (make record)

Starts each server, brings it into every situation, and writes what it answers to what our checks ask it. What differs
from run to run (times, ids, ports) is made the same, so that a diff shows what a new version does differently. MinIO is
recorded where a `minio` binary is on PATH; where none is, what was recorded of it stays.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from demo.minio import MinioServer
from demo.process import DemoError, Keeper
from demo.recorders import litellm, postgres, redis, stores
from demo.recorders.book import FOLDER, Book, clear

Recorder = Callable[[Keeper, argparse.Namespace], Iterator[Book]]

RECORDERS: dict[str, Recorder] = {
    "clickhouse": lambda keeper, wish: stores.record_clickhouse(keeper, wish.into),
    "litellm": lambda keeper, wish: litellm.record(keeper, wish.into, wish.older_litellm),
    "minio": lambda keeper, wish: stores.record_minio(keeper, wish.into),
    "postgresql": lambda keeper, wish: postgres.record(keeper, wish.into),
    "redis": lambda keeper, wish: redis.record_redis(keeper, wish.into),
    "seaweedfs": lambda keeper, wish: stores.record_seaweedfs(keeper, wish.into),
    "valkey": lambda keeper, wish: redis.record_valkey(keeper, wish.into),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Records what was asked for; 1 when a server is not there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=sorted(RECORDERS), help="one server instead of all")
    parser.add_argument("--older-litellm", type=Path, help=f"a virtual environment that has {litellm.OLDER} already")
    parser.add_argument("--into", type=Path, default=FOLDER, help="another folder than tests/data/recorded")
    wish = parser.parse_args(arguments)
    failed = 0
    with Keeper.start() as keeper:
        for name in [wish.only] if wish.only else RECORDERS:
            if name == "minio" and not wish.only and MinioServer.binary() is None:
                print("minio is not recorded: no binary of it is on PATH, and no package index has one")
                continue
            try:
                books = {}
                for book in RECORDERS[name](keeper, wish):
                    book.close()
                    books[book.folder.name] = book
                    print(f"{book.folder.name}: {len(book.written)} situations")
                clear(wish.into, name, books)
            except DemoError as problem:
                print(f"{name} is not recorded: {problem}", file=sys.stderr)
                failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
