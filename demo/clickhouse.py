"""The ClickHouse engine, from the chdb-core wheel in .venv-clickhouse, behind a small HTTP server of ours."""

import contextlib
import resource
import shutil
import ssl
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from demo.langfuse_tables import TABLES, rows
from demo.ports import free_port
from demo.process import Command, DemoError, Keeper, clean_environ
from demo.server import Server

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv-clickhouse/bin/python"
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Given to httpx so that it does not read the system's certificates (30 ms) before every call to plain HTTP."""


class Clickhouse(Server):
    """A ClickHouse with one user and Langfuse's tables in `database`.

    `seed` is how many traces they hold; 0 leaves out the tables as well, which starts half a second sooner. With
    `ipv6` it listens on ::1 too. `python` is the interpreter that has the engine. Any other user or password is
    refused with ClickHouse's own error 516.
    """

    name = "clickhouse"

    def __init__(
        self,
        *,
        port: int | None = None,
        user: str = "clickhouse",
        password: str = "demo-clickhouse-password",
        database: str = "default",
        seed: int = 2_000,
        ipv6: bool = False,
        python: Path = PYTHON,
        keeper: Keeper | None = None,
    ) -> None:
        super().__init__(keeper=keeper)
        self.port = port or free_port()
        self.user = user
        self.password = password
        self.database = database
        self._python = python
        self._seed = seed
        self._hosts = (self.host, "::1") if ipv6 else (self.host,)
        self._memory = 0
        self._keep_free = 0

    def command(self) -> Command:
        """Our server under the engine's own Python; the password is in its environment and not in the arguments."""
        if not self._python.exists():
            raise DemoError(f"the ClickHouse engine is not installed ({self._python} is missing); run: make venv")
        listen = [word for host in self._hosts for word in ("--listen", host)]
        return Command(
            argv=[
                *(str(self._python), "-P", "-m", "demo.clickhouse_server"),
                *("--folder", str(self.folder), "--port", str(self.port), "--user", self.user, *listen),
                *("--memory", str(self._memory), "--keep-free", str(self._keep_free)),
            ],
            environ=clean_environ(PYTHONPATH=str(ROOT), CLICKHOUSE_PASSWORD=self.password),
        )

    def ready(self) -> bool:
        """Whether /ping answers."""
        try:
            return httpx.get(f"{self.url}/ping", timeout=2, verify=NO_TLS, trust_env=False).text == "Ok.\n"
        except httpx.TransportError as error:
            raise OSError(str(error)) from error

    def settle(self) -> None:
        """Makes the database and Langfuse's tables."""
        self.query(f"CREATE DATABASE IF NOT EXISTS `{self.database}`", database="default")
        if self._seed:
            fill_langfuse(self, traces=self._seed)

    @property
    def url(self) -> str:
        """Where its HTTP interface is, without a path."""
        return f"http://{self.host}:{self.port}"

    def environ(self) -> dict[str, str]:
        """CLICKHOUSE_URL and who may ask what there."""
        return {
            "CLICKHOUSE_URL": self.url,
            "CLICKHOUSE_USER": self.user,
            "CLICKHOUSE_PASSWORD": self.password,
            "CLICKHOUSE_DB": self.database,
        }

    def starve(self) -> None:
        """Starts it anew with so little memory that SELECT 1 is answered, and what needs 61 MiB is refused (241)."""
        self._restart(memory=60_000_000)

    def fill_disk(self) -> None:
        """Starts it anew on a disk of which nothing is left to it: inserts are refused (243)."""
        self._restart(keep_free=shutil.disk_usage(self.folder).free + (4 << 30))

    def ease(self) -> None:
        """Starts it anew without such limits."""
        self._restart()

    def _restart(self, *, memory: int = 0, keep_free: int = 0) -> None:
        self.stop()
        self._memory, self._keep_free = memory, keep_free
        self.start()

    def stick_mutation(self) -> None:
        """Makes a table with a mutation that fails whenever it is tried."""
        self.query("CREATE TABLE default.demo_stuck (a UInt64, b String) ENGINE = MergeTree ORDER BY a")
        self.query("INSERT INTO default.demo_stuck SELECT number, 'b' FROM numbers(8)")
        change = "UPDATE b = toString(throwIf(a = 3, 'the demo wants it to fail')) WHERE 1"
        self.query(f"ALTER TABLE default.demo_stuck {change}", settings={"mutations_sync": "0"})
        for _ in range(100):
            if self.query("SELECT count() FROM system.mutations WHERE latest_fail_reason != ''") != "0\n":
                return
            time.sleep(0.05)
        raise DemoError("the mutation that was to fail does not")

    def pile_up_parts(self, parts: int = 12) -> None:
        """Makes a table with as many parts in a partition as it may have: one more is refused (252)."""
        settings = f"parts_to_delay_insert = {parts - 2}, parts_to_throw_insert = {parts}"
        self.query(f"CREATE TABLE default.demo_parts (a UInt64) ENGINE = MergeTree ORDER BY a SETTINGS {settings}")
        self.query("SYSTEM STOP MERGES default.demo_parts")
        for number in range(parts):
            self.query(f"INSERT INTO default.demo_parts SELECT {number}")

    def run_out_of_files(self, more: int = 160) -> None:
        """Lets it open that many files more and no further, and asks for a table of 300: refused (76, errno 24)."""
        columns = ", ".join(f"c{number} UInt8" for number in range(300))
        wide = "min_bytes_for_wide_part = 0, min_rows_for_wide_part = 0"
        self.query(f"CREATE TABLE default.demo_wide ({columns}) ENGINE = MergeTree ORDER BY tuple() SETTINGS {wide}")
        self.query("INSERT INTO default.demo_wide (c0) VALUES (1)")
        limit = len(list(Path(f"/proc/{self.pid}/fd").iterdir())) + more
        resource.prlimit(self.pid, resource.RLIMIT_NOFILE, (limit, limit))
        with contextlib.suppress(DemoError):
            self.query("SELECT * FROM default.demo_wide")

    def find_files(self) -> None:
        """Takes back what `run_out_of_files` did, by starting it anew: what was refused is counted until then."""
        self._restart()
        self.drop("demo_wide")

    def drop(self, table: str) -> None:
        """Takes away a table that one of these made."""
        self.query(f"DROP TABLE default.{table} SYNC")

    def query(self, sql: str, *, database: str | None = None, settings: Mapping[str, str] | None = None) -> str:
        """Runs one statement as our user and gives its result back as tab-separated text. Raises DemoError."""
        answer = httpx.post(
            self.url,
            content=sql,
            params={"database": database or self.database, "wait_end_of_query": "1", **(settings or {})},
            headers={"X-ClickHouse-User": self.user, "X-ClickHouse-Key": self.password},
            timeout=60,
            verify=NO_TLS,
            trust_env=False,
        )
        if not answer.is_success:
            raise DemoError(f"clickhouse refused a statement: {answer.text.strip()}")
        return answer.text


def fill_langfuse(server: Clickhouse, *, traces: int) -> None:
    """Makes tables like Langfuse's in the server's database and puts that many traces in, with what hangs on them."""
    for statement in (*TABLES, *rows(traces)):
        server.query(statement)
