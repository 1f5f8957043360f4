"""Real servers for the tests.

`postgres`, `valkey`, `seaweedfs`, `clickhouse` are shared by the whole run, all workers included: whoever needs one
first starts it under a file lock. Tests only read and write their own things in them. A test that breaks a server
takes a `fresh_…` factory, which starts one of its own and ends it with the test. `stack` is the whole demo, for one
module.

Everything runs under one keeper (demo/keeper.py) that belongs to the main pytest process, so all of it ends with the
run, however the run ends.
"""

import fcntl
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from demo.clickhouse import Clickhouse
from demo.postgres import Postgres
from demo.process import Keeper
from demo.seaweedfs import Seaweedfs
from demo.server import Server
from demo.stack import Stack
from demo.valkey import Valkey

S = TypeVar("S", bound=Server)
S_co = TypeVar("S_co", bound=Server, covariant=True)

KEEPER = pytest.StashKey[Keeper]()


class Fresh(Protocol[S_co]):
    """Starts a server of the test's own; the arguments are the server's."""

    def __call__(self, **arguments: Any) -> S_co: ...


def pytest_configure(config: pytest.Config) -> None:
    """The main process starts the keeper; a worker (which has `workerinput`) joins it."""
    folder = getattr(config, "workerinput", {}).get("keeper")
    config.stash[KEEPER] = Keeper.join(Path(folder)) if folder else Keeper.start()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Closes our connection; the last one to close ends every server."""
    if keeper := config.stash.get(KEEPER, None):
        keeper.close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tells an xdist worker where the keeper is."""
    node.workerinput["keeper"] = str(node.config.stash[KEEPER].folder)


@pytest.fixture(scope="session")
def keeper(pytestconfig: pytest.Config) -> Keeper:
    """The keeper of this test run: what starts under it ends with the run."""
    return pytestconfig.stash[KEEPER]


def shared(server: S, keeper: Keeper) -> S:
    """`server`, started by whichever worker comes first and adopted by the others."""
    note = keeper.folder / f"{server.name}.shared"
    with note.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if note.exists():
            return server.adopt(json.loads(note.read_text()))
        server.start()
        note.write_text(json.dumps(server.handle()))
        return server


def fresh(kind: Callable[..., S], keeper: Keeper) -> Iterator[Fresh[S]]:
    """A factory of servers that end with the test."""
    started: list[S] = []

    def start(**arguments: Any) -> S:
        server = kind(keeper=keeper, **arguments)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.close()


@pytest.fixture(scope="session")
def postgres(keeper: Keeper) -> Postgres:
    """PostgreSQL with the databases litellm and langfuse, shared: make your own database to change things."""
    return shared(Postgres(keeper=keeper), keeper)


@pytest.fixture(scope="session")
def valkey(keeper: Keeper) -> Valkey:
    """Valkey with a password, shared: use your own keys, change no setting."""
    return shared(Valkey(keeper=keeper), keeper)


@pytest.fixture(scope="session")
def seaweedfs(keeper: Keeper) -> Seaweedfs:
    """S3 with the bucket backups, shared: make your own bucket or prefix."""
    return shared(Seaweedfs(memory="1GiB", keeper=keeper), keeper)


@pytest.fixture(scope="session")
def clickhouse(keeper: Keeper) -> Clickhouse:
    """ClickHouse with Langfuse's tables in `default`, on ::1 too, shared: make your own database to change things."""
    return shared(Clickhouse(ipv6=True, keeper=keeper), keeper)


@pytest.fixture(scope="module")
def stack(keeper: Keeper) -> Iterator[Stack]:
    """The whole demo stack with LiteLLM's stand-in, for the tests of one module (4 s); mend what you break."""
    stack = Stack(keeper, real_litellm=False)
    try:
        yield stack.start()
    finally:
        stack.close()


@pytest.fixture
def fresh_postgres(keeper: Keeper) -> Iterator[Fresh[Postgres]]:
    """Starts a PostgreSQL of the test's own: `fresh_postgres(seed=False)`."""
    yield from fresh(Postgres, keeper)


@pytest.fixture
def fresh_valkey(keeper: Keeper) -> Iterator[Fresh[Valkey]]:
    """Starts a Valkey of the test's own: `fresh_valkey(password=None)`."""
    yield from fresh(Valkey, keeper)


@pytest.fixture
def fresh_seaweedfs(keeper: Keeper) -> Iterator[Fresh[Seaweedfs]]:
    """Starts a SeaweedFS of the test's own (3 s)."""
    yield from fresh(Seaweedfs, keeper)


@pytest.fixture
def fresh_clickhouse(keeper: Keeper) -> Iterator[Fresh[Clickhouse]]:
    """Starts a ClickHouse of the test's own: `fresh_clickhouse(seed=0)` (0.5 s)."""
    yield from fresh(Clickhouse, keeper)
