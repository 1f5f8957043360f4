"""The providers of the demo answer as the real ones do, and misbehave when told to."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

import httpx
import pytest

from demo.provider import ROUTING_KEY, Provider


@pytest.fixture
def provider() -> Iterator[Provider]:
    with Provider() as provider:
        yield provider


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=5, trust_env=False) as client:
        yield client


def event(action: str, **changes: object) -> dict[str, object]:
    payload = {"summary": "PostgreSQL is down", "source": "test", "severity": "critical"}
    return {"routing_key": ROUTING_KEY, "event_action": action, "dedup_key": "a/b", "payload": payload, **changes}


def test_slack_says_ok_and_refuses_what_is_too_long(provider: Provider, client: httpx.Client) -> None:
    assert client.post(provider.slack_url, json={"text": "x"}).text == "ok"
    block = {"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3_001}}
    wrong = client.post(provider.slack_url, json={"text": "x", "attachments": [{"blocks": [block]}]})
    assert (wrong.status_code, wrong.text) == (400, "invalid_blocks")
    assert client.post(provider.slack_url, content=b"{").text == "invalid_payload"
    assert client.post(provider.slack_url, json={"text": "<!channel> x"}).text == "ok"
    assert provider.memory.pings == ["<!channel> x"]


def test_discord_gives_the_message_only_when_waited_for(provider: Provider, client: httpx.Client) -> None:
    assert client.post(provider.discord_url, json={"content": "x"}).status_code == 204
    sent = client.post(f"{provider.discord_url}?wait=true", json={"content": "x"})
    number = sent.json()["id"]
    edited = client.patch(f"{provider.discord_url}/messages/{number}", json={"content": "y"})
    assert (edited.status_code, provider.memory.discord[number]["content"]) == (200, "y")
    unknown = client.patch(f"{provider.discord_url}/messages/42", json={"content": "y"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, 10008)
    long = client.post(f"{provider.discord_url}?wait=true", json={"embeds": [{"description": "x" * 4_097}]})
    assert (long.status_code, long.json()["code"]) == (400, 50035)
    two = client.post(provider.discord_url, json={"embeds": [{"description": "x" * 3_500}] * 2})
    assert two.json()["code"] == 50035
    assert client.post(provider.discord_url, json={"text": "as Slack has it"}).json()["code"] == 50006


def test_pagerduty_keeps_one_incident_for_each_key(provider: Provider, client: httpx.Client) -> None:
    for _ in range(2):
        accepted = client.post(provider.pagerduty_url, json=event("trigger"))
        assert (accepted.status_code, accepted.json()["dedup_key"]) == (202, "a/b")
    assert provider.memory.opened == {"a/b": 1}
    client.post(provider.pagerduty_url, json=event("resolve"))
    client.post(provider.pagerduty_url, json=event("resolve"))
    assert (provider.memory.incidents, provider.memory.resolved) == ({}, {"a/b": 1})


@pytest.mark.parametrize(
    "changes",
    [
        {"routing_key": "short"},
        {"event_action": "open"},
        {"dedup_key": "x" * 256},
        {"payload": {"summary": "x", "source": "y"}},
        {"payload": {"summary": "x" * 1_025, "source": "y", "severity": "info"}},
    ],
)
def test_pagerduty_refuses_what_is_no_event(
    changes: dict[str, object], provider: Provider, client: httpx.Client
) -> None:
    assert client.post(provider.pagerduty_url, json=event("trigger", **changes)).status_code == 400
    assert provider.memory.incidents == {}


def test_a_limit_is_told_as_each_provider_tells_it(provider: Provider, client: httpx.Client) -> None:
    provider.behave("rate_limited", seconds=3)
    slack, discord = client.post(provider.slack_url, json={}), client.post(provider.discord_url, json={})
    assert (slack.json(), slack.headers["retry-after"]) == (
        {"retry_after": 3, "ok": False, "error": "rate_limited"},
        "3",
    )
    assert (discord.json()["retry_after"], discord.headers["x-ratelimit-scope"]) == (3, "user")
    provider.behave("retry_after_date", seconds=30)
    wait = parsedate_to_datetime(client.post(provider.slack_url, json={}).headers["retry-after"]).timestamp()
    assert 29 <= wait - time.time() <= 32


def test_a_script_comes_before_the_standing_behaviour_and_places_are_apart(
    provider: Provider, client: httpx.Client
) -> None:
    provider.behave("not_found", only="slack")
    provider.script("server_error", "ok", only="slack")
    codes = [client.post(provider.slack_url, json={"text": "x"}).status_code for _ in range(3)]
    assert codes == [500, 200, 404]
    assert client.post(provider.webhook_url, json=[]).status_code == 204
    assert [one.answer for one in provider.wait(3, place="slack")] == ["server_error", "ok", "not_found"]


@pytest.mark.parametrize(("name", "taken"), [("reset", False), ("reset_taken", True), ("close", False)])
def test_a_reset_may_come_before_or_after_the_message_was_taken(
    name: str, taken: bool, provider: Provider, client: httpx.Client
) -> None:
    provider.behave(name)
    with pytest.raises(httpx.TransportError):
        client.post(provider.slack_url, json={"text": "x"})
    assert bool(provider.memory.slack) is taken


def test_one_that_hangs_reads_and_says_nothing(provider: Provider, client: httpx.Client) -> None:
    provider.behave("hang", only="slack")
    with pytest.raises(httpx.ReadTimeout):
        client.post(provider.slack_url, json={"text": "x"}, timeout=0.3)
    assert (len(provider.received), provider.memory.slack) == (1, [])


def test_as_a_process_it_is_told_over_http(client: httpx.Client) -> None:
    with subprocess.Popen([sys.executable, "-m", "demo.provider", "--host", "::1"], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            said = json.loads(process.stdout.readline())
            assert client.post(f"{said['ready']}/-/behave", json={"name": "server_error"}).json() == {"done": True}
            assert client.post(said["environ"]["SLACK_WEBHOOK_URL"], json={}).status_code == 500
            assert [one["place"] for one in client.get(f"{said['ready']}/-/received").json()] == ["slack"]
            assert client.post(f"{said['ready']}/-/behave", json={"name": "no such"}).status_code == 400
        finally:
            process.terminate()
