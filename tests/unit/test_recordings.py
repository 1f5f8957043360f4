"""What real servers answered (tests/data/recorded), put through our own reading: the cause it stands for is told.

`make record` records anew. Every recording stands in a table here, so that none is kept that proves nothing.
"""

import asyncio
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis._parsers.base import BaseParser
from redis.exceptions import RedisError

from config.checks import HttpParams, PostgresParams
from config.services import Check, Service, discover
from config.signals import PostgresSignalParams, RedisSignalParams
from monitor.diagnose.table import diagnose
from monitor.probes import clickhouse, postgres_session, postgres_signal, redis_signal
from monitor.probes import redis as redis_ping
from monitor.probes.base import Answer, Evidence, Outcome, ProbeContext
from monitor.probes.fetch import Reply
from monitor.probes.redis_session import read
from monitor.probes.redis_weigh import Memory
from monitor.probes.shared import Samples
from monitor.probes.table import run_check

FOLDER = Path(__file__).parents[1] / "data/recorded"
VARIABLES = {
    "LITELLM_URL": "http://litellm:4000",
    "LITELLM_MASTER_KEY": "sk-canary",
    "MINIO_ENDPOINT": "minio:9000",
    "MINIO_ACCESS_KEY": "canary-key",
    "MINIO_SECRET_KEY": "canary-secret",
    "MINIO_BUCKETS": "backups,langfuse",
    "CLICKHOUSE_URL": "http://clickhouse:8123",
    "CLICKHOUSE_USER": "clickhouse",
    "CLICKHOUSE_PASSWORD": "canary-password",
    "DATABASE_URL": "postgresql://watchkeeper:canary-password@postgres:5432/litellm",
    "REDIS_URL": "redis://:canary-password@redis:6379",
    "LANGFUSE_WORKER_URL": "http://langfuse-worker:3030",
}
NO_DATABASE = {name: value for name, value in VARIABLES.items() if name != "DATABASE_URL"}
SERVICES = {"seaweedfs": "minio", "postgresql": "postgres", "valkey": "redis"}

# What a check comes to: the word for the cause, "pass", or "-" where it tells nothing here.
WELL = dict.fromkeys(("alive", "ready", "database", "models", "vanished", "completion"), "pass")
LITELLM = {
    "healthy": {**WELL, "providers": "-"},
    "wrong_key": {"models": "auth", "database": "pass", "vanished": "-", "providers": "-", "completion": "-"},
    "no_key": {"models": "auth"},
    "health_path": {"health": "auth"},
    "provider_key_refused": {"completion": "auth"},
    "provider_quota": {"completion": "capacity"},
    "provider_limit": {"completion": "-"},
    "provider_without_model": {"completion": "not_found"},
    "provider_broken": {"completion": "dependency"},
    "provider_gone": {"completion": "dependency"},
    "unknown_model": {"completion": "not_found"},
}
STORE = {
    "healthy": {"cluster": "pass", "bucket": "pass", "buckets": "pass", "reads": "-"},
    "bucket_missing": {"buckets": "not_found"},
    "wrong_secret": {"bucket": "auth"},
    "wrong_key": {"bucket": "auth"},
    "no_key": {"bucket": "pass"},
    "no_bucket": {"bucket": "not_found"},
    "all_buckets": {"bucket": "pass"},
}
HTTP: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "litellm-1.106.2": LITELLM,
    "litellm-1.80.8": LITELLM,
    "seaweedfs": STORE,
    "minio": {**STORE, "healthy": dict.fromkeys(("cluster", "bucket", "buckets", "reads"), "pass")},
    "clickhouse": {
        "healthy": dict.fromkeys(
            ("ping", "query", "memory", "disk", "parts", "mutations", "replicas", "errors", "queries", "size", "logs"),
            "pass",
        ),
        "mutation_fails": {"mutations": "stuck"},
        "parts_pile_up": {"parts": "capacity"},
        "wrong_password": {"query": "auth"},
        "no_database": {"query": "not_found"},
    },
}
STATEMENTS = {
    "memory": "capacity",
    "no_space": "capacity",
    "too_many_parts": "capacity",
    "too_slow": "no_answer",
    "read_only": "readonly",
    "unknown_table": "bad_answer",
}
# The plain check, then each signal that is not well.
REDIS: Mapping[str, Mapping[str, str]] = {
    "healthy": {"ping": "pass"},
    "no_key": {"ping": "auth"},
    "wrong_key": {"ping": "auth"},
    "full": {"ping": "capacity", "canary": "capacity", "memory": "capacity"},
    "evicting": {"ping": "pass", "policy": "misconfigured", "evicted": "capacity"},
    "replica": {"ping": "pass", "canary": "readonly"},
    "too_many_clients": {"ping": "capacity"},
    "rejected": {"ping": "pass", "evicted": "capacity", "rejected": "capacity"},
    "unsaved": {"ping": "readonly", "canary": "readonly", "persistence": "unsaved"},
    "loading": {"ping": "starting", "canary": "-"},
}
LOGINS = {
    "wrong_password": "auth",
    "unknown_role": "auth",
    "no_login": "auth",
    "rejected": "auth",
    "no_entry": "auth",
    "no_database": "not_found",
    "closed_database": "not_found",
    "role_is_full": "capacity",
    "full": "capacity",
    "overfull": "capacity",
    "shutting_down": "stopping",
    "starting_up": "starting",
    "standby": "starting",
}
# The signals that are not well.
ROWS: Mapping[str, Mapping[str, str]] = {
    "healthy": {},
    "in_transaction": {"transactions": "stuck", "idle_in_transaction": "stuck"},
    "hidden": {"transactions": "-", "idle_in_transaction": "-"},
    "prepared": {"transactions": "stuck"},
    "slots_taken": {"slots": "capacity"},
    "read_only": {"writable": "readonly"},
    "read_only_role": {},
    "slot_kept": {"retained_wal": "capacity"},
    "archiver_fails": {"archiver": "unsaved"},
}


@cache
def service(name: str, *, database: bool = False) -> Service:
    found = discover({**(VARIABLES if database else NO_DATABASE), "LITELLM_SYNTHETIC_MODEL": "demo-small"})
    return next(one for one in found.services if one.name == name)


@cache
def recordings() -> tuple[Path, ...]:
    return tuple(sorted(FOLDER.glob("*/*.json")))


def of(family: str, situations: Iterable[str]) -> list[Any]:
    """Every recording of these situations of the servers whose folder begins with `family`, as pytest's parameters."""
    wanted = set(situations)
    found = [path for path in recordings() if path.parent.name.startswith(f"{family}") and path.stem in wanted]
    return [pytest.param(path, id=f"{path.parent.name}/{path.stem}") for path in found]


def told(name: str, check: Check, outcome: Outcome, *, database: bool = False) -> str:
    diagnosis = diagnose(service(name, database=database), check, outcome)
    return diagnosis.cause if diagnosis else "pass" if outcome.available else "-"


def outcome_of(answer: Answer) -> Outcome:
    evidence = Evidence(sight=answer.sight, text=answer.text, code=answer.code, sign=answer.sign)
    return Outcome(verdict=answer.verdict, latency=0.1, evidence=evidence, facts=answer.facts)


def check_of(name: str, check: str, *, database: bool = False) -> Check:
    return next(one for one in service(name, database=database).checks if one.name == check)


class Replay(ProbeContext):
    """A probe's surroundings in which every request is answered as it was when it was recorded."""

    def __init__(self, exchanges: Iterable[Mapping[str, Any]]) -> None:
        super().__init__()
        self.left = list(exchanges)

    def transport(self, *, verify: bool = True) -> httpx.AsyncBaseTransport:
        return httpx.MockTransport(self._answer)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        sent = (await request.aread()).decode()
        asked = (f"{request.method} {request.url.raw_path.decode()}", sent)
        kept = next((one for one in self.left if (one["asked"], one.get("sent", sent)) == asked), None)
        assert kept, f"nothing is recorded of {asked}: make record"
        self.left.remove(kept)
        stream = httpx.ByteStream(kept["body"].encode())
        return httpx.Response(kept["status"], headers=kept["headers"], stream=stream)


def replayed(check: Check, exchanges: Iterable[Mapping[str, Any]]) -> Outcome:
    context = Replay(exchanges)
    outcome = asyncio.run(run_check(check, context, timeout=20))
    assert not context.left, f"the check asks less than it did: {context.left[0]['asked']}"
    return outcome


def as_recorded(check: str, name: str, situation: str, exchanges: list[dict[str, Any]]) -> Check:
    """The preset's check, asked as it was in that situation."""
    if check == "health":
        return Check(name="health", kind="http", params=HttpParams(url="http://l:1", paths=("/health",), json=True))
    found = check_of(name, check)
    changed: dict[str, Any] = {
        "no_key": {"access_key": None, "secret_key": None} if name == "minio" else {},
        "no_bucket": {"bucket": "recorded-nowhere"},
        "all_buckets": {"bucket": None},
        "bucket_missing": {"buckets": ("backups", "recorded-nowhere")},
    }.get(situation, {})
    if check == "completion":
        changed = {"model": json.loads(exchanges[0]["sent"])["model"]}
    return replace(found, params=replace(found.params, **changed))


@pytest.mark.parametrize("path", [one for family in HTTP for one in of(family, HTTP[family])])
def test_what_is_asked_over_http(path: Path) -> None:
    family = next(one for one in HTTP if path.parent.name.startswith(one))
    name = family.partition("-")[0]
    name = SERVICES.get(name, name)
    found = json.loads(path.read_text())["checks"]
    assert found.keys() == HTTP[family][path.stem].keys()
    for check_name, exchanges in found.items():
        check = as_recorded(check_name, name, path.stem, exchanges)
        outcome = replayed(check, exchanges)
        assert told(name, check, outcome) == HTTP[family][path.stem][check_name], outcome


@pytest.mark.parametrize("path", of("litellm", ["healthy"]))
def test_a_litellm_that_should_have_a_database_is_told_to_have_none(path: Path) -> None:
    found = json.loads(path.read_text())
    check = check_of("litellm", "ready", database=True)
    outcome = replayed(check, found["checks"]["ready"])
    assert (outcome.evidence.sign, told("litellm", check, outcome, database=True)) == (
        "database_never_connected",
        "dependency",
    )
    # 1.106.2 tells its version to those alone who show a key.
    facts = outcome.facts | replayed(check_of("litellm", "database"), found["checks"]["database"]).facts
    assert facts["version"] == found["version"]


@pytest.mark.parametrize("path", of("clickhouse", STATEMENTS))
def test_what_clickhouse_refuses_a_statement_with(path: Path) -> None:
    kept = json.loads(path.read_text())["statement"]
    reply = Reply(status=kept["status"], headers=httpx.Headers(kept["headers"]), body=kept["body"].encode())
    answer = clickhouse.weigh(reply)
    assert answer.code == kept["headers"]["x-clickhouse-exception-code"]
    assert told("clickhouse", check_of("clickhouse", "query"), outcome_of(answer)) == STATEMENTS[path.stem]
    bare = clickhouse.weigh(replace(reply, headers=httpx.Headers()))
    assert bare.code == answer.code, "the body alone tells it as well"


@pytest.mark.parametrize("path", [*of("redis", REDIS), *of("valkey", REDIS)])
def test_what_redis_says(path: Path) -> None:
    kept = json.loads(path.read_text())
    info = dict(line.split(":", 1) for line in kept.get("info", ()))
    answers: Mapping[str, str] = kept["answers"]
    refused = next((said for question, said in answers.items() if said[0] == "-" and "SET" not in question), None)
    answer = read(error_of(refused)) if refused else redis_ping._weigh([info] * 3)
    seen = {"ping": told("redis", check_of("redis", "ping"), outcome_of(answer))}
    if not refused:
        assert answer.facts["version"] == kept["version"]
    for check in service("redis").checks if info else ():
        if isinstance(check.params, RedisSignalParams) and check.name != "canary":
            tell = redis_signal.SIGNALS[check.params.signal]
            answer = tell(info, check.params, grown(info, check.name, path.stem))
            seen[check.name] = told("redis", check, outcome_of(answer))
    write = next((said for question, said in answers.items() if "SET" in question), "+OK")
    if write[0] == "-":
        check = check_of("redis", "canary")
        assert isinstance(check.params, RedisSignalParams)
        answer = redis_signal._refused(read(error_of(write)), check.params, "SET")
        seen["canary"] = told("redis", check, outcome_of(answer))
    wanted = REDIS[path.stem]
    assert {name: cause for name, cause in seen.items() if name in wanted or cause not in ("pass", "-")} == wanted


def error_of(line: str) -> RedisError:
    """What redis-py makes of an error that comes over the wire."""
    error = BaseParser.parse_error(line[1:])
    assert isinstance(error, RedisError)
    return error


def grown(info: Mapping[str, str], signal: str, situation: str) -> Memory:
    """What is remembered of a server that had thrown away and refused nothing a minute ago.

    Counters go on counting: what one situation left in them is no news in the others.
    """
    samples: Samples[Any] = Samples()
    counter = {"evicted": "evicted_keys", "rejected": "rejected_connections"}.get(signal)
    if counter and situation in ("evicting", "rejected"):
        samples.since(("server", info.get("run_id"), counter), 0, 300.0, 0.0)
    return Memory(samples, "server", 60.0)


@pytest.mark.parametrize("path", of("postgresql", LOGINS))
def test_what_postgresql_refuses_a_login_with(path: Path) -> None:
    kept = json.loads(path.read_text())["login"]
    check = check_of("postgres", "query", database=True)
    assert isinstance(check.params, PostgresParams)
    answer = postgres_session.read_login(postgres_session.Refusal(kept["libpq"]), check.params)
    assert answer.code == kept["sqlstate"], "what its words were taken for is not what it wrote into its log"
    assert told("postgres", check, outcome_of(answer), database=True) == LOGINS[path.stem]


@pytest.mark.parametrize("path", of("postgresql", ROWS))
def test_what_postgresql_tells_of_itself(path: Path) -> None:
    sections = json.loads(path.read_text())["sections"]
    seen = {}
    for check in service("postgres", database=True).checks:
        if not isinstance(check.params, PostgresSignalParams):
            continue
        section, make = postgres_signal.SIGNALS[check.params.signal]
        if section in sections:
            # A recording is made within seconds, in a database of a few megabytes.
            low = {"warn": 1.0, "fail": None} if check.name in TIMED and path.stem != "healthy" else {}
            row = {"before": None, **sections[section]}
            answer = make(row, replace(check.params, **low))  # type: ignore[arg-type]  # both are numbers or None
            seen[check.name] = told("postgres", check, outcome_of(answer), database=True)
    assert {name: cause for name, cause in seen.items() if cause != "pass"} == ROWS[path.stem]


TIMED = ("transactions", "idle_in_transaction", "retained_wal", "archiver")


@pytest.mark.parametrize("path", of("postgresql", ["query"]))
def test_the_plain_question_to_postgresql(path: Path) -> None:
    kept = json.loads(path.read_text())
    one, version, standby, uptime = kept["row"]
    assert (one, version.split()[0], standby, uptime) == ("1", kept["version"], "f", "1")


def test_every_recording_is_put_to_use() -> None:
    used = {param.values[0] for family in HTTP for param in of(family, HTTP[family])}
    for family, tables in {
        "clickhouse": [STATEMENTS],
        "redis": [REDIS],
        "valkey": [REDIS],
        "postgresql": [LOGINS, ROWS, ["query"]],
    }.items():
        used |= {param.values[0] for table in tables for param in of(family, table)}
    assert used == set(recordings())
    folders = {path.parent.name for path in recordings()}
    wanted = ("litellm-1.106.2", "litellm-1.80.8", "postgresql-15.", "postgresql-18.", "redis-", "valkey-")
    for family in (*wanted, "seaweedfs-", "minio-", "clickhouse-"):
        assert any(name.startswith(family) for name in folders), f"nothing is recorded of {family}"


def test_recordings_are_small_and_hold_no_secret() -> None:
    texts = {path: path.read_text() for path in recordings()}
    assert sum(map(len, texts.values())) < 200_000
    for path, text in texts.items():
        for word in ("demo-watchkeeper", "demo-postgres", "demo-valkey-", "demo-clickhouse-", "demo-secret", "sk-demo"):
            assert word not in text, path
        assert "recorded-wrong" not in text, path
        assert "/tmp/" not in text, path
