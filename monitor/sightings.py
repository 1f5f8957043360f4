"""What was seen of every service of late, and from that: can we look at all, or are we blind? Pure."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from alerts.texts import listed
from config.causes import Cause
from monitor.incidents import Blindness
from monitor.probes.base import Outcome, Sight, Verdict
from monitor.vantage import Side

NAMED_MOST = 4  # unseen services that a text names; of more it counts those after the third


@dataclass(slots=True, kw_only=True)
class Glance:
    """What is remembered of one check's looks; times are the loop's clock.

    `at` is when its newest look ended, `seen` whether that one could look, `seen_at` when one last could, `unseen_from`
    when the newest row of those that could not began. `sign_at` is when something there last answered us. `sight` and
    `text` are the newest look's, `raw` what the probe itself made of it.
    """

    side: Side
    at: float
    seen: bool = True
    seen_at: float = -math.inf
    unseen_from: float = -math.inf
    sign_at: float = -math.inf
    sight: Sight = Sight.ANSWERED
    raw: Sight = Sight.ANSWERED
    text: str = ""


@dataclass(slots=True, kw_only=True)
class Sightings:
    """What was seen of every service of late. `began` is when the looking began, on the loop's clock.

    `rounds` is, for each service, the seconds within which it is looked at again: its quickest interval and timeout.
    """

    began: float
    rounds: Mapping[str, float]
    glances: dict[tuple[str, str], Glance] = field(default_factory=dict)

    def raw(self, service: str, check: str) -> Sight | None:
        """What the newest run of a check saw, before anything was weighed; None before its first."""
        glance = self.glances.get((service, check))
        return glance.raw if glance else None

    def note(
        self, service: str, check: str, side: Side, raw: Sight, outcome: Outcome, at: float, sign: float | None
    ) -> None:
        """Take in one outcome as it was weighed, of a run that ended at `at`; `sign` is what `sign_at` said of it."""
        glance = self.glances.setdefault((service, check), Glance(side=side, at=at))
        seen = outcome.verdict != Verdict.UNKNOWN
        if sign is not None:
            glance.sign_at = max(glance.sign_at, sign)
        if seen:
            glance.seen_at = at
        elif glance.seen or glance.unseen_from == -math.inf:
            glance.unseen_from = at
        glance.side, glance.at, glance.seen, glance.raw = side, at, seen, raw
        glance.sight, glance.text = outcome.evidence.sight, outcome.evidence.text

    def sign(self, side: Side, since: float) -> str:
        """A service of that side that answered at `since` or later; "" when none did."""
        newest = max(
            ((glance.sign_at, name) for (name, _), glance in self.glances.items() if glance.side == side),
            default=(-math.inf, ""),
        )
        return newest[1] if newest[0] >= since else ""

    def blindness(self, unknown: Iterable[str], now: float) -> Blindness | None:
        """Whether we cannot look, at all or at a part; None while we can.

        A side is not seen when no service of it was seen within its usual round, and at least one look was made since
        and saw nothing. The usual round is the median of its services': the time in which half of them are looked at
        again. `unknown` names the services that the judge holds unknown because they could not be looked at: when a
        single one cannot be while its side is seen, that is told as well, since nobody watches it. It is a part of our
        sight once others of its side were seen since; until then nobody can tell.
        """
        spells = {side: spell for side in Side if (spell := self._spell(side, now)) is not None}
        if spells:
            unseen = [row for row in self._unseen() if row[1].side in spells]
            since = min(spells.values())
            return _told(since, _where(set(spells), {glance.side for glance in self.glances.values()}), unseen)
        names = set(unknown)
        unseen = [row for row in self._unseen() if row[0] in names]
        if not unseen:
            return None
        where = f"of {listed(sorted({name for name, _ in unseen}), NAMED_MOST)}"
        told = _told(min(glance.unseen_from for _, glance in unseen), where, unseen)
        return replace(told, partly=all(self._seen_since(side, unseen) for side in Side))

    def _seen_since(self, side: Side, unseen: Sequence[tuple[str, Glance]]) -> bool:
        """Whether something of that side was seen after the first of `unseen` there; True where none of them is."""
        since = [glance.unseen_from for _, glance in unseen if glance.side == side]
        newest = max((one.seen_at for one in self.glances.values() if one.side == side), default=-math.inf)
        return not since or newest > min(since)

    def _unseen(self) -> list[tuple[str, Glance]]:
        """Every service's checks whose newest look saw nothing, the newest last."""
        rows = [(name, glance) for (name, _), glance in self.glances.items() if not glance.seen]
        return sorted(rows, key=lambda row: row[1].at)

    def _spell(self, side: Side, now: float) -> float | None:
        """Since when nothing of that side is seen; None while something is."""
        here = [(name, glance) for (name, _), glance in self.glances.items() if glance.side == side]
        seen_at = max((glance.seen_at for _, glance in here), default=-math.inf)
        since = [max(glance.unseen_from, seen_at) for _, glance in here if not glance.seen and glance.at > seen_at]
        usual = median({name: self.rounds[name] for name, _ in here}.values()) if here else 0.0
        if not since or now - max(seen_at, self.began) <= usual:
            return None
        return min(since)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Why:
    """What a blind spell is called by when most of its looks met the same."""

    cause: Cause
    says: str
    remedy: str


_WHY: Mapping[Sight, _Why] = {
    Sight.CUT_OFF: _Why(
        cause=Cause.CUT_OFF,
        says="no connection opens, to any service or to any anchor",
        remedy="See whether the services answer from elsewhere. If they do, this daemon's network is cut off: see the "
        "platform's status, then redeploy Watchkeeper. If its network lets it reach none of the anchors even on good "
        "days, set ANCHORS to what it may reach.",
    ),
    Sight.NO_RESOLVER: _Why(
        cause=Cause.NO_RESOLVER,
        says="the resolver here does not answer, so no name can be looked up",
        remedy="The services may be well. See whether names resolve on another machine of this network, and the "
        "platform's status; then redeploy Watchkeeper.",
    ),
    Sight.NO_ROUTE: _Why(
        cause=Cause.NO_ROUTE,
        says="there is no route from here",
        remedy="The services may be well. See the network of Watchkeeper's container and the platform's status, then "
        "redeploy it.",
    ),
    Sight.LATE: _Why(
        cause=Cause.LATE,
        says="this daemon stands still again and again while it waits",
        remedy="The services may be well. Give Watchkeeper more CPU, or find what keeps its machine busy or suspends "
        "it.",
    ),
    Sight.FAULT: _Why(
        cause=Cause.PROBE_FAULT,
        says="our own probes break",
        remedy="The services may be well. See the evidence: this daemon may be out of files or memory. If not, it is "
        "a bug of Watchkeeper: report it with the log of this minute, and redeploy.",
    ),
}


def _told(since: float, where: str, unseen: Sequence[tuple[str, Glance]]) -> Blindness:
    """The blindness in words: what most of the looks met is what it is called by."""
    sights = Counter(glance.sight for _, glance in unseen)
    usual = max(_WHY, key=lambda sight: sights[sight])
    why = _WHY[usual]
    name, newest = next(row for row in reversed(unseen) if row[1].sight == usual or not sights[usual])
    names = listed(sorted({name for name, _ in unseen}), NAMED_MOST)
    return Blindness(
        since=since,
        cause=why.cause,
        sentence=f"Nothing {where} is seen: {why.says}.",
        evidence=f"nothing of {names}; {name}: {newest.text}",
        remedy=why.remedy,
    )


def _where(blind: set[Side], watched: set[Side]) -> str:
    """What cannot be looked at, for people."""
    if blind == watched:
        return "at all"
    names = {Side.HERE: "this machine", Side.INSIDE: "the private network", Side.OUTSIDE: "the internet"}
    return f"of {listed([names[side] for side in Side if side in blind], NAMED_MOST)}"
