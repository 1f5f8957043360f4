"""Discord's webhooks. The first message of an incident is kept up to date; what must be noticed is said anew as well.

An edit reaches nobody's phone. So a resolve, and an update as bad as an outage, edit the first message and are posted
as a line of their own; a smaller update edits alone.
"""

import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import httpx

from alerts.alert import Alert, Kind, Severity
from alerts.channels.base import Channel, DeliveryError, Reason, Receipt
from alerts.channels.exchange import Answer, Provider
from alerts.texts import BREAK, clamp, rfc3339, units, unmention
from alerts.wording import SIGNS, WORST_FIRST, Line, Look, headline, lead, lines, look, origin, text
from config.alert_settings import AlertSettings
from config.secret import Secret

# https://docs.discord.com/developers/resources/message#embed-object-embed-limits: a message's content has 2,000
# characters, a description 4,096, a footer 2,048, and all embeds of a message together 6,000.
LONGEST_CONTENT, LONGEST_DESCRIPTION, LONGEST_FOOTER, LONGEST_TOTAL = 1_990, 4_000, 150, 5_900
LONGEST_HEADLINE, LONGEST_LEAD = 300, 400
LONGEST_LINE = {"Seen": 700, "Takes down": 600, "Took down": 600, "Changed before": 700, "To do": 900}
MEMBER_TITLE, MEMBER_TEXT = 150, 400
MOST_MEMBERS = 9  # of 10 embeds; the last has the rest
COLOURS = {Look.BAD: 0xD32F2F, Look.POOR: 0xF9A825, Look.GOOD: 0x2E7D32, Look.PLAIN: 0x546E7A}

UNKNOWN_WEBHOOK, UNKNOWN_MESSAGE = 10015, 10008
MARKUP = re.compile(r"[\\*~`|\[\]<>]|(?<!\w)_|_(?!\w)|(?<!\S)[#-](?=[#\s])")
NUMBER = re.compile(r"\d{1,20}")


class Discord:
    """One webhook."""

    name = "discord"
    pages, groups, keyed = False, True, False

    def __init__(self, url: Secret, *, wall: Callable[[], float] = time.time) -> None:
        self._provider = Provider("Discord", url, wall=wall)

    async def send(self, alert: Alert, client: httpx.AsyncClient, *, ref: str = "") -> Receipt:
        """See Channel. `ref` is the id of the incident's first message, "" when there is none that is its alone."""
        edits = alert.kind in (Kind.UPDATE, Kind.RESOLVE) and NUMBER.fullmatch(ref) is not None
        # The edit goes first: when what follows fails, all is done again, and an edit may be.
        if not edits or not await self._edit(alert, client, ref):
            number, said = await self._post(alert, client)
            # A reminder is not the message to keep up to date, and members of a group have none of their own.
            kept = ref if alert.kind == Kind.REMINDER and ref else number
            return Receipt(said=said, ref="" if alert.members else kept)
        if alert.kind == Kind.RESOLVE or alert.severity in (Severity.CRITICAL, Severity.ERROR):
            await self._tell(client, {"content": content(alert), **PLAINLY})
            return Receipt(said="Discord has the message and the edit of the first", ref=ref)
        return Receipt(said="Discord edited the first message", ref=ref)

    async def _edit(self, alert: Alert, client: httpx.AsyncClient, number: str) -> bool:
        """Makes the first message say what is so now; False when there is none (any more) that we may edit."""
        answer = await self._provider.ask(client, message(alert), method="PATCH", below=f"/messages/{number}")
        if answer.status == 200:
            return True
        code = answer.json().get("code")
        if code == UNKNOWN_MESSAGE or (answer.status in (400, 403, 404) and code != UNKNOWN_WEBHOOK):
            return False
        raise self._failure(answer)

    async def _post(self, alert: Alert, client: httpx.AsyncClient) -> tuple[str, str]:
        """Posts in full, as plain text if that form is refused; gives the message's id and what to say of it."""
        try:
            return await self._tell(client, message(alert)), "Discord gave the message back"
        except DeliveryError as error:
            if error.reason != Reason.REJECTED:
                raise
            refused = error
        number = await self._tell(client, plain_message(alert))
        return number, f"Discord took it as plain text only; in full: {refused}"

    async def _tell(self, client: httpx.AsyncClient, document: dict[str, Any]) -> str:
        """Posts one message and gives its id. Raises DeliveryError."""
        # Without wait=true Discord says 204 before it has kept the message, and says nothing when it does not.
        answer = await self._provider.ask(client, document, params={"wait": "true"})
        if answer.status == 204:
            return ""  # a proxy that took the parameter away: posting until one does not would be a flood
        number = answer.json().get("id")
        if answer.status == 200 and isinstance(number, str) and NUMBER.fullmatch(number):
            return number
        raise self._failure(answer)

    def _failure(self, answer: Answer) -> DeliveryError:
        said = answer.json()
        words = f"{said.get('message', '')} (code {said['code']})" if "code" in said else ""
        return self._provider.failure(answer, said=words)


def channels(settings: AlertSettings) -> Iterable[Channel]:
    """The channel, if it is set up."""
    return [Discord(settings.discord)] if settings.discord else []


def escape(words: str) -> str:
    """`words` so that Discord shows them as they are and calls nobody."""
    return MARKUP.sub(lambda sign: "\\" + sign[0], unmention(words))


def literal(words: str) -> str:
    """`words` letter by letter, as Discord shows code."""
    return f"`{unmention(words).replace('`', 'ˋ')}`"


PLAINLY: dict[str, Any] = {"allowed_mentions": {"parse": []}}


def message(alert: Alert) -> dict[str, Any]:
    """What is posted or put in place of the first message: `content` is the push notification."""
    return {"content": content(alert), "embeds": _fitting(_embeds(alert)), **PLAINLY}


def plain_message(alert: Alert) -> dict[str, Any]:
    """The same without embeds."""
    return {"content": clamp(text(alert), LONGEST_CONTENT, _unlinked), **PLAINLY}


def content(alert: Alert) -> str:
    """The headline and what follows it on a lock screen."""
    title = clamp(headline(alert), LONGEST_HEADLINE, _unlinked)
    said = [clamp(one, LONGEST_LEAD, _unlinked) for one in lead(alert)]
    return clamp("\n".join([f"{SIGNS[look(alert)]} **{title}**", *said]), LONGEST_CONTENT)


def _unlinked(words: str) -> str:
    """Escaped, and with addresses that Discord does not go and look at: it would show a preview of what is broken."""
    return escape(words).replace("://", f":{BREAK}//")


def _embeds(alert: Alert) -> list[dict[str, Any]]:
    facts = [_fact(line) for line in lines(alert)]
    if not alert.members:
        return [_embed(alert, facts)]
    shown = sorted(alert.members, key=lambda one: WORST_FIRST.index(look(one)))[:MOST_MEMBERS]
    rest = len(alert.members) - len(shown)
    more = [f"and {rest} more"] if rest else []
    return [*map(_member, shown), _embed(alert, [*more, *facts])]


def _embed(alert: Alert, facts: Sequence[str]) -> dict[str, Any]:
    """The facts beside a bar of colour; below them who says so, and when by the reader's own clock."""
    description = ""
    for fact in filter(None, facts):
        if units(description) + 1 + units(fact) <= LONGEST_DESCRIPTION:
            description += f"\n{fact}" if description else fact
    embed: dict[str, Any] = {"color": COLOURS[look(alert)]}
    if description:
        embed["description"] = description
    if footer := clamp(origin(alert), LONGEST_FOOTER, unmention):
        embed["footer"] = {"text": footer}
    if at := rfc3339(alert.at):
        embed["timestamp"] = at
    return embed


def _member(alert: Alert) -> dict[str, Any]:
    hit = [line.text for line in lines(alert) if line.label == "Takes down"]
    words = clamp(" ".join([*lead(alert), *(f"Takes down: {one}." for one in hit)]), MEMBER_TEXT, escape)
    title = clamp(headline(alert), MEMBER_TITLE, escape)
    return {"color": COLOURS[look(alert)], "title": title} | ({"description": words} if words else {})


def _fact(line: Line) -> str:
    if line.href:
        return f"**{line.label}:** <{line.href}>"
    most = LONGEST_LINE.get(line.label, 500)
    return f"**{line.label}:** {clamp(line.text, most, literal if line.literal else escape)}"


def _fitting(embeds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As many embeds, from the first, as Discord takes in one message; the last always stays."""
    *others, last = embeds
    room = LONGEST_TOTAL - _size(last)
    kept = []
    for one in others:
        room -= _size(one)
        if room >= 0:
            kept.append(one)
    return [*kept, last]


def _size(embed: dict[str, Any]) -> int:
    return sum(units(embed.get(key, "")) for key in ("title", "description")) + units(
        embed.get("footer", {}).get("text", "")
    )
