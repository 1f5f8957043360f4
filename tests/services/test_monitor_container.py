"""The container's entry point: owns the state as root, then is root no more."""

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from demo.contract import Contract
from demo.process import clean_environ

ROOT = os.getuid() == 0
SHOW = "import os; print(os.getuid(), os.getgid(), os.getgroups(), os.environ['HOME'])"


def run(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environ(**environ),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )


@pytest.mark.skipif(not ROOT, reason="only root can become somebody else")
def test_it_becomes_the_user_for_good_with_the_users_home() -> None:
    nobody = pwd.getpwnam("nobody")
    code = f"import pwd; from monitor.container import become; become(pwd.getpwnam('nobody')); {SHOW}"
    told = run(code, HOME="/root").stdout.split()
    assert told == [str(nobody.pw_uid), str(nobody.pw_gid), "[]", nobody.pw_dir]


@pytest.mark.skipif(not ROOT, reason="only root can give files away")
def test_the_state_folder_and_its_files_become_the_users_and_links_are_left_alone(tmp_path: Path) -> None:
    folder, outside = tmp_path / "state", tmp_path / "outside"
    folder.mkdir()
    (folder / "watchkeeper.db").touch()
    outside.touch()
    (folder / "link").symlink_to(outside)
    run(
        "import pwd, pathlib; from monitor.container import own;"
        f"own(pathlib.Path({str(folder)!r}), pwd.getpwnam('nobody'))"
    )
    uid = pwd.getpwnam("nobody").pw_uid
    assert folder.stat().st_uid == (folder / "watchkeeper.db").stat().st_uid == uid
    assert outside.stat().st_uid == os.getuid()


@pytest.mark.skipif(not ROOT, reason="the container starts as root")
def test_a_folder_that_cannot_be_owned_is_told() -> None:
    code = (
        "import pwd, pathlib; from monitor.container import own;"
        "print(own(pathlib.Path('/proc/x'), pwd.getpwnam('nobody')))"
    )
    assert "check the volume's mount path" in run(code).stdout


@pytest.mark.parametrize(("fault", "code"), [(None, 0), ("http_503", 1), ("refuse", 1)])
def test_the_health_question_is_an_exit_code(contract_port: Contract, fault: str | None, code: int) -> None:
    if fault:
        contract_port.break_with(fault)
    command = [sys.executable, "-m", "monitor.container", "health"]
    environ = clean_environ(PORT=str(contract_port.port))
    assert subprocess.run(command, env=environ, capture_output=True, timeout=30, check=False).returncode == code


@pytest.fixture
def contract_port(contract: object) -> Contract:
    assert callable(contract)
    made = contract("react-client")  # answers 200 to every path, /healthz too
    assert isinstance(made, Contract)
    return made
