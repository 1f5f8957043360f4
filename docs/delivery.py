"""Writes docs/reference/delivery.md from the cases in demo/delivery_cases.py: `python docs/delivery.py`."""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from alerts.alert import Kind
from alerts.order import GROUP_MOST
from alerts.outbox import LOST_KEPT, OVER_KEPT, STRAY_KEPT
from alerts.patience import Timing
from demo.delivery_cases import CASES, Case, Tries

PAGE = Path(__file__).parent / "reference" / "delivery.md"


def span(seconds: float) -> str:
    """A duration in words, rounded: "62 s", "4 min 14 s", "3 h 5 min", "a day"."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        minutes, rest = divmod(whole, 60)
        return f"{minutes} min {rest} s" if rest and whole < 1200 else f"{round(whole / 60)} min"
    if whole == 86_400:
        return "a day"
    if whole % 86_400 == 0:
        return f"{whole // 86_400} days"
    hours, minutes = divmod(round(whole / 60), 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def sent(tries: Iterable[Tries]) -> str:
    """What was sent and when; what the provider took is in bold."""
    parts = []
    for one in tries:
        times = [f"**{span(at)}**" if number in one.taken else span(at) for number, at in enumerate(one.at)]
        more = f" … {one.more} more" if one.more else ""
        parts.append(f"{one.kind} at {', '.join(times)}{more}")
    return "; ".join(parts) or "nothing"


def row(case: Case) -> str:
    """One line of the table."""
    chat, pager = sent(case.chat), sent(case.pager)
    elsewhere = {
        "refused": "that the channel is refused",
        "parked": "that this message was not taken",
        "given_up": "that it was given up",
    }
    often = {1: "", 2: "twice "}
    told = ", ".join(f"{often[count]}{elsewhere[one]}" for one, count in Counter(case.elsewhere).items()) or "–"
    lasts = span(case.lasts)
    return f"| {case.says} | {lasts} | {chat} | {'the same' if pager == chat else pager} | {case.sees} | {told} |"


def lines() -> Iterator[str]:
    """The page."""
    timing = Timing()
    yield f"""# What is sent when a provider does not take it

Generated from `demo/delivery_cases.py` by `python docs/delivery.py`; do not edit. Tests play every line of the table:
on virtual time against the channels for Slack and PagerDuty with the waits as they are, and over HTTP against
`demo/provider.py` with shorter ones.

An alert is put into the outbox in the very transaction that keeps the change of state, and is settled after the
provider's own success answer: it is sent **at least once**. It comes twice only when the provider took it and we did
not learn that (the connection broke, no answer came in time, the daemon was killed in between); PagerDuty knows an
incident by its `dedup_key`, so there nobody notices.

## The rules
- Each channel has a worker of its own; a provider that hangs delays no probe and no other channel. A request may take
  {span(timing.send)}, from the look-up of the name to the last byte. Between two messages to one provider lie
  {span(timing.gap)}.
- Messages of one incident come in their order, and a service's next outage is told after the end of its last.
  Incidents of different services do not wait for each other.
- What fails is tried again after about {span(timing.first)}, then twice as long each time, up to {span(timing.most)};
  chance makes each wait up to a quarter shorter or longer. When the provider itself is the trouble (not reachable, no
  answer, 429, 5xx) the channel rests as a whole, and then one message goes ahead.
- `Retry-After`, in seconds or as a date, is honoured up to {span(timing.asked_most)}: never earlier, up to a tenth
  later, and over a restart of the daemon too.
- **Refused** (404, 403, an invalid token): nothing can be delivered until somebody mends the address or key. Other
  channels are told once, and once a day while it lasts. It is tried again after {span(timing.refused_first)}, then
  twice as long each time, up to {span(timing.refused_most)}, and at every start, so that a mended webhook is found;
  what waits is kept.
- **Rejected** (400): the provider does not take this very message. It is parked, and other channels are told what it
  was about. A group is told singly first.
- After {span(timing.give_up)} of being put off a message is **given up**: an error in the log, a metric, and a word on
  the other channels. The time is added up from the waits, so a clock that jumps gives nothing up.
- An open that nobody has heard of when its resolve comes becomes one **brief** message in chat: that it broke, why, and
  that it is over. A pager is not woken for it: what was never tried is dropped with its resolve; what was tried
  may have been taken, so its resolve alone is sent. An update that was not delivered is replaced by a newer one and
  by the resolve, a reminder by whatever comes later.
- Where the open was parked or given up, the next update or reminder is told as the open.
- Several opens, or several resolves, that are due at once go as one message to Slack and Discord, up to {GROUP_MOST}.
- What was told is kept for {span(OVER_KEPT)} after the end of an incident, and {span(LOST_KEPT)} where no end came.
  What waits for a channel that is no longer configured is dropped after {span(STRAY_KEPT)}, with a warning in the log.

## The table
Every line is one outage that lasts as long as the second column says; times are counted from its alert, with every
wait in the middle of its chance. What the provider took is **bold**. The pager is asked at once here; as a rule its
first message is made after PAGE_AFTER. "Other channels" are told in chat.

| the provider | outage | to Slack | to PagerDuty | people see | other channels are told |
|---|---|---|---|---|---|"""
    for case in CASES:
        yield row(case)


def page() -> str:
    """The whole page."""
    assert {one.kind for case in CASES for one in (*case.chat, *case.pager)} <= {kind.value for kind in Kind}
    return "\n".join(lines()) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
