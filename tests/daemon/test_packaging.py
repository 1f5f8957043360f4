"""The wheel, as somebody else installs it: what is in it, and that it runs where files of other names' like lie about.

The tests elsewhere run from the working tree, whose editable install hides what a wheel lacks.
"""

import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from demo.daemon import Daemon
from demo.process import Keeper, clean_environ

ROOT = Path(__file__).parents[2]
Until = Callable[[Callable[[], bool]], bool]
PACKAGES = {"alerts", "backup", "config", "monitor"}
STRAY = "raise SystemExit('the stray {} was taken')\n"


def run(*command: str | Path, cwd: Path, **variables: str) -> "subprocess.CompletedProcess[str]":
    environ = clean_environ(**variables)
    return subprocess.run(command, env=environ, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--no-build-isolation"]
    built = run(sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, ROOT, cwd=folder)
    assert built.returncode == 0, built.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a venv with the wheel installed. Its dependencies are those of our own venv, which a .pth
    file names; the .pth files of that one, our editable install, are not read then."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    (site,) = folder.glob("lib/*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--no-compile"]
    installed = run(sys.executable, "-m", "pip", "--python", python, "install", *options, wheel, cwd=folder)
    assert installed.returncode == 0, installed.stderr
    return python


@pytest.fixture
def littered(tmp_path: Path) -> Path:
    """A working folder in which a backup.py, a config/ and a monitor.py of somebody else's lie."""
    (tmp_path / "config").mkdir()
    for name in ("backup.py", "monitor.py", "config/__init__.py"):
        (tmp_path / name).write_text(STRAY.format(name))
    return tmp_path


def test_what_is_in_the_wheel_and_what_is_not(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (points,) = (name for name in names if name.endswith("entry_points.txt"))
        scripts = archive.read(points).decode()
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == PACKAGES
    assert names >= {f"{package}/py.typed" for package in PACKAGES}
    for folder in ("config/presets", "monitor/web/templates"):
        kept = {str(path.relative_to(ROOT)) for path in (ROOT / folder).iterdir() if path.is_file()}
        assert len(kept) > 1
        assert names >= kept
    assert not [name for name in names if name.endswith((".pyc", ".md", ".db")) or "/tests/" in name]
    assert "watchkeeper = monitor.__main__:main" in scripts
    assert "watchkeeper-backup = backup.__main__:main" in scripts


def forms(python: Path, module: str, script: str) -> list[tuple[str | Path, ...]]:
    return [(python.with_name(script),), (python, "-I", "-m", module)]


@pytest.mark.parametrize(("module", "script"), [("monitor", "watchkeeper"), ("backup", "watchkeeper-backup")])
def test_every_form_we_tell_people_runs_beside_stray_files(
    python: Path, littered: Path, module: str, script: str
) -> None:
    taken = run(python, "-m", module, "--help", cwd=littered)
    assert "stray" in taken.stderr, "without those forms a file in the working folder is taken instead of ours"
    for form in forms(python, module, script):
        shown = run(*form, "--help", cwd=littered)
        assert (shown.returncode, "stray" in shown.stderr) == (0, False), (form, shown.stderr)
        assert "Usage" in shown.stdout
    safe = run(python, "-m", module, "--help", cwd=littered, PYTHONSAFEPATH="1")  # as the image has it
    assert (safe.returncode, safe.stderr) == (0, "")


def test_the_installed_programs_find_their_data(python: Path, littered: Path) -> None:
    found = run(python, "-I", "-m", "monitor", "config", cwd=littered, REDIS_URL="redis://127.0.0.1:1", COLUMNS="200")
    assert found.returncode == 0, found.stderr
    assert "redis://127.0.0.1:1" in found.stdout
    pair = run(python.with_name("watchkeeper-backup"), "keygen", cwd=littered)
    assert pair.returncode == 0, pair.stderr
    assert "AGE-SECRET-KEY-" in pair.stdout + pair.stderr
    where = "import monitor, backup, config, alerts; print(monitor.__file__, backup.__file__, config.__file__)"
    files = run(python, "-I", "-c", where, cwd=littered).stdout.split()
    assert len(files) == 3
    assert all(Path(file).is_relative_to(python.parents[1]) for file in files), files
    demo = run(python, "-I", "-c", "import demo", cwd=littered)
    assert "ModuleNotFoundError" in demo.stderr


@pytest.mark.parametrize("form", [0, 1], ids=["script", "isolated"])
def test_the_installed_daemon_runs_and_draws_its_page(python: Path, keeper: Keeper, form: int, until: Until) -> None:
    command = [*map(str, forms(python, "monitor", "watchkeeper")[form]), "run"]
    with Daemon({"REDIS_URL": "redis://127.0.0.1:1"}, command=command, keeper=keeper) as daemon:
        until(lambda: "Redis" in httpx.get(daemon.url, trust_env=False).raise_for_status().text)
