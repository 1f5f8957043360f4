"""Tables as presets and WATCH_FILE write them → Services.

`base` is a preset's table with its placeholders filled, `changes` is what WATCH_FILE says about the same service;
either may be empty. A time is looked for in WATCH_FILE's check, then in its service, then in the preset's check, then
in the defaults.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from config.causes import Cause
from config.checks import BackupsParams, DnsParams, GrpcParams, PostgresParams, RedisParams, TcpParams, TlsParams
from config.env import plain
from config.fields import Limits
from config.kinds import PARAMS, Params
from config.secret import Secret
from config.signals import WITHOUT_THRESHOLD
from config.tables import Place, Report, build, slots_of, suggest
from config.urls import FORMS, AddressError, parse_address
from config.watched import Check, Service, Severity, Urgency

Seconds = Annotated[float, Limits(0.05, 86_400 * 7)]
Count = Annotated[int, Limits(1, 100)]
Table = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """What [defaults], a service and a check may each say. None: ask the next. A latency_threshold of 0 means never."""

    interval: Seconds | None = None
    timeout: Seconds | None = None
    failure_threshold: Count | None = None
    success_threshold: Count | None = None
    warn_threshold: Count | None = None
    latency_threshold: Annotated[float, Limits(0, 86_400)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultsTable(Timing):
    """WATCH_FILE's [defaults]."""

    start_period: Annotated[float, Limits(0, 86_400)] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckTable(Timing):
    """A check without its kind's parameters, which stand beside these keys."""

    kind: Literal[
        "http",
        "tcp",
        "tls",
        "dns",
        "grpc",
        "postgres",
        "redis",
        "clickhouse",
        "s3",
        "postgres_signal",
        "redis_signal",
        "clickhouse_signal",
        "s3_signal",
        "litellm_signal",
        "langfuse_signal",
        "queue_signal",
        "openwebui_signal",
        "key_signal",
        "qdrant_signal",
    ]
    severity: Severity = "down"
    enabled: bool = True
    alert: Urgency | None = None
    remedies: Mapping[Cause, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceTable(Timing):
    """A service. `checks` are looked into one by one."""

    title: str = ""
    address: str = ""
    depends_on: tuple[str, ...] | None = None
    start_period: Annotated[float, Limits(0, 86_400)] | None = None
    paused: bool = False
    alert: Urgency | None = None
    runbook: Annotated[str, "runbook"] = ""
    remedies: Mapping[Cause, str] = field(default_factory=dict)
    checks: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


LONGEST_ADDRESS = 200  # characters of it that are shown
HOW = "add one, such as [services.NAME.checks.health] with kind and url"
TIMING = tuple(slots_of(Timing))


def make_service(
    name: str,
    kind: str,
    base: Table,
    changes: Table,
    *,
    depends_on: tuple[str, ...],
    variables: tuple[str, ...] = (),
    defaults: DefaultsTable,
    report: Report,
) -> Service | None:
    """The service `name`; None when nothing of it can be used. `depends_on` is already settled."""
    place = ("services", name)
    top = {key: value for key, value in {**base, **changes}.items() if key not in ("checks", "remedies")}
    written = build(ServiceTable, {**changes, **top}, place, report, leniently=True)
    known = build(ServiceTable, base, place, report)
    if written is None or known is None:
        return None
    level = {key: getattr(written, key) for key in TIMING if getattr(written, key) is not None}
    checks = []
    names = list(dict.fromkeys((*known.checks, *written.checks)))
    for check in names:
        given, own = written.checks.get(check, {}), known.checks.get(check, {})
        where = (*place, "checks", check)
        if not own and "kind" not in given and known.checks:
            report(where, f"is not a check of {name}, and has no kind of its own", suggest(check, known.checks))
        elif "signal" in own and given.get("signal", own["signal"]) != own["signal"]:
            what = f"cannot be changed; {name}'s {check} is {own['signal']}"
            report((*where, "signal"), what, "write it under the check of that name, or add a check of your own")
        elif own and given.get("kind", own["kind"]) != own["kind"]:
            report((*where, "kind"), f"cannot be changed; {name}'s {check} is {own['kind']}", "add a check of your own")
        else:
            table = {**own, **level, **given, "remedies": _remedies(own, written.remedies, given)}
            made = _check(check, table, {**level, **given}, where, defaults, report)
            checks += [made] if made else []
    merged = [{**known.checks.get(check, {}), **written.checks.get(check, {})} for check in names]
    if all(table.get("enabled") is False for table in merged) and (names or not changes.get("checks")):
        report(place, "has no check that is on", "write paused = true to rest the whole service" if merged else HOW)
    if not checks:
        return None
    return Service(
        name=name,
        kind=kind,
        title=written.title or name,
        address=_shown(written.address or address_of(checks[0].params)),
        checks=tuple(checks),
        depends_on=depends_on,
        variables=variables,
        remedies={**known.remedies, **written.remedies},
        start_period=_first(written.start_period, defaults.start_period, 120.0),
        paused=written.paused,
        alert=written.alert,
        runbook=written.runbook,
    )


def _shown(address: str) -> str:
    """An address that people can read: what is longer, such as a database's name of kilobytes, is cut."""
    return address if len(address) <= LONGEST_ADDRESS else f"{address[: LONGEST_ADDRESS - 1]}…"


def _remedies(own: Table, service: Mapping[Cause, str], given: Table) -> object:
    """A check's remedies: what WATCH_FILE says of it, then what it says of the service, then what the preset says."""
    preset, said = own.get("remedies", {}), given.get("remedies", {})
    if not isinstance(preset, Mapping) or not isinstance(said, Mapping):
        return said
    return {**{cause: text for cause, text in preset.items() if cause not in service}, **said}


def _check(
    name: str, table: Table, chosen: Table, place: Place, defaults: DefaultsTable, report: Report
) -> Check | None:
    """One check from its merged table; `chosen` is the part that was asked for on purpose. None if off or unusable."""
    frame_keys = slots_of(CheckTable)
    frame_table = {key: value for key, value in table.items() if key in frame_keys}
    frame = build(CheckTable, frame_table, place, report, leniently=True)
    if frame is None or not frame.enabled:
        return None
    cls = PARAMS[frame.kind]
    rest = {key: value for key, value in table.items() if key not in frame_keys}
    wrong = [key for key in rest if key not in slots_of(cls)]
    for key in wrong:
        report(
            (*place, key), f"is not a known key of a {frame.kind} check", suggest(key, {*slots_of(cls), *frame_keys})
        )
    fitting = {key: value for key, value in rest.items() if key not in wrong}
    params = build(cls, _settle_url(frame.kind, fitting, place, report), place, report)
    interval = _first(frame.interval, defaults.interval, 60.0)
    timeout = _first(frame.timeout, defaults.timeout, 10.0)
    misread = any(table.get(key) is not None and getattr(frame, key) is None for key in ("interval", "timeout"))
    if timeout >= interval:
        if "timeout" in chosen and not misread:
            report((*place, "timeout"), "is not below the interval", "lower it, or raise the interval")
        timeout = interval / 2
    latency = frame.latency_threshold if frame.latency_threshold is not None else defaults.latency_threshold
    if latency and latency >= timeout and "latency_threshold" in chosen and not misread:
        report((*place, "latency_threshold"), "is not below the timeout, so it could never be passed", "lower it")
    if params is None or wrong:
        return None
    _thresholds(frame.kind, params, chosen, place, report)
    return Check(
        name=name,
        kind=frame.kind,
        params=params,
        severity=frame.severity,
        interval=interval,
        timeout=timeout,
        failure_threshold=_first(frame.failure_threshold, defaults.failure_threshold, 3),
        success_threshold=_first(frame.success_threshold, defaults.success_threshold, 2),
        warn_threshold=_first(frame.warn_threshold, defaults.warn_threshold, 3),
        latency_threshold=latency or None,
        remedies=frame.remedies,
        alert=frame.alert,
    )


def _thresholds(kind: str, params: Params, chosen: Table, place: Place, report: Report) -> None:
    """Reports thresholds that would do nothing, or fail before they warn; what was not `chosen` is the preset's."""
    signal = getattr(params, "signal", "")
    if signal in WITHOUT_THRESHOLD.get(kind, ()):
        for key in chosen.keys() & {"warn", "fail"}:
            what = f"would do nothing: {signal} is either well or not, and has no number"
            report((*place, key), what, "take it out; severity says how bad a miss is, enabled = false leaves it out")
        return
    warn, fail = getattr(params, "warn", None), getattr(params, "fail", None)
    if warn is None or fail is None or warn <= fail:
        return
    if "warn" in chosen:
        report((*place, "warn"), f"is above fail ({plain(fail)}), so it would never warn", "lower it, or raise fail")
    else:
        report((*place, "fail"), f"is below warn ({plain(warn)}), so it would never warn", "write a lower warn as well")


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)


def _settle_url(kind: str, table: Table, place: Place, report: Report) -> Table:
    """The table with its url in the form the probe wants: a scheme, no user; user and password where they belong."""
    written = table.get("url")
    url = written.reveal() if isinstance(written, Secret) else written
    if "url" not in slots_of(PARAMS[kind]) or not isinstance(url, str):
        return table
    where = (*place, "url")
    try:
        address = parse_address(url, FORMS.get(kind, FORMS["http"]))
    except AddressError as error:
        report(where, error.message, error.remedy)
        return {**table, "url": "http://unusable"}
    settled = dict(table)
    if kind == "http":
        root = address.url.removesuffix(address.path) if address.path else address.url
        start = url.find("://") + 3 if "://" in url else 0
        tail = min((at for at in (url.find(mark, start) for mark in "/?#") if at >= 0), default=len(url))
        settled["url"] = root + url[tail:].partition("#")[0]
        if address.user or address.password:
            settled["headers"] = with_basic(table.get("headers"), address.user, address.password)
        return settled
    if kind not in FORMS:
        if address.user or address.password or address.options:
            report(where, "names more than an address, which would not be used", "take user and parameters out")
        return {**table, "url": address.url}
    settled["url"] = address.url.removesuffix(address.path) if address.path else address.url
    if address.path or address.options:
        report(where, "has something after host and port, which would not be asked for", "take it out")
    if kind == "s3" and (address.user or address.password):
        report(where, "names a user, which S3 has not", "write the keys into access_key and secret_key")
    if kind == "clickhouse":
        for key, said in (("user", address.user), ("password", address.password)):
            if said and table.get(key) is not None:
                report(where, f"names a {key}, and {key} does so too", "write it once")
            settled.setdefault(key, said)
    return settled


def with_basic(headers: object, user: str | None, password: Secret | None) -> object:
    """The headers with user and password of an address as HTTP's basic authorization, unless they have their own."""
    given = dict(headers) if isinstance(headers, Mapping) else {}
    if any(str(name).lower() == "authorization" for name in given):
        return given
    pair = f"{user or ''}:{password.reveal() if password else ''}"
    return {**given, "Authorization": Secret("Basic " + base64.b64encode(pair.encode()).decode())}


def address_of(params: Params) -> str:
    """Where a check looks, for people: without user, password and query."""
    if isinstance(params, DnsParams):
        return params.name
    if isinstance(params, BackupsParams):
        return "the store"
    if isinstance(params, TcpParams | TlsParams | GrpcParams | PostgresParams | RedisParams):
        return f"[{params.host}]:{params.port}" if ":" in params.host else f"{params.host}:{params.port}"
    return params.url.partition("?")[0]
