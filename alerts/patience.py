"""Who is tried again when: what a delivery worker remembers of its channel, and what it makes of a failure. Pure.

Times are the event loop's clock, in seconds; nothing here is kept over a restart.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from alerts.channels.base import DeliveryError, Reason
from alerts.outbox import Message

# The provider as a whole is the trouble, whatever message comes next.
CHANNEL_WIDE = {Reason.UNREACHABLE, Reason.TIMEOUT, Reason.RATE_LIMITED, Reason.SERVER_ERROR, Reason.REFUSED}
# It may yet be one message that it cannot digest: then the next try should not be all of them together.
SUSPICIOUS = {Reason.TIMEOUT, Reason.SERVER_ERROR, Reason.BAD_ANSWER}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long things take, in seconds."""

    send: float = 15.0  # one request, from the look-up of the name to the last byte
    gap: float = 1.0  # between two requests to one provider: Slack takes about one a second
    first: float = 2.0  # the first wait after a failure; it doubles
    most: float = 300.0  # up to this
    asked_most: float = 3600.0  # a provider's Retry-After counts up to this
    refused_first: float = 60.0  # the first wait after an address or a key was refused; it doubles
    refused_most: float = 3600.0  # up to this
    give_up: float = 86_400.0  # put off for that long in all, a message is given up
    look: float = 30.0  # the outbox is looked at this often without being told to
    upkeep: float = 3600.0  # between two tidyings
    leave: float = 0.3  # what a request may take to end when it is cancelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What follows from a failure. `park`: these messages will never be taken; `split`: not together.

    Else they are tried again after `wait` seconds; with `everybody` the whole channel rests that long. `asked` is the
    rest that the provider asked for, 0 if none; `refused` says that the channel's address or key is.
    """

    wait: float = 0.0
    everybody: bool = False
    asked: float = 0.0
    refused: bool = False
    park: bool = False
    split: bool = False


@dataclass(slots=True, kw_only=True)
class Patience:
    """What is remembered of one channel. `random` gives numbers from 0 up to 1.

    The channel rests until `rests_until`; an incident's message is not tried before `not_before`. `failures` counts
    how often it failed in a row; an incident in `alone` is not told together with others, and none is unless `group`.
    """

    timing: Timing
    random: Callable[[], float]
    rests_until: float = 0.0
    not_before: dict[str, float] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    alone: set[str] = field(default_factory=set)
    group: bool = True
    _in_a_row: int = 0
    _refused_in_a_row: int = 0

    def resting(self, now: float) -> set[str]:
        """The incidents whose message is not to be tried yet."""
        self.not_before = {incident: at for incident, at in self.not_before.items() if at > now}
        return set(self.not_before)

    def keep_only(self, waiting: frozenset[str]) -> None:
        """Forget what concerns incidents that have nothing to say any more."""
        for incident in (self.failures.keys() | self.alone) - waiting:
            self._forget(incident)

    def sent(self, message: Message, now: float) -> None:
        """The provider took it."""
        for incident in message.incidents:
            self._forget(incident)
        self._in_a_row = self._refused_in_a_row = 0
        self.group = True
        self.rests_until = now + self.timing.gap

    def failed(self, message: Message, error: DeliveryError, now: float) -> Verdict:
        """The provider did not take it."""
        self.rests_until = now + self.timing.gap
        refused = error.reason == Reason.REFUSED or (error.permanent and error.reason in CHANNEL_WIDE)
        if error.permanent and not refused:
            self.alone.update(message.incidents)
            return Verdict(park=len(message.rows) == 1, split=len(message.rows) > 1)
        for incident in message.incidents:
            self.failures[incident] = self.failures.get(incident, 0) + 1
            self.not_before[incident] = now + self.back_off(self.failures[incident])
        if error.reason in SUSPICIOUS:
            self.group = False
        asked = self._asked(error)
        if not (refused or asked or error.reason in CHANNEL_WIDE):
            return Verdict(wait=max(self.not_before[incident] for incident in message.incidents) - now)
        if refused:
            self._refused_in_a_row += 1
            wait = self._doubling(self.timing.refused_first, self.timing.refused_most, self._refused_in_a_row)
        else:
            self._in_a_row += 1
            wait = self.back_off(self._in_a_row)
        wait = max(wait, asked)
        self.rests_until = now + wait
        return Verdict(wait=wait, everybody=True, asked=asked, refused=refused)

    def back_off(self, failures: int) -> float:
        """Seconds to wait after so many failures in a row."""
        return self._doubling(self.timing.first, self.timing.most, failures)

    def _doubling(self, first: float, most: float, times: int) -> float:
        """A quarter more or less by chance, so that not everybody comes back at the same moment."""
        return float(min(most, first * 2.0 ** min(times - 1, 30)) * (0.75 + 0.5 * self.random()))

    def _asked(self, error: DeliveryError) -> float:
        """Seconds that the provider wants to be left alone, and a little more."""
        asked = error.retry_after
        if asked is None or not asked > 0:
            return 0.0
        return min(asked, self.timing.asked_most) * (1.0 + 0.1 * self.random()) + 0.05 * self.timing.gap

    def _forget(self, incident: str) -> None:
        self.failures.pop(incident, None)
        self.not_before.pop(incident, None)
        self.alone.discard(incident)
