"""The keeper: what it starts ends with whoever wanted it, and ports stay reserved."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from demo.ports import free_port, release
from demo.process import Command, DemoError, Keeper, clean_environ

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
PARENT = "import subprocess, time; subprocess.Popen(['sleep', '600'], start_new_session=True); time.sleep(600)"


@pytest.fixture
def mine(tmp_path: Path, keeper: Keeper) -> Iterator[Keeper]:
    """A keeper of the test's own."""
    with Keeper.start() as mine:
        yield mine


def python(program: str) -> Command:
    return Command(argv=[sys.executable, "-S", "-c", program], environ=clean_environ())


def spawn(keeper: Keeper, program: str) -> psutil.Process:
    """Starts a Python program under `keeper`."""
    return psutil.Process(keeper.spawn(python(program), cwd=keeper.folder, log=keeper.folder / "log"))


def wait_until(true: object, *, seconds: float = 10) -> None:
    assert callable(true)
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_process_is_followed_to_its_exit_code(mine: Keeper) -> None:
    process = spawn(mine, "print('hello'); raise SystemExit(3)")
    wait_until(lambda: mine.poll(process.pid) is not None)
    assert mine.poll(process.pid) == 3
    assert (mine.folder / "log").read_text() == "hello\n"
    assert mine.signal(process.pid, signal.SIGTERM) is False


def test_what_cannot_be_started_is_said(mine: Keeper) -> None:
    with pytest.raises(DemoError, match="no-such-program"):
        mine.spawn(Command(argv=["/no-such-program"], environ={}), cwd=mine.folder, log=mine.folder / "log")


def test_only_its_own_processes_are_signalled(mine: Keeper) -> None:
    with pytest.raises(DemoError, match="was not started here"):
        mine.signal(os.getpid(), signal.SIGTERM)


def test_an_answer_that_nobody_waited_for_is_not_taken_for_another(mine: Keeper) -> None:
    """Ctrl-C may come between a question and its answer."""
    process = spawn(mine, "import time; time.sleep(600)")
    mine._connection.sendall(b'{"do": "poll", "pid": 1, "id": 0}\n')
    assert mine.signal(process.pid, signal.SIGTERM) is True


def test_one_that_ignores_sigterm_and_its_daemonised_child_end_too() -> None:
    with Keeper.start() as mine:
        stubborn, parent = spawn(mine, STUBBORN), spawn(mine, PARENT)
        wait_until(lambda: (mine.folder / "log").read_text() == "up\n" and parent.children())
        orphan = parent.children()[0]
        folder = mine.folder
    assert not any(process.is_running() for process in (stubborn, parent, orphan))
    assert not folder.exists()


def test_it_lasts_until_its_last_connection_closes() -> None:
    with Keeper.start() as first:
        second = Keeper.join(first.folder)
        process = spawn(second, "import time; time.sleep(600)")
        second.close()
        assert first.poll(process.pid) is None
    assert not process.is_running()


def test_a_killed_keeper_takes_its_processes_along() -> None:
    mine = Keeper.start()
    process = spawn(mine, "import time; time.sleep(600)")
    keeper = process.parent()
    assert keeper is not None
    keeper.kill()
    wait_until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
    with pytest.raises(DemoError, match="has ended"):
        mine.poll(process.pid)
    mine.close()
    assert not mine.folder.exists()


def test_a_port_is_given_once_over_all_processes() -> None:
    ours = {free_port() for _ in range(20)}
    program = "from demo.ports import free_port; print([free_port() for _ in range(20)])"
    theirs = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
    assert len(ours) == 20
    assert not ours & set(map(int, theirs.strip("[]\n").split(",")))
    for port in ours:
        release(port)
