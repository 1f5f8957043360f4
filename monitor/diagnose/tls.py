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
    replace(GENERAL[Cause.TLS_ON_PLAIN], sights=_FAILED, codes=("not_tls",)),
    replace(GENERAL[Cause.PLAIN_ON_TLS], sights=_FAILED, codes=("tls_port",)),
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
        codes=("self_signed",),
        proof="the certificate, or the last of its chain, is signed by itself",
        says="{title} at {address} shows a certificate that is signed by itself.",
        remedy="If that is on purpose (Railway's PostgreSQL), use sslmode=require for PostgreSQL, or verify_tls = "
        "false (verify = false for a tls check) in WATCH_FILE. If not, the server has lost its real one: see which it "
        "loads.",
    ),
    Rule(
        cause=Cause.TLS,
        sights=_FAILED,
        codes=("untrusted",),
        proof="the certificate is signed by somebody unknown here, or the links of its chain are missing",
        says="{title} at {address} shows a certificate that nobody known here has signed.",
        remedy="Have the server send its whole chain: the certificate of whoever issued it is missing mostly (browsers "
        "fill that in, programs do not). If a CA of your own signed it, use sslmode=require for PostgreSQL, or "
        "verify_tls = false (verify = false for a tls check) in WATCH_FILE.",
    ),
    Rule(
        cause=Cause.TLS,
        sights=_FAILED,
        codes=("unsupported_protocol", "tlsv1_alert_protocol_version", "wrong_ssl_version", "no_protocols_available"),
        proof="it speaks no version of TLS that is still good (1.2 or 1.3)",
        says="{title} at {address} speaks only a version of TLS that is too old.",
        remedy="Have it, or the proxy before it, offer TLS 1.2 or 1.3: update it, or change its list of protocols. "
        "Browsers and other clients refuse it as well.",
    ),
    Rule(
        cause=Cause.TLS,
        sights=_FAILED,
        codes=("ee_key_too_small", "ca_key_too_small", "ca_md_too_weak", "dh_key_too_small"),
        proof="its key or signature is too weak for a client of today",
        says="{title} at {address} shows a certificate whose key or signature is too weak.",
        remedy="Issue a new one: RSA of 2048 bits or an elliptic curve, signed with SHA-256.",
    ),
    Rule(
        cause=Cause.TLS,
        sights=_FAILED,
        codes=("tlsv13_alert_certificate_required", "sslv3_alert_bad_certificate"),
        proof="it asks for a client's certificate, and we have none",
        says="{title} at {address} lets in only those who show a certificate of their own.",
        remedy="Watch an address of it that asks for none, such as its private one; or have its health path excepted.",
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
        cause=Cause.TLS_ON_PLAIN,
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
