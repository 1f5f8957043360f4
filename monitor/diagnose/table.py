"""From one outcome to what is wrong and what to do: the first rule that holds decides."""

import re
from collections.abc import Mapping

from config.causes import Cause
from config.checks import HttpParams, Sign
from config.services import Check, Service
from monitor.diagnose.backups import BACKUPS
from monitor.diagnose.base import Diagnosis, Rule
from monitor.diagnose.clickhouse import CLICKHOUSE
from monitor.diagnose.dns import DNS
from monitor.diagnose.general import GENERAL
from monitor.diagnose.grpc import GRPC
from monitor.diagnose.http import HTTP
from monitor.diagnose.network import FIRST, LAST
from monitor.diagnose.postgres import POSTGRES
from monitor.diagnose.redis import REDIS
from monitor.diagnose.s3 import S3
from monitor.diagnose.tls import CERTIFICATE, TLS
from monitor.probes.base import Outcome, Verdict

# What each kind of check knows beyond the network. A tcp check knows nothing beyond it.
TABLES: Mapping[str, tuple[Rule, ...]] = {
    "http": HTTP,
    "tcp": (),
    "tls": CERTIFICATE,
    "dns": DNS,
    "grpc": GRPC,
    "postgres": POSTGRES,
    "redis": REDIS,
    "clickhouse": CLICKHOUSE,
    "s3": S3,
    "backups": BACKUPS,
}


def diagnose(service: Service, check: Check, outcome: Outcome) -> Diagnosis | None:
    """Gives the cause an outcome proves, in a sentence and with a remedy; None for a clean pass. Never raises.

    A preset's sign that was seen brings its own cause and words. The service's own remedy for a cause goes before ours,
    unless the rule is about something narrower than the cause.
    """
    if outcome.verdict == Verdict.PASS:
        return None
    sign = _sign(check, outcome)
    if sign is not None:
        return _diagnosis(service, outcome, GENERAL[sign.cause], says=sign.says)
    rules = (*FIRST, *TABLES.get(check.kind, ()), *TLS, *LAST)
    held = (rule for rule in rules if service.kind not in rule.not_for and rule.holds(outcome))
    rule = next(held, GENERAL[Cause.BAD_ANSWER])
    return _diagnosis(service, outcome, rule)


def explain(service: Service, cause: Cause) -> Diagnosis:
    """Gives what `cause` means for a service where no single outcome proved it, such as intermittent."""
    return _diagnosis(service, None, GENERAL[cause])


def _sign(check: Check, outcome: Outcome) -> Sign | None:
    if not isinstance(check.params, HttpParams) or not outcome.evidence.sign:
        return None
    return next((sign for sign in check.params.signs if sign.name == outcome.evidence.sign), None)


def _diagnosis(service: Service, outcome: Outcome | None, rule: Rule, says: str = "") -> Diagnosis:
    code = outcome.evidence.code if outcome else ""
    sentence = _say(says, service) if says.strip(". ") else _fill(rule.says, service, rule.cause, code)
    own = "" if rule.precise else service.remedies.get(rule.cause, "")
    return Diagnosis(cause=rule.cause, sentence=sentence, remedy=own or _fill(rule.remedy, service, rule.cause, code))


def _say(says: str, service: Service) -> str:
    """A preset's words as a sentence that names the service and where it is."""
    says = says.rstrip(". ")
    named = service.title.lower() in says.lower()
    return (
        f"{says[:1].upper()}{says[1:]} ({service.address})."
        if named
        else f"{service.title} at {service.address}: {says}."
    )


_ADDRESS = re.compile(r"[A-Z0-9_]*(URL|URI|HOST|PORT|ENDPOINT)(__.*)?", re.IGNORECASE)
# For these a key, a password or a name beside the address may be what is wrong.
_NOT_THE_ADDRESS = frozenset({Cause.AUTH, Cause.NOT_FOUND, Cause.READONLY, Cause.PROBE_FAULT})


def _setting(service: Service, cause: Cause) -> str:
    """The variables to look at: those that say where the service is, unless the cause may lie in what goes with it."""
    names = service.variables
    if cause not in _NOT_THE_ADDRESS:
        names = tuple(name for name in names if _ADDRESS.fullmatch(name)) or names
    return " or ".join(names) or "WATCH_FILE"


_PLACE = re.compile(r" ?\(\{code\}\)|\{(title|address|code|setting)\}")


def _fill(template: str, service: Service, cause: Cause, code: str) -> str:
    """Fills the places of a rule's text; "({code})" vanishes when there is no code."""
    values = {
        "title": service.title,
        "address": service.address,
        "code": code,
        "setting": _setting(service, cause),
    }

    def value(match: re.Match[str]) -> str:
        if match[1]:
            return values[match[1]]
        return match[0].replace("{code}", code) if code else ""

    return _PLACE.sub(value, template)
