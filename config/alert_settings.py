"""Who is told, where, and how often; and how the daemon itself is watched. One frozen section, built from an Env alone.

Every address that holds a token is a Secret: whoever reads it could post.
"""

import re
from dataclasses import dataclass, field, replace

from config.env import Env
from config.secret import Secret
from config.urls import FORMS, Address, AddressError, Form, is_private, parse_address
from config.webhooks import DISCORD_EXAMPLE, SLACK_EXAMPLE, Webhook, is_teams, parse_webhook

DAY = 86_400
MINUTE = 60.0

PAGERDUTY_URL = "https://events.pagerduty.com/v2/enqueue"
PAGERDUTY_KEY = re.compile(r"[A-Za-z0-9]{32}")
PAGERDUTY_API_KEY_LENGTH = 20

# Where one Apprise address ends and the next begins: a comma may stand inside an address too.
BETWEEN = re.compile(r"[\s,]+(?=[A-Za-z][A-Za-z0-9+.-]*://)")
APPRISE = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")

# Two by address and one by name, of three operators: the network may be well while names are not found.
DEFAULT_ANCHORS = "1.1.1.1:443,8.8.8.8:443,dns.quad9.net:443"
ANCHOR = Form(noun="an anchor", schemes=("tcp",), plain="tcp", public="tcp", example="1.1.1.1:443")

CHANNELS = ("SLACK_WEBHOOK_URL", "DISCORD_WEBHOOK_URL", "PAGERDUTY_ROUTING_KEY", "ALERT_WEBHOOK_URL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A place that answers whenever our network is well. `inside`: within the private network, by name or address."""

    host: str
    port: int
    inside: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertSettings:
    """Who is told and how. Times are seconds.

    `slack`, `discord` and `webhook` (our own JSON, signed with `webhook_secret`) are addresses to post to. `page_after`
    is how long an outage lasts before PagerDuty hears of it, `cooldown` the time to the first reminder. `public_url` is
    where people reach the status page, without a slash at its end, or empty. `heartbeat_url` has none at its end
    either. `self_test`: each channel is tried once a week. `parts` are pieces of the addresses that must be masked.
    """

    slack: Secret | None = None
    discord: Secret | None = None
    pagerduty_key: Secret | None = None
    pagerduty_url: str = PAGERDUTY_URL
    webhook: Secret | None = None
    webhook_secret: Secret | None = None
    apprise: tuple[Secret, ...] = ()
    page_after: float = 60.0
    cooldown: float = 15 * MINUTE
    on_success: bool = False
    public_url: str = ""
    heartbeat_url: Secret | None = None
    anchors: tuple[Anchor, ...] = ()
    self_test: bool = False
    parts: tuple[Secret, ...] = field(default=(), repr=False)

    @property
    def tells(self) -> bool:
        """Whether there is any channel at all."""
        return any((self.slack, self.discord, self.pagerduty_key, self.webhook, self.apprise))

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every text of this section that logs must mask."""
        own = (self.slack, self.discord, self.pagerduty_key, self.webhook, self.webhook_secret, self.heartbeat_url)
        return tuple(dict.fromkeys([*(one for one in own if one), *self.apprise, *self.parts]))

    @classmethod
    def read(cls, env: Env) -> "AlertSettings":
        """This section from `env`; what cannot be used becomes a problem there.

        ALERT_WEBHOOK_URL is Slack's or Discord's when its host or the shape of its path says so, as the template of
        LiteLLM and Langfuse had it; the same webhook named by two variables is one channel.
        """
        hooks = _webhooks(env)
        signs = env.secret("ALERT_WEBHOOK_SECRET", says="Signs what is posted to ALERT_WEBHOOK_URL (HMAC-SHA256).")
        if signs and "" not in hooks:
            env.note("ALERT_WEBHOOK_SECRET does nothing: only an ALERT_WEBHOOK_URL of your own receiver is signed")
        key, endpoint = _pagerduty(env)
        heartbeat = _heartbeat(env)
        settings = cls(
            slack=hooks["slack"].url if "slack" in hooks else None,
            discord=hooks["discord"].url if "discord" in hooks else None,
            webhook=hooks[""].url if "" in hooks else None,
            webhook_secret=signs,
            pagerduty_key=key,
            pagerduty_url=endpoint,
            apprise=_apprise(env),
            page_after=env.number(
                "PAGE_AFTER",
                default=60.0,
                least=0,
                most=DAY,
                says="Seconds a confirmed outage lasts before PagerDuty is told: a redeploy wakes nobody.",
            ),
            cooldown=MINUTE
            * env.number(
                "ALERT_COOLDOWN",
                default=15.0,
                least=0.01,
                most=7 * DAY / MINUTE,
                says="Minutes from an alert to its first reminder in chat; then twice as long each time, up to a day.",
            ),
            on_success=env.flag(
                "ALERT_ON_SUCCESS", default=False, says="Whether a backup that went well is told in chat too."
            ),
            public_url=_public_url(env),
            heartbeat_url=heartbeat.url if heartbeat else None,
            anchors=_anchors(env),
            self_test=env.choice(
                "ALERT_SELF_TEST",
                ("off", "weekly"),
                default="off",
                says="weekly: a test goes through each channel once a week.",
            )
            == "weekly",
            parts=tuple(part for hook in (*hooks.values(), heartbeat) if hook for part in hook.secrets),
        )
        if not settings.tells and not any(map(env.is_set, (*CHANNELS, "ALERT_APPRISE_URLS"))):
            env.note(f"nobody is told when something breaks: set {', '.join(CHANNELS)} or ALERT_APPRISE_URLS")
        return settings


def _webhooks(env: Env) -> dict[str, Webhook]:
    """The webhooks by provider; "" is a receiver of the user's own. One provider has one."""
    found: dict[str, Webhook] = {}
    named: dict[str, str] = {}
    for name, meant, says in (
        ("SLACK_WEBHOOK_URL", "slack", "Slack incoming webhook, or any receiver of its form (Mattermost)."),
        ("DISCORD_WEBHOOK_URL", "discord", "Discord webhook."),
        (
            "ALERT_WEBHOOK_URL",
            None,
            "Webhook: Slack's or Discord's is known by its host or path; any other gets our JSON.",
        ),
    ):
        hook = _webhook(env, name, says)
        if hook is None:
            continue
        provider = hook.provider if meant is None else meant
        if meant and hook.provider not in ("", meant):
            remedy = f"set {hook.provider.upper()}_WEBHOOK_URL instead"
            env.problem(name, f"holds a webhook of {hook.provider.capitalize()}", remedy)
        elif provider in found and found[provider].url != hook.url:
            env.problem(
                name,
                f"holds another {provider.capitalize()} webhook than {named[provider]}",
                "take one out; a further channel goes into ALERT_APPRISE_URLS",
            )
        else:
            found[provider], named[provider] = hook, name
            if not provider:
                env.note(
                    f"{name} is neither Slack's nor Discord's, so it is sent our own JSON; if it takes Slack's form "
                    "(Mattermost, Rocket.Chat), name it SLACK_WEBHOOK_URL"
                )
    return found


def _webhook(env: Env, name: str, says: str) -> Webhook | None:
    given = env.secret(name, says=says)
    if given is None:
        return None
    if is_teams(given.reveal()):
        env.problem(name, "is Microsoft Teams', which has a form of its own", "put it into ALERT_APPRISE_URLS")
        return None
    try:
        hook = parse_webhook(given.reveal())
    except AddressError as error:
        examples = {"SLACK_WEBHOOK_URL": SLACK_EXAMPLE, "DISCORD_WEBHOOK_URL": DISCORD_EXAMPLE}
        env.problem(name, error.message, error.remedy if "railway" not in error.remedy else _write(examples.get(name)))
        return None
    for note in hook.notes:
        env.note(f"{name} {note}")
    return hook


def _write(example: str | None) -> str:
    return f"write {example or 'https://host/path'}"


def _pagerduty(env: Env) -> tuple[Secret | None, str]:
    """The routing key and the address of the events API."""
    key = env.secret("PAGERDUTY_ROUTING_KEY", says="PagerDuty: integration key of an Events API v2 integration.")
    text = key.reveal() if key else ""
    if key and not PAGERDUTY_KEY.fullmatch(text):
        what = f"has {len(text)} characters" if len(text) != 32 else "holds something other than letters and digits"
        mixed_up = ", as a REST API key has" if len(text) == PAGERDUTY_API_KEY_LENGTH else ""
        env.problem(
            "PAGERDUTY_ROUTING_KEY",
            f"{what}{mixed_up}; a routing key is 32 letters and digits",
            "copy the integration key of an Events API v2 integration (no REST API key, no key of Events API v1)",
        )
        key = None
    address = _plain_address(
        env, "PAGERDUTY_EVENTS_URL", says=f"PagerDuty's events API, where it is not {PAGERDUTY_URL}."
    )
    if address is None:
        return key, PAGERDUTY_URL
    return key, address.url if address.path else f"{address.url}/v2/enqueue"


def _heartbeat(env: Env) -> Webhook | None:
    """The address that is pinged, without a slash or an ending of its own."""
    name = "HEARTBEAT_URL"
    hook = _webhook(
        env, name, "Pinged while all is well here, as healthchecks.io wants it; /start and /fail are added."
    )
    if hook is None:
        return None
    path, mark, query = hook.url.reveal().partition("?")
    path = path.rstrip("/")
    if path.endswith(("/start", "/fail", "/log")):
        env.problem(name, "ends in /start, /fail or /log, which are added here", "give the address without it")
        return None
    return replace(hook, url=Secret(f"{path}{mark}{query}"))


def _apprise(env: Env) -> tuple[Secret, ...]:
    given = env.secret("ALERT_APPRISE_URLS", says="Addresses for Apprise (https://appriseit.com), by comma.")
    texts = [text.strip(" ,") for text in BETWEEN.split(given.reveal())] if given else []
    for number, text in enumerate(texts, start=1):
        if text and not APPRISE.fullmatch(text):
            env.problem(
                "ALERT_APPRISE_URLS",
                f"holds something that is no address (number {number})",
                "write them by comma, each like mailto://… or tgram://…; a comma or blank inside one is %2C or %20",
            )
    return tuple(dict.fromkeys(Secret(text) for text in texts if APPRISE.fullmatch(text)))


def _public_url(env: Env) -> str:
    address = _plain_address(env, "PUBLIC_URL", says="Where people reach the status page; links in alerts lead there.")
    domain = env.text("RAILWAY_PUBLIC_DOMAIN", says="Set by Railway with a public domain; used without PUBLIC_URL.")
    if address:
        return address.url
    return f"https://{domain.strip('/')}" if domain else ""


def _plain_address(env: Env, name: str, *, says: str) -> Address | None:
    """An http(s) address that is no secret and may be shown."""
    text = env.text(name, says=says)
    if text is None:
        return None
    try:
        address = parse_address(text, FORMS["http"])
    except AddressError as error:
        env.problem(name, error.message, error.remedy if "railway" not in error.remedy else _write(None))
        return None
    if address.user or address.password or address.options:
        env.problem(name, "holds a user or parameters, and is shown to people", "give scheme, host and path alone")
        return None
    for note in address.notes:
        env.note(f"{name} {note}")
    return address


def _anchors(env: Env) -> tuple[Anchor, ...]:
    """The anchors; none for "off"."""
    text = env.text(
        "ANCHORS",
        default=DEFAULT_ANCHORS,
        says="host:port by comma: places that answer while our own network is well, asked only when services seem to "
        "vanish. `off`: none.",
        kind="list",
    )
    found = []
    for part in filter(None, map(str.strip, text.split(","))) if text.lower() != "off" else ():
        try:
            address = parse_address(part, ANCHOR)
        except AddressError as error:
            env.problem("ANCHORS", f"holds one that {error.message}", error.remedy)
            continue
        if not address.port:
            env.problem("ANCHORS", "holds one without a port", "write each as host:port, such as 1.1.1.1:443")
        else:
            found.append(Anchor(host=address.host, port=address.port, inside=is_private(address.host)))
    return tuple(dict.fromkeys(found))
