"""The tls probe, and https, against certificates of every kind of age and honesty."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trustme

from config.causes import Cause
from config.checks import HttpParams, TlsParams
from config.services import Check, Service
from monitor.diagnose.table import diagnose
from monitor.probes.base import Outcome, Sight, Verdict

Maker = Callable[..., Any]
NOW = datetime.now(UTC)


def once(run: Any, script: Any, tls: ssl.SSLContext | None, *, timeout: float = 3.0, **params: Any) -> Outcome:
    async def act(scene: Any) -> Outcome:
        stage = await scene.serve(script, tls=tls)
        asked = TlsParams(**{"host": "127.0.0.1", "port": stage.port, **params})
        outcome: Outcome = await scene.ask("tls", asked, timeout=timeout)
        return outcome

    result: Outcome = run(act)
    return result


def test_a_certificate_with_days_left_passes_with_its_facts(
    run: Any, silent: Any, authority: trustme.CA, tls_of: Maker
) -> None:
    cert = authority.issue_cert("127.0.0.1", common_name="shop", not_after=NOW + timedelta(days=90, hours=1))
    outcome = once(run, silent, tls_of(cert))
    assert (outcome.verdict, outcome.evidence.sight) == (Verdict.PASS, Sight.ANSWERED)
    assert outcome.evidence.text.startswith("certificate ends in 90 days, on ")
    assert outcome.facts["subject"] == "shop"
    assert outcome.facts["issuer"].startswith("trustme v")
    assert outcome.facts["not_after"].startswith(f"{NOW + timedelta(days=90, hours=1):%Y-%m-%dT%H:%M}")


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize(("days", "verdict"), [(13, Verdict.WARN), (14, Verdict.PASS), (0, Verdict.WARN)])
def test_few_days_left_warn(
    run: Any, silent: Any, authority: trustme.CA, tls_of: Maker, days: int, verdict: Verdict, verify: bool
) -> None:
    cert = authority.issue_cert("127.0.0.1", not_after=NOW + timedelta(days=days, hours=1))
    outcome = once(run, silent, tls_of(cert), verify=verify)
    assert outcome.verdict == verdict
    assert f"certificate ends in {days} days" in outcome.evidence.text
    assert outcome.evidence.sign == ("expiring" if verdict == Verdict.WARN else "")


@pytest.mark.parametrize("verify", [True, False])
def test_an_expired_certificate_fails_and_says_since_when(
    run: Any, silent: Any, authority: trustme.CA, tls_of: Maker, verify: bool
) -> None:
    cert = authority.issue_cert("127.0.0.1", not_before=NOW - timedelta(days=30), not_after=NOW - timedelta(days=3))
    outcome = once(run, silent, tls_of(cert), verify=verify)
    assert (outcome.verdict, outcome.evidence.sight, outcome.evidence.code) == (Verdict.FAIL, Sight.TLS, "expired")
    assert "ended 3 days ago" in outcome.evidence.text


@pytest.mark.parametrize("verify", [True, False])
def test_a_certificate_of_the_future_fails(
    run: Any, silent: Any, authority: trustme.CA, tls_of: Maker, verify: bool
) -> None:
    cert = authority.issue_cert("127.0.0.1", not_before=NOW + timedelta(days=2), not_after=NOW + timedelta(days=9))
    outcome = once(run, silent, tls_of(cert), verify=verify)
    assert (outcome.verdict, outcome.evidence.code) == (Verdict.FAIL, "not_yet_valid")


def test_a_stranger_is_not_trusted_unless_told_to(run: Any, silent: Any, authority: trustme.CA, tls_of: Maker) -> None:
    cert = trustme.CA(organization_name="Nobody").issue_cert("127.0.0.1", common_name="postgres")
    doubted = once(run, silent, tls_of(cert))
    assert (doubted.verdict, doubted.evidence.sight, doubted.evidence.code) == (Verdict.FAIL, Sight.TLS, "untrusted")
    assert "postgres" in doubted.evidence.text
    assert once(run, silent, tls_of(cert), verify=False).verdict == Verdict.PASS


def test_a_certificate_of_another_name(run: Any, silent: Any, authority: trustme.CA, tls_of: Maker) -> None:
    tls = tls_of(authority.issue_cert("shop.example", common_name="shop.example"))
    other = once(run, silent, tls)
    assert (other.verdict, other.evidence.code) == (Verdict.FAIL, "wrong_name")
    assert "shop.example" in other.evidence.text
    assert once(run, silent, tls, server_name="shop.example").verdict == Verdict.PASS


def test_plain_text_on_a_tls_port_and_silence(run: Any, say: Maker, silent: Any) -> None:
    async def banner(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        await reader.read()

    async def mute(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(1)

    plain = once(run, banner, None)
    assert (plain.verdict, plain.evidence.sight, plain.evidence.code) == (Verdict.FAIL, Sight.TLS, "not_tls")
    beside = once(run, banner, None, optional=True)  # as beside an https question, which tells it with its own remedy
    assert (beside.verdict, beside.available) == (Verdict.PASS, False)
    assert beside.evidence.text == "not available: the server speaks no TLS, so it has no certificate"
    quiet = once(run, silent, None, timeout=1.0)
    assert (quiet.verdict, quiet.evidence.sight) == (Verdict.FAIL, Sight.NO_ANSWER)
    assert "TLS" in quiet.evidence.text
    assert once(run, mute, None).evidence.sight in (Sight.TLS, Sight.RESET)


def _postgres(answer: bytes, tls: ssl.SSLContext | None) -> Any:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(8) == b"\x00\x00\x00\x08\x04\xd2\x16\x2f"
        writer.write(answer)
        await writer.drain()
        if tls is not None:
            await writer.start_tls(tls)
            await reader.read()

    return script


def test_postgres_is_asked_for_tls_first(run: Any, authority: trustme.CA, tls_of: Maker) -> None:
    tls = tls_of(authority.issue_cert("127.0.0.1", not_after=NOW + timedelta(days=5)))
    outcome = once(run, _postgres(b"S", tls), None, starttls="postgres")
    assert (outcome.verdict, outcome.evidence.code) == (Verdict.WARN, "expiring")


@pytest.mark.parametrize(
    ("answer", "sight", "code"), [(b"N", Sight.TLS, "not_tls"), (b"E", Sight.GARBLED, ""), (b"", Sight.RESET, "")]
)
def test_postgres_without_tls(run: Any, answer: bytes, sight: Sight, code: str) -> None:
    outcome = once(run, _postgres(answer, None), None, starttls="postgres")
    assert (outcome.verdict, outcome.evidence.sight, outcome.evidence.code) == (Verdict.FAIL, sight, code)


def test_https_passes_and_http_on_its_port_says_which_way_round(
    run: Any, say: Maker, page: Maker, authority: trustme.CA, tls_of: Maker
) -> None:
    async def confused(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(5)
        writer.write(page(b"", status=400))

    async def act(scene: Any) -> list[Outcome]:
        tls = tls_of(authority.issue_cert("127.0.0.1", "localhost"))
        secure = await scene.serve(say(page(b'{"a":1}')), tls=tls)
        plain = await scene.serve(confused)
        stranger = await scene.serve(say(page(b"{}")), tls=tls_of(trustme.CA().issue_cert("127.0.0.1")))
        asked = [
            HttpParams(url=f"https://127.0.0.1:{secure.port}", json=True),
            HttpParams(url=f"https://localhost:{secure.port}", json=True),
            HttpParams(url=f"https://127.0.0.1:{plain.port}"),
            HttpParams(url=f"https://127.0.0.1:{stranger.port}"),
            HttpParams(url=f"https://127.0.0.1:{stranger.port}", verify_tls=False),
        ]
        return [await scene.ask("http", params) for params in asked]

    by_address, by_name, plain, stranger, unverified = run(act)
    assert (by_address.verdict, by_name.verdict, unverified.verdict) == (Verdict.PASS, Verdict.PASS, Verdict.PASS)
    assert (plain.evidence.sight, plain.evidence.code) == (Sight.TLS, "not_tls")
    assert (stranger.evidence.sight, stranger.evidence.code) == (Sight.TLS, "untrusted")


def test_plain_http_to_a_tls_port_says_so(
    run: Any, say: Maker, page: Maker, authority: trustme.CA, tls_of: Maker
) -> None:
    async def act(scene: Any) -> Outcome:
        secure = await scene.serve(say(page(b"{}")), tls=tls_of(authority.issue_cert("127.0.0.1")))
        outcome: Outcome = await scene.ask("http", HttpParams(url=f"http://127.0.0.1:{secure.port}"))
        return outcome

    outcome = run(act)
    # OpenSSL's own server cuts the connection; others send an alert first (see the broken answers of http).
    assert outcome.evidence.sight in (Sight.TLS, Sight.RESET)


def test_handshakes_leak_nothing(run: Any, say: Maker, page: Maker, silent: Any, authority: Any, tls_of: Maker) -> None:
    psutil = pytest.importorskip("psutil")
    me = psutil.Process()

    async def act(scene: Any) -> tuple[int, int]:
        tls = tls_of(authority.issue_cert("127.0.0.1"))
        good = await scene.serve(say(page(b"{}")), tls=tls)
        bare = await scene.serve(silent, tls=tls)
        stuck = await scene.serve(silent)
        bound = asyncio.Semaphore(30)

        async def one(kind: str, params: Any, timeout: float, expected: Verdict) -> None:
            async with bound:
                outcome = await scene.ask(kind, params, timeout=timeout)
                assert outcome.verdict == expected, outcome

        def jobs(count: int) -> list[Any]:
            return [
                job
                for _ in range(count)
                for job in (
                    one("http", HttpParams(url=f"https://127.0.0.1:{good.port}"), 10.0, Verdict.PASS),
                    one("tls", TlsParams(host="127.0.0.1", port=bare.port), 10.0, Verdict.PASS),
                    one("tls", TlsParams(host="127.0.0.1", port=stuck.port), 0.1, Verdict.FAIL),
                )
            ]

        await asyncio.gather(*jobs(1))
        await scene.settle()
        before = me.num_fds()
        await asyncio.gather(*jobs(60))
        await scene.settle()
        await asyncio.sleep(0.1)
        return before, await scene.fds(before)

    before, after = run(act)
    assert after <= before


def test_a_server_whose_tls_is_too_old_is_told_as_that(run: Any, authority: trustme.CA, tls_of: Maker) -> None:
    old = tls_of(authority.issue_cert("127.0.0.1"))
    old.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1

    def refuse(listener: socket.socket) -> None:
        # asyncio's servers hang up without the alert that others send.
        with listener.accept()[0] as sock, contextlib.suppress(ssl.SSLError):
            old.wrap_socket(sock, server_side=True)

    async def act(scene: Any) -> Outcome:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = asyncio.create_task(asyncio.to_thread(refuse, listener))
            params = TlsParams(host="127.0.0.1", port=listener.getsockname()[1])
            outcome: Outcome = await scene.ask("tls", params)
            await server
            return outcome

    outcome = run(act)
    check = Check(name="tls", kind="tls", params=TlsParams(host="127.0.0.1", port=1))
    one = Service(name="shop", kind="custom", title="Shop", address="127.0.0.1:1", checks=(check,))
    found = diagnose(one, check, outcome)
    assert found is not None
    assert (found.cause, "too old" in found.sentence) == (Cause.TLS, True)
