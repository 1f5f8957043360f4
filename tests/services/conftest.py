"""Contract servers for the tests: each test breaks its own. MinIO, and programs of the system that tests run."""

import os
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from demo.contract import Contract, LoopThread
from demo.minio import MinioServer
from demo.process import Keeper

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


@pytest.fixture(scope="session")
def minio(keeper: Keeper) -> Iterator[MinioServer]:
    """MinIO, where its binary is on PATH; it is not in any package index, so a machine without it skips."""
    if MinioServer.binary() is None:
        pytest.skip("no minio binary on PATH")
    with MinioServer(keeper=keeper) as server:
        yield server
