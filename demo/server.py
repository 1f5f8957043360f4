"""The one shape every server of the demo has."""

import contextlib
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from demo.process import Command, DemoError, Keeper, own_keeper

HOST = "127.0.0.1"
POLL = 0.05
"""Seconds between two looks at something awaited."""


class Server:
    """A server on loopback that starts, stops, pauses, and says which variables point at it.

    A subclass gives `name`, `command()`, `ready()` and `environ()`, and may give `prepare()` (before the first start)
    and `settle()` (after the first time it is ready). Its data is kept over `stop()` and `start()` and removed by
    `close()`, which leaving a `with` block calls; what is never closed goes with the keeper.
    """

    name: str
    host = HOST
    port: int
    start_timeout = 30.0
    stop_timeout = 5.0

    def __init__(self, *, keeper: Keeper | None = None) -> None:
        self._keeper = keeper
        self._folder: Path | None = None
        self._pid: int | None = None
        self._settled = False

    def command(self) -> Command:
        """What to run."""
        raise NotImplementedError

    def ready(self) -> bool:
        """True once the server answers. May raise OSError for "not yet"."""
        raise NotImplementedError

    def environ(self) -> dict[str, str]:
        """The variables a user would set to have this server watched."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Makes what the server needs in `folder` before its first start."""

    def settle(self) -> None:
        """Fills the server after its first start."""

    @property
    def keeper(self) -> Keeper:
        """The keeper this server runs under."""
        if self._keeper is None:
            self._keeper = own_keeper()
        return self._keeper

    @property
    def folder(self) -> Path:
        """This server's own folder, made when first asked for."""
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=self.keeper.folder))
            self._folder.chmod(0o711)
        return self._folder

    @property
    def log(self) -> Path:
        """The file its output goes to."""
        return self.folder / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """The running process. Raises DemoError when there is none."""
        if self._pid is None:
            raise DemoError(f"{self.name} is not running")
        return self._pid

    @property
    def running(self) -> bool:
        """Whether its process lives (a paused one does)."""
        return self._pid is not None and self.keeper.poll(self._pid) is None

    def start(self) -> Self:
        """Starts the server and returns when it answers. Raises DemoError with the log's end if it does not."""
        if self.running:
            return self
        if not self._settled:
            self.prepare()
        self._pid = self.keeper.spawn(self.command(), cwd=self.folder, log=self.log)
        try:
            self._wait_until_ready()
            if not self._settled:
                self.settle()
                self._settled = True
        except BaseException:
            self.kill()
            raise
        return self

    def run(self, command: Command, *, seconds: float = 60.0) -> None:
        """Runs a program that prepares the server, to its end. Raises DemoError when it fails or takes too long."""
        pid = self.keeper.spawn(command, cwd=self.folder, log=self.log)
        deadline = time.monotonic() + seconds
        while (code := self.keeper.poll(pid)) is None:
            if time.monotonic() > deadline:
                self.keeper.signal(pid, signal.SIGKILL, group=True)
                raise DemoError(f"{command.argv[0]} took more than {seconds:.0f} s:\n{self.log_end()}")
            time.sleep(POLL)
        if code:
            raise DemoError(f"{command.argv[0]} ended with code {code}; it said:\n{self.log_end()}")

    def stop(self) -> None:
        """Ends the server: its own way first, after `stop_timeout` seconds by SIGKILL. Its data stays."""
        if self._pid is None:
            return
        self.keeper.signal(self._pid, self.command().last)
        self.keeper.signal(self._pid, signal.SIGCONT)
        if not self._ended_within(self.stop_timeout):
            self.kill()
        self._pid = None

    def kill(self) -> None:
        """Ends the server as a crash would: SIGKILL to its process group."""
        if self._pid is None:
            return
        self.keeper.signal(self._pid, signal.SIGKILL, group=True)
        if not self._ended_within(10.0):
            raise DemoError(f"{self.name} (process {self._pid}) did not end after SIGKILL")
        self._pid = None

    def pause(self) -> None:
        """Freezes the server: its port still accepts, nothing answers."""
        self.keeper.signal(self.pid, signal.SIGSTOP, group=True)

    def resume(self) -> None:
        """Lets a paused server go on."""
        self.keeper.signal(self.pid, signal.SIGCONT, group=True)

    def close(self) -> None:
        """Stops the server and removes its data."""
        self.stop()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
            self._settled = False

    def log_end(self) -> str:
        """The last lines of its output, for a message."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(f"  {line}" for line in text.splitlines()[-12:])

    def handle(self) -> dict[str, Any]:
        """What another process needs to use this running server; see `adopt`."""
        return {"pid": self.pid, "folder": str(self.folder), "port": self.port}

    def adopt(self, handle: Mapping[str, Any]) -> Self:
        """Becomes the running server of `handle`, started elsewhere under the same keeper."""
        self._pid, self._folder, self.port = handle["pid"], Path(handle["folder"]), handle["port"]
        self._settled = True
        return self

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self.start_timeout
        while True:
            with contextlib.suppress(OSError):
                if self.ready():
                    return
            if (code := self.keeper.poll(self.pid)) is not None:
                raise DemoError(f"{self.name} ended with code {code} while starting; its log says:\n{self.log_end()}")
            if time.monotonic() > deadline:
                raise DemoError(f"{self.name} did not answer within {self.start_timeout:.0f} s:\n{self.log_end()}")
            time.sleep(POLL)

    def _ended_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.running:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL)
        return True
