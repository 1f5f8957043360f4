"""S3's signals: on a real SeaweedFS, on MinIO's stand-in, and on what answers as few stores do."""

import asyncio
import json
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from minio.commonconfig import GOVERNANCE
from minio.objectlockconfig import DAYS, ObjectLockConfig
from minio.versioningconfig import ENABLED, VersioningConfig

from config.causes import Cause
from config.secret import Secret
from config.services import Check, Service
from config.signals import S3SignalParams
from demo.contract import Contract
from demo.process import Keeper
from demo.seaweedfs import Seaweedfs
from monitor.diagnose.base import Diagnosis
from monitor.diagnose.table import diagnose
from monitor.probes.base import Answer, Outcome, Sight, Verdict
from monitor.probes.s3_signal import KEY, weigh_buckets

SECRET = "canary-s\\'é%40/+"
ALL = ("reads", "buckets", "canary")


class Second(Seaweedfs):
    """Another store than the shared one."""

    name = "seaweedfs-signals"


@pytest.fixture(scope="module")
def store(keeper: Keeper) -> Iterator[Seaweedfs]:
    one = Second(keeper=keeper).start()
    yield one
    one.close()


def params(server: Seaweedfs | Contract, signal: str, **changes: Any) -> S3SignalParams:
    of = {"access_key": "demo-access-key", "secret_key": "demo-secret-key-0123456789"}
    port = server.port if isinstance(server, Seaweedfs) else int(server.url.rpartition(":")[2])
    values: dict[str, Any] = {
        **{name: Secret(text) for name, text in of.items()},
        "url": f"http://127.0.0.1:{port}",
        "bucket": "backups",
        "buckets": ("backups", "langfuse"),
        "signal": signal,
    }
    return S3SignalParams(**(values | changes))


def once(run: Any, asked: S3SignalParams, *, timeout: float = 3.0) -> Outcome:
    return looks(run, asked, timeout=timeout)[0]


def looks(run: Any, asked: S3SignalParams, *between: Callable[[], object], timeout: float = 3.0) -> list[Outcome]:
    """A look, and one more after each of `between`, by one daemon that remembers the earlier ones."""

    async def act(scene: Any) -> list[Outcome]:
        outcomes = [await scene.ask("s3_signal", asked, timeout=timeout)]
        for step in between:
            step()
            outcomes.append(await scene.ask("s3_signal", asked, timeout=timeout))
        return outcomes

    result: list[Outcome] = run(act)
    return result


def told(asked: S3SignalParams, outcome: Outcome) -> Diagnosis:
    check = Check(name=asked.signal, kind="s3_signal", params=asked)
    service = Service(name="minio", kind="minio", title="MinIO", address="minio:9000", checks=(check,))
    diagnosis = diagnose(service, check, outcome)
    assert diagnosis is not None
    return diagnosis


def left(store: Seaweedfs, bucket: str = "backups") -> list[str | None]:
    found = store.client().list_objects(bucket_name=bucket, recursive=True, include_version=True)
    return [one.object_name for one in found]


def test_a_store_that_is_well_passes_and_keeps_nothing_of_ours(run: Any, store: Seaweedfs) -> None:
    seen = {signal: once(run, params(store, signal)) for signal in ALL}
    assert {name: one.verdict for name, one in seen.items()} == dict.fromkeys(ALL, Verdict.PASS)
    assert not seen["reads"].available  # it is no MinIO
    assert seen["buckets"].evidence.text == "all 2 buckets are there"
    assert left(store) == []


def test_a_bucket_that_is_missing_is_named(run: Any, store: Seaweedfs) -> None:
    asked = params(store, "buckets", buckets=("media", "backups", "langfuse"))
    outcome = once(run, asked)
    assert (outcome.verdict, outcome.evidence.code) == (Verdict.FAIL, "NoSuchBucket")
    assert outcome.evidence.text.startswith("bucket media: NoSuchBucket")
    assert outcome.evidence.text.endswith("; 2 of 3 are there")
    assert told(asked, outcome).cause == Cause.NOT_FOUND


@pytest.mark.parametrize("signal", ["buckets", "canary"])
@pytest.mark.parametrize("wrong", [{"secret_key": Secret(SECRET)}, {"access_key": Secret("nobody")}])
def test_a_wrong_key_is_told_by_the_plain_check_alone(
    run: Any, store: Seaweedfs, signal: str, wrong: dict[str, Secret]
) -> None:
    outcome = once(run, params(store, signal, **wrong))
    assert not outcome.available
    assert "which another check tells" in outcome.evidence.text
    assert SECRET not in str(outcome)


def test_a_bucket_with_versions_keeps_none_of_ours(run: Any, store: Seaweedfs) -> None:
    client = store.client()
    client.make_bucket(bucket_name="versions")
    client.set_bucket_versioning(bucket_name="versions", config=VersioningConfig(ENABLED))
    asked = params(store, "canary", bucket="versions")
    assert [one.verdict for one in looks(run, asked, lambda: None)] == [Verdict.PASS, Verdict.PASS]
    assert left(store, "versions") == []


def test_a_bucket_that_locks_what_is_put_into_it_gets_nothing(run: Any, store: Seaweedfs) -> None:
    client = store.client()
    client.make_bucket(bucket_name="locked", object_lock=True)
    client.set_object_lock_config(bucket_name="locked", config=ObjectLockConfig(GOVERNANCE, 1, DAYS))
    outcome = once(run, params(store, "canary", bucket="locked"))
    assert not outcome.available
    assert "would pile up" in outcome.evidence.text
    assert left(store, "locked") == []


@pytest.fixture
def allowed(store: Seaweedfs) -> Iterator[Callable[..., None]]:
    """Says what the store's key may do, for the length of a test."""

    def allow(*actions: str) -> None:
        store._allow(actions)

    yield allow
    store.allow_writes()


def test_a_key_that_may_only_read(run: Any, store: Seaweedfs, allowed: Callable[..., None]) -> None:
    allowed("Read", "List")
    asked = params(store, "canary")
    outcome = once(run, asked)
    assert (outcome.verdict, outcome.evidence.code) == (Verdict.WARN, "put_denied")
    assert told(asked, outcome).cause == Cause.AUTH
    assert "CANARY_WRITES=off" in told(asked, outcome).remedy
    assert once(run, params(store, "buckets")).verdict == Verdict.PASS


def test_a_bucket_that_is_refused_is_named_once(run: Any, page: Any) -> None:
    async def act(scene: Any) -> Outcome:
        refused = page(xml("AccessDenied"), status=403, kind="application/xml")
        stage = await scene.serve(keeps(page, PUT=refused, GET=refused, HEAD=refused))
        keys = {"access_key": Secret("a"), "secret_key": Secret("b")}
        asked = S3SignalParams(url=f"http://127.0.0.1:{stage.port}", signal="canary", bucket="backups", **keys)
        outcome: Outcome = await scene.ask("s3_signal", asked)
        return outcome

    outcome = run(act)
    assert outcome.evidence.text.startswith("bucket backups: our key may not write: ")
    assert outcome.evidence.text.count("bucket backups") == 1


def test_a_key_that_may_not_enter_every_bucket(run: Any, store: Seaweedfs) -> None:
    config = store.folder / "s3.json"
    whole = config.read_text()
    one = json.loads(whole)
    one["identities"][0]["actions"] = [f"{action}:backups" for action in ("Read", "Write", "List")]
    asked = params(store, "buckets")
    try:
        config.write_text(json.dumps(one))
        store.keeper.signal(store.pid, signal.SIGHUP)
        for _ in range(100):
            outcome = once(run, asked)
            if outcome.verdict != Verdict.PASS:
                break
        assert once(run, params(store, "canary")).verdict == Verdict.PASS
    finally:
        config.write_text(whole)
        store.allow_writes()
    assert (outcome.verdict, outcome.evidence.code) == (Verdict.WARN, "AccessDenied")
    assert outcome.evidence.text.startswith("bucket langfuse: AccessDenied")
    assert told(asked, outcome).cause == Cause.AUTH


@pytest.mark.parametrize(
    ("fault", "signal", "verdict", "code", "cause"),
    [
        (None, "reads", Verdict.PASS, "", None),
        (None, "buckets", Verdict.PASS, "", None),
        (None, "canary", Verdict.PASS, "", None),
        ("full", "canary", Verdict.FAIL, "XMinioStorageFull", Cause.CAPACITY),
        ("full", "buckets", Verdict.PASS, "", None),
        ("busy", "canary", Verdict.FAIL, "SlowDownRead", Cause.CAPACITY),
        ("busy", "buckets", Verdict.FAIL, "SlowDownRead", Cause.CAPACITY),
        ("no_quorum", "reads", Verdict.FAIL, "503", Cause.CAPACITY),
        ("read_only", "reads", Verdict.PASS, "", None),
    ],
)
def test_what_only_minio_says(
    run: Any, contract: Any, fault: str | None, signal: str, verdict: Verdict, code: str, cause: Cause | None
) -> None:
    asked = params(contract("minio", fault=fault), signal)
    outcome = once(run, asked)
    assert (outcome.verdict, outcome.evidence.code, outcome.available) == (verdict, code, True)
    assert cause is None or told(asked, outcome).cause == cause


@pytest.mark.parametrize("fault", ["booting", "offline", "metadata_offline", "iam_offline", "refuse", "hang", "html"])
@pytest.mark.parametrize("signal", ALL)
def test_a_store_that_does_not_get_as_far_is_told_by_the_plain_checks_alone(
    run: Any, contract: Any, fault: str, signal: str
) -> None:
    outcome = once(run, params(contract("minio", fault=fault), signal), timeout=0.6)
    assert outcome.verdict == Verdict.PASS
    assert not outcome.available


def xml(code: str) -> bytes:
    return f"<Error><Code>{code}</Code><Message>m</Message></Error>".encode()


def keeps(page: Any, **answers: bytes) -> Any:
    """A script that answers by method; a GET without a version asks for the lock, which there is none."""

    async def script(reader: Any, writer: Any) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, path = head.decode().split(" ")[:2]
        unlocked = page(xml("ObjectLockConfigurationNotFoundError"), status=404, kind="application/xml")
        writer.write(unlocked if "object-lock" in path else answers[method])
        await writer.drain()

    return script


@pytest.mark.parametrize(
    ("answers", "verdict", "code", "cause"),
    [
        ({"GET": (200, b"something else")}, Verdict.FAIL, "mismatch", Cause.BAD_ANSWER),
        ({"GET": (404, xml("NoSuchKey"))}, Verdict.FAIL, "mismatch", Cause.BAD_ANSWER),
        ({"GET": (403, xml("AccessDenied"))}, Verdict.WARN, "get_denied", Cause.AUTH),
        ({"PUT": (507, xml("XMinioStorageFull"))}, Verdict.FAIL, "XMinioStorageFull", Cause.CAPACITY),
        ({"PUT": (503, xml("SlowDownWrite"))}, Verdict.FAIL, "SlowDownWrite", Cause.CAPACITY),
        ({"PUT": (503, xml("XMinioWriteQuorum"))}, Verdict.FAIL, "XMinioWriteQuorum", Cause.DEPENDENCY),
        ({"PUT": (500, xml("InternalError"))}, Verdict.FAIL, "InternalError", Cause.SERVER_ERROR),
        ({"PUT": (400, xml("InvalidRequest"))}, Verdict.FAIL, "InvalidRequest", Cause.SERVER_ERROR),
    ],
)
def test_what_a_store_may_do_to_an_object(
    run: Any, page: Any, answers: dict[str, tuple[int, bytes]], verdict: Verdict, code: str, cause: Cause
) -> None:
    async def act(scene: Any) -> tuple[S3SignalParams, Outcome]:
        given = {"PUT": (200, b""), "DELETE": (204, b""), "GET": (200, b""), **answers}
        pages = {
            name: page(body, status=status, kind="application/xml", etag="e") for name, (status, body) in given.items()
        }
        stage = await scene.serve(keeps(page, **pages))
        asked = S3SignalParams(
            url=f"http://127.0.0.1:{stage.port}",
            access_key=Secret("a"),
            secret_key=Secret("b"),
            bucket="backups",
            signal="canary",
        )
        return asked, await scene.ask("s3_signal", asked)

    asked, outcome = run(act)
    assert (outcome.verdict, outcome.evidence.code, outcome.evidence.sign) == (verdict, code, "canary")
    assert told(asked, outcome).cause == cause


def test_a_version_that_cannot_be_deleted_is_the_last_one_for_a_day(run: Any, page: Any) -> None:
    puts = 0

    async def script(reader: Any, writer: Any) -> None:
        nonlocal puts
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = next((line for line in head.lower().split("\r\n") if line.startswith("content-length")), ":0")
        body = await reader.readexactly(int(length.partition(":")[2]))
        method, path = head.split(" ")[:2]
        if method == "PUT":
            puts += 1
            script.body = body  # type: ignore[attr-defined]  # what was put
            answer = page(b"", x_amz_version_id="v/1", etag="e")
        elif "object-lock" in path:
            answer = page(xml("NotImplemented"), status=501, kind="application/xml")
        elif method == "GET":
            answer = page(script.body if "versionId=v%2F1" in path else b"another")  # type: ignore[attr-defined]
        else:
            answer = page(xml("AccessDenied"), status=403, kind="application/xml")
        writer.write(answer)
        await writer.drain()

    async def act(scene: Any) -> list[Outcome]:
        stage = await scene.serve(script)
        asked = S3SignalParams(
            url=f"http://127.0.0.1:{stage.port}",
            access_key=Secret("a"),
            secret_key=Secret("b"),
            bucket="backups",
            signal="canary",
        )
        return [await scene.ask("s3_signal", asked) for _ in range(3)]

    first, *later = run(act)
    assert (first.verdict, first.evidence.code) == (Verdict.WARN, "delete_denied")
    assert all(not one.available and one.verdict == Verdict.PASS for one in later)
    assert puts == 1


def test_no_bucket_to_write_to_is_not_available(run: Any, contract: Any) -> None:
    outcome = once(run, params(contract("minio"), "canary", bucket=None, buckets=()))
    assert not outcome.available
    assert "MINIO_BUCKETS" in outcome.evidence.text


def test_the_canary_looks_like_nothing_of_backups_or_langfuse(run: Any, contract: Any) -> None:
    from backup.layout import SOURCE

    assert "/" not in KEY  # an event of Langfuse's lies in its project's folder
    assert not SOURCE.fullmatch(KEY)
    store = contract("minio")
    once(run, params(store, "canary"))
    assert {path for path in store.seen if path.startswith(("PUT", "DELETE"))} == {
        f"PUT /backups/{KEY}",
        f"DELETE /backups/{KEY}",
    }


def slowly(page: Any, missing: str) -> Any:
    """A script that takes its time for every bucket, and lacks one."""

    async def script(reader: Any, writer: Any) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.1)
        lacks = missing and f"/{missing}" in head.decode()
        listing = b"<ListBucketResult><Name>b</Name></ListBucketResult>"
        said = (xml("NoSuchBucket"), 404) if lacks else (listing, 200)
        writer.write(page(said[0], status=said[1], kind="application/xml"))
        await writer.drain()

    return script


@pytest.mark.parametrize(
    ("missing", "verdict", "says"),
    [("", Verdict.PASS, "not available: only "), ("bucket-3", Verdict.FAIL, "bucket bucket-3: NoSuchBucket")],
)
def test_when_time_runs_out_it_is_told_of_how_many_buckets(
    run: Any, page: Any, missing: str, verdict: Verdict, says: str
) -> None:
    async def act(scene: Any) -> Outcome:
        stage = await scene.serve(slowly(page, missing))
        names = tuple(f"bucket-{number}" for number in range(100))
        asked = S3SignalParams(
            url=f"http://127.0.0.1:{stage.port}",
            signal="buckets",
            buckets=names,
            access_key=Secret("a"),
            secret_key=Secret("b"),
        )
        outcome: Outcome = await scene.ask("s3_signal", asked, timeout=0.8)
        return outcome

    outcome = run(act)
    assert (outcome.verdict, outcome.evidence.text[: len(says)]) == (verdict, says)
    assert "of 100 buckets were looked at in 0.6 s" in outcome.evidence.text


WELL = Answer(verdict=Verdict.PASS, text="bucket b is there")
MISSING = Answer(verdict=Verdict.FAIL, text="bucket c: NoSuchBucket", code="NoSuchBucket")
CLOSED = Answer(verdict=Verdict.FAIL, text="bucket d: AccessDenied", code="AccessDenied")


def test_the_worst_of_several_buckets_decides_and_all_are_named() -> None:
    both = weigh_buckets({"b": WELL, "d": CLOSED, "c": MISSING})
    assert (both.verdict, both.code) == (Verdict.FAIL, "NoSuchBucket")
    assert both.text == "bucket c: NoSuchBucket; bucket d: AccessDenied; 1 of 3 are there"
    assert weigh_buckets({"b": WELL}).text == "bucket b is there"
    gone = {f"x{number}": replace(MISSING, text=f"bucket x{number}: NoSuchBucket") for number in range(300)}
    text = weigh_buckets({"b": WELL, **gone}).text
    assert text == "buckets x0, x1, x2, x3, x4, x5, x6 and 293 more: NoSuchBucket; 1 of 301 are there"
    skewed = replace(MISSING, code="RequestTimeTooSkewed")
    assert weigh_buckets({"b": WELL, "c": skewed}).sight == Sight.ANSWERED
    assert weigh_buckets({"b": WELL, "c": skewed}).verdict == Verdict.PASS
