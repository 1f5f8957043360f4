"""The outbox: what is put once, what is claimed next, what is merged, and what survives a change of database."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from alerts import outbox, rests
from alerts.alert import Alert, Kind, Severity, to_json
from alerts.order import GROUP_MOST, Fate
from alerts.outbox import Claim, Message
from monitor.database import Schema, carry, connect, in_transaction, migrate

NOON = 1_790_000_000.0
Make = Callable[..., Alert]


@dataclass(frozen=True)
class Chat:
    """A channel that nobody sends with here."""

    name: str = "chat"
    pages: bool = False
    groups: bool = False
    keyed: bool = False

    async def send(self, alert: Alert, client: Any, *, ref: str = "") -> Any:
        raise NotImplementedError


CHAT, PAGER, CROWD = Chat(), Chat(name="pager", pages=True, keyed=True), Chat(groups=True)


class Box:
    """The outbox with one channel, as a worker uses it: puts at its own time, claims, and what comes of it."""

    def __init__(self, conn: sqlite3.Connection, make: Make, channel: Chat = CHAT) -> None:
        self.conn = conn
        self.make = make
        self.channel = channel
        self.now = NOON

    def put(self, kind: str, incident: str = "db", **facts: Any) -> None:
        self.now += 1.0
        outbox.put(self.conn, self.channel.name, self.make(kind, incident, self.now, **facts))

    def claim(self, **remembered: Any) -> Claim:
        self.now += 1.0
        known: dict[str, Any] = {"failures": {}, "resting": (), "alone": (), **remembered}
        return outbox.claim(self.conn, self.channel, now=self.now, **known)

    def take(self, **remembered: Any) -> Message:
        message = self.claim(**remembered).message
        assert message is not None
        return message

    def send(self, ref: str = "", **remembered: Any) -> str:
        """What is sent next, as its kind and incidents, and taken; "" when there is nothing."""
        message = self.claim(**remembered).message
        if message is None:
            return ""
        outbox.settle(self.conn, message, now=self.now, said="ok", ref=ref)
        return f"{message.alert.kind} {' '.join(message.incidents)}"

    def send_all(self) -> list[str]:
        sent = []
        while one := self.send():
            sent.append(one)
        return sent

    def fail(self) -> None:
        outbox.put_off(self.conn, self.take(), wait=2.0, reason="timeout", said="no answer", all_wait=True)

    def fates(self, incident: str = "db") -> list[str]:
        return [f"{row.kind} {row.fate}" for row in outbox.told(self.conn, incident)]


@pytest.fixture
def chat(box: sqlite3.Connection, alert: Make) -> Box:
    return Box(box, alert)


@pytest.fixture
def pager(box: sqlite3.Connection, alert: Make) -> Box:
    return Box(box, alert, PAGER)


@pytest.fixture
def crowd(box: sqlite3.Connection, alert: Make) -> Box:
    return Box(box, alert, CROWD)


def test_messages_of_an_incident_come_in_their_order(chat: Box) -> None:
    chat.put("open")
    assert chat.send() == "open db"
    chat.put("update")
    assert chat.send() == "update db"
    chat.put("reminder")
    assert chat.send() == "reminder db"
    chat.put("resolve")
    assert chat.send() == "resolve db"
    assert chat.send() == ""
    assert {row.fate for row in outbox.told(chat.conn, "db")} == {Fate.SENT}


def test_the_same_put_twice_is_one_message(chat: Box, alert: Make) -> None:
    opened = alert("open", "db")
    for _ in range(2):
        outbox.put(chat.conn, "chat", opened)
    assert chat.send_all() == ["open db"]
    outbox.put(chat.conn, "chat", opened)
    assert chat.send() == "", "put again after it was sent"


def test_two_notices_of_one_moment_are_two_messages(chat: Box, alert: Make) -> None:
    for words in ("a channel refuses us", "a backup is good", "a channel refuses us"):
        outbox.put(chat.conn, "chat", alert("notice", "n", sentence=words))
    assert chat.send_all() == ["notice n", "notice n"]


def test_an_open_that_nobody_heard_of_becomes_one_brief_message(chat: Box) -> None:
    chat.put("open", sentence="It refuses connections.", evidence="refused", severity=Severity.CRITICAL)
    chat.put("update", severity=Severity.CRITICAL)
    chat.put("reminder")
    chat.put("resolve", severity=Severity.INFO, ended=NOON + 300)
    message = chat.take()
    told = message.alert
    assert (told.kind, told.state, told.severity) == (Kind.BRIEF, "down", Severity.CRITICAL)
    assert (told.sentence, told.evidence, told.ended) == ("It refuses connections.", "refused", NOON + 300)
    outbox.settle(chat.conn, message, now=chat.now, said="ok", ref="")
    assert chat.fates() == ["open overtaken", "update overtaken", "reminder overtaken", "resolve sent"]
    assert outbox.told(chat.conn, "db")[-1].told_as == "brief"


def test_an_open_that_may_have_been_taken_is_still_one_brief_message_in_chat(chat: Box) -> None:
    chat.put("open")
    chat.fail()
    chat.put("resolve")
    assert chat.send_all() == ["brief db"]


def test_a_pager_is_spared_what_is_over_before_it_was_tried(pager: Box) -> None:
    pager.put("open")
    pager.put("update")
    pager.put("resolve")
    assert pager.send_all() == []
    assert pager.fates() == ["open spared", "update spared", "resolve spared"]


def test_a_pager_that_may_have_taken_the_open_gets_the_resolve_alone(pager: Box) -> None:
    pager.put("open")
    pager.fail()
    pager.put("update")
    pager.put("resolve")
    assert pager.send_all() == ["resolve db"]
    assert pager.fates() == ["open overtaken", "update overtaken", "resolve sent"]


def test_a_resolve_without_any_open_is_sent(pager: Box) -> None:
    pager.put("resolve")  # of a daemon that lost its state
    assert pager.send_all() == ["resolve db"]


def test_an_incident_ends_under_the_key_it_was_opened_with(pager: Box) -> None:
    pager.put("open", "db#1")
    pager.send()
    pager.put("update", "db#1", dedup_key="renamed/db")  # INSTANCE was changed meanwhile
    pager.put("resolve", "db#1", dedup_key="renamed/db")
    assert pager.take().alert.dedup_key == "test/db"


@pytest.mark.parametrize(
    ("kinds", "sent", "fates"),
    [
        (["update", "update"], ["update db"], ["overtaken", "sent"]),
        (["reminder", "reminder"], ["reminder db"], ["overtaken", "sent"]),
        (["reminder", "update"], ["update db"], ["overtaken", "sent"]),
        (["update", "reminder"], ["update db", "reminder db"], ["sent", "sent"]),
        (["update", "resolve"], ["resolve db"], ["overtaken", "sent"]),
        (["update", "reminder", "resolve"], ["resolve db"], ["overtaken", "overtaken", "sent"]),
    ],
    ids=" ".join,
)
def test_what_a_later_message_says_is_not_said_before_it(
    chat: Box, kinds: list[str], sent: list[str], fates: list[str]
) -> None:
    chat.put("open")
    chat.send()
    for kind in kinds:
        chat.put(kind)
    assert chat.send_all() == sent
    assert [row.fate for row in outbox.told(chat.conn, "db")][1:] == fates


def test_an_update_waits_for_its_open(chat: Box) -> None:
    chat.put("open")
    chat.put("update")
    chat.fail()
    assert chat.send_all() == ["open db", "update db"]


def test_a_clock_that_went_back_changes_no_order(chat: Box) -> None:
    chat.put("open")
    chat.send()
    chat.put("update", sentence="worse")
    chat.now -= 3600
    chat.put("update", sentence="worst")
    chat.now -= 3600
    chat.put("reminder")
    message = chat.take()
    assert (message.alert.kind, message.alert.sentence) == (Kind.UPDATE, "worst")
    outbox.settle(chat.conn, message, now=chat.now, said="ok", ref="")
    chat.now -= 3600
    chat.put("resolve")
    assert chat.send_all() == ["resolve db"]


def test_incidents_do_not_wait_for_each_other(chat: Box) -> None:
    chat.put("open", "db")
    chat.put("open", "cache")
    assert chat.send(resting={"db"}) == "open cache"
    assert chat.send(resting={"db"}) == ""
    assert chat.send() == "open db"


def test_who_failed_more_often_waits_for_the_others(chat: Box) -> None:
    chat.put("open", "db")
    chat.put("open", "cache")
    assert chat.send(failures={"db": 2}) == "open cache"


def test_a_services_next_outage_waits_for_the_end_of_its_last(pager: Box) -> None:
    """PagerDuty knows both by one key: a resolve that came late would close the new incident."""
    pager.put("open", "db#1")
    pager.send()
    pager.put("resolve", "db#1")
    pager.put("open", "db#2")
    assert pager.send(resting={"db#1"}) == ""
    assert pager.send_all() == ["resolve db#1", "open db#2"]


def test_channels_do_not_share_messages(box: sqlite3.Connection, alert: Make) -> None:
    for name in ("chat", "pager"):
        outbox.put(box, name, alert("open", "db"))
    assert Box(box, alert, CHAT).send_all() == ["open db"]
    assert Box(box, alert, PAGER).send_all() == ["open db"]


def test_the_reference_of_the_first_message_comes_with_every_later_one(chat: Box) -> None:
    chat.put("open")
    chat.send(ref="message-7")
    chat.put("update")
    message = chat.take()
    assert message.ref == "message-7"
    outbox.settle(chat.conn, message, now=chat.now, said="ok", ref="message-8")
    chat.put("resolve")
    assert chat.take().ref == "message-7"


def test_a_message_that_was_parked_is_told_with_the_next_one(chat: Box) -> None:
    chat.put("open")
    outbox.park(chat.conn, chat.take(), now=chat.now, reason="rejected", said="400")
    assert chat.send() == ""
    chat.put("update")
    assert chat.send() == "open db", "it is the first that people there hear of it"
    chat.put("resolve")
    assert chat.send_all() == ["resolve db"]


def test_the_end_of_an_outage_whose_open_was_parked_is_brief(chat: Box) -> None:
    chat.put("open")
    outbox.park(chat.conn, chat.take(), now=chat.now, reason="rejected", said="400")
    chat.put("resolve")
    assert chat.send_all() == ["brief db"]


def test_after_a_bound_of_waiting_it_is_given_up(chat: Box) -> None:
    chat.put("open", "db")
    chat.put("open", "cache")
    for _ in range(3):
        outbox.put_off(chat.conn, chat.take(), wait=100, reason="timeout", said="no answer", all_wait=True)
    assert outbox.give_up(chat.conn, "chat", now=chat.now, bound=301) == ()
    given_up = outbox.give_up(chat.conn, "chat", now=chat.now, bound=300)
    assert [row.incident for row in given_up] == ["db", "cache"], "whoever waited behind it has waited as long"
    assert chat.send_all() == []
    chat.put("resolve", "cache")
    assert chat.send_all() == ["brief cache"]


def test_several_opens_go_as_one_message(crowd: Box) -> None:
    for name in ("db", "cache", "store"):
        crowd.put("open", name, severity=Severity.WARNING if name == "db" else Severity.ERROR)
    message = crowd.take()
    assert message.incidents == ("db", "cache", "store")
    told = message.alert
    assert (told.kind, told.severity, told.incident) == (Kind.OPEN, Severity.ERROR, "")
    assert [member.incident for member in told.members] == ["db", "cache", "store"]
    outbox.settle(crowd.conn, message, now=crowd.now, said="ok", ref="of-all")
    crowd.put("resolve", "db")
    crowd.put("resolve", "cache")
    message = crowd.take()
    assert message.incidents == ("db", "cache")
    assert message.ref == "", "a message about several is nobody's to edit"


def test_groups_have_one_kind_and_a_limit(crowd: Box) -> None:
    for number in range(GROUP_MOST + 2):
        crowd.put("open", f"s{number}")
    crowd.put("update", "s0")
    sizes = [len(crowd.take().rows)]
    assert sizes == [GROUP_MOST]


@pytest.mark.parametrize("remembered", [{"group": False}, {"alone": {"db", "cache"}}], ids=["no group", "alone"])
def test_what_is_to_go_alone_goes_alone(crowd: Box, remembered: dict[str, Any]) -> None:
    crowd.put("open", "db")
    crowd.put("open", "cache")
    assert crowd.send(**remembered) == "open db"
    assert crowd.send(**remembered) == "open cache"


def test_a_message_that_is_to_be_edited_is_not_grouped(crowd: Box) -> None:
    for name in ("db", "cache"):
        crowd.put("open", name)
        crowd.send(ref=f"message-{name}")
    crowd.put("resolve", "db")
    crowd.put("resolve", "cache")
    message = crowd.take()
    assert (message.incidents, message.ref) == (("db",), "message-db")


def test_a_row_that_holds_no_alert_costs_itself_alone(crowd: Box) -> None:
    for name in ("db", "cache", "store"):
        crowd.put("open", name)
    crowd.conn.execute("UPDATE outbox SET alert = '{}' WHERE incident = 'cache'")
    claim = crowd.claim()
    assert [row.incident for row in claim.spoilt] == ["cache"]
    assert claim.message is not None
    assert claim.message.incidents == ("db", "store")
    assert crowd.fates("cache") == ["open parked"]


def test_a_row_of_a_newer_version_costs_itself_alone(crowd: Box) -> None:
    crowd.put("open", "db")
    crowd.put("open", "cache")
    crowd.conn.execute("UPDATE outbox SET kind = 'haiku' WHERE incident = 'db'")
    crowd.put("resolve", "db")
    assert crowd.send_all() == ["open cache", "resolve db"]


def test_a_transaction_that_is_run_again_elsewhere_leaves_the_same(
    empty_outbox: Callable[[], sqlite3.Connection], alert: Make
) -> None:
    def work(conn: sqlite3.Connection) -> None:
        box = Box(conn, alert)
        box.put("open")
        box.put("update")

    first, second = empty_outbox(), empty_outbox()
    for conn in (first, second, second):
        in_transaction(conn, work)
    rows = [outbox.told(conn, "db") for conn in (first, second)]
    assert rows[0] == rows[1]


def test_what_was_sent_while_the_file_hung_is_not_sent_again_when_it_is_back(
    empty_outbox: Callable[[], sqlite3.Connection], alert: Make
) -> None:
    """A file that hangs cannot be read: memory starts empty, and its rows are added to the file's on return."""
    file, memory = empty_outbox(), empty_outbox()
    before = Box(file, alert, PAGER)
    before.put("open", "db")
    before.put("open", "cache")
    message = before.take()  # "db" is under way
    after = Box(memory, alert, PAGER)
    after.now = before.now
    outbox.settle(memory, message, now=after.now, said="ok", ref="")
    after.put("resolve", "cache")
    assert after.send_all() == ["resolve cache"]
    for table in outbox.LIVE:
        assert carry(memory, file, table, keep_ours=False)
    before.now = after.now
    assert before.send_all() == []
    assert before.fates("db") == ["open sent"]
    assert before.fates("cache") == ["open overtaken", "resolve sent"]


def test_an_open_that_comes_back_late_still_comes_before_its_update(
    empty_outbox: Callable[[], sqlite3.Connection], alert: Make
) -> None:
    file, memory = empty_outbox(), empty_outbox()
    before = Box(file, alert)
    before.put("open")
    after = Box(memory, alert)
    after.now = before.now - 3600  # the clock went back while the file hung
    after.put("update")
    carry(memory, file, "outbox", keep_ours=False)
    assert before.send_all() == ["open db", "update db"]


def test_an_older_outages_resolve_that_comes_back_late_closes_nothing(
    empty_outbox: Callable[[], sqlite3.Connection], alert: Make
) -> None:
    file, memory = empty_outbox(), empty_outbox()
    before = Box(file, alert, PAGER)
    before.put("open", "db#1")
    before.send()
    before.put("resolve", "db#1")
    after = Box(memory, alert, PAGER)
    after.now = before.now
    after.put("open", "db#2")
    assert after.send_all() == ["open db#2"]
    carry(memory, file, "outbox", keep_ours=False)
    before.now = after.now
    assert before.send_all() == []
    before.put("resolve", "db#2")
    assert before.send_all() == ["resolve db#2"]


def test_backlog_counts_what_waits(pager: Box) -> None:
    assert outbox.backlog(pager.conn, now=NOON) == {}
    pager.put("open", "db")
    pager.send()
    assert outbox.backlog(pager.conn, now=pager.now) == {}
    pager.put("open", "cache")
    at = pager.now
    pager.put("open", "store")
    found = outbox.backlog(pager.conn, now=at + 5)["pager"]
    assert (found.pending, found.oldest_at) == (2, at)
    found = outbox.backlog(pager.conn, now=at - 3600)["pager"]
    assert found.oldest_at == at - 3600, "the clock went back: nothing waits since a time yet to come"


def test_an_outbox_that_held_messages_back_is_brought_up_to_date(alert: Make) -> None:
    """The first version kept for each message when it was due and for how long it was held back."""
    conn = connect(None)
    migrate(conn, [Schema(owner="outbox", steps=outbox.STEPS[:1], live=outbox.LIVE)])
    conn.execute(
        "INSERT INTO outbox (channel, incident, kind, at, dedup_key, sequence, fate, due, hold, attempts, waited,"
        " told_as, reason, said, ref, alert) VALUES ('chat', 'db', 'open', 1, 'test/db', 1, 'waiting', 61, 60, 1, 2,"
        " '', '', '', '', ?)",
        (to_json(alert("open", "db")),),
    )
    for _ in range(2):
        migrate(conn, [Schema(owner="outbox", steps=outbox.STEPS, live=outbox.LIVE)])
    chat = Box(conn, alert)
    (row,) = outbox.told(conn, "db")
    assert (row.attempts, row.waited, row.fate) == (1, 2.0, Fate.WAITING)
    chat.put("resolve")
    assert chat.send_all() == ["brief db"]
    conn.close()


def test_what_waits_for_a_channel_that_is_gone_is_dropped_after_a_day(chat: Box) -> None:
    chat.put("open", "db")
    assert outbox.drop_strays(chat.conn, ["chat"], now=chat.now + 2 * outbox.DAY) == {}
    assert outbox.drop_strays(chat.conn, ["slack"], now=chat.now + 3600) == {"chat": (1, 0)}
    assert chat.fates() == ["open waiting"]
    assert outbox.drop_strays(chat.conn, ["slack"], now=chat.now + outbox.DAY + 1) == {"chat": (0, 1)}
    assert chat.fates() == ["open dropped"]


def test_what_was_told_is_kept_while_it_is_open_and_for_a_week_after(chat: Box) -> None:
    chat.put("open", "db")
    chat.put("open", "cache")
    chat.put("notice", "n")
    chat.send_all()
    chat.now += 10 * outbox.DAY
    chat.put("resolve", "db")
    chat.send_all()
    outbox.prune(chat.conn, now=chat.now + 1)
    assert [len(outbox.told(chat.conn, name)) for name in ("db", "cache", "n")] == [2, 1, 0]
    chat.put("reminder", "cache")
    outbox.prune(chat.conn, now=chat.now + 7 * outbox.DAY + 2)
    assert [len(outbox.told(chat.conn, name)) for name in ("db", "cache")] == [0, 2]
    outbox.prune(chat.conn, now=chat.now + 900 * outbox.DAY)
    assert len(outbox.told(chat.conn, "cache")) == 2, "what waits is never pruned"
    chat.send_all()
    outbox.prune(chat.conn, now=chat.now + 91 * outbox.DAY)
    assert outbox.told(chat.conn, "cache") == ()


def test_a_rest_that_was_asked_for_outlives_a_restart_and_a_success_ends_it(chat: Box) -> None:
    rests.begin(chat.conn, "chat", now=NOON, seconds=600)
    assert rests.left(chat.conn, "chat", now=NOON + 100) == (500, False)
    assert rests.left(chat.conn, "chat", now=NOON - 7200) == (0, False), "the clock went back: do not wait for hours"
    assert rests.left(chat.conn, "chat", now=NOON + 601) == (0, False)
    chat.put("open")
    chat.send()
    assert rests.left(chat.conn, "chat", now=NOON + 100) == (0, False)


def test_a_refusal_is_news_once_a_day(chat: Box) -> None:
    news = [rests.refuse(chat.conn, "chat", now=NOON + hours * 3600) for hours in (0, 1, 23, 24.5, 26)]
    assert news == [True, False, False, True, False]
    assert rests.left(chat.conn, "chat", now=NOON) == (0, True)
