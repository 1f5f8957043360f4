"""Hostile servers of the protocols that are binary: PostgreSQL's, gRPC's HTTP/2 and TLS."""

import struct

from demo.hostile import Attack, endless, noise, said


def message(kind: bytes, body: bytes, length: int | None = None) -> bytes:
    """One message of PostgreSQL's protocol; `length` may be a lie."""
    return kind + struct.pack("!i", len(body) + 4 if length is None else length) + body


_READY = message(b"Z", b"I")
_WELCOME = message(b"R", bytes(4)) + message(b"S", b"client_encoding\0UTF8\0") + message(b"K", bytes(8)) + _READY
_COLUMN = b"x\0" + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0)
_COLUMNS = message(b"T", struct.pack("!h", 4) + _COLUMN * 4)


def _row(*values: bytes | None) -> bytes:
    parts = [struct.pack("!i", -1) if value is None else struct.pack("!i", len(value)) + value for value in values]
    return message(b"D", struct.pack("!h", len(values)) + b"".join(parts))


_DONE = message(b"C", b"SELECT 1\0") + _READY
_REFUSALS = {
    "an error without an end": message(b"E", b"SFATAL\0C53300\0Mno end"),
    "an error without a text": message(b"E", b"\0"),
    "an error in no UTF-8": message(b"E", b"SFATAL\0C\xff\xfe\0M\xc3\x28\x1b[2J\0\0"),
    "an error that is long": message(b"E", b"SFATAL\0C28P01\0M" + b"x" * 20_000 + b"\0\0"),
    "an error whose length is a lie": message(b"E", b"SFATAL\0", 0x7FFFFFFF),
    "an old error": b"Esomething that is no protocol\0",
    "a message of negative length": message(b"R", b"", -1),
    "no login that is known": message(b"R", struct.pack("!i", 99)),
    "a login that is cut": message(b"R", struct.pack("!i", 5) + b"\x00"),
    "no SASL that is known": message(b"R", struct.pack("!i", 10) + b"SCRAM-MD5\0\xff\0\0"),
    "SASL without names": message(b"R", struct.pack("!i", 10)),
    "SASL in its middle": message(b"R", struct.pack("!i", 11) + b"r=x,s=!!,i=-1"),
    "noise": noise(4),
}
_ANSWERS = {
    "nothing": _DONE,
    "rows without columns": _row(b"1", b"2") + _DONE,
    "too few values": _COLUMNS + _row(b"1") + _DONE,
    "no values": _COLUMNS + _row(None, None, None, None) + _DONE,
    "values of no kind": _COLUMNS + _row(b"1", b"\xff\xfe", b"maybe", b"1e999") + _DONE,
    "a value longer than its row": _COLUMNS + message(b"D", struct.pack("!hi", 1, 99)) + _DONE,
    "a value of negative length": _COLUMNS + message(b"D", struct.pack("!hi", 1, -9)) + _DONE,
    "many columns": message(b"T", struct.pack("!h", 32_767) + _COLUMN * 32_767) + _DONE,
    "fewer columns than told": message(b"T", struct.pack("!h", 9) + _COLUMN),
    "a copy in": message(b"G", b"\0\0\0"),
    "a copy out": message(b"H", b"\0\0\1\0\0") + message(b"d", b"x") * 100,
    "a copy both ways": message(b"W", b"\0\0\0"),
    "an error in no UTF-8": message(b"E", b"SERROR\0C\xff\xff\xff\xff\xff\0M\xc3\x28\0\0") + _READY,
    "an empty query": message(b"I", b"") + _READY,
    "what nobody knows": message(b"~", b"?") + _READY,
    "noise": noise(5),
}

POSTGRES: tuple[Attack, ...] = (
    said("says yes to TLS and then noise", b"S", noise(6)),
    said("says yes to TLS and is silent", b"S", end="hold"),
    said("says neither yes nor no", b"?" * 9, noise(7)),
    *(said(f"refuses with {name}", b"N", words) for name, words in _REFUSALS.items()),
    *(
        said(f"lets in and answers {name}", b"N", _WELCOME, words, words, end="hold")
        for name, words in _ANSWERS.items()
    ),
    said("lets in and answers forty times", b"N", _WELCOME, (_COLUMNS + _row(b"1", b"2", b"3", b"4") + _DONE) * 40),
    endless("parameters without end", b"N", message(b"R", bytes(4)), again=message(b"S", b"a\0" + b"b" * 200 + b"\0")),
    endless("new parameters without end", b"N", message(b"R", bytes(4)) + message(b"S", b"", 0x7FFFFFFF), again=b"x"),
    endless("notices without end", b"N", _WELCOME, again=message(b"N", b"SNOTICE\0Mx\0\0")),
    endless("rows without end", b"N", _WELCOME, _COLUMNS, again=_row(b"1", b"2", b"3", b"x" * 500)),
    endless("a row without end", b"N", _WELCOME, _COLUMNS + message(b"D", b"\0\4", 0x3FFFFFFF), again=b"x"),
    endless("errors without end", b"N", _WELCOME, again=message(b"E", b"SERROR\0C00000\0M" + b"x" * 500 + b"\0\0")),
    endless("an error without end", b"N", _WELCOME, message(b"E", b"SERROR\0M", 0x3FFFFFFF), again=b"x"),
    endless("notifications without end", b"N", _WELCOME, again=message(b"A", bytes(4) + b"a\0" + b"b" * 500 + b"\0")),
)


def frame(kind: int, flags: int, stream: int, body: bytes, length: int | None = None) -> bytes:
    """One frame of HTTP/2; `length` may be a lie."""
    size = len(body) if length is None else length
    return size.to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + body


def _literal(name: bytes, value: bytes) -> bytes:
    """A header as HPACK writes it without a table and without compression; both shorter than 127."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


_SETTINGS = frame(4, 0, 0, b"")
_GRPC = b"\x88" + _literal(b"content-type", b"application/grpc")


def _trailers(*pairs: tuple[bytes, bytes]) -> bytes:
    return frame(1, 5, 1, _GRPC + b"".join(_literal(*pair) for pair in pairs))


HTTP2: tuple[Attack, ...] = (
    *(
        said(f"answers {name}", _SETTINGS + words, end="hold")
        for name, words in {
            "a status of letters": _trailers((b"grpc-status", b"abc")),
            "a status that is too long": _trailers((b"grpc-status", b"9" * 100)),
            "a status in other digits": _trailers((b"grpc-status", "٣²".encode())),
            "a message in no UTF-8": _trailers((b"grpc-status", b"2"), (b"grpc-message", b"%FF%FE%1B[2J%00")),
            "headers in no UTF-8": _trailers((b"grpc-status", b"\xff\xfe")),
            "no headers": frame(0, 1, 1, bytes(5)),
            "data that is too long": frame(1, 4, 1, _GRPC) + frame(0, 1, 1, b"\0\xff\xff\xff\xff\x08\x01"),
            "compressed data": frame(1, 4, 1, _GRPC) + frame(0, 1, 1, b"\1\0\0\0\2\x08\x01"),
            "another message": frame(1, 4, 1, _GRPC) + frame(0, 1, 1, b"\0\0\0\0\2\x10\x99"),
            "another stream": frame(1, 5, 3, _GRPC),
            "a promise": frame(5, 4, 1, (2).to_bytes(4, "big") + _GRPC),
            "headers that do not unpack": frame(1, 5, 1, b"\xff" * 50),
            "windows that are too large": frame(8, 0, 0, b"\x7f\xff\xff\xff") * 3,
            "settings that are no settings": frame(4, 0, 0, b"\0\4\xff\xff\xff\xff"),
            "an end": frame(7, 0, 0, bytes(4) + b"\xff\xff\xff\xff" + b"\xff" * 50),
            "a reset of an unknown kind": frame(3, 0, 1, b"\xff\xff\xff\xff"),
            "a frame that is cut": frame(0, 0, 1, b"x", 16_384),
            "noise": noise(8),
        }.items()
    ),
    endless("settings without end", again=_SETTINGS),
    endless("pings without end", _SETTINGS, again=frame(6, 0, 0, bytes(8))),
    endless("frames nobody knows without end", _SETTINGS, again=frame(99, 0, 0, bytes(100))),
    endless("headers without end", _SETTINGS + frame(1, 0, 1, _GRPC), again=frame(9, 0, 1, _literal(b"a", b"b" * 90))),
    endless("data without end", _SETTINGS + frame(1, 4, 1, _GRPC), again=frame(0, 0, 1, bytes(1_000))),
    endless("interim headers without end", _SETTINGS, again=frame(1, 4, 1, _literal(b":status", b"103"))),
)

TLS: tuple[Attack, ...] = (
    said("half a record", b"\x16\x03\x03\x40\x00\x02", end="hold"),
    said("half a record and the end", b"\x16\x03\x03\x40\x00\x02"),
    said("a hello of noise", b"\x16\x03\x03\x02\x00\x02\x00\x01\xfc\x03\x03" + noise(9, 505), end="hold"),
    said("an alert", b"\x15\x03\x03\x00\x02\x02\x28"),
    said("an alert that nobody knows", b"\x15\x03\x03\x00\x02\x07\xff", end="hold"),
    said("data before any hello", b"\x17\x03\x03\x00\x05hello", end="hold"),
    said("a record that is too long", b"\x16\x03\x03\xff\xff" + bytes(70_000), end="hold"),
    said("a version that nobody knows", b"\x16\x09\x09\x00\x04\x02\x00\x00\x00", end="hold"),
    endless("handshakes without end", again=b"\x16\x03\x03\x00\x04\x02\x00\x00\x00"),
    endless("a handshake without end", b"\x16\x03\x03\x40\x00\x02\xff\xff\xff", again=b"\x00"),
    endless("alerts without end", again=b"\x15\x03\x03\x00\x02\x01\x00"),
)
