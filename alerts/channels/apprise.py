"""Everything else, through Apprise: mail, Telegram, Teams, ntfy and a hundred more.

Apprise is not part of the core: it is imported when something is first sent through it. It tells success or failure and
nothing more, and its calls block, so each runs on a thread of its own. Its addresses are secrets as a whole.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable

import httpx

from alerts.alert import Alert
from alerts.channels.base import Channel, DeliveryError, Reason, Receipt
from alerts.texts import clamp, unmention
from alerts.wording import SIGNS, Look, headline, look, text
from config.alert_settings import AlertSettings
from config.secret import Secret

LONGEST_TITLE, LONGEST_BODY = 200, 3_000
MOST_THREADS = 3  # a call that never ends cannot be ended; so many are borne with
TYPES = {Look.BAD: "failure", Look.POOR: "warning", Look.GOOD: "success", Look.PLAIN: "info"}
MISSING = "the package apprise is not installed: install Watchkeeper with its extra, watchkeeper[apprise]"
UNKNOWN = "Apprise does not know this kind of address, or something in it is missing: see https://appriseit.com"

Notify = Callable[[Secret, str, str, str], bool]
"""Given an address, a title, a text and Apprise's type of message, tells whether it was delivered. Blocks."""


class Apprise:
    """One Apprise address. `name` is "apprise", the second's "apprise-2"."""

    pages, groups, keyed = False, True, False

    def __init__(self, url: Secret, name: str = "apprise", *, notify: Notify | None = None) -> None:
        self.name = name
        self._url = url
        self._notify = notify or notify_by_apprise
        self._threads = threading.Semaphore(MOST_THREADS)

    async def send(self, alert: Alert, client: httpx.AsyncClient, *, ref: str = "") -> Receipt:  # noqa: ARG002 - it has its own client
        """See Channel. When the caller gives up, the call goes on in its thread and may still arrive."""
        if not await self._on_thread(*words(alert)):
            raise DeliveryError(Reason.BAD_ANSWER, f"Apprise could not deliver it by {self._kind}; it says no more")
        return Receipt(said=f"Apprise delivered it by {self._kind}")

    @property
    def _kind(self) -> str:
        """The kind of the address: what stands before its ://."""
        return self._url.reveal().partition("://")[0]

    async def _on_thread(self, title: str, body: str, kind: str) -> bool:
        # Not asyncio's own threads: a call that hangs would hold up the end of the daemon.
        if not self._threads.acquire(blocking=False):
            raise DeliveryError(Reason.TIMEOUT, f"Apprise is still busy with earlier messages to {self._kind}")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[bool] = loop.create_future()

        def settle(result: bool | DeliveryError) -> None:
            if done.cancelled():
                return
            if isinstance(result, DeliveryError):
                done.set_exception(result)
            else:
                done.set_result(result)

        def work() -> None:
            result: bool | DeliveryError
            try:
                result = self._notify(self._url, title, body, kind)
            except DeliveryError as error:
                result = error
            except Exception as error:  # noqa: BLE001 - a hundred plug-ins of others may raise anything
                result = DeliveryError(Reason.BAD_ANSWER, f"Apprise failed with {type(error).__name__}")
            finally:
                self._threads.release()
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, result)

        threading.Thread(target=work, name=self.name, daemon=True).start()
        return await done


def words(alert: Alert) -> tuple[str, str, str]:
    """The title, the text, and Apprise's type of message."""
    title = clamp(f"{SIGNS[look(alert)]} {headline(alert)}", LONGEST_TITLE, unmention)
    body = clamp(text(alert).partition("\n")[2], LONGEST_BODY, unmention)
    return title, body, TYPES[look(alert)]


def channels(settings: AlertSettings) -> Iterable[Channel]:
    """A channel for each address: one for all would tell some twice when another fails."""
    return [
        Apprise(url, "apprise" if number == 1 else f"apprise-{number}")
        for number, url in enumerate(settings.apprise, start=1)
    ]


def notify_by_apprise(url: Secret, title: str, body: str, kind: str) -> bool:
    """Delivers through Apprise itself. Raises DeliveryError without the package and for an address it does not know."""
    try:
        import apprise
    except ImportError:
        raise DeliveryError(Reason.REFUSED, MISSING, permanent=True) from None
    # What it logs holds addresses, whole.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 1)
    service = apprise.Apprise()
    if not service.add(url.reveal()):
        raise DeliveryError(Reason.REFUSED, UNKNOWN, permanent=True)
    return bool(
        service.notify(
            body=body,
            title=title,
            notify_type=apprise.NotifyType(kind),
            body_format=apprise.NotifyFormat.TEXT,
        )
    )
