"""Presets × environment × WATCH_FILE → the services that are watched."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path

from config.env import Env, Problem
from config.expansion import PLACEHOLDER
from config.filling import fill, look_around
from config.graph import find_circle, same_server, settle_dependencies
from config.instances import Instance, find_instances
from config.presets import presets
from config.secret import Secret
from config.service_tables import DefaultsTable, Table, make_service
from config.settings import WatchSettings
from config.tables import Place, suggest
from config.watched import Check, Service, Severity
from config.watchfile import WatchFile, read_watch_file

CONDITIONS = ("needed_by", "server_wide", "writes")  # of a preset's check: Preset says what they mean

__all__ = ["Check", "Discovery", "Service", "Severity", "Source", "discover", "survey"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A variable that led to a service, or filled it in; `shown` is its value without anything secret."""

    variable: str
    service: str
    shown: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What is watched, and what there is to say about how it was told. Services are sorted by name.

    With problems, `services` holds what could be understood all the same. `secrets` are what logs must mask.
    """

    services: tuple[Service, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    sources: tuple[Source, ...] = ()
    secrets: tuple[Secret, ...] = ()


def discover(environ: Mapping[str, str], *, watch_file: Path | None = None) -> Discovery:
    """What `environ`, and the file it or `watch_file` names, say is to be watched. Never raises for what they hold."""
    env = Env(environ)
    settings = WatchSettings.read(env)
    return survey(env, replace(settings, watch_file=watch_file or settings.watch_file))


def survey(env: Env, settings: WatchSettings) -> Discovery:
    """As discover, with an Env that other sections were read from too: their problems and notes are in the result."""
    file = read_watch_file(settings.watch_file, env) if settings.watch_file else WatchFile()
    instances = find_instances(env, presets())
    defaults = _defaults(settings, file, env)
    plans = {instance.name: _plan(instance, instances, file) for instance in instances}
    for name, table in file.services.items():
        if name not in plans and _is_ours(name, table, file, plans, env):
            plans[name] = Plan(kind="custom", base={}, changes=table, depends_on=())

    def report(place: Place, message: str, remedy: str) -> None:
        env.problem(_blamed(place, plans, file), message, remedy)

    graph: dict[str, tuple[str, ...]] = {}
    for name in sorted(plans):
        plan = plans[name]
        graph[name] = plan.depends_on
        if isinstance(plan.changes.get("depends_on"), list):
            graph[name] = _named_dependencies(name, plan.changes["depends_on"], plans, file, env)
    services = []
    for name in sorted(plans):
        plan = plans[name]
        if plan.instance is not None:
            around = look_around(plan.instance, graph[name], instances)
            plan = plans[name] = replace(plan, base=fill(around, presets()[plan.kind]), instance=around)
        base = _without_idle_signs(plan.base, {plans[other].kind for other in graph[name]})
        needed_by = {plans[other].kind for other, depends_on in graph.items() if name in depends_on}
        service = make_service(
            name,
            plan.kind,
            _settle_conditions(base, needed_by, shares_server=plan.shares_server, writes=settings.canary_writes),
            _without_idle_changes(name, plan, file, env),
            depends_on=graph[name],
            variables=plan.variables,
            defaults=defaults,
            report=report,
        )
        if service is not None:
            services.append(service)
    services = _paused(services, settings.paused, plans, env)
    _check_graph(graph, file, env)
    if not plans and not env.problems:
        _say_what_to_set(env)
    sources = [
        Source(variable=variable, service=instance.name, shown=shown)
        for instance in instances
        for variable, shown in instance.sources
    ]
    return Discovery(
        services=tuple(services),
        notes=tuple(env.notes),
        problems=tuple(env.problems),
        sources=tuple(sources),
        secrets=tuple(dict.fromkeys([*env.secrets, *(secret for item in services for secret in secrets_of(item))])),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A service about to be made: its preset's table with placeholders filled, once it is known who depends on whom,
    and WATCH_FILE's changes.
    """

    kind: str
    base: Table
    changes: Table
    depends_on: tuple[str, ...]
    variables: tuple[str, ...] = ()
    instance: Instance | None = None
    shares_server: bool = False


def _plan(instance: Instance, instances: list[Instance], file: WatchFile) -> Plan:
    preset = presets()[instance.kind]
    return Plan(
        kind=instance.kind,
        base={},
        changes=file.services.get(instance.name, {}),
        depends_on=settle_dependencies(instance, preset, instances),
        variables=tuple(variable for variable, _ in instance.sources),
        instance=instance,
        shares_server=bool(same_server(instance, instances)),
    )


def _blamed(place: Place, plans: Mapping[str, Plan], file: WatchFile) -> str:
    """Where what is wrong at `place` was said: in the file, or in the variables a preset's check was filled from."""
    plan = plans.get(place[1]) if len(place) > 1 else None
    written: object = plan.changes if plan else None
    for key in place[2:]:
        written = written.get(key) if isinstance(written, Mapping) else None
    if plan is None or plan.instance is None or written is not None or place[2:3] != ("checks",):
        return file.where(place)
    template: object = presets()[plan.kind].checks
    for key in place[3:]:
        template = template.get(key) if isinstance(template, Mapping) else None
    names = plan.instance.names
    found = [names.get(part, names["setting"]) for part in PLACEHOLDER.findall(str(template)) if part]
    return " or ".join(dict.fromkeys(found)) or file.where(place)


def _without_idle_changes(name: str, plan: Plan, file: WatchFile, env: Env) -> Table:
    """WATCH_FILE's changes without those to a check of the preset's that is not asked here, each with a note."""
    checks, there = plan.changes.get("checks"), plan.base.get("checks", {})
    if plan.instance is None or not isinstance(checks, Mapping) or not isinstance(there, Mapping):
        return plan.changes
    idle = [one for one in checks if one not in there and _only_changes({one: checks[one]}, plan.kind)]
    for one in idle:
        where = file.where(("services", name, "checks", one))
        env.note(f"{where}: {name}'s {one} is not asked, for what it needs is not set, so these changes do nothing")
    return {**plan.changes, "checks": {one: table for one, table in checks.items() if one not in idle}}


def _without_idle_signs(base: Table, kinds: set[str]) -> Table:
    """The table without the signs that count only with a dependency this service does not have."""
    checks = base.get("checks", {})
    if not isinstance(checks, dict):
        return base
    kept = {}
    for name, check in checks.items():
        signs = [sign for sign in check.get("signs", []) if sign.get("if_depends_on") in {*kinds, None}]
        plain = [{key: item for key, item in sign.items() if key != "if_depends_on"} for sign in signs]
        kept[name] = {**check, "signs": plain} if "signs" in check else check
    return {**base, "checks": kept}


def _settle_conditions(base: Table, needed_by: set[str], *, shares_server: bool, writes: bool) -> Table:
    """The table with every check off whose conditions do not hold, and without the conditions."""
    checks = base.get("checks", {})
    if not isinstance(checks, dict):
        return base
    settled = {}
    for name, check in checks.items():
        wanted = check.get("needed_by")
        off = (
            (wanted is not None and needed_by.isdisjoint(wanted))
            or (check.get("server_wide") and shares_server)
            or (check.get("writes") and not writes)
        )
        plain = {key: item for key, item in check.items() if key not in CONDITIONS}
        settled[name] = {**plain, "enabled": False} if off else plain
    return {**base, "checks": settled}


def _defaults(settings: WatchSettings, file: WatchFile, env: Env) -> DefaultsTable:
    """WATCH_FILE's defaults, filled up with the environment's."""
    chosen = file.defaults
    if chosen.timeout is not None and chosen.timeout >= (chosen.interval or settings.interval):
        env.problem(file.where(("defaults", "timeout")), "is not below the interval", "lower it or raise the interval")
    own = {slot.name: getattr(chosen, slot.name) for slot in fields(chosen)}
    from_environment = {
        "interval": settings.interval,
        "timeout": settings.probe_timeout,
        "failure_threshold": settings.failure_threshold,
        "success_threshold": settings.success_threshold,
        "start_period": settings.start_period,
    }
    return DefaultsTable(**{**from_environment, **{key: value for key, value in own.items() if value is not None}})


def _preset_of(name: str) -> str | None:
    """The preset a service of this name would have come from."""
    return next((kind for kind in presets() if name == kind or name.startswith(f"{kind}-")), None)


def _is_ours(name: str, table: Table, file: WatchFile, plans: Mapping[str, Plan], env: Env) -> bool:
    """Whether WATCH_FILE makes a service of its own under this name, rather than changing one."""
    checks, kind = table.get("checks"), _preset_of(name)
    if checks and not _only_changes(checks, kind):
        return True
    if kind is not None:
        env.note(f"{file.where(('services', name))}: {name} is not watched here, so these changes do nothing")
    else:
        near = suggest(name, [*plans, *presets()])
        if checks and not near.startswith("did you mean"):
            return True  # one of its own, in which more is missing
        env.problem(
            file.where(("services", name)),
            "is no service that is watched, and has no check of its own",
            near if near.startswith("did you mean") else f"to add a service write [services.{name}.checks.health]",
        )
    return False


def _only_changes(checks: object, kind: str | None) -> bool:
    """Whether these tables can but change checks: none says of what kind it is, and the preset `kind` has them all."""
    if not isinstance(checks, Mapping) or any(not isinstance(one, Mapping) or "kind" in one for one in checks.values()):
        return False
    return kind is None or checks.keys() <= presets()[kind].checks.keys()


def _named_dependencies(
    name: str, given: object, plans: Mapping[str, Plan], file: WatchFile, env: Env
) -> tuple[str, ...]:
    """The watched ones among the names WATCH_FILE gives; a known kind that is not watched is left out with a note."""
    place = ("services", name, "depends_on")
    found = []
    for item in given if isinstance(given, list) else []:
        other = item.reveal() if isinstance(item, Secret) else str(item)
        if other in plans:
            found.append(other)
        elif _preset_of(other):
            env.note(f"{file.where(place)}: {other} is not watched, so it is left out")
        else:
            env.problem(file.where(place), "names a service that is not known", suggest(other, plans))
    return tuple(dict.fromkeys(found))


def _paused(services: list[Service], names: tuple[str, ...], watched: Mapping[str, Plan], env: Env) -> list[Service]:
    """The services, with those named in PAUSE paused."""
    for name in names:
        if name not in watched and _preset_of(name):
            env.note(f"PAUSE: {name} is not watched anyway")
        elif name not in watched:
            env.problem("PAUSE", "names a service that is not known", suggest(name, [*watched, *presets()]))
    return [replace(service, paused=True) if service.name in names else service for service in services]


def _check_graph(graph: Mapping[str, tuple[str, ...]], file: WatchFile, env: Env) -> None:
    """Reports circles until none would be left if each were cut at its end."""
    edges = dict(graph)
    while circle := find_circle(edges):
        edges[circle[-1]] = tuple(name for name in edges[circle[-1]] if name != circle[0])
        row = " → ".join((*circle, circle[0]))
        place = next((("services", name, "depends_on") for name in circle if name in file.services), ("services",))
        env.problem(file.where(place), f"services depend on each other in a circle: {row}", "take one of them out")


def _say_what_to_set(env: Env) -> None:
    known = presets().values()
    names = sorted({variable for preset in known for variable in preset.own_variables()})
    hints = [note for note in env.notes if "not watched" in note or "did you mean" in note or "is watched" in note]
    what = "names no service to watch" + (f" ({'; '.join(hints)})" if hints else "")
    env.problem("environment", what, f"set one or more of {', '.join(names)}, or WATCH_FILE")


def secrets_of(service: Service) -> list[Secret]:
    """Every secret its checks hold."""
    found = []
    for check in service.checks:
        for slot in fields(check.params):
            value = getattr(check.params, slot.name)
            values = value.values() if isinstance(value, Mapping) else (value,)
            found += [item for item in values if isinstance(item, Secret)]
    return found
