"""What `python -m monitor` writes to outputs that are no terminal: narrow encodings, files, full disks, pipes."""

import os
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

# A name without an address: nothing is asked, and the sentence is longer than 80 columns.
STACK = {"REDIS_URL": "redis://nowhere.invalid", "AGENT_SERVICE_URL": "http://127.0.0.1:1", "LOG_LEVEL": "error"}


def monitor(*arguments: str, stdout: IO[bytes] | int = subprocess.PIPE, **environ: str) -> "subprocess.Popen[bytes]":
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "VIRTUAL_ENV")}
    return subprocess.Popen(
        [sys.executable, "-m", "monitor", *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env={**kept, **STACK, **environ},
        cwd=Path(__file__).parents[2],
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_signs_an_encoding_lacks_are_written_in_plain_letters(encoding: str) -> None:
    with monitor("check", "agent", PYTHONIOENCODING=encoding) as process:
        said, trouble = process.communicate(timeout=30)
    assert process.returncode == 1, trouble
    assert ("x down" if encoding != "utf-8" else "✗ down") in said.decode(encoding)
    assert b"Traceback" not in trouble


def test_in_a_file_no_line_is_wrapped_and_no_word_cut() -> None:
    with monitor("check", "agent") as process:
        said, _ = process.communicate(timeout=30)
    lines = said.decode().splitlines()
    told = next(line for line in lines if "refuses the connection" in line)
    assert "nothing listens on that port." in told
    assert len(told) > 80
    assert all(line == line.rstrip() for line in lines)


@pytest.mark.parametrize("command", [("check", "agent"), ("config",)])
def test_a_disk_that_takes_nothing_is_one_line_and_exit_code_74(command: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full, monitor(*command, stdout=full) as process:
        _, trouble = process.communicate(timeout=30)
    assert process.returncode == 74
    assert trouble.decode().splitlines() == ["watchkeeper: the output cannot be written: No space left on device"]


def test_a_reader_that_went_away_is_no_traceback() -> None:
    with monitor("config") as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 74
