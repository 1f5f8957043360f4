"""Which channels there are, and the ones that are set up."""

from collections.abc import Callable, Iterable, Mapping

from alerts.channels import apprise, discord, pagerduty, slack, webhook
from alerts.channels.base import Channel
from config.alert_settings import AlertSettings

CHANNELS: Mapping[str, Callable[[AlertSettings], Iterable[Channel]]] = {
    "slack": slack.channels,
    "discord": discord.channels,
    "pagerduty": pagerduty.channels,
    "webhook": webhook.channels,
    "apprise": apprise.channels,
}


def open_channels(settings: AlertSettings) -> tuple[Channel, ...]:
    """Every channel `settings` name, in the order of CHANNELS. Opens no connection and raises nothing.

    One that cannot work here (Apprise without its package) is given back all the same: its `send` says what to do.
    """
    return tuple(channel for channels in CHANNELS.values() for channel in channels(settings))
