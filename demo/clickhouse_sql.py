"""As much of ClickHouse's SQL as its HTTP interface must understand itself: where data begins, what format is asked.

Standard library only: the server's own Python has nothing of ours installed.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_TOKEN = re.compile(
    rb"(?P<skip>--[^\n]*|/\*.*?\*/)"
    rb"|(?P<quoted>'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.)*\"|`(?:[^`\\]|\\.)*`)"
    rb"|(?P<word>[A-Za-z_]\w*)"
    rb"|(?P<mark>\S)",
    re.DOTALL,
)
_DATA = re.compile(rb"[ \t\f]*;?[ \t\f]*\r?\n?")
"""What may stand between the name of a format and the first byte of data."""


_ASSIGNED = re.compile(rb"SETTINGS\s+\w+\s*=", re.IGNORECASE)
"""A SETTINGS clause, and not a table of that name."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement: `head` is what the engine parses.

    `data` is None unless it is an INSERT that brings data, whose format is then `format`; for any other statement
    `format` is the one its FORMAT clause names, or None. `verb` is its first word in capitals.
    """

    verb: str
    head: bytes
    format: str | None = None
    data: bytes | None = None


def split(sql: bytes) -> Statement:
    """Takes a request's whole text, data included, apart."""
    words = _outer_words(sql)
    verb = next(words, ("", 0, 0))[0]
    if verb == "INSERT":
        return _insert(sql, words)
    asked = None
    for word, start, _ in words:
        if word == "FORMAT":
            asked = _format_at_end(sql, start) or asked
    return Statement(verb, sql, asked)


def from_file(head: bytes, path: str, form: str) -> bytes:
    """An INSERT that takes its data from a file: `head` as `split` gave it, the file's path and its format."""
    start = next((at for word, at, _ in _outer_words(head) if word == "SETTINGS" and _ASSIGNED.match(head, at)), None)
    end = len(head) if start is None else start
    place = f" FROM INFILE {quote(path)} COMPRESSION 'none' ".encode()
    return b"".join((head[:end], place, head[end:], f" FORMAT {form}".encode()))


def quote(text: str) -> str:
    """A string literal."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(text: str) -> str:
    """A quoted name."""
    return "`" + text.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _insert(sql: bytes, words: Iterator[tuple[str, int, int]]) -> Statement:
    for word, start, end in words:
        if word in {"SELECT", "WITH", "INFILE"}:
            break  # it brings a query or a file instead of data
        if word == "VALUES":
            return Statement("INSERT", sql[:start], "Values", sql[end:])
        if word == "FORMAT":
            name = re.compile(rb"\s+(\w+)").match(sql, end)
            if name is None:
                break
            gap = _DATA.match(sql, name.end())
            return Statement("INSERT", sql[:start], name[1].decode(), sql[gap.end() if gap else name.end() :])
    return Statement("INSERT", sql)


def _format_at_end(sql: bytes, start: int) -> str | None:
    """The format's name if a FORMAT clause stands at `start`; a column of that name is followed by other things."""
    found = re.compile(rb"FORMAT\s+([A-Za-z]\w*)\s*(?:;\s*)?(?:SETTINGS\b|$)", re.IGNORECASE).match(sql, start)
    return found[1].decode() if found else None


def _outer_words(sql: bytes) -> Iterator[tuple[str, int, int]]:
    """Each word outside brackets, quotes and comments, in capitals, with where it starts and ends."""
    depth = 0
    after_dot = False
    for token in _TOKEN.finditer(sql):
        mark = token["mark"]
        if mark == b"(":
            depth += 1
        elif mark == b")":
            depth -= 1
        elif token["word"] and depth == 0 and not after_dot:
            yield token["word"].decode().upper(), token.start(), token.end()
        if not token["skip"]:
            after_dot = mark == b"."
