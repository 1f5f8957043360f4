"""Delivery on virtual time: what is sent and when, whatever a provider does, and what others notice of it."""

import asyncio
import contextlib
import math
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import httpx
import pytest
from structlog.testing import capture_logs

from alerts import outbox
from alerts.alert import Alert, Kind, from_json
from alerts.channels.base import DeliveryError, Reason, Receipt
from alerts.deliver import Delivery
from alerts.order import Fate, Row
from alerts.patience import Timing
from alerts.trouble import Matter, Trouble
from monitor.database import in_transaction

NOON = 1_790_000_000.0
HOUR, DAY = 3600.0, 86_400.0
Make = Callable[..., Alert]
Run = Callable[[Any], Any]
Behaviour = Callable[[], Coroutine[Any, Any, str]]


def ok(ref: str = "") -> Behaviour:
    async def behave() -> str:
        await asyncio.sleep(0.1)
        return ref

    return behave


def fails(reason: Reason, *, permanent: bool = False, retry_after: float | None = None) -> Behaviour:
    async def behave() -> str:
        await asyncio.sleep(0.1)
        raise DeliveryError(reason, f"said {reason}", permanent=permanent, retry_after=retry_after)

    return behave


async def hang() -> str:
    await asyncio.sleep(math.inf)
    return ""


async def hang_and_cling() -> str:
    """A library that takes a cancellation for a mere trouble of the network."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(1e6)
    await asyncio.sleep(60)
    return ""


async def break_down() -> str:
    raise KeyError("title")


@dataclass
class Fake:
    """A channel that does what it is told, and notes what it was asked to send, and when it ended well."""

    name: str = "chat"
    pages: bool = False
    groups: bool = False
    keyed: bool = False
    then: Behaviour = field(default_factory=ok)
    script: deque[Behaviour] = field(default_factory=deque)
    of: dict[str, Behaviour] = field(default_factory=dict)
    asked: list[tuple[float, str]] = field(default_factory=list)
    refs: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    under_way: int = 0

    async def send(self, alert: Alert, client: httpx.AsyncClient, *, ref: str = "") -> Receipt:
        incidents = " ".join(one.incident for one in alert.members) or alert.incident
        self.asked.append((asyncio.get_running_loop().time(), f"{alert.kind} {incidents}"))
        self.refs.append(ref)
        self.under_way += 1
        assert self.under_way == 1, "two at once"
        try:
            behave = self.of.get(incidents) or (self.script.popleft() if self.script else self.then)
            given = await behave()
        finally:
            self.under_way -= 1
        self.taken.append(f"{alert.kind} {incidents}")
        return Receipt(said="ok", ref=given)


class Town:
    """An outbox, a delivery and a wall clock, on virtual time."""

    def __init__(self, conn: sqlite3.Connection, make: Make, *channels: Fake, **options: Any) -> None:
        self.conn = conn
        self.make = make
        self.channels = channels
        self.options = options
        self.step = 0.0
        self.troubles: list[Trouble] = []
        self.broken = 0
        self.puts = 0
        self.delivery = self._new()
        self.began = asyncio.get_running_loop().time()

    def _new(self) -> Delivery:
        settings: dict[str, Any] = {"random": lambda: 0.5, "client": lambda: httpx.AsyncClient(trust_env=False)}
        return Delivery(
            self.channels,
            transact=self.transact,
            wall=self.wall,
            on_trouble=self.note,
            **{**settings, **self.options},
        )

    def wall(self) -> float:
        return NOON + asyncio.get_running_loop().time() + self.step

    async def transact(self, fn: Callable[[sqlite3.Connection], Any]) -> Any:
        await asyncio.sleep(0.001)
        if self.broken:
            self.broken -= 1
            raise sqlite3.OperationalError("no such thing")
        return in_transaction(self.conn, fn)

    def note(self, conn: sqlite3.Connection, trouble: Trouble) -> None:
        assert conn.in_transaction
        self.troubles.append(trouble)

    @contextlib.asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        self.delivery = self._new()
        task = asyncio.create_task(self.delivery.run())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def put(self, kind: str, incident: str = "db", **facts: Any) -> None:
        self.puts += 1
        alert = self.make(kind, incident, self.wall() + self.puts / 1000, **facts)
        for channel in self.channels:
            outbox.put(self.conn, channel.name, alert)
        self.delivery.wake()

    def times(self, channel: Fake) -> list[float]:
        return [round(at - self.began, 1) for at, _ in channel.asked]

    def rows(self, incident: str = "db") -> list[str]:
        return [f"{row.kind} {row.fate}" for row in outbox.told(self.conn, incident)]


@pytest.fixture
def play(virtual: Run, box: sqlite3.Connection, alert: Make) -> Iterator[Callable[..., Town]]:
    """Plays `story(town)` with a delivery at work, and gives the town."""

    def run(story: Callable[[Town], Coroutine[Any, Any, None]], *channels: Fake, **options: Any) -> Town:
        async def all_of_it() -> Town:
            town = Town(box, alert, *channels, **options)
            async with town.working():
                await story(town)
            return town

        town: Town = virtual(all_of_it())
        return town

    with capture_logs():
        yield run


Play = Callable[..., Town]


async def outage(town: Town, *, lasts: float = 1200.0, then: float = 100.0) -> None:
    """One outage, and enough time for everything that follows from it."""
    town.put("open")
    await asyncio.sleep(lasts)
    town.put("resolve")
    await asyncio.sleep(then)


def test_a_message_is_sent_at_once_and_settled(play: Play) -> None:
    chat = Fake()
    town = play(outage, chat)
    assert town.times(chat) == [0.0, 1200.0]
    assert chat.taken == ["open db", "resolve db"]
    assert town.rows() == ["open sent", "resolve sent"]
    status = town.delivery.statuses["chat"]
    assert (status.sent, status.pending, status.oldest_at, status.parked) == (2, 0, None, 0)
    assert sum(status.failed.values()) == 0


@pytest.mark.parametrize("reason", [Reason.SERVER_ERROR, Reason.UNREACHABLE, Reason.BAD_ANSWER])
def test_failures_are_tried_again_ever_more_slowly(play: Play, reason: Reason) -> None:
    chat = Fake(then=fails(reason))

    async def story(town: Town) -> None:
        town.put("open")
        await asyncio.sleep(600)
        chat.then = ok()
        await asyncio.sleep(1400)

    town = play(story, chat)
    assert town.times(chat) == pytest.approx([0, 2, 6, 14, 30, 62, 126, 254, 510, 811], abs=1.5)
    assert chat.taken == ["open db"]
    assert town.delivery.statuses["chat"].failed[reason] == 9


@pytest.mark.parametrize(("chance", "wait"), [(0.0, 1.5), (0.999, 2.5)])
def test_chance_moves_each_wait_by_a_quarter(play: Play, chance: float, wait: float) -> None:
    chat = Fake(script=deque([fails(Reason.SERVER_ERROR)]))
    town = play(outage, chat, random=lambda: chance)
    assert town.times(chat)[1] == pytest.approx(wait + 0.1, abs=0.05)


@pytest.mark.parametrize(
    ("asked", "earliest", "latest"),
    [(30.0, 30.0, 34.0), (1.0, 1.5, 2.6), (7200.0, 3600.0, 3970.0), (math.nan, 1.5, 2.6), (-5.0, 1.5, 2.6)],
)
def test_the_provider_is_left_alone_for_as_long_as_it_asks(
    play: Play, asked: float, earliest: float, latest: float
) -> None:
    chat = Fake(script=deque([fails(Reason.RATE_LIMITED, retry_after=asked)]))

    async def story(town: Town) -> None:
        town.put("open", "db")
        await asyncio.sleep(0.5)
        town.put("open", "cache")  # the whole channel is to keep quiet, whoever comes
        await asyncio.sleep(5000)

    town = play(story, chat)
    assert town.times(chat)[0] == 0.0
    assert earliest <= town.times(chat)[1] - 0.1 <= latest
    assert sorted(chat.taken) == ["open cache", "open db"]


def test_a_rest_that_was_asked_for_is_kept_over_a_restart(virtual: Run, box: sqlite3.Connection, alert: Make) -> None:
    chat = Fake(script=deque([fails(Reason.RATE_LIMITED, retry_after=600.0)]))

    async def story() -> Town:
        town = Town(box, alert, chat)
        async with town.working():
            town.put("open")
            await asyncio.sleep(10)
        async with town.working():
            await asyncio.sleep(1000)
        return town

    with capture_logs():
        town = virtual(story())
    assert town.times(chat)[1] > 600
    assert chat.taken == ["open db"]


@pytest.mark.parametrize("jump", [-DAY, -HOUR, HOUR, 30 * DAY])
def test_the_clock_may_jump_while_a_message_waits(play: Play, jump: float) -> None:
    chat = Fake(then=fails(Reason.SERVER_ERROR))

    async def story(town: Town) -> None:
        town.put("open")
        await asyncio.sleep(30)
        town.step += jump
        await asyncio.sleep(600)
        town.step += jump
        chat.then = ok()
        await asyncio.sleep(400)
        town.put("resolve")
        await asyncio.sleep(100)

    play(story, chat)
    assert chat.taken == ["open db", "resolve db"]


def test_a_hanging_provider_is_left_after_the_deadline_and_delays_no_other(play: Play) -> None:
    stuck, well = Fake(name="stuck", then=hang), Fake(name="well")
    town = play(outage, stuck, well)
    assert town.times(well) == [0.0, 1200.0]
    assert town.times(stuck)[:4] == pytest.approx([0, 17, 36, 59], abs=0.3)
    status = town.delivery.statuses["stuck"]
    assert status.failed[Reason.TIMEOUT] == len(stuck.asked)
    assert (status.sent, status.pending) == (0, 1)


def test_a_channel_that_will_not_be_cancelled_is_left_behind(play: Play) -> None:
    stuck, well = Fake(name="stuck", then=hang_and_cling), Fake(name="well")
    stuck.under_way = -1000  # here two may be at once
    stuck.send = without_count(stuck)  # type: ignore[method-assign]  # a channel of its own kind
    began: list[float] = []

    async def story(town: Town) -> None:
        town.put("open")
        await asyncio.sleep(100)
        began.append(asyncio.get_running_loop().time())

    play(story, stuck, well)
    assert well.taken == ["open db"]
    assert [at - stuck.asked[0][0] for at, _ in stuck.asked[:3]] == pytest.approx([0, 17.3, 36.6], abs=0.3)


def without_count(fake: Fake) -> Any:
    async def send(alert: Alert, client: httpx.AsyncClient, *, ref: str = "") -> Receipt:
        fake.asked.append((asyncio.get_running_loop().time(), str(alert.kind)))
        await fake.then()
        return Receipt(said="")

    return send


@pytest.mark.parametrize("behaviour", [hang, fails(Reason.SERVER_ERROR), fails(Reason.BAD_ANSWER)])
def test_a_message_that_cannot_pass_holds_up_no_other_incident(play: Play, behaviour: Behaviour) -> None:
    """One that the provider chokes on: it hangs, or answers 500, for this message alone."""
    chat = Fake(of={"bad": behaviour})

    async def story(town: Town) -> None:
        for name in ("bad", "a", "b", "c"):
            town.put("open", name)
        await asyncio.sleep(60)

    play(story, chat)
    assert chat.taken == ["open a", "open b", "open c"]


def test_a_broken_provider_is_asked_by_one_message_at_a_time(play: Play) -> None:
    chat = Fake(then=fails(Reason.UNREACHABLE))

    async def story(town: Town) -> None:
        for number in range(50):
            town.put("open", f"s{number}")
        await asyncio.sleep(600)
        chat.then = ok()
        await asyncio.sleep(600)

    play(story, chat)
    failed = [at for at, _ in chat.asked if at < 1600]
    assert len(failed) <= 10, "the channel rests as a whole"
    assert len(chat.taken) == 50


def test_several_opens_at_once_go_as_one_message_and_so_do_their_resolves(play: Play) -> None:
    chat = Fake(groups=True)

    async def story(town: Town) -> None:
        for name in ("db", "cache", "store"):
            town.put("open", name)
        await asyncio.sleep(100)
        for name in ("db", "cache"):
            town.put("resolve", name)
        await asyncio.sleep(100)

    town = play(story, chat)
    assert chat.taken == ["open db cache store", "resolve db cache"]
    assert town.delivery.statuses["chat"].sent == 5
    assert town.rows("cache") == ["open sent", "resolve sent"]


def test_a_group_that_is_put_off_is_put_off_whole(play: Play) -> None:
    chat = Fake(groups=True, script=deque([fails(Reason.UNREACHABLE), fails(Reason.RATE_LIMITED, retry_after=9.0)]))

    async def story(town: Town) -> None:
        town.put("open", "db")
        town.put("open", "cache")
        await asyncio.sleep(100)

    play(story, chat)
    assert [what for _, what in chat.asked] == ["open db cache"] * 3


def test_a_group_that_is_rejected_is_told_singly(play: Play) -> None:
    chat = Fake(groups=True, of={"db cache store": fails(Reason.REJECTED, permanent=True)})
    chat.of["cache"] = fails(Reason.REJECTED, permanent=True)

    async def story(town: Town) -> None:
        for name in ("db", "cache", "store"):
            town.put("open", name)
        await asyncio.sleep(100)

    town = play(story, chat)
    assert chat.taken == ["open db", "open store"]
    assert town.rows("cache") == ["open parked"]
    assert [(one.matter, [each.incident for each in one.alerts]) for one in town.troubles] == [
        (Matter.PARKED, ["cache"])
    ]


def test_a_group_with_one_that_the_provider_chokes_on_gets_the_others_through(play: Play) -> None:
    chat = Fake(groups=True)

    async def choosy() -> str:
        if "bad" in chat.asked[-1][1]:
            return await hang()
        return ""

    chat.then = choosy

    async def story(town: Town) -> None:
        for name in ("a", "bad", "b", "c", "d"):
            town.put("open", name)
        await asyncio.sleep(180)

    play(story, chat)
    assert sorted(" ".join(chat.taken).replace("open ", "").split()) == ["a", "b", "c", "d"]


def test_a_rejected_message_is_parked_and_told_of(play: Play) -> None:
    chat = Fake(of={"db": fails(Reason.REJECTED, permanent=True)})

    async def story(town: Town) -> None:
        town.put("open", "db")
        town.put("open", "cache")
        await asyncio.sleep(10)
        town.put("reminder", "db")
        await asyncio.sleep(10)
        town.put("resolve", "db")
        await asyncio.sleep(10)

    town = play(story, chat)
    assert [what for _, what in chat.asked] == ["open db", "open cache", "open db", "brief db"]
    assert town.rows("db") == ["open parked", "reminder parked", "resolve parked"]
    assert town.delivery.statuses["chat"].parked == 3
    assert [one.matter for one in town.troubles] == [Matter.PARKED] * 3
    assert "said rejected" in town.troubles[0].sentence()


def test_a_refused_channel_is_told_of_once_and_tried_slowly_until_somebody_mends_it(play: Play) -> None:
    chat = Fake(then=fails(Reason.REFUSED, permanent=True))

    async def story(town: Town) -> None:
        town.put("open", "db")
        await asyncio.sleep(6 * HOUR)
        assert town.delivery.statuses["chat"].refused
        chat.then = ok()
        await asyncio.sleep(2 * HOUR)
        assert not town.delivery.statuses["chat"].refused

    town = play(story, chat)
    minutes = [round(at / 60) for at in town.times(chat)]
    assert minutes == [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303, 363]
    assert chat.taken == ["open db"]
    assert [one.matter for one in town.troubles] == [Matter.REFUSED]


def test_a_refused_channel_is_tried_at_a_restart_and_not_told_of_again(
    virtual: Run, box: sqlite3.Connection, alert: Make
) -> None:
    chat = Fake(then=fails(Reason.REFUSED, permanent=True))

    async def story() -> Town:
        town = Town(box, alert, chat)
        for _ in range(3):
            async with town.working():
                town.put("open")
                await asyncio.sleep(30)
        return town

    with capture_logs():
        town = virtual(story())
    assert len(chat.asked) == 3
    assert len(town.troubles) == 1


def test_after_a_day_it_is_given_up_loudly(virtual: Run, box: sqlite3.Connection, alert: Make) -> None:
    chat = Fake(then=fails(Reason.SERVER_ERROR))

    async def story() -> Town:
        town = Town(box, alert, chat)
        async with town.working():
            town.put("open", "db")
            town.put("open", "cache")
            await asyncio.sleep(0.9 * DAY)
            assert town.rows("db") == ["open waiting"]
            await asyncio.sleep(0.2 * DAY)
        return town

    with capture_logs() as logged:
        town = virtual(story())
    assert town.rows("db") == ["open given_up"]
    assert town.rows("cache") == ["open given_up"], "what waited behind it has waited as long"
    loud = [line for line in logged if line["event"] == "alert_given_up"]
    assert [line["log_level"] for line in loud] == ["error", "error"]
    assert [(line["service"], line["title"]) for line in loud] == [("db", "Db"), ("cache", "Cache")]
    assert [one.matter for one in town.troubles] == [Matter.GIVEN_UP]
    status = town.delivery.statuses["chat"]
    assert (status.given_up, status.parked, status.pending) == (2, 2, 0)


def test_the_log_names_what_each_message_was_about(virtual: Run, box: sqlite3.Connection, alert: Make) -> None:
    chat = Fake(script=deque([fails(Reason.SERVER_ERROR)]), groups=True)

    async def story() -> None:
        town = Town(box, alert, chat)
        async with town.working():
            town.put("open", "db#7")
            await asyncio.sleep(60)
            town.put("resolve", "db#7")
            await asyncio.sleep(10)
            town.put("open", "cache#8")
            town.put("open", "store#9")
            town.put("notice", "n", service="", title="Backup taken")
            await asyncio.sleep(10)

    with capture_logs() as logged:
        virtual(story())
    lines = [line for line in logged if line["event"] in ("alert_not_sent", "alert_sent")]
    assert [(line["kind"], line.get("service"), line["title"]) for line in lines] == [
        ("open", "db", "Db"),
        ("open", "db", "Db"),
        ("resolve", "db", "Db"),
        ("open", "cache store", "Cache and Store"),
        ("notice", None, "Backup taken"),
    ]


def test_two_broken_channels_do_not_tell_of_each_other_for_ever(play: Play) -> None:
    left = Fake(name="left", then=fails(Reason.REJECTED, permanent=True))
    right = Fake(name="right", then=fails(Reason.REJECTED, permanent=True))

    async def story(town: Town) -> None:
        def tell(conn: sqlite3.Connection, trouble: Trouble) -> None:
            town.troubles.append(trouble)
            other = "left" if trouble.channel == "right" else "right"
            notice = town.make("notice", f"n{len(town.troubles)}", NOON, sentence=trouble.sentence())
            outbox.put(conn, other, notice)

        town.delivery.on_trouble = tell
        town.put("open")
        await asyncio.sleep(HOUR)

    town = play(story, left, right)
    assert len(town.troubles) == 2
    assert sorted(what for _, what in left.asked + right.asked) == ["notice n1", "notice n2", "open db", "open db"]


@pytest.mark.parametrize("groups", [False, True])
def test_a_fault_of_ours_costs_no_message(play: Play, groups: bool) -> None:
    chat = Fake(of={"db": break_down, "db cache": break_down}, groups=groups)

    async def story(town: Town) -> None:
        town.put("open", "db")
        town.put("open", "cache")
        await asyncio.sleep(10)
        assert chat.taken == ["open cache"]
        assert town.rows("db") == ["open waiting"]
        chat.of.clear()
        await asyncio.sleep(60)

    town = play(story, chat)
    assert chat.taken == ["open cache", "open db"]
    assert town.rows("db") == ["open sent"]


def test_a_proxy_variable_with_nonsense_costs_no_message(play: Play) -> None:
    chat = Fake()
    made: list[int] = []

    def client() -> httpx.AsyncClient:
        made.append(1)
        if len(made) < 3:
            raise ValueError("Unknown scheme for proxy URL URL('nonsense')")
        return httpx.AsyncClient(trust_env=False)

    async def story(town: Town) -> None:
        assert not made, "the client is made when it is first needed"
        town.put("open")
        await asyncio.sleep(20)

    town = play(story, chat, client=client)
    assert chat.taken == ["open db"]
    assert town.delivery.statuses["chat"].failed[Reason.UNREACHABLE] == 2


def test_a_database_that_fails_does_not_send_anything_twice(play: Play) -> None:
    chat = Fake()

    async def story(town: Town) -> None:
        await asyncio.sleep(1)
        town.put("open")
        await asyncio.sleep(0.05)  # it is under way
        town.broken = 3
        await asyncio.sleep(30)

    town = play(story, chat)
    assert [what for _, what in chat.asked] == ["open db"]
    assert town.rows() == ["open sent"]


def test_what_is_under_way_at_the_end_is_left_unsettled_and_the_end_is_quick(
    virtual: Run, box: sqlite3.Connection, alert: Make
) -> None:
    chat, stuck = Fake(), Fake(name="stuck", then=hang)
    took: list[float] = []

    async def story() -> Town:
        town = Town(box, alert, chat, stuck)
        async with town.working():
            town.put("open")
            await asyncio.sleep(5)
            began = asyncio.get_running_loop().time()
        took.append(asyncio.get_running_loop().time() - began)
        stuck.then = ok()
        async with town.working():
            await asyncio.sleep(5)
        return town

    with capture_logs():
        virtual(story())
    assert took[0] < 1.0
    assert stuck.taken == ["open db"]
    assert [what for _, what in chat.asked] == ["open db"], "what was settled is not sent again"


def test_a_pager_that_rests_is_spared_what_is_over_by_then(play: Play) -> None:
    pager = Fake(name="pager", pages=True, keyed=True, script=deque([fails(Reason.RATE_LIMITED, retry_after=100.0)]))

    async def story(town: Town) -> None:
        town.put("open", "long")
        await asyncio.sleep(10)
        town.put("open", "short")
        await asyncio.sleep(50)
        town.put("resolve", "short")
        await asyncio.sleep(200)

    town = play(story, pager)
    assert pager.taken == ["open long"]
    assert town.rows("short") == ["open spared", "resolve spared"]


def test_a_small_rest_lies_between_two_messages(play: Play) -> None:
    chat = Fake()

    async def story(town: Town) -> None:
        for number in range(5):
            town.put("open", f"s{number}")
        await asyncio.sleep(60)

    town = play(story, chat)
    assert town.times(chat) == pytest.approx([0, 1.1, 2.2, 3.3, 4.4], abs=0.05)


def test_what_was_put_without_a_word_is_found_all_the_same(play: Play) -> None:
    chat = Fake()

    async def story(town: Town) -> None:
        await asyncio.sleep(7)
        outbox.put(town.conn, "chat", town.make("open", "db", town.wall()))
        await asyncio.sleep(40)

    town = play(story, chat)
    assert chat.taken == ["open db"]
    assert town.times(chat)[0] <= Timing().look + 1


def test_the_backlog_is_shown(play: Play) -> None:
    chat = Fake(then=fails(Reason.SERVER_ERROR))

    async def story(town: Town) -> None:
        at = town.wall()
        town.put("open", "db")
        await asyncio.sleep(1)
        town.put("open", "cache")
        await asyncio.sleep(100)
        status = town.delivery.statuses["chat"]
        assert (status.pending, status.oldest_at) == (2, pytest.approx(at, abs=0.01))
        assert status.last_error == "said server_error"
        assert status.last_sent_at is None

    play(story, chat)


def test_strays_are_told_of_and_then_dropped(virtual: Run, box: sqlite3.Connection, alert: Make) -> None:
    chat = Fake()

    async def story() -> Town:
        town = Town(box, alert, chat)
        outbox.put(box, "gone", alert("open", "db", town.wall()))
        async with town.working():
            await asyncio.sleep(2 * DAY)
        return town

    with capture_logs() as logged:
        virtual(story())
    assert [row.fate for row in outbox.told(box, "db")] == [Fate.DROPPED]
    told = [line for line in logged if line["event"] == "channel_not_configured"]
    assert told[0]["waiting"] == 1
    assert told[-1]["dropped"] == 1
    assert {line["channel"] for line in told} == {"gone"}


def test_nothing_is_told_of_troubles_with_reminders(play: Play) -> None:
    chat = Fake(script=deque([ok(), fails(Reason.REJECTED, permanent=True)]))

    async def story(town: Town) -> None:
        town.put("open")
        await asyncio.sleep(10)
        town.put(Kind.REMINDER)
        await asyncio.sleep(10)

    town = play(story, chat)
    assert town.rows() == ["open sent", "reminder parked"]
    assert town.troubles == []


# What other tools get wrong; the numbers are those of the list they were collected in.


def test_defect_1_a_resolve_that_fails_is_not_dropped(play: Play) -> None:
    """Gatus forgets that it alerted before it sends the resolve; Kuma never sends that one again."""
    chat = Fake()

    async def story(town: Town) -> None:
        town.put("open")
        await asyncio.sleep(10)
        chat.then = fails(Reason.SERVER_ERROR)
        town.put("resolve")
        await asyncio.sleep(HOUR)
        chat.then = ok()
        await asyncio.sleep(400)

    play(story, chat)
    assert chat.taken == ["open db", "resolve db"]


def test_defect_3_other_words_end_the_same_incident(play: Play) -> None:
    """Gatus takes an alert whose description was edited for another one, and orphans the incident that is open."""
    pager = Fake(name="pager", pages=True, keyed=True)

    async def story(town: Town) -> None:
        town.put("open", title="PostgreSQL", sentence="It refuses connections.")
        await asyncio.sleep(10)
        town.put("resolve", title="The database", runbook="https://wiki.test/db")
        await asyncio.sleep(10)

    town = play(story, pager)
    assert pager.taken == ["open db", "resolve db"]
    assert len({alert.dedup_key for alert in map(from_row, outbox.told(town.conn, "db"))}) == 1


def from_row(row: Row) -> Alert:
    return from_json(row.alert)


def test_defect_7_and_8_one_dead_webhook_stalls_nobody(play: Play) -> None:
    """Kuma tells its providers one after the other; Healthchecks' sender spends 90 s on each message to a dead one."""
    dead, well = Fake(name="a-dead-one", then=hang), Fake(name="well")

    async def story(town: Town) -> None:
        for number in range(5):
            town.put("open", f"s{number}")
            await asyncio.sleep(10)

    town = play(story, dead, well)
    assert town.times(well) == pytest.approx([0, 10, 20, 30, 40], abs=0.2)


def test_defect_8_tries_are_spaced(play: Play) -> None:
    """Healthchecks tries three times without a pause, and then no more."""
    chat = Fake(then=fails(Reason.UNREACHABLE))

    async def story(town: Town) -> None:
        town.put("open")
        await asyncio.sleep(HOUR)

    town = play(story, chat)
    gaps = [later - earlier for earlier, later in pairwise(town.times(chat))]
    assert min(gaps) >= 2.0
    assert max(gaps) <= 301.0
    assert len(gaps) > 15, "and it does not end after three"


def test_defect_9_what_is_resolved_while_we_are_limited_is_told_all_the_same(play: Play) -> None:
    """Alertmanager gives a 429 of Slack or Discord up for that flush; what is over by the next is never told."""
    chat = Fake(then=fails(Reason.RATE_LIMITED, retry_after=60.0))

    async def story(town: Town) -> None:
        town.put("open")
        await asyncio.sleep(100)
        town.put("resolve")
        chat.then = ok()
        await asyncio.sleep(300)

    play(story, chat)
    assert chat.taken == ["brief db"]


def test_defect_10_every_channel_that_heard_of_it_hears_its_end(play: Play) -> None:
    """Cloudprober tells the end to PagerDuty and Opsgenie alone, and takes what it tried to tell for told."""
    chat, pager = Fake(script=deque([fails(Reason.TIMEOUT)] * 3)), Fake(name="pager", pages=True, keyed=True)
    play(outage, chat, pager)
    assert chat.taken == ["open db", "resolve db"]
    assert pager.taken == ["open db", "resolve db"]


def test_defect_12_a_single_failure_loses_nothing(play: Play) -> None:
    """Checkmate's client never tries anything twice."""
    chat = Fake(script=deque([fails(Reason.UNREACHABLE), ok(), fails(Reason.UNREACHABLE)]))
    play(outage, chat)
    assert chat.taken == ["open db", "resolve db"]
