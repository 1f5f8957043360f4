"""The contract servers break at the socket exactly as they are told to, over HTTP and gRPC."""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]  # ships no types
import httpx
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]  # ships no types

from demo.contract import Contract
from demo.contracts.wire import WIRE_FAULTS

ContractFactory = Callable[..., Contract]
HTML = "<!doctype html>"


def dial(server: Contract, *, timeout: float = 2.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout)


def ask(server: Contract, path: str = "/health", *, timeout: float = 2.0) -> bytes:
    """The bytes of one answer, to the end of the connection."""
    with dial(server, timeout=timeout) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        return read_to_end(sock)


def read_to_end(sock: socket.socket) -> bytes:
    received = b""
    while data := sock.recv(65_536):
        received += data
    return received


def connections_of(server: Contract) -> list[Any]:
    """The sockets of this process that are connected on the server's own port."""
    found = psutil.Process().net_connections("tcp")
    return [c for c in found if c.laddr.port == server.port and c.status != psutil.CONN_LISTEN]


def wait_until(true: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def chat(contract: ContractFactory) -> Contract:
    return contract("chat")


def test_refuse_is_a_closed_port_of_the_same_number(chat: Contract) -> None:
    with dial(chat) as idle:
        idle.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert idle.recv(65_536).endswith(b"}")
        chat.break_with("refuse")
        assert idle.recv(1) == b""  # the dead process's connections ended too
    port = chat.port
    for _ in range(3):
        with pytest.raises(ConnectionRefusedError):
            dial(chat)
    with socket.socket() as thief, pytest.raises(OSError, match="in use"):
        thief.bind(("127.0.0.1", port))  # nobody is given the number meanwhile
    chat.mend()
    assert chat.port == port
    assert b"healthy" in ask(chat)


def test_reset_is_a_rst(chat: Contract) -> None:
    chat.break_with("reset")
    with dial(chat) as sock, pytest.raises(ConnectionResetError):
        sock.recv(1)
    chat.break_with("reset_midway")
    with dial(chat) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert sock.recv(4) == b"HTTP"
        with pytest.raises(ConnectionResetError):
            read_to_end(sock)


def test_close_is_a_fin_without_a_byte(chat: Contract) -> None:
    chat.break_with("close")
    assert ask(chat) == b""


def test_hang_accepts_and_never_answers_and_keeps_no_dead_connection(chat: Contract) -> None:
    chat.break_with("hang")
    for _ in range(5):
        with pytest.raises(TimeoutError):
            ask(chat, timeout=0.05)
    wait_until(lambda: not connections_of(chat))


def test_pause_stands_still_and_goes_on(chat: Contract) -> None:
    chat.pause()
    with dial(chat, timeout=0.2) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        with pytest.raises(TimeoutError):
            sock.recv(1)
        chat.resume()
        sock.settimeout(2.0)
        assert sock.recv(12) == b"HTTP/1.1 200"


def test_slow_and_slow_drip_take_their_time(chat: Contract) -> None:
    whole = len(ask(chat))
    chat.break_with("slow", seconds=0.3)
    begun = time.monotonic()
    assert len(ask(chat)) == whole
    assert time.monotonic() - begun >= 0.3
    chat.break_with("slow_drip", seconds=0.001)
    begun = time.monotonic()
    assert len(ask(chat)) == whole
    assert time.monotonic() - begun >= whole * 0.001


def test_truncated_promises_more_than_it_sends(chat: Contract) -> None:
    chat.break_with("truncated")
    head, _, body = ask(chat).partition(b"\r\n\r\n")
    assert int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0]) > len(body) > 0


def test_garbage_is_no_http(chat: Contract) -> None:
    chat.break_with("garbage")
    assert not ask(chat).startswith(b"HTTP/")


def test_huge_is_as_long_as_it_says_and_stops_with_its_reader(chat: Contract) -> None:
    chat.break_with("huge")
    with dial(chat) as sock:
        sock.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert b"content-length: 67108864" in sock.recv(4096)
    wait_until(lambda: not connections_of(chat))
    assert httpx.get(f"{chat.url}/health", trust_env=False, timeout=20).json()["padding"].startswith("xxx")


@pytest.mark.parametrize(
    ("fault", "status", "says"),
    [
        ("http_500", 500, "Internal Server Error"),
        ("http_503", 503, "Service Unavailable"),
        ("http_502_edge", 502, "Application failed to respond"),
        ("http_404_edge", 404, "Application not found"),
        ("not_found", 404, "Not Found"),
        ("unauthorized", 401, "Unauthorized"),
        ("html", 200, HTML),
        ("wrong_service", 200, "qdrant"),
        ("redirect", 302, ""),
        ("redirect_loop", 302, ""),
        ("empty", 200, ""),
        ("bad_json", 200, '{"status": "ok'),
    ],
)
def test_another_answer_to_everything(fault: str, status: int, says: str, chat: Contract) -> None:
    chat.break_with(fault)
    answer = httpx.get(f"{chat.url}/health", trust_env=False)
    assert (answer.status_code, says in answer.text) == (status, True)
    chat.mend()
    assert httpx.get(f"{chat.url}/health", trust_env=False).json() == {"status": "healthy"}


def test_redirect_leads_to_a_page_and_the_loop_nowhere(chat: Contract) -> None:
    chat.break_with("redirect")
    assert HTML in httpx.get(f"{chat.url}/health", trust_env=False, follow_redirects=True).text
    chat.break_with("redirect_loop")
    with pytest.raises(httpx.TooManyRedirects):
        httpx.get(f"{chat.url}/health", trust_env=False, follow_redirects=True)


@pytest.mark.parametrize(("fault", "statuses"), [("waking", [502, 200, 200, 200]), ("flapping", [500, 200, 500, 200])])
def test_some_faults_come_and_go(fault: str, statuses: list[int], chat: Contract) -> None:
    for _ in range(2):
        chat.break_with(fault)
        assert [httpx.get(f"{chat.url}/health", trust_env=False).status_code for _ in statuses] == statuses


def test_every_wire_fault_is_tested_here() -> None:
    source = Path(__file__).read_text()
    assert [name for name in WIRE_FAULTS if f'"{name}"' not in source] == []


def test_a_connection_is_kept_and_a_fault_reaches_it(chat: Contract) -> None:
    with httpx.Client(trust_env=False) as client:
        for _ in range(3):
            assert client.get(f"{chat.url}/health").status_code == 200
        assert len(connections_of(chat)) == 1
        chat.break_with("reset")
        with pytest.raises(httpx.ReadError):
            client.get(f"{chat.url}/health")


def test_what_is_not_http_is_told_so_at_once(chat: Contract) -> None:
    for opening in (b"\x16\x03\x01\x02\x00\x01", b"PRI * HTTP/2.0\r\n\r\n", b"*1\r\n$4\r\nPING\r\n"):
        with dial(chat) as sock:
            sock.sendall(opening)
            assert sock.recv(4096).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(("host", "families"), [("::1", {"::1"}), ("localhost", {"127.0.0.1", "::1"})])
def test_listens_where_it_is_told(host: str, families: set[str], contract: ContractFactory) -> None:
    server = contract("chat", host=host)
    reached = set()
    for address in ("127.0.0.1", "::1"):
        try:
            socket.create_connection((address, server.port), 2.0).close()
        except ConnectionRefusedError:
            continue
        reached.add(address)
    assert reached == families
    assert httpx.get(f"{server.url}/health", trust_env=False).status_code == 200


def grpc_status(server: Contract, timeout: float = 2.0) -> int:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return int(stub.Check(health_pb2.HealthCheckRequest(), timeout=timeout).status)


def test_grpc_health_answers_without_a_key_and_breaks(contract: ContractFactory) -> None:
    server = contract("qdrant", grpc_port=0, api_key="demo")
    serving = health_pb2.HealthCheckResponse
    assert server.environ()["QDRANT_GRPC_URL"] == f"http://127.0.0.1:{server.grpc_port}"
    assert grpc_status(server) == serving.SERVING
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
        assert b"1.17.0" in channel.unary_unary("/qdrant.Qdrant/HealthCheck")(b"", timeout=2.0)
    server.break_with("grpc_not_serving")
    assert grpc_status(server) == serving.NOT_SERVING
    for fault, code in (("refuse", "UNAVAILABLE"), ("reset", "UNAVAILABLE"), ("hang", "DEADLINE_EXCEEDED")):
        server.break_with(fault)
        with pytest.raises(grpc.RpcError) as caught:
            grpc_status(server, timeout=0.5 if fault == "hang" else 2.0)
        assert caught.value.code().name == code
    server.mend()
    assert grpc_status(server) == serving.SERVING
