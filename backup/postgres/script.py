"""SQL as PostgreSQL's own programs write it: cut into statements, and the names in it."""

import re
from collections.abc import Iterator

# A line that psql reads and no server does: \connect, \restrict.
META = re.compile(r"\\[a-z!]+[^\n]*\n?")
BLANK = re.compile(r"\s+|--[^\n]*\n?")
# What a statement is made of: literals with backslashes, plain literals, quoted names, bodies, and anything else.
PART = re.compile(
    r"""[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(\w*)\$.*?\$\1\$|--[^\n]*|;|[^'";$-]|.""", re.DOTALL
)
NAME = r'(?:"(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)'
PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


def statements(text: str) -> Iterator[str]:
    """Each statement of a script without its semicolon; comments and psql's own commands are left out."""
    at = 0
    while at < len(text):
        if found := BLANK.match(text, at) or META.match(text, at):
            at = found.end()
            continue
        begin = at
        while found := PART.match(text, at):
            at = found.end()
            if found.group() == ";":
                break
        yield text[begin:at].rstrip("; \n")


def unquoted(name: str) -> str:
    """A name as it is, of the way it stands in SQL."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def spellings(name: str) -> tuple[str, ...]:
    """The ways in which PostgreSQL's programs may write a name; plain ones are quoted only when they are keywords."""
    quoted = '"' + name.replace('"', '""') + '"'
    return (quoted, name) if PLAIN.fullmatch(name) else (quoted,)


def elements(value: str) -> list[str]:
    """The names in a list as the server keeps it in settings such as search_path: `"$user", public`."""
    return [unquoted(one) for one in re.findall(r'"(?:[^"]|"")*"|[^,\s]+', value)]
