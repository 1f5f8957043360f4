"""A folder as a store: for a first try, for a mounted disk, for a copy to carry away.

Each key is a path below the folder, readable with any tool. A write goes to a temporary file first and appears under
its name whole and flushed to the disk, or not at all.
"""

import contextlib
import errno
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote, unquote

from backup.errors import StoreDeniedError, StoreError, StoreFullError
from backup.storage.base import Stored

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
# What a network file system answers when its server is slow or has moved a file under us.
PASSING = (errno.EAGAIN, errno.EINTR, errno.ESTALE, errno.ETIMEDOUT, errno.EBUSY)
# A name that begins with a dot is never an object: a key's own leading dot is written %2E.
TEMPORARIES = ".tmp"
LONGEST = 255


class FolderStorage:
    """The store below `folder`, which is made at the first write. Safe to use from several threads and processes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._cleared = False

    @property
    def address(self) -> str:
        """The folder's path."""
        return str(self.folder)

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Writes a whole object, over what was there."""
        self._write(key, data, Path.replace)

    def put_new(self, key: str, data: bytes) -> bool:
        """Writes a whole object only where there is none: a hard link fails where the name is taken."""
        try:
            self._write(key, data, os.link)
        except FileExistsError:
            return False
        return True

    def get(self, key: str) -> bytes:
        """The whole object. Raises KeyError when there is none."""
        with self._telling(f"read {key}"):
            try:
                return self._path(key).read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise KeyError(key) from None

    def stat(self, key: str) -> Stored | None:
        """The object's size and time, or None when there is none."""
        path = self._path(key)
        with self._telling(f"look at {key}"):
            return _stored(key, path) if path.is_file() else None

    def list(self, prefix: str) -> Iterator[Stored]:
        """Every object whose key begins with `prefix`, in the order of their keys."""
        with self._telling(f"list {prefix}"):
            yield from sorted(self._below(prefix), key=lambda stored: stored.key)

    def folders(self, prefix: str) -> Iterator[str]:
        """The names one level below `prefix` that have objects below them."""
        base = self._path(prefix.rstrip("/")) if prefix.rstrip("/") else self.folder
        with self._telling(f"list {prefix}"):
            found = [unquote(entry.name) for entry in _entries(base) if entry.is_dir() and _has_objects(entry)]
            yield from sorted(found)

    def delete(self, keys: Iterable[str]) -> None:
        """Removes objects, and the folders they leave empty."""
        for key in keys:
            path = self._path(key)
            with self._telling(f"delete {key}"):
                with contextlib.suppress(NotADirectoryError):
                    path.unlink(missing_ok=True)
                self._remove_empty(path.parent)

    def now(self) -> datetime:
        """The file system's own time, as a file written now has it: two hosts on one network folder agree on it.

        Where nothing can be written it is this machine's: whoever only reads needs no more.
        """
        if not os.access(self.folder, os.W_OK):
            return datetime.now(UTC)
        with self._telling("write"):
            clock = self._temporaries() / secrets.token_hex(8)
            try:
                clock.touch()
                return datetime.fromtimestamp(clock.stat().st_mtime, UTC)
            finally:
                clock.unlink(missing_ok=True)

    def capabilities(self) -> dict[str, str]:
        """What a folder can do."""
        return {"conditional put": "yes", "clock": "the file system's", "clickhouse": "no: it writes to S3 only"}

    def close(self) -> None:
        """Nothing is held open."""

    def _path(self, key: str) -> Path:
        """Where an object lies. Raises ValueError for a key that no path can carry."""
        names = [_encoded(part) for part in key.split("/")]
        if not all(names) or any(len(name.encode()) > LONGEST for name in names):
            raise ValueError("a key has an empty part or one too long for a file name")
        return self.folder.joinpath(*names)

    def _write(self, key: str, data: bytes | memoryview, place: Callable[[Path, Path], object]) -> None:
        """Puts `data` on the disk under a temporary name, then has it placed under its own, both in one file system.

        The file is locked while we live, so that another process can tell it from one that a killed process left.
        Raises what `place` does about a name that is taken, else StoreError.
        """
        path = self._path(key)
        with self._telling(f"write {key}"):
            temporary = self._temporaries() / secrets.token_hex(8)
            try:
                with temporary.open("xb", buffering=0) as file:
                    fcntl.flock(file, fcntl.LOCK_EX)
                    _write_all(file.fileno(), memoryview(data))
                    os.fsync(file.fileno())
                    _place(temporary, path, place)
            finally:
                temporary.unlink(missing_ok=True)
            _flush_folder(path.parent)

    def _temporaries(self) -> Path:
        """The folder of files not yet whole, on the same file system; at our first write it is cleared of dead ones."""
        folder = self.folder / TEMPORARIES
        folder.mkdir(parents=True, exist_ok=True)
        if not self._cleared:
            self._cleared = True
            for file in folder.iterdir():
                _remove_if_dead(file)
        return folder

    def _below(self, prefix: str) -> Iterator[Stored]:
        top, _, start = prefix.rpartition("/")
        base = self._path(top) if top else self.folder
        for entry in _entries(base):
            name = unquote(entry.name)
            if name.startswith(start):
                yield from _walk(entry, f"{top}/{name}" if top else name)

    def _remove_empty(self, folder: Path) -> None:
        while folder != self.folder and folder.is_relative_to(self.folder):
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent

    @contextlib.contextmanager
    def _telling(self, doing: str) -> Iterator[None]:
        """Turns what the system says into a StoreError that names the folder and the remedy."""
        try:
            yield
        except FileExistsError:
            raise
        except OSError as error:
            raise self._explain(error, doing) from error

    def _explain(self, error: OSError, doing: str) -> StoreError:
        what = f"the folder {self.folder} could not {doing}: {os.strerror(error.errno) if error.errno else error}"
        if error.errno in FULL:
            return StoreFullError(what, "free space there, or point BACKUP_DIR at a larger disk")
        if error.errno in DENIED:
            return StoreDeniedError(what, "let this process's user write there, or change BACKUP_DIR")
        if error.errno == errno.ENAMETOOLONG:
            return StoreError(what, "that file system takes shorter names than most: point BACKUP_DIR at another")
        remedy = "check that the disk is mounted and well"
        return StoreError(what, remedy, transient=error.errno in PASSING)


def _encoded(part: str) -> str:
    """One part of a key as a file name: readable, never "." or "..", never hidden. Undone by `unquote`."""
    safe = "".join(
        character if character.isprintable() and character != "%" else quote(character, safe="") for character in part
    )
    return f"%2E{safe[1:]}" if safe.startswith(".") else safe


def _place(temporary: Path, path: Path, place: Callable[[Path, Path], object]) -> None:
    """Another process that deletes may take the folder, empty as yet, away before we are in it: so twice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        place(temporary, path)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        place(temporary, path)


def _remove_if_dead(file: Path) -> None:
    """Removes a temporary file that nobody has locked for a while: between its making and its lock lies a moment."""
    with contextlib.suppress(OSError), file.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if time.time() - file.stat().st_mtime > 60:
            file.unlink(missing_ok=True)


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _flush_folder(folder: Path) -> None:
    """Makes a new name last through a power cut. Some file systems cannot; then there is nothing to wait for."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _entries(folder: Path) -> list[Path]:
    try:
        return [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _walk(entry: Path, key: str) -> Iterator[Stored]:
    if entry.is_dir():
        for child in _entries(entry):
            yield from _walk(child, f"{key}/{unquote(child.name)}")
        return
    with contextlib.suppress(FileNotFoundError):
        yield _stored(key, entry)


def _has_objects(folder: Path) -> bool:
    return any(_walk(folder, ""))


def _stored(key: str, path: Path) -> Stored:
    facts = path.stat()
    return Stored(key=key, size=facts.st_size, modified=datetime.fromtimestamp(facts.st_mtime, UTC))
