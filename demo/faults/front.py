"""A door before a server: TLS before a PostgreSQL that was built without, or the usual port on another address."""

import contextlib
import select
import socket
import socketserver
import ssl
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


class Front(socketserver.ThreadingTCPServer):
    """Listens on `place`, takes TLS where it is asked for as PostgreSQL is, and hands everything on to `behind`."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, behind: int, place: tuple[str, int] = ("127.0.0.1", 0)) -> None:
        super().__init__(place, _Connection)
        self.port: int = self.server_address[1]
        self.behind = behind
        self._authority = trustme.CA(organization_name="Watchkeeper's fault matrix")
        self._thread = self._serving()
        self.tls = self._context(days=400)

    def start(self) -> "Front":
        """Takes connections from now on, at `port`."""
        self._thread.start()
        return self

    def _serving(self) -> threading.Thread:
        return threading.Thread(target=self.serve_forever, args=(0.1,), name="front", daemon=True)

    def stop(self) -> None:
        """Lets go of the port."""
        self.shutdown()
        self.server_close()

    def pause(self) -> None:
        """Refuses connections until `resume`; what is open ends with its client."""
        self.shutdown()
        self.socket.close()

    def resume(self) -> None:
        """Takes connections again, at the same port."""
        self.socket = socket.create_server(self.server_address[:2])
        self._thread = self._serving()
        self._thread.start()

    def show(self, *, days: int) -> None:
        """From now on the certificate is one that ends in so many days."""
        self.tls = self._context(days=days)

    def handle_error(self, request: object, client_address: object) -> None:
        """One side left, or PostgreSQL is not there; nobody here is to be told."""

    def _context(self, *, days: int) -> ssl.SSLContext:
        now = datetime.now(UTC)
        leaf = self._authority.issue_cert(
            "localhost", not_before=now - timedelta(days=820), not_after=now + timedelta(days=days)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.TemporaryDirectory() as folder:  # OpenSSL reads certificates from files only
            path = Path(folder) / "server.pem"
            path.touch(mode=0o600)
            path.write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
            context.load_cert_chain(path)
        return context


class _Connection(socketserver.BaseRequestHandler):
    server: Front
    request: socket.socket

    def handle(self) -> None:
        first = self.request.recv(len(SSL_REQUEST), socket.MSG_WAITALL)
        if first != SSL_REQUEST:
            self._pass_on(self.request, first)
            return
        self.request.sendall(b"S")
        with self.server.tls.wrap_socket(self.request, server_side=True) as secured:
            self._pass_on(secured, b"")

    def _pass_on(self, outer: socket.socket, first: bytes) -> None:
        """Copies both ways until one side ends."""
        with socket.create_connection(("127.0.0.1", self.server.behind)) as inner, contextlib.suppress(OSError):
            inner.sendall(first)
            while True:
                waiting = isinstance(outer, ssl.SSLSocket) and outer.pending()
                for side in [outer] if waiting else select.select([outer, inner], [], [])[0]:
                    data = side.recv(65_536)
                    if not data:
                        return
                    (inner if side is outer else outer).sendall(data)
