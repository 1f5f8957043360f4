"""Contract servers as a library, as a process of one, and as the one process of a stack."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from demo.contract import Contract, LoopThread, main
from demo.contracts.process import ContractProcess
from demo.contracts.server import Plan
from demo.contracts.table import KINDS, faults
from demo.process import DemoError, Keeper

ContractFactory = Callable[..., Contract]


def test_what_is_not_known_is_named(contract: ContractFactory) -> None:
    with pytest.raises(ValueError, match="no contract 'qdrnt'; there are litellm"):
        Contract("qdrnt")
    with pytest.raises(ValueError, match="qdrant has no setting apikey; it has api_key"):
        Contract("qdrant", apikey="x")
    with pytest.raises(ValueError, match="litellm has no gRPC port"):
        Contract("litellm", grpc_port=0)
    with pytest.raises(ValueError, match="listens on one of 127"):
        Contract("qdrant", host="0.0.0.0")
    with pytest.raises(ValueError, match="r2r has no fault 'hagn'; it has db_down"):
        contract("r2r").break_with("hagn")


@pytest.fixture
def chat(contract: ContractFactory) -> Contract:
    return contract("chat")


def test_no_socket_is_left_open() -> None:
    process = psutil.Process()

    def ports() -> set[int]:
        return {connection.laddr.port for connection in process.net_connections("tcp")}

    with Contract("qdrant", host="localhost", grpc_port=0) as server:
        idle = [socket.create_connection(("127.0.0.1", server.port), 2.0) for _ in range(3)]
        for fault in ("hang", "huge", "refuse", "slow"):
            server.break_with(fault, seconds=30.0)
            if fault != "refuse":
                idle.append(socket.create_connection(("127.0.0.1", server.port), 2.0))
                idle[-1].sendall(b"GET / HTTP/1.1\r\n\r\n")
        server.pause()
        mine = {server.port, server.grpc_port}
        assert ports() & mine
    for sock in idle:
        sock.close()
    assert not ports() & mine
    server.start()  # on the same port
    server.mend()
    server.resume()
    assert server.port in mine
    assert httpx.get(server.url, trust_env=False).json()["version"] == "1.17.0"
    server.stop()
    assert not ports() & mine


def test_many_threads_may_start_on_one_loop() -> None:
    loop = LoopThread()
    servers = [Contract("chat", loop=loop) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(Contract.start, servers))
    assert len([t for t in threading.enumerate() if t.name == "contracts" and t is loop._thread]) == 1
    assert all(httpx.get(f"{server.url}/health", trust_env=False).status_code == 200 for server in servers)
    for server in servers:
        server.stop()
    loop.stop()


def test_a_port_somebody_has_is_an_error_not_a_hang(chat: Contract) -> None:
    taken = Contract("chat", port=chat.port)
    with pytest.raises(OSError, match="in use"):
        taken.start()
    taken.stop()


def test_one_process_hosts_many_and_is_told_what_to_do(keeper: Keeper) -> None:
    plans = [Plan(kind=kind) for kind in KINDS if kind != "qdrant"] + [Plan(kind="qdrant", grpc_port=0)]
    with ContractProcess(plans, keeper=keeper) as contracts:
        variables = contracts.environ()
        assert {"LITELLM_URL", "LITELLM_MASTER_KEY", "QDRANT_GRPC_URL", "AGENT_SERVICE_URL"} <= variables.keys()
        report = contracts.report()
        assert report.keys() == KINDS.keys()
        assert report["r2r"]["faults"] == faults("r2r")
        contracts.break_with("r2r", "http_500")
        url = f"{variables['R2R_URL']}/v3/health"
        assert httpx.get(url, trust_env=False).status_code == 500
        assert contracts.report()["r2r"]["fault"] == "http_500"
        contracts.break_with("r2r", "slow", seconds=0.05)
        assert httpx.get(url, trust_env=False).status_code == 200
        contracts.mend("r2r")
        for verb, seen in (("stop", httpx.ConnectError), ("pause", httpx.ReadTimeout)):
            contracts.tell("r2r", verb)
            with pytest.raises(seen):
                httpx.get(url, trust_env=False, timeout=0.3)
            contracts.tell("r2r", "start" if verb == "stop" else "resume")
            assert httpx.get(url, trust_env=False).status_code == 200
        assert contracts.report()["r2r"]["seen"]["GET /v3/health"] >= 4
        for kind, fault, words in (("r2r", "hagn", "r2r has no fault 'hagn'"), ("r3r", "hang", "there is no 'r3r'")):
            with pytest.raises(DemoError, match=words):
                contracts.break_with(kind, fault)
        with pytest.raises(DemoError, match="one of fault, mend"):
            contracts.tell("r2r", "explode")


def spawn(*arguments: str) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    return subprocess.Popen(
        [sys.executable, "-m", "demo.contract", *arguments],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def alone() -> Iterator[subprocess.Popen[str]]:
    with spawn("--kind", "qdrant", "--fault", "not_ready", "--set", "api_key=demo", "--version", "1.13.1") as process:
        yield process
        process.kill()


def test_starts_alone_and_ends_at_a_signal(alone: subprocess.Popen[str]) -> None:
    assert alone.stdout is not None
    url = json.loads(alone.stdout.readline())["ready"]["qdrant"]
    assert httpx.get(f"{url}/readyz", trust_env=False).status_code == 503
    assert httpx.get(f"{url}/collections", trust_env=False).status_code == 401
    assert httpx.get(url, trust_env=False).json()["version"] == "1.13.1"
    os.kill(alone.pid, signal.SIGTERM)
    assert alone.wait(5) == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--kind", "qdrant", "--fault", "hagn"], "qdrant has no fault 'hagn'"),
        (["--kind", "qdrant", "--set", "key=x"], "qdrant has no setting key"),
        (["--kind", "qdrant", "--needs", "mysql=x"], "mysql"),
    ],
)
def test_a_wrong_command_line_says_what_is_wrong(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert says in capsys.readouterr().err


def test_list_names_every_kind_and_fault(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    shown = capsys.readouterr().out
    for kind in KINDS:
        assert f"{kind}\n" in shown
        assert all(f"fault {name} " in shown for name in faults(kind))
