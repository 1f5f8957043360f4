"""The ways a provider of notifications can meet a request, other than as it should."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

from demo.contracts.base import Answer, as_html, as_json, as_text


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """One way to meet a request. `acts`: the message is taken as if all were well, though the sender may not learn it.

    `instead` answers in place of the provider, given the place and the measure of time in seconds; `wire` is one of
    demo.contracts.wire's ways to send an answer, or "reset".
    """

    says: str
    acts: bool = False
    instead: Callable[[str, float], Answer] | None = None
    wire: str = ""
    seconds: float = 0.0


def _limited(place: str, seconds: float) -> Answer:
    """429 as the provider at `place` words it."""
    whole = str(max(1, round(seconds)))
    if place == "slack":
        body: dict[str, Any] = {"retry_after": int(whole), "ok": False, "error": "rate_limited"}
    elif place == "discord":
        body = {"message": "You are being rate limited.", "retry_after": seconds, "global": False}
        limits = {"x_ratelimit_remaining": "0", "x_ratelimit_reset_after": str(seconds), "x_ratelimit_scope": "user"}
        return as_json(body, 429, retry_after=whole, **limits)
    else:
        body = {"status": "throttle exceeded", "message": "Requests for this service are arriving too quickly."}
    return as_json(body, 429, retry_after=whole)


def _limited_date(_: str, seconds: float) -> Answer:
    # HTTP dates have whole seconds; rounding up never asks for less than was meant.
    until = datetime.now(UTC) + timedelta(seconds=seconds + 0.999)
    return Answer(status=429, headers={"retry-after": format_datetime(until, usegmt=True)})


def _given(answer: Answer) -> Callable[[str, float], Answer]:
    return lambda _, __: answer


ELSEWHERE = "https://login.example.test/sign-in?token=canary-in-redirect"


def _unavailable(_: str, seconds: float) -> Answer:
    return Answer(status=503, body=b"down for maintenance", headers={"retry-after": str(round(seconds))})


def _gone(place: str, _: float) -> Answer:
    if place == "slack":
        return as_text("no_service", 404)
    if place == "discord":
        return as_json({"message": "Unknown Webhook", "code": 10015}, 404)
    return as_text("Not Found", 404)


BEHAVIOURS: Mapping[str, Behaviour] = {
    "ok": Behaviour(says="as the provider does", acts=True),
    "rate_limited": Behaviour(says="429 in the provider's own words", instead=_limited, seconds=2.0),
    "retry_after": Behaviour(
        says="429, Retry-After in seconds, no body",
        instead=lambda _, seconds: Answer(status=429, headers={"retry-after": str(round(seconds))}),
        seconds=2.0,
    ),
    "retry_after_date": Behaviour(says="429, Retry-After as an HTTP date", instead=_limited_date, seconds=2.0),
    "json_retry_after": Behaviour(
        says="429, retry_after in the JSON body only",
        instead=lambda _, seconds: as_json({"retry_after": seconds}, 429),
        seconds=2.0,
    ),
    "limited_bare": Behaviour(says="429 and not a word", instead=_given(Answer(status=429))),
    "server_error": Behaviour(says="500", instead=_given(as_text("Internal Server Error", 500))),
    "unavailable": Behaviour(
        says="503 with Retry-After",
        instead=_unavailable,
        seconds=2.0,
    ),
    "wrong_body": Behaviour(says="200 and a web page", instead=_given(as_html("Welcome"))),
    "empty": Behaviour(says="200 and nothing", instead=_given(Answer())),
    "not_found": Behaviour(says="404: the address is gone", instead=_gone),
    "forbidden": Behaviour(says="403: the token is not valid", instead=_given(as_text("invalid_token", 403))),
    "rejected": Behaviour(says="400: not a message like this", instead=_given(as_text("invalid_blocks", 400))),
    "redirect": Behaviour(
        says="302 to a sign-in page", instead=_given(Answer(status=302, headers={"location": ELSEWHERE}))
    ),
    "moved": Behaviour(says="301 elsewhere", instead=_given(Answer(status=301, headers={"location": ELSEWHERE}))),
    "reset": Behaviour(says="reset after accepting, nothing taken", wire="reset"),
    "reset_taken": Behaviour(says="the whole request is read and taken, then reset", wire="reset", acts=True),
    "hang": Behaviour(says="reads, and never answers", wire="hang"),
    "hang_taken": Behaviour(says="takes the message and never answers", wire="hang", acts=True),
    "close": Behaviour(says="closes without a byte", wire="close"),
    "slow": Behaviour(says="the right answer, late", wire="slow", acts=True, seconds=3.0),
    "slow_drip": Behaviour(says="the right answer, a byte at a time", wire="slow_drip", acts=True, seconds=0.2),
    "truncated": Behaviour(says="an answer shorter than it says", wire="truncated", acts=True),
    "garbage": Behaviour(says="bytes that are no HTTP", wire="garbage"),
    "huge": Behaviour(says="200 and 64 MiB", wire="huge"),
}
