"""PostgreSQL's signals, each provoked on a real server of two majors, and what is told where nothing can be asked."""

import asyncio
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trustme

from config.causes import Cause
from config.checks import PostgresParams, TlsParams
from config.secret import Secret
from config.services import Check, Service
from config.signals import PostgresSignalParams
from demo.postgres import Postgres
from demo.process import Keeper
from monitor.diagnose.base import Diagnosis
from monitor.diagnose.table import diagnose
from monitor.probes.base import Outcome, Sight, Verdict
from monitor.probes.postgres_signal import SIGNALS

PG15 = Path("/usr/lib/postgresql/15/bin")
OLD = pytest.mark.skipif(
    not (PG15 / "postgres").exists() or os.geteuid() != 0, reason="needs Debian's PostgreSQL 15, and root to start it"
)
SETTINGS = {
    "max_prepared_transactions": "5",
    "archive_mode": "on",
    "archive_command": "false",
    "max_connections": "20",
    "max_wal_senders": "3",
}


class Second(Postgres):
    """Another server than the shared one."""

    name = "postgres-signals"


@pytest.fixture(scope="module", params=["18", pytest.param("15", marks=OLD)])
def server(request: Any, keeper: Keeper) -> Iterator[Postgres]:
    binaries = PG15 if request.param == "15" else None
    one = Second(keeper=keeper, seed=False, binaries=binaries, settings=SETTINGS).start()
    with one.connect() as connection:
        connection.execute("CREATE ROLE plain LOGIN PASSWORD 'other'")
        connection.execute("CREATE TABLE noise (n int)")
    yield one
    one.close()


def params(server: Postgres, signal: str, **changes: Any) -> PostgresSignalParams:
    values: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": server.port,
        "user": server.user,
        "password": Secret(server.password),
        "database": "litellm",
        "signal": signal,
    }
    return PostgresSignalParams(**(values | changes))


def once(run: Any, asked: PostgresSignalParams, *, timeout: float = 5.0) -> Outcome:
    async def act(scene: Any) -> Outcome:
        try:
            outcome: Outcome = await scene.ask("postgres_signal", asked, timeout=timeout)
        finally:
            await scene.context.aclose()
        return outcome

    result: Outcome = run(act)
    return result


def told(asked: PostgresSignalParams, outcome: Outcome) -> Diagnosis:
    check = Check(name=asked.signal, kind="postgres_signal", params=asked)
    service = Service(
        name="postgres",
        kind="postgres",
        title="PostgreSQL",
        address="db:5432",
        checks=(check,),
        variables=("DATABASE_URL",),
        remedies={Cause.CAPACITY: "the preset's own", Cause.READONLY: "the preset's own"},
    )
    diagnosis = diagnose(service, check, outcome)
    assert diagnosis is not None
    assert "preset" not in diagnosis.remedy
    return diagnosis


@contextmanager
def client(server: Postgres, app: str, **options: Any) -> Iterator[psycopg.Connection[Any]]:
    """A client's session, by name."""
    url = options.pop("url", None) or server.url("litellm")
    with psycopg.connect(url, application_name=app, sslmode="disable", connect_timeout=5, **options) as connection:
        try:
            yield connection
        finally:
            connection.close()


def until(what: Callable[[], bool], seconds: float = 15.0) -> None:
    for _ in range(int(seconds / 0.05)):
        if what():
            return
        time.sleep(0.05)
    pytest.fail("it did not come")


def test_a_server_that_is_well_passes_every_signal(run: Any, server: Postgres) -> None:
    async def act(scene: Any) -> dict[str, Outcome]:
        signals = [signal for signal in SIGNALS if signal != "archiver"]
        outcomes = [await scene.ask("postgres_signal", params(server, signal, warn=1e12)) for signal in signals]
        await scene.context.aclose()
        return dict(zip(signals, outcomes, strict=True))

    seen = run(act)
    assert {name: one.evidence.text for name, one in seen.items() if one.verdict != Verdict.PASS} == {}
    assert all(one.available for one in seen.values())
    assert seen["slots"].facts["busy_with"] == "clients"
    assert seen["size"].facts["size"].endswith("MiB")


def test_slots_are_counted_against_what_is_left_to_ordinary_roles(run: Any, server: Postgres) -> None:
    with ExitStack() as clients:
        for _ in range(6):
            clients.enter_context(client(server, "greedy")).execute("SELECT 1")
        idle = clients.enter_context(client(server, "modest", autocommit=True))
        idle.execute("SELECT 1")
        asked = params(server, "slots", warn=30, fail=100)
        outcome = once(run, asked)
    assert outcome.verdict == Verdict.WARN
    assert "8 of 17 connection slots are taken (47 %)" in outcome.evidence.text
    assert "greedy as watchkeeper 6 (6 in a transaction)" in outcome.evidence.text
    assert "modest as watchkeeper 1 (1 idle)" in outcome.evidence.text
    assert told(asked, outcome).cause == Cause.CAPACITY


def test_a_role_with_a_limit_of_its_own_is_counted_against_that(run: Any, server: Postgres) -> None:
    with server.connect() as admin, client(server, "greedy"):
        admin.execute("ALTER ROLE watchkeeper CONNECTION LIMIT 3")
        try:
            outcome = once(run, params(server, "slots", warn=50))
        finally:
            admin.execute("ALTER ROLE watchkeeper CONNECTION LIMIT -1")
    assert outcome.evidence.text.startswith("2 of 3 connection slots of role watchkeeper are taken")


def test_slots_reserved_for_a_group_are_not_counted_as_free(run: Any, fresh_postgres: Any) -> None:
    server = fresh_postgres(seed=False, settings={"max_connections": "20", "reserved_connections": "5"})
    assert "of 12 connection slots" in once(run, params(server, "slots")).evidence.text


def test_when_every_slot_is_taken_whoever_is_inside_tells_by_whom(run: Any, server: Postgres) -> None:
    asked = params(server, "slots", warn=80, fail=100)
    plain = PostgresParams(
        host="127.0.0.1", port=server.port, user=server.user, password=asked.password, database="litellm"
    )

    async def act(scene: Any) -> list[Outcome]:
        outcomes = [await scene.ask("postgres_signal", asked)]
        await asyncio.to_thread(server.take_slots)
        try:
            await asyncio.sleep(2.1)  # an answer is shared for two seconds
            outcomes.append(await scene.ask("postgres", plain))
            outcomes.append(await scene.ask("postgres_signal", asked))
            await asyncio.sleep(2.1)
            outcomes.append(await scene.ask("postgres_signal", asked))
        finally:
            await asyncio.to_thread(server.free_slots)
        await asyncio.sleep(2.1)
        outcomes.append(await scene.ask("postgres_signal", asked))
        await scene.context.aclose()
        return outcomes

    well, refused, full, still, again = run(act)
    assert well.verdict == again.verdict == Verdict.PASS
    assert refused.evidence.code == "53300"
    for outcome in (full, still):
        assert (outcome.verdict, outcome.evidence.sign) == (Verdict.FAIL, "slots")
        assert "17 of 17 connection slots are taken (100 %): unnamed as watchkeeper 16" in outcome.evidence.text
    diagnosis = told(asked, full)
    assert diagnosis.cause == Cause.CAPACITY
    assert "no connection slot left" in diagnosis.sentence


def test_with_nobody_inside_the_plain_check_tells_alone(run: Any, server: Postgres) -> None:
    server.take_slots()
    try:
        outcome = once(run, params(server, "slots", fail=100))
    finally:
        server.free_slots()
    assert outcome.evidence.sight == Sight.NOT_ASKED
    assert outcome.evidence.text == "not asked: the server does not let us in (53300), which another check tells"


def test_an_open_transaction_is_told_with_its_owner(run: Any, server: Postgres) -> None:
    asked = params(server, "transactions", warn=1)
    with client(server, "report") as report:
        report.execute("SELECT 1")
        time.sleep(2.1)
        outcome = once(run, asked)
        waiting = params(server, "idle_in_transaction", warn=1)
        idle = once(run, waiting)
        pid = report.info.backend_pid
    assert outcome.verdict == Verdict.WARN
    assert f"report as watchkeeper in litellm, pid {pid}, idle in transaction" in outcome.evidence.text
    assert told(asked, outcome).cause == Cause.STUCK
    assert idle.verdict == Verdict.WARN
    assert "does nothing" in told(waiting, idle).sentence


def test_a_transaction_that_works_is_not_idle(run: Any, server: Postgres) -> None:
    with client(server, "worker") as worker, client(server, "control", autocommit=True) as control:
        worker.execute("SELECT 1")
        pid = worker.info.backend_pid
        worker.pgconn.send_query(b"SELECT pg_sleep(20)")
        until(
            lambda: (
                control.execute("SELECT state FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone() == ("active",)
            )
        )
        time.sleep(1.1)
        busy, idle = (once(run, params(server, name, warn=1)) for name in ("transactions", "idle_in_transaction"))
        control.execute("SELECT pg_terminate_backend(%s)", [pid])
        with suppress(psycopg.Error):
            worker.pgconn.get_result()
    assert busy.verdict == Verdict.WARN
    assert idle.verdict == Verdict.PASS


def test_a_prepared_transaction_is_open_though_nobody_is_there(run: Any, server: Postgres) -> None:
    asked = params(server, "transactions", warn=1)
    with server.connect("litellm") as admin:
        admin.execute("BEGIN; SELECT txid_current(); PREPARE TRANSACTION 'left behind'")
        time.sleep(1.6)
        outcome = once(run, asked)
        admin.execute("ROLLBACK PREPARED 'left behind'")
    assert "prepared as left behind by postgres in litellm" in outcome.evidence.text
    assert "ROLLBACK PREPARED" in told(asked, outcome).remedy


@pytest.mark.parametrize("app", ["watchkeeper-backup", "pg_dump", "pg_restore"])
def test_a_dump_is_a_fact_and_no_transaction_to_complain_of(run: Any, server: Postgres, app: str) -> None:
    with client(server, app) as dump:
        dump.execute("SELECT 1")
        time.sleep(1.1)
        outcome = once(run, params(server, "transactions", warn=1))
        slots = once(run, params(server, "slots"))
    assert outcome.verdict == Verdict.PASS
    assert slots.facts["busy_with"] == app


def test_a_login_without_grants_says_what_to_grant(run: Any, server: Postgres) -> None:
    login = {"user": "plain", "password": Secret("other")}
    with client(server, "report") as report:
        report.execute("SELECT 1")
        seen = {name: once(run, params(server, name, **login)) for name in SIGNALS}
        with server.connect() as admin:
            admin.execute("GRANT pg_monitor TO plain")
            granted = {name: once(run, params(server, name, **login)) for name in SIGNALS}
            admin.execute("REVOKE pg_monitor FROM plain")
    lacking = {name for name, outcome in seen.items() if not outcome.available}
    assert lacking == {"transactions", "idle_in_transaction"}
    assert all(outcome.verdict == Verdict.PASS for outcome in seen.values())
    text = seen["transactions"].evidence.text
    assert text.startswith("not available: what ")
    assert text.endswith('is hidden from "plain"; GRANT pg_monitor TO "plain"')
    assert "report as watchkeeper 1; " in seen["slots"].evidence.text  # who holds slots is visible to everybody
    assert all(outcome.available for outcome in granted.values())


def test_a_view_that_is_closed_costs_its_own_signal_alone(run: Any, server: Postgres) -> None:
    with server.connect("litellm") as admin:
        admin.execute("REVOKE SELECT ON pg_stat_archiver FROM PUBLIC")
        try:
            closed, size = (
                once(run, params(server, name, user="plain", password=Secret("other"))) for name in ("archiver", "size")
            )
        finally:
            admin.execute("GRANT SELECT ON pg_stat_archiver TO PUBLIC")
    assert closed.evidence.text.startswith("not available: permission denied")
    assert closed.evidence.text.endswith('GRANT pg_monitor TO "plain"')
    assert size.available


def test_transaction_numbers_that_run_out(run: Any, server: Postgres) -> None:
    asked = params(server, "wraparound", warn=0.0001)
    with server.connect("litellm") as admin:
        admin.execute("DO $$ BEGIN FOR i IN 1..500 LOOP PERFORM txid_current(); COMMIT; END LOOP; END $$")
    outcome = once(run, asked)
    assert outcome.verdict == Verdict.WARN
    assert "million transactions since the oldest in database " in outcome.evidence.text
    assert told(asked, outcome).cause == Cause.CAPACITY
    assert once(run, replace(asked, warn=500)).verdict == Verdict.PASS


def test_a_slot_nobody_reads_keeps_wal_and_then_loses_it(run: Any, server: Postgres) -> None:
    asked = params(server, "retained_wal", warn=1_000_000)
    with server.connect() as admin:
        admin.execute("SELECT pg_create_physical_replication_slot('dead', true)")
        try:
            admin.execute("INSERT INTO noise SELECT generate_series(1, 40000)")
            kept = once(run, asked)
            admin.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
            admin.execute("SELECT pg_reload_conf()")
            for _ in range(2):
                admin.execute("INSERT INTO noise SELECT generate_series(1, 40000)")
                admin.execute("SELECT pg_switch_wal()")
                admin.execute("CHECKPOINT")
            lost = once(run, asked)
        finally:
            admin.execute("SELECT pg_drop_replication_slot('dead')")
            admin.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
            admin.execute("SELECT pg_reload_conf()")
            admin.execute("TRUNCATE noise")
    assert kept.verdict == Verdict.WARN
    assert "replication slot dead (used by nobody) keeps" in kept.evidence.text
    assert "max_slot_wal_keep_size" in told(asked, kept).remedy
    assert (lost.verdict, lost.evidence.code) == (Verdict.FAIL, "lost")
    assert "lost the WAL" in told(asked, lost).sentence


def test_an_archive_command_that_fails(run: Any, server: Postgres) -> None:
    asked = params(server, "archiver", warn=0)
    with server.connect() as admin:
        admin.execute("SELECT txid_current()")
        admin.execute("SELECT pg_switch_wal()")
        until(lambda: admin.execute("SELECT failed_count > 0 FROM pg_stat_archiver").fetchone() == (True,))
        outcome = once(run, asked)
        admin.execute("ALTER SYSTEM SET archive_command = 'true'")
        admin.execute("SELECT pg_reload_conf()")
        admin.execute("SELECT txid_current()")
        admin.execute("SELECT pg_switch_wal()")
        query = "SELECT last_archived_time > last_failed_time FROM pg_stat_archiver"
        until(lambda: admin.execute(query).fetchone() == (True,))
        mended = once(run, asked)
        admin.execute("ALTER SYSTEM RESET archive_command")
        admin.execute("SELECT pg_reload_conf()")
    assert outcome.verdict == Verdict.WARN
    assert "it last succeeded never" in outcome.evidence.text
    assert told(asked, outcome).cause == Cause.UNSAVED
    assert mended.verdict == Verdict.PASS


def test_size_and_growth(run: Any, server: Postgres) -> None:
    asked = params(server, "growth", warn=1e9)
    login = (asked.host, asked.port, asked.user, asked.password, asked.database)

    async def act(scene: Any) -> list[Outcome]:
        first = await scene.ask("postgres_signal", asked)
        now = asyncio.get_running_loop().time()
        scene.context.samples.forget((*login, "size"))
        # As if a look two hours ago had found the database 4 MB smaller, and then 400 MB.
        scene.context.samples.since((*login, "size"), 4_000_000, 86_400, now - 7_200)
        slow = await scene.ask("postgres_signal", asked)
        scene.context.samples.forget((*login, "size"))
        scene.context.samples.since((*login, "size"), -400_000_000, 86_400, now - 7_200)
        fast = await scene.ask("postgres_signal", asked)
        size = await scene.ask("postgres_signal", replace(asked, signal="size", warn=1_000_000))
        await scene.context.aclose()
        return [first, slow, fast, size]

    first, slow, fast, size = run(act)
    assert (first.verdict, first.available) == (Verdict.PASS, True)
    assert slow.verdict == Verdict.PASS
    assert "in 2 h, to" in slow.evidence.text
    assert fast.verdict == Verdict.WARN
    assert told(asked, fast).cause == Cause.CAPACITY
    assert size.verdict == Verdict.WARN
    assert told(replace(asked, signal="size"), size).cause == Cause.CAPACITY


@pytest.mark.parametrize(
    ("of", "verdict", "says"),
    [
        ("DATABASE litellm", Verdict.FAIL, "for this database"),
        ("ROLE watchkeeper", Verdict.PASS, "only our own role may not write"),
        ("ROLE watchkeeper IN DATABASE litellm", Verdict.PASS, "only our own role may not write"),
    ],
)
def test_what_may_not_be_written(run: Any, server: Postgres, of: str, verdict: Verdict, says: str) -> None:
    asked = params(server, "writable")
    with server.connect() as admin:
        admin.execute(f"ALTER {of} SET default_transaction_read_only = on")
        try:
            outcome = once(run, asked)
        finally:
            admin.execute(f"ALTER {of} RESET default_transaction_read_only")
    assert outcome.verdict == verdict
    assert says in outcome.evidence.text
    if verdict == Verdict.FAIL:
        assert told(asked, outcome).cause == Cause.READONLY


def test_a_server_that_was_made_read_only(run: Any, server: Postgres) -> None:
    with server.connect() as admin:
        admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        admin.execute("SELECT pg_reload_conf()")
        until(lambda: once(run, params(server, "writable")).verdict == Verdict.FAIL)
        outcome = once(run, params(server, "writable"))
        admin.execute("SET default_transaction_read_only = off")
        admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
        admin.execute("SELECT pg_reload_conf()")
    assert "for the whole server" in outcome.evidence.text


def test_one_connection_serves_all_signals_of_a_round(run: Any, server: Postgres) -> None:
    async def act(scene: Any) -> tuple[int, int, int]:
        stage = await scene.serve(relay(server.port))

        async def look() -> None:
            asked = [params(server, signal, port=stage.port) for signal in SIGNALS]
            outcomes = await asyncio.gather(*(scene.ask("postgres_signal", one) for one in asked))
            assert all(outcome.available for outcome in outcomes)

        await look()
        first = stage.taken
        await asyncio.sleep(2.1)
        await look()
        await asyncio.sleep(0.2)
        held = stage.open
        await scene.context.aclose()
        return first, stage.taken, held

    # Two groups of signals, minutes and hours; of the former's sessions the newest stays.
    assert run(act) == (2, 4, 1)


def relay(port: int, cut_after: int | None = None) -> Any:
    """Passes all on to `port`; cuts both sides once the server has said more than `cut_after` bytes."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", port)

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter, most: int | None) -> None:
            said = 0
            while data := await source.read(65_536):
                said += len(data)
                if most is not None and said > most:
                    break
                sink.write(data)
                await sink.drain()

        pumps = [asyncio.create_task(pump(reader, back, None)), asyncio.create_task(pump(there, writer, cut_after))]
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for task in pumps:
            task.cancel()
        await asyncio.wait(pumps)
        back.close()

    return script


@pytest.mark.parametrize("cut_after", [0, 1, 30, 200, 520, 800])
def test_a_connection_cut_anywhere_is_the_plain_checks_to_tell(run: Any, server: Postgres, cut_after: int) -> None:
    async def act(scene: Any) -> Outcome:
        stage = await scene.serve(relay(server.port, cut_after))
        outcome: Outcome = await scene.ask("postgres_signal", params(server, "slots", port=stage.port))
        await scene.context.aclose()
        return outcome

    outcome = run(act)
    assert (outcome.verdict, outcome.evidence.sight) == (Verdict.PASS, Sight.NOT_ASKED)


@pytest.mark.parametrize("signal", ["slots", "size"])
def test_where_nothing_can_be_asked_the_plain_check_tells_alone(
    run: Any, server: Postgres, free_port: int, signal: str
) -> None:
    changes: list[tuple[dict[str, Any], str]] = [
        ({"port": free_port}, "no session can be opened"),
        ({"password": Secret("wrong")}, "the server does not let us in (28P01)"),
        ({"database": "nowhere"}, "the server does not let us in (3D000)"),
        ({"options": {"sslmode": "require"}}, "no session can be opened"),
        ({"options": {"sslmode": "nonsense"}}, "no session can be opened"),
        ({"host": "no such host"}, "the server does not answer"),
    ]
    for change, why in changes:
        outcome = once(run, params(server, signal, **change))
        assert outcome.evidence.text == f"not asked: {why}, which another check tells", change
        assert (outcome.verdict, outcome.evidence.sight) == (Verdict.PASS, Sight.NOT_ASKED), change


def test_a_frozen_server_keeps_nobody_waiting_and_no_session(run: Any, fresh_postgres: Any) -> None:
    server = fresh_postgres(seed=False)

    async def act(scene: Any) -> list[tuple[Outcome, int]]:
        seen = [(await scene.ask("postgres_signal", params(server, "slots")), len(scene.context.kept))]
        await asyncio.sleep(2.1)
        server.pause()
        try:
            found = await scene.ask("postgres_signal", params(server, "slots"), timeout=0.6)
            seen.append((found, len(scene.context.kept)))
        finally:
            server.resume()
        return seen

    (well, before), (frozen, after) = run(act)
    assert (well.verdict, before) == (Verdict.PASS, 1)
    assert (frozen.evidence.sight, after) == (Sight.NOT_ASKED, 0)
    assert frozen.latency < 0.7


def certificate(days: int) -> trustme.LeafCert:
    issuer = trustme.CA()
    return issuer.issue_cert("localhost", not_after=datetime.now(UTC) + timedelta(days=days))


@pytest.mark.parametrize(
    ("days", "verdict", "cause"),
    [(-3, Verdict.FAIL, Cause.CERT_EXPIRED), (5, Verdict.WARN, Cause.CERT_EXPIRING), (500, Verdict.PASS, None)],
)
@OLD
def test_the_certificate_that_clients_do_not_look_at(
    run: Any, fresh_postgres: Any, days: int, verdict: Verdict, cause: Cause | None
) -> None:
    server = fresh_postgres(seed=False, binaries=PG15)  # the wheel's knows no TLS
    asked = TlsParams(host="127.0.0.1", port=server.port, starttls="postgres", verify=False, optional=True)

    async def act(scene: Any) -> Outcome:
        outcome: Outcome = await scene.ask("tls", asked)
        return outcome

    without = run(act)
    assert without.evidence.text == "not available: the server speaks no TLS, so it has no certificate"
    leaf = certificate(days)
    for name, blob in (("server.crt", leaf.cert_chain_pems[0]), ("server.key", leaf.private_key_pem)):
        path = server.data / name
        path.write_bytes(blob.bytes())
        path.chmod(0o600)
        shutil.chown(path, server.data.owner(), server.data.group())
    with server.connect() as admin:
        admin.execute("ALTER SYSTEM SET ssl = on")
        admin.execute("SELECT pg_reload_conf()")
    until(lambda: run(act).available)
    outcome = run(act)
    check = Check(name="certificate", kind="tls", params=asked)
    service = Service(name="postgres", kind="postgres", title="PostgreSQL", address="db:5432", checks=(check,))
    diagnosis = diagnose(service, check, outcome)
    assert (outcome.verdict, diagnosis.cause if diagnosis else None) == (verdict, cause)
    server.stop()
    assert run(act).evidence.sight == Sight.NOT_ASKED


class Standby(Postgres):
    """A standby of `primary`, made with pg_basebackup."""

    name = "postgres-standby"

    def __init__(self, primary: Postgres, keeper: Keeper) -> None:
        super().__init__(keeper=keeper, seed=False)
        self._primary = primary

    def prepare(self) -> None:
        environ = {**os.environ, "PGPASSWORD": self._primary.superuser_password}
        source = f"host=127.0.0.1 port={self._primary.port} user=postgres"
        program = str(self._primary._binary("pg_basebackup"))
        subprocess.run(
            [program, "-d", source, "-D", str(self.data), "-R", "-c", "fast"],
            env=environ,
            check=True,
            capture_output=True,
            timeout=60,
        )
        for path in (self.data, *self.data.rglob("*")):
            shutil.chown(path, self._primary.data.owner(), self._primary.data.group())

    def settle(self) -> None:
        """Everything is there already."""


def test_a_replica_behind_its_primary_and_a_standby_without_one(run: Any, fresh_postgres: Any, keeper: Keeper) -> None:
    primary = fresh_postgres(seed=False)
    standby = Standby(primary, keeper).start()
    try:
        asked, there = (params(one, "replication", warn=2) for one in (primary, standby))
        until(lambda: "(streaming)" in once(run, asked).evidence.text)
        well = once(run, asked)
        writable = once(run, params(standby, "writable"))
        with primary.connect() as admin:
            login = {"user": "plain", "password": Secret("other")}
            admin.execute("CREATE ROLE plain LOGIN PASSWORD 'other'")
            hidden = once(run, replace(asked, **login))
            with standby.connect() as other:
                other.execute("SELECT pg_wal_replay_pause()")
                for second in range(4):
                    admin.execute("CREATE TABLE IF NOT EXISTS late AS SELECT generate_series(1, 1000)")
                    admin.execute("INSERT INTO late VALUES (%s)", [second])
                    time.sleep(1)
                behind = once(run, asked)
                itself = once(run, there)
                other.execute("SELECT pg_wal_replay_resume()")
        until(lambda: once(run, asked).verdict == Verdict.PASS)
        here = once(run, there)
        primary.stop()
        until(lambda: once(run, there).verdict == Verdict.WARN)
        alone = once(run, there)
    finally:
        standby.close()
    assert (well.verdict, well.facts) == (Verdict.PASS, {"replicas": "1"})
    assert writable.verdict == Verdict.FAIL
    assert "standby" in told(params(standby, "writable"), writable).sentence
    assert "GRANT pg_monitor" in hidden.evidence.text
    assert behind.verdict == Verdict.WARN
    assert "walreceiver (streaming) is" in behind.evidence.text
    assert told(asked, behind).cause == Cause.LAGGING
    assert "this standby is" in itself.evidence.text
    assert itself.verdict == Verdict.WARN
    assert here.verdict == Verdict.PASS
    assert alone.verdict == Verdict.WARN
    assert "lost its primary" in told(there, alone).sentence


def test_no_secret_in_what_is_told(run: Any, server: Postgres) -> None:
    secret = Secret("canary 'p\\w%40:/?#[]@ \" é")
    with client(server, f"app {secret.reveal()[:30]}"):
        asked = params(server, "slots", password=secret)
        assert "canary" not in repr(once(run, asked))


POOLER = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"


@pytest.fixture
def pooler(server: Postgres, keeper: Keeper, free_port: int) -> Iterator[int]:
    """PgBouncer before the server, a server's session for each transaction; gives its port."""
    folder = Path(tempfile.mkdtemp(prefix="pooler-"))
    (folder / "users").write_text(f'"{server.user}" "{server.password}"\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\nlitellm = host=127.0.0.1 port={server.port} dbname=litellm\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {free_port}\nunix_socket_dir =\n"
        f"auth_type = plain\nauth_file = {folder}/users\npool_mode = transaction\ndefault_pool_size = 2\n"
    )
    for path in (folder, *folder.iterdir()):
        os.chown(path, 65_534, 65_534)
    process = subprocess.Popen(
        [POOLER, str(folder / "pgbouncer.ini")], user=65_534, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: opens(free_port))
        yield free_port
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder)


def opens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.skipif(not Path(POOLER).exists() or os.geteuid() != 0, reason="needs PgBouncer, and root to start it")
def test_through_a_pooler_all_is_told_but_its_certificate(run: Any, server: Postgres, pooler: int) -> None:
    async def act(scene: Any) -> dict[str, Outcome]:
        for _ in range(3):  # sessions of the server's go from hand to hand meanwhile
            scene.context._answers._flights.clear()
            asked = [params(server, signal, port=pooler, warn=1e12) for signal in SIGNALS]
            outcomes = await asyncio.gather(*(scene.ask("postgres_signal", one) for one in asked))
        certificate = TlsParams(host="127.0.0.1", port=pooler, starttls="postgres", verify=False, optional=True)
        seen = dict(zip(SIGNALS, outcomes, strict=True))
        seen["certificate"] = await scene.ask("tls", certificate)
        await scene.context.aclose()
        return seen

    seen = run(act)
    assert {name for name, outcome in seen.items() if not outcome.available} == {"certificate"}
    assert {outcome.verdict for outcome in seen.values()} == {Verdict.PASS}
    with psycopg.connect(f"postgresql://{server.user}:{server.password}@127.0.0.1:{pooler}/litellm") as client:
        assert client.execute("SHOW statement_timeout").fetchone() == ("0",)
