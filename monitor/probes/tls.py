"""The tls probe: a TLS handshake, and the days its certificate has left."""

import ssl
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from config.checks import TlsParams
from monitor.net import Progress, progress
from monitor.probes.attempt import attempt, read_error
from monitor.probes.base import Answer, Garbled, Outcome, ProbeContext, Sight, Verdict, clean, not_asked, not_available
from monitor.probes.x509 import Certificate, read_certificate
from monitor.wire import PlainWire, connect, secure

# PostgreSQL's SSLRequest: a length of 8 and the code 80877103. Answered by one byte, S or N.
_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


async def probe(params: TlsParams, *, timeout: float, context: ProbeContext) -> Outcome:
    """Shakes hands once and judges the certificate; see TlsParams.

    Evidence.code is expired, not_yet_valid or expiring, or what `attempt` makes of a handshake that failed. Facts are
    not_after, issuer and subject. A certificate that does not verify is fetched once more without verifying, for them.
    """
    outcome = await attempt(partial(_ask, params, context, timeout), timeout=timeout)
    return _forgo(outcome) if params.optional else outcome


def _forgo(outcome: Outcome) -> Outcome:
    """The outcome, unless it tells nothing of a certificate: then it is not available."""
    seen = outcome.evidence
    if seen.sight == Sight.TLS and seen.code == "not_tls":
        answer = not_available("the server speaks no TLS, so it has no certificate")
    elif outcome.verdict == Verdict.PASS or seen.sight in (Sight.TLS, Sight.ANSWERED):
        return outcome
    else:
        answer = not_asked()
    evidence = replace(seen, sight=answer.sight, text=answer.text, sign=answer.sign, code="")
    return replace(outcome, verdict=answer.verdict, evidence=evidence)


async def _ask(params: TlsParams, context: ProbeContext, timeout: float) -> Answer:
    try:
        found = await _fetch(params, context.tls(verify=params.verify), timeout)
    except ssl.SSLCertVerificationError as error:
        answer = read_error(error, progress.get() or Progress(), timeout)
        with suppress(OSError, ValueError, Garbled, TimeoutError):
            found = await _fetch(params, context.tls(verify=False), timeout)
            return _explain(answer, found, datetime.now(UTC))
        return answer
    return weigh(found, params.warn_days, datetime.now(UTC))


async def _fetch(params: TlsParams, tls: ssl.SSLContext, timeout: float) -> Certificate:
    sock = await connect(params.host, params.port, family=params.family, timeout=timeout)
    try:
        if params.starttls == "postgres":
            await _ask_postgres(PlainWire(sock))
    except BaseException:
        sock.close()
        raise
    wire = await secure(sock, tls, params.server_name or params.host)
    try:
        der = wire.ssl_object.getpeercert(binary_form=True)
        if der is None:
            raise ValueError("the server shows no certificate")
        return read_certificate(der)
    finally:
        wire.close()


async def _ask_postgres(wire: PlainWire) -> None:
    await wire.write(_SSL_REQUEST)
    # One byte and no more: what follows belongs to TLS.
    answer = await wire.read(1)
    if answer == b"N":
        raise Garbled("PostgreSQL says it has TLS turned off", code="not_tls", sight=Sight.TLS)
    if not answer:
        raise ConnectionResetError("ended instead of an answer to SSLRequest")
    if answer != b"S":
        raise Garbled("the answer to SSLRequest is not PostgreSQL's")


def weigh(found: Certificate, warn_days: int, now: datetime) -> Answer:
    """Gives what a certificate's dates mean at `now`. Pure."""
    facts = _facts(found)
    last = f"{found.not_after:%Y-%m-%d}"
    if now < found.not_before:
        text = f"the certificate is not valid before {found.not_before:%Y-%m-%d %H:%M} UTC"
        return Answer(verdict=Verdict.FAIL, sight=Sight.TLS, text=text, code="not_yet_valid", facts=facts)
    if now >= found.not_after:
        text = f"the certificate ended {_days((now - found.not_after).days)} ago, on {last}"
        return Answer(verdict=Verdict.FAIL, sight=Sight.TLS, text=text, code="expired", facts=facts)
    left = (found.not_after - now).days
    text = f"certificate ends in {_days(left)}, on {last}"
    if left < warn_days:
        return Answer(verdict=Verdict.WARN, text=text, code="expiring", sign="expiring", facts=facts)
    return Answer(verdict=Verdict.PASS, text=text, facts=facts)


def _explain(answer: Answer, found: Certificate, now: datetime) -> Answer:
    """Adds what the certificate itself says to the reason why it did not verify."""
    dates = weigh(found, 0, now)
    says = dates.text
    if answer.code == "expired" and dates.code != "expired":
        says = f"an issuing certificate of its chain has ended; its own {says.removeprefix('certificate ')}"
    elif answer.code in ("untrusted", "self_signed"):
        says = f"it is issued by “{clean(found.issuer, 80)}” to “{clean(found.subject, 80)}”"
    elif answer.code == "wrong_name":
        says = f"it is made out to “{clean(found.subject, 80)}”"
    return replace(answer, text=f"{answer.text}; {says}", facts=dates.facts)


def _facts(found: Certificate) -> dict[str, str]:
    facts = {"not_after": found.not_after.isoformat(), "issuer": found.issuer, "subject": found.subject}
    return {name: clean(text, 120) for name, text in facts.items() if text}


def _days(count: int) -> str:
    return "1 day" if count == 1 else f"{count} days"
