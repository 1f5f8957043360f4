"""The http probe against real sockets: what it takes for an answer, and that nothing an answer does can hurt it."""

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from config.checks import HttpParams, Sign
from config.secret import Secret
from config.services import Check, Service
from monitor.diagnose.table import diagnose
from monitor.probes.base import Outcome, Sight, Verdict

Maker = Callable[..., Any]
GOOD = b'{"status":"ok","version":"1.2.3","ready":true,"n":3}'


def url(stage: Any, path: str = "") -> str:
    return f"http://127.0.0.1:{stage.port}{path}"


def ask_of(run: Any, script: Any, *, timeout: float = 2.0, **params: Any) -> Outcome:
    async def act(scene: Any) -> Outcome:
        stage = await scene.serve(script)
        outcome: Outcome = await scene.ask("http", HttpParams(url=url(stage), **params), timeout=timeout)
        return outcome

    result: Outcome = run(act)
    return result


def test_a_good_answer_passes_with_its_facts(run: Any, say: Maker, page: Maker) -> None:
    facts = {"version": "version", "ready": "ready", "n": "n", "server": "header:X-Server", "absent": "no.such"}
    outcome = ask_of(run, say(page(GOOD, x_server="nginx")), json=True, facts=facts)
    assert outcome.verdict == Verdict.PASS
    assert outcome.facts == {"version": "1.2.3", "ready": "true", "n": "3", "server": "nginx"}
    assert outcome.evidence.sight == Sight.ANSWERED
    assert outcome.evidence.code == "200"
    assert outcome.evidence.address.startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("params", "sign"),
    [
        ({"status": (204, 299)}, "status"),
        ({"expect_json": "status == 'fine'"}, "expect_json"),
        ({"expect_json": "no.such.thing"}, "expect_json"),
        ({"expect_json": "contains(missing, 'x')"}, "expect_json"),
        ({"expect_text": "nothing like it"}, "expect_text"),
        ({"expect_header": {"x-server": "."}}, "expect_header"),
        ({"expect_header": {"content-type": "^text/plain"}}, "expect_header"),
    ],
)
def test_an_expectation_that_is_not_met_fails_by_name(
    run: Any, say: Maker, page: Maker, params: dict[str, Any], sign: str
) -> None:
    outcome = ask_of(run, say(page(GOOD)), **params)
    assert (outcome.verdict, outcome.evidence.sign) == (Verdict.FAIL, sign)
    assert outcome.evidence.sight == Sight.ANSWERED
    assert outcome.evidence.text.startswith("HTTP 200, ")


def test_expectations_that_are_met_pass(run: Any, say: Maker, page: Maker) -> None:
    outcome = ask_of(
        run, say(page(GOOD)), expect_json="ready", expect_text="1\\.2\\.\\d", expect_header={"Content-Type": "json"}
    )
    assert outcome.verdict == Verdict.PASS


def test_html_where_json_is_expected_is_another_service(run: Any, say: Maker, page: Maker) -> None:
    body = b"<!doctype html><html><head><title>Open WebUI</title></head></html>"
    outcome = ask_of(run, say(page(body, kind="text/html")), json=True)
    assert (outcome.verdict, outcome.evidence.sign) == (Verdict.FAIL, "json")
    assert outcome.evidence.sight == Sight.GARBLED
    assert "Open WebUI" in outcome.evidence.text


def test_json_of_the_wrong_type_is_still_json(run: Any, say: Maker, page: Maker) -> None:
    assert ask_of(run, say(page(GOOD, kind="text/plain")), json=True).verdict == Verdict.PASS


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe{\x00", b"[" * 60_000, b"Ok.\n"])
def test_what_is_no_json_is_a_bad_answer(run: Any, say: Maker, page: Maker, body: bytes) -> None:
    outcome = ask_of(run, say(page(body)), json=True)
    assert (outcome.verdict, outcome.evidence.sign) == (Verdict.FAIL, "json")
    assert outcome.evidence.sight == Sight.ANSWERED


def test_the_first_sign_seen_decides_whatever_the_status(run: Any, say: Maker, page: Maker) -> None:
    lost = Sign(name="db_lost", json="status == `503` && body.db == 'disconnected'", says="its database is lost")
    outcome = ask_of(run, say(page(b'{"db":"disconnected"}', status=503)), signs=(Sign(name="other", text="zzz"), lost))
    assert (outcome.verdict, outcome.evidence.sign, outcome.evidence.code) == (Verdict.FAIL, "db_lost", "503")
    assert "its database is lost" in outcome.evidence.text


@pytest.mark.parametrize(
    ("sign", "verdict"),
    [
        (Sign(name="s", header="x-minio-server-status: offline", verdict="fail"), Verdict.FAIL),
        (Sign(name="s", text="version.*1\\.2", verdict="warn"), Verdict.WARN),
        (Sign(name="s", json="headers.\"x-minio-server-status\" == 'offline'", verdict="pass"), Verdict.PASS),
    ],
)
def test_signs_in_header_text_and_json(run: Any, say: Maker, page: Maker, sign: Sign, verdict: Verdict) -> None:
    answer = page(GOOD, status=418, x_minio_server_status="offline")
    outcome = ask_of(run, say(answer), signs=(sign,))
    assert (outcome.verdict, outcome.evidence.sign) == (verdict, "s")


def test_paths_are_asked_in_turn_until_the_version_has_one(run: Any, page: Maker) -> None:
    asked: list[str] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1].decode()
        asked.append(path)
        answers = {"/ready": page(b"{}", status=404), "/health/db": page(b"<html>", kind="text/html")}
        writer.write(answers.get(path, page(GOOD)))

    outcome = ask_of(run, script, paths=("/ready", "/health/db", "/health", "/never"), json=True)
    assert outcome.verdict == Verdict.PASS
    assert asked == ["/ready", "/health/db", "/health"]


def test_the_last_path_stands(run: Any, say: Maker, page: Maker) -> None:
    outcome = ask_of(run, say(page(b"{}", status=404)), paths=("/a", "/b"))
    assert (outcome.evidence.sign, outcome.evidence.code) == ("status", "404")


def test_a_redirect_is_named_and_not_followed(run: Any, say: Maker, page: Maker) -> None:
    outcome = ask_of(run, say(page(status=307, location="https://u:pw@login.example.com/x?token=abc")))
    assert (outcome.verdict, outcome.evidence.sign) == (Verdict.FAIL, "redirect")
    assert "https://login.example.com/x" in outcome.evidence.text
    assert "pw" not in outcome.evidence.text
    assert "abc" not in outcome.evidence.text


def test_a_redirect_is_followed_without_our_key_to_another_host(run: Any, say: Maker, page: Maker) -> None:
    heads: list[str] = []

    async def target(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append((await reader.readuntil(b"\r\n\r\n")).decode().lower())
        writer.write(page(GOOD))

    async def act(scene: Any) -> Outcome:
        second = await scene.serve(target)
        first = await scene.serve(say(page(status=302, location=f"http://127.0.0.1:{second.port}/there")))
        params = HttpParams(
            url=url(first), follow_redirects=True, headers={"Authorization": Secret("Bearer sk-1234567")}
        )
        outcome: Outcome = await scene.ask("http", params)
        return outcome

    assert run(act).verdict == Verdict.PASS
    assert heads[0].startswith("get /there ")
    assert "sk-1234567" not in heads[0]


@pytest.mark.parametrize(
    "location", ["ftp://127.0.0.1/", "file:///etc/passwd", "http://a:bc/", "http://a:99999/", "http://xn--a/", "/again"]
)
def test_redirects_that_lead_nowhere_fail(run: Any, say: Maker, page: Maker, location: str) -> None:
    outcome = ask_of(run, say(page(status=302, location=location)), follow_redirects=True)
    assert (outcome.verdict, outcome.evidence.sign) == (Verdict.FAIL, "redirect")


@pytest.mark.parametrize("follow", [False, True])
def test_a_redirect_to_itself_is_told_as_a_circle(run: Any, say: Maker, page: Maker, follow: bool) -> None:
    outcome = ask_of(run, say(page(status=302, location="/")), follow_redirects=follow)
    assert "it redirects in a circle, to http://127.0.0.1:" in outcome.evidence.text
    check = Check(name="x", kind="http", params=HttpParams(url="http://q"))
    service = Service(name="q", kind="qdrant", title="Qdrant", address="http://q", checks=(check,))
    diagnosis = diagnose(service, check, outcome)
    assert diagnosis is not None
    assert "redirects in a circle" in diagnosis.sentence
    assert "address it points to" not in diagnosis.remedy


def test_what_is_sent(run: Any, page: Maker) -> None:
    heads: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        assert await reader.readexactly(7) == b'{"a":1}'
        writer.write(page(GOOD, set_cookie="session=1"))

    async def act(scene: Any) -> list[Outcome]:
        stage = await scene.serve(script)
        address = f"http://me:secretpw@127.0.0.1:{stage.port}/api/"
        params = HttpParams(
            url=address, paths=("/x?a=b",), method="POST", body='{"a":1}', headers={"X-Key": Secret("k")}
        )
        return [await scene.ask("http", params), await scene.ask("http", params)]

    assert [outcome.verdict for outcome in run(act)] == [Verdict.PASS, Verdict.PASS]
    head = heads[1].decode().lower()
    assert head.startswith("post /api/x?a=b http/1.1")
    assert "authorization: basic bwu6c2vjcmv0chc=" in head
    assert "x-key: k" in head
    assert "connection: close" in head
    assert "cookie" not in head


def test_a_key_the_server_quotes_is_masked(run: Any, say: Maker, page: Maker) -> None:
    body = b'{"error":"Invalid key hunter2hunter2 for user, password=hunter3"}'
    outcome = ask_of(run, say(page(body, status=401)), headers={"X-Key": Secret("Bearer hunter2hunter2")})
    assert outcome.evidence.code == "401"
    assert "Invalid key" in outcome.evidence.text
    assert "hunter" not in outcome.evidence.text


@pytest.mark.parametrize("value", ["sk-secretvalue\n", "sk-secretvalué"])
def test_a_key_that_http_cannot_carry_is_our_fault_and_not_shown(run: Any, say: Maker, page: Maker, value: str) -> None:
    outcome = ask_of(run, say(page(GOOD)), headers={"X-Key": Secret(value)})
    assert (outcome.verdict, outcome.evidence.sight) == (Verdict.UNKNOWN, Sight.FAULT)
    assert "secretval" not in outcome.evidence.text


def test_reading_stops_at_the_cap_and_a_larger_json_says_so(run: Any) -> None:
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n[")
        while not writer.is_closing():
            writer.write(b"1," * 8192)
            sent += 16_384
            await writer.drain()

    outcome = ask_of(run, endless, json=True, max_body=65_536)
    assert (outcome.verdict, outcome.evidence.sign) == (Verdict.FAIL, "json")
    assert "larger than 65536 bytes" in outcome.evidence.text
    assert sent < 20_000_000  # what socket buffers take, and no more


def test_a_decompression_bomb_costs_no_memory(run: Any, say: Maker, page: Maker) -> None:
    bomb = page(gzip.compress(bytes(60_000_000)), content_encoding="gzip")
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        outcome = ask_of(run, say(bomb), json=True)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert (outcome.verdict, outcome.evidence.sign) == (Verdict.FAIL, "json")
    assert peak < 4_000_000


def test_compressed_answers_are_read(run: Any, say: Maker, page: Maker) -> None:
    assert (
        ask_of(run, say(page(gzip.compress(GOOD), content_encoding="gzip")), expect_json="ready").verdict
        == Verdict.PASS
    )


def http(*lines: str, body: bytes = b"") -> bytes:
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


BROKEN: dict[str, tuple[tuple[bytes, ...], set[Sight]]] = {
    "nothing at all": ((), {Sight.RESET}),
    "half a status line": ((b"HTTP/1.1 2",), {Sight.RESET}),
    "status line only": ((b"HTTP/1.1 200 OK\r\n",), {Sight.RESET}),
    "cut body": ((http("HTTP/1.1 200 OK", "content-length: 100", body=b"{}"),), {Sight.RESET}),
    "cut chunk": ((http("HTTP/1.1 200 OK", "transfer-encoding: chunked", body=b"5\r\nab"),), {Sight.RESET}),
    "no chunk size": ((http("HTTP/1.1 200 OK", "transfer-encoding: chunked", body=b"zz\r\nab"),), {Sight.GARBLED}),
    "negative chunk": ((http("HTTP/1.1 200 OK", "transfer-encoding: chunked", body=b"-1\r\n"),), {Sight.GARBLED}),
    "huge chunk": (
        (http("HTTP/1.1 200 OK", "transfer-encoding: chunked", body=b"f" * 40 + b"\r\n"),),
        {Sight.GARBLED},
    ),
    "unknown coding": ((http("HTTP/1.1 200 OK", "transfer-encoding: gzip, foo"),), {Sight.GARBLED}),
    "two lengths": ((http("HTTP/1.1 200 OK", "content-length: 1", "content-length: 2"),), {Sight.GARBLED}),
    "bad length": ((http("HTTP/1.1 200 OK", "content-length: many"),), {Sight.GARBLED}),
    "bad status": ((http("HTTP/1.1 abc OK"),), {Sight.GARBLED}),
    "no version": ((http("HTTP/ 200"),), {Sight.GARBLED}),
    "http 0.9": ((b"<html>hello</html>",), {Sight.GARBLED}),
    "header without colon": ((http("HTTP/1.1 200 OK", "what is this"),), {Sight.GARBLED}),
    "header with NUL": ((b"HTTP/1.1 200 OK\r\nx: a\x00b\r\n\r\n",), {Sight.GARBLED}),
    "one endless header": ((b"HTTP/1.1 200 OK\r\nx: ", b"a" * 300_000), {Sight.GARBLED}),
    "header flood": ((b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 60_000), {Sight.GARBLED}),
    "interim flood": ((b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000,), {Sight.GARBLED}),
    "unasked upgrade": ((http("HTTP/1.1 101 Switching Protocols", "upgrade: websocket"),), {Sight.GARBLED}),
    "tls alert": ((b"\x15\x03\x01\x00\x02\x02\x46",), {Sight.TLS}),
    "grpc": ((b"\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00",), {Sight.GARBLED}),
    "ssh": ((b"SSH-2.0-OpenSSH_9.2\r\n",), {Sight.GARBLED}),
    "redis": ((b"-ERR unknown command 'GET'\r\n",), {Sight.GARBLED}),
    "noise": ((bytes(range(256)) * 40,), {Sight.GARBLED}),
    "unknown encoding": ((http("HTTP/1.1 200 OK", "content-encoding: br", body=b"\x0b\x02"),), {Sight.ANSWERED}),
    "no real gzip": ((http("HTTP/1.1 200 OK", "content-encoding: gzip", body=b"{}"),), {Sight.ANSWERED}),
    "invalid utf-8": ((http("HTTP/1.1 200 OK", body=b'{"a":"\xff\xff"}'),), {Sight.ANSWERED}),
    "number too long": ((http("HTTP/1.1 200 OK", body=b"9" * 50_000),), {Sight.ANSWERED}),
    "control characters": ((http("HTTP/1.1 500 No", body=b"\x1b[31mred\r\n\x00\x07 \xe2\x80\xae"),), {Sight.ANSWERED}),
}


@pytest.mark.parametrize("hold", [False, True])
@pytest.mark.parametrize("name", BROKEN)
def test_broken_answers_are_outcomes_within_the_deadline(run: Any, say: Maker, name: str, hold: bool) -> None:
    parts, sights = BROKEN[name]
    timeout = 0.5 if hold else 10.0
    outcome = ask_of(run, say(*parts, hold=hold), timeout=timeout, json=True)
    assert outcome.verdict == Verdict.FAIL
    # A sender that keeps the connection open may leave us waiting for the rest.
    assert outcome.evidence.sight in sights | ({Sight.NO_ANSWER} if hold else set())
    assert outcome.latency < timeout + 0.5
    assert len(outcome.evidence.text) <= 300
    assert outcome.evidence.text.isprintable()


@pytest.mark.parametrize(
    "part", [b"H", b"HTTP/1.1 200 OK\r\n", http("HTTP/1.1 200 OK", "content-length: 99", body=b"x")]
)
def test_a_slow_drip_ends_at_the_deadline(run: Any, say: Maker, part: bytes) -> None:
    drips = (bytes([byte]) for byte in part + b"y" * 80)
    outcome = ask_of(run, say(part, *list(drips)[1:40], pause=0.05), timeout=0.3)
    assert outcome.verdict == Verdict.FAIL
    assert outcome.latency < 0.8


def test_tiny_chunks_at_full_speed_leave_the_loop_to_others(run: Any, say: Maker) -> None:
    body = b"1\r\na\r\n" * 60_000
    script = say(http("HTTP/1.1 200 OK", "transfer-encoding: chunked"), body, b"0\r\n\r\n")

    async def act(scene: Any) -> float:
        stage = await scene.serve(script)
        loop = asyncio.get_running_loop()
        worst = 0.0
        probe = asyncio.ensure_future(scene.ask("http", HttpParams(url=url(stage)), timeout=8.0))
        while not probe.done():
            before = loop.time()
            await asyncio.sleep(0)
            worst = max(worst, loop.time() - before)
        assert (await probe).verdict == Verdict.PASS
        return worst

    assert run(act) < 0.25


def test_an_answer_before_the_request_was_read_counts(run: Any, page: Maker) -> None:
    async def hasty(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(page(b"{}", status=413))
        await writer.drain()
        await asyncio.sleep(0.05)

    outcome = ask_of(run, hasty, method="POST", body="x" * 100)
    assert outcome.evidence.code == "413"


def test_two_thousand_probes_leak_nothing(run: Any, say: Maker, page: Maker) -> None:
    psutil = pytest.importorskip("psutil")
    me = psutil.Process()

    async def act(scene: Any) -> tuple[int, int, int]:
        good = await scene.serve(say(page(GOOD)))
        bad = await scene.serve(say(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab"))
        bound = asyncio.Semaphore(100)

        async def one(stage: Any, expected: Verdict) -> None:
            async with bound:
                outcome = await scene.ask("http", HttpParams(url=url(stage), json=True), timeout=10.0)
                assert outcome.verdict == expected, outcome

        await one(good, Verdict.PASS)
        await scene.settle()
        before = me.num_fds()
        jobs = [one(good, Verdict.PASS) for _ in range(1600)] + [one(bad, Verdict.FAIL) for _ in range(400)]
        await asyncio.gather(*jobs)
        await scene.settle()
        return before, await scene.fds(before), good.taken + bad.taken

    before, after, taken = run(act)
    assert taken == 2001
    assert after <= before


def test_a_cancelled_probe_closes_its_connection(run: Any, silent: Any) -> None:
    async def act(scene: Any) -> None:
        stage = await scene.serve(silent)
        job = asyncio.ensure_future(scene.ask("http", HttpParams(url=url(stage)), timeout=30.0))
        for _ in range(500):
            await asyncio.sleep(0.01)
            if stage.open:
                break
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job

    run(act)


def test_signs_see_a_body_that_is_json_of_any_shape(run: Any, say: Maker, page: Maker) -> None:
    body = json.dumps("I'm alive!").encode()
    assert (
        ask_of(run, say(page(body)), signs=(Sign(name="alive", json="body == 'I\\'m alive!'"),)).evidence.sign
        == "alive"
    )
