"""What a field of a check may hold beyond its type, as `Annotated`; `config.tables` reads it. Times are seconds."""

from dataclasses import dataclass
from typing import Annotated, Literal

from config.secret import Secret

Family = Literal["any", "ipv4", "ipv6"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The smallest and the largest number a field may hold, both included."""

    least: float
    most: float


@dataclass(frozen=True, slots=True)
class AtMost:
    """How many entries a list may have."""

    entries: int


# What the text of a field is written in.
Syntax = Literal[
    "jmespath",
    "regex",
    "header",
    "fact",
    "host",
    "name",
    "method",
    "paths",
    "headers",
    "metadata",
    "sendable",
    "libpq",
    "bucket",
]

JmesPath = Annotated[str, "jmespath"]
Regex = Annotated[str, "regex"]
HeaderRegex = Annotated[str, "header"]  # "name: regex"
Fact = Annotated[str, "fact"]  # a JMESPath, or "header:NAME"
Host = Annotated[str, "host"]  # a name or an IP address, nothing else
Sendable = Annotated[str, "sendable"]  # goes into a header
SendableSecret = Annotated[Secret, "sendable"]
Port = Annotated[int, Limits(1, 65_535)]
Pause = Annotated[float, Limits(60, 604_800)]  # seconds between two asks that cost something
Threshold = Annotated[float, Limits(0, 1e15)]  # from which a signal warns or fails, in its own unit; no NaN
