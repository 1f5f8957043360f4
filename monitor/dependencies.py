"""Who depends on whom, as the core asks it: parents, children, and no circles. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from config.watched import Service
from monitor.guilt import provider_of
from monitor.incidents import BLIND


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The watched services by name, with each one's parents and children. Paused ones are nobody's parent or child.

    `keys` are the checks that try a key elsewhere, by service and check: at which service. `holders` are those that
    hold a key for a service without being its children.
    """

    services: Mapping[str, Service]
    parents: Mapping[str, tuple[str, ...]]
    children: Mapping[str, tuple[str, ...]]
    keys: Mapping[tuple[str, str], str] = field(default_factory=dict)
    holders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, services: Iterable[Service]) -> "Graph":
        """The graph of `services`. Where they depend on each other in a circle, the circle is opened at one place."""
        known = {service.name: service for service in services}
        wanted = {
            name: tuple(dict.fromkeys(one for one in service.depends_on if one in known and not known[one].paused))
            for name, service in known.items()
            if not service.paused
        }
        parents = _without_circles(wanted)
        keys = _keys([service for service in known.values() if not service.paused], parents)
        held = {(name, provider) for (name, _), provider in keys.items() if provider not in parents[name]}
        return cls(
            services=known,
            parents={name: tuple(parents.get(name, ())) for name in known},
            children=_turned(known, [(name, parent) for name, above in parents.items() for parent in above]),
            keys=keys,
            holders=_turned(known, sorted(held)),
        )

    def title(self, name: str) -> str:
        """What people call it."""
        return title_of(name, self.services)


def title_of(root: str, services: Mapping[str, Service]) -> str:
    """What people call the root of an incident; a service that is no longer watched goes by its name."""
    if root == BLIND:
        return "Watchkeeper"
    return services[root].title if root in services else root


def _turned(names: Iterable[str], edges: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """By each second name of the edges the first ones, as they come; every name has its row."""
    found: dict[str, list[str]] = {name: [] for name in names}
    for one, other in edges:
        found[other].append(one)
    return {name: tuple(below) for name, below in found.items()}


def _keys(services: Sequence[Service], parents: Mapping[str, Sequence[str]]) -> dict[tuple[str, str], str]:
    """Who tries a key where. Not at one that depends on who holds it: either would be the other's excuse."""
    found = {}
    for service in services:
        for check in service.checks:
            provider = provider_of(service, check, services)
            if provider and service.name not in _above(provider, parents):
                found[service.name, check.name] = provider
    return found


def _above(name: str, parents: Mapping[str, Sequence[str]]) -> set[str]:
    """All that `name` depends on, however indirectly."""
    found: set[str] = set()
    queue = [name]
    for one in queue:
        fresh = set(parents.get(one, ())) - found
        found |= fresh
        queue += fresh
    return found


def _without_circles(edges: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """`edges` without those that close a circle: in a circle the services would wait for each other for ever.

    Walked by name, so that it is the same at every start.
    """
    kept: dict[str, list[str]] = {name: [] for name in edges}
    done: set[str] = set()
    for start in sorted(edges):
        if start in done:
            continue
        path, trail = {start}, [(start, iter(edges[start]))]
        while trail:
            name, rest = trail[-1]
            parent = next(rest, None)
            if parent is None:
                trail.pop()
                path.discard(name)
                done.add(name)
            elif parent not in path:
                kept[name].append(parent)
                if parent not in done:
                    path.add(parent)
                    trail.append((parent, iter(edges.get(parent, ()))))
    return {name: tuple(above) for name, above in kept.items()}
