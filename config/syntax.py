"""What the text of a field may be, beyond being text: what a probe could not send or look up is refused here.

No message repeats what it was given: it may hold a secret.
"""

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

import jmespath

from config.secret import Secret
from config.urls import HOST_NAME

BUCKET = re.compile(r"(?!.*(?:\.\.|\.-|-\.))[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
METHOD = re.compile(r"[A-Z]{1,20}")
PATH = re.compile(r"(?:/[\x21-\x7e]*)?")
SENDABLE = re.compile(r"[\t\x20-\x7e]*")
RUNBOOK = re.compile(r"(?:https?://[^\s@/?#\x00-\x1f]+(?:[/?#][^\s<>\"\x00-\x1f]*)?)?")

# What the client itself has to say, or the message would not hold together. Host may be given: one address, many names.
OURS = ("connection", "content-length", "expect", "te", "trailer", "transfer-encoding", "upgrade")

# What libpq reads from an address. Anything else in there is for an ORM or a pool and would make libpq refuse it.
LIBPQ_OPTIONS = (
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslnegotiation",
    "channel_binding",
    "gssencmode",
    "target_session_attrs",
    "options",
)
# What only a file may say besides. Who connects, and where to, has fields of its own.
LIBPQ_RARE = (
    "client_encoding",
    "gssdelegation",
    "gsslib",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "requirepeer",
    "require_auth",
    "sslcertmode",
    "sslcompression",
    "sslcrl",
    "sslcrldir",
    "sslpassword",
    "sslsni",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "tcp_user_timeout",
)
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
LIBPQ_WORDS: Mapping[str, tuple[str, ...]] = {
    "sslmode": SSL_MODES,
    "sslnegotiation": ("postgres", "direct"),
    "channel_binding": ("disable", "prefer", "require"),
    "gssencmode": ("disable", "prefer", "require"),
    "target_session_attrs": ("any", "read-write", "read-only", "primary", "standby", "prefer-standby"),
}


class MisfitError(ValueError):
    """A value that does not fit its field: what is wrong and what would fit."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy


def _host(text: str) -> None:
    if not text:
        raise MisfitError("is empty", "write a host name or an IP address")
    if "://" in text or "/" in text:
        raise MisfitError("is an address, not a host name", "write the host alone; the port has a key of its own")
    if text.startswith("["):
        raise MisfitError("has brackets, which belong into addresses only", "write it without them, as in ::1")
    try:
        ipaddress.ip_address(text)
    except ValueError:
        if ":" in text:
            raise MisfitError("holds a colon and is no IPv6 address", "write the port into its own key") from None
        if not HOST_NAME.fullmatch(text) or len(text) > 253:
            raise MisfitError("holds characters no host name has", "write a host name or an IP address") from None


def _name(text: str) -> None:
    if not HOST_NAME.fullmatch(text) or len(text) > 253:
        raise MisfitError("is no name that can be looked up", "write the name alone, without scheme, port and path")


def _method(text: str) -> None:
    if not METHOD.fullmatch(text):
        raise MisfitError("is no HTTP method", "write one word in capitals, such as GET, HEAD or POST")


def _paths(paths: tuple[str, ...]) -> None:
    if not paths:
        raise MisfitError("is empty, so nothing would be asked", 'write one path or more, or "" for the url as it is')
    if not all(PATH.fullmatch(path) for path in paths):
        remedy = 'begin each with / and %-encode what is no plain letter; "" is the url as it is'
        raise MisfitError("holds a path that cannot be asked for", remedy)


def _headers(headers: Mapping[str, str | Secret]) -> None:
    for name, value in headers.items():
        if not TOKEN.fullmatch(name):
            raise MisfitError("has a name no header can have", "write letters, digits and dashes")
        if name.lower() in OURS:
            raise MisfitError(f"sets {name}, which follows from the request itself", "take it out")
        try:
            _sendable(value)
        except MisfitError as misfit:
            raise MisfitError(f"has a value for {name} that {misfit.message}", misfit.remedy) from None


def _metadata(headers: Mapping[str, str | Secret]) -> None:
    _headers(headers)
    for name in headers:
        if name.lower().startswith("grpc-") or name.lower() == "content-type":
            raise MisfitError(f"sets {name}, which gRPC keeps for itself", "take it out")


def _sendable(value: str | Secret) -> None:
    text = value.reveal() if isinstance(value, Secret) else value
    if not SENDABLE.fullmatch(text) or text != text.strip():
        raise MisfitError(
            "holds what an HTTP header cannot carry",
            "use plain ASCII without line breaks or blanks at its ends; see whether something came along in copying",
        )


def _libpq(options: Mapping[str, str]) -> None:
    for name, value in options.items():
        if name not in LIBPQ_OPTIONS + LIBPQ_RARE:
            known = ", ".join(sorted(LIBPQ_OPTIONS + LIBPQ_RARE))
            raise MisfitError(
                "has a key that is no option of libpq's, or has a field of its own", f"known here: {known}"
            )
        if value not in LIBPQ_WORDS.get(name, (value,)):
            raise MisfitError(f"has an unknown word for {name}", f"write one of {', '.join(LIBPQ_WORDS[name])}")


def _bucket(text: str) -> None:
    if not BUCKET.fullmatch(text):
        raise MisfitError(
            "is no bucket's name", "write 3 to 63 small letters, digits, dots and dashes, without a slash"
        )


def _runbook(text: str) -> None:
    if not RUNBOOK.fullmatch(text) or len(text) > 1000:
        raise MisfitError("is no address that a browser opens", "write http:// or https://, host and path, no user")


def _header_regex(text: str) -> None:
    name, colon, expression = text.partition(":")
    if not colon or not name.strip():
        raise MisfitError("is not of the form name: regular expression", 'write "name: expression"')
    _regex(expression.strip())


def _regex(expression: str) -> None:
    try:
        re.compile(expression)
    except re.error as error:
        where = f" at position {error.pos}" if error.pos is not None else ""
        what = error.msg.partition("'")[0].strip()  # what follows quotes the expression
        remedy = "write a \\ before . * + ? ( ) [ ] that stand for themselves"
        raise MisfitError(f"is not a regular expression: {what}{where}", remedy) from None


def _fact(text: str) -> None:
    if not text.startswith("header:"):
        _jmespath(text)


def _jmespath(expression: str) -> None:
    """Raises MisfitError unless it compiles and names functions that exist. Its own messages span several lines."""
    try:
        jmespath.compile(expression).search({})
    except jmespath.exceptions.UnknownFunctionError:
        raise MisfitError("uses a JMESPath function that does not exist", "see jmespath.org") from None
    except jmespath.exceptions.ArityError:
        raise MisfitError("gives a JMESPath function too few or too many arguments", "see jmespath.org") from None
    except jmespath.exceptions.JMESPathTypeError:
        return  # sound; there was only nothing to work on
    except ValueError:
        raise MisfitError("is not a JMESPath expression", "see jmespath.org; numbers stand in `backticks`") from None


# By the word that stands in a field's Annotated type: raises MisfitError unless the value is sound.
RULES: Mapping[str, Callable[[Any], None]] = {
    "jmespath": _jmespath,
    "regex": _regex,
    "header": _header_regex,
    "fact": _fact,
    "host": _host,
    "name": _name,
    "method": _method,
    "paths": _paths,
    "headers": _headers,
    "metadata": _metadata,
    "sendable": _sendable,
    "libpq": _libpq,
    "bucket": _bucket,
    "runbook": _runbook,
}
