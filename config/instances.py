"""Which of the known services there are: presets × environment → one Instance for each address that is set.

`DATABASE_URL` is found as postgres, `DATABASE_URL__LANGFUSE` as postgres-langfuse, and so for every preset.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import cast

from config.endpoints import Endpoint, read_endpoint
from config.env import Env
from config.presets import Companion, Preset
from config.urls import Address, AddressError

SUFFIX = re.compile(r"(?=.{1,40}$)[a-z0-9]+(?:[_-][a-z0-9]+)*")
LOOKS_LIKE_AN_ADDRESS = re.compile(r"[A-Z0-9_]+_(?:URL|URI|HOST|ENDPOINT)(?:__[A-Z0-9_]+)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One known service that is set. `values` are what the preset's placeholders stand for.

    `sources` pairs each variable it was found from with what it holds, fit to be shown. `names` says for `setting` (the
    address) and for each companion which variable holds it, or would, and for `port` the address's port: what the
    preset's words are filled with.
    """

    name: str
    kind: str
    suffix: str
    address: Address
    values: Mapping[str, object]
    sources: tuple[tuple[str, str], ...]
    names: Mapping[str, str]


class Variables:
    """The environment's variables by base and suffix: REDIS_URL__EU_1 and REDIS_URL__eu_1 spell the same thing."""

    def __init__(self, env: Env, known: Iterable[Preset]) -> None:
        bases = {variable for preset in known for variable in _all_variables(preset)}
        self._names: dict[tuple[str, str], str] = {}
        for name in sorted(env.environ):
            base, separator, raw = name.partition("__")
            if base not in bases:
                continue
            suffix = raw.lower().replace("_", "-")
            other = self._names.get((base, suffix))
            if separator and not SUFFIX.fullmatch(raw.lower()):
                env.problem(
                    name,
                    f"has nothing usable after {base}__",
                    f"write letters, digits and single underscores there, such as {base}__EU",
                )
            elif other is None or not env.is_set(other):
                self._names[base, suffix] = name
            elif env.is_set(name):
                env.problem(
                    f"{other} and {name}",
                    "are two spellings of one name, as capitals, _ and - make no difference there",
                    "take one of them out, or give it another name",
                )

    def name(self, base: str, suffix: str) -> str:
        """The variable `base` for `suffix` as it is spelled in the environment, or as it would be."""
        return self._names.get((base, suffix), f"{base}__{suffix.upper().replace('-', '_')}" if suffix else base)

    def suffixes(self, bases: Iterable[str]) -> list[str]:
        """The suffixes under which any of `bases` occurs, sorted; "" for the plain one."""
        wanted = set(bases)
        return sorted({suffix for base, suffix in self._names if base in wanted})


def find_instances(env: Env, known: Mapping[str, Preset]) -> list[Instance]:
    """Every known service whose address is set, sorted by name; problems and notes go to `env`."""
    variables = Variables(env, known.values())
    found = []
    for kind, preset in known.items():
        for suffix in variables.suffixes(preset.own_variables()):
            instance = _instance(env, variables, kind, preset, suffix)
            if instance is not None:
                found.append(instance)
        _note_orphans(env, variables, kind, preset)
    _note_near_misses(env, known)
    return sorted(found, key=lambda instance: instance.name)


def _instance(env: Env, variables: Variables, kind: str, preset: Preset, suffix: str) -> Instance | None:
    name = f"{kind}-{suffix}" if suffix else kind
    before = len(env.problems)
    spelled = _spelled(env, variables, preset, suffix)
    if spelled is None:
        if len(env.problems) == before:
            set_but_empty = [variables.name(base, suffix) for base in preset.own_variables()]
            given = next(variable for variable in set_but_empty if variable in env.environ)
            env.note(f"{given} is set but empty, so {name} is not watched")
        return None
    variable, text = spelled
    companions, found = _companions(env, variables, preset, suffix)
    try:
        endpoint = read_endpoint(text, preset, companions)
    except AddressError as error:
        env.problem(variable, error.message, error.remedy)
        return None
    address = endpoint.address
    for note in (*endpoint.notes, *_railway_notes(env, address)):
        env.note(f"{variable}: {note}")
    if address.password:
        env.secrets.append(address.password)
    _note_unused(env, variables, preset, suffix, variable, companions, found, endpoint)
    _note_left_out(env, variables, preset, name, suffix, endpoint.values)
    return Instance(
        name=name,
        kind=kind,
        suffix=suffix,
        address=address,
        values=endpoint.values,
        sources=((variable, address.url), *((name, shown) for name, shown in found.values())),
        names={
            **_names(variables, preset, suffix, companions, found, (variable, endpoint.values)),
            "port": str(address.port),
        },
    )


def _spelled(env: Env, variables: Variables, preset: Preset, suffix: str) -> tuple[str, str] | None:
    """The variable that says where the service is, and its text; None when none does or it cannot be used."""
    found: list[tuple[str, str]] = []
    for base in preset.variables:
        name = variables.name(base, suffix)
        text = env.text(name, says=preset.says)
        if text:
            found.append((name, text))
        elif env.is_set(name):
            return None  # set and unusable: a problem was reported, and another variable must not hide it
    if preset.host_variable:
        name = variables.name(preset.host_variable, suffix)
        host = env.text(name, says=f"Host of {preset.title}, if {preset.variables[0]} is not set.")
        if host and not found:
            return _host_and_port(env, variables, preset, suffix, name, host)
        if host and host.lower() not in found[0][1].lower():
            env.note(f"{name} is not used: {found[0][0]} already says where {preset.title} is")
    for name, text in found[1:]:
        if text != found[0][1]:
            env.note(f"{name} is not used: {found[0][0]} already says where {preset.title} is")
    return found[0] if found else None


def _host_and_port(
    env: Env, variables: Variables, preset: Preset, suffix: str, name: str, host: str
) -> tuple[str, str] | None:
    if host.count(":") > 1 and "://" not in host and not host.startswith("["):
        host = f"[{host}]"
    if preset.port_variable is None or re.search(r":\d+/?$", host):
        return name, host
    port_name = variables.name(preset.port_variable, suffix)
    if (env.raw(port_name) or "").startswith("tcp://"):
        env.problem(
            port_name,
            "holds tcp://…, which Kubernetes sets for a service of that name",
            f"set {preset.variables[0]}, or turn service links off (enableServiceLinks: false)",
        )
        return None
    before = len(env.problems)
    says = f"Port that goes with {preset.host_variable}."
    port = env.whole(port_name, default=preset.port, least=1, most=65_535, says=says)
    return None if len(env.problems) > before else (name, f"{host.rstrip('/')}:{port}")


def _companions(
    env: Env, variables: Variables, preset: Preset, suffix: str
) -> tuple[dict[str, object], dict[str, tuple[str, str]]]:
    """What goes with the address; and for each that is set, its variable and what it holds, fit to be shown."""
    values: dict[str, object] = {}
    found: dict[str, tuple[str, str]] = {}
    for key, companion in preset.companions.items():
        names = [variables.name(base, suffix) for base in companion.variables]
        if suffix and companion.inherited:
            names += companion.variables
        for name in names:
            if env.is_set(name):
                values[key] = _read(env, name, companion)
                found[key] = (name, "***" if companion.kind == "secret" else _shown(values[key]))
                for other in names[names.index(name) + 1 : len(companion.variables)]:
                    if env.is_set(other) and env.raw(other) != env.raw(name):
                        env.note(f"{other} is not used: {name} says the same thing and counts first")
                break
        if values.get(key) is None:
            values[key] = None if suffix else _default(companion)
    return values, found


def _names(
    variables: Variables,
    preset: Preset,
    suffix: str,
    given: Mapping[str, object],
    found: Mapping[str, tuple[str, str]],
    address: tuple[str, Mapping[str, object]],
) -> dict[str, str]:
    """Which variable holds the address, and which each companion; for one that is nowhere set, which one would.

    `given` and `found` are _companions'; `address` is the address' variable and the values that stand in the end.
    """
    variable, values = address
    names = {"setting": variable}
    for key, companion in preset.companions.items():
        if key in found and values.get(key) in (None, given[key]):
            names[key] = found[key][0]
        elif values.get(key) not in (None, _default(companion)):
            names[key] = variable  # the address itself says it, and wins
        else:
            names[key] = variables.name(companion.variables[0], suffix)
    return names


def _default(companion: Companion) -> object:
    return float(companion.default) if companion.kind == "number" and companion.default else companion.default


def _shown(value: object) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)


def _read(env: Env, name: str, companion: Companion) -> object:
    if companion.kind == "secret":
        return env.secret(name, says=companion.says)
    if companion.kind == "number":
        known = len(env.problems)
        default = float(companion.default or companion.least)
        number = env.number(name, default=default, least=companion.least, most=companion.most, says=companion.says)
        return number if len(env.problems) == known else None
    if companion.kind == "flag":
        return env.flag(name, default=False, says=companion.says)
    text = env.text(name, default=companion.default or "", says=companion.says)
    if companion.kind == "list":
        return tuple(filter(None, (part.strip() for part in text.split(",")))) or None
    return text or None


def _note_unused(
    env: Env,
    variables: Variables,
    preset: Preset,
    suffix: str,
    variable: str,
    given: Mapping[str, object],
    found: Mapping[str, tuple[str, str]],
    endpoint: Endpoint,
) -> None:
    """Notes what is set beside an address that says it already, and says it otherwise."""
    unused = [
        name
        for key, (name, _) in found.items()
        if key != "secure" and given[key] is not None and endpoint.values.get(key) != given[key]
    ]
    port = variables.name(preset.port_variable, suffix) if preset.port_variable else ""
    text = env.environ.get(port, "").strip()
    if text and text != str(endpoint.address.port) and not text.startswith("tcp://"):
        unused.append(port)
    for name in unused:
        env.note(f"{name} is not used: {variable} says otherwise, and counts first")


def _note_left_out(
    env: Env, variables: Variables, preset: Preset, name: str, suffix: str, values: Mapping[str, object]
) -> None:
    """Notes each check that lacks what it requires; half of what it requires is a problem.

    What a check requires of another service is not looked at, nor a check that nobody asked for.
    """
    halves: dict[str, list[str]] = {}
    left_out: dict[str, list[str]] = {}
    for check, table in preset.checks.items():
        if "asked_by" in table and not values.get(str(table["asked_by"])):
            continue
        asked = [str(part).split("|") for part in cast("list[object]", table.get("requires", []))]
        required = [parts for parts in asked if all(part in preset.companions for part in parts)]
        missing = [parts for parts in required if not any(values.get(part) for part in parts)]
        wanted = [
            [variables.name(base, suffix) for part in parts for base in preset.companions[part].variables]
            for parts in missing
        ]
        if not missing or any(env.is_set(variable) for group in wanted for variable in group):
            continue  # complete, or a problem with the variable itself was reported
        words = " and ".join(" or ".join(group) for group in wanted)
        (halves if len(missing) < len(required) else left_out).setdefault(words, []).append(check)
    for words, checks in halves.items():
        who = f"check {name}/{checks[0]} needs" if len(checks) == 1 else f"checks {', '.join(checks)} of {name} need"
        env.problem(words, f"is not set, and the {who} it beside what is set", "set it too")
    for words, checks in left_out.items():
        who = f"check {checks[0]} is" if len(checks) == 1 else f"checks {', '.join(checks)} are"
        env.note(f"{name}: the {who} left out; set {words} to have {'it' if len(checks) == 1 else 'them'}")


def _railway_notes(env: Env, address: Address) -> list[str]:
    if env.is_set("RAILWAY_ENVIRONMENT_ID") and address.host in ("localhost", "127.0.0.1", "::1"):
        return ["names this very container; another service's name ends in .railway.internal"]
    return []


def _all_variables(preset: Preset) -> list[str]:
    companions = [variable for companion in preset.companions.values() for variable in companion.variables]
    port = [preset.port_variable] if preset.port_variable else []
    return [*preset.own_variables(), *port, *companions]


def _note_orphans(env: Env, variables: Variables, kind: str, preset: Preset) -> None:
    """Notes each companion that is set while nothing says where its service is."""
    homes = set(variables.suffixes(preset.own_variables()))
    own = [base for base in _all_variables(preset) if base not in preset.own_variables() and base != "BACKUP_BUCKET"]
    for base in own:
        for suffix in variables.suffixes([base]):
            name = variables.name(base, suffix)
            if suffix not in homes and env.is_set(name):
                ways = (preset.variables[0], preset.host_variable)
                wanted = " or ".join(variables.name(base, suffix) for base in ways if base)
                env.note(f"{name} is set, but without {wanted} no {kind} is watched")


def _note_near_misses(env: Env, known: Mapping[str, Preset]) -> None:
    """Notes variables that look like a slip in one of ours."""
    ours = [variable for preset in known.values() for variable in preset.own_variables()]
    for name in sorted(env.environ):
        base = name.partition("__")[0]
        if base in ours or not LOOKS_LIKE_AN_ADDRESS.fullmatch(name):
            continue
        near = difflib.get_close_matches(base, ours, n=1, cutoff=0.87)
        if near and near[0] not in env.environ:
            env.note(f"{name} is not read; did you mean {near[0]}?")
