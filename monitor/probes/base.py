"""What a probe is: a question asked once, answered with a value.

A probe never raises, never decides about a service and never retries: thresholds live in `judge`.
"""

import re
import ssl
from collections.abc import Awaitable, Callable, Hashable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from config.secret import Secret
from monitor.probes.shared import Answers, Samples
from monitor.ways import NetworkTruth

if TYPE_CHECKING:
    import httpx

    from monitor.freshness import FailedRun


class Verdict(StrEnum):
    """What one run of a check saw."""

    PASS = "pass"  # noqa: S105 -- a verdict, not a password
    WARN = "warn"
    FAIL = "fail"
    UNKNOWN = "unknown"


class Sight(StrEnum):
    """How far a probe got. `vantage` decides from it whether we could look at all."""

    ANSWERED = "answered"  # the service spoke its protocol, whatever it said
    GARBLED = "garbled"  # it spoke, but not the protocol that was asked
    REFUSED = "refused"
    RESET = "reset"
    NO_NAME = "no_name"  # the resolver answered: there is no such name
    NO_CONNECT = "no_connect"  # the connection did not open in time
    NO_ANSWER = "no_answer"  # the connection opened, the answer did not come in time
    TLS = "tls"  # the TLS handshake failed
    NO_RESOLVER = "no_resolver"  # the resolver did not answer
    NO_ROUTE = "no_route"  # our own network has no way there
    CUT_OFF = "cut_off"  # it waited in vain, and so did whatever else was asked on that side of the network: `vantage`
    LATE = "late"  # our own loop stood still while the probe waited
    WAKING = "waking"  # it failed the first time in ten minutes that anybody asked: `monitor.surveyor`
    NOT_ASKED = "not_asked"  # another check of the same service tells already that nothing can be asked of it
    FAULT = "fault"  # the probe itself broke: a bug of ours


NOT_AVAILABLE = "not_available"
UNDER_WAY = "under_way"  # the code of a pass that is not settled yet: the same question, asked later, shows more


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was seen, for diagnose and for people.

    `text` is one line without secrets. `code` is the protocol's own: HTTP status, SQLSTATE, ClickHouse or S3 error
    code, first word of a Redis error; for sight TLS: expired, not_yet_valid, wrong_name, self_signed, untrusted,
    not_tls (plain text came back), tls_port (plain text was asked of a TLS port), eof, or OpenSSL's reason. `sign`
    names the preset's sign or the expectation that decided ("status", "json", "expect_json", "expect_text",
    "expect_header", "redirect", "expect", "slow"), or the signal. `address` is what was dialled. A pass with sign
    NOT_AVAILABLE is no pass: what was asked cannot be told here, and `text` says why. `network` is what a look at the
    ways there found, where one was made (`monitor.surveyor`).
    """

    sight: Sight
    text: str
    code: str = ""
    sign: str = ""
    address: str = ""
    network: NetworkTruth | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One run of a check. `latency` is seconds from the first look-up to the last byte read.

    `facts` are things seen on the way that are worth keeping when they change: version, role, uptime. `measures` are
    numbers that change all the time, for the metrics: each by its name, which ends in its unit.
    """

    verdict: Verdict
    latency: float
    evidence: Evidence
    facts: Mapping[str, str] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)

    @property
    def available(self) -> bool:
        """Whether it tells anything: False where the server, its version or our rights there lack what was asked."""
        return self.evidence.sign != NOT_AVAILABLE


class Probe(Protocol):
    """One question of one kind. Asks once, over a fresh connection that it closes, and never raises but when cancelled.

    `params` is the kind's own type (config.kinds). `timeout` is seconds for all of it: look-up to last byte.
    """

    def __call__(self, params: Any, *, timeout: float, context: "ProbeContext") -> Awaitable[Outcome]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a probe makes of what it saw. `attempt` adds the latency and the address to make it an Outcome."""

    verdict: Verdict
    text: str
    sight: Sight = Sight.ANSWERED
    code: str = ""
    sign: str = ""
    facts: Mapping[str, str] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)


def not_available(why: str) -> Answer:
    """Gives the answer of a signal that a server cannot give; `why` says what is lacking, and what to grant or set."""
    return Answer(verdict=Verdict.PASS, text=f"not available: {why}", sign=NOT_AVAILABLE)


def not_asked(why: str = "the server does not answer") -> Answer:
    """Gives the answer of a signal whose server cannot be asked, for the reason `why`: its own check tells that."""
    text = f"not asked: {why}, which another check tells"
    return replace(not_available(why), text=text, sight=Sight.NOT_ASKED)


class Closable(Protocol):
    """A session, as far as the context knows it."""

    def close(self) -> None:
        """Ends it at once."""


class Garbled(Exception):  # noqa: N818 -- what was seen, not a mistake of ours
    """What answered does not speak the protocol that was asked. `text` is for people, and may be raw: it is cleaned."""

    def __init__(self, text: str, *, code: str = "", sight: Sight = Sight.GARBLED) -> None:
        super().__init__(text)
        self.code = code
        self.sight = sight


T = TypeVar("T")


class ProbeContext:
    """What all probes of one daemon share. Belongs to one event loop; `aclose` when no probe runs any more.

    `hung` counts the runs that outlived their deadline and had to be abandoned. `samples` is what signals remember
    from run to run, `accounts` what one that costs something has spent. `kept` are sessions that stay open between
    runs, each with how to close it. `failed_backup` tells of the daemon's newest backup run if it left nothing,
    `first_backup` whether none has ended yet.
    """

    def __init__(self) -> None:
        self.hung = 0
        self.samples: Samples[Any] = Samples()
        self.accounts: dict[Hashable, Any] = {}
        self.kept: dict[Hashable, Closable] = {}
        self.failed_backup: Callable[[], FailedRun | None] = lambda: None
        self.first_backup: Callable[[], bool] = lambda: False
        self._answers = Answers()
        self._tls: dict[tuple[bool, tuple[str, ...]], ssl.SSLContext] = {}

    async def shared(self, key: Hashable, ask: Callable[[], Awaitable[T]], max_age: float) -> T:
        """Gives what `ask` gets, asked once for all who want `key` within `max_age` seconds: `Answers.get`.

        `ask` keeps a deadline of its own. `key` names the server and the login too, and holds a Secret as it is.
        """
        return await self._answers.get(key, ask, max_age)

    async def aclose(self) -> None:
        """Ends what is still asked, and every session that was kept."""
        await self._answers.aclose()
        while self.kept:
            self.kept.popitem()[1].close()

    def transport(self, *, verify: bool = True) -> "httpx.AsyncBaseTransport":
        """Gives what sends one HTTP request over one connection: FreshTransport."""
        from monitor.probes.transport import FreshTransport

        return FreshTransport(self.tls(verify=verify))

    def tls(self, *, verify: bool = True, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
        """Gives the shared TLS client context; loading the CA certificates takes 20 ms, so it is done once."""
        context = self._tls.get((verify, alpn))
        if context is None:
            context = ssl.create_default_context()
            if not context.cert_store_stats()["x509_ca"]:
                # A slim image has no CA certificates of its own, or keeps them in a folder OpenSSL reads as needed.
                import certifi

                context.load_verify_locations(certifi.where())
            if not verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            if alpn:
                context.set_alpn_protocols(list(alpn))
            self._tls[verify, alpn] = context
        return context


SCHEMES = ("apikey", "basic", "bearer", "digest", "token")


def header_secrets(headers: Mapping[str, str | Secret]) -> tuple[Secret, ...]:
    """Gives what is to be masked of secret headers: of "Bearer sk-1" the key itself, which is what a server quotes."""
    texts = (value.reveal().split() for value in headers.values() if isinstance(value, Secret))
    return tuple(Secret(word) for words in texts for word in words if word.lower() not in SCHEMES)


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")
_USERINFO = re.compile(r"(?<=://)[^/?#\s@]+@")
_KEY = re.compile(r"\b(sk|pk)-[\w-]{6,}")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]{6,}")
_PAIR = re.compile(
    r"""(?i)((?:password|passwd|pwd|secret|token|api[_ -]?key|access[_-]?key|credential|signature|authorization"""
    r"""|x-amz-\w+)["']?\s*[=:]\s*["']?)((?:(?:bearer|basic)\s+)?[^\s&"',;}]+)"""
)


def clean(text: str, limit: int = 300) -> str:
    """Gives `text` as one line of at most `limit` characters, without control characters and with secrets masked.

    Masked are a URL's user part, keys that begin sk- or pk-, bearer and basic credentials, and the value after a word
    that sounds secret.
    """
    line = _CONTROL.sub(" ", text[: limit * 4])
    if not line.isprintable():  # half characters, and those that Unicode has not given out
        line = "".join(sign if sign.isprintable() else " " for sign in line)
    line = _USERINFO.sub("***@", line)
    line = _KEY.sub(r"\1-***", line)
    line = _BEARER.sub(r"\1 ***", line)
    line = " ".join(_PAIR.sub(r"\1***", line).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
