"""A stage for the core and the routing: services are made to play, time goes by second by second, all is noted."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pytest

from config.alert_settings import AlertSettings
from config.causes import Cause
from config.checks import TcpParams
from config.watched import Check, Service
from monitor.dependencies import Graph
from monitor.facts import Fact
from monitor.incidents import Blindness, Book, Case, Happening, Said, Seen
from monitor.judge import State
from monitor.outages import acknowledge, step
from monitor.routing import Put, Ways, route
from monitor.silences import Silence

START = 1_795_219_200.0  # 2026-11-21 00:00 UTC
STACK = {
    "postgres": (),
    "redis": (),
    "litellm": ("postgres", "redis"),
    "langfuse": ("postgres", "redis"),
    "open-webui": ("litellm", "postgres"),
    "saas-api": ("litellm",),
}


@dataclass(frozen=True)
class Place:
    """A channel as routing sees it."""

    name: str
    pages: bool = False
    groups: bool = True
    keyed: bool = False


SLACK = Place("slack")
PAGER = Place("pagerduty", pages=True, groups=False, keyed=True)


class Stage:
    """Services, a book and two clocks. Every second that passes is a step and a routing, each asked twice."""

    def __init__(self, stack: Mapping[str, tuple[str, ...]] = STACK, **ways: object) -> None:
        self.services = {name: self.service(name, *parents) for name, parents in stack.items()}
        self.graph = Graph.of(self.services.values())
        self.ways = Ways(**{"instance": "here", "channels": (SLACK, PAGER), "settings": AlertSettings(), **ways})
        self.now, self.wall = 0.0, START
        self.round_over = True
        self.blind: Blindness | None = None
        self.book = Book()
        self.seen = {
            name: Seen(state=State.UP, since=START, answered_at=-100.0, passed_at=-100.0) for name in self.services
        }
        self.said: list[tuple[float, Said]] = []
        self.puts: list[tuple[float, Put]] = []
        self.turn()

    @staticmethod
    def service(name: str, *parents: str, **more: object) -> Service:
        check = Check(name="ready", kind="tcp", params=TcpParams(host="h", port=1))
        settled = {"title": name.title(), "address": f"{name}:1", "checks": (check,), **more}
        return Service(name=name, kind=name, depends_on=parents, **settled)

    def become(self, service: Service) -> None:
        """Changes one service's configuration."""
        self.services[service.name] = service
        self.graph = Graph.of(self.services.values())

    def forget(self, name: str) -> None:
        """Takes a service out of the configuration."""
        del self.services[name], self.seen[name]
        self.graph = Graph.of(self.services.values())

    # What the watch sees.

    def passes(self, *names: str) -> None:
        """Each of these is looked at and passes, whatever its confirmed state."""
        for name in names:
            self.seen[name] = replace(self.seen[name], answered_at=self.now, passed_at=self.now)

    def misses(self, name: str) -> None:
        """The first miss of a row, unconfirmed."""
        self.seen[name] = replace(self.seen[name], troubled_at=self.now, failed_runs=1)

    def trouble(self, name: str, state: State, *, missed: float = 20.0, runs: int = 3, **texts: object) -> None:
        """A confirmed flip into trouble, the first miss of which was `missed` seconds ago."""
        before = self.seen[name]
        began = before.troubled_at if before.troubled_at is not None else self.now - missed
        said = {"check": "ready", "cause": Cause.REFUSED, "sentence": "It refused.", "evidence": "refused", **texts}
        since = self.wall - (self.now - began)
        self.seen[name] = replace(before, state=state, since=since, troubled_at=began, failed_runs=runs, **said)

    def down(self, *names: str, missed: float = 20.0, **texts: object) -> None:
        for name in names:
            self.trouble(name, State.DOWN, missed=missed, **texts)

    def degraded(self, *names: str, missed: float = 20.0, **texts: object) -> None:
        for name in names:
            self.trouble(name, State.DEGRADED, missed=missed, **texts)

    def up(self, *names: str) -> None:
        for name in names:
            runs = self.seen[name].failed_runs
            self.seen[name] = Seen(
                state=State.UP, since=self.wall, answered_at=self.now, passed_at=self.now, failed_runs=runs
            )

    def unknown(self, *names: str) -> None:
        for name in names:
            self.seen[name] = replace(self.seen[name], state=State.UNKNOWN, since=self.wall)

    def healthy(self) -> None:
        """Everything that is up is looked at and passes."""
        self.passes(*(name for name, one in self.seen.items() if one.state == State.UP))

    # Time.

    def turn(self) -> None:
        """One decision; a second one with the same must change nothing."""
        self._decide()
        book, said, puts = self.book, len(self.said), len(self.puts)
        self._decide()
        assert (said, puts) == (len(self.said), len(self.puts)), "said again what was said"
        assert self.book is book, "the book changed though nothing else did"

    def _decide(self) -> None:
        book, said = step(
            self.book, self.graph, self.seen, self.now, wall=self.wall, round_over=self.round_over, blind=self.blind
        )
        self.book, puts = route(book, said, self.graph, self.seen, self.ways, self.now, wall=self.wall)
        self.said += [(self.now, one) for one in said]
        self.puts += [(self.now, put) for put in puts]

    def passing(self, seconds: float, *, every: int = 1) -> None:
        """Lets time go by, a decision every so many seconds."""
        self.turn()
        for _ in range(int(seconds) // every):
            self.now, self.wall = self.now + every, self.wall + every
            self.turn()

    def acknowledge(self, root: str, by: str = "Ada") -> None:
        self.book, said = acknowledge(self.book, root, by=by, wall=self.wall)
        assert said is not None

    def silence(self, service: str, *, seconds: float, **more: object) -> None:
        given = {"id": "s", "why": "work", "by": "Ada", "since": self.wall, "until": self.wall + seconds, **more}
        self.ways = replace(self.ways, silences=(*self.ways.silences, Silence(service=service, **given)))

    def learn(self, *facts: Fact) -> None:
        known = {fact.service: {one.name: one for one in facts if one.service == fact.service} for fact in facts}
        self.ways = replace(self.ways, facts=known)

    # What came of it.

    def story(self, root: str | None = None) -> list[str]:
        """What was said: "20 opened postgres"."""
        return [f"{at:g} {one.what} {one.incident.root}" for at, one in self.said if root in (None, one.incident.root)]

    def sent(self, channel: str = "slack") -> list[str]:
        """What a channel is told: "20 open postgres down"."""
        return [
            f"{at:g} {put.alert.kind} {put.alert.service} {put.alert.state}"
            for at, put in self.puts
            if put.channel == channel
        ]

    def told(self, what: Happening, root: str) -> Said:
        """The one thing of this kind that was said of `root`."""
        (found,) = [one for _, one in self.said if one.what == what and one.incident.root == root]
        return found

    def case(self, root: str) -> Case:
        return self.book.cases[root]


@pytest.fixture
def stage() -> Stage:
    """The usual stack, all of it well at second 0, watched by Slack and PagerDuty."""
    return Stage()


@pytest.fixture
def stage_of() -> type[Stage]:
    """To set up another one."""
    return Stage
