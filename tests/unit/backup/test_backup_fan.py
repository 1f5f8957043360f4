"""A script of pg_restore, read in pieces of any size, is what it was."""

import io
from typing import IO, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backup.postgres.fan import Script, Table

HEAD = """--
-- PostgreSQL database dump
--

\\restrict x;y

SET client_encoding = 'UTF8';
SELECT pg_catalog.set_config('search_path', '', false);
"""


class Dribble(io.RawIOBase):
    """A stream that gives its bytes a few at a time, as a pipe may."""

    def __init__(self, data: bytes, size: int) -> None:
        self.data, self.size = data, size

    def read(self, _size: int = -1) -> bytes:
        part, self.data = self.data[: self.size], self.data[self.size :]
        return part


def read(data: bytes, size: int) -> list[Any]:
    stream: IO[bytes] = Dribble(data, size)  # type: ignore[assignment]  # all that is read from it is read()
    joined: list[Any] = []
    for part in Script(stream):
        if isinstance(part, bytes) and joined and isinstance(joined[-1], bytes):
            joined[-1] += part
        else:
            joined.append(part)
    return joined


ROW = st.text(alphabet="ab\\\t.;'\"-", max_size=12).map(
    lambda text: text.replace("\\", "\\\\").encode() + b"\n"  # as COPY writes a backslash
)


@given(st.lists(ROW, max_size=20), st.lists(ROW, max_size=3), st.integers(1, 50))
def test_rows_are_whole_whatever_the_reads(one: list[bytes], two: list[bytes], size: int) -> None:
    first = 'COPY public."A ""b;" (x, y) FROM stdin;\n'
    second = "COPY s.t  FROM stdin;\n"
    script = HEAD.encode() + first.encode() + b"".join(one) + b"\\.\n\n\n--\n-- Name: x\n--\n\n"
    script += second.encode() + b"".join(two) + b"\\.\n\nSELECT pg_catalog.setval('public.\"it''s; x\"', 3, true);\n"
    wanted: list[Any] = [
        "SET client_encoding = 'UTF8';\n",
        "SELECT pg_catalog.set_config('search_path', '', false);\n",
        Table(schema="public", name='A "b;', statement=first),
        *([b"".join(one)] if one else []),
        None,
        Table(schema="s", name="t", statement=second),
        *([b"".join(two)] if two else []),
        None,
        "SELECT pg_catalog.setval('public.\"it''s; x\"', 3, true);\n",
    ]
    assert read(script, size) == wanted


def test_each_block_is_of_whole_lines() -> None:
    data = b"COPY s.t (n) FROM stdin;\n" + b"".join(b"%d\n" % n for n in range(1000)) + b"\\.\n"
    stream: Any = Dribble(data, 37)
    blocks = [part for part in Script(stream) if isinstance(part, bytes)]
    assert len(blocks) > 10
    assert all(block.endswith(b"\n") for block in blocks)


def test_a_statement_over_several_lines() -> None:
    text = b"COMMENT ON LARGE OBJECT 1 IS 'a;\nb''s;\n';\nSELECT 1;\n"
    assert read(text, 3) == ["COMMENT ON LARGE OBJECT 1 IS 'a;\nb''s;\n';\n", "SELECT 1;\n"]


@pytest.mark.parametrize("cut", [b"1\n2", b"1\n2\n", b"", b"1\n\\."])
def test_rows_without_an_end(cut: bytes) -> None:
    with pytest.raises(EOFError):
        read(b"COPY s.t (n) FROM stdin;\n" + cut, 5)
