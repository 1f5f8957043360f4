"""What a check asks, in words for people. Pure; nothing secret."""

from config.checks import (
    BackupsParams,
    ClickhouseParams,
    DnsParams,
    GrpcParams,
    HttpParams,
    S3Params,
    TcpParams,
    TlsParams,
)
from config.kinds import SIGNALS
from config.service_tables import address_of
from config.services import Check

_PLAIN = {"postgres": "logs in and asks SELECT 1", "redis": "logs in and asks PING"}
_BEYOND = 160  # characters of an address that people read


def asks(check: Check) -> str:  # noqa: PLR0911 -- one return a kind
    """Gives what `check` does, as a sentence without its subject: "GET http://litellm:4000/health, wants 200, JSON"."""
    params = check.params
    where = address_of(params)[:_BEYOND]
    if check.kind in SIGNALS:
        return _signal(check)
    match params:
        case HttpParams():
            return _http(params, where)
        case TcpParams():
            return f"connects to {where}" + (" and waits for its line" if params.expect else "")
        case TlsParams():
            return f"looks at the certificate at {where}, which must hold for {params.warn_days} days"
        case DnsParams():
            return f"looks up the {' and '.join(params.types)} records of {params.name}"
        case GrpcParams():
            return f"asks gRPC's health service at {where}"
        case ClickhouseParams():
            return f"asks SELECT 1 at {where}"
        case S3Params():
            return f"asks for {f'the bucket {params.bucket}' if params.bucket else 'the list of buckets'} at {where}"
        case BackupsParams():
            return f"looks whether the newest restore points are younger than {params.period / 3600:g} h"
    return f"{_PLAIN.get(check.kind, 'asks')} at {where}"


def _http(params: HttpParams, where: str) -> str:
    parts = [f"{params.method} {where.rstrip('/')}{params.paths[0]}"]
    wanted = ["/".join(map(str, params.status))]
    wanted += ["JSON"] if params.json or params.expect_json else []
    wanted += ["words it knows"] if params.expect_text else []
    if len(params.paths) > 1:
        parts.append(f"else {', '.join(params.paths[1:])}")
    return f"{', '.join(parts)}; wants {', '.join(wanted)}"


def _signal(check: Check) -> str:
    """What a signal asks is its own name; from which number on it warns and fails is what people look for."""
    params = check.params
    name = str(getattr(params, "signal", check.name)).replace("_", " ")
    limits = [
        f"{word} from {limit:,.10g}"
        for word, limit in (("warns", getattr(params, "warn", None)), ("fails", getattr(params, "fail", None)))
        if limit is not None
    ]
    server = check.kind.removesuffix("_signal")
    return f"{name}, as {server} tells it" + (f"; {', '.join(limits)}" if limits else "")
