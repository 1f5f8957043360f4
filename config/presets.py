"""The services we know: one TOML file each in presets/, data alone.

A preset says by which variables its service is found, what to ask it, what it depends on and what helps when it fails.
`${name}` in a check stands for a part of the address (url, host, port, tls, user, password, database, options) or for
a companion; an entry whose value is not known is left out. `${redis_host}` stands for a part of the Redis that this
service depends on, and so for every kind in `depends_on` and `looks_at`. In what a sign says and in a remedy
`{setting}` stands for the variable that holds the address, `{key}` for the one that holds the companion `key`: there
may be several of a kind; `{redis_setting}` and `{litellm_key}` do so for another service's;
`{port}` stands for the port of the address. A remedy that fits one check alone stands in [checks.NAME.remedies].
What every check of a kind has stands in [every.KIND] once; a check's own word goes before it.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import Literal

from config.causes import Cause
from config.fields import Port
from config.tables import Place, Report, build


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """A variable that goes with an address: a key, a user, a bucket. The first of `variables` that is set counts.

    What the address itself says wins over it. `inherited`: a suffixed service without one of its own takes the plain
    one. `default` goes for the plain service only. A number is at least `least` and at most `most`; a list is written
    with commas.
    """

    variables: tuple[str, ...]
    says: str
    kind: Literal["text", "secret", "flag", "number", "list"] = "text"
    default: str | None = None
    inherited: bool = False
    least: float = 0
    most: float = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One known service. `checks` are whole: what `every` says of their kind is in them.

    `reads` is the form of its address (`config.urls.FORMS`). `family` is the suffix that names its own database, broker
    or store, besides the preset's name. `drop_paths` are endings of an address that people copy along and that are not
    part of it. A check may have `requires`: the placeholders it cannot do without ("a|b": either); a sign may have
    `if_depends_on`: it counts only when a service of that kind is among the dependencies.

    `looks_at` names kinds of service that checks ask something of without depending on them. A check with `asked_by` is
    wanted only where that companion is set; no word is said of it otherwise.

    A check may be off until WATCH_FILE says `enabled = true`: with `needed_by`, unless a service of one of these kinds
    depends on this one; with `server_wide`, where another service at the same host and port asks it already; with
    `writes`, where CANARY_WRITES is off.
    """

    title: str
    reads: Literal["http", "grpc", "postgres", "redis", "clickhouse", "s3"]
    variables: tuple[str, ...]
    says: str
    checks: Mapping[str, Mapping[str, object]]
    remedies: Mapping[Cause, str]
    port: Port
    host_variable: str | None = None
    port_variable: str | None = None
    family: str = ""
    depends_on: tuple[str, ...] = ()
    looks_at: tuple[str, ...] = ()
    drop_paths: tuple[str, ...] = ()
    companions: Mapping[str, Companion] = field(default_factory=dict)
    every: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def own_variables(self) -> tuple[str, ...]:
        """Every variable that can name its address."""
        return self.variables + ((self.host_variable,) if self.host_variable else ())


@cache
def presets() -> Mapping[str, Preset]:
    """Every preset by its name, which is its file's, sorted. Raises ValueError for a file that is wrong."""
    found = {}
    files = sorted(
        (entry for entry in resources.files("config").joinpath("presets").iterdir() if entry.name.endswith(".toml")),
        key=lambda entry: entry.name,
    )
    for entry in files:
        name = entry.name.removesuffix(".toml")

        def report(place: Place, message: str, remedy: str, name: str = name) -> None:
            raise ValueError(f"presets/{name}.toml: {'.'.join(place)} {message}; {remedy}")

        preset = build(Preset, tomllib.loads(entry.read_text(encoding="utf-8")), (), report)
        if preset is not None:
            found[name] = whole(preset, report)
    return found


def whole(preset: Preset, report: Report) -> Preset:
    """The preset with what `every` says of a kind in each of its checks."""
    for kind in preset.every.keys() - {check.get("kind") for check in preset.checks.values()}:
        report(("every", kind), "is of no check", "take it out, or compare the check's kind")
    checks = {name: {**preset.every.get(str(check.get("kind")), {}), **check} for name, check in preset.checks.items()}
    return replace(preset, checks=checks)
