"""pg_restore as a child: fed with an archive, or reading it from a file, and ended when we are told to stop."""

import contextlib
import fcntl
import os
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

from backup.errors import StoppedError, TargetError

TICK = 0.1
LINES = 40
PIPE = 1024 * 1024
F_SETPIPE_SZ = 1031


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How it ended: its exit code (negative: a signal), the last lines it said, what it wrote if that was kept, and
    whether it took all it was fed."""

    code: int
    said: tuple[str, ...]
    output: bytes
    took_all: bool


def plain_environ() -> dict[str, str]:
    """The environment of a program that needs no server: nothing of ours but where programs are."""
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}


class Child:
    """One run. Given what to run, and what it is fed (None: nothing); `hear` gets each line of its standard error and
    says whether it may go on; its standard output is kept (`keep`), or read by `consume` in a thread of its own."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        source: Iterator[bytes] | None = None,
        environ: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        hear: Callable[[str], bool] = lambda _: True,
        keep: bool = False,
        consume: Callable[[IO[bytes]], None] | None = None,
    ) -> None:
        self.fed = 0
        self._consume = consume or self._read
        self._source = source
        self._hear = hear
        self._failure: BaseException | None = None
        self._took_all = True
        self._output = b""
        self._said: deque[str] = deque(maxlen=LINES)
        try:
            self._process = subprocess.Popen(
                list(argv),
                env=dict(plain_environ() if environ is None else environ),
                pass_fds=tuple(pass_fds),
                stdin=subprocess.DEVNULL if source is None else subprocess.PIPE,
                stdout=subprocess.PIPE if keep or consume else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                bufsize=0,
                process_group=0,
            )
        except OSError as error:
            raise TargetError(
                f"{argv[0]} does not start: {error.strerror}", "reinstall the PostgreSQL client"
            ) from None
        # The feeder alone waits for the others: whoever holds pg_restore's input decides when it is over.
        self._threads = [threading.Thread(target=self._listen, name="stderr", daemon=True)]
        for pipe in filter(None, (self._process.stdin, self._process.stdout)):
            with contextlib.suppress(OSError):  # more than this user may have: the usual size will do
                fcntl.fcntl(pipe.fileno(), F_SETPIPE_SZ, PIPE)
        if keep or consume:
            self._threads.append(threading.Thread(target=self._take, name="stdout", daemon=True))
        if source is not None:
            self._threads.append(threading.Thread(target=self._feed, name="feed", daemon=True))
        for thread in self._threads:
            thread.start()

    def run(self, stop: threading.Event, tell: Callable[[], object] = lambda: None) -> Ended:
        """Waits for its end, calling `tell` several times a second.

        Raises StoppedError, and what its source raised: then it was ended before it could take the end for the whole.
        """
        try:
            while any(thread.is_alive() for thread in self._threads) or self._process.poll() is None:
                if stop.is_set():
                    raise StoppedError("the restore was told to stop", "nothing half-done is left")
                tell()
                self._wait()
        finally:
            self._end()
        if self._failure is not None:
            raise self._failure
        return Ended(
            code=self._process.returncode, said=tuple(self._said), output=self._output, took_all=self._took_all
        )

    def _wait(self) -> None:
        for thread in self._threads:
            if thread.is_alive():
                return thread.join(TICK)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(TICK)
        return None

    def _feed(self) -> None:
        pipe = self._process.stdin
        if pipe is None or self._source is None:
            return
        try:
            for data in self._source:
                view = memoryview(data)
                while view:
                    written = os.write(pipe.fileno(), view)
                    self.fed += written
                    view = view[written:]
        except (BrokenPipeError, ValueError):
            self._took_all = False
        except BaseException as error:  # noqa: BLE001  a thread's outermost boundary: run() raises it again
            # Killed before its input ends: what it has read so far must not pass for the whole.
            self._failure = self._failure or error
            self._process.kill()
        finally:
            with contextlib.suppress(OSError, ValueError):
                pipe.close()

    def _listen(self) -> None:
        with contextlib.suppress(ValueError, OSError):
            for raw in self._process.stderr or ():
                line = raw.decode(errors="replace").rstrip()
                if not self._hear(line):
                    self._process.terminate()
                self._said.append(line)

    def _take(self) -> None:
        try:
            self._consume(self._process.stdout)  # type: ignore[arg-type]  # a pipe, since it was asked for
        except BaseException as error:  # noqa: BLE001  likewise
            self._failure = self._failure or error
            self._process.kill()

    def _read(self, stdout: IO[bytes]) -> None:
        with contextlib.suppress(ValueError, OSError):
            parts = []
            while part := stdout.read(PIPE):
                parts.append(part)
            self._output = b"".join(parts)

    def _end(self) -> None:
        """Ends it if it still runs: SIGTERM, on which pg_restore cancels its queries, then SIGKILL."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(0.5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for thread in self._threads:
            thread.join(1)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
