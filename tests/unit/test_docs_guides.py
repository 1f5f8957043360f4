"""What the guide about alerts tells people to type and to set is what there is."""

import re
import shlex
import tomllib
from pathlib import Path

import typer
from typer.core import TyperGroup

from config.alert_settings import AlertSettings
from config.env import Env
from config.service_tables import CheckTable, ServiceTable
from config.settings import WatchSettings, WebSettings
from config.tables import slots_of
from monitor.__main__ import app

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "guides" / "alerts.md").read_text(encoding="utf-8")
PAGES = (GUIDE, (ROOT / "README.md").read_text(encoding="utf-8"))


def typed() -> list[list[str]]:
    """The arguments of each `python -m monitor` in a code block or in the text."""
    lines = [line for page in PAGES for line in re.findall(r"python -m monitor ([^`\n]+)", page)]
    return [shlex.split(line, comments=True) for line in lines]


def test_every_command_is_one_that_there_is() -> None:
    group = typer.main.get_command(app)
    assert isinstance(group, TyperGroup)
    assert len(typed()) > 15
    for name, *arguments in typed():
        group.commands[name].make_context(name, list(arguments))  # parses and calls nothing; raises for what is wrong


def test_every_variable_is_one_that_is_read() -> None:
    env = Env({})
    for section in (AlertSettings, WatchSettings, WebSettings):
        section.read(env)
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)[=`]", GUIDE)) | set(re.findall(r"^([A-Z_]+)=", GUIDE, re.MULTILINE))
    assert {"SLACK_WEBHOOK_URL", "PAGE_AFTER", "ALERT_COOLDOWN", "API_TOKEN"} <= named
    assert named - {"WATCH_FILE"} <= set(env.reads)


def test_what_the_guide_writes_into_watch_file_is_known_there() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", GUIDE, flags=re.DOTALL)
    for service in tomllib.loads(block)["services"].values():
        checks = service.pop("checks", {})
        assert set(service) <= set(slots_of(ServiceTable))
        assert all(set(check) <= set(slots_of(CheckTable)) for check in checks.values())


def test_links_lead_somewhere() -> None:
    for page, folder in ((GUIDE, ROOT / "docs" / "guides"), (PAGES[1], ROOT)):
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page):
            assert link.startswith("https://") or (folder / link).exists(), link
