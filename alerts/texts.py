"""Pieces of text for people: cleaned, cut to a length, times and durations in words."""

import re
import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from urllib.parse import quote

import httpx

ELLIPSIS = "…"
BREAK = "\u200b"  # no width: what follows it is not read as markup
JOINER = "\u200d"
KEPT_FORMAT = {JOINER, "\u200c"}  # they join emoji and letters; the other format characters hide or turn text around
SKIN_TONES = range(0x1F3FB, 0x1F400)
LONGEST, LONGEST_ADDRESS = 20_000, 1_000

COLOUR = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")  # what terminals are told, as many logs hold it
ENDS_LINK = re.compile(r"[()<>|*`~\[\]\\'\"@!]")
MENTION = re.compile(r"@(?=everyone|here|channel|group|[!&]?\d)|<(?=[!@#])", re.IGNORECASE)
MINUTE, HOUR, DAY = 60, 3_600, 86_400


def clean(text: str) -> str:
    """`text` in one line, without what people must not see: what is meant for terminals, control characters, marks that
    turn the direction of writing, halves of characters.

    What comes after LONGEST characters is left out: no provider shows as many.
    """
    if len(text) > LONGEST:
        text = text[:LONGEST] + ELLIPSIS
    text = COLOUR.sub("", text)
    kept = "".join(map(_shown, text)) if not (text.isascii() and text.isprintable()) else text
    return " ".join(kept.split())


def _shown(character: str) -> str:
    if character.isspace():
        return " "
    category = unicodedata.category(character)
    if category == "Cs":
        return "\ufffd"
    if category in ("Cc", "Cf", "Cn", "Zl", "Zp") and character not in KEPT_FORMAT:
        return ""
    return character


def unmention(text: str) -> str:
    """`text` with a character of no width within each @everyone, @here, @123 and <!…>, so that it calls nobody."""
    return MENTION.sub(lambda sign: sign[0] + BREAK, text)


def units(text: str) -> int:
    """The length of `text` in UTF-16 units: no provider counts more."""
    return len(text) + sum(character > "\uffff" for character in text)


def same(text: str) -> str:
    """`text` itself: the escaping of where there is none."""
    return text


def clamp(text: str, most: int, escape: Callable[[str], str] = same) -> str:
    """`text` escaped, in at most `most` units, with … where it was cut: never within an escape or a character."""
    text = text[: most + 1]
    if units(escaped := escape(text)) <= most:
        return escaped
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if units(escape(text[:middle])) + 1 <= most:
            low = middle
        else:
            high = middle - 1
    return escape(text[: _whole(text, low)].rstrip()) + ELLIPSIS


def _whole(text: str, end: int) -> int:
    """The last place at or before `end` (looking back a little) that is not inside a character made of several."""
    for place in range(end, max(0, end - 16), -1):
        following = text[place] if place < len(text) else ""
        joined = unicodedata.combining(following or " ") or following in (JOINER, "\ufe0f") or _tones(following)
        if not joined and text[place - 1] != JOINER:
            return place
    return end


def _tones(character: str) -> bool:
    return bool(character) and ord(character) in SKIN_TONES


def duration(seconds: float) -> str:
    """A time span in words, the two largest units of it: "4 min 12 s", "1 h 15 min", "3 d 4 h"."""
    if not 0 < seconds < 1e11:  # NaN as well
        return "0 s"
    whole = round(seconds)
    if whole < 1:
        return "less than 1 s"
    for size, small, name, small_name in ((DAY, HOUR, "d", "h"), (HOUR, MINUTE, "h", "min"), (MINUTE, 1, "min", "s")):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {name}" + (f" {rest} {small_name}" if rest else "")
    return f"{whole} s"


def moment(at: float, *, near: float) -> str:
    """A time of day, with the date unless that is the day of `near`: "03:12 UTC", "20 Nov, 23:58 UTC"."""
    when, other = _when(at), _when(near)
    if when is None:
        return "a time unknown"
    if other is not None and when.date() == other.date():
        return f"{when:%H:%M} UTC"
    return f"{when.day} {MONTHS[when.month - 1]}, {when:%H:%M} UTC"


MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def rfc3339(at: float | None) -> str | None:
    """Epoch seconds as 2026-11-21T03:12:00.000Z; None for none, and for what is no time of our calendar."""
    when = None if at is None else _when(at)
    return None if when is None else when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _when(at: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def listed(names: Sequence[str], most: int) -> str:
    """Names as people say them: "A, B and C"; beyond `most` of them "A, B and 28 more"."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def web_address(address: str) -> str:
    """`address` as it may stand in a link, or empty if it is none of http or https."""
    try:
        url = httpx.URL(clean(address))
    except (httpx.InvalidURL, UnicodeError):
        return ""
    if url.scheme not in ("http", "https") or not url.host or url.userinfo:
        return ""
    place, path = url.netloc.decode("ascii"), url.raw_path.decode("ascii")
    fragment = f"#{quote(url.fragment)}" if url.fragment else ""
    # What ends a link, or calls somebody, in some provider's markup is written as its number.
    safe = f"{url.scheme}://{place}{ENDS_LINK.sub(lambda sign: f'%{ord(sign[0]):02X}', path)}{fragment}"
    return safe if len(safe) <= LONGEST_ADDRESS else ""
