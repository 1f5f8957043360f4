"""What can be checked of the image and the Railway files where no container engine runs."""

import re
import runpy
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
INSTRUCTIONS = re.findall(r"^([A-Z]+) (.+?)(?<!\\)$", DOCKERFILE.replace("\\\n", " "), flags=re.MULTILINE)


def of(name: str) -> list[str]:
    return [arguments for instruction, arguments in INSTRUCTIONS if instruction == name]


def test_everything_the_image_copies_is_there_and_let_through() -> None:
    copied = [word for line in of("COPY") if "--from" not in line for word in line.split()[:-1]]
    assert set(copied) >= {"alerts", "backup", "config", "monitor", "pyproject.toml", "requirements/run.txt"}
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    for path in copied:
        assert (ROOT / path).exists(), path
        assert path.split("/")[0] in allowed, f"{path} is kept out by .dockerignore"


def test_every_package_of_the_wheel_is_in_the_image() -> None:
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    copied = {word for line in of("COPY") if "--from" not in line for word in line.split()[:-1]}
    assert set(packages["packages"]) <= copied


@pytest.mark.parametrize("major", range(14, 19))
def test_each_postgresql_client_comes_from_its_own_image(major: int) -> None:
    stages = [line for line in of("FROM") if re.match(rf"postgres:{major}\.\d+-bookworm AS postgres{major}$", line)]
    assert len(stages) == 1
    copies = [line for line in of("COPY") if line.startswith(f"--from=postgres{major} /usr/lib/postgresql/{major}/bin")]
    for tool in ("pg_dump", "pg_dumpall", "pg_restore", "psql"):
        assert f"/usr/lib/postgresql/{major}/bin/{tool} " in copies[0] + " "


def test_every_base_is_pinned_and_of_one_debian() -> None:
    for line in of("FROM"):
        assert re.match(r"\w+:\d+\.\d+(\.\d+)?-(slim-)?bookworm( AS \w+)?$", line), line


def test_the_python_of_the_image_is_one_we_support() -> None:
    supported = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    version = re.search(r"python:(\d+)\.(\d+)", DOCKERFILE)
    assert version
    assert supported == ">=3.11"
    assert (int(version[1]), int(version[2])) >= (3, 11)


def test_no_secret_and_no_volume_in_the_image() -> None:
    # Railway refuses a Dockerfile with VOLUME; a secret in ENV or ARG would be in every layer.
    assert not of("VOLUME")
    assert not of("ARG")
    assert not re.search(r"PASSWORD|SECRET|TOKEN|_KEY", " ".join(of("ENV")))


def test_one_process_started_without_a_shell() -> None:
    assert of("ENTRYPOINT") == ['["python", "-m", "monitor.container"]']
    assert of("CMD") == ['["run"]']
    assert "PYTHONSAFEPATH=1" in " ".join(of("ENV"))


def test_railway_toml_is_what_railway_reads() -> None:
    given = tomllib.loads((ROOT / "railway.toml").read_text())
    assert given["build"] == {"builder": "DOCKERFILE", "dockerfilePath": "Dockerfile"}
    assert given["deploy"]["healthcheckPath"] == "/healthz"
    assert given["deploy"]["restartPolicyType"] == "ALWAYS"
    assert given["deploy"]["drainingSeconds"] >= 3
    assert not (ROOT / ".railway").exists(), "a .railway folder here would claim the whole project"


def test_the_infrastructure_partial_adds_one_service_and_its_volume_and_nothing_else() -> None:
    guide = runpy.run_path(str(ROOT / "docs/guides/railway.py"))
    assert guide["PARTIAL"] == "watchkeeper"
    graph = guide["main"]().to_graph()
    resources = {resource["address"]: resource for resource in graph["resources"]}
    assert set(resources) == {"service.watchkeeper", "volume.watchkeeper-state"}
    keeper = resources["service.watchkeeper"]
    railway = tomllib.loads((ROOT / "railway.toml").read_text())["deploy"]
    for name, value in railway.items():
        assert keeper["deploy"][name] == value, f"{name} differs from railway.toml"
    assert keeper["volumeAttachments"]["watchkeeper-state"]["mountPath"] == guide["STATE"]
    assert all(variable["type"] == "literal" for variable in keeper["variables"].values())


def test_the_guide_lists_the_variables_of_the_partial() -> None:
    guide = (ROOT / "docs/guides/deploy.md").read_text(encoding="utf-8")
    for name, value in runpy.run_path(str(ROOT / "docs/guides/railway.py"))["VARIABLES"].items():
        assert f"{name}={value}" in guide, f"{name} is missing from docs/guides/deploy.md"
