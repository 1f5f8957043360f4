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
    replace(GENERAL[Cause.TLS], sights=_FAILED),
)

# For checks of kind tls, whose probe also reads the days that are left.
CERTIFICATE: tuple[Rule, ...] = (replace(GENERAL[Cause.CERT_EXPIRING], signs=("expiring",), verdict=Verdict.WARN),)
