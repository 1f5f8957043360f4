"""The grpc probe against grpcio's own server and health service, and against what is neither."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
import trustme
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from config.checks import GrpcParams
from config.secret import Secret
from monitor.probes.base import Outcome, Sight, Verdict

Maker = Callable[..., Any]


@pytest.fixture
def server() -> Iterator[Callable[..., int]]:
    """Starts grpcio servers; gives the port."""
    started = []

    def start(*, servicer: Any = None, credentials: Any = None) -> int:
        server = grpc.server(ThreadPoolExecutor(2))
        if servicer is not None:
            health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
        started.append(server)
        address = "127.0.0.1:0"
        port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        server.start()
        return int(port)

    yield start
    for server in started:
        server.stop(None).wait(5)


def servicer_of(**states: int) -> Any:
    servicer = health.HealthServicer()
    for service, state in states.items():
        servicer.set("" if service == "all" else service, state)
    return servicer


def ask(run: Any, port: int, **params: Any) -> Outcome:
    async def act(scene: Any) -> Outcome:
        outcome: Outcome = await scene.ask("grpc", GrpcParams(host="127.0.0.1", port=port, **params))
        return outcome

    result: Outcome = run(act)
    return result


def test_states_of_real_services(run: Any, server: Any) -> None:
    port = server(
        servicer=servicer_of(
            all=health_pb2.HealthCheckResponse.SERVING,
            shop=health_pb2.HealthCheckResponse.NOT_SERVING,
            new=health_pb2.HealthCheckResponse.UNKNOWN,
        )
    )
    whole = ask(run, port)
    assert (whole.verdict, whole.evidence.code) == (Verdict.PASS, "SERVING")
    assert whole.evidence.address == f"127.0.0.1:{port}"
    shop = ask(run, port, service="shop")
    assert (shop.verdict, shop.evidence.sight, shop.evidence.code) == (Verdict.FAIL, Sight.ANSWERED, "NOT_SERVING")
    assert ask(run, port, service="new").evidence.code == "UNKNOWN"
    absent = ask(run, port, service="x" * 300)
    assert (absent.verdict, absent.evidence.code) == (Verdict.FAIL, "NOT_FOUND")


def test_a_server_without_health(run: Any, server: Any) -> None:
    outcome = ask(run, server())
    assert (outcome.verdict, outcome.evidence.sight, outcome.evidence.code) == (
        Verdict.FAIL,
        Sight.ANSWERED,
        "UNIMPLEMENTED",
    )
    assert "no health service" in outcome.evidence.text


def test_headers_are_sent_and_refusals_read(run: Any, server: Any) -> None:
    class Guarded(health_pb2_grpc.HealthServicer):
        def Check(self, request: Any, context: Any) -> Any:  # noqa: N802 -- gRPC's name
            key = dict(context.invocation_metadata()).get("api-key")
            if key != "secretkey1":
                context.abort(grpc.StatusCode.UNAUTHENTICATED, f"key {key} is not välid")
            return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)

    port = server(servicer=Guarded())
    assert ask(run, port, headers={"Api-Key": Secret("secretkey1")}).verdict == Verdict.PASS
    refused = ask(run, port, headers={"Api-Key": Secret("secretkey2")})
    assert (refused.verdict, refused.evidence.code) == (Verdict.FAIL, "UNAUTHENTICATED")
    assert "is not välid" in refused.evidence.text
    assert "secretkey2" not in refused.evidence.text
    broken = ask(run, port, headers={"Api-Key": Secret("secretkey3\nmore")})
    assert broken.verdict == Verdict.FAIL
    assert "secretkey3" not in broken.evidence.text


def test_over_tls(run: Any, server: Any, authority: trustme.CA) -> None:
    cert = authority.issue_cert("127.0.0.1")
    pair = (cert.private_key_pem.bytes(), b"".join(blob.bytes() for blob in cert.cert_chain_pems))
    port = server(
        servicer=servicer_of(all=health_pb2.HealthCheckResponse.SERVING),
        credentials=grpc.ssl_server_credentials([pair]),
    )
    assert ask(run, port, tls=True).verdict == Verdict.PASS
    plain = ask(run, port)
    assert plain.verdict == Verdict.FAIL
    assert plain.evidence.sight in (Sight.TLS, Sight.RESET)


SETTINGS = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"


@pytest.mark.parametrize(
    ("said", "sight"),
    [
        (b"", Sight.RESET),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Sight.GARBLED),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Sight.GARBLED),
        (b"\x15\x03\x01\x00\x02\x02\x46", Sight.TLS),
        (bytes(range(256)) * 10, Sight.GARBLED),
        (SETTINGS, Sight.RESET),
        (SETTINGS + b"\x00\x00\x08\x07\x00\x00\x00\x00\x00" + bytes(7) + b"\x0b", Sight.RESET),  # GOAWAY
        (SETTINGS + b"\x00\x00\x04\x03\x00\x00\x00\x00\x01" + bytes(3) + b"\x07", Sight.RESET),  # RST_STREAM
        (SETTINGS + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01", Sight.RESET),  # a large frame, cut
        (SETTINGS + b"\x00\x00\x01\x01\x05\x00\x00\x00\x01\xff", Sight.GARBLED),  # headers that do not unpack
        (SETTINGS * 150_000, Sight.GARBLED),  # for ever polite, never an answer
    ],
)
def test_what_is_not_grpc(run: Any, said: bytes, sight: Sight) -> None:
    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(24)
        writer.write(said)
        await writer.drain()
        await asyncio.sleep(0.05)

    async def act(scene: Any) -> Outcome:
        port = (await scene.serve(script)).port
        outcome: Outcome = await scene.ask("grpc", GrpcParams(host="127.0.0.1", port=port), timeout=8.0)
        return outcome

    outcome = run(act)
    assert (outcome.verdict, outcome.evidence.sight) == (Verdict.FAIL, sight)


def test_silence_and_refusal(run: Any, silent: Any, free_port: int) -> None:
    async def act(scene: Any) -> Outcome:
        port = (await scene.serve(silent)).port
        outcome: Outcome = await scene.ask("grpc", GrpcParams(host="127.0.0.1", port=port), timeout=1.0)
        return outcome

    assert run(act).evidence.sight == Sight.NO_ANSWER
    assert ask(run, free_port).evidence.sight == Sight.REFUSED
