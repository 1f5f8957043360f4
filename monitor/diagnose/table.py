"""From one outcome to what is wrong and what to do: the first rule that holds decides."""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from config.causes import Cause
from config.checks import HttpParams, Sign
from config.service_tables import address_of
from config.services import Check, Service
from config.signals import KeySignalParams
from monitor.diagnose.backups import BACKUPS
from monitor.diagnose.base import Diagnosis, Rule
from monitor.diagnose.clickhouse import CLICKHOUSE
from monitor.diagnose.clickhouse_signal import CLICKHOUSE_SIGNAL
from monitor.diagnose.dns import DNS
from monitor.diagnose.general import GENERAL
from monitor.diagnose.grpc import GRPC
from monitor.diagnose.http import HTTP, UNASKED
from monitor.diagnose.key_signal import KEY_SIGNAL
from monitor.diagnose.langfuse_signal import LANGFUSE_SIGNAL
from monitor.diagnose.litellm_signal import LITELLM_SIGNAL
from monitor.diagnose.network import FIRST, LAST
from monitor.diagnose.openwebui_signal import OPENWEBUI_SIGNAL
from monitor.diagnose.postgres import POSTGRES
from monitor.diagnose.postgres_signal import POSTGRES_SIGNAL
from monitor.diagnose.qdrant_signal import QDRANT_SIGNAL
from monitor.diagnose.queue_signal import QUEUE_SIGNAL
from monitor.diagnose.redis import REDIS
from monitor.diagnose.redis_signal import REDIS_SIGNAL
from monitor.diagnose.s3 import S3
from monitor.diagnose.s3_signal import S3_SIGNAL
from monitor.diagnose.tls import CERTIFICATE, TLS
from monitor.diagnose.ways import WAYS
from monitor.probes.base import Evidence, Outcome, Verdict
from monitor.probes.key_signal import PROVIDERS
from monitor.ways import NAMES

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
    "postgres_signal": POSTGRES_SIGNAL,
    "redis_signal": REDIS_SIGNAL,
    "clickhouse_signal": CLICKHOUSE_SIGNAL,
    "s3_signal": S3_SIGNAL,
    "litellm_signal": LITELLM_SIGNAL,
    "langfuse_signal": LANGFUSE_SIGNAL,
    "queue_signal": QUEUE_SIGNAL,
    "openwebui_signal": OPENWEBUI_SIGNAL,
    "key_signal": KEY_SIGNAL,
    "qdrant_signal": QDRANT_SIGNAL,
}


def diagnose(service: Service, check: Check, outcome: Outcome) -> Diagnosis | None:
    """Gives the cause an outcome proves, in a sentence and with a remedy; None for a clean pass. Never raises.

    A preset's sign that was seen brings its own cause and words. The check's own remedy for a cause, else the
    service's, goes before ours, unless the rule is about something narrower than the cause.
    """
    found = decide(service, check, outcome)
    if found is None:
        return None
    rule, sign = found
    return _Words(service, check, outcome.evidence).diagnosis(rule, sign.says if sign else "")


def decide(service: Service, check: Check, outcome: Outcome) -> tuple[Rule, Sign | None] | None:
    """Gives the rule that fits an outcome, and the preset's sign if one was seen; None for a clean pass."""
    if outcome.verdict == Verdict.PASS:
        return None
    sign = _sign(check, outcome)
    if sign is not None:
        return GENERAL[sign.cause], sign
    rules = (*FIRST, *WAYS, *TABLES.get(check.kind, ()), *TLS, *LAST)
    held = (rule for rule in rules if service.kind not in rule.not_for and rule.holds(outcome))
    rule = next(held, GENERAL[Cause.BAD_ANSWER])
    return (UNASKED if rule.cause == Cause.AUTH and _needs_no_key(service, check) else rule), None


def explain(service: Service, cause: Cause) -> Diagnosis:
    """Gives what `cause` means for a service where no single outcome proved it, such as intermittent."""
    return _Words(service).diagnosis(GENERAL[cause])


def _sign(check: Check, outcome: Outcome) -> Sign | None:
    if not isinstance(check.params, HttpParams) or not outcome.evidence.sign:
        return None
    return next((sign for sign in check.params.signs if sign.name == outcome.evidence.sign), None)


def _needs_no_key(service: Service, check: Check) -> bool:
    """Whether a preset asks this without a key, because the service it knows answers it to anybody."""
    return service.kind != "custom" and isinstance(check.params, HttpParams) and not check.params.headers


_ADDRESS = re.compile(r"[A-Z0-9_]*(URL|URI|HOST|PORT|ENDPOINT)(__.*)?", re.IGNORECASE)
# For these a key, a password or a name beside the address may be what is wrong.
_NOT_THE_ADDRESS = frozenset({Cause.AUTH, Cause.NOT_FOUND, Cause.READONLY, Cause.PROBE_FAULT})
# These ask one service about another one, which is the one that is told of.
_ABOUT_ANOTHER = ("queue_signal", "key_signal")
_PLACE = re.compile(r" ?\(\{code\}\)|\{(title|address|code|setting|where|bucket|provider|speech|usual_port|others)\}")


class _Words:
    """What fills the places of a rule's text: the service, where this check of it looks, and the answer's code."""

    def __init__(self, service: Service, check: Check | None = None, seen: Evidence | None = None) -> None:
        self._service = service
        self._address = _address(service, check)
        self._code = seen.code if seen else ""
        self._network = seen.network if seen else None
        self._bucket = str(getattr(check.params, "bucket", None) or "") if check else ""
        self._provider = _provider(check)
        self._remedies = {**service.remedies, **(check.remedies if check else {})}

    def diagnosis(self, rule: Rule, says: str = "") -> Diagnosis:
        """The rule in words; `says` are a preset's own for the sentence."""
        sentence = self._say(says) if says.strip(". ") else self._fill(rule.says, rule.cause)
        own = "" if rule.precise else self._remedies.get(rule.cause, "")
        return Diagnosis(cause=rule.cause, sentence=sentence, remedy=own or self._fill(rule.remedy, rule.cause))

    def _say(self, says: str) -> str:
        """A preset's words as a sentence that names the service and where it is."""
        says, title = says.rstrip(". "), self._service.title
        named = title.lower() in says.lower()
        return f"{says[:1].upper()}{says[1:]} ({self._address})." if named else f"{title} at {self._address}: {says}."

    def _setting(self, cause: Cause) -> str:
        """The variables to look at: those that say where it is, unless the cause may lie in what goes with it."""
        names = self._service.variables
        if cause not in _NOT_THE_ADDRESS:
            names = tuple(name for name in names if _ADDRESS.fullmatch(name)) or names
        return " or ".join(names) or "WATCH_FILE"

    def _ways(self) -> Mapping[str, str]:
        """What the look at the ways to it found, where one was made."""
        found = self._network
        if found is None:
            return {"speech": "", "usual_port": "", "others": ""}
        return {
            "speech": NAMES[found.speech] if found.speech else "",
            "usual_port": str(found.usual_port),
            "others": found.resolves or " or ".join(found.lost),
        }

    def _fill(self, template: str, cause: Cause) -> str:
        """Fills the places of a rule's text; "({code})" vanishes when there is no code."""
        values = {
            "title": self._service.title,
            "address": self._address,
            "code": self._code,
            "setting": self._setting(cause),
            "where": self._setting(Cause.WRONG_SERVICE),
            "bucket": self._bucket,
            "provider": self._provider,
            **self._ways(),
        }

        def value(match: re.Match[str]) -> str:
            if match[1]:
                return values[match[1]]
            return match[0].replace("{code}", self._code) if self._code else ""

        return _PLACE.sub(value, template)


def _address(service: Service, check: Check | None) -> str:
    """The service's address, which is its first check's; for a check that looks elsewhere, where that is."""
    if check is None or check.kind in _ABOUT_ANOTHER or _target(check) == _target(service.checks[0]):
        return service.address
    return address_of(check.params)


def _provider(check: Check | None) -> str:
    """Who takes or refuses the key that a check tries, by its title."""
    tried = check.params if check else None
    return PROVIDERS[tried.provider].title if isinstance(tried, KeySignalParams) else "its provider"


def _target(check: Check) -> tuple[str | None, int | None]:
    """Host and port that a check looks at."""
    text = address_of(check.params)
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        return parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        return text, None
