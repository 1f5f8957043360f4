"""ClickHouse's HTTP interface, by us, over the ClickHouse engine of the chdb-core wheel.

    CLICKHOUSE_PASSWORD=… .venv-clickhouse/bin/python -m demo.clickhouse_server --folder F --port P --user U

What it answers follows ClickHouse's own HTTPHandler and HTTPHandlerFactory of 2026. Not there: TLS, compress= and
decompress= (ClickHouse's own framing), external tables, progress headers, more than one user, and a query id of the
client's choice inside the engine (it is echoed only). Runs with the standard library and chdb-core alone.
"""

import argparse
import contextlib
import http.server
import json
import os
import re
import secrets
import signal
import socket
import socketserver
import sys
import threading
import time
import urllib.parse
import uuid
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-not-found]  # in .venv-clickhouse only; chdb-core brings and loads it

from demo.clickhouse_engine import Answer, Engine, Question, clickhouse_error
from demo.clickhouse_wire import (
    HTML,
    NO_HANDLE,
    RESERVED,
    STATUS,
    SUMMARY,
    TEXT,
    Chunks,
    ClickhouseError,
    authenticate,
    content_type,
    error_in_body,
    form_fields,
    is_on,
)

CODECS = ("lz4", "zstd", "gzip")
"""What an answer may be compressed with, the one we like best first."""


class Server(socketserver.ThreadingTCPServer):
    """One listening socket; every connection has a thread."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], engine: Engine, user: str, password: str) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.engine = engine
        self.user = user
        self.password = password
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        """An IPv6 socket takes IPv6 only: 127.0.0.1 has one of its own."""
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = 30
    disable_nagle_algorithm = True
    wbufsize = -1
    server: Server

    def do_GET(self) -> None:
        """A query that may only read, or a health check."""
        self._body()  # none is expected, but what came must not be taken for the next request
        url = urllib.parse.urlsplit(self.path)
        if url.path in {"/ping", "/replicas_status"}:
            self._plain(200, "Ok.\n", HTML if url.path == "/ping" else TEXT)
        elif url.query:
            self._query(url.query, b"", readonly=True)
        elif url.path == "/":
            self._plain(200, "Ok.\n", HTML)
        else:
            self._plain(404, NO_HANDLE.format(path=url.path), TEXT)

    def do_HEAD(self) -> None:
        """As GET, without the body."""
        self.do_GET()

    def do_POST(self) -> None:
        """A query."""
        body = self._body()
        url = urllib.parse.urlsplit(self.path)
        if url.path in {"/ping", "/replicas_status"}:
            self._plain(200, "Ok.\n", HTML if url.path == "/ping" else TEXT)
        else:
            self._query(url.query, body, readonly=False)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self._exactly(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := self._chunk_size():
            pieces.append(self._exactly(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass  # trailers
        return b"".join(pieces)

    def _chunk_size(self) -> int:
        line = self.rfile.readline()
        if not line:
            raise ConnectionAbortedError("the client left before its body was whole")
        return int(line.split(b";")[0], 16)

    def _exactly(self, size: int) -> bytes:
        """Half an INSERT must not be taken for a whole one."""
        data = self.rfile.read(size)
        if len(data) < size:
            raise ConnectionAbortedError("the client left before its body was whole")
        return data

    def _query(self, query: str, body: bytes, *, readonly: bool) -> None:
        self._started = time.monotonic_ns()
        self._head_sent = False
        self._tag = secrets.token_hex(8)
        try:
            parameters = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
            self._query_id = (
                parameters.get("query_id") or self.headers.get("X-ClickHouse-Query-Id") or str(uuid.uuid4())
            )
            authenticate(self.headers, parameters, self.server.user, self.server.password)
            body = self._plain_body(body)
            if self.headers.get_content_type() == "multipart/form-data":
                parameters |= form_fields(self.headers["Content-Type"], body)
                body = b""
            question = self._question(parameters, body, readonly=readonly)
            with self.server.engine.answer(question) as answer:
                self._send_answer(answer, self._codec(parameters))
        except ClickhouseError as error:
            self._send_error(error)

    def _plain_body(self, body: bytes) -> bytes:
        """The body without its Content-Encoding."""
        encoding = self.headers.get("Content-Encoding", "identity").lower()
        if encoding == "identity" or not body:
            return body
        try:
            if encoding == "deflate":
                return zlib.decompress(body)
            with pa.CompressedInputStream(pa.BufferReader(body), {"br": "brotli"}.get(encoding, encoding)) as s:
                return bytes(s.read())
        except (OSError, ValueError, zlib.error) as error:
            raise ClickhouseError(89, "UNKNOWN_COMPRESSION_METHOD", f"Content-Encoding {encoding}: {error}") from error

    def _question(self, parameters: dict[str, str], body: bytes, *, readonly: bool) -> Question:
        if is_on(parameters, "compress") or is_on(parameters, "decompress"):
            raise ClickhouseError(48, "NOT_IMPLEMENTED", "compress and decompress: use Accept-Encoding instead")
        start = parameters.get("query", "").encode()
        return Question(
            sql=start + b"\n" + body if start and body else start or body,
            database=self.headers.get("X-ClickHouse-Database") or parameters.get("database", ""),
            settings={k: v for k, v in parameters.items() if k not in RESERVED and not k.startswith("param_")},
            parameters={k.removeprefix("param_"): v for k, v in parameters.items() if k.startswith("param_")},
            default_format=self.headers.get("X-ClickHouse-Format")
            or parameters.get("default_format")
            or "TabSeparated",
            readonly=readonly or parameters.get("readonly", "0") != "0",
            stream=not is_on(parameters, "wait_end_of_query"),
            session=parameters.get("session_id", ""),
            session_timeout=_session_timeout(parameters.get("session_timeout", "60")),
            session_check=is_on(parameters, "session_check"),
        )

    def _codec(self, parameters: Mapping[str, str]) -> str | None:
        """What to compress the answer with; nothing unless both the header and the setting ask for it."""
        if not is_on(parameters, "enable_http_compression"):
            return None
        accepted = {part.split(";")[0].strip() for part in self.headers.get("Accept-Encoding", "").split(",")}
        return next((codec for codec in CODECS if codec in accepted), None)

    def _send_answer(self, answer: Answer, codec: str | None) -> None:
        first = next(answer.body, b"")
        self._head(200, content_type(answer.format), answer.summary)
        if answer.format is not None:
            self.send_header("X-ClickHouse-Format", answer.format)
        self.send_header("X-ClickHouse-Timezone", self.server.engine.timezone)
        if codec and first:
            self.send_header("Content-Encoding", codec)
        chunks = self._start_body()
        if self.command == "HEAD":
            return
        with contextlib.ExitStack() as ends:
            out: Any = chunks
            if codec and first:
                out = ends.enter_context(pa.CompressedOutputStream(pa.PythonFile(chunks, mode="w"), codec))
            out.write(first)
            try:
                for piece in answer.body:
                    out.write(piece)
                    self.wfile.flush()
            except RuntimeError as error:
                out.write(error_in_body(str(clickhouse_error(str(error))), self._tag))
                raise
        chunks.end()

    def _send_error(self, error: ClickhouseError) -> None:
        if self._head_sent:  # the last chunk is never sent, so that no client takes the answer for whole
            self.close_connection = True
            return
        self._head(STATUS.get(error.name, 500), TEXT, {})
        self.send_header("X-ClickHouse-Exception-Code", str(error.code))
        text = f"{error} (version {self.server.engine.version} (official build))\n".encode()
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _head(self, status: int, media: str, summary: Mapping[str, int]) -> None:
        self._status(status, media)
        self.send_header("X-ClickHouse-Server-Display-Name", self.server.engine.name)
        self.send_header("X-ClickHouse-Query-Id", re.sub(r"[^!-~]", "?", self._query_id))
        self.send_header("X-ClickHouse-Exception-Tag", self._tag)
        known = dict(summary) | {"elapsed_ns": time.monotonic_ns() - self._started}
        self.send_header(
            "X-ClickHouse-Summary",
            json.dumps({name: str(known.get(name, 0)) for name in SUMMARY}, separators=(",", ":")),
        )

    def _start_body(self) -> Chunks:
        chunked = self.request_version != "HTTP/1.0"
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.close_connection = True
        self.end_headers()
        self._head_sent = True
        return Chunks(self.wfile.write, chunked=chunked)

    def _plain(self, status: int, text: str, media: str) -> None:
        self._status(status, media)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text.encode())

    def _status(self, status: int, media: str) -> None:
        self.send_response_only(status)
        self.send_header("Date", self.date_time_string())
        self.send_header("Connection", "close" if self.close_connection else "Keep-Alive")
        self.send_header("Content-Type", media)
        self.send_header("Keep-Alive", f"timeout={self.timeout}")

    def log_message(self, *_: object) -> None:
        """No access log: the engine keeps system.query_log."""


def _session_timeout(text: str) -> int:
    if not text.isdecimal() or int(text) > 3600:
        raise ClickhouseError(374, "INVALID_SESSION_TIMEOUT", f"Invalid session timeout: '{text}'")
    return int(text)


def main() -> None:
    """Serves until SIGTERM or SIGINT, then ends within a second."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the data is kept")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--listen", action="append", help="an address; may be repeated (default 127.0.0.1)")
    parser.add_argument("--user", default="default", help="its password is read from CLICKHOUSE_PASSWORD")
    parser.add_argument("--memory", type=int, default=0, help="bytes that all queries share; 0: no such limit")
    parser.add_argument("--keep-free", type=int, default=0, help="bytes of the disk that stay free, whatever comes")
    arguments = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    limits = {"memory": arguments.memory, "keep_free": arguments.keep_free}
    engine = Engine(arguments.folder, name="demo-clickhouse", **limits)
    password = os.environ.get("CLICKHOUSE_PASSWORD", "")
    for host in arguments.listen or ["127.0.0.1"]:
        server = Server((host, arguments.port), engine, arguments.user, password)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"ClickHouse {engine.version} answers on port {arguments.port}", flush=True)
    stop.wait()
    engine.interrupt()
    closing = threading.Thread(target=engine.close, daemon=True)
    closing.start()
    closing.join(0.8)
    os._exit(0)  # a query that will not stop must not hold the process; committed parts are on disk already


if __name__ == "__main__":
    main()
