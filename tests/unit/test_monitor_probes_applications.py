"""What answers of the applications prove, worked out without asking anybody."""

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.secret import Secret
from config.signals import KeySignalParams, LangfuseSignalParams, LitellmSignalParams, QueueSignalParams
from monitor.probes.ask import Said
from monitor.probes.base import Verdict
from monitor.probes.key_signal import weigh as weigh_key
from monitor.probes.langfuse_signal import weigh_propagation
from monitor.probes.langfuse_trace import LABEL, NAME, otel_span, trace_event
from monitor.probes.litellm_completion import RESERVE, Account, weigh
from monitor.probes.litellm_signal import FRESH, model_names, weigh_health, weigh_models
from monitor.probes.litellm_words import CODES, is_budget, provider_trouble
from monitor.probes.openwebui_signal import weigh as weigh_lists
from monitor.probes.queue_signal import STILL, Queue, weigh_failed, weigh_waiting

NOW = datetime(2026, 11, 21, 3, 0, tzinfo=UTC)
MODELS = LitellmSignalParams(url="http://l", key=Secret("k"), signal="models", warn=25)
HEALTH = LitellmSignalParams(url="http://l", key=Secret("k"), signal="health", warn=1, fail=100)
WAITING = QueueSignalParams(host="r", signal="waiting", warn=300, fail=900)
FAILED = QueueSignalParams(host="r", signal="failed", warn=10, fail=100)


def said(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Said:
    return Said(status=status, headers=headers or {}, body=body, text=str(body))


def row(name: str, status: str = "unhealthy", error: str = "x", age: float = 600) -> dict[str, Any]:
    at = (NOW - timedelta(seconds=age)).isoformat()
    return {"model_name": name, "status": status, "error_message": error, "checked_at": at}


def queue(**changes: Any) -> Queue:
    values = {"name": "q", "waiting": 5, "active": 2, "paused": False, "oldest": 0.0, "mark": 1, "given_up": 0}
    return Queue(**{"reason": "", **values, **changes})


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("litellm.AuthenticationError: OpenAIException - Incorrect API key provided: sk-x", "provider_auth"),
        ('AnthropicException - {"type":"authentication_error","message":"invalid x-api-key"}', "provider_auth"),
        ("litellm.RateLimitError: OpenAIException - You exceeded your current quota, please check", "provider_quota"),
        ("AnthropicException - Your credit balance is too low to access the API", "provider_quota"),
        ("litellm.RateLimitError: AzureException - Rate limit is exceeded. Try again in 6 s", "provider_limit"),
        ("litellm.NotFoundError: The model `gpt-4-32k` does not exist", "model_missing"),
        ("litellm.Timeout: Connection timed out after 60.0 seconds.", "provider_unreached"),
        ("litellm.InternalServerError: the server had an error", "provider_error"),
        ("", "provider_error"),
    ],
)
def test_a_providers_words_are_understood(error: str, code: str) -> None:
    assert provider_trouble(error) == code
    assert code in CODES


def test_a_budget_is_not_a_providers_quota() -> None:
    assert is_budget("budget_exceeded", "")
    assert is_budget("", "Budget has been exceeded! Current cost: 54.0, Max budget: 50.0")
    assert not is_budget("None", "You exceeded your current quota")


def test_models_that_vanish_count_by_their_share() -> None:
    names = frozenset("abcdefghij")
    for gone, verdict in (
        ("", Verdict.PASS),
        ("ab", Verdict.PASS),
        ("abc", Verdict.WARN),
        ("abcdefghij", Verdict.WARN),
    ):
        answer = weigh_models(names - set(gone), (1200.0, names), MODELS)
        assert answer.verdict == verdict
    assert "gone: a, b, c, d, e and 5 more" in answer.text
    assert weigh_models(names, None, MODELS).verdict == Verdict.PASS
    assert weigh_models(names, (60.0, frozenset()), MODELS).verdict == Verdict.PASS


@pytest.mark.parametrize("body", [None, [], "x", {"data": None}, {"data": {"id": 1}}, {"detail": "no"}])
def test_what_is_no_list_of_models(body: Any) -> None:
    assert model_names(said(body)) is None
    assert model_names(said({"data": [{"id": "a"}, {}, None, 3]})) == frozenset({"a"})
    assert model_names(said({"data": []}, status=500)) is None


def test_stored_checks_count_only_while_they_are_of_now_and_of_a_model_that_is_there() -> None:
    old = row("a", age=FRESH + 1)
    taken_out = row("b")
    answer = weigh_health({"1": old, "2": taken_out, "3": row("c", "healthy")}, frozenset("ac"), NOW, HEALTH)
    assert (answer.verdict, answer.text) == (Verdict.PASS, "1 of 1 models well")
    assert weigh_health({"1": old}, None, NOW, HEALTH).text.startswith("not available")
    wildcard = weigh_health({"1": row("openai/*")}, frozenset("a"), NOW, HEALTH)
    assert wildcard.verdict == Verdict.FAIL


def test_of_several_troubles_the_most_frequent_is_told_else_the_worst() -> None:
    auth, limit = "AuthenticationError", "RateLimitError"
    rows = {"1": row("a", error=limit), "2": row("b", error=limit), "3": row("c", error=auth), "4": row("d", "healthy")}
    answer = weigh_health(rows, None, NOW, HEALTH)
    assert (answer.verdict, answer.code) == (Verdict.WARN, "provider_limit")
    del rows["2"]
    assert weigh_health(rows, None, NOW, HEALTH).code == "provider_auth"
    assert "c 10 min ago: AuthenticationError" in weigh_health(rows, None, NOW, HEALTH).text


@pytest.mark.parametrize(
    ("usage", "cost", "tokens", "dollars"),
    [
        ({"total_tokens": 31}, "0.002", 31, 0.002),
        ({"total_tokens": -5}, "-1", 1, 0.0),
        ({"total_tokens": "many"}, "much", RESERVE, 0.0),
        (None, "nan", RESERVE, 0.0),
        (None, "1e400", RESERVE, 0.0),
    ],
)
def test_what_a_completion_costs_is_booked(usage: Any, cost: str, tokens: int, dollars: float) -> None:
    account = Account(day=NOW.date())
    body = {"choices": [{}], "usage": usage}
    answer = weigh(said(body, headers={"x-litellm-response-cost": cost}), "m", 0.5, account)
    assert answer.verdict == Verdict.PASS
    assert account.tokens == tokens
    assert account.dollars == pytest.approx(dollars)
    assert math.isfinite(answer.measures["cost_today_dollars"])


def test_a_new_day_begins_with_nothing_spent() -> None:
    account = Account(day=date(2026, 11, 21))
    account.spend(100, 0.5)
    account.turn(date(2026, 11, 21))
    assert account.tokens == 100
    account.turn(date(2026, 11, 22))
    assert (account.tokens, account.dollars) == (0, 0.0)


@pytest.mark.parametrize(
    ("status", "error", "verdict", "code"),
    [
        (401, {"type": "key_model_access_denied", "message": "key not allowed to access model"}, "fail", "not_allowed"),
        (401, {"type": "expired_key", "message": "Key is expired"}, "pass", ""),
        (429, {"type": "None", "message": "litellm.RateLimitError: slow down"}, "pass", "limit"),
        (429, {"type": "None", "message": "RateLimitError: exceeded your current quota"}, "fail", "provider_quota"),
        (400, {"type": "None", "message": "ContextWindowExceededError"}, "fail", "provider_error"),
    ],
)
def test_a_completion_that_is_refused(status: int, error: dict[str, str], verdict: str, code: str) -> None:
    answer = weigh(said({"error": error}, status), "m", 0.1, Account(day=NOW.date()))
    assert (answer.verdict.value, answer.code) == (verdict, code)


def test_a_queue_is_late_stuck_or_neither() -> None:
    def told(oldest: float, stood: float) -> tuple[str, str]:
        answer = weigh_waiting([queue(oldest=oldest), queue(name="other")], {"q": stood}, WAITING)
        return answer.verdict.value, answer.code

    assert told(299, 3600) == ("pass", "")
    assert told(300, 0) == ("warn", "behind")
    assert told(900, 0) == ("fail", "behind")
    assert told(300, STILL) == ("fail", "stalled")


def test_given_up_jobs_are_told_with_the_worst_queues_reason() -> None:
    answer = weigh_failed([queue(given_up=3, reason="a"), queue(name="bad", given_up=20, reason="b")], FAILED)
    assert (answer.verdict, answer.code) == (Verdict.WARN, "given_up")
    assert "23 jobs" in answer.text
    assert "20 of them in bad; the newest: b" in answer.text


def test_propagation_that_says_odd_things() -> None:
    params = LangfuseSignalParams(url="http://w", signal="propagation", warn=60, fail=120)
    assert weigh_propagation({}, 0, params).measures == {}
    assert "has not passed any on yet" in weigh_propagation({"propagationDelaySeconds": None}, 90, params).text
    assert weigh_propagation({"propagationDelaySeconds": 7200}, 130, params).verdict == Verdict.FAIL


@pytest.mark.parametrize(
    ("listed", "wanted", "verdict"),
    [
        (["a", "b"], ["a", "b"], "pass"),
        (["litellm.a"], ["a"], "pass"),
        (["llama3:8b"], ["a"], "fail"),
        ([], ["a"], "fail"),
        ([], None, "fail"),
        (["a"], None, "pass"),
    ],
)
def test_open_webuis_list_beside_litellms(listed: list[str], wanted: list[str] | None, verdict: str) -> None:
    assert weigh_lists(listed, wanted).verdict.value == verdict


def test_what_we_write_says_whose_it_is() -> None:
    event: Any = trace_event("t", NOW)
    body = event["batch"][0]["body"]
    assert (body["name"], body["environment"], body["tags"]) == (NAME, LABEL, [LABEL])
    assert body["timestamp"] == "2026-11-21T03:00:00.000Z"
    assert "CANARY_WRITES=off" in body["input"]
    span: Any = otel_span("ab" * 16, NOW)
    one = span["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert (one["name"], len(one["traceId"]), len(one["spanId"])) == (NAME, 32, 16)
    assert one["startTimeUnixNano"] == str(int(NOW.timestamp()) * 10**9)


KEYS = st.sampled_from(
    [
        *("data", "id", "error", "type", "message", "choices", "usage", "total_tokens", "result", "status"),
        *("model_name", "error_message", "checked_at", "unhealthy", "propagationDelaySeconds", "secondsSinceLastRun"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=8), inner, max_size=6),
    max_leaves=20,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(body=JSON, status=st.sampled_from((200, 207, 400, 401, 403, 404, 429, 500, 503)))
def test_whatever_stands_in_an_answer_is_weighed(body: Any, status: int) -> None:
    answer = said(body, status)
    model_names(answer)
    weigh(answer, "m", 1.0, Account(day=NOW.date()))
    for provider in ("litellm", "qdrant", "langfuse"):
        weigh_key(answer, KeySignalParams(url="http://l", key=Secret("k"), provider=provider))
    if isinstance(body, dict):
        weigh_health(body, frozenset("a"), NOW, HEALTH)
        weigh_propagation(body, 90, LangfuseSignalParams(url="http://w", signal="propagation", warn=60))
