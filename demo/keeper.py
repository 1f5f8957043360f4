"""The keeper: a small process that is the parent of every server the demo or the tests start.

It ends them, and removes their folder, as soon as the last connection to it closes. The kernel closes a
connection whatever became of its owner, so a demo that is killed with -9 leaves nothing behind either.

Run as a program (`python demo/keeper.py PARENT_OF_FOLDER`) with one end of a socket pair as standard input; further
processes may connect to `keeper.sock` in its folder. It imports the standard library only, so it starts in 30 ms.

Protocol: one JSON object a line each way. Asked with "do":
  spawn   argv, environ, cwd, log, uid, gid, last, leftovers  →  {"pid"}
  signal  pid, signal, group                       →  {"sent"}
  poll    pid                                      →  {"code"}, null while it runs
Every request has an "id", which its answer repeats. One that fails is answered with "error" and a text.
"""

import contextlib
import ctypes
import json
import os
import selectors
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
GRACE = 5.0
"""Seconds a server has for a clean end once nobody needs it any more."""

_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent() -> None:
    """Runs in the child before exec, after the change of user: a killed keeper takes its servers along."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Keeper:
    """The servers by pid: `running`, the signal each prefers to end by, and the codes of those that ended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._handles: list[subprocess.Popen[bytes]] = []  # kept: a collected Popen would wait for its pid itself
        self._last: dict[int, int] = {}
        self._leftovers: dict[int, list[str]] = {}
        self._codes: dict[int, int] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request to one answer; see the protocol above."""
        self.reap()
        try:
            if request["do"] == "spawn":
                return {"pid": self._spawn(request)}
            pid = int(request["pid"])
            if pid not in self._last:
                return {"error": f"process {pid} was not started here"}
            if request["do"] == "signal":
                return {"sent": self._signal(pid, request["signal"], group=request["group"])}
            return {"code": self._codes.get(pid)}
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            return {"error": str(error)}

    def _spawn(self, request: dict[str, Any]) -> int:
        with Path(request["log"]).open("ab") as log:
            process = subprocess.Popen(
                request["argv"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=request["environ"],
                cwd=request["cwd"],
                user=request["uid"],
                group=request["gid"],
                extra_groups=None if request["uid"] is None else [],
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - safe: this process has one thread
            )
        self._handles.append(process)
        self._codes.pop(process.pid, None)
        self._last[process.pid] = request["last"]
        self._leftovers[process.pid] = request["leftovers"]
        return process.pid

    def _signal(self, pid: int, number: int, *, group: bool) -> bool:
        if pid in self._codes and not group:
            return False
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(pid, number)
            return True
        return False

    def reap(self) -> None:
        """Collects every child that ended; orphans of our servers come here too (we are their subreaper)."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid in self._last:
                    self._codes[pid] = os.waitstatus_to_exitcode(status)
                    for path in self._leftovers.pop(pid, ()):
                        Path(path).unlink(missing_ok=True)

    def end(self) -> None:
        """Asks every server to end, waits GRACE seconds, kills what is left, removes the folder."""
        self.reap()
        for pid in [pid for pid in self._last if pid not in self._codes]:
            self._signal(pid, self._last[pid], group=False)
            self._signal(pid, signal.SIGCONT, group=False)  # one that is paused could not end
        deadline = time.monotonic() + GRACE
        while self._children() and time.monotonic() < deadline:
            time.sleep(0.01)
            self.reap()
        while left := self._children():
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
            self.reap()
        for _ in range(10):  # a client that is just being killed too may still write a file
            shutil.rmtree(self.folder, ignore_errors=True)
            if not self.folder.exists():
                return
            time.sleep(0.1)

    def _children(self) -> list[int]:
        return [int(pid) for pid in Path("/proc/thread-self/children").read_text().split()]


def _lines(connection: socket.socket, buffer: bytearray) -> list[bytes] | None:
    """The whole lines that arrived on `connection`; None when its other end is gone."""
    try:
        data = connection.recv(65_536)
    except ConnectionResetError:
        return None
    if not data:
        return None
    buffer += data
    *lines, rest = bytes(buffer).split(b"\n")
    buffer[:] = rest
    return lines


def serve(keeper: Keeper, first: socket.socket, listener: socket.socket) -> None:
    """Answers requests until no connection is left or SIGTERM comes."""
    selector = selectors.DefaultSelector()
    selector.register(first, selectors.EVENT_READ, bytearray())
    selector.register(listener, selectors.EVENT_READ)
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda _number, _frame: None)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    selector.register(wake, selectors.EVENT_READ, "signals")
    connections = 1
    while connections:
        for key, _ in selector.select():
            if key.data == "signals":
                if signal.SIGTERM in os.read(wake, 512):
                    return
                keeper.reap()
            elif key.data is None:
                selector.register(listener.accept()[0], selectors.EVENT_READ, bytearray())
                connections += 1
            else:
                connection = key.fileobj
                assert isinstance(connection, socket.socket)
                lines = _lines(connection, key.data)
                if lines is None:
                    selector.unregister(connection)
                    connection.close()
                    connections -= 1
                for line in lines or ():
                    with contextlib.suppress(OSError):  # it went away before its answer; the next recv says so
                        request = json.loads(line)
                        answer = {"id": request["id"], **keeper.answer(request)}
                        connection.sendall(json.dumps(answer).encode() + b"\n")


def main() -> None:
    """Makes the folder, says where it is, serves, and cleans up."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    folder = Path(tempfile.mkdtemp(prefix="watchkeeper-demo-", dir=sys.argv[1]))
    keeper = Keeper(folder)
    try:
        folder.chmod(0o711)  # PostgreSQL's own user must be able to pass
        first = socket.socket(fileno=0)
        with socket.socket(socket.AF_UNIX) as listener:
            os.chdir(folder)  # a path from the root may be too long for a socket
            listener.bind("keeper.sock")
            listener.listen()
            first.sendall(json.dumps({"folder": str(folder)}).encode() + b"\n")
            serve(keeper, first, listener)
    finally:
        keeper.end()


if __name__ == "__main__":
    main()
