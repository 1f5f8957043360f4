"""Stores for the backup tests: a folder, SeaweedFS and, where a `minio` binary is on PATH, MinIO; a proxy that breaks
what passes through it; and `python -m backup` without the time its imports take."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from backup.storage.base import Storage
from backup.storage.folder import FolderStorage
from backup.storage.table import open_storage
from config.backup_store import StoreSettings
from config.secret import Secret
from demo.seaweedfs import Seaweedfs


def settings_of(server: Any, **changes: Any) -> StoreSettings:
    """Settings for a store that has `port`, `access_key` and `secret_key`, under a prefix of the test's own."""
    made = StoreSettings(
        endpoint=f"127.0.0.1:{server.port}",
        access_key=Secret(server.access_key),
        secret_key=Secret(server.secret_key),
        bucket="backups",
        prefix=f"test-{uuid4().hex[:12]}",
    )
    return replace(made, **changes)


@pytest.fixture
def s3_settings(seaweedfs: Seaweedfs) -> StoreSettings:
    """Settings for the shared SeaweedFS, under a prefix of the test's own."""
    return settings_of(seaweedfs)


@pytest.fixture(params=["folder", "seaweedfs", "minio"])
def any_settings(request: pytest.FixtureRequest, tmp_path: Path) -> StoreSettings:
    """Settings for each kind of store."""
    if request.param == "folder":
        return StoreSettings(folder=tmp_path / "backups", prefix="test")
    return settings_of(request.getfixturevalue(request.param))


@pytest.fixture
def any_storage(any_settings: StoreSettings) -> Iterator[Storage]:
    """Each kind of store, opened."""
    storage = open_storage(any_settings)
    yield storage
    storage.close()


@dataclass
class Fault:
    """What the proxy does to a request: it answers `status` with `code`, or `how`: "reset", "hang", "after" (passes it
    on and loses the answer), "cut" (gives half of the answer), "ignore" (takes the condition off)."""

    status: int = 0
    code: str = ""
    how: str = "answer"
    body: bytes | None = None
    content_type: str = "application/xml"


@dataclass
class Proxy:
    """Passes requests on to `port`; `faults(count, method, path)` may give a Fault for the count-th one."""

    target: int
    faults: Callable[[int, str, str], Fault | None] = lambda *_: None
    seen: list[tuple[str, str]] = field(default_factory=list)
    port: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    release: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # http.server's own name
        pass

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        with self.proxy.lock:
            self.proxy.seen.append((self.command, self.path.partition("?")[0]))
            fault = self.proxy.faults(len(self.proxy.seen), self.command, self.path)
        if fault is not None and fault.how == "ignore":
            del self.headers["If-None-Match"]
            fault = None
        if fault is None or fault.how in ("after", "cut"):
            self._pass_on(body, fault)
        elif fault.how == "reset":
            self._reset()
        elif fault.how == "hang":
            self.proxy.release.wait(30)
            self._reset()
        else:
            self._answer(fault)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = handle_any  # noqa: N815  # http.server's own names

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.connection.close()
        self.close_connection = True

    def _answer(self, fault: Fault) -> None:
        body = fault.body
        if body is None:
            body = f"<Error><Code>{fault.code}</Code><Message>broken by the test</Message></Error>".encode()
        self.send_response(fault.status)
        self.send_header("Content-Type", fault.content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _pass_on(self, body: bytes, fault: Fault | None) -> None:
        """Passes the request on. With a fault "after", what the store answered is lost; with "cut", half of it is."""
        connection = HTTPConnection("127.0.0.1", self.proxy.target, timeout=20)
        try:
            connection.request(self.command, self.path, body=body, headers=dict(self.headers.items()))
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, HTTPException):
            self._reset()
            return
        finally:
            connection.close()
        if fault is not None and fault.how == "after":
            self._reset()
            return
        self.send_response_only(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(data))
        self.send_header("Content-Length", length or "0")
        self.end_headers()
        if fault is not None:
            self.wfile.write(data[: len(data) // 2])
            self._reset()
        elif self.command != "HEAD":
            self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that the test broke is no news."""


@pytest.fixture
def proxy(seaweedfs: Seaweedfs) -> Iterator[Proxy]:
    """A proxy before the shared SeaweedFS."""
    made = Proxy(target=seaweedfs.port)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": made}))
    made.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield made
    made.release.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def proxied(proxy: Proxy, seaweedfs: Seaweedfs) -> StoreSettings:
    """Settings that lead through the proxy."""
    return settings_of(seaweedfs, endpoint=f"127.0.0.1:{proxy.port}")


@pytest.fixture
def folder(tmp_path: Path) -> FolderStorage:
    """A folder store."""
    return FolderStorage(tmp_path / "backups")


@pytest.fixture
def fault() -> type[Fault]:
    """Makes faults for the proxy."""
    return Fault


class Child:
    """A program that runs: what subprocess.Popen has, as far as tests need it."""

    def __init__(self, warm: "Warm", pid: int, out: Path, err: Path) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._warm, self._out, self._err = warm, out, err

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        if self.returncode is None:
            self.returncode = self._warm.ask({"poll": self.pid})
        return self.returncode

    def wait(self, timeout: float = 90) -> int:
        """Its exit code, once it has ended."""
        deadline = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("backup", timeout)
            time.sleep(0.01)
        return code

    def communicate(self, timeout: float = 90) -> tuple[str, str]:
        """Its output and its errors, once it has ended; a file each, so that no pipe can be full."""
        self.wait(timeout)
        return self._out.read_text(), self._err.read_text()

    def send_signal(self, number: int) -> None:
        """To it, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Warm:
    """Starts `python -m backup …` from a process that has made its imports (warm.py)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("warm.py"))],
            env={"PATH": os.environ["PATH"]},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def start(self, words: Sequence[str], environ: Mapping[str, str], folder: Path) -> Child:
        """Starts it with this environment alone, in `folder`."""
        self._count += 1
        out, err = (self._folder / f"{self._count}.{name}" for name in ("out", "err"))
        request = {"words": words, "environ": dict(environ), "folder": str(folder), "out": str(out), "err": str(err)}
        return Child(self, self.ask(request), out, err)

    def ask(self, request: Mapping[str, Any]) -> Any:
        """One answer."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin
        assert stdout
        stdin.write(f"{json.dumps(request)}\n")
        stdin.flush()
        return json.loads(stdout.readline())

    def close(self) -> None:
        """Ends it."""
        self._process.communicate()


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """One for each worker."""
    made = Warm(tmp_path_factory.mktemp("warm"))
    yield made
    made.close()
