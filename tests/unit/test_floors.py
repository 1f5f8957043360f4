"""The import floors of pyproject.toml leave nobody out; lint-imports holds the code against them."""

import tomllib
from pathlib import Path

from alerts.channels.table import CHANNELS
from monitor.probes.table import KINDS

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))


def modules(contract: str) -> set[str]:
    """The last names of the modules that a contract is about."""
    contracts = {one["name"]: one for one in PROJECT["tool"]["importlinter"]["contracts"]}
    return {module.rpartition(".")[2] for module in contracts[contract]["modules"]}


def test_no_kind_of_probe_may_import_another() -> None:
    assert modules("probes never meet") == set(KINDS)


def test_no_kind_of_channel_may_import_another() -> None:
    assert modules("channels never meet") == set(CHANNELS)
