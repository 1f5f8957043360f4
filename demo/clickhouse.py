"""The ClickHouse engine, from the chdb-core wheel in .venv-clickhouse, behind a small HTTP server of ours."""

import ssl
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

    def command(self) -> Command:
        """Our server under the engine's own Python; the password is in its environment and not in the arguments."""
        if not self._python.exists():
            raise DemoError(f"the ClickHouse engine is not installed ({self._python} is missing); run: make venv")
        listen = [word for host in self._hosts for word in ("--listen", host)]
        return Command(
            argv=[
                *(str(self._python), "-P", "-m", "demo.clickhouse_server"),
                *("--folder", str(self.folder), "--port", str(self.port), "--user", self.user, *listen),
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
