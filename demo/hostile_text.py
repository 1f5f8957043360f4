"""Hostile servers of the protocols that are text: HTTP/1.1, and Redis's."""

import json
from collections.abc import Iterator

from demo.hostile import LINE, Attack, endless, said


def page(body: bytes, status: int = 200, kind: str = "application/json", *headers: bytes) -> bytes:
    """An HTTP answer."""
    length = b"content-length: %d" % len(body)
    lines = [b"HTTP/1.1 %d Whatever" % status, b"content-type: " + kind.encode(), length, *headers]
    return LINE.join(lines) + LINE * 2 + body


def _head(*lines: bytes) -> bytes:
    return LINE.join((b"HTTP/1.1 200 OK", b"content-type: application/json", *lines)) + LINE * 2


_CHUNKED = _head(b"transfer-encoding: chunked")
_DEEP = 100_000
_BODIES: dict[str, bytes] = {
    "deep lists": b"[" * _DEEP,
    "deep lists that end": b"[" * 3_000 + b"]" * 3_000,
    "deep objects": b'{"a":' * _DEEP,
    "deep data": b'{"data":' * 900 + b"1" + b"}" * 900,
    "a number too long": b"9" * 50_000,
    "no number": b'{"data": NaN, "status": Infinity, "choices": -Infinity}',
    "half": b'{"data": [{"id": "a"',
    "no UTF-8": b'{"status":"\xff\xfe","data":[{"id":"\xc3\x28"}]}',
    "half a character": b'{"status":"\\ud800","message":"\\udfff","data":[{"id":"\\ud83d"}]}',
    "signs that draw": json.dumps({"error": {"message": "\x1b[2J\u202e\x00"}, "message": "\u200b" * 500}).encode(),
    "a bomb of XML": b'<?xml version="1.0"?><!DOCTYPE l [<!ENTITY a "a"><!ENTITY b "&a;&a;">]><Error><Code>&b;</Code>',
    "XML without end": b"<Error>" * 2_000,
    "tabs": b"\t".join([b"1"] * 500),
    "an exception": b"Code: 99999999999999999999. DB::Exception: \xff\x00" + b"x" * 9_000,
}
_TYPES = ("null", "true", "[]", "{}", '""', "-1", "1e999", '"x"', "[null]", "[[]]", "[1,2]", '{"data":null}')
_KEYS = (
    "data",
    "choices",
    "result",
    "results",
    "status",
    "error",
    "eventPropagation",
    "message",
    "usage",
    "collections",
)


def _wrong_types() -> Iterator[tuple[str, bytes]]:
    for value in _TYPES:
        yield value, value.encode()
        yield f"everything is {value}", ("{" + ", ".join(f'"{key}": {value}' for key in _KEYS) + "}").encode()


HTTP: tuple[Attack, ...] = (
    *(
        said(f"{status} with {name}", page(body, status))
        for status, (name, body) in zip(
            (200, 200, 500, 200, 401, 200, 503, 200, 207, 400, 403, 404, 200, 500), _BODIES.items(), strict=True
        )
    ),
    *(said(f"{status} with {name}", page(body, status)) for status in (200, 401) for name, body in _wrong_types()),
    said("half a status line", b"HTTP/1.1 2"),
    said("half a status line that waits", b"HTTP/1.1 2", end="hold"),
    said("status 99999", b"HTTP/1.1 99999 OK\r\n\r\n"),
    said("a header with NUL", b"HTTP/1.1 200 OK\r\nx: a\x00b\r\n\r\n"),
    said("bytes in headers", _head(b"date: \xff\xfe", b"content-encoding: \xc3\x28", b"x-minio-server-status: \xe9")),
    said("headers that are no numbers", page(b"", 404, "x", b"x-clickhouse-exception-code: abc", b"retry-after: x")),
    said("two lengths", _head(b"content-length: 1", b"content-length: 2")),
    said("a length that is too long", _head(b"content-length: 99999999999999999999") + b"{}", end="hold"),
    said("a chunk of negative length", _CHUNKED + b"-1\r\nx\r\n"),
    said("a chunk of no length", _CHUNKED + b"zz\r\nx\r\n"),
    said("a chunk that is too long", _CHUNKED + b"f" * 40 + LINE),
    said("a chunk that is cut", _CHUNKED + b"5\r\nab"),
    said("chunks and a length", _head(b"transfer-encoding: chunked", b"content-length: 3") + b"3\r\n{}\n\r\n0\r\n\r\n"),
    said("no compression that is known", page(b"{}", 200, "application/json", b"content-encoding: br, gzip, x")),
    said("a compression that is a lie", page(b"{}", 200, "application/json", b"content-encoding: gzip")),
    said("an interim flood", b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000),
    said("redirects to nowhere", page(b"", 302, "text/html", b"location: http://[::1\x7f/\xff", b"location: x")),
    endless("headers without end", b"HTTP/1.1 200 OK\r\n", again=b"x-y: z\r\n"),
    endless("a header without end", b"HTTP/1.1 200 OK\r\nx: ", again=b"y"),
    endless("interim answers without end", again=b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"),
    endless("a body without end", _head(), again=b"[1,"),
    endless("a body of a length without end", _head(b"content-length: 999999999999999"), again=b" "),
    endless("chunks without end", _CHUNKED, again=b"1\r\n[\r\n"),
    endless("a chunk without end", _CHUNKED + b"7fffffffffff\r\n", again=b"["),
    endless("a chunk's extension without end", _CHUNKED + b"1;", again=b"x"),
)

_INFO = b"redis_version:\xff\r\nused_memory:1e999\r\nmaxmemory:99999999999999999999999\r\nrole:\x1b[31m\r\nrun_id:\r\n"

_REPLIES = (
    b"+PONG\r\n",
    b"$-1\r\n",
    b"$-5\r\nabc\r\n",
    b"*-1\r\n",
    b"*-7\r\n",
    b":1\r\n",
    b":x\r\n",
    b"$5\r\nab\r\n",
    b"$x\r\n",
    b"*2\r\n:1\r\n",
    b"-\r\n",
    b"-ERR \xff\xfe \x1b[2J\r\n",
    b"-NOPERM " + b"x" * 9_000 + b"\r\n",
    b"-MOVED\r\n",
    b"-WRONGPASS canary\r\n",
    b"+\xff\xfe\r\n",
    b"%1\r\n+a\r\n+b\r\n",
    b">1\r\n+x\r\n",
    b"~1\r\n:1\r\n",
    b",inf\r\n",
    b"(99999999999999999999999999\r\n",
    b"#t\r\n",
    b"_\r\n",
    b"=9\r\ntxt:hello\r\n",
    b"$%d\r\n%s\r\n" % (len(_INFO), _INFO),
    b"$9\r\n\x00:\x00\r\n:::\r\n",
    b"*1\r\n*1\r\n*1\r\n*0\r\n",
)
_FLOODS = {
    "an array without end": (b"*2147483647\r\n", b":1\r\n"),
    "arrays without end": (b"", b"*1\r\n"),
    "a bulk without end": (b"$2147483647\r\n", b"x"),
    "a status without end": (b"+", b"x"),
    "an error without end": (b"-ERR ", b"x"),
    "a number without end": (b":", b"1"),
}
_LONG = {
    "an array that is too deep": b"*1\r\n" * _DEEP,
    "a bulk that is too long": b"$99999999999999999999\r\nx",
    "a million lines of INFO": b"$4000000\r\n" + b"a:b\n" * 1_000_000 + b"\r\n",
}
_OK = b"+OK\r\n"

# A login comes first where there is a password: each is tried as its answer, and as that of what is asked after it.
RESP: tuple[Attack, ...] = (
    *(said(f"answers {text[:30]!r}", text * 40) for text in _REPLIES),
    *(said(f"lets in and answers {text[:30]!r}", _OK, text * 40) for text in _REPLIES),
    *(said(f"lets in, answers PING and then {text[:30]!r}", _OK, b"+PONG\r\n" + text * 40) for text in _REPLIES),
    *(said(name, text, end="hold") for name, text in _LONG.items()),
    *(said(f"lets in and answers {name}", _OK, text, end="hold") for name, text in _LONG.items()),
    *(endless(name, first, again=again) for name, (first, again) in _FLOODS.items()),
    *(endless(f"lets in and answers {name}", _OK, first, again=again) for name, (first, again) in _FLOODS.items()),
)
