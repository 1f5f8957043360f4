"""Running one probe under its deadline, and reading what the network raised on the way."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Iterator

from config.secret import Secret, telling
from monitor.net import Progress, Stage, progress
from monitor.probes.base import Answer, Evidence, Garbled, Outcome, Sight, Verdict, clean


async def attempt(
    ask: Callable[[], Awaitable[Answer]],
    *,
    timeout: float,
    secrets: Collection[Secret | None] = (),
    late: Answer | None = None,
) -> Outcome:
    """Runs `ask` under a deadline of `timeout` seconds and gives its Answer as an Outcome.

    `late` is the answer when the deadline comes first; without it what was under way then tells. `secrets` are masked
    wherever the evidence quotes them: servers do repeat what they refuse.
    What the network, the resolver or TLS raise inside `ask` becomes evidence, also when a client library has wrapped it
    in an exception of its own; anything else it raises is a fault of ours and gives verdict unknown. Raises nothing but
    CancelledError.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    seen = Progress()
    token = progress.set(seen)
    try:
        async with asyncio.timeout(timeout) as deadline:
            answer = await ask()
    except Exception as error:  # noqa: BLE001 -- the outermost boundary of a probe: whatever broke is evidence
        answer = late if late and deadline.expired() else read_error(error, seen, timeout)
    finally:
        progress.reset(token)
    evidence = Evidence(
        sight=answer.sight,
        text=clean(mask(answer.text, secrets)),
        code=clean(mask(answer.code, secrets), 80),
        sign=answer.sign,
        address=seen.address,
    )
    facts = {name: clean(mask(value, secrets), 80) for name, value in answer.facts.items()}
    return Outcome(
        verdict=answer.verdict,
        latency=loop.time() - began,
        evidence=evidence,
        facts=facts,
        measures=answer.measures,
    )


def mask(text: str, secrets: Collection[Secret | None]) -> str:
    """Gives `text` without the secrets. Comes before `clean` cuts the text: half a secret is one too."""
    forms = {form for secret in secrets if secret for form in telling(secret)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, "***")
    return text


def read_error(error: BaseException, seen: Progress, timeout: float) -> Answer:
    """Gives what an exception proves: the first in its chain that the network, the resolver or TLS raised.

    `seen` tells a timeout before the connection from one after it; `timeout` is seconds, for the text.
    """
    for link in _chain(error):
        answer = _read_link(link, seen, timeout)
        if answer is not None:
            return answer
    return Answer(verdict=Verdict.UNKNOWN, sight=Sight.FAULT, text=f"the probe broke: {type(error).__name__}: {error}")


def _chain(error: BaseException | None, known: set[int] | None = None) -> Iterator[BaseException]:
    """An exception, what it was raised from, and what groups hold, outermost first, each once."""
    known = set() if known is None else known
    while error is not None and id(error) not in known:
        known.add(id(error))
        yield error
        if isinstance(error, BaseExceptionGroup):
            for inner in error.exceptions:
                yield from _chain(inner, known)
        error = error.__cause__ or error.__context__


_NO_ROUTE = {
    errno.ENETUNREACH,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.EHOSTDOWN,
    errno.EADDRNOTAVAIL,
    errno.EAFNOSUPPORT,
    errno.EACCES,  # a firewall of this machine
    errno.EPERM,
}
# Out of files or memory: our own trouble, which says nothing about the service.
_OURS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


def _read_link(error: BaseException, seen: Progress, timeout: float) -> Answer | None:  # noqa: PLR0911 -- a table
    if isinstance(error, Garbled):
        return _miss(error.sight, str(error), error.code)
    if isinstance(error, socket.gaierror):
        return _read_resolver(error)
    if isinstance(error, UnicodeError) and seen.stage == Stage.LOOK_UP:
        return _miss(Sight.NO_NAME, f"the name cannot be looked up: {error}")
    if isinstance(error, ssl.SSLError):
        return _read_tls(error, seen.address)
    if isinstance(error, TimeoutError) or (isinstance(error, OSError) and error.errno == errno.ETIMEDOUT):
        return _read_timeout(seen, timeout)
    if isinstance(error, (OSError, EOFError)):
        answer = _read_system(error, seen.address)
        if answer is None and isinstance(error, OSError) and seen.stage == Stage.LOOK_UP:
            # What the system says when it could not even ask, which getaddrinfo gives as it is.
            text = f"the resolver could not be asked: {error.strerror or error}"
            return Answer(verdict=Verdict.UNKNOWN, sight=Sight.NO_RESOLVER, text=text, code="EAI_SYSTEM")
        return answer
    return None


def _read_system(error: OSError | EOFError, where: str) -> Answer | None:
    """An end of the stream in mid-answer is a cut connection: asyncio's readers raise EOFError for it."""
    code = errno.errorcode.get(error.errno or 0, "") if isinstance(error, OSError) else ""
    if isinstance(error, ConnectionRefusedError):
        return _miss(Sight.REFUSED, f"connection refused by {where}", code)
    if isinstance(error, (ConnectionError, EOFError)):
        return _miss(Sight.RESET, f"connection to {where} was cut", code)
    if error.errno in _NO_ROUTE:
        text = f"no route to {where}: {error.strerror}"
        return Answer(verdict=Verdict.UNKNOWN, sight=Sight.NO_ROUTE, text=text, code=code)
    if error.errno in _OURS:
        text = f"this machine could not open a connection: {error.strerror}"
        return Answer(verdict=Verdict.UNKNOWN, sight=Sight.FAULT, text=text, code=code)
    return None


def _miss(sight: Sight, text: str, code: str = "") -> Answer:
    return Answer(verdict=Verdict.FAIL, sight=sight, text=text, code=code)


def _read_timeout(seen: Progress, timeout: float) -> Answer:
    within = f"within {timeout:g} s"
    match seen.stage:
        case Stage.LOOK_UP:
            return Answer(
                verdict=Verdict.UNKNOWN, sight=Sight.NO_RESOLVER, text=f"the resolver gave no answer {within}"
            )
        case Stage.CONNECT:
            return _miss(Sight.NO_CONNECT, f"no connection to {seen.address} {within}")
        case Stage.TLS:
            return _miss(Sight.NO_ANSWER, f"{seen.address} took the connection but did not finish TLS {within}", "tls")
        case Stage.ANSWER:
            return _miss(Sight.NO_ANSWER, f"{seen.address} took the connection and did not answer {within}")
        case Stage.BODY:
            return _miss(Sight.NO_ANSWER, f"{seen.address} began to answer and did not finish {within}")


def _read_resolver(error: socket.gaierror) -> Answer:
    """NXDOMAIN and "no address of that kind" were answered, so they count as seen; all else is a silent resolver."""
    code = next((name for name in _EAI if getattr(socket, name, None) == error.errno), str(error.errno))
    text = str(error.strerror or error)
    if code in ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY"):
        return _miss(Sight.NO_NAME, text, code)
    return Answer(verdict=Verdict.UNKNOWN, sight=Sight.NO_RESOLVER, text=text, code=code)


_EAI = ("EAI_NONAME", "EAI_NODATA", "EAI_ADDRFAMILY", "EAI_AGAIN", "EAI_FAIL", "EAI_SYSTEM", "EAI_MEMORY")

# OpenSSL's names for bytes that are no TLS record: what a plain-text port sends back.
_PLAIN = {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
# OpenSSL's X509_V_ERR numbers, in the words Evidence.code uses.
_UNTRUSTED = {
    9: "not_yet_valid",
    10: "expired",
    18: "self_signed",
    19: "self_signed",  # somewhere in its chain
    62: "wrong_name",
    64: "wrong_name",
}


def _read_tls(error: ssl.SSLError, where: str) -> Answer:
    """Evidence.code is one of _UNTRUSTED's, untrusted, not_tls, or OpenSSL's reason in lower case."""
    if isinstance(error, ssl.SSLCertVerificationError):
        code = _UNTRUSTED.get(error.verify_code, "untrusted")
        return _miss(Sight.TLS, f"the certificate of {where} does not hold: {error.verify_message}", code)
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return _miss(Sight.TLS, f"{where} ended the connection during TLS", "eof")
    reason = getattr(error, "reason", None)  # an SSLError that did not come from OpenSSL has none
    if reason in _PLAIN:
        return _miss(Sight.TLS, f"{where} answers in plain text where TLS was asked for", "not_tls")
    return _miss(Sight.TLS, f"TLS with {where} failed: {reason or error}", str(reason or "").lower())
