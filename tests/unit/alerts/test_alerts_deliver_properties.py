"""Delivery against providers that do anything, with restarts and clock jumps: nothing lost, nothing out of order.

The provider of each test does what chance says a number of times and is well afterwards. What it took is compared with
what was put.
"""

import asyncio
import contextlib
import math
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from alerts import outbox
from alerts.alert import Alert, Kind, Severity
from alerts.channels.base import DeliveryError, Reason, Receipt
from alerts.deliver import Delivery
from alerts.order import Fate
from alerts.patience import Timing
from alerts.trouble import Matter, Trouble
from monitor.database import Schema, connect, in_transaction, migrate

Run = Callable[[Any], Any]
NOON = 1_790_000_000.0
ENDS = (Kind.RESOLVE, Kind.BRIEF)

# What a provider does with a request: whether it takes the message, and what we learn of it.
BEHAVIOURS = {
    "ok": (True, None),
    "limited": (False, DeliveryError(Reason.RATE_LIMITED, "429", retry_after=40.0)),
    "limited_long": (False, DeliveryError(Reason.RATE_LIMITED, "429", retry_after=1e5)),
    "error": (False, DeliveryError(Reason.SERVER_ERROR, "500")),
    "refuses": (False, DeliveryError(Reason.UNREACHABLE, "refused")),
    "reset_after": (True, DeliveryError(Reason.UNREACHABLE, "reset")),
    "wrong_body": (False, DeliveryError(Reason.BAD_ANSWER, "200 and a page")),
    "wrong_body_taken": (True, DeliveryError(Reason.BAD_ANSWER, "200 and a page")),
    "hangs": (False, None),
    "hangs_taken": (True, None),
    "gone": (False, DeliveryError(Reason.REFUSED, "404", permanent=True)),
    "rejects": (False, DeliveryError(Reason.REJECTED, "400", permanent=True)),
}


@dataclass
class Taken:
    """A message that a provider took; `certain` when it said so and we could keep that."""

    kind: Kind
    incident: str
    sentence: str
    certain: bool


@dataclass
class Provider:
    """A channel and its provider, which keeps what it took."""

    name: str
    pages: bool
    groups: bool
    keyed: bool
    behaviours: list[str]
    taken: list[Taken] = field(default_factory=list)
    rejected: set[str] = field(default_factory=set)
    open_keys: dict[str, str] = field(default_factory=dict)  # as PagerDuty keeps them: dedup_key → incident
    under_way: int = 0

    async def send(self, alert: Alert, client: httpx.AsyncClient, *, ref: str = "") -> Receipt:
        assert self.under_way == 0, "two at once"
        self.under_way += 1
        try:
            name = self.behaviours.pop() if self.behaviours else "ok"
            takes, error = BEHAVIOURS[name]
            members = alert.members or (alert,)
            await asyncio.sleep(0.05)
            if takes:
                self._take(members, certain=name == "ok")
            await asyncio.sleep(math.inf if name.startswith("hangs") else 0.05)
            if error is not None:
                if error.reason == Reason.REJECTED and not alert.members and alert.kind != Kind.REMINDER:
                    self.rejected.add(alert.incident)
                raise error
            return Receipt(said="ok", ref="" if alert.members else f"{self.name}-{alert.incident}")
        finally:
            self.under_way -= 1

    def _take(self, members: tuple[Alert, ...], *, certain: bool) -> None:
        for one in members:
            self.taken.append(Taken(one.kind, one.incident, one.sentence, certain))
            if one.kind in ENDS:
                self.open_keys.pop(one.dedup_key, None)
            else:
                self.open_keys[one.dedup_key] = one.incident

    def doubt(self, incidents: set[str]) -> None:
        """We were ended before we could keep what it took last of these: it was no certain delivery."""
        for incident in incidents:
            for one in [one for one in self.taken if one.incident == incident][-1:]:
                one.certain = False


@dataclass(frozen=True)
class Event:
    """Something that happens `after` seconds: a message is put, the daemon is started anew, the clock jumps."""

    after: float
    what: str
    root: int = 0
    jump: float = 0.0


def events() -> st.SearchStrategy[list[Event]]:
    delays = st.sampled_from([0.0, 0.02, 0.07, 1.0, 5.0, 30.0, 61.0, 200.0, 1500.0])
    puts = st.builds(
        Event,
        after=delays,
        what=st.sampled_from(["turn", "turn", "turn", "update", "reminder"]),
        root=st.integers(0, 1),
    )
    others = st.one_of(
        st.builds(Event, after=delays, what=st.just("restart")),
        st.builds(Event, after=delays, what=st.just("jump"), jump=st.sampled_from([-9e4, -3600.0, -90.0, 90.0, 9e4])),
    )
    return st.lists(st.one_of(puts, puts, puts, others), max_size=25)


class Story:
    """Plays events against two providers, a chat and a pager, and remembers what was put."""

    def __init__(self, chat: Provider, pager: Provider) -> None:
        self.channels = (chat, pager)
        self.conn: sqlite3.Connection = connect(None)
        migrate(self.conn, [Schema(owner="outbox", steps=outbox.STEPS, live=outbox.LIVE)])
        self.step = 0.0
        self.episodes: Counter[int] = Counter()
        self.open_roots: set[int] = set()
        self.put: dict[str, list[Alert]] = defaultdict(list)
        self.troubles: list[Trouble] = []

    def wall(self) -> float:
        return NOON + asyncio.get_running_loop().time() + self.step

    async def transact(self, fn: Callable[[sqlite3.Connection], Any]) -> Any:
        await asyncio.sleep(0.001)
        return in_transaction(self.conn, fn)

    def start(self) -> tuple[Delivery, asyncio.Task[None]]:
        delivery = Delivery(
            self.channels,
            transact=self.transact,
            wall=self.wall,
            client=lambda: httpx.AsyncClient(trust_env=False),
            on_trouble=lambda _, trouble: self.troubles.append(trouble),
            random=lambda: 0.5,
            timing=Timing(look=5000.0),  # a day of nothing should not take a second
        )
        return delivery, asyncio.create_task(delivery.run())

    async def play(self, story: list[Event]) -> None:
        delivery, task = self.start()
        for event in story:
            await asyncio.sleep(event.after)
            if event.what == "jump":
                self.step += event.jump
            elif event.what == "restart":
                await self.end(task)
                delivery, task = self.start()
            else:
                self.happen(event)
                delivery.wake()
        await asyncio.sleep(80_000)
        for root in sorted(self.open_roots - {0}):
            self.happen(Event(after=0, what="turn", root=root))
        delivery.wake()
        await asyncio.sleep(80_000)
        await self.end(task)

    async def end(self, task: asyncio.Task[None]) -> None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        for channel in self.channels:
            channel.under_way = 0
            rows = [row for name in self.put for row in outbox.told(self.conn, name) if row.channel == channel.name]
            channel.doubt({row.incident for row in rows if row.fate == Fate.WAITING and row.attempts})

    def happen(self, event: Event) -> None:
        """An outage begins or ends ("turn"), or something is said of one that is going on."""
        if event.what == "turn":
            opens = event.root not in self.open_roots
            self.episodes[event.root] += opens
            self.open_roots ^= {event.root}
            kind = Kind.OPEN if opens else Kind.RESOLVE
        elif event.root in self.open_roots:
            kind = Kind(event.what)
        else:
            return
        incident, at = f"r{event.root}#{self.episodes[event.root]}", self.wall()
        alert = Alert(
            kind=kind,
            severity=Severity.CRITICAL,
            incident=incident,
            dedup_key=f"test/r{event.root}",
            instance="test",
            service=f"r{event.root}",
            title=f"R{event.root}",
            state="up" if kind == Kind.RESOLVE else "down",
            since=at,
            at=at,
            sentence=str(len(self.put[incident])),
        )
        self.put[incident].append(alert)

        def write(conn: sqlite3.Connection) -> None:
            for _ in range(2):  # the recorder may run its transaction again
                for channel in self.channels:
                    outbox.put(conn, channel.name, alert)

        in_transaction(self.conn, write)


def check(story: Story, channel: Provider) -> None:
    """What must hold of everything that was put, whatever the provider did."""
    told = defaultdict(list)
    for one in channel.taken:
        told[one.incident].append(one)
    assert set(told) <= set(story.put), "invented"
    for incident, put in story.put.items():
        check_order(told[incident], put, pages=channel.pages, rejected=incident in channel.rejected)
        if incident not in channel.rejected:
            check_whole(told[incident], put, pages=channel.pages)
    if not channel.rejected:
        lasting = {f"test/r{root}": f"r{root}#{story.episodes[root]}" for root in story.open_roots}
        assert channel.open_keys == lasting, "what is open there is what is open here"


def check_order(told: list[Taken], put: list[Alert], *, pages: bool, rejected: bool) -> None:
    """Nothing twice but after an uncertain delivery; the open first, the end last."""
    counts = Counter((one.kind, one.sentence) for one in told if one.certain)
    assert max(counts.values(), default=1) == 1, "told twice"
    kinds = [one.kind for one in told]
    ends = [at for at, kind in enumerate(kinds) if kind in ENDS]
    if ends:
        assert put[-1].kind == Kind.RESOLVE, "resolved while it lasts"
        assert set(kinds[ends[0] :]) <= set(ENDS), "told of after its end"
    if kinds:
        assert kinds[0] in (Kind.OPEN, *ENDS), "does not begin with its open"
    later = [at for at, kind in enumerate(kinds) if kind != Kind.OPEN]
    if later and not rejected:
        assert Kind.OPEN not in kinds[later[0] :], "opened anew"
    sentences = [int(one.sentence) for one in told if one.kind == Kind.UPDATE]
    assert sentences == sorted(sentences), "an older update after a newer one"
    if Kind.BRIEF in kinds:
        assert not pages, "woken for what is over"
        assert not any(one.certain for one in told if one.kind != Kind.BRIEF), "was told before"


def check_whole(told: list[Taken], put: list[Alert], *, pages: bool) -> None:
    """Nothing is lost: the open and the newest update while it lasts, the end when it is over."""
    kinds = [one.kind for one in told]
    if put[-1].kind == Kind.RESOLVE:
        assert set(kinds) & set(ENDS) or (pages and not kinds), "no end"
        return
    assert Kind.OPEN in kinds, "never told"
    assert not set(kinds) & set(ENDS)
    news = [alert.sentence for alert in put if alert.kind == Kind.UPDATE][-1:]
    assert all(sentence in [one.sentence for one in told] for sentence in news), "the update was lost"


def behaviours(*, rejecting: bool) -> st.SearchStrategy[list[str]]:
    names = sorted(name for name in BEHAVIOURS if rejecting or name != "rejects")
    return st.lists(st.sampled_from(names), max_size=14)


def play(virtual: Run, happenings: list[Event], of_chat: list[str], of_pager: list[str], *, groups: bool) -> Story:
    chat = Provider("chat", pages=False, groups=groups, keyed=False, behaviours=list(of_chat))
    pager = Provider("pager", pages=True, groups=False, keyed=True, behaviours=list(of_pager))
    story = Story(chat, pager)
    try:
        with capture_logs():
            virtual(story.play(happenings))
    finally:
        story.conn.close()
    for channel in story.channels:
        check(story, channel)
        parked = [one for one in story.troubles if (one.channel, one.matter) == (channel.name, Matter.PARKED)]
        assert {alert.incident for one in parked for alert in one.alerts} == channel.rejected, "and others are told"
    return story


steady = settings(
    max_examples=80,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],  # `virtual` makes a new loop for every run
)


@steady
@given(events(), behaviours(rejecting=False), behaviours(rejecting=False), st.booleans())
def test_nothing_is_lost_or_out_of_order_whatever_providers_do(
    virtual: Run, happenings: list[Event], of_chat: list[str], of_pager: list[str], groups: bool
) -> None:
    story = play(virtual, happenings, of_chat, of_pager, groups=groups)
    assert all(one.matter == Matter.REFUSED for one in story.troubles)


@steady
@given(events(), behaviours(rejecting=True), behaviours(rejecting=True), st.booleans())
def test_what_is_rejected_costs_its_own_incident_only(
    virtual: Run, happenings: list[Event], of_chat: list[str], of_pager: list[str], groups: bool
) -> None:
    play(virtual, happenings, of_chat, of_pager, groups=groups)
