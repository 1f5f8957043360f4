"""What each provider is sent: golden payloads, and properties that hold for any alert.

The golden files are written anew by `python docs/messages.py --goldens`; read the difference as somebody who was woken.
The limits are those of demo/providers.py, which refuses what the real ones refuse.
"""

import hashlib
import hmac
import json
import re
import runpy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.alert import Affected, Alert, Change, Kind, Severity
from alerts.channels import apprise, discord, pagerduty, slack, webhook
from alerts.channels.exchange import encode
from alerts.texts import units
from config.secret import Secret
from demo import providers
from demo.contracts.base import Answer, Request, World
from demo.contracts.needs import Needs
from demo.situations import HOSTILE_TEXT, SITUATIONS

ROOT = Path(__file__).parents[3]
GOLDENS = ROOT / "tests" / "data" / "alerts"
KEY = Secret("0" * 32)
golden: Callable[[Alert], dict[str, Any]] = runpy.run_path(str(ROOT / "docs" / "messages.py"))["golden"]

nasty = st.text(max_size=40) | st.sampled_from(
    [
        "<!channel>",
        "@everyone",
        "<@U12345>",
        "<@&42>",
        "@here",
        "```",
        "*b*",
        "&amp;",
        "\ud800",
        "\U0001f469\u200d\U0001f692",
        "",
    ]
)
texts = st.lists(nasty, max_size=6).map(" ".join) | st.builds(lambda one, many: one * many, nasty, st.integers(0, 120))
times = st.floats(-1e10, 1e11) | st.sampled_from([0.0, 1_795_230_720.0])
plain_alerts = st.builds(
    Alert,
    kind=st.sampled_from(Kind),
    severity=st.sampled_from(Severity),
    incident=texts,
    dedup_key=texts,
    instance=texts,
    service=texts | st.sampled_from(["(blind)", "backups"]),
    title=texts,
    state=st.sampled_from(["down", "degraded", "blind", "flapping", "up", "gone", "paused", ""]) | texts,
    since=times,
    at=times,
    ended=st.none() | times,
    cause=texts,
    sentence=texts,
    evidence=texts,
    takes_down=st.lists(
        st.builds(
            Affected, service=texts, title=texts, state=st.sampled_from(["down", "degraded", "expected"]) | texts
        ),
        max_size=20,
    ).map(tuple),
    changes=st.lists(st.builds(Change, text=texts, at=times), max_size=8).map(tuple),
    remedy=texts,
    command=texts,
    runbook=texts | texts.map(lambda path: f"https://wiki.example/{path}"),
    status_url=texts | texts.map(lambda path: f"https://status.example/{path}"),
    note=texts,
    failed_checks=st.integers(0, 10**9),
    changes_of_state=st.integers(0, 10**6),
)
alerts = plain_alerts | st.builds(
    lambda outer, members: replace(outer, members=tuple(members)),
    plain_alerts,
    st.lists(plain_alerts, min_size=1, max_size=4),
)


def answered(
    provider: Callable[[Request, providers.Memory], Answer], document: object, **query: str
) -> tuple[Answer, providers.Memory]:
    """What a provider of the demo says to `document`, and what it remembers."""
    memory = providers.Memory()
    body = encode(document) if isinstance(document, dict) else b""
    request = Request(
        method="POST",
        path="/api/webhooks/1/token" if provider is providers.discord else "/",
        query=query,
        headers={},
        body=body,
        world=World(Needs()),
    )
    return provider(request, memory), memory


@pytest.mark.parametrize("name", SITUATIONS)
def test_a_payload_is_what_it_was(name: str) -> None:
    kept = json.loads((GOLDENS / f"{name}.json").read_text(encoding="utf-8"))
    made = json.loads(json.dumps(golden(SITUATIONS[name])))
    assert set(made) == set(kept)
    for provider, payload in made.items():
        assert payload == kept[provider], f"{provider}: read it, then: python docs/messages.py --goldens"


def test_no_golden_file_is_left_over() -> None:
    assert {file.stem for file in GOLDENS.glob("*.json")} == set(SITUATIONS)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(alerts)
def test_any_alert_is_taken_everywhere_and_calls_nobody(alert: Alert) -> None:
    # One test for all: what takes its time is the making of alerts.
    check_slack(alert)
    check_discord(alert)
    check_pagerduty(alert)
    check_webhook(alert)
    check_apprise(alert)


def check_slack(alert: Alert) -> None:
    for document in (slack.message(alert), slack.plain_message(alert)):
        answer, memory = answered(providers.slack, document)
        assert (answer.status, answer.body) == (200, b"ok")
        assert memory.pings == []
        assert not re.search("@(everyone|here|channel)", json.dumps(document), re.IGNORECASE)


def check_discord(alert: Alert) -> None:
    line = {"content": discord.content(alert), **discord.PLAINLY}
    for document in (discord.message(alert), discord.plain_message(alert), line):
        answer, memory = answered(providers.discord, document, wait="true")
        assert answer.status == 200, answer.body
        assert memory.pings == []
        assert not providers.DISCORD_PINGS.search(json.dumps(document["content"], ensure_ascii=False))
        assert document["allowed_mentions"] == {"parse": []}


def check_pagerduty(alert: Alert) -> None:
    for event in pagerduty.events(alert, KEY):
        answer, _ = answered(providers.pagerduty, event)
        assert answer.status == 202, answer.body


def check_webhook(alert: Alert) -> None:
    document = webhook.document(alert)
    assert json.loads(encode(document)) == document


def check_apprise(alert: Alert) -> None:
    title, body, kind = apprise.words(alert)
    assert (units(title) <= 200, units(body) <= 3_000) == (True, True)
    assert kind in ("failure", "warning", "success", "info")
    assert not providers.DISCORD_PINGS.search(title + body)
    assert not providers.SLACK_PINGS.search(title + body)


def test_a_storm_of_long_texts_fits() -> None:
    hostile = SITUATIONS["hostile"]
    storm = replace(SITUATIONS["group_of_30"], members=(replace(hostile, title="T" * 300, note=HOSTILE_TEXT * 9),) * 30)
    storm = replace(storm, status_url="https://status.example.com/" + "x" * 970, instance="y" * 200)
    assert answered(providers.slack, slack.message(storm))[0].body == b"ok"
    assert storm.status_url in discord.message(storm)["embeds"][-1]["description"]
    assert answered(providers.discord, discord.message(storm), wait="true")[0].status == 200


def test_in_chat_the_lines_above_are_what_a_lock_screen_needs() -> None:
    above = slack.message(SITUATIONS["open_down"])["text"]
    assert above.startswith(
        "🔴 *PostgreSQL: down since 03:12 UTC*\nPostgreSQL at postgres.railway.internal:5432 refuses"
    )
    assert discord.content(SITUATIONS["open_down"]) == above.replace("*", "**")


def test_discord_is_given_no_address_to_preview() -> None:
    alert = replace(SITUATIONS["open_down"], sentence="LiteLLM at https://litellm.example.com answers 502.")
    assert "https://" not in discord.content(alert)
    assert "litellm.example.com" in discord.content(alert)


@pytest.mark.parametrize("kind", Kind)
def test_which_event_an_alert_is(kind: Kind) -> None:
    actions = [one["event_action"] for one in pagerduty.events(replace(SITUATIONS["open_down"], kind=kind), KEY)]
    expected = {Kind.RESOLVE: ["resolve"], Kind.BRIEF: ["resolve"], Kind.NOTICE: ["trigger", "resolve"]}
    assert actions == expected.get(kind, ["trigger"])


def test_pagerduty_gets_client_and_links_in_the_body() -> None:
    (event,) = pagerduty.events(SITUATIONS["open_down"], KEY)
    assert event["client"] == "Watchkeeper"
    assert event["client_url"] == SITUATIONS["open_down"].status_url
    assert [link["text"] for link in event["links"]] == ["Runbook", "Status page"]


@pytest.mark.parametrize("key", ["production/postgres", "x" * 255, "ü" * 127])
def test_a_key_that_fits_is_sent_as_it_is(key: str) -> None:
    assert pagerduty.dedup_key(key) == key


@settings(derandomize=True, deadline=None)
@given(st.text(max_size=600), st.text(max_size=600))
def test_any_other_key_is_cut_to_one_of_its_own(one: str, other: str) -> None:
    assert 0 < len(pagerduty.dedup_key(one).encode()) <= 255
    assert (pagerduty.dedup_key(one) == pagerduty.dedup_key(other)) == (one == other)


def test_long_keys_with_one_beginning_differ_and_stay_the_same_over_releases() -> None:
    long = "production/" + "x" * 300
    assert pagerduty.dedup_key(long + "1") != pagerduty.dedup_key(long + "2")
    digest = hashlib.sha256(long.encode()).hexdigest()
    assert pagerduty.dedup_key(long) == f"{long[:190]}-{digest}"


def test_the_signature_is_over_time_and_body() -> None:
    headers = webhook.headers(b'{"version":1}', Secret("hush"), 1_795_230_720.9)
    expected = hmac.new(b"hush", b'1795230720.{"version":1}', hashlib.sha256).hexdigest()
    assert headers["X-Watchkeeper-Timestamp"] == "1795230720"
    assert headers["X-Watchkeeper-Signature"] == f"v1={expected}"
    assert set(webhook.headers(b"", None, 0.0)) == {"Idempotency-Key"}


def test_the_idempotency_key_is_that_of_the_alert() -> None:
    def key(alert: Alert) -> str:
        return webhook.headers(encode(webhook.document(alert)), None, 0.0)["Idempotency-Key"]

    assert key(SITUATIONS["resolve"]) == key(SITUATIONS["resolve"])
    assert key(SITUATIONS["resolve"]) != key(SITUATIONS["brief"])
