"""One of PostgreSQL's programs on its way into the store, read by pg_restore as it passes.

The end of its output is not success: its exit code is waited for, and anything but 0, a signal, a stall on either side
or being told to stop takes back every piece.
"""

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from backup.errors import DumpError, StalledError, StoppedError
from backup.postgres.explain import dump_failed, one_line
from backup.stream import PieceWriter, Written

READ = 1024 * 1024
TICK = 0.1
LINES = 12
# pg_dump --verbose tells every step; only these of its lines are about something wrong.
TELLING = re.compile(r"^pg_\w+: (error|warning|detail|hint):|^pg_\w+: \[")
# It goes on over many lines, which would push out why it failed.
QUERY = re.compile(r"^pg_\w+: detail: Query was: ")
TABLE = re.compile(r'^pg_dump: dumping contents of table "(.*)"$')
F_SETPIPE_SZ = 1031


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """When a dump is given up: after so many seconds without a byte on either side; at `end` by time.monotonic()."""

    stall_seconds: float
    end: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Dumped:
    """What was stored, whether pg_restore has read all of it, and what the program warned of."""

    written: Written
    readable: bool
    warnings: tuple[str, ...]


class Dump:
    """One program's run. `first_byte` is set when output has begun, or the program has ended.

    Given what to run (`argv`, `environ`, `pass_fds`), the writer its output goes to, the pg_restore that reads along
    (None: nobody does) and what the dump is of, for messages. `table` is the one being dumped, `plain_bytes` how much
    has come.
    """

    def __init__(
        self,
        argv: Sequence[str],
        environ: Mapping[str, str],
        writer: PieceWriter,
        *,
        of: str,
        reader: Path | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        self.of = of
        self.first_byte = threading.Event()
        self.table = ""
        self.plain_bytes = 0
        self._program = Path(argv[0]).name
        self._writer = writer
        self._waits_for = self._program
        self._since = time.monotonic()
        self._done = threading.Event()
        self._closed = False
        self._failure: BaseException | None = None
        self._dumped: Dumped | None = None
        self._readable = reader is not None
        self._reader = (
            _start([str(reader), "-f", os.devnull], _plain_environ(), stdin=subprocess.PIPE) if reader else None
        )
        try:
            self._child = _start(_buffered(argv), environ, pass_fds, stdout=subprocess.PIPE)
        except OSError:
            if self._reader:
                _end(self._reader)
            raise
        self._children = [self._child, *([self._reader] if self._reader else ())]
        self._lines: deque[str] = deque(maxlen=LINES)
        self._in_query = False
        self._complaints: deque[str] = deque(maxlen=LINES)
        self._ears = [self._listen(self._child, self._hear)]
        if self._reader:
            self._ears.append(self._listen(self._reader, self._complaints.append))

    def run(self, limits: Limits, stop: threading.Event, tell: Callable[[], None]) -> Dumped:
        """Waits for all of it to be stored, calling `tell` several times a second.

        Raises DumpError, StalledError, StoppedError, StoreError and below, and whatever `tell` raises. The programs
        have ended then; the writer is the caller's to abort.
        """
        pump = threading.Thread(target=self._pump, name="pump", daemon=True)
        pump.start()
        try:
            return self._wait(limits, stop, tell)
        except BaseException:
            self._end()
            pump.join(0.5)  # longer only while the store takes nothing, until the writer is aborted
            raise

    def _wait(self, limits: Limits, stop: threading.Event, tell: Callable[[], None]) -> Dumped:
        while not self._done.wait(TICK):
            if stop.is_set():
                raise StoppedError("the backup was told to stop")
            self._judge(limits)
            tell()
        tell()
        if self._dumped is None:
            raise self._failure or AssertionError("a dump that is done has a result or a failure")
        return self._dumped

    def _judge(self, limits: Limits) -> None:
        """Raises StalledError when the dump has to be given up."""
        now, waits_for = time.monotonic(), self._waits_for
        if now - self._since > limits.stall_seconds:
            where = "the store" if waits_for == "the store" else "the server, and for locks on it"
            raise StalledError(
                f"{self.of}: {waits_for} stood still for {limits.stall_seconds:g} s",
                f"look at load, disk and network of {where}; BACKUP_STALL_SECONDS says how long to wait",
            )
        if now > limits.end:
            raise StalledError(
                f"{self.of}: the dump was given up, since the snapshots were held for BACKUP_LONGEST_SECONDS",
                "raise it, or back up fewer databases at a time (BACKUP_DATABASES)",
            )

    def _pump(self) -> None:
        """In a thread of its own: from the program to the reader and the writer, until all is stored or fails."""
        try:
            self._dumped = self._transfer()
        except BaseException as error:  # noqa: BLE001  handed to run(), which raises it
            self._failure = error
        finally:
            self.first_byte.set()
            self._done.set()
            if self._closed:
                self._close_pipes()

    def _transfer(self) -> Dumped:
        source = _descriptor(self._child.stdout)
        buffer = bytearray(READ)
        view = memoryview(buffer)
        while count := self._reading(source, buffer):
            self.plain_bytes += count
            self.first_byte.set()
            self._check(view[:count])
            self._wait_for("the store")
            self._writer.write(view[:count])
        self._wait_for(self._program)
        code = self._child.wait()
        self._ears[0].join(1)
        if code:
            raise dump_failed(self._program, self.of, code, list(self._lines))
        readable = self._checked()
        self._wait_for("the store")
        written = self._writer.finish()
        return Dumped(written=written, readable=readable, warnings=tuple(self._lines))

    def _reading(self, source: int, buffer: bytearray) -> int:
        self._wait_for(self._program)
        return os.readv(source, [buffer])

    def _check(self, data: memoryview) -> None:
        """Hands bytes to pg_restore. One that has gone says why at the end."""
        if self._reader is None or not self._readable:
            return
        self._wait_for("pg_restore")
        pipe = _descriptor(self._reader.stdin)
        try:
            while data:
                data = data[os.write(pipe, data) :]
        except BrokenPipeError:
            self._readable = False

    def _checked(self) -> bool:
        """Whether pg_restore has read it all. Raises DumpError when it says that this is no whole archive."""
        if self._reader is None:
            return False
        self._wait_for("pg_restore")
        if self._reader.stdin:
            self._reader.stdin.close()
        code = self._reader.wait()
        self._ears[1].join(1)
        if code > 0:
            said = one_line(" ".join(self._complaints))
            raise DumpError(
                f"{self.of}: pg_restore cannot read what was dumped: {said}", "run again; if it repeats, report it"
            )
        return code == 0 and self._readable

    def _wait_for(self, whom: str) -> None:
        self._waits_for = whom
        self._since = time.monotonic()

    def _hear(self, line: str) -> None:
        if found := TABLE.match(line):
            self.table = found[1]
            return
        if line.startswith("pg_"):
            self._in_query = QUERY.match(line) is not None
            if TELLING.match(line):
                self._lines.append(line[: 120 if self._in_query else 400])
        elif not self._in_query:
            self._lines.append(line[:400])

    def _listen(self, child: "subprocess.Popen[bytes]", hear: Callable[[str], None]) -> threading.Thread:
        def listen() -> None:
            with contextlib.suppress(ValueError, OSError):  # closed under us when the dump is taken back
                for line in child.stderr or ():
                    hear(line.decode(errors="replace").rstrip())

        ear = threading.Thread(target=listen, name="stderr", daemon=True)
        ear.start()
        return ear

    def close(self) -> None:
        """Ends what still runs and closes every pipe, now or, while the store holds the pump up, when it returns."""
        self._end()
        self._closed = True
        if self._done.is_set():
            self._close_pipes()

    def _close_pipes(self) -> None:
        for child in self._children:
            for pipe in filter(None, (child.stdin, child.stdout, child.stderr)):
                with contextlib.suppress(OSError):
                    pipe.close()

    def _end(self) -> None:
        for child in self._children:
            _end(child)


def _start(
    argv: Sequence[str],
    environ: Mapping[str, str],
    pass_fds: Sequence[int] = (),
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
) -> "subprocess.Popen[bytes]":
    """A child in a process group of its own, so that a terminal's Ctrl-C reaches us alone."""
    child = subprocess.Popen(
        argv,
        env=dict(environ),
        pass_fds=tuple(pass_fds),
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        bufsize=0,
        process_group=0,
    )
    for pipe in filter(None, (child.stdin, child.stdout)):
        with contextlib.suppress(OSError):  # more than this user may have: the usual size will do
            fcntl.fcntl(pipe.fileno(), F_SETPIPE_SZ, READ)
    return child


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Ends a child: SIGTERM, on which pg_dump cancels its query on the server, and SIGKILL half a second later."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(0.5)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


def _buffered(argv: Sequence[str]) -> list[str]:
    """pg_dump writes 4 KiB at a time; with coreutils' stdbuf in front, 64 KiB: a tenth less of its CPU (measured)."""
    stdbuf = shutil.which("stdbuf")
    return [stdbuf, "-o64K", *argv] if stdbuf else list(argv)


def _plain_environ() -> dict[str, str]:
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"}


def _descriptor(pipe: IO[bytes] | None) -> int:
    if pipe is None:
        raise AssertionError("the pipe was asked for")
    return pipe.fileno()
