"""`python -m demo`: plays an outage, says what the daemon saw, and leaves nothing behind however it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from demo.daemon import Daemon, Recorder, daemon_variables
from demo.outages import find, groups, listing
from demo.process import DemoError, Keeper

STAND_IN = Path(__file__).with_name("stand_in_daemon.py")
PROGRAM = """
import sys
from demo import play
wish = play.Wish(seconds={seconds}, outage={outage!r}, stand_in=True, daemon=(sys.executable, {daemon!r}),
                 check=(sys.executable, "-c", {check!r}))
sys.exit(play.{what}(wish))
"""


class Demo:
    """A demo of the test's own, as a process with a temporary folder that shows what it leaves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[str] | None = None

    def start(
        self, what: str = "run", *, seconds: float = 60, outage: str | None = None, check: str = ""
    ) -> "subprocess.Popen[str]":
        """Starts it; its output is for the caller to read."""
        program = PROGRAM.format(seconds=seconds, outage=outage, daemon=str(STAND_IN), what=what, check=check)
        self.process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(self.folder)},
        )
        return self.process

    def wait_until_up(self) -> list[psutil.Process]:
        """Returns when the daemon answers: every process of the demo but the demo itself."""
        assert self.process
        assert self.process.stdout
        while "its log" not in (line := self.process.stdout.readline()):
            assert line, "the demo ended before it was up"
        return [*psutil.Process(self.process.pid).children(recursive=True)]

    def assert_nothing_left(self, processes: list[psutil.Process]) -> None:
        """Fails unless, within ten seconds, every process is gone and the folder is empty."""
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and (any(map(alive, processes)) or list(self.folder.iterdir())):
            time.sleep(0.05)
        assert [process for process in processes if alive(process)] == []
        assert list(self.folder.iterdir()) == []


def alive(process: psutil.Process) -> bool:
    """Whether it runs; a zombie that waits for init does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path)
    yield demo
    if demo.process:
        demo.process.kill()
        demo.process.communicate()


def test_it_plays_an_outage_and_says_what_the_daemon_saw(demo: Demo) -> None:
    process = demo.start(seconds=4, outage="redis")
    output, errors = process.communicate(timeout=60)
    assert errors == ""
    assert process.returncode == 0
    assert "→ redis: redis is stopped" in output
    assert "redis up -> down" in output  # the daemon's own words
    assert "up → down (refused)" in output
    assert "all up at the end" in output
    demo.assert_nothing_left([])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_however_it_ends(demo: Demo, number: signal.Signals) -> None:
    process = demo.start()
    processes = demo.wait_until_up()
    assert len(processes) >= 6  # keeper, PostgreSQL and its own, Valkey, ClickHouse, SeaweedFS, the daemon
    process.send_signal(number)
    assert process.wait(15) == (-number if number == signal.SIGKILL else 0)
    demo.assert_nothing_left(processes)


def test_a_signal_while_it_starts_leaves_nothing(demo: Demo) -> None:
    process = demo.start()
    assert process.stdout
    assert "Starting" in process.stdout.readline()
    time.sleep(0.5)
    processes = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    process.wait(15)
    demo.assert_nothing_left(processes)


def test_check_runs_one_round_and_gives_its_exit_code(demo: Demo) -> None:
    process = demo.start("check", check="import os, sys; print(os.environ['REDIS_URL'][:8]); sys.exit(7)")
    output, _ = process.communicate(timeout=60)
    assert (output, process.returncode) == ("redis://\n", 7)
    demo.assert_nothing_left([])


def test_environ_prints_lines_for_a_shell(demo: Demo) -> None:
    process = demo.start("environ", seconds=0.1)
    output, _ = process.communicate(timeout=60)
    shell = subprocess.run(
        ["sh", "-c", output + '\necho "$QDRANT_API_KEY"'], check=True, capture_output=True, text=True, env={}
    )
    assert shell.stdout == "demo-qdrant-key\n"


def test_a_daemon_that_ends_is_shown_with_its_log(keeper: Keeper) -> None:
    daemon = Daemon({}, command=(sys.executable, "-c", "print('no service is configured'); exit(2)"), keeper=keeper)
    with pytest.raises(DemoError, match=r"ended with code 2 .*\n  no service is configured"):
        daemon.start()


def test_every_outage_has_a_name_of_its_own_and_a_line() -> None:
    outages = [outage for group in groups().values() for outage in group]
    assert len({outage.name for outage in outages}) == len(outages)
    assert all(outage.says for outage in outages)
    assert {"redis", "redis/pause", "postgres/password", "minio/bucket", "redis/full", "qdrant/hang"} <= {
        outage.name for outage in outages
    }
    assert "  redis/full " in listing()
    with pytest.raises(DemoError, match="did you mean redis"):
        find("redsi")


def test_the_recorder_keeps_changes_and_not_first_sights() -> None:
    recorder = Recorder()
    recorder.look({"a": {"state": "up", "cause": None}}, now=1)
    assert recorder.all_up
    recorder.look({"a": {"state": "down", "cause": "refused"}}, now=2)
    assert [(change.at, change.before, change.after, change.cause) for change in recorder.changes] == [
        (2, "up", "down", "refused")
    ]
    assert not recorder.all_up


def test_the_daemons_own_pace_sets_no_variable() -> None:
    assert daemon_variables({"A": "1"}, interval=60) == {"A": "1"}
    assert daemon_variables({}, interval=5) == {"CHECK_INTERVAL": "5", "CONFIRM_INTERVAL": "1", "PAGE_AFTER": "10"}
