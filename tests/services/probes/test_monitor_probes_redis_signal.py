"""Redis's signals, each provoked on a real Valkey and a real Redis, and what is told where nothing can be asked."""

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from config.causes import Cause
from config.secret import Secret
from config.services import Check, Service
from config.signals import RedisSignalParams
from demo.process import Keeper
from demo.valkey import Valkey
from monitor.diagnose.base import Diagnosis
from monitor.diagnose.table import diagnose
from monitor.probes.base import Outcome, Sight, Verdict
from monitor.probes.redis_signal import CANARY, CANARY_TTL, SIGNALS

REDIS = Path("/usr/bin/redis-server")
KINDS = [
    "valkey",
    pytest.param("redis", marks=pytest.mark.skipif(not REDIS.exists(), reason="needs Debian's redis-server")),
]
ALL = (*SIGNALS, "canary")


class Second(Valkey):
    """Another server than the shared one."""

    name = "valkey-signals"


@pytest.fixture(scope="module", params=KINDS)
def server(request: Any, keeper: Keeper) -> Iterator[Valkey]:
    one = Second(keeper=keeper, binary=REDIS if request.param == "redis" else None).start()
    yield one
    one.close()


@contextmanager
def configured(server: Valkey, **settings: Any) -> Iterator[redis.Redis]:
    """A client, while the server has these settings."""
    with server.client() as client:
        names = {name: name.replace("_", "-") for name in settings}
        before = {name: client.config_get(names[name])[names[name]] for name in settings}
        try:
            for name, value in settings.items():
                client.config_set(names[name], value)
            yield client
        finally:
            for name, value in before.items():
                client.config_set(names[name], value)
            client.flushall()
            client.config_resetstat()


def params(server: Valkey, signal: str, **changes: Any) -> RedisSignalParams:
    values: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": server.port,
        "password": Secret(server.password) if server.password else None,
        "signal": signal,
    }
    return RedisSignalParams(**(values | changes))


def once(run: Any, asked: RedisSignalParams, *, timeout: float = 3.0) -> Outcome:
    async def act(scene: Any) -> Outcome:
        outcome: Outcome = await scene.ask("redis_signal", asked, timeout=timeout)
        return outcome

    result: Outcome = run(act)
    return result


def looks(run: Any, asked: RedisSignalParams, *between: Callable[[], object]) -> list[Outcome]:
    """A look, and one more after each of `between`, by one daemon that remembers the earlier ones."""

    async def act(scene: Any) -> list[Outcome]:
        outcomes = [await scene.ask("redis_signal", asked)]
        for step in between:
            await asyncio.to_thread(step)
            scene.context._answers._flights.clear()  # as if two seconds had passed
            outcomes.append(await scene.ask("redis_signal", asked))
        return outcomes

    result: list[Outcome] = run(act)
    return result


def told(asked: RedisSignalParams, outcome: Outcome) -> Diagnosis:
    check = Check(name=asked.signal, kind="redis_signal", params=asked)
    service = Service(
        name="redis",
        kind="redis",
        title="Redis",
        address="redis:6379",
        checks=(check,),
        variables=("REDIS_URL",),
        remedies={Cause.CAPACITY: "the preset's own", Cause.READONLY: "the preset's own"},
    )
    diagnosis = diagnose(service, check, outcome)
    assert diagnosis is not None
    assert "preset" not in diagnosis.remedy
    return diagnosis


def test_a_server_that_is_well_passes_every_signal(run: Any, server: Valkey) -> None:
    seen = {signal: once(run, params(server, signal, warn=80, fail=90)) for signal in ALL}
    assert {name: one.evidence.text for name, one in seen.items() if one.verdict != Verdict.PASS} == {}
    assert all(one.available for one in seen.values())


def test_memory_that_runs_out_where_nothing_is_thrown_away(run: Any, server: Valkey) -> None:
    asked = params(server, "memory", warn=60)
    with configured(server, maxmemory="16mb", maxmemory_policy="noeviction") as client:
        before = once(run, asked)
        for number in range(10):
            client.set(f"filler:{number}", b"x" * 1_048_576)
        full = once(run, asked)
        client.config_set("maxmemory-policy", "allkeys-lru")
        cache = once(run, asked)
        client.config_set("maxmemory", "0")
        unbounded = once(run, asked)
    assert before.verdict == Verdict.PASS
    assert full.verdict == Verdict.WARN
    assert "of 16.0 MiB are used (" in full.evidence.text
    assert told(asked, full).cause == Cause.CAPACITY
    assert cache.verdict == Verdict.PASS
    assert unbounded.evidence.text.startswith("not available: maxmemory is not set")


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "noeviction"])
def test_a_policy_that_throws_queues_away(run: Any, server: Valkey, policy: str) -> None:
    asked = params(server, "policy")
    with configured(server, maxmemory="16mb", maxmemory_policy=policy) as client:
        outcome = once(run, asked)
        client.config_set("maxmemory", "0")
        harmless = once(run, asked)
    assert harmless.verdict == Verdict.PASS
    if policy == "noeviction":
        assert outcome.verdict == Verdict.PASS
    else:
        assert outcome.verdict == Verdict.WARN
        assert f"maxmemory_policy is {policy}" in outcome.evidence.text
        assert told(asked, outcome).cause == Cause.MISCONFIGURED


def test_keys_that_are_thrown_away_are_told_for_some_minutes(run: Any, server: Valkey) -> None:
    asked = params(server, "evicted", fail=1)
    with configured(server, maxmemory="4mb", maxmemory_policy="allkeys-lru") as client:

        def evict() -> None:
            for number in range(80):
                client.set(f"filler:{number}", b"x" * 65_536)

        first, evicting, after, reset = looks(run, asked, evict, lambda: None, client.config_resetstat)
    assert (first.verdict, first.available) == (Verdict.PASS, True)
    assert evicting.verdict == after.verdict == Verdict.FAIL
    assert "keys thrown away for want of memory in the last" in evicting.evidence.text
    assert told(asked, evicting).cause == Cause.CAPACITY
    assert reset.verdict == Verdict.PASS


def test_clients_that_are_refused(run: Any, server: Valkey) -> None:
    asked = params(server, "rejected", fail=1)
    with configured(server, maxclients=12):

        def crowd() -> None:
            with ExitStack() as clients:
                for _ in range(16):
                    client = clients.enter_context(server.client())
                    with suppress(redis.RedisError):
                        client.ping()

        first, refused = looks(run, asked, crowd)
    assert first.verdict == Verdict.PASS
    assert refused.verdict == Verdict.FAIL
    assert "of 12 clients are connected" in refused.evidence.text
    assert told(asked, refused).cause == Cause.CAPACITY


def test_the_canary_writes_one_key_that_goes_away(run: Any, server: Valkey) -> None:
    with server.client() as client:
        client.flushall()
        outcome = once(run, params(server, "canary"))
        assert client.keys() == [CANARY.encode()]
        assert 0 < client.ttl(CANARY) <= CANARY_TTL
        client.flushall()
        for signal in SIGNALS:
            once(run, params(server, signal))
        assert client.keys() == []
    assert outcome.verdict == Verdict.PASS


def test_the_canary_meets_full_memory(run: Any, server: Valkey) -> None:
    server.fill()
    try:
        asked = params(server, "canary")
        outcome = once(run, asked)
    finally:
        server.empty()
    assert (outcome.verdict, outcome.evidence.code) == (Verdict.FAIL, "OOM")
    assert told(asked, outcome).cause == Cause.CAPACITY


@pytest.mark.parametrize("binary", KINDS)
def test_a_snapshot_that_cannot_be_written(run: Any, fresh_valkey: Any, binary: str) -> None:
    server = fresh_valkey(binary=REDIS if binary == "redis" else None)
    asked = {signal: params(server, signal) for signal in ("persistence", "canary")}
    well = {signal: once(run, one) for signal, one in asked.items()}
    with server.client() as client:
        client.config_set("save", "3600 1")
        shutil.rmtree(server.data)  # root may write where it may not: only a folder that is gone stops it
        client.bgsave()
        for _ in range(200):
            if client.info("persistence")["rdb_last_bgsave_status"] == "err":
                break
            time.sleep(0.02)
        ill = {signal: once(run, one) for signal, one in asked.items()}
        client.config_set("save", "")
        mended = once(run, asked["canary"])
    assert {outcome.verdict for outcome in well.values()} == {Verdict.PASS}
    assert ill["persistence"].verdict == Verdict.FAIL
    assert "the last snapshot (RDB) failed" in ill["persistence"].evidence.text
    assert told(asked["persistence"], ill["persistence"]).cause == Cause.UNSAVED
    assert (ill["canary"].verdict, ill["canary"].evidence.code) == (Verdict.FAIL, "MISCONF")
    diagnosis = told(asked["canary"], ill["canary"])
    assert diagnosis.cause == Cause.READONLY
    assert "cannot save to disk" in diagnosis.sentence
    assert mended.verdict == Verdict.PASS


def test_a_replica_without_its_primary_takes_no_writes(run: Any, server: Valkey, free_port: int) -> None:
    link, canary = params(server, "replica", warn=1, fail=3600), params(server, "canary")
    with server.client() as client:
        client.execute_command("REPLICAOF", "127.0.0.1", str(free_port))
        try:
            time.sleep(2.1)
            lost, readonly = once(run, link), once(run, canary)
        finally:
            client.execute_command("REPLICAOF", "NO", "ONE")
    assert lost.verdict == Verdict.WARN
    assert f"the link to its primary 127.0.0.1:{free_port} has been down for" in lost.evidence.text
    assert told(link, lost).cause == Cause.DEPENDENCY
    assert readonly.evidence.code == "READONLY"
    assert told(canary, readonly).cause == Cause.READONLY


def test_a_replica_that_follows(run: Any, server: Valkey, fresh_valkey: Any) -> None:
    other = fresh_valkey(password=server.password)
    with other.client() as client, configured(server, save=""):
        client.config_set("masterauth", server.password)
        client.execute_command("REPLICAOF", "127.0.0.1", str(server.port))
        for _ in range(200):
            if client.info("replication")["master_link_status"] == "up":
                break
            time.sleep(0.05)
        follows = once(run, params(other, "replica", fail=0))
        leads = once(run, params(server, "replica", fail=0))
    assert follows.evidence.text == "the link to its primary is up"
    assert leads.evidence.text == "a primary with 1 replicas"


def test_too_few_replicas_to_write(run: Any, server: Valkey) -> None:
    asked = params(server, "canary")
    with configured(server, min_replicas_to_write=1):
        outcome = once(run, asked)
        # The client that puts it back needs no write.
    assert outcome.evidence.code == "NOREPLICAS"
    assert "too few replicas" in told(asked, outcome).sentence


def test_restarts_are_counted(run: Any, fresh_valkey: Any) -> None:
    server = fresh_valkey()

    def restart() -> None:
        server.stop()
        server.start()

    asked = params(server, "restarts", warn=2)
    first, one, quiet, two = looks(run, asked, restart, lambda: None, restart)
    assert first.evidence.text.startswith("no restart was seen; it has been up for")
    assert one.evidence.text.startswith("it restarted once within the last hour")
    assert one.verdict == quiet.verdict == Verdict.PASS
    assert two.verdict == Verdict.WARN
    assert told(asked, two).cause == Cause.RESTARTING


def test_counters_begin_anew_with_a_restart(run: Any, fresh_valkey: Any) -> None:
    server = fresh_valkey()

    def evict() -> None:
        with server.client() as client:
            client.config_set("maxmemory", "4mb")
            client.config_set("maxmemory-policy", "allkeys-lru")
            for number in range(80):
                client.set(f"filler:{number}", b"x" * 65_536)

    def restart() -> None:
        server.stop()
        server.start()

    first, evicting, anew = looks(run, params(server, "evicted", fail=1), evict, restart)
    assert [one.verdict for one in (first, evicting, anew)] == [Verdict.PASS, Verdict.FAIL, Verdict.PASS]


def test_a_user_without_rights_says_what_to_grant(run: Any, server: Valkey) -> None:
    login = {"user": "plain", "password": Secret("other")}
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "plain", "on", ">other", "+ping", "+select")
        try:
            seen = {signal: once(run, params(server, signal, **login)) for signal in ALL}
            client.execute_command("ACL", "SETUSER", "plain", f"~{CANARY}", "+set", "+info")
            granted = {signal: once(run, params(server, signal, **login)) for signal in ALL}
        finally:
            client.execute_command("ACL", "DELUSER", "plain")
    assert all((one.verdict, one.available) == (Verdict.PASS, False) for one in seen.values())
    assert seen["memory"].evidence.text.endswith("ACL SETUSER plain +info")
    assert seen["canary"].evidence.text.endswith(f"ACL SETUSER plain ~{CANARY} +set")
    assert all(one.available for one in granted.values())


def saying(answer: bytes) -> Callable[..., Awaitable[None]]:
    """Answers the first thing it is sent, and waits for the other side to end."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.write(answer)
        await writer.drain()
        await reader.read()

    return script


SAID = [
    (b"-LOADING Valkey is loading the dataset in memory\r\n", "canary", Sight.NOT_ASKED),
    (b"-LOADING Valkey is loading the dataset in memory\r\n", "memory", Sight.NOT_ASKED),
    (b"-NOAUTH Authentication required.\r\n", "canary", Sight.NOT_ASKED),
    (b"-ERR max number of clients reached\r\n", "memory", Sight.NOT_ASKED),
    (b"-MOVED 3999 127.0.0.1:6381\r\n", "canary", Sight.ANSWERED),
    (b"-ERR unknown command 'INFO'\r\n", "memory", Sight.ANSWERED),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "memory", Sight.NOT_ASKED),
    (b"$99999999999999999999\r\n", "memory", Sight.NOT_ASKED),
    (b"$-5\r\n", "memory", Sight.NOT_ASKED),
    (b"", "canary", Sight.NOT_ASKED),
    (b"$12\r\nused_mem", "memory", Sight.NOT_ASKED),
]


@pytest.mark.parametrize(("answer", "signal", "sight"), SAID)
def test_what_cannot_be_told_is_no_failure(run: Any, answer: bytes, signal: str, sight: Sight) -> None:
    async def act(scene: Any) -> Outcome:
        stage = await scene.serve(saying(answer))
        asked = RedisSignalParams(host="127.0.0.1", port=stage.port, signal=signal)  # type: ignore[arg-type]  # a name
        outcome: Outcome = await scene.ask("redis_signal", asked, timeout=0.5)
        return outcome

    outcome = run(act)
    assert (outcome.verdict, outcome.available, outcome.evidence.sight) == (Verdict.PASS, False, sight)


@pytest.mark.parametrize("signal", ALL)
@pytest.mark.parametrize(
    "info",
    [
        "",
        "used_memory:abc\r\nmaxmemory:-5\r\nmaxmemory_policy:noeviction",
        "maxmemory:1\r\nused_memory:" + "9" * 400,
        "maxmemory:²\r\nrun_id:\r\nrdb_last_bgsave_status:",
        "role:slave\r\nmaster_link_status:down",
        "\x00\x00:\x00\r\n" * 1000,
    ],
)
def test_no_info_breaks_a_signal(run: Any, signal: str, info: str) -> None:
    blob = info.encode()

    async def act(scene: Any) -> Outcome:
        stage = await scene.serve(saying(b"$%d\r\n%s\r\n" % (len(blob), blob)))
        asked = RedisSignalParams(host="127.0.0.1", port=stage.port, signal=signal, warn=80, fail=90)  # type: ignore[arg-type]
        outcome: Outcome = await scene.ask("redis_signal", asked, timeout=0.5)
        return outcome

    assert run(act).verdict != Verdict.UNKNOWN


def test_where_nothing_can_be_asked_the_plain_check_tells_alone(
    run: Any, server: Valkey, free_port: int, fresh_valkey: Any
) -> None:
    frozen = fresh_valkey()
    frozen.pause()
    try:
        for signal in ("memory", "canary"):
            changes: list[tuple[dict[str, Any], str]] = [
                ({"port": free_port}, "the server does not answer"),
                ({"password": Secret("wrong")}, "the server does not let us in (WRONGPASS)"),
                ({"password": None}, "the server does not let us in (NOAUTH)"),
                ({"database": 99}, "the server does not let us in (ERR)"),
                ({"host": "no such host"}, "the server does not answer"),
                ({"port": frozen.port}, "the server does not answer"),
            ]
            for change, why in changes:
                outcome = once(run, params(server, signal, **change), timeout=0.6)
                assert outcome.evidence.text == f"not asked: {why}, which another check tells", change
                assert (outcome.verdict, outcome.evidence.sight) == (Verdict.PASS, Sight.NOT_ASKED), change
                assert outcome.latency < 0.7
    finally:
        frozen.resume()


def test_one_connection_serves_all_signals_of_a_round(run: Any, server: Valkey) -> None:
    async def act(scene: Any) -> int:
        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            there, back = await asyncio.open_connection("127.0.0.1", server.port)

            async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
                while data := await source.read(65_536):
                    sink.write(data)
                sink.close()

            await asyncio.gather(pump(reader, back), pump(there, writer))

        stage = await scene.serve(relay)
        asked = [params(server, signal, port=stage.port) for signal in SIGNALS]
        outcomes = await asyncio.gather(*(scene.ask("redis_signal", one) for one in asked))
        assert all(outcome.available for outcome in outcomes)
        taken: int = stage.taken
        return taken

    assert run(act) == 1


def test_no_secret_in_what_is_told(run: Any, server: Valkey) -> None:
    for secret in (Secret("canary-p\\w 'é%40"), Secret(server.password or "")):
        for signal in ALL:
            assert secret.reveal() not in repr(once(run, params(server, signal, password=secret)))
