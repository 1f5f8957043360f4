"""Which folder, and one daemon in it: with real processes that are really killed."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from monitor.folder import LOCK_NAME, FolderLock, choose_folder

HOLDER = """
import pathlib, sys, time
from monitor.folder import FolderLock
lock = FolderLock(pathlib.Path(sys.argv[1]), instance="first", clock=lambda: 1_790_000_000.0)
print(lock.acquire(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the lock on tmp_path."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        yield process
        process.kill()


def test_the_folder_that_is_given_is_taken() -> None:
    assert choose_folder(Path("/a")) == (Path("/a"), None)


def test_a_relative_folder_does_not_move_with_the_working_directory() -> None:
    folder, _ = choose_folder(Path("state"))
    assert folder == Path.cwd() / "state"


def test_without_a_folder_there_is_a_temporary_one_and_a_warning() -> None:
    folder, warning = choose_folder(None)
    other, _ = choose_folder(None)
    try:
        assert folder != other
        assert folder.is_dir()
        assert warning is not None
        assert "STATE_DIR" in warning
        assert str(folder) in warning
    finally:
        folder.rmdir()
        other.rmdir()


def test_a_second_process_is_kept_out_and_told_who_is_in(tmp_path: Path, holder: "subprocess.Popen[str]") -> None:
    lock = FolderLock(tmp_path, instance="second")
    assert not lock.acquire()
    assert lock.holder() == f"instance first, process {holder.pid}, since 2026-09-21 14:13:20 UTC"
    assert lock.problem is None


def test_the_second_takes_over_when_the_first_is_killed(tmp_path: Path, holder: "subprocess.Popen[str]") -> None:
    said: list[str] = []

    async def stand_by() -> None:
        lock = FolderLock(tmp_path, instance="second")
        waiting = asyncio.create_task(lock.wait(on_wait=said.append, poll=0.02))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        holder.kill()
        await asyncio.wait_for(waiting, 10)
        assert f"process {os.getpid()}" in lock.holder()
        lock.release()

    asyncio.run(stand_by())
    assert len(said) == 1
    assert "standing by" in said[0]
    assert f"process {holder.pid}" in said[0]


def test_standing_by_can_be_cancelled(tmp_path: Path, holder: "subprocess.Popen[str]") -> None:
    async def stand_by() -> None:
        lock = FolderLock(tmp_path, instance="second")
        waiting = asyncio.create_task(lock.wait(on_wait=lambda _: None, poll=30))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(stand_by())


def test_a_released_lock_can_be_taken_again(tmp_path: Path) -> None:
    first, second = FolderLock(tmp_path / "new", instance="a"), FolderLock(tmp_path / "new", instance="b")
    assert first.acquire()
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    second.release()


def test_the_lock_is_not_handed_down_to_child_processes(tmp_path: Path) -> None:
    """A backup that outlives its daemon must not keep the next daemon standing by."""
    first, second = FolderLock(tmp_path, instance="a"), FolderLock(tmp_path, instance="b")
    assert first.acquire()
    with subprocess.Popen(["sleep", "30"], close_fds=False) as process:
        first.release()
        assert second.acquire()
        process.kill()
    second.release()


def test_a_folder_that_cannot_be_locked_is_a_problem_and_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    lock = FolderLock(tmp_path / "file" / "state", instance="a")
    assert lock.acquire()
    assert lock.problem is not None
    assert f"{tmp_path / 'file' / 'state'} is a file, and a folder is needed there" in lock.problem
    lock.release()


@pytest.mark.parametrize("again", [True, False])
def test_a_lock_whose_file_is_gone_is_taken_anew(tmp_path: Path, again: bool) -> None:
    first, second = FolderLock(tmp_path / "state", instance="a"), FolderLock(tmp_path / "state", instance="b")
    assert first.acquire()
    shutil.rmtree(tmp_path / "state")
    if again:
        assert first.acquire()
        assert not second.acquire()
    else:
        assert second.acquire()
        assert not first.acquire()
    first.release()
    second.release()


def test_a_holder_that_left_no_name_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text("{broken")
    lock = FolderLock(tmp_path, instance="a")
    assert lock.holder() == "it left no name"
    assert lock.acquire()
    assert "instance a" in lock.holder()
    lock.release()
