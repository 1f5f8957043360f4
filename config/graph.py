"""Who depends on whom: the presets' words matched to what is watched, and circles found."""

from collections.abc import Iterable, Mapping, Sequence

from config.instances import Instance
from config.presets import Preset


def settle_dependencies(instance: Instance, preset: Preset, instances: Iterable[Instance]) -> tuple[str, ...]:
    """The watched services that `instance` depends on, by the kinds its preset names.

    Of several of a kind it is the one with the instance's own suffix, else the one whose suffix is the preset's name
    (DATABASE_URL__LITELLM) or family (DATABASE_URL__LANGFUSE serves langfuse-web and langfuse-worker), else the plain
    one. None of them: no dependency; a wrong one would hide an alert. Of several databases on one server each depends
    on the first, so that the server's outage is one outage.
    """
    instances = list(instances)
    found = same_server(instance, instances)
    for kind in preset.depends_on:
        match = nearest(kind, instance, preset, instances)
        if match is not None:
            found.append(match.name)
    return tuple(found)


def nearest(kind: str, instance: Instance, preset: Preset, instances: Iterable[Instance]) -> Instance | None:
    """The watched service of `kind` that goes with `instance`: settle_dependencies says which. None: there is none."""
    candidates = {_key(other.suffix): other for other in instances if other.kind == kind}
    wanted = [_key(suffix) for suffix in (instance.suffix, instance.kind, preset.family) if suffix]
    return next((candidates[suffix] for suffix in [*wanted, ""] if suffix in candidates), None)


def same_server(instance: Instance, instances: Iterable[Instance]) -> list[str]:
    """The first of the kind at the same host and port, unless that is `instance` itself."""
    place = (instance.kind, instance.address.host, instance.address.port)
    names = [one.name for one in instances if (one.kind, one.address.host, one.address.port) == place]
    first = min(names, default=instance.name)
    return [] if first == instance.name else [first]


def _key(suffix: str) -> str:
    return suffix.replace("-", "")


def find_circle(edges: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """One circle of names, each depending on the next and the last on the first; () when there is none."""
    done: set[str] = set()

    def walk(name: str, path: tuple[str, ...]) -> tuple[str, ...]:
        if name in path:
            return path[path.index(name) :]
        if name in done:
            return ()
        for other in edges.get(name, ()):
            circle = walk(other, (*path, name))
            if circle:
                return circle
        done.add(name)
        return ()

    for name in sorted(edges):
        circle = walk(name, ())
        if circle:
            return circle
    return ()
