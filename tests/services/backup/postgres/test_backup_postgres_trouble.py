"""What goes wrong while PostgreSQL is dumped: each ends in a clear error with a remedy, and nothing half is listed."""

import contextlib
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from backup.errors import StoppedError, StoreError, TargetError
from backup.manifest import MANIFEST
from backup.postgres.login import Login
from backup.postgres.target import Target
from backup.storage.table import open_storage
from config.backup_settings import DumpSettings
from config.backup_store import StoreSettings
from config.secret import Secret
from demo.ports import free_port
from demo.postgres import Postgres


def children(name: str) -> list[psutil.Process]:
    """Our running child processes of that name."""
    found = []
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if child.name() == name and child.status() != psutil.STATUS_ZOMBIE:
                found.append(child)
    return found


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Whatever happened, no program of PostgreSQL's runs on."""
    yield
    deadline = time.monotonic() + 3
    while any(children(name) for name in ("pg_dump", "pg_restore", "pg_dumpall", "sleep")):
        assert time.monotonic() < deadline, "a child was left"
        time.sleep(0.02)


def failed(bench: Any, report: Any, count: int = 1) -> str:
    """The error of a run that stored nothing and lists nothing."""
    assert report.exit_code == 1
    assert report.manifest is None
    assert bench.objects() == []
    assert len(report.errors) == count
    assert "\n" not in report.errors[0]
    return str(report.errors[0])


def test_a_dump_killed_midway_is_no_artifact(bench: Any, held: Any, large: str) -> None:
    """Its output ends like any other's: only the exit code tells."""

    def kill() -> None:
        assert held.reached.wait(20)
        children("pg_dump")[0].send_signal(signal.SIGKILL)
        held.release.set()

    thread = threading.Thread(target=kill)
    thread.start()
    report = bench.take(large)
    thread.join()
    error = bench.artifact(report, f"postgres/database/{large}").error
    assert "was killed by signal 9" in error
    assert "want of memory" in error
    assert failed(bench, report)


def test_a_dump_that_fails_after_much_output(bench: Any, fake: Callable[..., Path], database: str) -> None:
    clients = fake('head -c 30000000 /dev/urandom; echo "pg_dump: error: the disk said no" >&2; exit 3')
    error = failed(bench, bench.take(database, clients=clients))
    assert "ended with exit code 3" in error
    assert "the disk said no" in error


def test_a_long_query_hides_neither_the_reason_nor_the_remedy(
    bench: Any, fake: Callable[..., Path], database: str
) -> None:
    """pg_dump quotes the whole query that failed, over many lines, after the reason."""
    reason = "pg_dump: error: query failed: server closed the connection unexpectedly"
    query = "pg_dump: detail: Query was: SELECT" + " p.oid," * 200
    script = f"""cat >&2 <<'END'
{reason}
\tThis probably means the server terminated abnormally
{query}
{chr(10).join(f"OR column_{number} IS NULL" for number in range(40))}
END
exit 1"""
    error = failed(bench, bench.take(database, clients=fake(script)))
    assert "server closed the connection" in error
    assert error.endswith("; the server ended the connection: see its log, then run again")
    assert len(error) < 600


def test_output_that_is_no_archive_is_no_artifact(bench: Any, fake: Callable[..., Path], database: str) -> None:
    clients = fake("head -c 3000000 /dev/urandom")
    error = failed(bench, bench.take(database, clients=clients))
    assert "pg_restore cannot read what was dumped" in error


def test_a_truncated_archive_with_exit_code_0_is_no_artifact(
    bench: Any, fake: Callable[..., Path], postgres: Postgres, large: str
) -> None:
    """`pg_restore --list` would call it good; reading all of it does not."""
    real = next(iter(_wheel_clients()))
    clients = fake(f'"{real}" "$@" | head -c 20000000')
    error = failed(bench, bench.take(large, clients=clients))
    assert "pg_restore cannot read" in error


def _wheel_clients() -> Iterator[Path]:
    from backup.postgres.clients import installed

    yield from (client.folder / "pg_dump" for client in installed() if client.major == 18)


def test_what_the_program_warns_of_is_kept(
    bench: Any, fake: Callable[..., Path], postgres: Postgres, database: str
) -> None:
    real = next(iter(_wheel_clients()))
    said = f"pg_dump: warning: odd, by {postgres.superuser_password}"
    clients = fake(f'echo "{said}" >&2; exec "{real}" "$@"')
    report = bench.take(database, clients=clients)
    assert report.errors == ()
    assert report.artifacts[0].detail["warnings"] == ["pg_dump: warning: odd, by ***"]


def test_a_dump_that_stands_still_is_ended(bench: Any, fake: Callable[..., Path], database: str) -> None:
    bench.settings = replace(bench.settings, dump=DumpSettings(stall_seconds=0.5))
    began = time.monotonic()
    error = failed(bench, bench.take(database, clients=fake("head -c 5000000 /dev/zero; exec sleep 60")))
    assert "pg_dump stood still for 0.5 s" in error
    assert "BACKUP_STALL_SECONDS" in error
    assert time.monotonic() - began < 8


def test_a_store_that_takes_nothing_ends_the_dump(bench: Any, held: Any, large: str) -> None:
    bench.settings = replace(bench.settings, dump=DumpSettings(stall_seconds=1.0))
    report = bench.take(large)
    held.release.set()
    assert report.exit_code == 1
    assert "the store stood still for 1 s" in report.errors[0]
    assert not [key for key in bench.objects() if key.endswith(MANIFEST)]


def test_the_snapshots_are_not_held_for_ever(bench: Any, fake: Callable[..., Path], database: str) -> None:
    clients = fake("while echo x; do sleep 0.1; done")
    error = failed(bench, bench.take(database, clients=clients, longest_seconds=1.0))
    assert "BACKUP_LONGEST_SECONDS" in error


def test_a_locked_table_is_named_with_its_holder_and_costs_the_others_nothing(
    bench: Any, postgres: Postgres, made_database: Any, database: str
) -> None:
    with (
        made_database(postgres, f"{database}_other", "CREATE TABLE other (n int)") as other,
        postgres.connect(database) as connection,
        connection.transaction(),
    ):
        connection.execute("SET application_name = 'nightly migration'")
        connection.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        report = bench.take(database, other, lock_wait_seconds=0.3)
    assert report.exit_code == 1
    error = bench.artifact(report, f"postgres/database/{database}").error
    assert "public.t is held by nightly migration (pid" in error
    assert "BACKUP_LOCK_WAIT_SECONDS" in error
    listed = {one.name: one.status for one in report.manifest.artifacts}
    assert listed == {database: "failed", other: "whole", "globals": "whole"}
    assert not [key for key in bench.objects() if f"/{database}.dump" in key]


def test_a_server_without_a_free_slot(bench: Any, fresh_postgres: Any) -> None:
    server = fresh_postgres(seed=False)
    server.take_slots()
    try:
        report = bench.take(url=Secret(server.url("litellm")))
    finally:
        server.free_slots()
    error = failed(bench, report)
    assert "remaining connection slots" in error
    assert "close idle clients, or raise max_connections" in error


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("demo-postgres-password", "canary-wrong"), "check user and password"),
        (("/postgres", "/nowhere"), 'database "nowhere" does not exist'),
        (("postgres:demo", "nobody-knows:demo"), "check user and password"),
        (("127.0.0.1", "no-such-host.invalid"), "check the host in the address"),
    ],
)
def test_an_address_that_does_not_lead_there(bench: Any, change: tuple[str, str], says: str) -> None:
    head, tail = bench.settings.postgres.url.reveal().rsplit("/", 1)
    old, new = change
    url = f"{head}/{tail}".replace(old, new) if old != "/postgres" else f"{head}/nowhere"
    error = failed(bench, bench.take(url=Secret(url)))
    assert error.startswith("postgres/database/*: PostgreSQL at ")
    assert says in error
    assert "canary" not in error


def test_a_port_where_nobody_listens(bench: Any) -> None:
    error = failed(bench, bench.take(url=Secret(f"postgresql://u:p@127.0.0.1:{free_port()}/x")))
    assert "check that PostgreSQL runs" in error


def test_a_database_that_is_asked_for_and_missing(bench: Any, database: str) -> None:
    report = bench.take(database, "nowhere")
    assert report.exit_code == 1
    assert report.errors == (
        'postgres/database/nowhere: there is no database "nowhere"; check BACKUP_DATABASES, which names it',
    )
    assert [one.name for one in report.manifest.whole()] == [database, "globals"]


class Pooler:
    """Passes a session on, and gives out another number for cancelling than the server's, as PgBouncer does."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            threading.Thread(target=self._pass, args=(client, server, None), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, b"K\0\0\0\x0c"), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, changing: bytes | None) -> None:
        try:
            while data := source.recv(65_536):
                if changing and changing in data:
                    at = data.index(changing) + len(changing)
                    data, changing = data[:at] + struct.pack("!i", 4_242_424) + data[at + 4 :], None
                sink.sendall(data)
        except OSError:
            pass
        finally:
            for one in (source, sink):
                one.close()


@pytest.fixture
def pooler(postgres: Postgres) -> Iterator[Pooler]:
    made = Pooler(postgres.port)
    yield made
    made.close()


def test_a_pooler_is_detected(bench: Any, pooler: Pooler, postgres: Postgres, database: str) -> None:
    url = f"postgresql://postgres:{postgres.superuser_password}@127.0.0.1:{pooler.port}/postgres?sslmode=disable"
    error = failed(bench, bench.take(database, url=Secret(url)))
    assert "DATABASE_URL leads through a pooler" in error
    assert "set BACKUP_DATABASE_URL to PostgreSQL's direct address" in error

    believed = bench.take(database, url=Secret(url), url_variable="BACKUP_DATABASE_URL")
    assert believed.errors == ()
    assert any("leads through a pooler" in note for note in believed.manifest.notes)
    with pytest.raises(TargetError, match=r"T leads through a pooler .* give that with --to-postgres"):
        Target(Login.read(Secret(url), "T"))


def test_a_server_that_dies_midway(bench: Any, held: Any, fresh_postgres: Any, made_database: Any) -> None:
    server = fresh_postgres(seed=False)
    with server.connect("litellm") as connection:
        connection.execute(
            "CREATE TABLE large AS SELECT (SELECT string_agg(sha512((n * 1000 + m)::text::bytea), '')"
            " FROM generate_series(1, 320) m) FROM generate_series(1, 3000) n"  # more than pipes and pieces hold
        )

    def kill() -> None:
        assert held.reached.wait(20)
        server.kill()
        held.release.set()

    thread = threading.Thread(target=kill)
    thread.start()
    url = f"postgresql://postgres:{server.superuser_password}@127.0.0.1:{server.port}/postgres"
    report = bench.take("litellm", url=Secret(url))
    thread.join()
    assert failed(bench, report, 2)
    assert "see its log, then run again" in report.errors[0]


def test_a_stop_takes_everything_back_in_time(bench: Any, held: Any, large: str, database: str) -> None:
    def stop() -> None:
        assert held.reached.wait(20)
        bench.began = time.monotonic()
        bench.stop.set()
        time.sleep(0.3)
        held.release.set()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(StoppedError):
        bench.take(large, database)
    assert time.monotonic() - bench.began < 3
    thread.join()
    assert bench.objects() == []


def test_a_stop_is_not_held_up_by_a_store_that_hangs(bench: Any, held: Any, large: str) -> None:
    def stop() -> None:
        assert held.reached.wait(20)
        bench.began = time.monotonic()
        bench.stop.set()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(StoppedError):
        bench.take(large)
    assert time.monotonic() - bench.began < 3
    thread.join()
    held.release.set()


@pytest.fixture
def faulty(bench: Any, proxied: StoreSettings) -> Iterator[Any]:
    """The bench, whose store is SeaweedFS behind a proxy."""
    bench.settings = replace(bench.settings, store=proxied)
    bench.storage = open_storage(proxied)
    yield bench
    bench.storage.close()


def fault(status: int, code: str, how: str = "answer") -> Any:
    return SimpleNamespace(status=status, code=code, how=how, body=None, content_type="application/xml")


def is_piece(method: str, path: str) -> bool:
    return method == "PUT" and "/postgres/" in path


def test_a_store_that_is_busy_for_a_moment_costs_nothing(faulty: Any, proxy: Any, database: str) -> None:
    left = [fault(503, "SlowDown"), fault(500, "InternalError"), fault(0, "", "reset")]
    proxy.faults = lambda _, method, path: left.pop() if left and is_piece(method, path) else None
    report = faulty.take(database)
    assert report.errors == ()
    assert not left


def test_a_piece_is_one_request(faulty: Any, proxy: Any, large: str) -> None:
    """No multipart upload: one that is cut short leaves parts that no listing shows."""
    assert faulty.take(large).errors == ()
    written = [path for method, path in proxy.seen if is_piece(method, path)]
    assert len(written) == len(set(written)) >= 4


def test_a_full_store_is_emptied_of_what_this_run_wrote(faulty: Any, proxy: Any, large: str) -> None:
    proxy.faults = lambda _, method, path: (
        fault(507, "XMinioStorageFull") if is_piece(method, path) and "000001" in path else None
    )
    report = faulty.take(large)
    error = failed(faulty, report)
    assert "full" in error


def test_a_store_that_refuses_pieces(bench: Any, hooked: Any, large: str) -> None:
    def refuse(key: str) -> None:
        if key.endswith(".dump.zst/000001"):
            raise StoreError("the store is odd", "look at it")

    hooked.before = refuse
    error = failed(bench, bench.take(large))
    assert "the store is odd; look at it" in error


def test_a_store_that_refuses_the_manifest(bench: Any, hooked: Any, database: str) -> None:
    def refuse(key: str) -> None:
        if key.endswith(MANIFEST):
            raise StoreError("the store answers 500", "see its log")

    hooked.before = refuse
    with pytest.raises(StoreError, match="answers 500"):
        bench.take(database)
    assert bench.objects() == []
