"""The address of a webhook as people paste it → whose it is, and which of its texts are secret.

Whoever knows such an address can post: nothing here repeats it, and what cannot be used is told by its shape alone.
"""

import re
from dataclasses import dataclass
from typing import Literal

from config.secret import Secret
from config.urls import FORMS, Address, AddressError, is_private, parse_address

Provider = Literal["slack", "discord", ""]

PARTS = re.compile(r"((?:[A-Za-z][A-Za-z0-9+.-]*://)?[^/?#]*)([^#]*)(?:#.*)?")
SLACK_HOST = re.compile(r"(?:.+\.)?slack(?:-gov)?\.com")
SLACK_PATH = re.compile(r".*/services/T[A-Za-z0-9]+/B[A-Za-z0-9]+/[A-Za-z0-9]+")
SLACK_WORKFLOW = re.compile(r"/(?:triggers|workflows)/.*")
DISCORD_HOST = re.compile(r"(?:.+\.)?discord(?:app)?\.com")
DISCORD_PATH = re.compile(r"(.*/api/(?:v\d+/)?webhooks/\d+/[A-Za-z0-9_-]+)(?:/(?:slack|github))?")
TEAMS_HOST = re.compile(r".*\.office\.com|.*\.logic\.azure\.com|.*\.powerplatform\.com")

# A part of a path or a query that looks drawn by lot. Masking a plain word such as "alerts" would spoil the log.
RANDOM = re.compile(r"(?=.*\d)[A-Za-z0-9_-]{16,}")

SLACK_EXAMPLE = "https://hooks.slack.com/services/T…/B…/…"
DISCORD_EXAMPLE = "https://discord.com/api/webhooks/<id>/<token>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """One address that can be posted to. `provider` is whose it is by host or path, "" when neither says.

    `secrets` are the texts to mask: the address, and of its path what gives the address away. `notes` are for people.
    """

    url: Secret
    provider: Provider
    secrets: tuple[Secret, ...]
    notes: tuple[str, ...] = ()


def parse_webhook(value: str) -> Webhook:
    """What `value` is. Raises AddressError for what cannot be posted to."""
    whole = PARTS.fullmatch(value)
    start, tail = whole.groups() if whole else (value, "")
    if "://" not in start and "@" in start + tail:
        raise AddressError("names no scheme", "write it as it was given to you, with https://")
    if re.search(r"[\s<>]|\$\{|\{\{", tail):
        raise AddressError("holds a blank or a placeholder", "copy the whole address again")
    address = parse_address(start, FORMS["http"])
    path, mark, query = tail.partition("?")
    provider = _provider(address, path)
    if provider == "discord" and (found := DISCORD_PATH.fullmatch(path.rstrip("/"))):
        path = found[1]  # /slack and /github take messages in another service's form
    elif path == "/":
        path = ""
    notes = list(address.notes)
    if not address.tls and not is_private(address.host):
        notes.append("is plain http, so its token travels in clear; write https:// if the receiver has it")
    url = f"{start if '://' in start else address.url}{path}{mark}{query}"
    return Webhook(
        url=Secret(url),
        provider=provider,
        secrets=(Secret(url), *_telling_parts(path, query, certain=bool(provider))),
        notes=tuple(notes),
    )


def _provider(address: Address, path: str) -> Provider:
    """Whose it is. Raises AddressError when the host is one of theirs and the path is none that takes messages."""
    trimmed = path.rstrip("/")
    if SLACK_PATH.fullmatch(trimmed):
        return "slack"
    if DISCORD_PATH.fullmatch(trimmed):
        return "discord"
    if SLACK_HOST.fullmatch(address.host):
        if SLACK_WORKFLOW.fullmatch(path):
            raise AddressError(
                "starts a Slack workflow, which takes no alerts", f"make an incoming webhook: {SLACK_EXAMPLE}"
            )
        raise AddressError("is at Slack, but is no incoming webhook", f"copy it whole: {SLACK_EXAMPLE}")
    if DISCORD_HOST.fullmatch(address.host):
        raise AddressError("is at Discord, but is no webhook", f"copy it whole: {DISCORD_EXAMPLE}")
    return ""


def _telling_parts(path: str, query: str, *, certain: bool) -> list[Secret]:
    """Of the path and the query what must be masked even where the host is cut off. `certain`: its end is a token."""
    texts = [*path.split("/"), *(part.partition("=")[2] for part in query.split("&"))]
    parts = [text for text in texts if RANDOM.fullmatch(text)]
    last = path.rstrip("/").rpartition("/")[2]
    if certain and last not in parts:
        parts.append(last)
    rest = f"{path}?{query}" if query else path
    return [Secret(text) for text in ((rest, *parts) if parts else ())]


def is_teams(value: str) -> bool:
    """Whether this is an address of Microsoft Teams, which takes messages in a form of its own."""
    host = value.partition("://")[2] or value
    return TEAMS_HOST.fullmatch(re.split(r"[/?#:]", host, maxsplit=1)[0].lower()) is not None
