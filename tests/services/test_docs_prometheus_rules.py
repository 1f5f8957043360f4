"""The rules we ship for Prometheus, and the Alertmanager that goes with them, as their own tools see them."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from monitor.families import FAMILIES

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
RULES = REFERENCE / "prometheus-rules.yml"
TESTS = Path(__file__).parents[1] / "data" / "prometheus"


def ran(*command: str | Path, folder: Path) -> str:
    """What a command said; it must end well."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The rules and their tests beside each other, as promtool wants them."""
    for file in (RULES, *TESTS.iterdir()):
        shutil.copy(file, tmp_path)
    return tmp_path


def alerts() -> set[str]:
    return set(re.findall(r"- alert: (\w+)", RULES.read_text(encoding="utf-8")))


def test_promtool_takes_the_rules(program: Callable[[str], str], folder: Path) -> None:
    said = ran(program("promtool"), "check", "rules", RULES.name, folder=folder)
    assert f"{len(alerts()) + 1} rules found" in said  # one record


def test_the_rules_fire_when_they_should_and_only_then(program: Callable[[str], str], folder: Path) -> None:
    said = ran(program("promtool"), "test", "rules", *(file.name for file in TESTS.iterdir()), folder=folder)
    assert said.count("SUCCESS") == len(list(TESTS.iterdir())) > 0


def test_a_rule_that_is_wrong_would_be_found(program: Callable[[str], str], folder: Path) -> None:
    rules = folder / RULES.name
    rules.write_text(
        rules.read_text().replace("unless on (job, instance, service) watchkeeper:", "unless on (job) watchkeeper:")
    )
    with pytest.raises(AssertionError, match="WatchkeeperServiceDown"):
        ran(program("promtool"), "test", "rules", "minutes.test.yml", folder=folder)


def test_every_alert_has_a_test() -> None:
    tested = {name for file in TESTS.iterdir() for name in re.findall(r"alertname: (\w+)", file.read_text())}
    assert tested == alerts()


def test_the_rules_ask_for_metrics_that_there_are() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in (RULES, *TESTS.iterdir()))
    asked = {name.removesuffix("_bucket") for name in re.findall(r"\bwatchkeeper_\w+", text)}
    assert asked <= {family.name for family in FAMILIES}


def test_alertmanager_takes_its_configuration_and_it_names_rules_that_there_are(program: Callable[[str], str]) -> None:
    text = (REFERENCE / "alertmanager.yml").read_text(encoding="utf-8")
    assert set(re.findall(r'alertname="(\w+)"', text)) <= alerts()
    assert "SUCCESS" in ran(program("amtool"), "check-config", "alertmanager.yml", folder=REFERENCE)
