"""Every channel against a provider on loopback: what it takes for success, what it makes of each way to fail."""

import asyncio
import ssl
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from alerts.alert import Alert, Kind, Severity
from alerts.channels.apprise import Apprise
from alerts.channels.base import Channel, DeliveryError, Reason, Receipt
from alerts.channels.discord import Discord
from alerts.channels.pagerduty import PagerDuty
from alerts.channels.slack import Slack
from alerts.channels.table import open_channels
from alerts.channels.webhook import SIGNATURE_HEADER, TIMESTAMP_HEADER, Webhook, signature
from config.alert_settings import AlertSettings
from config.logs import CHATTY
from config.secret import Secret
from demo.contracts.base import Answer, as_json, as_text
from demo.provider import DISCORD_TOKEN, HOOK_TOKEN, ROUTING_KEY, SLACK_TOKEN, Provider
from demo.provider_faults import ELSEWHERE
from demo.situations import SITUATIONS

# On Python 3.11 and 3.12 Apprise imports a module that is deprecated there.
pytestmark = pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")

TLS = ssl.create_default_context()  # 20 ms to make
OPEN, RESOLVE = SITUATIONS["open_down"], SITUATIONS["resolve"]
CANARIES = (
    SLACK_TOKEN,
    DISCORD_TOKEN,
    HOOK_TOKEN,
    ROUTING_KEY,
    "canary-in-redirect",
    "hushhush",
    "/services/",
    "/api/",
)
MAKES: dict[str, Callable[[Provider], Channel]] = {
    "slack": lambda provider: Slack(Secret(provider.slack_url)),
    "discord": lambda provider: Discord(Secret(provider.discord_url)),
    "pagerduty": lambda provider: PagerDuty(Secret(ROUTING_KEY), provider.pagerduty_url),
    "webhook": lambda provider: Webhook(Secret(provider.webhook_url), Secret("hushhush")),
}


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


def send(channel: Channel, *alerts: Alert, ref: str = "", within: float = 5.0) -> Receipt:
    """Sends each alert; gives the receipt of the last."""

    async def run() -> Receipt:
        receipt = Receipt(said="")
        async with httpx.AsyncClient(trust_env=False, timeout=within, verify=TLS) as client:
            for alert in alerts:
                receipt = await channel.send(alert, client, ref=ref)
        return receipt

    return asyncio.run(run())


def refused(channel: Channel, alert: Alert = OPEN, *, ref: str = "", within: float = 5.0) -> DeliveryError:
    """The error that sending `alert` ends in; nothing of it gives a secret away."""
    with pytest.raises(DeliveryError) as caught:
        send(channel, alert, ref=ref, within=within)
    error: BaseException | None = caught.value
    while error is not None:  # what a traceback would print
        assert not [canary for canary in CANARIES if canary in str(error)]
        assert not error.__cause__
        error = error.__context__
    return caught.value


def texts(provider: Provider) -> list[str]:
    """The content of Discord's messages, oldest first."""
    return [message["content"] for message in provider.memory.discord.values()]


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """How a failure must be understood."""

    reason: Reason
    permanent: bool = False
    wait: tuple[float, float] | None = None


TRANSIENT = Meeting(reason=Reason.SERVER_ERROR)
FAILURES = {
    "rate_limited": Meeting(reason=Reason.RATE_LIMITED, wait=(2, 2)),
    "retry_after": Meeting(reason=Reason.RATE_LIMITED, wait=(2, 2)),
    "retry_after_date": Meeting(reason=Reason.RATE_LIMITED, wait=(1, 3)),
    "json_retry_after": Meeting(reason=Reason.RATE_LIMITED, wait=(2, 2)),
    "limited_bare": Meeting(reason=Reason.RATE_LIMITED),
    "server_error": TRANSIENT,
    "unavailable": Meeting(reason=Reason.SERVER_ERROR, wait=(2, 2)),
    "not_found": Meeting(reason=Reason.REFUSED, permanent=True),
    "forbidden": Meeting(reason=Reason.REFUSED, permanent=True),
    "rejected": Meeting(reason=Reason.REJECTED, permanent=True),
    "redirect": Meeting(reason=Reason.BAD_ANSWER),
    "moved": Meeting(reason=Reason.REFUSED, permanent=True),
    "reset": Meeting(reason=Reason.UNREACHABLE),
    "reset_taken": Meeting(reason=Reason.UNREACHABLE),
    "close": Meeting(reason=Reason.UNREACHABLE),
    "garbage": Meeting(reason=Reason.BAD_ANSWER),
    "hang": Meeting(reason=Reason.TIMEOUT),
}


@pytest.mark.parametrize("kind", MAKES)
@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_is_known_for_what_it_is(kind: str, name: str, provider: Provider) -> None:
    provider.behave(name)
    error = refused(MAKES[kind](provider), within=0.4 if name == "hang" else 5.0)
    expected = FAILURES[name]
    assert (error.reason, error.permanent) == (expected.reason, expected.permanent), str(error)
    if expected.wait is None:
        assert error.retry_after is None
    else:
        assert error.retry_after is not None
        assert expected.wait[0] <= error.retry_after <= expected.wait[1]


@pytest.mark.parametrize("kind", ["slack", "discord", "pagerduty"])
@pytest.mark.parametrize("name", ["wrong_body", "empty", "huge"])
def test_200_alone_proves_nothing(kind: str, name: str, provider: Provider) -> None:
    provider.behave(name)
    error = refused(MAKES[kind](provider))
    assert (error.reason, error.permanent) == (Reason.BAD_ANSWER, False)
    assert len(str(error)) < 400


@pytest.mark.parametrize("kind", MAKES)
def test_of_an_endless_answer_the_beginning_is_read(kind: str, provider: Provider) -> None:
    channel = MAKES[kind](provider)
    send(channel, OPEN)  # whatever is loaded at the first use
    provider.behave("huge")
    tracemalloc.start()
    try:
        if kind == "webhook":
            send(channel, OPEN)
        else:
            refused(channel)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20  # of 64 MiB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", MAKES)
def test_a_port_nobody_listens_on_is_unreachable(kind: str, provider: Provider) -> None:
    provider.refuse()
    error = refused(MAKES[kind](provider))
    assert (error.reason, error.permanent) == (Reason.UNREACHABLE, False)
    assert "refused" in str(error)


@pytest.mark.parametrize(
    "address",
    [
        "http://no-such-name.invalid/services/T0/B0/canarySlackToken4f1d9b7e",
        f"http://{'x' * 70}.test/services/T0/B0/{SLACK_TOKEN}",
    ],
)
def test_a_name_that_cannot_be_looked_up_is_unreachable(address: str) -> None:
    assert refused(Slack(Secret(address))).reason == Reason.UNREACHABLE


def test_tls_asked_of_a_port_without_it_is_told_as_that(provider: Provider) -> None:
    error = refused(Slack(Secret(provider.slack_url.replace("http://", "https://"))))
    assert (error.reason, error.permanent) == (Reason.UNREACHABLE, False)
    assert "TLS" in str(error)


@pytest.mark.parametrize("kind", MAKES)
@pytest.mark.parametrize("status", [200, 400, 403, 429, 500])
def test_a_provider_that_quotes_what_is_secret_gives_nothing_away(kind: str, status: int, provider: Provider) -> None:
    whole = {
        "slack": provider.slack_url,
        "discord": provider.discord_url,
        "pagerduty": ROUTING_KEY,
        "webhook": f"{provider.webhook_url} signed with hushhush",
    }[kind]
    said = f"go away\n{whole} or {whole.partition('//')[2].partition('/')[2] or whole} or {whole.rpartition('/')[2]}"
    provider.answer(as_json({"message": said, "code": 1, "errors": [said]}, status))
    if (kind, status) != ("webhook", 200):
        error = refused(MAKES[kind](provider))
        assert "go away" in str(error)
        assert "\n" not in str(error)


def test_a_redirect_is_told_by_its_host_alone(provider: Provider) -> None:
    provider.behave("redirect")
    error = refused(MAKES["webhook"](provider))
    assert "login.example.test" in str(error)
    assert ELSEWHERE.partition("test/")[2] not in str(error)
    provider.answer(Answer(status=302, headers={"location": "https://[broken"}))
    assert refused(MAKES["webhook"](provider)).reason == Reason.BAD_ANSWER
    assert len(provider.received) == 2  # it was not followed


@pytest.mark.parametrize(
    ("answer", "wait"),
    [
        (Answer(status=429, headers={"retry-after": "1.5"}), 1.5),
        (Answer(status=429, headers={"retry-after": "999999999"}), 86_400),
        (Answer(status=429, headers={"retry-after": "-3"}), None),
        (Answer(status=429, headers={"retry-after": "soon"}), None),
        (Answer(status=429, headers={"retry-after": "nan"}), None),
        (Answer(status=429, headers={"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}), 0),
        # Measured by the provider's clock, which is a day behind ours.
        (
            Answer(
                status=429,
                headers={"retry-after": "Sat, 21 Nov 2026 03:12:30 GMT", "date": "Sat, 21 Nov 2026 03:12:00 GMT"},
            ),
            30,
        ),
        (as_json({"retry_after": 0.65}, 429, retry_after="1"), 1),
        (as_json({"retry_after": 64.57, "global": True}, 429, retry_after="1"), 64.57),
        (as_json({"retry_after": True}, 429), None),
    ],
)
def test_how_long_to_wait(answer: Answer, wait: float | None, provider: Provider) -> None:
    provider.answer(answer)
    assert refused(MAKES["discord"](provider)).retry_after == wait


@pytest.mark.parametrize("word", ["invalid_token", "no_service", "channel_is_archived", "no_team"])
@pytest.mark.parametrize("status", [200, 400, 403, 404, 410])
def test_slacks_words_for_a_dead_webhook_are_final_whatever_the_status(
    word: str, status: int, provider: Provider
) -> None:
    provider.answer(as_text(word, status))
    error = refused(MAKES["slack"](provider))
    assert (error.reason, error.permanent) == (Reason.REFUSED, True)
    assert word in str(error)
    assert len(provider.received) == 1


@pytest.mark.parametrize(("body", "taken"), [("ok\n", True), ('{"success":true}', True), ('{"success":false}', False)])
def test_receivers_of_slacks_form_may_say_it_in_their_way(body: str, taken: bool, provider: Provider) -> None:
    provider.answer(as_text(body))
    if taken:
        assert send(MAKES["slack"](provider), OPEN).said
    else:
        assert refused(MAKES["slack"](provider)).reason == Reason.BAD_ANSWER


@pytest.mark.parametrize("kind", ["slack", "discord"])
def test_a_form_that_is_refused_is_told_as_plain_text(kind: str, provider: Provider) -> None:
    provider.script("rejected", "ok")
    receipt = send(MAKES[kind](provider), OPEN)
    first, second = provider.received
    assert (len(first.body) > len(second.body), set(second.json) & {"attachments", "embeds"}) == (True, set())
    assert "PostgreSQL: down since 03:12 UTC" in next(iter(second.json.values()))
    assert "plain text" in receipt.said


@pytest.mark.parametrize("kind", MAKES)
@pytest.mark.parametrize("name", SITUATIONS)
def test_every_situation_is_taken(kind: str, name: str, provider: Provider) -> None:
    channel = MAKES[kind](provider)
    assert send(channel, SITUATIONS[name]).said
    assert {one.answer for one in provider.received} == {"ok"}
    assert "plain text" not in send(channel, SITUATIONS[name]).said
    assert provider.memory.pings == []


def test_on_ipv6_all_is_the_same() -> None:
    with Provider(host="::1") as provider:
        for make in MAKES.values():
            assert send(make(provider), OPEN).said


def test_discord_keeps_the_first_message_up_to_date_and_posts_a_line_at_the_end(provider: Provider) -> None:
    discord = MAKES["discord"](provider)
    first = send(discord, OPEN).ref
    assert send(discord, replace(SITUATIONS["spread"], severity=Severity.WARNING), ref=first).ref == first
    assert len(provider.memory.discord) == 1
    assert "R2R is in trouble too" in texts(provider)[0]
    assert send(discord, replace(RESOLVE, severity=Severity.WARNING), ref=first).ref == first
    assert texts(provider)[0].startswith("🟢 **PostgreSQL: up again after 4 min 12 s**")
    assert [text[:1] for text in texts(provider)] == ["🟢", "🟢"]
    assert provider.memory.edits == {first: 2}


def test_discord_posts_a_line_for_an_update_that_people_must_notice(provider: Provider) -> None:
    discord = MAKES["discord"](provider)
    first = send(discord, SITUATIONS["open_degraded"]).ref
    assert send(discord, SITUATIONS["worse"], ref=first).ref == first
    assert [text[:1] for text in texts(provider)] == ["🔴", "🔴"]


@pytest.mark.parametrize("kind", [Kind.UPDATE, Kind.RESOLVE])
def test_discord_posts_anew_what_it_cannot_edit(kind: Kind, provider: Provider) -> None:
    receipt = send(MAKES["discord"](provider), replace(RESOLVE, kind=kind), ref="42")
    assert [one.method for one in provider.received] == ["PATCH", "POST"]
    assert receipt.ref in provider.memory.discord
    assert receipt.ref != "42"
    assert len(provider.memory.discord) == 1


def test_discord_edits_first_so_that_a_second_try_repeats_no_line(provider: Provider) -> None:
    discord = MAKES["discord"](provider)
    first = send(discord, OPEN).ref
    provider.script("ok", "server_error", only="discord")
    assert refused(discord, RESOLVE, ref=first).reason == Reason.SERVER_ERROR
    send(discord, RESOLVE, ref=first)
    assert len(provider.memory.discord) == 2


def test_discord_says_when_the_webhook_is_gone_while_it_edits(provider: Provider) -> None:
    discord = MAKES["discord"](provider)
    first = send(discord, OPEN).ref
    provider.behave("not_found")
    error = refused(discord, RESOLVE, ref=first)
    assert (error.reason, error.permanent) == (Reason.REFUSED, True)
    assert "Unknown Webhook (code 10015)" in str(error)
    assert len(provider.received) == 2  # who goes on after a 404 is banned


def test_discord_never_takes_a_reminder_or_a_group_for_the_first_message(provider: Provider) -> None:
    discord = MAKES["discord"](provider)
    first = send(discord, OPEN).ref
    assert send(discord, SITUATIONS["reminder"], ref=first).ref == first
    assert send(discord, SITUATIONS["group_of_3"]).ref == ""
    assert provider.memory.edits == {}


def test_discord_takes_no_reference_for_more_than_a_number(provider: Provider) -> None:
    send(MAKES["discord"](provider), RESOLVE, ref="../../42")
    assert [one.method for one in provider.received] == ["POST"]


def test_pagerduty_opens_one_incident_however_often_it_is_told(provider: Provider) -> None:
    pagerduty = MAKES["pagerduty"](provider)
    send(pagerduty, OPEN, SITUATIONS["spread"], SITUATIONS["reminder"], OPEN)
    assert provider.memory.opened == {OPEN.dedup_key: 1}
    send(pagerduty, RESOLVE, RESOLVE)
    assert (provider.memory.incidents, provider.memory.resolved) == ({}, {OPEN.dedup_key: 1})


def test_a_test_at_pagerduty_leaves_nothing_open(provider: Provider) -> None:
    send(MAKES["pagerduty"](provider), SITUATIONS["notice_test"])
    assert provider.memory.incidents == {}
    assert [event["payload"]["severity"] for event in provider.memory.events if "payload" in event] == ["info"]


@pytest.mark.parametrize("status", [200, 201, 204])
def test_pagerduty_takes_202_alone_for_success(status: int, provider: Provider) -> None:
    provider.answer(as_json({"status": "success"}, status))
    assert refused(MAKES["pagerduty"](provider)).reason == Reason.BAD_ANSWER


def test_what_pagerduty_finds_wrong_is_told(provider: Provider) -> None:
    error = refused(PagerDuty(Secret("short"), provider.pagerduty_url))
    assert (error.reason, error.permanent) == (Reason.REJECTED, True)
    assert "Event object is invalid; 'routing_key' must be 32 characters" in str(error)


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_the_webhook_takes_any_2xx(status: int, provider: Provider) -> None:
    provider.answer(Answer(status=status))
    assert str(status) in send(MAKES["webhook"](provider), OPEN).said


def test_the_webhook_signs_what_it_sends_and_repeats_its_key(provider: Provider) -> None:
    webhook = MAKES["webhook"](provider)
    send(webhook, OPEN, OPEN)
    one, other = provider.received
    timestamp = int(one.headers[TIMESTAMP_HEADER.lower()])
    assert abs(timestamp - time.time()) < 10
    assert one.headers[SIGNATURE_HEADER.lower()] == signature(one.body, Secret("hushhush"), timestamp)
    assert one.headers["idempotency-key"] == other.headers["idempotency-key"]
    assert one.headers["content-type"].startswith("application/json")
    send(Webhook(Secret(provider.webhook_url)), OPEN)
    assert SIGNATURE_HEADER.lower() not in provider.received[-1].headers


def test_the_table_opens_what_is_set_up(provider: Provider) -> None:
    full = AlertSettings(
        slack=Secret(provider.slack_url),
        discord=Secret(provider.discord_url),
        pagerduty_key=Secret(ROUTING_KEY),
        pagerduty_url=provider.pagerduty_url,
        webhook=Secret(provider.webhook_url),
        apprise=(Secret("json://a"), Secret("json://b")),
    )
    channels = open_channels(full)
    assert [(one.name, one.pages, one.groups, one.keyed) for one in channels] == [
        ("slack", False, True, False),
        ("discord", False, True, False),
        ("pagerduty", True, False, True),
        ("webhook", False, False, False),
        ("apprise", False, True, False),
        ("apprise-2", False, True, False),
    ]
    assert open_channels(AlertSettings()) == ()


def test_nothing_secret_is_in_a_log_however_much_is_logged(
    provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(1)
    url = provider.url.replace("http://", "json://u:canaryhook7d20@") + f"/{HOOK_TOKEN}"
    send(Apprise(Secret(url)), OPEN)
    provider.behave("server_error")
    refused(Apprise(Secret(url)))
    refused(Apprise(Secret(f"discord://{SLACK_TOKEN}")))
    for make in MAKES.values():
        refused(make(provider))
    ours = [record for record in caplog.records if record.name.partition(".")[0] not in CHATTY]  # which are quieted
    assert not [record for record in ours if any(canary in record.getMessage() for canary in CANARIES)]


def test_apprise_delivers_plain_text(provider: Provider) -> None:
    receipt = send(Apprise(Secret(provider.url.replace("http", "json") + "/apprise")), OPEN, RESOLVE)
    assert receipt.said == "Apprise delivered it by json"
    assert [(one["title"], one["type"]) for one in provider.memory.hooks] == [
        ("🔴 PostgreSQL: down since 03:12 UTC", "failure"),
        ("🟢 PostgreSQL: up again after 4 min 12 s", "success"),
    ]
    assert "nothing listens on that port" in provider.memory.hooks[0]["message"]


def test_apprise_says_no_and_no_more(provider: Provider) -> None:
    provider.behave("server_error")
    error = refused(Apprise(Secret(provider.url.replace("http", "json") + f"/{HOOK_TOKEN}")))
    assert (error.reason, error.permanent) == (Reason.BAD_ANSWER, False)


def test_apprise_knows_what_it_does_not_know() -> None:
    error = refused(Apprise(Secret(f"nosuch://{SLACK_TOKEN}")))
    assert (error.reason, error.permanent) == (Reason.REFUSED, True)


@pytest.mark.parametrize("raises", [RuntimeError(SLACK_TOKEN), ValueError("x"), KeyError(HOOK_TOKEN)])
def test_a_plug_in_that_raises_is_a_failed_delivery(raises: Exception) -> None:
    def notify(*_: Any) -> bool:
        raise raises

    assert refused(Apprise(Secret("json://a"), notify=notify)).reason == Reason.BAD_ANSWER


def test_an_apprise_call_that_hangs_holds_up_nobody_and_not_endlessly_many() -> None:
    release = threading.Event()

    def hang(*_: Any) -> bool:
        return release.wait(20)

    async def run() -> str:
        channel = Apprise(Secret("json://a"), notify=hang)
        async with httpx.AsyncClient(trust_env=False, verify=TLS) as client:
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(channel.send(OPEN, client), 0.05)
            with pytest.raises(DeliveryError) as busy:
                await channel.send(OPEN, client)
            assert busy.value.reason == Reason.TIMEOUT
            release.set()
            await asyncio.sleep(0.1)
            return (await channel.send(OPEN, client)).said

    began = time.monotonic()
    assert asyncio.run(run())
    assert time.monotonic() - began < 5


def test_a_cancelled_send_ends_at_once(provider: Provider) -> None:
    provider.behave("slow_drip", seconds=0.1)

    async def run() -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=30, verify=TLS) as client:
            for make in MAKES.values():
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(make(provider).send(OPEN, client), 0.2)

    began = time.monotonic()
    asyncio.run(run())
    assert time.monotonic() - began < 3
