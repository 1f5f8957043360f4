"""A dump in the store as pg_restore sees it: its list, its SQL, and the whole of it read to the end."""

import contextlib
import os
import re
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from backup.errors import ArchiveError, KeyMissingError, SettingsError
from backup.manifest import Artifact
from backup.postgres.child import Child, Ended
from backup.postgres.clients import Client
from backup.postgres.explain import one_line
from backup.readback import OTHER_POINT, read_plain
from backup.storage.base import Storage
from config.secret import Secret

ENTRY = re.compile(r"\d+; \d+ \d+ (.*)")
DATABASE_ENTRY = re.compile(r"\d+; \d+ \d+ (?:DATABASE|(?:COMMENT|ACL|SECURITY LABEL) - DATABASE) ")


def major_of(version: str) -> int:
    """The major version in a text such as "18.6" or "pg_dump 18.6"; 0 when there is none."""
    found = re.search(r"\d+", version)
    return int(found[0]) if found else 0


def pick_reader(clients: Sequence[Client], artifact: Artifact, server_major: int | None = None) -> Client:
    """The client whose pg_restore reads what `artifact`'s tool wrote and talks to a server: the server's own major
    version where that is new enough, else the next newer than the tool's. Raises SettingsError."""
    made = major_of(artifact.tool or artifact.server)
    wanted = max(made, server_major or 0)
    fitting = sorted(
        (client for client in clients if client.major >= made and client.program("pg_restore")),
        key=lambda client: (client.major < wanted, client.major if client.major >= wanted else -client.major),
    )
    if not fitting:
        known = ", ".join(sorted({client.version for client in clients})) or "none"
        raise SettingsError(
            f"{artifact.label} was written by {artifact.tool or 'PostgreSQL ' + artifact.server}, and no pg_restore "
            f"that reads it is installed (found: {known})",
            f"apt-get install postgresql-client-{made}, or name the folder of its programs in BACKUP_PG_BIN",
        )
    return fitting[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What pg_restore lists: its lines as they must be given back to it, entries and those about the database."""

    entries: tuple[str, ...]
    of_database: tuple[str, ...]

    @property
    def holds_anything(self) -> bool:
        """Whether there is more in it than the database's own properties."""
        return bool(self.entries)

    def described(self) -> Iterator[tuple[str, str]]:
        """Each entry's line, and what it says after its numbers: `TABLE DATA public users owner`."""
        for line in self.entries:
            if found := ENTRY.fullmatch(line):
                yield line, found[1]


class Archive:
    """One database's dump. Given the store, the prefix of its point, the keys, and the pg_restore that reads it."""

    def __init__(
        self, storage: Storage, prefix: str, artifact: Artifact, identities: Sequence[Secret], program: Path
    ) -> None:
        self.artifact = artifact
        self.program = program
        self._storage = storage
        self._prefix = prefix
        self._identities = tuple(identities)
        self._head = b""

    @property
    def head(self) -> bytes:
        """As much of the dump from its beginning as holds its list, known after `contents`."""
        return self._head

    def plain(self) -> Iterator[bytes]:
        """The dump, checked as it comes: see `backup.readback.read_plain`."""
        return read_plain(self._storage, self._prefix, self.artifact, identities=self._identities)

    def contents(self, stop: threading.Event) -> Contents:
        """Its list, from the first pieces alone. Raises KeyMissingError, ArchiveError, StoreError, StoppedError."""
        text = self._asked(["--list", "--create"], stop)
        lines = [line for line in text.splitlines() if line and not line.startswith(";")]
        about = tuple(line for line in lines if DATABASE_ENTRY.match(line))
        return Contents(entries=tuple(line for line in lines if line not in about), of_database=about)

    def schema(self, stop: threading.Event) -> str:
        """All its SQL but the rows."""
        return self._asked(["--schema-only", "--file=-"], stop)

    def properties(self, contents: Contents, stop: threading.Event) -> str:
        """The SQL that makes the database itself: owner, settings, grants, comment."""
        with listed(contents.of_database) as descriptor:
            argv = ["--create", f"--use-list=/proc/self/fd/{descriptor}", "--file=-"]
            return self._asked(argv, stop, pass_fds=(descriptor,))

    def read_through(self, stop: threading.Event, tell: Callable[[int], object] = lambda _: None) -> None:
        """Every byte checked, and read to its end by pg_restore. Raises ArchiveError when it is no whole archive."""
        with ending(self.plain()) as source:
            child = Child([str(self.program), f"--file={os.devnull}"], source=source)
            ended = child.run(stop, lambda: tell(child.fed))
            if not ended.took_all:
                # What pg_restore does not want is checked all the same; the first damage is what there is to say.
                for _ in source:
                    pass
        self._judge(ended)
        if not ended.took_all:
            raise ArchiveError(f"{self.artifact.label}: pg_restore did not read it to its end", OTHER_POINT)

    def _asked(self, argv: Sequence[str], stop: threading.Event, pass_fds: Sequence[int] = ()) -> str:
        """What pg_restore writes about the archive; the head is fetched once and kept."""
        if self._head:
            child = Child([str(self.program), *argv], source=iter([self._head]), keep=True, pass_fds=pass_fds)
            ended = child.run(stop)
        else:
            taken: list[bytes] = []
            with ending(self.plain()) as plain:
                child = Child([str(self.program), *argv], source=_keeping(plain, taken), keep=True, pass_fds=pass_fds)
                ended = child.run(stop)
            self._head = b"".join(taken)
        self._judge(ended)
        return ended.output.decode()

    def _judge(self, ended: Ended) -> None:
        if ended.code:
            said = one_line(" ".join(ended.said)) or f"exit code {ended.code}"
            raise ArchiveError(f"{self.artifact.label}: pg_restore cannot read it: {said}", OTHER_POINT)


def read_text(storage: Storage, prefix: str, artifact: Artifact, identities: Sequence[Secret]) -> str:
    """An artifact that is text, such as the roles: whole and checked. Raises like `read_plain`."""
    if artifact.recipients and not identities:
        raise KeyMissingError(f"{artifact.label} is sealed", "set BACKUP_AGE_IDENTITY to the secret key or its file")
    return b"".join(read_plain(storage, prefix, artifact, identities=identities)).decode()


@contextmanager
def listed(lines: Iterable[str]) -> Iterator[int]:
    """The descriptor of a file in memory that holds `lines`, for --use-list; hand it on with `pass_fds`."""
    with held("".join(f"{line}\n" for line in lines).encode()) as descriptor:
        yield descriptor


@contextmanager
def held(data: bytes) -> Iterator[int]:
    """The descriptor of a file in memory that holds `data`; hand it on with `pass_fds`."""
    descriptor = os.memfd_create("watchkeeper", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(data)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def ending(source: Iterator[bytes]) -> Iterator[Iterator[bytes]]:
    """Closes a generator at the end; one that another thread is still in ends with that thread."""
    try:
        yield source
    finally:
        if isinstance(source, Generator):
            with contextlib.suppress(ValueError):
                source.close()


def _keeping(source: Iterable[bytes], taken: list[bytes]) -> Iterator[bytes]:
    for data in source:
        taken.append(data)
        yield data
