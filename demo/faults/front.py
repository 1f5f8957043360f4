"""TLS in front of a PostgreSQL that was built without: asked for it as PostgreSQL is, with a certificate of our own."""

import asyncio
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme

from demo.contract import LoopThread

SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


class Front:
    """Listens on 127.0.0.1, takes TLS where it is asked for, and hands everything on to `port`."""

    def __init__(self, port: int) -> None:
        self._behind = port
        self._loop = LoopThread()
        self._authority = trustme.CA(organization_name="Watchkeeper's fault matrix")
        self._server: asyncio.Server | None = None
        self.port = 0
        self._tls = self._context(days=400)

    def start(self) -> "Front":
        """Listens from now on, at `port`."""
        self._loop.call(self._open())
        return self

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Lets go of the port."""
        self._loop.call(self._close())
        self._loop.stop()

    async def _close(self) -> None:
        if self._server:
            self._server.close()

    def show(self, *, days: int) -> None:
        """From now on the certificate is one that ends in so many days."""
        self._tls = self._context(days=days)

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

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        outer = None
        try:
            first = await reader.readexactly(len(SSL_REQUEST))
            if first == SSL_REQUEST:
                writer.write(b"S")
                await writer.drain()
                await writer.start_tls(self._tls)
                first = b""
            inner, outer = await asyncio.open_connection("127.0.0.1", self._behind)
            outer.write(first)
            pipes = [asyncio.create_task(pipe) for pipe in (_pipe(reader, outer), _pipe(inner, writer))]
            await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
            for pipe in pipes:
                pipe.cancel()
        except (OSError, EOFError):
            pass  # one side left, or PostgreSQL is not there
        finally:
            for end in (writer, outer):
                if end:
                    end.transport.abort()


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass  # one side left; the other is told by the end of the connection
