"""What an alert says, in words, before any provider's markup: the one place where its sentences are made.

Somebody reads this on a lock screen at 3 a.m., so the order is fixed: what is broken and since when; why, and what was
seen; what it takes down; what changed shortly before; what to do; where to look. Nothing here is escaped: a channel
does that with each text it takes. Times are shown in UTC.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from alerts.alert import Affected, Alert, Change, Kind, Severity
from alerts.texts import clean, duration, listed, moment, web_address

BLIND = "(blind)"  # monitor.incidents' name for the outage of our own sight; this floor cannot import it
BACKUPS = "backups"  # monitor.backups' name of their service; nobody calls a backup "down"
OVER = (Kind.RESOLVE, Kind.BRIEF)
NAMED_AT_ONCE, NAMED_IN_GROUP = 12, 40
CHANGES_SHOWN = 5


class Look(StrEnum):
    """How bad it looks: what a colour and a sign stand for."""

    BAD = "bad"
    POOR = "poor"
    GOOD = "good"
    PLAIN = "plain"


SIGNS = {Look.BAD: "🔴", Look.POOR: "🟠", Look.GOOD: "🟢", Look.PLAIN: "🔵"}
WORST_FIRST = (Look.BAD, Look.POOR, Look.PLAIN, Look.GOOD)
STATE_LOOKS = {"down": Look.BAD, "blind": Look.BAD, "degraded": Look.POOR, "flapping": Look.POOR, "up": Look.GOOD}


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One fact under the headline. `literal`: shown letter by letter (evidence, a command). `href`: where it leads."""

    label: str
    text: str
    literal: bool = False
    href: str = ""


def look(alert: Alert) -> Look:
    """How bad it looks; a group looks like its worst member."""
    if alert.members:
        return min(map(look, alert.members), key=WORST_FIRST.index)
    if alert.kind in OVER:
        return Look.PLAIN if alert.state in ("gone", "paused") else Look.GOOD
    if alert.kind == Kind.NOTICE:
        return {Severity.INFO: Look.PLAIN, Severity.WARNING: Look.POOR}.get(alert.severity, Look.BAD)
    return STATE_LOOKS.get(alert.state, Look.POOR)


def headline(alert: Alert) -> str:
    """What is broken and since when, in one line without a full stop. A notice's is its title."""
    if alert.members:
        return _group_headline(alert)
    title = clean(alert.title) or clean(alert.service) or "A service"
    if alert.kind == Kind.NOTICE:
        return title
    return f"{'Watchkeeper' if alert.service == BLIND else title}: {_predicate(alert)}"


def _predicate(alert: Alert) -> str:
    state, since = _state(alert), moment(alert.since, near=alert.at)
    lasted = duration((alert.at if alert.ended is None else alert.ended) - alert.since)
    match alert.kind:
        case Kind.RESOLVE:
            return f"{_well_again(alert)} after {lasted}"
        case Kind.BRIEF:
            was = state if alert.state in STATE_LOOKS and alert.state != "up" else "in trouble"
            return f"was {was} for {lasted}, {_well_again(alert)}"
        case Kind.REMINDER:
            return f"still {state} after {lasted}{_times(alert)} (since {since})"
        case Kind.UPDATE if alert.state != "flapping":
            return f"{state}, trouble since {since}"
    return f"{state} since {since}{_times(alert)}"


def lead(alert: Alert) -> tuple[str, ...]:
    """The sentences that follow the headline on a lock screen: why this comes when that is not plain, and the cause."""
    if alert.members:
        return (listed([_name(one) for one in alert.members], NAMED_IN_GROUP) + ".",)
    said = [sentence(alert.note)]
    if alert.kind in OVER:
        said.insert(0, _how_long(alert))
        if alert.kind == Kind.BRIEF:
            said.append("It was over before it could be told here.")
        said.append(f"It was this: {cause}" if (cause := sentence(alert.sentence)) else "")
    else:
        said.append(sentence(alert.sentence))
        if alert.state == "flapping":
            said.append("It is told again when it has settled.")
        if alert.service == BLIND and not alert.sentence:
            said.append("Whether the services are well is not known.")
    return tuple(filter(None, said))


def lines(alert: Alert) -> tuple[Line, ...]:
    """The facts below, in their order. A group has none: `members` have their own."""
    if alert.members:
        return tuple(line for line in (_status(alert),) if line.text)
    over = alert.kind in OVER
    runbook = web_address(alert.runbook)
    found = [
        Line(label="Seen", text=clean(alert.evidence), literal=True),
        Line(label="Took down" if over else "Takes down", text=affected(alert.takes_down, over=over)),
        Line(label="Changed before", text=changed(alert.changes, alert.since)),
        Line(label="To do", text="" if over else sentence(alert.remedy)),
        Line(label="Runbook", text=runbook, href=runbook),
        Line(label="To see more", text="" if over else clean(alert.command), literal=True),
        _status(alert),
    ]
    return tuple(line for line in found if line.text)


def origin(alert: Alert) -> str:
    """Which daemon says so."""
    instance = clean(alert.instance)
    return instance if "watchkeeper" in instance.lower() else f"Watchkeeper {instance}".strip()


def text(alert: Alert) -> str:
    """The whole alert as plain text, a fact to a line."""
    said = [f"{SIGNS[look(alert)]} {headline(alert)}", *lead(alert)]
    said += [f"- {headline(one)}. {' '.join(lead(one))}".rstrip() for one in alert.members]
    said += [f"{line.label}: {line.text}" for line in lines(alert)]
    return "\n".join([*said, f"({origin(alert)})"])


def sentence(words: str) -> str:
    """`words` with a capital letter and a full stop, or empty."""
    words = clean(words)
    if not words:
        return ""
    return words[0].upper() + words[1:] + ("" if words[-1] in ".!?…:)" else ".")


def affected(services: Iterable[Affected], *, over: bool = False) -> str:
    """Who else is hit, by how hard: "LiteLLM and Langfuse are down, Open WebUI is expected to fail"."""
    by_state: dict[str, list[str]] = {}
    for one in services:
        by_state.setdefault(one.state, []).append(clean(one.title) or clean(one.service))
    order = sorted(by_state, key=lambda state: ("down", "degraded", "expected", state).index(state))
    if over:
        return listed([name for state in order for name in by_state[state]], NAMED_AT_ONCE)
    parts = []
    for state in order:
        verb = "are" if len(by_state[state]) > 1 else "is"
        words = "expected to fail" if state == "expected" else clean(state)
        parts.append(f"{listed(by_state[state], NAMED_AT_ONCE)} {verb} {words}")
    return ", ".join(parts)


def changed(changes: Iterable[Change], since: float) -> str:
    """What changed around `since`: "LiteLLM: version 1.84.0 → 1.85.0, 4 min before"; the nearest first."""
    nearest = sorted(changes, key=lambda change: abs(since - change.at))
    said = []
    for change in nearest[:CHANGES_SHOWN]:
        side = "before" if change.at <= since else "after it began"
        said.append(f"{clean(change.text)}, {duration(abs(since - change.at))} {side}")
    if len(nearest) > CHANGES_SHOWN:
        said.append(f"and {len(nearest) - CHANGES_SHOWN} more")
    return "; ".join(said)


def _state(alert: Alert) -> str:
    if alert.service == BACKUPS:
        return {"down": "not in order", "degraded": "not quite in order"}.get(alert.state, clean(alert.state))
    if alert.service == BLIND and alert.state == "degraded":
        return "not seeing everything"
    return clean(alert.state) or "in trouble"


def _well_again(alert: Alert) -> str:
    """How an outage ended: mostly well, but a service may be taken out or paused while it is in trouble."""
    ends = {"gone": "no longer watched", "paused": "paused"}
    return ends.get(alert.state) or {BLIND: "sees again", BACKUPS: "in order again"}.get(alert.service, "up again")


def _times(alert: Alert) -> str:
    """How often it went down, where that is the point."""
    return f", down {alert.changes_of_state} times" if alert.state == "flapping" and alert.changes_of_state > 1 else ""


def _how_long(alert: Alert) -> str:
    """From when to when it lasted and what it took: "From 03:12 to 03:16 UTC; 5 check runs failed."."""
    ended = alert.at if alert.ended is None else alert.ended
    start, end = moment(alert.since, near=ended), moment(ended, near=alert.since)
    said = f"From {start.removesuffix(' UTC')} to {end}"
    if alert.changes_of_state > 1 and "went down" not in alert.note:
        said += f"; it went down {alert.changes_of_state} times"
    if alert.failed_checks > 0:
        said += f"; {alert.failed_checks} check run{'s' if alert.failed_checks > 1 else ''} failed"
    return said + "."


def _name(alert: Alert) -> str:
    return "Watchkeeper" if alert.service == BLIND else clean(alert.title) or clean(alert.service)


def _group_headline(alert: Alert) -> str:
    members, count = alert.members, len(alert.members)
    who = "1 service" if count == 1 else f"{count} services"
    if all(one.kind in OVER for one in members):
        ends = {_well_again(one) for one in members}
        return f"{who} {ends.pop() if len(ends) == 1 else 'no longer in trouble'}"
    since = moment(min(one.since for one in members), near=alert.at)
    states = Counter(clean(one.state) for one in members)
    still = "still " if all(one.kind == Kind.REMINDER for one in members) else ""
    if len(states) == 1:
        return f"{who} {still}{next(iter(states))} since {since}"
    return f"{who} {still}in trouble since {since} ({', '.join(f'{n} {state}' for state, n in states.most_common())})"


def _status(alert: Alert) -> Line:
    address = web_address(alert.status_url)
    return Line(label="Status page", text=address, href=address)
