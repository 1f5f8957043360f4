"""What people must learn of a channel: how it does, and what it could not tell."""

from dataclasses import dataclass, field
from enum import StrEnum

from alerts.alert import Alert
from alerts.channels.base import Reason


class Matter(StrEnum):
    """What kind of trouble a channel has."""

    REFUSED = "refused"  # its address or key is not known there, or no longer
    PARKED = "parked"  # a message is not taken as it is
    GIVEN_UP = "given_up"  # messages were tried for a day


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What could not be told on `channel`, to be told on others. `said` is the provider's answer, without secrets.

    `alerts` are the messages it concerns, as they were to be told; `at` is epoch seconds.
    """

    channel: str
    matter: Matter
    reason: str
    said: str
    at: float
    alerts: tuple[Alert, ...]

    def title(self) -> str:
        """The trouble in a few words, for a lock screen."""
        what = "Alerts do" if self.matter == Matter.REFUSED else "An alert did"
        return f"{what} not reach {self.channel}"

    def sentence(self) -> str:
        """The trouble in words, and what to do."""
        said = self.said.rstrip(". ")
        match self.matter:
            case Matter.REFUSED:
                return (
                    f"{self.channel} refuses our messages: {said}. Put a working address or key into its variable. "
                    "It is tried again at least once an hour and at every start; what waits is kept for a day."
                )
            case Matter.PARKED:
                return f"{self.channel} does not take a message about {self._about()}: {said}. It was not told there."
            case Matter.GIVEN_UP:
                return f"{self.channel} could not be told about {self._about()} for a day, and was given up: {said}."

    def _about(self) -> str:
        titles = list(dict.fromkeys(alert.title or alert.service or alert.incident for alert in self.alerts))
        more = f" and {len(titles) - 5} more" if len(titles) > 5 else ""
        return ", ".join(titles[:5]) + more


@dataclass(slots=True, kw_only=True)
class DeliveryStatus:
    """How one channel does: counted since the start, except for `pending` and `oldest_at`.

    `pending` messages wait and may be told, the oldest since `oldest_at`. `sent` counts messages that the provider
    took, each of a group; `failed` requests that failed, by reason; `parked` messages that will never be told there:
    not taken as they are or given up (`given_up` of them). `refused` says that the channel's address or key is. Times
    are seconds since the epoch.
    """

    channel: str
    pending: int = 0
    oldest_at: float | None = None
    sent: int = 0
    failed: dict[Reason, int] = field(default_factory=lambda: dict.fromkeys(Reason, 0))
    parked: int = 0
    given_up: int = 0
    refused: bool = False
    last_sent_at: float | None = None
    last_error: str = ""
    last_error_at: float | None = None
