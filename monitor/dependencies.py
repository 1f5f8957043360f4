"""Who depends on whom, as the core asks it: parents, children, and no circles. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from config.watched import Service
from monitor.incidents import BLIND


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The watched services by name, with each one's parents and children. Paused ones are nobody's parent or child."""

    services: Mapping[str, Service]
    parents: Mapping[str, tuple[str, ...]]
    children: Mapping[str, tuple[str, ...]]

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
        children: dict[str, list[str]] = {name: [] for name in known}
        for name, above in parents.items():
            for parent in above:
                children[parent].append(name)
        return cls(
            services=known,
            parents={name: parents.get(name, ()) for name in known},
            children={name: tuple(below) for name, below in children.items()},
        )

    def title(self, name: str) -> str:
        """What people call it."""
        return title_of(name, self.services)


def title_of(root: str, services: Mapping[str, Service]) -> str:
    """What people call the root of an incident; a service that is no longer watched goes by its name."""
    if root == BLIND:
        return "Watchkeeper"
    return services[root].title if root in services else root


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
