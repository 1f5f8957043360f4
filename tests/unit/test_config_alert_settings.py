"""Who is told, from the environment: which channel a webhook is, what is refused and why, and what stays masked."""

from collections.abc import Mapping

import pytest

from config.alert_settings import DEFAULT_ANCHORS, PAGERDUTY_URL, AlertSettings, Anchor
from config.configuration import load
from config.env import Env
from config.logs import Mask

SLACK = "https://hooks.slack.com/services/T0ABCDEF/B0ABCDEF/c4n4rySl4ckT0k3nAbcdefgh"
DISCORD = "https://discord.com/api/webhooks/112233445566/c4n4ry-D1sc0rd_T0k3n"
OWN = "https://alerts.example.com/hook"


def read(environ: Mapping[str, str]) -> AlertSettings:
    env = Env(environ)
    settings = AlertSettings.read(env)
    env.check()
    return settings


def problems(environ: Mapping[str, str]) -> list[str]:
    env = Env(environ)
    AlertSettings.read(env)
    return [str(problem) for problem in env.problems]


def notes(environ: Mapping[str, str]) -> list[str]:
    env = Env(environ)
    AlertSettings.read(env)
    return env.notes


def told(settings: AlertSettings) -> dict[str, str]:
    hooks = {"slack": settings.slack, "discord": settings.discord, "webhook": settings.webhook}
    return {name: secret.reveal() for name, secret in hooks.items() if secret}


@pytest.mark.parametrize(
    ("url", "channel"),
    [
        (SLACK, "slack"),
        ("https://hooks.slack-gov.com/services/T1/B1/x1", "slack"),
        ("http://127.0.0.1:9000/services/T1/B1/x1", "slack"),
        ("http://proxy.internal/out/services/T1/B1/x1", "slack"),
        (DISCORD, "discord"),
        (DISCORD.replace("discord.com", "canary.discord.com"), "discord"),
        (DISCORD.replace("discord.com", "ptb.discord.com"), "discord"),
        (DISCORD.replace("discord.com", "discordapp.com"), "discord"),
        (DISCORD.replace("/api/", "/api/v10/"), "discord"),
        (DISCORD + "?thread_id=5", "discord"),
        ("http://[::1]:9000/api/webhooks/1/x-1", "discord"),
        (OWN, "webhook"),
        ("https://n8n.example.com/webhook/slack-discord", "webhook"),
        ("https://hooks.slack.com.example.com/x", "webhook"),
    ],
)
def test_a_webhook_is_known_by_its_host_or_the_shape_of_its_path(url: str, channel: str) -> None:
    assert told(read({"ALERT_WEBHOOK_URL": url})) == {channel: url}


@pytest.mark.parametrize("ending", ["/slack", "/github", "/"])
def test_discord_s_addresses_in_other_forms_are_taken_as_its_own(ending: str) -> None:
    assert told(read({"ALERT_WEBHOOK_URL": DISCORD + ending})) == {"discord": DISCORD}


def test_an_address_without_a_scheme_is_https() -> None:
    bare = SLACK.removeprefix("https://")
    assert told(read({"SLACK_WEBHOOK_URL": bare})) == {"slack": SLACK}


def test_one_webhook_under_two_names_is_one_channel_and_two_are_refused() -> None:
    assert told(read({"ALERT_WEBHOOK_URL": SLACK, "SLACK_WEBHOOK_URL": SLACK})) == {"slack": SLACK}
    (problem,) = problems({"ALERT_WEBHOOK_URL": SLACK + "9", "SLACK_WEBHOOK_URL": SLACK})
    assert problem.startswith("ALERT_WEBHOOK_URL: holds another Slack webhook than SLACK_WEBHOOK_URL; take one out")


def test_all_three_may_be_set() -> None:
    given = {"SLACK_WEBHOOK_URL": SLACK, "DISCORD_WEBHOOK_URL": DISCORD, "ALERT_WEBHOOK_URL": OWN}
    assert told(read(given)) == {"slack": SLACK, "discord": DISCORD, "webhook": OWN}


def test_slack_s_variable_takes_a_receiver_of_its_form() -> None:
    mattermost = "https://chat.example.com/hooks/abc"
    assert told(read({"SLACK_WEBHOOK_URL": mattermost})) == {"slack": mattermost}


@pytest.mark.parametrize(
    ("name", "url", "says"),
    [
        ("SLACK_WEBHOOK_URL", DISCORD, "holds a webhook of Discord; set DISCORD_WEBHOOK_URL"),
        ("DISCORD_WEBHOOK_URL", SLACK, "holds a webhook of Slack; set SLACK_WEBHOOK_URL"),
        ("SLACK_WEBHOOK_URL", "https://hooks.slack.com/triggers/E1/2/c4n4ry", "starts a Slack workflow"),
        ("ALERT_WEBHOOK_URL", "https://hooks.slack.com/services/T1/", "is at Slack, but is no incoming webhook"),
        ("ALERT_WEBHOOK_URL", "https://discord.com/channels/1/2", "is at Discord, but is no webhook"),
        ("ALERT_WEBHOOK_URL", "ftp://c4n4ry.example.com/x", "has the scheme ftp://"),
        ("ALERT_WEBHOOK_URL", "https:///c4n4ry", "names no host"),
        ("ALERT_WEBHOOK_URL", "https://hooks.example.com/<c4n4ry>", "a placeholder"),
        ("ALERT_WEBHOOK_URL", "https://x.webhook.office.com/webhookb2/a@b/c4n4ry", "is Microsoft Teams'"),
        ("SLACK_WEBHOOK_URL", "${{shared.c4n4ry}}", "which the platform did not fill in"),
        ("HEARTBEAT_URL", "https://hc.example.com/c4n4ry/fail", "ends in /start, /fail or /log"),
        ("PUBLIC_URL", "https://me:c4n4ry@status.example.com", "holds a user or parameters"),
        ("PAGERDUTY_EVENTS_URL", "events.pagerduty.com:x", "has a port that is not a number"),
        ("ALERT_APPRISE_URLS", "tgram://a/b, c4n4ry", "holds something that is no address (number 1)"),
        ("ALERT_APPRISE_URLS", "c4n4ry, tgram://a/b", "holds something that is no address (number 1)"),
        ("PAGE_AFTER", "soon", "is not a number"),
        ("ALERT_SELF_TEST", "daily", "is not one of the words"),
        ("ANCHORS", "1.1.1.1", "holds one without a port"),
        ("ANCHORS", "1.1.1.1:443,http://x:80", "holds one that has the scheme http://"),
    ],
)
def test_what_cannot_be_used_is_told_without_being_repeated(name: str, url: str, says: str) -> None:
    (problem,) = problems({name: url})
    assert problem.startswith(f"{name}: ")
    assert says in problem
    assert "c4n4ry" not in problem or "${{" in problem


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("R" * 20, "has 20 characters, as a REST API key has; a routing key is 32"),
        ("R" * 31, "has 31 characters; a routing key is 32"),
        ("R" * 31 + "-", "holds something other than letters and digits"),
    ],
)
def test_a_routing_key_of_the_wrong_shape_is_told_by_its_length(key: str, says: str) -> None:
    (problem,) = problems({"PAGERDUTY_ROUTING_KEY": key})
    assert says in problem
    assert key not in problem
    assert "Events API v1" in problem


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("", PAGERDUTY_URL),
        ("https://events.eu.pagerduty.com", "https://events.eu.pagerduty.com/v2/enqueue"),
        ("http://127.0.0.1:9000/v2/enqueue", "http://127.0.0.1:9000/v2/enqueue"),
    ],
)
def test_pagerduty_may_be_elsewhere(given: str, url: str) -> None:
    assert read({"PAGERDUTY_EVENTS_URL": given}).pagerduty_url == url


def test_plain_http_is_noted_outside_a_private_network_only() -> None:
    def clear(url: str) -> bool:
        return any("travels in clear" in note for note in notes({"ALERT_WEBHOOK_URL": url}))

    assert clear("http://hooks.example.com/x")
    assert not any(map(clear, (OWN, "http://127.0.0.1:1/x", "http://n8n.railway.internal:5678/x")))


def test_nobody_being_told_is_noted() -> None:
    (note,) = notes({})
    assert note.startswith("nobody is told when something breaks: set SLACK_WEBHOOK_URL, ")
    assert not read({}).tells
    assert notes({"DISCORD_WEBHOOK_URL": DISCORD}) == []
    assert read({"DISCORD_WEBHOOK_URL": DISCORD}).tells


def test_a_secret_that_signs_nothing_is_noted() -> None:
    (note,) = notes({"SLACK_WEBHOOK_URL": SLACK, "ALERT_WEBHOOK_SECRET": "s3cret"})
    assert note.startswith("ALERT_WEBHOOK_SECRET does nothing")


def test_apprise_addresses_are_cut_where_the_next_begins() -> None:
    found = read({"ALERT_APPRISE_URLS": "mailto://u:p@example.com?to=a@b.c,d@e.f, tgram://token/chat"}).apprise
    assert [one.reveal() for one in found] == ["mailto://u:p@example.com?to=a@b.c,d@e.f", "tgram://token/chat"]


def test_where_people_find_the_page() -> None:
    domain = {"RAILWAY_PUBLIC_DOMAIN": "watch.up.railway.app"}
    assert read({}).public_url == ""
    assert read(domain).public_url == "https://watch.up.railway.app"
    assert read({**domain, "PUBLIC_URL": "https://status.example.com/keeper/"}).public_url == (
        "https://status.example.com/keeper"
    )


def test_a_heartbeat_has_no_slash_at_its_end() -> None:
    found = read({"HEARTBEAT_URL": "https://hc.example.com/0b3f5a12-aaaa/"}).heartbeat_url
    assert found
    assert found.reveal() == "https://hc.example.com/0b3f5a12-aaaa"


def test_anchors() -> None:
    inside = "10.0.0.1:53,[fd12::10]:53,redis.railway.internal:6379"
    assert [anchor.inside for anchor in read({"ANCHORS": inside}).anchors] == [True, True, True]
    assert read({"ANCHORS": "9.9.9.9:53, example.com:443"}).anchors == (
        Anchor(host="9.9.9.9", port=53, inside=False),
        Anchor(host="example.com", port=443, inside=False),
    )
    assert read({"ANCHORS": "OFF"}).anchors == ()
    assert read({}).anchors == read({"ANCHORS": DEFAULT_ANCHORS}).anchors != ()


def test_times_are_seconds() -> None:
    settings = read({"PAGE_AFTER": "0", "ALERT_COOLDOWN": "0.5"})
    assert (settings.page_after, settings.cooldown) == (0, 30)
    assert (read({}).page_after, read({}).cooldown) == (60, 900)


def test_logs_mask_every_address_whole_and_in_pieces() -> None:
    given = {
        "ALERT_WEBHOOK_URL": "https://alerts.example.com/hook/c4n4ry0wnT0k3nAbcd?sig=c4n4rySignatur3Abcd",
        "SLACK_WEBHOOK_URL": SLACK,
        "DISCORD_WEBHOOK_URL": DISCORD,
        "HEARTBEAT_URL": "https://hc.example.com/c4n4ry00-1111-2222",
        "ALERT_APPRISE_URLS": "tgram://c4n4ryApprise/chat",
        "PAGERDUTY_ROUTING_KEY": "c4n4ry" + "0" * 26,
        "ALERT_WEBHOOK_SECRET": "c4n4ry-signs",
    }
    mask = Mask()
    configuration = load({"REDIS_HOST": "redis", **given})
    mask.add(configuration.secrets)
    for value in given.values():
        path = "/" + value.partition("://")[2].partition("/")[2]
        for text in (value, path, path.rpartition("/")[2]):
            if "c4n4ry" in text:
                assert "c4n4ry" not in mask.clean(f"saw {text} there")
    assert "c4n4ry" not in repr(configuration)
    assert mask.clean("POST /hook by watchkeeper") == "POST /hook by watchkeeper"
