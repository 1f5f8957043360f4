"""The s3 probe: against a real store, and against listeners that answer as broken ones do."""

import asyncio
import hashlib
import random
import re
import time
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from minio.credentials import Credentials
from minio.signer import sign_v4_s3

from config.causes import Cause
from config.checks import S3Params
from config.secret import Secret
from config.services import Check, Service
from demo.seaweedfs import Seaweedfs
from monitor.diagnose.table import diagnose
from monitor.net import Resolver
from monitor.probes.base import Outcome, Sight, Verdict
from monitor.probes.fetch import request
from monitor.probes.s3_store import LIST, sign

EMPTY = hashlib.sha256().hexdigest()
CANARY = "canary-s\\'é%40/+"


def params(server: Seaweedfs) -> S3Params:
    return S3Params(
        url=f"http://127.0.0.1:{server.port}",
        access_key=Secret(server.access_key),
        secret_key=Secret(server.secret_key),
        bucket="backups",
    )


def once(run: Any, asked: S3Params, *, timeout: float = 3.0, look_up: Any = None) -> Outcome:
    async def act(scene: Any) -> Outcome:
        outcome: Outcome = await scene.ask("s3", asked, timeout=timeout)
        return outcome

    result: Outcome = run(act, resolver=Resolver(look_up) if look_up else None)
    return result


def cause(outcome: Outcome) -> Cause:
    check = Check(name="bucket", kind="s3", params=S3Params(url="http://minio:9000"))
    service = Service(name="minio", kind="minio", title="MinIO", address="minio:9000", checks=(check,))
    diagnosis = diagnose(service, check, outcome)
    assert diagnosis is not None
    return diagnosis.cause


def test_the_bucket_is_there(run: Any, seaweedfs: Seaweedfs) -> None:
    outcome = once(run, params(seaweedfs))
    assert outcome.verdict == Verdict.PASS
    assert outcome.evidence.text == "bucket backups is there"
    assert "SeaweedFS" in outcome.facts["version"]


@pytest.mark.parametrize(
    "changes",
    [{"bucket": None}, {"access_key": None}, {"secret_key": None, "bucket": None}, {"region": "eu-west-1"}],
)
def test_what_else_counts_as_there(run: Any, seaweedfs: Seaweedfs, changes: dict[str, Any]) -> None:
    assert once(run, replace(params(seaweedfs), **changes)).verdict == Verdict.PASS


def test_every_address_of_a_name_is_tried(run: Any, names: Any, seaweedfs: Seaweedfs) -> None:
    asked = replace(params(seaweedfs), url=f"http://shop:{seaweedfs.port}/")
    assert once(run, asked, look_up=names(shop=("127.0.0.9", "127.0.0.1"))).verdict == Verdict.PASS


@pytest.mark.parametrize(
    ("changes", "code", "proves"),
    [
        ({"bucket": "nowhere"}, "NoSuchBucket", Cause.NOT_FOUND),
        ({"secret_key": Secret("wrong")}, "SignatureDoesNotMatch", Cause.AUTH),
        ({"access_key": Secret("wrong")}, "InvalidAccessKeyId", Cause.AUTH),
        ({"access_key": Secret("wrong"), "bucket": None}, "InvalidAccessKeyId", Cause.AUTH),
        ({"url": "https"}, "not_tls", Cause.TLS_ON_PLAIN),
    ],
)
def test_a_refusal_tells_why(run: Any, seaweedfs: Seaweedfs, changes: dict[str, Any], code: str, proves: Cause) -> None:
    if "url" in changes:
        changes = {"url": f"https://127.0.0.1:{seaweedfs.port}"}
    outcome = once(run, replace(params(seaweedfs), **changes))
    assert (outcome.verdict, outcome.evidence.code) == (Verdict.FAIL, code)
    assert cause(outcome) == proves


def answers(**pages: bytes) -> Any:
    """A script that answers by method: answers(HEAD=…, GET=…)."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            writer.write(pages[head.split(b" ")[0].decode()])
            await writer.drain()

    return script


def error(code: str, more: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>m</Message>{more}</Error>'.encode()
    )


REFUSED: list[tuple[int, bytes, str, Cause]] = [
    (404, error("NoSuchBucket"), "NoSuchBucket", Cause.NOT_FOUND),
    (403, error("InvalidAccessKeyId"), "InvalidAccessKeyId", Cause.AUTH),
    (403, error("SignatureDoesNotMatch"), "SignatureDoesNotMatch", Cause.AUTH),
    (403, error("AccessDenied"), "AccessDenied", Cause.AUTH),
    (403, error("RequestTimeTooSkewed"), "RequestTimeTooSkewed", Cause.AUTH),
    (301, error("PermanentRedirect"), "PermanentRedirect", Cause.BAD_ANSWER),
    (
        400,
        error("AuthorizationHeaderMalformed", "<Region>eu-1</Region>"),
        "AuthorizationHeaderMalformed",
        Cause.BAD_ANSWER,
    ),
    (503, error("SlowDown"), "SlowDown", Cause.CAPACITY),
    (503, error("XMinioServerNotInitialized"), "XMinioServerNotInitialized", Cause.STARTING),
    (507, error("XMinioStorageFull"), "XMinioStorageFull", Cause.CAPACITY),
    (500, error("InternalError"), "InternalError", Cause.SERVER_ERROR),
    (502, b"Bad Gateway", "502", Cause.SERVER_ERROR),
    (429, b"", "429", Cause.CAPACITY),
]


@pytest.mark.parametrize("bucket", ["backups", None])
@pytest.mark.parametrize(("status", "body", "code", "proves"), REFUSED, ids=[f"{row[0]}-{row[2]}" for row in REFUSED])
def test_a_refused_head_is_asked_for_its_reason(
    run: Any, page: Any, status: int, body: bytes, code: str, proves: Cause, bucket: str | None
) -> None:
    async def act(scene: Any) -> Outcome:
        full = page(body, status=status, kind="application/xml", date="Sat, 21 Nov 2026 10:00:00 GMT")
        stage = await scene.serve(answers(HEAD=page(status=status), GET=full))
        asked = S3Params(url=f"http://127.0.0.1:{stage.port}", bucket=bucket)
        asked = replace(asked, access_key=Secret("key"), secret_key=Secret(CANARY))
        outcome: Outcome = await scene.ask("s3", asked)
        return outcome

    outcome = run(act)
    assert (outcome.verdict, outcome.evidence.sight, outcome.evidence.code) == (Verdict.FAIL, Sight.ANSWERED, code)
    assert cause(outcome) == proves
    if "Skewed" in code:
        assert "21 Nov 2026 10:00:00" in outcome.evidence.text
    if b"Region" in body:
        assert "eu-1" in outcome.evidence.text


ODD: list[tuple[str, dict[str, Any], dict[str, Any], Cause]] = [
    ("a web page", {"kind": "text/html"}, {"kind": "text/html", "body": b"<html>"}, Cause.WRONG_SERVICE),
    ("an API", {"kind": "application/json"}, {"body": b"{}"}, Cause.WRONG_SERVICE),
    ("no such page", {"status": 404}, {"status": 404, "body": b'{"detail":"Not Found"}'}, Cause.WRONG_SERVICE),
    ("a console", {"status": 405}, {"kind": "text/html", "body": b"<html>"}, Cause.WRONG_SERVICE),
    ("offline", {"kind": "", "x_minio_server_status": "offline"}, {}, Cause.STARTING),
    ("offline, 503", {"status": 503, "x_minio_server_status": "offline"}, {"status": 503}, Cause.STARTING),
    ("a bare 403", {"status": 403, "x_amz_request_id": "1"}, {"status": 403}, Cause.AUTH),
]


@pytest.mark.parametrize(("head", "get", "proves"), [row[1:] for row in ODD], ids=[row[0] for row in ODD])
def test_what_else_may_answer(run: Any, page: Any, head: dict[str, Any], get: dict[str, Any], proves: Cause) -> None:
    async def act(scene: Any) -> Outcome:
        stage = await scene.serve(answers(HEAD=page(**head), GET=page(**get)))
        asked = S3Params(url=f"http://127.0.0.1:{stage.port}", bucket="backups")
        asked = replace(asked, access_key=Secret("key"), secret_key=Secret(CANARY))
        outcome: Outcome = await scene.ask("s3", asked)
        return outcome

    outcome = run(act)
    assert outcome.verdict == Verdict.FAIL
    assert cause(outcome) == proves


BARE: list[tuple[str, dict[str, Any], Verdict]] = [
    ("nothing at all", {"kind": ""}, Verdict.FAIL),
    ("its root page as text", {"kind": "text/plain", "body": b"hello"}, Verdict.FAIL),
    ("a listing", {"kind": "application/xml", "body": b"<ListBucketResult></ListBucketResult>"}, Verdict.PASS),
    ("S3's refusal to list", {"kind": "application/xml", "status": 403, "body": error("AccessDenied")}, Verdict.PASS),
    ("a 503", {"status": 503}, Verdict.FAIL),
]


@pytest.mark.parametrize(("get", "verdict"), [row[1:] for row in BARE], ids=[row[0] for row in BARE])
def test_a_bare_200_is_asked_to_show_that_it_is_a_store(
    run: Any, page: Any, get: dict[str, Any], verdict: Verdict
) -> None:
    async def act(scene: Any) -> Outcome:
        stage = await scene.serve(answers(HEAD=page(kind=""), GET=page(**get)))
        asked = S3Params(url=f"http://127.0.0.1:{stage.port}", bucket="backups")
        asked = replace(asked, access_key=Secret("key"), secret_key=Secret(CANARY))
        outcome: Outcome = await scene.ask("s3", asked)
        return outcome

    outcome = run(act)
    assert outcome.verdict == verdict
    if verdict == Verdict.FAIL:
        assert cause(outcome) == (Cause.SERVER_ERROR if get.get("status") == 503 else Cause.WRONG_SERVICE)


def clocked(page: Any, clock: timedelta, *, tells: bool = True) -> Any:
    """A store whose clock is that far before ours, and which refuses requests 15 minutes away from its time."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            stamp = re.search(rb"x-amz-date: (\S+)", head)
            assert stamp is not None
            now = datetime.now(UTC) + clock
            asked = datetime.strptime(stamp[1].decode(), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            date = {"date": format_datetime(now, usegmt=True)} if tells else {}
            if abs(asked - now) < timedelta(minutes=15):
                writer.write(page(kind="", x_amz_request_id="1", **date))
            else:
                body = b"" if head.startswith(b"HEAD") else error("RequestTimeTooSkewed")
                writer.write(page(body, status=403, kind="application/xml", **date))
            await writer.drain()

    return script


@pytest.mark.parametrize("clock", [timedelta(hours=1), timedelta(hours=-30), timedelta(days=400)])
def test_clocks_that_differ_are_no_outage(run: Any, page: Any, clock: timedelta) -> None:
    async def act(scene: Any) -> Outcome:
        stage = await scene.serve(clocked(page, clock))
        asked = S3Params(url=f"http://127.0.0.1:{stage.port}", bucket="backups")
        asked = replace(asked, access_key=Secret("key"), secret_key=Secret(CANARY))
        outcome: Outcome = await scene.ask("s3", asked)
        return outcome

    outcome = run(act)
    assert outcome.verdict == Verdict.PASS
    assert "asked with its own time" in outcome.evidence.text


def test_of_a_store_that_does_not_tell_its_time_nothing_is_known(run: Any, page: Any) -> None:
    async def act(scene: Any) -> Outcome:
        stage = await scene.serve(clocked(page, timedelta(hours=1), tells=False))
        asked = S3Params(url=f"http://127.0.0.1:{stage.port}", bucket="backups")
        asked = replace(asked, access_key=Secret("key"), secret_key=Secret(CANARY))
        outcome: Outcome = await scene.ask("s3", asked)
        return outcome

    assert run(act).verdict == Verdict.UNKNOWN


def test_the_evidence_names_the_bucket_in_plain_letters(run: Any, page: Any) -> None:
    said = b"<Error><Code>NoSuchBucket</Code><Message>No &#34;b&#34; &amp; none</Message></Error>"

    async def act(scene: Any) -> Outcome:
        stage = await scene.serve(answers(HEAD=page(status=404), GET=page(said, status=404, kind="application/xml")))
        asked = S3Params(url=f"http://127.0.0.1:{stage.port}", bucket="backups")
        asked = replace(asked, access_key=Secret("key"), secret_key=Secret(CANARY))
        outcome: Outcome = await scene.ask("s3", asked)
        return outcome

    assert run(act).evidence.text == 'bucket backups: NoSuchBucket: No "b" & none'


def test_without_keys_a_web_page_is_no_store(run: Any, page: Any, say: Any) -> None:
    async def act(scene: Any) -> Outcome:
        stage = await scene.serve(say(page(b"<html>", kind="text/html")))
        outcome: Outcome = await scene.ask("s3", S3Params(url=f"http://127.0.0.1:{stage.port}", bucket="backups"))
        return outcome

    outcome = run(act)
    assert (outcome.verdict, cause(outcome)) == (Verdict.FAIL, Cause.WRONG_SERVICE)


def test_the_reason_is_asked_for_within_the_same_deadline(run: Any, page: Any) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"HEAD"):
            await asyncio.sleep(0.2)
            writer.write(page(status=403))
        else:
            await reader.read()

    async def act(scene: Any) -> Outcome:
        stage = await scene.serve(script)
        asked = S3Params(
            url=f"http://127.0.0.1:{stage.port}", access_key=Secret("k"), secret_key=Secret("s"), bucket="b"
        )
        outcome: Outcome = await scene.ask("s3", asked, timeout=0.5)
        return outcome

    outcome = run(act)
    assert outcome.evidence.sight == Sight.NO_ANSWER
    assert outcome.latency < 0.8


def test_silence_and_absence(run: Any, silent: Any, deaf: Any, free_port: int) -> None:
    async def act(scene: Any) -> list[Outcome]:
        ports = ((await scene.serve(silent)).port, deaf(), free_port)
        asked = [S3Params(url=f"http://127.0.0.1:{port}") for port in ports]
        return [await scene.ask("s3", one, timeout=0.4) for one in asked]

    assert [outcome.evidence.sight for outcome in run(act)] == [Sight.NO_ANSWER, Sight.NO_CONNECT, Sight.REFUSED]


EXAMPLE = S3Params(
    url="https://examplebucket.s3.amazonaws.com",
    access_key=Secret("AKIAIOSFODNN7EXAMPLE"),
    secret_key=Secret("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
)


def test_the_signature_is_that_of_amazons_published_example() -> None:
    asked = request("GET", f"{EXAMPLE.url}/?max-keys=2&prefix=J", timeout=1.0)
    headers = sign(asked, EXAMPLE, datetime(2013, 5, 24, tzinfo=UTC))
    assert headers["authorization"].endswith("34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7")


def test_the_signature_is_that_of_minios_own_client() -> None:
    dice = random.Random(7)
    for _ in range(200):
        bucket = "".join(dice.choice("abcz09.-") for _ in range(dice.randint(3, 20)))
        asked = S3Params(
            url=dice.choice(["http://127.0.0.1:9000", "https://s3.example", "http://[::1]:9000", "http://minio:80"]),
            access_key=Secret("k" + str(dice.random())),
            secret_key=Secret("s" + str(dice.random()) + dice.choice(["", "é", "/+="])),
            region=dice.choice(["us-east-1", "auto", "eu-west-3"]),
        )
        now = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=dice.randint(0, 10**8))
        url = f"{asked.url}/{bucket}" + dice.choice(["", f"?{LIST}"])
        ours = request(dice.choice(["GET", "HEAD"]), url, timeout=1.0)
        assert asked.access_key is not None
        assert asked.secret_key is not None
        theirs = sign_v4_s3(
            method=ours.method,
            url=urlsplit(url),
            region=asked.region,
            headers={
                "Host": ours.headers["host"],
                "x-amz-content-sha256": EMPTY,
                "x-amz-date": now.strftime("%Y%m%dT%H%M%SZ"),
            },
            credentials=Credentials(asked.access_key.reveal(), asked.secret_key.reveal()),
            content_sha256=EMPTY,
            date=now,
        )
        assert sign(ours, asked, now)["authorization"] == theirs["Authorization"]


def test_no_connection_is_left_by_many_probes_nor_by_cancelled_ones(run: Any, seaweedfs: Seaweedfs) -> None:
    asked = params(seaweedfs)

    def established() -> int:
        ours = psutil.Process().net_connections("tcp")
        return sum(1 for one in ours if one.raddr and one.raddr.port == seaweedfs.port)

    async def act(scene: Any) -> tuple[int, int, int]:
        await scene.ask("s3", asked)
        before = psutil.Process().num_fds()
        for _ in range(20):
            assert (await scene.ask("s3", asked)).verdict == Verdict.PASS
        tasks = [asyncio.create_task(scene.ask("s3", asked)) for _ in range(100)]
        for number, task in enumerate(tasks):
            asyncio.get_running_loop().call_later(number * 0.0003, task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0.05)
        return before, await scene.fds(before), sum(task.cancelled() for task in tasks)

    before, after, cancelled = run(act)
    assert after <= before
    assert cancelled > 10
    for _ in range(100):
        if established() == 0:
            break
        time.sleep(0.02)
    assert established() == 0


def test_no_secret_in_what_is_seen(run: Any, seaweedfs: Seaweedfs) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        said = f"<Error><Code>X.{CANARY}</Code><Message>{CANARY} canary-key</Message></Error>".encode()
        writer.write(b"HTTP/1.1 403 No\r\n\r\n" + said + head)

    async def garble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 404 No\r\n\r\n" + CANARY.encode() + head)

    async def act(scene: Any) -> list[Outcome]:
        asked = replace(params(seaweedfs), secret_key=Secret(CANARY), access_key=Secret("canary-key"))
        urls = [f"http://127.0.0.1:{(await scene.serve(script)).port}" for script in (echo, garble)]
        variants = [replace(asked, url=url) for url in (*urls, "http://127.0.0.1:1", "nonsense")]
        variants += [asked, replace(asked, access_key=Secret("canary-key\r\nx: y")), replace(asked, bucket="a/../b?c")]
        return [await scene.ask("s3", variant) for variant in variants]

    outcomes = run(act)
    assert all(outcome.verdict != Verdict.PASS for outcome in outcomes)
    assert "canary" not in repr(outcomes)
