"""A name server for the daemon: A and AAAA records of a few names, NXDOMAIN for every other."""

import ipaddress
import socket
import socketserver
import struct
import threading
from collections.abc import Mapping
from typing import Self

A, AAAA = 1, 28
NXDOMAIN = 3
Names = Mapping[str, tuple[str, ...]]


class NameServer(socketserver.ThreadingUDPServer):
    """Answers at port 53 of `host`, as that is where the C library asks; `names` may be changed while it runs."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, host: str, names: Names, port: int = 53) -> None:
        super().__init__((host, port), _Question)
        self.names = names
        self._thread = threading.Thread(target=self.serve_forever, args=(0.1,), name="names", daemon=True)

    def start(self) -> Self:
        """Answers from now on."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Lets go of the port."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: object, client_address: object) -> None:
        """What is no question gets no answer."""


class _Question(socketserver.BaseRequestHandler):
    server: NameServer
    request: tuple[bytes, socket.socket]

    def handle(self) -> None:
        data, sock = self.request
        sock.sendto(answer(data, self.server.names), self.client_address)


def answer(data: bytes, names: Names) -> bytes:
    """The answer to one question; ValueError, IndexError or struct.error for what is none."""
    labels, at = [], 12
    while length := data[at]:
        labels.append(data[at + 1 : at + 1 + length].decode("ascii"))
        at += 1 + length
    kind, _ = struct.unpack_from("!HH", data, at + 1)
    addresses = names.get(".".join(labels).lower())
    version = {A: 4, AAAA: 6}.get(kind)
    found = [ipaddress.ip_address(one) for one in addresses or ()]
    records = [
        b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 0, len(one.packed)) + one.packed
        for one in found
        if one.version == version
    ]
    flags = 0x8580 | (NXDOMAIN if addresses is None else 0)
    return data[:2] + struct.pack("!HHHHH", flags, 1, len(records), 0, 0) + data[12 : at + 5] + b"".join(records)
