"""The s3 probe and its signals on a real MinIO, where its binary is on PATH: what it does as other stores do not."""

import shutil
from dataclasses import replace
from typing import Any

import pytest

from config.causes import Cause
from config.checks import S3Params
from config.secret import Secret
from config.services import Check, Service
from config.signals import S3SignalParams
from monitor.diagnose.table import diagnose
from monitor.probes.base import Outcome, Verdict

SIGNALS = ("reads", "buckets", "canary")


@pytest.fixture(autouse=True)
def bucket(minio: Any) -> None:
    """The second bucket, there before each test."""
    if not minio.client().bucket_exists(bucket_name="langfuse"):
        minio.client().make_bucket(bucket_name="langfuse")


def params(minio: Any, **changes: Any) -> S3Params:
    made = S3Params(
        url=f"http://127.0.0.1:{minio.port}",
        access_key=Secret(minio.access_key),
        secret_key=Secret(minio.secret_key),
        bucket="backups",
    )
    return replace(made, **changes)


def signal(minio: Any, name: str) -> S3SignalParams:
    plain = params(minio)
    return S3SignalParams(
        url=plain.url,
        access_key=plain.access_key,
        secret_key=plain.secret_key,
        bucket="backups",
        buckets=("backups", "langfuse"),
        signal=name,  # type: ignore[arg-type]  # one of SIGNALS
    )


def once(run: Any, kind: str, asked: S3Params) -> tuple[Outcome, Cause | None]:
    async def act(scene: Any) -> Outcome:
        outcome: Outcome = await scene.ask(kind, asked, timeout=3.0)
        return outcome

    outcome: Outcome = run(act)
    check = Check(name="bucket", kind=kind, params=asked)
    service = Service(name="minio", kind="minio", title="MinIO", address="minio:9000", checks=(check,))
    found = diagnose(service, check, outcome)
    return outcome, found.cause if found else None


def test_a_healthy_one_passes_every_question(run: Any, minio: Any) -> None:
    outcome, _ = once(run, "s3", params(minio))
    assert (outcome.verdict, outcome.evidence.text) == (Verdict.PASS, "bucket backups is there")
    for name in SIGNALS:
        outcome, _ = once(run, "s3_signal", signal(minio, name))
        assert (outcome.verdict, outcome.available) == (Verdict.PASS, True), name
    left = [str(one.object_name) for one in minio.client().list_objects(bucket_name="backups", recursive=True)]
    assert not [name for name in left if "canary" in name]


@pytest.mark.parametrize(
    ("changes", "code", "proves"),
    [
        # HEAD is 404 without a word, and a listing of no keys would be 200.
        ({"bucket": "nowhere"}, "NoSuchBucket", Cause.NOT_FOUND),
        ({"secret_key": Secret("wrong")}, "SignatureDoesNotMatch", Cause.AUTH),
        ({"access_key": Secret("wrong")}, "InvalidAccessKeyId", Cause.AUTH),
    ],
)
def test_a_refusal_tells_why(run: Any, minio: Any, changes: dict[str, Any], code: str, proves: Cause) -> None:
    outcome, cause = once(run, "s3", params(minio, **changes))
    assert (outcome.verdict, outcome.evidence.code, cause) == (Verdict.FAIL, code, proves)


def test_a_bucket_that_is_gone_is_named(run: Any, minio: Any) -> None:
    minio.client().remove_bucket(bucket_name="langfuse")
    outcome, cause = once(run, "s3_signal", signal(minio, "buckets"))
    assert (outcome.verdict, cause) == (Verdict.FAIL, Cause.NOT_FOUND)
    assert outcome.evidence.text.startswith("bucket langfuse: NoSuchBucket")


def test_a_volume_that_was_lost_is_no_empty_store(run: Any, minio: Any) -> None:
    """The drive is gone under a running server: it stays alive."""
    drive, kept = minio.folder / "drive", minio.folder / "kept"
    drive.rename(kept)
    try:
        outcome, cause = once(run, "s3", params(minio))
        assert outcome.verdict == Verdict.FAIL
        assert cause not in (None, Cause.AUTH)
    finally:
        shutil.rmtree(drive, ignore_errors=True)
        kept.rename(drive)
