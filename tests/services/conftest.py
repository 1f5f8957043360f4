"""Contract servers for the tests: each test breaks its own. MinIO, and programs of the system that tests run."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3
from minio import Minio

from demo.contract import Contract, LoopThread
from demo.ports import free_port

ContractFactory = Callable[..., Contract]


@pytest.fixture(scope="session")
def contract_loop() -> Iterator[LoopThread]:
    """The one thread that hosts every contract of this run."""
    loop = LoopThread()
    yield loop
    loop.stop()


@pytest.fixture
def contract(contract_loop: LoopThread) -> Iterator[ContractFactory]:
    """Starts contract servers that end with the test: `contract("qdrant", version="1.13.1", api_key="demo")`."""
    started: list[Contract] = []

    def start(kind: str, **arguments: Any) -> Contract:
        started.append(Contract(kind, loop=contract_loop, **arguments))
        return started[-1].start()

    yield start
    for server in started:
        server.stop()


@pytest.fixture(scope="session")
def program() -> Callable[[str], str]:
    """Where a program of Prometheus' family is. Missing on a laptop it skips the test, in CI it fails it."""

    def find(name: str) -> str:
        found = shutil.which(name)
        if not found and os.environ.get("CI"):
            pytest.fail(f"{name} is missing; .ci/run brings it")
        if not found:
            pytest.skip(f"{name} is not installed here: Debian's prometheus or prometheus-alertmanager has it")
        return found

    return find


@dataclass(frozen=True)
class MinioServer:
    """A MinIO of the test run's own, its files in `folder`."""

    port: int
    folder: Path
    access_key: str = "demo-access-key"
    secret_key: str = "demo-secret-key-0123456789"

    def client(self) -> Minio:
        """A client with root's keys and no retries."""
        return Minio(
            endpoint=f"127.0.0.1:{self.port}",
            access_key=self.access_key,
            secret_key=self.secret_key,
            secure=False,
            region="us-east-1",
            http_client=urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(5)),
        )


@pytest.fixture(scope="session")
def minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MinioServer]:
    """MinIO, where its binary is on PATH; it is not in any package index, so a machine without it skips."""
    binary = shutil.which("minio")
    if not binary:
        pytest.skip("no minio binary on PATH")
    server = MinioServer(port=free_port(), folder=tmp_path_factory.mktemp("minio"))
    environ = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path_factory.mktemp("home")),
        "MINIO_ROOT_USER": server.access_key,
        "MINIO_ROOT_PASSWORD": server.secret_key,
        "MINIO_BROWSER": "off",
    }
    argv = [binary, "server", "--quiet", "--address", f"127.0.0.1:{server.port}", str(server.folder)]
    process = subprocess.Popen(argv, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _make_bucket(server, deadline=time.monotonic() + 20)
        yield server
    finally:
        process.kill()
        process.wait()


def _make_bucket(server: MinioServer, *, deadline: float) -> None:
    """Makes the bucket "backups" as soon as the server lets us."""
    while True:
        try:
            server.client().make_bucket(bucket_name="backups")
        except Exception:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
