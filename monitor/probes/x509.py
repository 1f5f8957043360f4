"""Reading the few fields of a certificate that people ask about. Pure.

Python's ssl module gives them only for certificates it has verified, and a self-signed one ends as surely as any other.
The `cryptography` package would read them too, for some ten megabytes of memory.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

# The DER bytes of the object identifiers of a name's parts, in the order they are shown for the whole name.
_NAMES = {b"\x55\x04\x03": "CN", b"\x55\x04\x0a": "O", b"\x55\x04\x0b": "OU"}
_SEQUENCE, _UTC_TIME, _GENERAL_TIME, _BMP_STRING, _VERSION = 0x30, 0x17, 0x18, 0x1E, 0xA0


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """`issuer` and `subject` are the common name, or the organisation where there is none; empty without either."""

    not_before: datetime
    not_after: datetime
    issuer: str
    subject: str


def read_certificate(der: bytes) -> Certificate:
    """Gives the fields of a certificate in DER. Raises ValueError for bytes that are none."""
    try:
        certificate = _only(der, _SEQUENCE)
        fields = list(_items(next(_items(certificate))[1]))
        if fields[0][0] == _VERSION:
            del fields[0]
        _serial, _algorithm, issuer, validity, subject = fields[:5]
        begin, end = _items(validity[1])
        return Certificate(
            not_before=_time(*begin), not_after=_time(*end), issuer=_name(issuer[1]), subject=_name(subject[1])
        )
    except (IndexError, StopIteration) as error:
        raise ValueError("the certificate is cut short") from error


def _items(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The tag and the content of each element, in order."""
    at = 0
    while at < len(data):
        tag, length, at = data[at], data[at + 1], at + 2
        if length & 0x80:
            size = length & 0x7F
            if size == 0 or size > 4:
                raise ValueError("a length is written in a way that certificates do not use")
            length, at = int.from_bytes(data[at : at + size], "big"), at + size
        if at + length > len(data):
            raise ValueError("an element reaches beyond its end")
        yield tag, data[at : at + length]
        at += length


def _only(data: bytes, tag: int) -> bytes:
    found, content = next(_items(data))
    if found != tag:
        raise ValueError("this is no certificate")
    return content


def _time(tag: int, content: bytes) -> datetime:
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        # RFC 5280: two digits of a year below 50 are of this century.
        text = ("20" if int(text[:2]) < 50 else "19") + text
    elif tag != _GENERAL_TIME:
        raise ValueError("a date is not written as a date")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _name(content: bytes) -> str:
    """Distinguished names are sets of pairs; a pair is an object identifier and a string."""
    found: dict[str, str] = {}
    for _, pairs in _items(content):
        for _, pair in _items(pairs):
            (_, identifier), (tag, value) = _items(pair)
            label = _NAMES.get(identifier)
            if label:
                found[label] = value.decode("utf-16-be" if tag == _BMP_STRING else "utf-8", "replace")
    return next((found[label] for label in _NAMES.values() if label in found), "")
