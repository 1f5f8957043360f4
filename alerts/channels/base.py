"""What a channel is: something that takes an Alert and says whether the provider took it."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import httpx

from alerts.alert import Alert


class Reason(StrEnum):
    """Why a delivery failed: the label of the metric, and the half of the sentence that people read."""

    UNREACHABLE = "unreachable"  # no name, no connection, reset
    TIMEOUT = "timeout"
    RATE_LIMITED = "rate_limited"
    SERVER_ERROR = "server_error"
    REFUSED = "refused"  # the address or the key is not, or no longer, known there
    REJECTED = "rejected"  # the provider does not take this message as it is
    BAD_ANSWER = "bad_answer"  # it answered something that is no proof of delivery


class DeliveryError(Exception):
    """The provider did not take it. The text names what was seen, holds no secret and no address with one.

    `permanent`: trying the same again cannot help. `retry_after`: seconds the provider asked us to wait, or None.
    """

    def __init__(self, reason: Reason, text: str, *, permanent: bool = False, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.reason = reason
        self.permanent = permanent
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The provider took it. `ref` finds the message again (for editing), or is empty; `said` is its answer in words."""

    said: str
    ref: str = ""


class Addressee(Protocol):
    """What there is to know of a place where people are told, to decide what is told there.

    `name` is unique and stable over restarts ("slack", "discord", "pagerduty", "webhook", "apprise"); `pages` says that
    it wakes people: it gets open, update and resolve of severe incidents only, after PAGE_AFTER; `groups` that several
    alerts may be told there in one message (`Alert.members`); `keyed` that the provider knows an incident by its
    dedup_key, so that sending the same twice does no harm and a resolve of something it never had is ignored.
    """

    @property
    def name(self) -> str: ...

    @property
    def pages(self) -> bool: ...

    @property
    def groups(self) -> bool: ...

    @property
    def keyed(self) -> bool: ...


class Channel(Addressee, Protocol):
    """One place where people are told."""

    async def send(self, alert: Alert, client: httpx.AsyncClient, *, ref: str = "") -> Receipt:
        """Tell `alert`; `ref` is what the receipt of this incident's first message gave.

        May be called again with the same alert after it failed or after we were killed. The caller bounds the time.
        Raises DeliveryError, and nothing else for whatever a provider does.
        """
        ...
