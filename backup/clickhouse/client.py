"""One ClickHouse server over HTTP: statements out, rows back, and errors that say what to do."""

import contextlib
import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from backup.clickhouse.explain import Explained, explain
from backup.errors import SourceError, StoppedError
from config.backup_sources import ClickhouseSettings
from config.logs import Mask

if TYPE_CHECKING:
    from clickhouse_connect.driver.client import Client

# Seconds: to connect, and for an answer to a small question.
CONNECT = 10
ANSWER = 60
# A statement that reads or moves much has this long; it is watched and can be stopped.
LONG = 6 * 3600
OLDEST = (23, 8)
TICK = 0.1
# How long a statement that was told to end is waited for.
LAST_WORDS = 0.7


class ClickhouseError(SourceError):
    """ClickHouse refused a statement. `code` is its number for why, 0 when it did not answer; `scope` is "store" or
    "server" when every other statement would fare the same."""

    def __init__(self, what: str, explained: Explained) -> None:
        super().__init__(f"{what}: {explained.said}", explained.remedy)
        self.code = explained.code
        self.scope = explained.scope


class UnreachableError(SourceError):
    """ClickHouse did not answer at all."""


class Server:
    """The server `settings` name. Safe to use from several threads.

    Raises, as every method does, ClickhouseError and UnreachableError.
    """

    def __init__(self, settings: ClickhouseSettings, mask: Mask) -> None:
        self.mask = mask
        self._settings = settings
        self._clients: dict[int, Client] = {}
        self._lock = threading.Lock()
        if settings.password:
            mask.add([settings.password])
        self.version = str(self._client(ANSWER).server_version)
        if version_of(self.version) < OLDEST:
            raise SourceError(f"ClickHouse is {self.version}", "its own backups are usable from 23.8 on: upgrade it")

    @property
    def address(self) -> str:
        """Where it is, for people."""
        return self._settings.url

    def rows(self, sql: str, parameters: Mapping[str, object] | None = None) -> list[dict[str, Any]]:
        """The rows of a small question, each by column. `{name:Type}` in it is filled from `parameters`."""
        with self._errors("a question was not answered"):
            result = self._client(ANSWER).query(sql, parameters=dict(parameters or {}))
            return [dict(row) for row in result.named_results()]

    def value(self, sql: str, parameters: Mapping[str, object] | None = None) -> Any:
        """The first column of the first row; None when there is no row."""
        return next((next(iter(row.values())) for row in self.rows(sql, parameters)), None)

    def run(self, sql: str, *, of: str, settings: Mapping[str, object] | None = None, query_id: str = "") -> None:
        """A statement that ends soon. `of` says for people what it does; settings the server does not know are left
        out."""
        with self._errors(of):
            self._command(self._client(ANSWER), sql, settings, query_id)

    def run_long(
        self, sql: str, *, of: str, stop: threading.Event, settings: Mapping[str, object] | None = None
    ) -> list[dict[str, Any]]:
        """A statement that may take hours; the rows of one that ends in FORMAT JSONEachRow. Raises StoppedError soon
        after `stop` is set, having told the server to end it."""
        query_id = f"watchkeeper-{secrets.token_hex(8)}"
        ended = threading.Event()
        outcome: list[bytes | BaseException] = []

        def work() -> None:
            try:
                with self._errors(of):
                    client = self._client(LONG)
                    chosen = self._known(client, settings) | {"query_id": query_id}
                    # Not query(): it knows only some kinds of statements to have rows.
                    outcome.append(client.raw_query(sql, settings=chosen))
            except BaseException as error:  # noqa: BLE001  # a thread's outermost boundary: raised again below
                outcome.append(error)
            ended.set()

        threading.Thread(target=work, name=of, daemon=True).start()
        while not ended.wait(TICK):
            if stop.is_set():
                self.kill(query_id)
                ended.wait(LAST_WORDS)  # so that what it wrote can be taken back, and nothing comes after that
                raise StoppedError("told to stop")
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return [json.loads(line) for line in outcome[0].splitlines()] if sql.endswith("FORMAT JSONEachRow") else []

    def kill(self, *query_ids: str) -> None:
        """Tells the server to end these queries, without waiting; what is not there is no error, nor is a failure."""
        ids = ", ".join("'" + one.replace("\\", "").replace("'", "") + "'" for one in query_ids if one)
        with contextlib.suppress(SourceError):
            self.run(f"KILL QUERY WHERE query_id IN ({ids}) ASYNC", of="ending a query")

    def uptime(self) -> int:
        """Seconds since the server started."""
        return int(self.value("SELECT uptime() AS uptime"))

    def knows(self, setting: str) -> bool:
        """Whether the server has a setting."""
        return setting in self._client(ANSWER).server_settings

    def close(self) -> None:
        """Lets go of connections. Never raises."""
        with self._lock:
            clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            with contextlib.suppress(OSError):
                client.close()

    def _client(self, timeout: int) -> "Client":
        """The client with this long for an answer, made when it is first needed."""
        with self._lock:
            if timeout not in self._clients:
                with self._errors(f"ClickHouse at {self.address} cannot be used"):
                    self._clients[timeout] = self._connect(timeout)
            return self._clients[timeout]

    def _connect(self, timeout: int) -> "Client":
        # 0.15 s to import, which only those who back ClickHouse up shall pay.
        from clickhouse_connect import get_client
        from clickhouse_connect.driver.httputil import get_pool_manager

        # What they log is in the error as well, in better words.
        for noisy in ("urllib3.connectionpool", "clickhouse_connect"):
            logging.getLogger(noisy).setLevel(logging.ERROR)
        url = urlsplit(self._settings.url)
        tls = url.scheme == "https"
        return get_client(
            interface="https" if tls else "http",
            host=url.hostname,
            port=url.port or (8443 if tls else 8123),
            proxy_path=url.path.strip("/"),
            username=self._settings.user,
            password=self._settings.password.reveal() if self._settings.password else "",
            database="",  # a missing CLICKHOUSE_DB stops no backup
            compress=False,
            query_retries=0,
            autogenerate_session_id=False,  # one session takes one query at a time
            connect_timeout=CONNECT,
            send_receive_timeout=timeout,
            # One of our own, so that no proxy of the environment comes between.
            pool_mgr=get_pool_manager(ca_cert=os.environ.get("SSL_CERT_FILE"), retries=0),
        )

    def _command(self, client: "Client", sql: str, settings: Mapping[str, object] | None, query_id: str) -> None:
        chosen = self._known(client, settings)
        client.command(sql, settings=chosen | ({"query_id": query_id} if query_id else {}))

    def _known(self, client: "Client", settings: Mapping[str, object] | None) -> dict[str, object]:
        return {name: value for name, value in (settings or {}).items() if name in client.server_settings}

    @contextlib.contextmanager
    def _errors(self, what: str) -> Any:
        from clickhouse_connect.driver.exceptions import ClickHouseError
        from urllib3.exceptions import HTTPError

        try:
            yield
        except (ClickHouseError, HTTPError, OSError) as error:
            explained = explain(str(error), self.mask, getattr(error, "code", None))
            if explained.code:
                raise ClickhouseError(what, explained) from None
            raise UnreachableError(
                f"{what}: {explained.said}", "check CLICKHOUSE_URL, that ClickHouse runs and that this is its HTTP port"
            ) from None


def wait_for(server: Server, stop: threading.Event, patience: float) -> bool:
    """Waits until the server answers, at most `patience` seconds. Gives whether it does."""
    end = time.monotonic() + patience
    while time.monotonic() < end and not stop.wait(TICK):
        with contextlib.suppress(UnreachableError):
            server.uptime()
            return True
    return False


def version_of(text: str) -> tuple[int, ...]:
    """The first two numbers of a version."""
    numbers: Sequence[str] = text.split(".")[:2]
    return tuple(int(number) if number.isdecimal() else 0 for number in numbers)
