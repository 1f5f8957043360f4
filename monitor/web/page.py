"""The status page: what is wrong first, in words, readable on a phone and without scripts."""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from alerts.texts import duration, rfc3339
from config.causes import Cause
from config.services import Service
from monitor.board import Board, ServiceStatus
from monitor.diagnose.base import Diagnosis
from monitor.incidents import Incident
from monitor.judge import State, Track
from monitor.silences import Silence
from monitor.spans import Bar
from monitor.times import timestamp
from monitor.web.day import day_in_words, slots_of
from monitor.web.incident_card import incident_card, silence_in_words

FOLD_FROM = 60  # services that are up, from which on they are folded away
NAMED = 4  # services of one state that the headline names, beyond which it counts them
FACTS = 6  # facts shown of one service
OVERDUE = 600.0  # seconds an alert may wait before the page says so
FACT_LENGTH = 60  # characters shown of one fact

_TEMPLATES = Path(__file__).parent / "templates"
_STYLE = (_TEMPLATES / "status.css").read_text()
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()

CONTENT_SECURITY_POLICY = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class Row(NamedTuple):
    """One service as the page needs it."""

    service: Service
    state: State
    track: Track
    diagnosis: Diagnosis | None
    facts: Mapping[str, str]
    unavailable: Mapping[str, Sequence[str]]
    latency: float | None
    ran_at: float | None
    bars: Sequence[Bar]


@dataclass(frozen=True, slots=True)
class PageSnapshot:
    """The board's values at one moment, safe to draw in another thread. `now` is seconds since the epoch."""

    instance: str
    version: str
    started_at: float
    now: float
    notices: tuple[str, ...]
    rows: tuple[Row, ...]
    incidents: tuple[Incident, ...]
    silences: tuple[str, ...]

    @classmethod
    def take(
        cls,
        board: Board,
        health: tuple[bool, Mapping[str, str]],
        history: Mapping[str, Sequence[Bar]],
        now: float,
        *,
        incidents: Sequence[Incident] = (),
        silences: Sequence[Silence] = (),
    ) -> "PageSnapshot":
        """Copies what the page needs: the open `incidents` and those that ended lately. Call it on the event loop."""
        well, why = health
        notices = [] if well else [f"Watchkeeper itself is not well: {text}" for text in why.values()]
        if board.state_problem:
            notices.append(board.state_problem)
        if board.standby:
            notices.append("This daemon stands by: another one holds the state folder and does the watching.")
        notices += list(_undelivered(board, now))
        rows = tuple(_row(status, history.get(name, ())) for name, status in board.services.items())
        return cls(
            instance=board.instance,
            version=board.version,
            started_at=board.started_at,
            now=now,
            notices=tuple(notices),
            rows=rows,
            incidents=tuple(incidents),
            silences=tuple(silence_in_words(silence) for silence in silences if silence.active(now)),
        )


def _undelivered(board: Board, now: float) -> Iterator[str]:
    """Gives which channels are not told what they should be, and why."""
    for name, channel in board.outbox.items():
        waited = now - channel.oldest_at if channel.oldest_at is not None else 0.0
        if channel.refused or waited > OVERDUE:
            how = "are refused there" if channel.refused else f"have waited for {duration(waited)}"
            error = f": {channel.last_error.rstrip('. ')}" if channel.last_error else ""
            yield f"Alerts to {name} {how}{error}. Try it: python -m monitor test-alert {name}"


def _row(status: ServiceStatus, bars: Sequence[Bar]) -> Row:
    ran = [check for check in status.checks.values() if check.ran_at is not None]
    newest = max(ran, key=lambda check: check.ran_at or 0.0, default=None)
    return Row(
        service=status.service,
        state=status.state,
        track=status.track,
        diagnosis=status.diagnosis,
        facts=dict(status.facts),
        unavailable=status.unavailable(),
        latency=max((check.outcome.latency for check in ran if check.outcome), default=None),
        ran_at=newest.ran_at if newest else None,
        bars=bars,
    )


def draw(snapshot: PageSnapshot) -> bytes:
    """Gives the page as UTF-8."""
    states = {row.service.name: row for row in snapshot.rows}
    services = {name: row.service for name, row in states.items()}
    groups = []
    for word in WORDS:
        rows = [row for row in snapshot.rows if _word(row) == word]
        cards = [_card(row, states, snapshot.now) for row in rows]
        if cards:
            groups.append({"word": word, "cards": cards, "folded": word == "Up" and len(cards) >= FOLD_FROM})
    tone = _tone(snapshot)
    text = _template().render(
        style=Markup(_STYLE),  # noqa: S704 -- our own file, with no input in it
        icon=_icon(tone),
        tone=tone,
        headline=headline([(row.service.title, _word(row)) for row in snapshot.rows]),
        newest=max((row.ran_at for row in snapshot.rows if row.ran_at is not None), default=None),
        groups=groups,
        open=[incident_card(one, services, snapshot.now) for one in snapshot.incidents if one.resolved_at is None],
        over=[incident_card(one, services, snapshot.now) for one in snapshot.incidents if one.resolved_at is not None],
        snapshot=snapshot,
    )
    return text.encode("utf-8", "replace")  # a watched server's words may hold what UTF-8 cannot


# The words for a state, worst first, each with its class in the style sheet and its sign.
WORDS: Mapping[str, tuple[str, str]] = {
    "Down": ("down", "✕"),
    "Degraded": ("degraded", "!"),
    "Unknown": ("unknown", "?"),
    "Starting": ("starting", "…"),
    "Waiting for a first result": ("starting", "…"),
    "Paused": ("paused", "–"),
    "Up": ("up", "✓"),
}


def _word(row: Row) -> str:
    if row.state != State.UNKNOWN:
        return row.state.value.capitalize()
    if row.track.cause == Cause.STARTING:
        return "Starting"
    return "Unknown" if row.ran_at is not None else "Waiting for a first result"


def headline(services: Sequence[tuple[str, str]]) -> str:
    """Gives the page's first line for pairs of a title and a word of WORDS."""
    if not services:
        return "Nothing is watched"
    counts = Counter(word for _, word in services)
    if set(counts) == {"Up"}:
        return "The one service is up" if len(services) == 1 else f"All {len(services)} services are up"
    parts = []
    for word in WORDS:
        if word in ("Up", "Paused") or not counts[word]:
            continue
        titles = [title for title, one in services if one == word]
        named = ": " + ", ".join(titles) if len(titles) <= NAMED else ""
        parts.append(f"{len(titles)} {word.lower()}{named}")
    if counts["Up"] or not parts:
        parts.append(f"{counts['Up']} up")
    if counts["Paused"]:
        parts.append(f"{counts['Paused']} paused")
    return " · ".join(parts)


def _tone(snapshot: PageSnapshot) -> str:
    present = {_word(row) for row in snapshot.rows}
    if present <= {"Up", "Paused"} and snapshot.notices:
        return "degraded"
    return next((WORDS[word][0] for word in WORDS if word in present and word != "Paused"), "unknown")


def _card(row: Row, rows: Mapping[str, Row], now: float) -> Mapping[str, object]:
    """Gives one service as the template shows it."""
    word = _word(row)
    tone, sign = WORDS[word]
    cause = row.track.cause or (row.diagnosis.cause if row.diagnosis else None)
    slots = slots_of(row.bars, now)
    return {
        "name": row.service.name,
        "title": row.service.title,
        "word": "Waiting" if row.ran_at is None and tone == "starting" else word,
        "tone": tone,
        "sign": sign,
        "since": row.track.since,
        "for": duration(now - row.track.since),
        "cause": cause.value.replace("_", " ") if cause else "",
        "sentence": row.diagnosis.sentence if row.diagnosis else "",
        "remedy": row.diagnosis.remedy if row.diagnosis else "",
        "needs": [
            (rows[name].service.title, *WORDS[_word(rows[name])]) for name in row.service.depends_on if name in rows
        ]
        if tone not in ("up", "paused")
        else [],
        "facts": list(_shown_facts(row.facts)),
        "unavailable": [f"{', '.join(names)} {why}" for why, names in row.unavailable.items()],
        "latency": _milliseconds(row.latency) if row.latency is not None and row.state != State.PAUSED else "",
        "slots": slots,
        "day": day_in_words(row.bars),
    }


def _shown_facts(facts: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name in sorted(facts, key=lambda name: (name != "version", name))[:FACTS]:
        text = facts[name]
        if name != "uptime" and text:
            yield name.replace("_", " "), text if len(text) <= FACT_LENGTH else text[: FACT_LENGTH - 1] + "…"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else f"{seconds:.0f} s"


@cache
def _icon(tone: str) -> str:
    """A dot in the colour of the worst state, for the browser's tab."""
    colour = {"up": "1f9d55", "down": "d3302f", "degraded": "d98a00"}.get(tone, "7b8794")
    circle = f"<circle cx='4' cy='4' r='4' fill='#{colour}'/>"
    svg = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 8 8'>{circle}</svg>"
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(duration=duration, timestamp=timestamp, rfc3339=rfc3339)
    return environment.get_template("status.html")
