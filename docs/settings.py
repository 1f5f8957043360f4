"""Writes docs/reference/settings.md from the code's own tables: `python docs/settings.py`. A test compares the two."""

import dataclasses
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from config.alert_settings import AlertSettings
from config.backup_settings import DumpSettings, RetentionSettings, ScheduleSettings
from config.backup_sources import ClickhouseSettings, PostgresSettings
from config.backup_store import SealSettings, StoreSettings
from config.causes import Cause
from config.checks import Sign
from config.env import Env
from config.fields import AtMost, Limits
from config.kinds import PARAMS
from config.presets import Preset, presets
from config.secret import Secret
from config.service_tables import CheckTable, DefaultsTable, ServiceTable
from config.settings import LogSettings, StateSettings, WatchSettings, WebSettings
from config.syntax import LIBPQ_OPTIONS
from config.urls import FORMS, PRIVATE_ENDINGS

PAGE = Path(__file__).parent / "reference" / "settings.md"

HEAD = """# Settings

Generated from `config/` by `python docs/settings.py`; do not edit.

Everything is said with environment variables; a TOML file named by `WATCH_FILE` says what variables cannot.
`python -m monitor config` shows what was understood, from which variable, with secrets masked. Everything that is
wrong is reported at once, one line each, before anything starts.

- A variable that is empty counts as not set; an address that is set but empty is noted.
- Blanks and quotes around a value are taken off.
- A Railway reference that was not filled in (`${{{{Postgres.DATABASE_URL}}}}`) is refused wherever it is read.
- What an address says itself (user, password) wins over the variable that goes with it.

## The daemon

{sections}

### Which channel a webhook is

`ALERT_WEBHOOK_URL` is Slack's or Discord's when its host is theirs, or when its path has the shape of theirs
(`/services/T…/B…/…`, `/api/webhooks/<id>/<token>`), as behind a proxy; to any other receiver our own JSON is posted.
`SLACK_WEBHOOK_URL` takes any receiver of Slack's form. One service has one webhook: the same one under two variables is
told once, two different ones are refused; a further channel goes into `ALERT_APPRISE_URLS`. Plain `http` is taken; for
a public host a note says that the token travels in clear.

## Services

A service is watched because one of its variables is set. Addresses: without a scheme, `http` is meant inside a
private network (a name without a dot, or ending in {private}, or a private IP) and `https` for a public name;
without a port, the service's own port inside a private network. IPv6 addresses stand in brackets: `[::1]:4000`.

{services}

In `DATABASE_URL`, the schemes `postgres://` and `postgresql+driver://` are read as `postgresql://`, and of its
parameters {libpq} are kept; all others (`pool_size`, `connection_limit`, `pgbouncer`, `schema`, …) are for
ORMs and are dropped with a note. `CLICKHOUSE_URL` is the HTTP interface, not the native port 9000.

### Several of a kind

A second one has a suffix after two underscores: `DATABASE_URL__LANGFUSE=…` is watched as `postgres-langfuse`. The
suffix is lower-cased, underscores become `-`; two spellings of one suffix are refused. What goes with an
address takes the same suffix:
`REDIS_PASSWORD__EU` belongs to `REDIS_HOST__EU`. Users, passwords and keys never fall back to the plain variable: one
server's password is not another's. Only {inherited} does. A suffixed MinIO has no bucket unless
`BACKUP_BUCKET__NAME` names one.

### Who depends on whom

Of several of a kind, a service depends on the one with its own suffix; else on the one whose suffix is its preset's
name or family (`DATABASE_URL__LANGFUSE` serves `langfuse-web` and `langfuse-worker`, `DATABASE_URL__LITELLM` serves
`litellm`); else on the plain one; else on none. `depends_on` in `WATCH_FILE` overrules it with exact names.

LiteLLM is expected to have a database when it depends on a watched PostgreSQL. If yours runs without one, say so:

```toml
[services.litellm]
depends_on = ["redis"]
```

## WATCH_FILE

```toml
[defaults]
interval = 30

[services.langfuse-worker]          # changes what a preset says
failure_threshold = 5

[services.minio.checks.cluster]     # one check of it
enabled = false

[services.billing]                  # a service of your own
title = "Billing"
depends_on = ["postgres"]

[services.billing.checks.health]
kind = "http"
url = "http://billing.railway.internal:9000/health"
headers = {{ Authorization = "Bearer ${{BILLING_TOKEN}}" }}
expect_json = "status == 'ok'"
```

`${{VARIABLE}}` is replaced by that variable's value (`$${{` stands for a plain `${{`). Put secrets into headers,
password, access_key and secret_key: the rest is shown to people. A setting is looked for in the check, then in its
service, then in the preset's check, then in `[defaults]`, then in the environment. A remedy is looked for in the
check, then in its service, both in this file before the preset's. An unknown key is an error.

{tables}"""

TYPES: dict[Any, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    object: "its keys",
    Secret: "secret text",
    Cause: "a cause",
}
SYNTAX = {
    "jmespath": "JMESPath",
    "regex": "regular expression",
    "header": "`name: regex`",
    "fact": "JMESPath or `header:NAME`",
    "host": "host name or IP address",
    "name": "name to look up",
    "method": "HTTP method",
    "paths": "list of: path that begins with /",
    "headers": "table of: text",
    "metadata": "table of: text",
    "sendable": "plain ASCII text",
    "libpq": "table of: text, by libpq's names",
    "bucket": "bucket's name",
    "runbook": "address of a web page",
}


def settings_table() -> Iterator[str]:
    """The daemon's own variables, as its sections read them."""
    for title, section in (
        ("Watching", WatchSettings),
        ("Web", WebSettings),
        ("State", StateSettings),
        ("Log", LogSettings),
        ("Alerts", AlertSettings),
        ("Backups: when", ScheduleSettings),
        ("Backups: where", StoreSettings),
        ("Backups: how long", RetentionSettings),
        ("Backups: how they are written", DumpSettings),
        ("Backups: sealed to whom", SealSettings),
        ("Backups of PostgreSQL", PostgresSettings),
        ("Backups of ClickHouse", ClickhouseSettings),
    ):
        env = Env({})
        section.read(env)
        yield f"### {title}\n\n| variable | kind | default | meaning |\n|---|---|---|---|"
        for read in env.reads.values():
            yield f"| `{read.variable}` | {read.kind} | {read.default} | {read.says} |"
        yield ""


def services_table() -> Iterator[str]:
    """Every preset: how it is found, what is asked, what it depends on."""
    yield "| service | address | such as | goes with it | checks | depends on |\n|---|---|---|---|---|---|"
    for name, preset in presets().items():
        checks = ", ".join(f"{check}{_severity(table)}" for check, table in preset.checks.items())
        form = f"`{_example(name, preset)}`"
        depends = ", ".join(preset.depends_on)
        yield f"| {name} | {_addresses(preset)} | {form} | {_companions(preset)} | {checks} | {depends} |"
    yield "\n*d*: a miss makes the service degraded, not down."
    yield "Any `https` address gets a `certificate` check once an hour too, and so does a PostgreSQL, *d*."
    yield "What a server, its version or our rights there cannot tell is shown as not available, with why; that is no"
    yield "failure. What is of a whole server is asked of one of its databases. `writable` and `policy` are asked where"
    yield "a service that needs it depends on this one, `canary` and `trace` unless `CANARY_WRITES` is off; WATCH_FILE"
    yield "can switch each on (`enabled = true`). `buckets` is asked where `MINIO_BUCKETS` names some."
    yield "`queues` and `given_up` look into the Redis the worker depends on,"
    yield "`litellm_key`, `qdrant_key` and `langfuse_key` try what one service holds for another at that other one;"
    yield "each is there where both are. `completion` alone costs money, and is off unless its model is named.\n"
    yield "| variable | meaning |\n|---|---|"
    for preset in presets().values():
        yield f"| {_addresses(preset)} | {preset.says} |"
        for companion in preset.companions.values():
            default = f" Default: `{companion.default}`." if companion.default else ""
            yield f"| {' or '.join(f'`{name}`' for name in companion.variables)} | {companion.says}{default} |"


def _example(name: str, preset: Preset) -> str:
    if preset.reads == "http":
        return f"http://{name}.railway.internal:{preset.port}"
    return FORMS[preset.reads].example


def _severity(table: Any) -> str:
    return " *d*" if table.get("severity") == "degraded" else ""


def _addresses(preset: Preset) -> str:
    names = [f"`{name}`" for name in preset.variables]
    if preset.host_variable:
        names.append(f"`{preset.host_variable}` with `{preset.port_variable}`")
    return " or ".join(names)


def _companions(preset: Preset) -> str:
    return ", ".join(" or ".join(f"`{name}`" for name in item.variables) for item in preset.companions.values())


def file_tables() -> Iterator[str]:
    """What each table of WATCH_FILE may hold."""
    titles = {"[defaults]": DefaultsTable, "[services.NAME]": ServiceTable, "[services.NAME.checks.CHECK]": CheckTable}
    for title, cls in titles.items():
        yield f"### `{title}`\n"
        yield from _fields(cls)
    yield "Beside these, a check holds its kind's parameters.\n"
    for kind, params in PARAMS.items():
        yield f'### kind = "{kind}"\n\n{_flat(params.__doc__)}\n'
        yield from _fields(params)
    yield f"### An entry of `signs`\n\n{_flat(Sign.__doc__)}\n"
    yield from _fields(Sign)


def _flat(text: str | None) -> str:
    return " ".join((text or "").split())


def _fields(cls: Any) -> Iterator[str]:
    hints = get_type_hints(cls, include_extras=True)
    yield "| key | holds | default |\n|---|---|---|"
    for slot in dataclasses.fields(cls):
        yield f"| `{slot.name}` | {kind_of(hints[slot.name])} | {_default(slot)} |"
    yield ""


def _bound(hint: Any, rule: Any) -> str:
    """What a field holds that has a rule of its own beside its type."""
    if isinstance(rule, Limits):
        return f"{kind_of(hint)}, {rule.least:g} to {rule.most:.8g}"
    if isinstance(rule, AtMost):
        return f"{kind_of(hint)}, at most {rule.entries}"
    if rule == "sendable" and hint is Secret:
        return f"secret text, {SYNTAX[rule].removesuffix(' text')}"
    return SYNTAX[rule]


def kind_of(hint: Any) -> str:
    """What a field holds, in the words of someone who writes TOML."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _bound(arguments[0], arguments[1])
    if origin in (Union, types.UnionType):
        return kind_of(next(item for item in arguments if item is not type(None)))
    if origin is Literal:
        return ", ".join(f'"{word}"' for word in arguments)
    if origin is not None:
        return f"list of: {kind_of(arguments[0])}" if origin is tuple else f"table of: {kind_of(arguments[1])}"
    return TYPES.get(hint, "entry")


def _default(slot: "dataclasses.Field[Any]") -> str:
    if slot.default is dataclasses.MISSING:
        return "" if slot.default_factory is not dataclasses.MISSING else "must be given"
    if slot.default is None or slot.default in ("", ()):
        return ""
    if isinstance(slot.default, bool):
        return str(slot.default).lower()
    return f"`{list(slot.default)}`" if isinstance(slot.default, tuple) else f"`{slot.default}`"


def page() -> str:
    """The whole page."""
    inherited = [
        f"`{name}`"
        for preset in presets().values()
        for companion in preset.companions.values()
        if companion.inherited
        for name in companion.variables
    ]
    return HEAD.format(
        sections="\n".join(settings_table()).rstrip(),
        private=", ".join(f"`{ending}`" for ending in PRIVATE_ENDINGS),
        services="\n".join(services_table()),
        libpq=", ".join(f"`{name}`" for name in LIBPQ_OPTIONS),
        inherited=", ".join(inherited),
        tables="\n".join(file_tables()).rstrip() + "\n",
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
