"""What Slack, Discord, PagerDuty and a plain webhook do with a request, as far as a sender can see.

Limits and answers are the providers' own, where they publish them; text is counted in UTF-16 units, which is never less
than what any of them counts.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from demo.contracts.base import Answer, Request, as_json, as_text

SLACK_PATH = re.compile(r"/services/T\w+/B\w+/\w+")
DISCORD_PATH = re.compile(r"/api(?:/v\d+)?/webhooks/\d+/[\w-]+(?:/messages/(?P<message>\d+))?")
PAGERDUTY_PATH = "/v2/enqueue"
SLACK_PINGS = re.compile(r"<!(?:channel|here|everyone)|<@[UW]|<!subteam")
DISCORD_PINGS = re.compile(r"@everyone|@here|<@&?\d+>")
PAGERDUTY_BYTES = 512 * 1024
SEVERITIES = ("critical", "error", "warning", "info")


def units(text: str) -> int:
    """Length of `text` in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


@dataclass(kw_only=True)
class Memory:
    """What the providers remember. `pings` are texts that would have called people by a mention we never meant."""

    slack: list[dict[str, Any]] = field(default_factory=list)
    discord: dict[str, dict[str, Any]] = field(default_factory=dict)  # message id → its newest form, oldest first
    edits: Counter[str] = field(default_factory=Counter)  # message id → how often it was edited
    incidents: dict[str, dict[str, Any]] = field(default_factory=dict)  # open ones: dedup_key → newest trigger
    opened: Counter[str] = field(default_factory=Counter)  # dedup_key → how often an incident was opened anew
    resolved: Counter[str] = field(default_factory=Counter)
    events: list[dict[str, Any]] = field(default_factory=list)  # what PagerDuty accepted, in order
    hooks: list[Any] = field(default_factory=list)
    pings: list[str] = field(default_factory=list)
    messages: int = 0


def place_of(path: str) -> str:
    """Which provider a path belongs to: slack, discord, pagerduty, heartbeat (/ping/…) or webhook (any other)."""
    if SLACK_PATH.fullmatch(path):
        return "slack"
    if DISCORD_PATH.fullmatch(path):
        return "discord"
    if path == PAGERDUTY_PATH:
        return "pagerduty"
    return "heartbeat" if path.startswith("/ping/") else "webhook"


def slack(request: Request, memory: Memory) -> Answer:
    """An incoming webhook: "ok", or 400 and a word."""
    try:
        message = json.loads(request.body)
    except ValueError:
        return as_text("invalid_payload", 400)
    if wrong := _slack_wrong(message):
        return as_text(wrong, 400)
    memory.slack.append(message)
    memory.pings += [text for text in _texts(message) if SLACK_PINGS.search(text)]
    return as_text("ok")


def _slack_wrong(message: Any) -> str:
    """Slack's word for what is wrong with a message, "" if nothing."""
    if not isinstance(message, dict):
        return "invalid_payload"
    attachments = message.get("attachments", [])
    blocks = [*message.get("blocks", []), *(block for one in attachments for block in one.get("blocks", []))]
    if not message.get("text") and not blocks:
        return "no_text"
    if len(attachments) > 100:
        return "too_many_attachments"
    if len(blocks) > 50 or not all(map(_is_block, blocks)):
        return "invalid_blocks"
    return "msg_blocks_too_long" if sum(map(units, _texts(message))) > 13_000 else ""


def _is_block(block: Mapping[str, Any]) -> bool:
    def fits(text: Any, most: int) -> bool:
        return isinstance(text, dict) and 0 < units(str(text.get("text", ""))) <= most

    match block.get("type"):
        case "header":
            return fits(block.get("text"), 150) and block["text"]["type"] == "plain_text"
        case "section":
            fields = block.get("fields", [])
            if len(fields) > 10 or not all(fits(one, 2_000) for one in fields):
                return False
            return fits(block.get("text"), 3_000) if "text" in block else bool(fields)
        case "context":
            elements = block.get("elements", [])
            return 0 < len(elements) <= 10 and all(fits(one, 3_000) for one in elements)
        case "divider" | "actions":
            return True
    return False


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, one in value.items():
            if key in ("text", "fallback", "title", "pretext") and isinstance(one, str):
                yield one
            else:
                yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


def discord(request: Request, memory: Memory) -> Answer:
    """A webhook: 204, or with ?wait=true the message; PATCH edits it."""
    try:
        message = json.loads(request.body)
    except ValueError:
        return as_json({"code": 50109, "message": "The request body contains invalid JSON."}, 400)
    match = DISCORD_PATH.fullmatch(request.path)
    known = match and match["message"]
    if known and known not in memory.discord:
        return as_json({"message": "Unknown Message", "code": 10008}, 404)
    if not message.get("content") and not message.get("embeds"):
        return as_json({"message": "Cannot send an empty message", "code": 50006}, 400)
    if wrong := _discord_wrong(message):
        errors = {"_errors": [{"code": "BASE_TYPE_MAX_LENGTH", "message": wrong}]}
        return as_json({"code": 50035, "errors": errors, "message": "Invalid Form Body"}, 400)
    if message.get("allowed_mentions") != {"parse": []} and DISCORD_PINGS.search(message.get("content") or ""):
        memory.pings.append(message["content"])
    if known:
        memory.discord[known] |= message
        memory.edits[known] += 1
        return as_json(memory.discord[known])
    memory.messages += 1
    number = str(1_300_000_000_000_000_000 + memory.messages)
    memory.discord[number] = {"id": number, "type": 0, **message}
    return as_json(memory.discord[number]) if request.flag("wait") else Answer(status=204)


def _discord_wrong(message: Mapping[str, Any]) -> str:
    """What is over its limit, or empty where it must not be; "" if nothing."""
    embeds = message.get("embeds") or []
    if units(message.get("content") or "") > 2_000:
        return "content: Must be 2000 or fewer in length."
    if len(embeds) > 10:
        return "embeds: Must be 10 or fewer in length."
    total = 0
    for embed in embeds:
        fields = embed.get("fields", [])
        parts = [
            ("title", embed.get("title", ""), 256),
            ("description", embed.get("description", ""), 4_096),
            ("footer", embed.get("footer", {}).get("text", ""), 2_048),
            ("author", embed.get("author", {}).get("name", ""), 256),
            *(("field name", one.get("name", ""), 256) for one in fields),
            *(("field value", one.get("value", ""), 1_024) for one in fields),
        ]
        if len(fields) > 25:
            return "fields: Must be 25 or fewer in length."
        for name, text, most in parts:
            if units(text) > most:
                return f"{name}: Must be {most} or fewer in length."
            if name.startswith("field") and not text.strip():
                return f"{name}: This field is required"
            total += units(text)
    return "embeds: Embed size exceeds maximum size of 6000" if total > 6_000 else ""


def pagerduty(request: Request, memory: Memory) -> Answer:
    """Events v2: 202 with the dedup_key; one open incident for each."""
    if len(request.body) > PAGERDUTY_BYTES:
        return as_json({"status": "invalid event", "message": "Event too large"}, 413)
    try:
        event = json.loads(request.body)
        wrong = _pagerduty_wrong(event)
    except (ValueError, AttributeError):
        event, wrong = {}, ["JSON parse error"]
    if wrong:
        return as_json({"status": "invalid event", "message": "Event object is invalid", "errors": wrong}, 400)
    action, key = event["event_action"], event.get("dedup_key") or f"generated-{len(memory.events)}"
    memory.events.append(event)
    if action == "trigger":
        memory.opened[key] += key not in memory.incidents
        memory.incidents[key] = event
    elif action == "resolve":
        memory.resolved[key] += memory.incidents.pop(key, None) is not None
    return as_json({"status": "success", "message": "Event processed", "dedup_key": key}, 202)


def _pagerduty_wrong(event: Mapping[str, Any]) -> list[str]:
    wrong = []
    action, key, payload = event.get("event_action"), event.get("dedup_key") or "", event.get("payload") or {}
    if not re.fullmatch(r"\w{32}", str(event.get("routing_key", ""))):
        wrong.append("'routing_key' must be 32 characters")
    if action not in ("trigger", "acknowledge", "resolve"):
        wrong.append("'event_action' is missing or unknown")
    if len(key) > 255 or (action != "trigger" and not key):
        wrong.append("'dedup_key' is missing or longer than 255")
    if action == "trigger":
        wrong += [f"'payload.{name}' is missing or blank" for name in ("summary", "source") if not payload.get(name)]
        if units(payload.get("summary") or "") > 1_024:
            wrong.append("'payload.summary' is longer than 1024")
        if payload.get("severity") not in SEVERITIES:
            wrong.append("'payload.severity' is invalid")
        wrong += ["'links' is invalid" for one in event.get("links", []) if not str(one.get("href")).startswith("http")]
    return wrong


def webhook(request: Request, memory: Memory) -> Answer:
    """Takes anything, keeps what is JSON."""
    try:
        memory.hooks.append(json.loads(request.body))
    except ValueError:
        memory.hooks.append(request.body.decode("utf-8", "replace"))
    return Answer(status=204)


def heartbeat(_: Request, __: Memory) -> Answer:
    """Says OK, as healthchecks.io does."""
    return as_text("OK")


ANSWERS: Mapping[str, Callable[[Request, Memory], Answer]] = {
    "slack": slack,
    "discord": discord,
    "pagerduty": pagerduty,
    "webhook": webhook,
    "heartbeat": heartbeat,
}
