"""The folder the state lives in, and who owns it."""

import asyncio
import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from monitor.times import timestamp

LOCK_NAME = "watchkeeper.lock"


def choose_folder(given: Path | None) -> tuple[Path, str | None]:
    """The folder for the state, and a warning when it will not outlive the daemon.

    `given` is what STATE_DIR or the platform's volume named. Without it a temporary folder is made here and now;
    whoever asked removes it.
    """
    if given is not None:
        return given.absolute(), None
    folder = Path(tempfile.mkdtemp(prefix="watchkeeper-"))
    return folder, (
        f"State is kept in the temporary folder {folder} and is lost on the next deploy. "
        "Attach a volume (on Railway it is found by itself), or set STATE_DIR to a folder that stays."
    )


class FolderLock:
    """One daemon per folder: an flock on a file in it, which the kernel releases however the holder ends.

    `problem` says why the folder cannot be locked at all (a file system that is read-only or has no locks); the
    daemon then goes on unlocked, as its state will be in memory anyway.
    """

    def __init__(self, folder: Path, *, instance: str, clock: Callable[[], float] = time.time) -> None:
        self.path = folder / LOCK_NAME
        self.problem: str | None = None
        self._instance = instance
        self._clock = clock
        self._fd: int | None = None

    def acquire(self) -> bool:
        """Take the lock if it is free, without waiting. True also when the folder cannot be locked: see `problem`.

        A lock on a file that was removed since, or another put in its place, keeps nobody out: it is taken anew.
        """
        if self._fd is not None:
            if self._has_its_name(self._fd):
                return True
            self.release()
        try:
            fd = self._open()
        except (FileExistsError, NotADirectoryError) as error:
            self.problem = f"Cannot lock {self.path}: {error.filename} is a file, and a folder is needed there."
            return True
        except OSError as error:
            self.problem = f"Cannot lock {self.path}: {error.strerror}. A second daemon here would go unnoticed."
            return True
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return False
        except OSError as error:
            os.close(fd)
            self.problem = f"Cannot lock {self.path}: {error.strerror}. A second daemon here would go unnoticed."
            return True
        self._fd = fd
        self._sign()
        return True

    async def wait(self, *, on_wait: Callable[[str], None], poll: float = 2.0) -> None:
        """Stand by until the lock is ours, looking every `poll` seconds.

        `on_wait` is called once, with a sentence that says who holds it, when it is not free at once.
        """
        said = False
        while not self.acquire():
            if not said:
                said = True
                on_wait(f"Another daemon keeps its state in {self.path.parent} ({self.holder()}): standing by.")
            await asyncio.sleep(poll)

    def holder(self) -> str:
        """Who holds the lock, in words, as far as the holder could write it down."""
        try:
            record = json.loads(self.path.read_text())
            return f"instance {record['instance']}, process {record['pid']}, since {timestamp(record['since'])}"
        except (OSError, ValueError, KeyError, TypeError):
            return "it left no name"

    def release(self) -> None:
        """Let go. The file stays: removing it could take a successor's lock away from under it."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def _has_its_name(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), self.path.stat())
        except OSError:
            return False

    def _open(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            try:
                return os.open(self.path, os.O_RDONLY)  # enough for a lock, not for our name
            except OSError:
                raise error from None

    def _sign(self) -> None:
        record = json.dumps({"pid": os.getpid(), "instance": self._instance, "since": self._clock()})
        with contextlib.suppress(OSError):  # a full disk: the lock holds without a name
            if self._fd is not None:
                os.ftruncate(self._fd, 0)
                os.pwrite(self._fd, record.encode(), 0)
