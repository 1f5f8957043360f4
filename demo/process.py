"""Processes that end with whoever started them."""

import atexit
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

GONE = "the process that keeps the demo's servers has ended; start again"


class DemoError(Exception):
    """The stack cannot do what was asked; the text is for the person at the terminal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run.

    `environ` is the whole environment; `user` is (uid, gid), None for our own; `last` is the signal that ends it;
    `leftovers` are files it leaves outside its folder, removed once it has ended.
    """

    argv: Sequence[str]
    environ: Mapping[str, str]
    user: tuple[int, int] | None = None
    last: signal.Signals = signal.SIGTERM
    leftovers: Sequence[str] = ()


class Keeper:
    """A connection to a keeper process (demo/keeper.py) and the folder everything started through it lives in.

    `Keeper.start()` makes one; `Keeper.join(folder)` connects to one that another process made. What was started
    ends, and the folder goes, when every connection is closed. Calls may come from several threads.
    """

    def __init__(self, connection: socket.socket, folder: Path, process: subprocess.Popen[bytes] | None) -> None:
        self.folder = folder
        self._connection = connection
        self._process = process
        self._lock = threading.Lock()
        self._asked = 0
        self._answers = connection.makefile("rb")

    @classmethod
    def start(cls) -> Self:
        """Starts a keeper process with a fresh temporary folder. Takes about 40 ms."""
        ours, its = socket.socketpair()
        with its:
            process = subprocess.Popen(
                [sys.executable, "-S", "-E", str(Path(__file__).with_name("keeper.py")), _temporary_folder()],
                stdin=its.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        keeper = cls(ours, Path(), process)
        keeper.folder = Path(keeper._read()["folder"])
        return keeper

    @classmethod
    def join(cls, folder: Path) -> Self:
        """Connects to the running keeper of `folder`."""
        connection = socket.socket(socket.AF_UNIX)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            connection.connect(f"/proc/self/fd/{descriptor}/keeper.sock")  # the folder's own path may be too long
        finally:
            os.close(descriptor)
        return cls(connection, folder, None)

    def spawn(self, command: Command, *, cwd: Path, log: Path) -> int:
        """Starts `command` in a session of its own and gives its pid back; its output is appended to `log`."""
        uid, gid = command.user or (None, None)
        return int(
            self._ask(
                do="spawn",
                argv=list(command.argv),
                environ=dict(command.environ),
                cwd=str(cwd),
                log=str(log),
                uid=uid,
                gid=gid,
                last=int(command.last),
                leftovers=list(command.leftovers),
            )["pid"]
        )

    def signal(self, pid: int, number: signal.Signals, *, group: bool = False) -> bool:
        """Sends a signal to a process started here, or to its whole group; False if it has ended."""
        return bool(self._ask(do="signal", pid=pid, signal=int(number), group=group)["sent"])

    def poll(self, pid: int) -> int | None:
        """The exit code of a process started here (minus the signal's number if one ended it), None while it runs."""
        code = self._ask(do="poll", pid=pid)["code"]
        return None if code is None else int(code)

    def close(self) -> None:
        """Closes this connection; if we started the keeper, waits until everything has ended. Twice is once."""
        with self._lock:
            self._answers.close()
            self._connection.close()
        if self._process is not None:
            if self._process.wait(timeout=30):  # it was killed; its servers died with it, its folder did not
                shutil.rmtree(self.folder, ignore_errors=True)
            self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ask(self, **request: object) -> dict[str, Any]:
        with self._lock:
            self._asked += 1
            try:
                self._connection.sendall(json.dumps({**request, "id": self._asked}).encode() + b"\n")
            except OSError as error:
                raise DemoError(GONE) from error
            while (answer := self._read())["id"] != self._asked:
                pass  # the answer to a question that Ctrl-C took us away from
        if "error" in answer:
            raise DemoError(f"{request['do']}: {answer['error']}")
        return answer

    def _read(self) -> dict[str, Any]:
        try:
            line = self._answers.readline()
        except (OSError, ValueError) as error:
            raise DemoError(GONE) from error
        if not line:
            raise DemoError(GONE)
        answer: dict[str, Any] = json.loads(line)
        return answer


_own: list[Keeper] = []
_own_lock = threading.Lock()


def own_keeper() -> Keeper:
    """This process's keeper, started at the first call and ended with the process."""
    with _own_lock:
        if not _own:
            _own.append(Keeper.start())
            atexit.register(close_own_keeper)
        return _own[0]


def close_own_keeper() -> None:
    """Ends everything started with `own_keeper()`, at once rather than at exit."""
    with _own_lock:
        if _own:
            _own.pop().close()


def clean_environ(**more: str) -> dict[str, str]:
    """The little of our environment a server needs (path, locale, time zone), and `more`."""
    kept = {name: value for name in ("PATH", "LANG", "LC_ALL", "TZ", "HOME") if (value := os.environ.get(name))}
    return kept | more


def _temporary_folder() -> str:
    """The system's temporary folder; for root, one that PostgreSQL's own user can pass."""
    folder = tempfile.gettempdir()
    if os.geteuid() == 0 and not passable(Path(folder)):
        return "/tmp"
    return folder


def passable(path: Path) -> bool:
    """Whether every user may pass through `path` and the folders above it."""
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def wheel_folder(package: str) -> Path:
    """Where a wheel was installed, found without importing it. Raises DemoError when it is not there."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DemoError(f"the Python package {package} is not installed; run: make venv")
    return Path(spec.submodule_search_locations[0])
