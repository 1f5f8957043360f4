"""What a TLS handshake and a certificate prove. Evidence.code is OpenSSL's error in monitor.probes.attempt's words."""

from dataclasses import replace

from config.causes import Cause
from monitor.diagnose.base import Rule
from monitor.diagnose.general import GENERAL
from monitor.probes.base import Sight, Verdict

_FAILED = (Sight.TLS,)

# For every kind that can speak TLS.
TLS: tuple[Rule, ...] = (
    replace(GENERAL[Cause.CERT_EXPIRED], sights=_FAILED, codes=("expired",)),
    Rule(
        cause=Cause.TLS,
        sights=_FAILED,
        codes=("not_tls",),
        proof="TLS was asked for and plain text came back",
        says="{title} at {address} speaks plain text where TLS was asked for.",
        remedy="Take the s out of the scheme in {setting} (http://, redis://): on Railway's private network nothing "
        "speaks TLS. If TLS is meant, this is the wrong port.",
    ),
    Rule(
        cause=Cause.TLS,
        sights=_FAILED,
        codes=("tls_port",),
        proof="plain text was asked of a port that speaks TLS",
        says="{title} at {address} speaks TLS on that port and was asked in plain text.",
        remedy="Write https:// (rediss://) in {setting}, or name the port that speaks plain text: on a private network "
        "that is the one to use.",
    ),
    Rule(
        cause=Cause.TLS,
        sights=_FAILED,
        codes=("wrong_name",),
        proof="the certificate was made for another name",
        says="{title} at {address} shows a certificate made for another name.",
        remedy="Use the name that is in the certificate in {setting}, or have one made for this name. A server whose "
        "own certificate says localhost (Railway's PostgreSQL) cannot be verified by name: use sslmode=require, or "
        "verify = false in WATCH_FILE.",
    ),
    Rule(
        cause=Cause.TLS,
        sights=_FAILED,
        codes=("untrusted",),
        proof="the certificate is self-signed, or signed by somebody unknown here",
        says="{title} at {address} shows a certificate that nobody known here has signed.",
        remedy="Have the server send its whole chain. If it is self-signed on purpose, use sslmode=require for "
        "PostgreSQL, or verify_tls = false (verify = false for a tls check) in WATCH_FILE.",
    ),
    Rule(
        cause=Cause.TLS,
        sights=_FAILED,
        codes=("not_yet_valid",),
        proof="the certificate's first day has not come",
        says="{title} at {address} shows a certificate that is not valid yet.",
        remedy="Compare the clocks of both machines first; then see why a certificate of the future was put in place.",
    ),
    Rule(
        cause=Cause.NO_ANSWER,
        precise=True,
        sights=(Sight.NO_ANSWER,),
        codes=("tls",),
        proof="the connection opened, and TLS was not finished in time",
        says="{title} at {address} takes connections but does not finish TLS in time.",
        remedy="It may speak no TLS on that port: many servers wait in silence then. Take the s out of the scheme in "
        "{setting} (http://, redis://), or name the port that speaks TLS. If it does speak TLS there, it is stuck or "
        "overloaded: look at its CPU and its log.",
    ),
    replace(GENERAL[Cause.TLS], sights=_FAILED),
)

_NO_TLS_THERE = (
    "Name the port that speaks TLS in {setting}. If the service speaks none, as on most private networks, take this "
    'check out; for PostgreSQL, which begins in plain text, write starttls = "postgres".'
)

# For checks of kind tls: an address without a scheme, and a probe that also reads the days that are left.
CERTIFICATE: tuple[Rule, ...] = (
    replace(GENERAL[Cause.CERT_EXPIRING], signs=("expiring",), verdict=Verdict.WARN),
    Rule(
        cause=Cause.TLS,
        precise=True,
        sights=_FAILED,
        codes=("not_tls",),
        proof="plain text came back from the port whose certificate was asked for",
        says="The port of {title} at {address} speaks plain text: it has no certificate to check.",
        remedy=_NO_TLS_THERE,
    ),
    Rule(
        cause=Cause.NO_ANSWER,
        precise=True,
        sights=(Sight.NO_ANSWER,),
        codes=("tls",),
        proof="the port whose certificate was asked for did not finish TLS in time",
        says="{title} at {address} takes connections but does not finish TLS in time.",
        remedy=f"It may speak no TLS there, and wait in silence. {_NO_TLS_THERE} If it does, it is stuck or "
        "overloaded: look at its CPU and its log.",
    ),
)
