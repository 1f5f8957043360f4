"""What the fault matrix puts beside the stack: a door with TLS, and a name server."""

import contextlib
import socket
import socketserver
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from demo.faults.front import SSL_REQUEST, Front
from demo.faults.names import Names
from demo.faults.nameserver import NameServer
from demo.process import DemoError, clean_environ

UNSURE = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
UNSURE.check_hostname, UNSURE.verify_mode = False, ssl.CERT_NONE


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(1024):
            self.request.sendall(data)


@pytest.fixture
def front() -> Iterator[Front]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as echo:
        echo.daemon_threads = True
        thread = threading.Thread(target=echo.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        one = Front(echo.server_address[1]).start()
        yield one
        one.stop()
        echo.shutdown()
        thread.join()


def dial(front: Front) -> socket.socket:
    return socket.create_connection(("127.0.0.1", front.port), timeout=5)


def said_over_tls(front: Front) -> tuple[bytes, datetime]:
    """What comes back of 30 kB sent over TLS, asked for as PostgreSQL's clients do, and when the certificate ends."""
    with dial(front) as plain:
        plain.sendall(SSL_REQUEST)
        assert plain.recv(1) == b"S"
        with UNSURE.wrap_socket(plain) as secured:
            ends = x509.load_der_x509_certificate(secured.getpeercert(binary_form=True) or b"").not_valid_after_utc
            sender = threading.Thread(target=secured.sendall, args=(b"x" * 30_000,))
            sender.start()
            back = b""
            while len(back) < 30_000:
                back += secured.recv(65_536)
            sender.join()
            return back, ends


def test_the_door_takes_tls_where_it_is_asked_for_and_shows_the_certificate_it_is_told(front: Front) -> None:
    back, ends = said_over_tls(front)
    assert back == b"x" * 30_000
    assert ends > datetime.now(UTC)
    front.show(days=-1)
    assert said_over_tls(front)[1] < datetime.now(UTC)


def test_the_door_hands_plain_text_on_and_can_be_shut_and_opened(front: Front) -> None:
    with dial(front) as plain:
        plain.sendall(b"plain text, more than eight bytes")
        assert plain.recv(8) == b"plain te"
    front.pause()
    with pytest.raises(ConnectionRefusedError):
        dial(front)
    front.resume()
    dial(front).close()


def test_the_name_server_answers_questions_and_lives_through_noise() -> None:
    server = NameServer("127.0.0.1", {"a.internal": ("127.0.0.1",)}, port=0).start()
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as asker:
        asker.settimeout(5)
        asker.connect(server.server_address)
        asker.send(b"noise")
        question = b"\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x08internal\x00\x00\x01\x00\x01"
        asker.send(question)
        said = asker.recv(512)
        assert (said[:2], said[-4:]) == (b"\x00\x07", b"\x7f\x00\x00\x01")
        server.names = {}
        asker.send(question)
        assert asker.recv(512)[3] & 15 == 3
    server.stop()


LOOK = """
import socket
for name, family in (("both", "AF_INET"), ("both", "AF_INET6"), ("old", "AF_INET"), ("old", "AF_INET6")):
    try:
        print(name, socket.getaddrinfo(name + ".internal", 1, getattr(socket, family))[0][4][0])
    except socket.gaierror as error:
        print(name, error.errno == socket.EAI_NONAME, error.errno == socket.EAI_NODATA)
"""


def test_a_name_in_the_namespace_has_the_addresses_it_is_given(tmp_path: Path) -> None:
    try:
        names = Names(tmp_path).start()
    except DemoError as problem:
        pytest.skip(f"{problem}")

    def seen() -> list[str]:
        argv = [*names.enter(), sys.executable, "-c", LOOK]
        done = subprocess.run(argv, env=clean_environ(), capture_output=True, text=True, timeout=20, check=True)
        return done.stdout.splitlines()

    try:
        assert seen() == ["both 127.0.0.1", "both ::1", "old False True", "old ::1"]
        names.outages()["names/all"].begin(None)  # type: ignore[arg-type]  # it breaks names alone
        assert seen() == ["both True False"] * 2 + ["old True False"] * 2
    finally:
        names.stop()
