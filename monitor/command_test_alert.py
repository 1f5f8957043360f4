"""`python -m monitor test-alert`: a real message through each channel, and what its provider answered."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from secrets import token_hex

import httpx
from rich.text import Text

from alerts.alert import Alert, Severity
from alerts.channels.base import Channel, DeliveryError
from alerts.deliver import new_client, no_client
from config.logs import masked
from monitor.letters import write_notice
from monitor.terminal import print_parts

WAIT = 30.0  # seconds one channel may take


def trial_alert(instance: str, now: float, *, status_url: str = "") -> Alert:
    """The message: nothing is wrong, and whoever reads it knows that. `now` is epoch seconds."""
    name = f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}-test-{token_hex(2)}"
    return write_notice(
        name,
        "Test: alerts reach you here",
        "Somebody has tried Watchkeeper's alerts by hand. Nothing is wrong, and there is nothing to do.",
        severity=Severity.INFO,
        at=now,
        instance=instance,
        status_url=status_url,
    )


async def try_channels(channels: Sequence[Channel], alert: Alert, *, wait: float = WAIT) -> dict[str, tuple[bool, str]]:
    """Sends `alert` through each channel at once; for each by name whether the provider took it, and its words."""
    try:
        client = new_client()
    except Exception as error:  # noqa: BLE001 -- variables for proxies and certificates may hold any nonsense
        return {channel.name: (False, no_client(error)) for channel in channels}
    async with client:
        said = await asyncio.gather(*(_try(channel, alert, client, wait) for channel in channels))
    return {channel.name: one for channel, one in zip(channels, said, strict=True)}


async def _try(channel: Channel, alert: Alert, client: httpx.AsyncClient, wait: float) -> tuple[bool, str]:
    try:
        async with asyncio.timeout(wait):
            receipt = await channel.send(alert, client)
    except TimeoutError:
        return False, f"no answer within {wait:.0f} s"
    except DeliveryError as error:
        return False, masked(str(error))
    return True, masked(receipt.said)


def trial_command(channels: Sequence[Channel], instance: str, *, status_url: str = "") -> bool:
    """Tries each channel and writes what its provider answered; whether all took it."""
    answers = asyncio.run(try_channels(channels, trial_alert(instance, time.time(), status_url=status_url)))
    for name, (took, said) in answers.items():
        mark, style = ("✓", "green") if took else ("✗", "bold red")
        print_parts(Text.assemble((f"{mark} {name}: ", style), said))
    return all(took for took, _ in answers.values())
