"""A preset's table with what is known of one instance, and of the services around it, in place of its placeholders."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import cast

from config.expansion import expand
from config.graph import nearest
from config.instances import Instance
from config.presets import Preset, presets
from config.service_tables import Table, with_basic


def look_around(instance: Instance, depends_on: tuple[str, ...], instances: Iterable[Instance]) -> Instance:
    """The instance with the values and names of those it depends on and looks at, as `redis_host` and the like."""
    preset, instances = presets()[instance.kind], list(instances)
    others = [other for other in instances if other.name in depends_on and other.kind != instance.kind]
    others += [other for kind in preset.looks_at if (other := nearest(kind, instance, preset, instances))]
    values, names = dict(instance.values), dict(instance.names)
    for other in others:
        prefix = other.kind.replace("-", "_")
        values = {f"{prefix}_{key}": value for key, value in other.values.items()} | values
        names = {f"{prefix}_{key}": name for key, name in other.names.items()} | names
    return replace(instance, values=values, names=names)


def fill(instance: Instance, preset: Preset) -> Table:
    """The preset's table for this instance: placeholders filled, checks that lack what they require left out."""
    checks: dict[str, object] = {}
    for name, table in preset.checks.items():
        required = [*cast("list[object]", table.get("requires", [])), *filter(None, [table.get("asked_by")])]
        if all(any(instance.values.get(part) for part in str(alternatives).split("|")) for alternatives in required):
            wanted = {key: item for key, item in table.items() if key not in ("requires", "asked_by")}
            check = expand(wanted, instance.values.get)
            if isinstance(check, dict):
                signs = [sign | {"says": _named(sign.get("says", ""), instance)} for sign in check.get("signs", [])]
                check = {**check, "signs": signs} if signs else check
                own = check.get("remedies", {})
                check = {**check, "remedies": {cause: _named(text, instance) for cause, text in own.items()}}
                checks[name] = _with_user(check, instance) if preset.reads == "http" else check
    if certificate := _certificate(instance, preset):
        checks["certificate"] = certificate
    title = f"{preset.title} ({instance.suffix})" if instance.suffix else preset.title
    remedies = {cause: _named(text, instance) for cause, text in preset.remedies.items()}
    return {"title": title, "address": instance.address.url, "checks": checks, "remedies": remedies}


def _certificate(instance: Instance, preset: Preset) -> dict[str, object] | None:
    """The check of the certificate that the address is reached with; None where it is reached without.

    PostgreSQL's clients take TLS where they get it, and most never look at the certificate: one that has expired is no
    outage by itself, and a server without TLS is well.
    """
    check = {"kind": "tls", "host": instance.address.host, "port": instance.address.port, "interval": 3600.0}
    if preset.reads == "postgres":
        options = instance.values.get("options")
        mode = options.get("sslmode", "prefer") if isinstance(options, Mapping) else "prefer"
        beside = {"starttls": "postgres", "verify": False, "optional": True, "server_wide": True}
        return None if mode in ("disable", "allow") else {**check, **beside, "severity": "degraded"}
    # That it speaks no TLS there, or nobody answers, is told by the question itself, with a remedy of its own.
    return {**check, "optional": True} if instance.address.scheme == "https" else None


def _named(text: str, instance: Instance) -> str:
    """A preset's words with {setting}, and {name} of a companion, filled with the variables people have set."""
    return re.sub(r"\{(\w+)\}", lambda match: instance.names.get(match[1], match[0]), text)


def _with_user(check: dict[str, object], instance: Instance) -> dict[str, object]:
    """An HTTP check that signs in as the user named in the address, if there is one."""
    if check.get("kind") != "http" or not (instance.address.user or instance.address.password):
        return check
    return {**check, "headers": with_basic(check.get("headers"), instance.address.user, instance.address.password)}
