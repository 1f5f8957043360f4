"""Slack's incoming webhooks: a line for the lock screen, and the facts beside a bar of colour.

Taken by Slack-compatible receivers too; those that know no blocks show the line alone.
"""

import re
import time
from collections.abc import Callable, Iterable
from typing import Any

import httpx

from alerts.alert import Alert
from alerts.channels.base import Channel, DeliveryError, Reason, Receipt
from alerts.channels.exchange import Answer, Provider
from alerts.texts import BREAK, clamp, units, unmention
from alerts.wording import SIGNS, WORST_FIRST, Line, Look, headline, lead, lines, look, origin, text
from config.alert_settings import AlertSettings
from config.secret import Secret

# Slack refuses a section over 3,000 characters, and a message over some 13,000 without saying so anywhere.
LONGEST_HEADLINE, LONGEST_LEAD, LONGEST_SECTION, LONGEST_LINK = 300, 600, 2_900, 1_200
LONGEST_LINE = {"Seen": 600, "Takes down": 500, "Took down": 500, "Changed before": 600, "To do": 800}
MEMBER_HEADLINE, MEMBER_LEAD, MEMBER_LINE = 150, 350, 150
MOST_MEMBERS = 10  # told in full; the line above names more
COLOURS = {Look.BAD: "#d32f2f", Look.POOR: "#f9a825", Look.GOOD: "#2e7d32", Look.PLAIN: "#546e7a"}

# Slack's words for a webhook that is no more: https://api.slack.com/messaging/webhooks#handling_errors
GONE = re.compile(
    "invalid_token|no_service|no_service_id|no_team|team_disabled|token_revoked|account_inactive|action_prohibited|"
    "channel_not_found|channel_is_archived|posting_to_general_channel_denied|user_not_found|no_active_hooks"
)
UNFIT = re.compile("invalid_payload|invalid_blocks|invalid_attachments|no_text|too_many_attachments|msg_.*too_long")
MARKUP = re.compile(r"[*~`]|(?<!\w)_|_(?!\w)")
ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class Slack:
    """One incoming webhook. It edits nothing and threads nothing, so every alert is a message of its own."""

    name = "slack"
    pages, groups, keyed = False, True, False

    def __init__(self, url: Secret, *, wall: Callable[[], float] = time.time) -> None:
        self._provider = Provider("Slack", url, wall=wall)

    async def send(self, alert: Alert, client: httpx.AsyncClient, *, ref: str = "") -> Receipt:  # noqa: ARG002 - it edits nothing
        """See Channel. A message whose form is refused is sent once more as plain text."""
        try:
            self._check(await self._provider.ask(client, message(alert)))
        except DeliveryError as error:
            if error.reason != Reason.REJECTED:
                raise
            refused = error
        else:
            return Receipt(said="Slack answered ok")
        self._check(await self._provider.ask(client, plain_message(alert)))
        return Receipt(said=f"Slack took it as plain text only; in full: {refused}")

    def _check(self, answer: Answer) -> None:
        """Raises DeliveryError unless it is Slack's own ok, or what Rocket.Chat says in its place."""
        said = answer.text.strip()
        if answer.status == 200 and (said == "ok" or answer.json().get("success") is True):
            return
        quoted = f"Slack answered {answer.status}: {self._provider.quote(said)}"
        if answer.status < 500 and GONE.fullmatch(said):
            raise DeliveryError(Reason.REFUSED, quoted, permanent=True)
        if answer.status < 500 and UNFIT.fullmatch(said):
            raise DeliveryError(Reason.REJECTED, quoted, permanent=True)
        raise self._provider.failure(answer)


def channels(settings: AlertSettings) -> Iterable[Channel]:
    """The channel, if it is set up."""
    return [Slack(settings.slack)] if settings.slack else []


def escape(words: str) -> str:
    """`words` so that Slack shows them as they are and calls nobody.

    Slack has no escape for bold and its like: a character of no width beside the sign keeps it from opening anything.
    """
    return MARKUP.sub(lambda sign: BREAK + sign[0], unmention(words)).translate(ENTITIES)


def literal(words: str) -> str:
    """`words` letter by letter, as Slack shows code."""
    return f"`{unmention(words).replace('`', 'ˋ').translate(ENTITIES)}`"


def message(alert: Alert) -> dict[str, Any]:
    """What is posted: `text` is the push notification and the message's first lines."""
    return {"text": _lines_above(alert), **PLAINLY, "attachments": _attachments(alert)}


def plain_message(alert: Alert) -> dict[str, Any]:
    """The same without any form that could be refused."""
    return {"text": clamp(text(alert), LONGEST_SECTION, lambda words: unmention(words).translate(ENTITIES)), **PLAINLY}


PLAINLY = {"unfurl_links": False, "unfurl_media": False, "link_names": False}


def _lines_above(alert: Alert) -> str:
    title = clamp(headline(alert), LONGEST_HEADLINE, escape)
    return "\n".join([f"{SIGNS[look(alert)]} *{title}*", *(clamp(one, LONGEST_LEAD, escape) for one in lead(alert))])


def _attachments(alert: Alert) -> list[dict[str, Any]]:
    facts = [_fact(line, LONGEST_LINE.get(line.label, 500)) for line in lines(alert)]
    if not alert.members:
        return [_attachment(alert, [*_sections(facts), _context(alert)])]
    shown = sorted(alert.members, key=lambda one: WORST_FIRST.index(look(one)))[:MOST_MEMBERS]
    rest = len(alert.members) - len(shown)
    more = [f"and {rest} more"] if rest else []
    members = [_attachment(one, [_section(_member(one))]) for one in shown]
    return [*members, _attachment(alert, [*_sections([*more, *facts]), _context(alert)])]


def _member(alert: Alert) -> str:
    said = [
        f"*{clamp(headline(alert), MEMBER_HEADLINE, escape)}*",
        clamp(" ".join(lead(alert)), MEMBER_LEAD, escape),
        *(_fact(line, MEMBER_LINE) for line in lines(alert) if line.label in ("Takes down", "To do")),
    ]
    return "\n".join(filter(None, said))


def _fact(line: Line, most: int) -> str:
    if line.href:
        link = line.href.translate(ENTITIES)
        return f"*{line.label}:* <{link}>" if len(link) <= LONGEST_LINK else ""
    return f"*{line.label}:* {clamp(line.text, most, literal if line.literal else escape)}"


def _attachment(alert: Alert, blocks: list[dict[str, Any]]) -> dict[str, Any]:
    # Without a fallback some clients add "[no preview available]" to the notification.
    fallback = clamp(headline(alert), MEMBER_HEADLINE, escape)
    return {"color": COLOURS[look(alert)], "fallback": fallback, "blocks": blocks}


def _sections(facts: Iterable[str]) -> list[dict[str, Any]]:
    """As few sections as hold the facts, a fact to a line."""
    packed: list[str] = []
    for fact in filter(None, facts):
        if packed and units(packed[-1]) + 1 + units(fact) <= LONGEST_SECTION:
            packed[-1] += f"\n{fact}"
        else:
            packed.append(fact)
    return list(map(_section, packed))


def _section(words: str) -> dict[str, Any]:
    # verbatim: nothing in it is made a link or a mention by its looks.
    return {"type": "section", "text": {"type": "mrkdwn", "text": words, "verbatim": True}}


def _context(alert: Alert) -> dict[str, Any]:
    words = clamp(origin(alert), MEMBER_HEADLINE, escape)
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": words, "verbatim": True}]}
