"""Incidents × channels × silences → alerts to put into the outbox. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from alerts.alert import Alert
from config.alert_settings import AlertSettings
from monitor.dependencies import Graph
from monitor.facts import Fact
from monitor.incidents import Book, Said, Seen


class Addressee(Protocol):
    """What routing asks of a channel: see alerts.channels.base.Channel."""

    @property
    def name(self) -> str: ...

    @property
    def pages(self) -> bool: ...

    @property
    def groups(self) -> bool: ...

    @property
    def keyed(self) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """A time during which nothing is told about services whose name matches `service` (a pattern: * and ?).

    One-off: from `since` until `until`, epoch seconds. Recurring: for `duration` seconds from each time the cron line
    `cron` (UTC) is due, until `until` if that is set. `maintenance`: planned work, shown as such. `by` is who asked.
    """

    id: str
    service: str
    why: str
    by: str
    since: float
    until: float | None = None
    cron: str = ""
    duration: float = 0.0
    maintenance: bool = False

    def active(self, wall: float) -> bool:
        """Whether it holds at `wall` (epoch seconds)."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """One alert for one channel, due at `due` (epoch seconds)."""

    channel: str
    alert: Alert
    due: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """What routing goes by: who is told (`channels`), how (`settings`), and in whose name (`instance`).

    `facts` are the facts known of each service that has any, by service and by the fact's name.
    """

    instance: str
    channels: Sequence[Addressee]
    settings: AlertSettings
    silences: Sequence[Silence] = ()
    facts: Mapping[str, Mapping[str, Fact]]


def route(
    book: Book, said: Iterable[Said], graph: Graph, seen: Mapping[str, Seen], ways: Ways, now: float, *, wall: float
) -> tuple[Book, tuple[Put, ...]]:
    """Given the book and what `step` has just said, gives the book with who was told, and the alerts to put.

    To be called after every step, with what that said or with nothing: who is not told yet and should be is found by
    looking, so that a pager is told after PAGE_AFTER, a silence's end tells what is still open, and reminders come.
    The book and the alerts belong into one transaction. `now` is monotonic seconds, `wall` epoch seconds.
    """
    raise NotImplementedError


def amnesia(graph: Graph, seen: Mapping[str, Seen], ways: Ways, *, wall: float) -> tuple[Put, ...]:
    """Resolves, for channels that know incidents by their key, of all that is seen up and of our own blindness.

    For a daemon that was started without state, once, after its first full round: what was open when the state was
    lost would stay open for ever. What is down opens with the same key, and so goes on.
    """
    raise NotImplementedError
