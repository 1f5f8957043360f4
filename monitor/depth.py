"""How deep one look goes: the quick questions, all of them, or all but those that cost something or leave a trace."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from config.kinds import SIGNALS
from config.presets import presets
from config.services import Check, Service


class Depth(StrEnum):
    """Which checks a look runs."""

    QUICK = "quick"  # whether each service answers, and the signals that the daemon asks in every round
    FREE = "free"  # what it asks more seldom too, but nothing that costs money or leaves something for people to see
    DEEP = "deep"  # everything that is switched on


# What a signal costs each time it is asked by a program that knows of no earlier time.
_COSTS = {
    ("litellm_signal", "completion"): "it costs money",
    ("langfuse_signal", "trace"): "it writes a trace that people see",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A check that was not run, and why; as much of a sentence as stands behind a colon."""

    service: str
    check: str
    why: str


def reach(service: Service, depth: Depth, pace: float) -> tuple[Service, tuple[LeftOut, ...]]:
    """Gives the service with the checks that a look of this depth runs, and those that it leaves out.

    `pace` is the seconds between the daemon's rounds. A service always keeps one check.
    """
    left = {check.name: why for check in service.checks if (why := _why(check, depth, pace))}
    kept = tuple(check for check in service.checks if check.name not in left)
    if not kept:
        return service, ()
    out = tuple(LeftOut(service=service.name, check=name, why=why) for name, why in left.items())
    return replace(service, checks=kept), out


def reach_all(
    services: Iterable[Service], depth: Depth, pace: float
) -> tuple[tuple[Service, ...], tuple[LeftOut, ...]]:
    """The same for several services."""
    reached = [reach(service, depth, pace) for service in services]
    return tuple(service for service, _ in reached), tuple(one for _, left in reached for one in left)


def _why(check: Check, depth: Depth, pace: float) -> str:
    """Why a look of this depth leaves a check out; "" for one that it runs."""
    cost = _COSTS.get((check.kind, str(getattr(check.params, "signal", ""))), "")
    if depth == Depth.DEEP:
        return ""
    if cost:
        return cost
    if depth == Depth.QUICK and check.kind in SIGNALS and check.interval > pace:
        return f"it is asked every {check.interval:g} s"
    return ""


def lacking(services: Iterable[Service]) -> list[LeftOut]:
    """The checks that the services' presets have and that are off here, each with what would have it asked."""
    found = []
    for service in services:
        preset = presets().get(service.kind)
        there = {check.name for check in service.checks}
        for name, table in preset.checks.items() if preset else ():
            if preset and name not in there:
                companions = {
                    key: companion.variables[0]
                    for key, companion in preset.companions.items()
                    if companion.default is None and not _is_set(companion.variables, service)
                }
                known = {*preset.companions} - {*companions}
                found.append(LeftOut(service=service.name, check=name, why=_condition(table, companions, known)))
    return found


def _is_set(bases: Sequence[str], service: Service) -> bool:
    """Whether the service was found with one of these variables, with its own suffix or without."""
    return any(one == base or one.startswith(f"{base}__") for base in bases for one in service.variables)


def _condition(table: Mapping[str, object], companions: Mapping[str, str], known: Collection[str]) -> str:
    """What would have to hold for a preset's check to be asked, as far as the preset says.

    `companions` are the variables of what is not set, `known` what is.
    """
    parts = []
    wanted = [str(one) for one in (*filter(None, [table.get("asked_by")]), *_listed(table.get("requires")))]
    wanted = [one for one in wanted if not {*one.split("|")} & {*known}]
    if wanted:
        named = dict.fromkeys(_named(one, companions) for one in wanted)
        parts.append(f"it needs {' and '.join(named)}")
    if table.get("needed_by"):
        parts.append(f"it is asked where {' or '.join(_listed(table['needed_by']))} depends on this service")
    if table.get("server_wide"):
        parts.append("it is asked once for each server")
    if table.get("writes") and not wanted:
        parts.append("it writes, and CANARY_WRITES=off or WATCH_FILE keeps it from that")
    return "; ".join(parts) or "it is switched off in WATCH_FILE"


def _listed(value: object) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list | tuple) else []


def _named(wanted: str, companions: Mapping[str, str]) -> str:
    """A placeholder as people know it: the variable of a companion, or the kind of service that a part is taken of."""
    return " or ".join(
        companions.get(one) or (f"a {one.rsplit('_', 1)[0].replace('_', '-')} that is watched" if "_" in one else one)
        for one in wanted.split("|")
    )
