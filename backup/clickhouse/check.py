"""What a backup of ClickHouse's says it consists of, and whether all of it is in the store.

`.backup` is XML that lists every file with its size and checksum. Equal files are stored once (data_file names where),
empty ones not at all. ClickHouse itself writes it last and never looks back: that every file is there, and is as long
as it should be, is checked here, from one listing.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote
from xml.parsers.expat import ErrorString, ExpatError, ParserCreate

from backup.errors import ArchiveError
from backup.storage.base import Storage

CONTENTS = ".backup"
LOCK = ".lock"
_BLOCK = 1 << 16
# A listing of what is wrong names this many files; the count is of all.
_NAMED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of a backup: its name, its size in bytes, and the object that holds it ("" for an empty one). `in_base`
    of its bytes are in another backup."""

    name: str
    size: int
    stored_as: str
    in_base: int = 0


@dataclass(slots=True, kw_only=True)
class Checked:
    """A backup that is all there. `files` and `plain_bytes` are what it holds, `objects` and `stored_bytes` what the
    store holds for it. `parts` are the data parts of each table, `row_files` where the count.txt of each is stored,
    `definitions` the names of all tables, views and dictionaries."""

    files: int = 0
    plain_bytes: int = 0
    objects: int = 0
    stored_bytes: int = 0
    parts: dict[str, set[str]] = field(default_factory=dict)
    row_files: dict[tuple[str, str], str] = field(default_factory=dict)
    definitions: set[str] = field(default_factory=set)


def check(storage: Storage, folder: str, *, database: str) -> Checked:
    """Finds every file of the backup at the key `folder` in the store. Raises ArchiveError, StoreError."""
    try:
        document = storage.get(f"{folder}/{CONTENTS}")
    except KeyError:
        raise ArchiveError(
            f"the ClickHouse backup of {database} has no {CONTENTS}, so it never ended", "use another point"
        ) from None
    checked = Checked()
    # By folder, names shared: a wide part's files are called the same in every part.
    wanted: dict[str, dict[str, int]] = {}
    for file in read(document):
        checked.files += 1
        checked.plain_bytes += file.size
        _sort_in(checked, file, database)
        if file.in_base:
            raise ArchiveError(
                f"the ClickHouse backup of {database} rests on another backup", "use a point that is whole by itself"
            )
        if file.stored_as:
            parent, _, base = file.stored_as.rpartition("/")
            wanted.setdefault(parent, {})[sys.intern(base)] = file.size
    wrong: list[str] = []
    for stored in storage.list(f"{folder}/"):
        checked.objects += 1
        checked.stored_bytes += stored.size
        parent, _, base = stored.key.removeprefix(f"{folder}/").rpartition("/")
        size = wanted.get(parent, {}).pop(base, None)
        if size is not None and size != stored.size:
            wrong.append(f"{parent}/{base} ({stored.size} bytes instead of {size})")
    missing = [f"{parent}/{base}" for parent, files in wanted.items() for base in files]
    for problems, what in ((missing, "are not in the store"), (wrong, "have another size in the store")):
        if problems:
            raise ArchiveError(
                f"{len(problems)} files of the ClickHouse backup of {database} {what}, such as "
                f"{', '.join(problems[:_NAMED])}",
                "use another point; see whether a lifecycle rule or somebody else removes objects there",
            )
    return checked


def read(document: bytes) -> Iterator[File]:
    """The files that `.backup` lists. Raises ArchiveError for what is no such document."""
    parser = ParserCreate()
    text: list[str] = []
    fields: dict[str, str] = {}
    files: list[File] = []
    depth: list[str] = []

    def start(tag: str, _: object) -> None:
        depth.append(tag)
        text.clear()
        if tag == "file":
            fields.clear()

    def end(tag: str) -> None:
        depth.pop()
        if tag == "file":
            files.append(_file(fields))
        elif depth[-1:] == ["file"]:
            fields[tag] = "".join(text)

    def refuse(*_: object) -> None:
        raise ArchiveError(f"{CONTENTS} declares entities, which ClickHouse never writes", "use another point")

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text.append
    parser.EntityDeclHandler = refuse
    parser.buffer_text = True
    try:
        for position in range(0, len(document), _BLOCK):
            parser.Parse(document[position : position + _BLOCK], False)
            yield from files
            files.clear()
        parser.Parse(b"", True)
    except (ExpatError, ValueError) as error:
        said = ErrorString(error.code) if isinstance(error, ExpatError) else "a size that is no number"
        raise ArchiveError(f"{CONTENTS} cannot be read: {said}", "use another point") from None
    yield from files


def _file(fields: dict[str, str]) -> File:
    name, size = fields.get("name", ""), int(fields.get("size", "0"))
    in_base = 0
    if fields.get("use_base", "") in {"1", "true"}:
        in_base = int(fields.get("base_size", size))
    if fields.get("object_key"):
        return File(name=name, size=size, stored_as="", in_base=in_base)  # a disk's own object, referred to in place
    stored_as = fields.get("data_file") or name
    return File(name=name, size=size, stored_as=stored_as if size > in_base else "", in_base=in_base)


def _sort_in(checked: Checked, file: File, database: str) -> None:
    """Notes tables, parts and where their row counts are: data/<database>/<table>/<part>/count.txt."""
    kind, *path = file.name.split("/")
    if kind == "metadata" and len(path) == 2:
        checked.definitions.add(unquote(path[1].removesuffix(".sql")))
    if kind != "data" or len(path) < 4 or unquote(path[0]) != database:
        return
    table, part, rest = unquote(path[1]), path[2], path[3:]
    checked.parts.setdefault(table, set()).add(part)
    if rest == ["count.txt"]:
        checked.row_files[table, part] = file.stored_as
