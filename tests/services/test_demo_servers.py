"""Each real server of the demo starts alone, answers, survives a stop, and leaves nothing behind."""

import socket
from io import BytesIO
from pathlib import Path

import pytest

from demo.postgres import Postgres
from demo.process import DemoError, Keeper
from demo.seaweedfs import Seaweedfs
from demo.server import Server
from demo.valkey import Valkey


def test_postgres_holds_rows_the_watch_may_read(postgres: Postgres) -> None:
    import psycopg

    with psycopg.connect(postgres.environ()["DATABASE_URL"]) as connection:
        assert connection.execute('SELECT count(*) FROM "LiteLLM_SpendLogs"').fetchone() == (5000,)
        assert connection.execute("SELECT vec <=> vec FROM r2r.chunks LIMIT 1").fetchone() == (0.0,)
    with psycopg.connect(postgres.environ()["DATABASE_URL__LANGFUSE"]) as connection:
        assert connection.execute("SELECT count(*) FROM prompts").fetchone() == (1500,)


def test_postgres_wants_the_password(postgres: Postgres) -> None:
    import psycopg

    url = postgres.environ()["DATABASE_URL"].replace(postgres.password, "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(url)


def test_valkey_wants_the_password(valkey: Valkey) -> None:
    import redis

    with redis.Redis.from_url(valkey.environ()["REDIS_URL"]) as client:
        assert client.ping()
    with valkey.client(password="wrong") as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_seaweedfs_stores_with_the_keys_it_names(seaweedfs: Seaweedfs) -> None:
    client = seaweedfs.client()
    client.put_object(bucket_name="langfuse", object_name="demo/one", data=BytesIO(b"x" * 1000), length=1000)
    assert client.stat_object(bucket_name="langfuse", object_name="demo/one").size == 1000


@pytest.mark.parametrize("kind", [Postgres, Valkey])
def test_stop_keeps_the_port_and_start_brings_it_back(kind: type[Server], keeper: Keeper) -> None:
    with kind(keeper=keeper) as server:
        pid, folder = server.pid, server.folder
        server.stop()
        assert not Path(f"/proc/{pid}").exists()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((server.host, server.port), timeout=2)
        server.start()
        assert server.pid != pid
        assert server.ready()
    assert not folder.exists()


def test_a_paused_server_accepts_and_never_answers(keeper: Keeper) -> None:
    with Valkey(keeper=keeper) as server:
        server.pause()
        with socket.create_connection((server.host, server.port), timeout=0.3) as connection:
            connection.sendall(b"PING\r\n")
            with pytest.raises(TimeoutError):
                connection.recv(10)
        server.resume()
        assert server.ready()


def test_what_was_stored_survives_seaweedfs_ending(keeper: Keeper) -> None:
    with Seaweedfs(keeper=keeper) as server:
        server.client().put_object(bucket_name="backups", object_name="kept", data=BytesIO(b"kept"), length=4)
        sockets = set(server.command().leftovers)
        assert {path for path in sockets if Path(path).exists()} == sockets
        server.stop()
        assert not any(Path(path).exists() for path in sockets)
        server.start()
        with server.client().get_object(bucket_name="backups", object_name="kept") as answer:
            assert answer.read() == b"kept"


def test_a_server_that_cannot_start_shows_its_log(keeper: Keeper) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(DemoError, match="ddress already in use"):
        Valkey(port=taken.getsockname()[1], keeper=keeper).start()


def test_a_full_valkey_answers_ping_and_refuses_writes(keeper: Keeper) -> None:
    import redis

    with Valkey(keeper=keeper) as server:
        server.fill()
        with server.client() as client:
            assert client.ping()
            with pytest.raises(redis.exceptions.OutOfMemoryError):
                client.set("a", b"x" * 65_536)
            server.empty()
            assert client.set("a", "x")


def test_closing_a_keeper_ends_everything_and_removes_its_folder() -> None:
    with Keeper.start() as mine:
        server = Valkey(keeper=mine).start()
        server.pause()  # a frozen one must end as well
        pid, folder = server.pid, mine.folder
        assert folder.is_dir()
    assert not folder.exists()
    assert not Path(f"/proc/{pid}").exists()
