"""Whose trouble it is: what a service reports, weighed against what its neighbours answer themselves."""

import pytest

from config.causes import Cause
from config.services import Service, discover
from monitor.board import Board, CheckStatus, ServiceStatus
from monitor.diagnose.table import diagnose
from monitor.judge import State, Track, judge
from monitor.once import hasty
from monitor.probes.base import Evidence, Outcome, Sight, Verdict
from monitor.reasoning import Reasoning, reason

ENVIRON = {
    "DATABASE_URL": "postgresql://u:p@db/x",
    "REDIS_URL": "redis://r",
    "CLICKHOUSE_URL": "http://c:8123",
    "LITELLM_URL": "http://l:4000",
    "LITELLM_MASTER_KEY": "sk-1",
    "LANGFUSE_URL": "http://web:3000",
    "LANGFUSE_WORKER_URL": "http://worker:3030",
    "QDRANT_URL": "http://q:6333",
    "QDRANT_API_KEY": "q-1",
    "OPEN_WEBUI_URL": "http://o:8080",
    "OPEN_WEBUI_API_KEY": "sk-o",
    "OPEN_WEBUI_OPENAI_API_KEY": "sk-1",
}
PASS = Outcome(verdict=Verdict.PASS, latency=0.002, evidence=Evidence(sight=Sight.ANSWERED, text="well"))

Seen = dict[str, dict[str, Outcome]]


def missed(sight: Sight, text: str = "", *, code: str = "", sign: str = "", verdict: Verdict = Verdict.FAIL) -> Outcome:
    return Outcome(verdict=verdict, latency=0.01, evidence=Evidence(sight=sight, text=text, code=code, sign=sign))


REFUSED = missed(Sight.REFUSED, "connection refused by db:5432", code="ECONNREFUSED")
LOST = missed(Sight.ANSWERED, "HTTP 503, its database is lost", code="503", sign="database_lost")


def board(seen: Seen, *, without: tuple[str, ...] = ()) -> Board:
    """A board on which everything passes but what was `seen`, by service and check."""
    made = Board(instance="here", version="1", started_at=0.0)
    environ = {name: value for name, value in ENVIRON.items() if name not in without}
    for service in map(hasty, discover(environ).services):
        made.services[service.name] = looked_at(service, seen.get(service.name, {}))
    return made


def looked_at(service: Service, seen: dict[str, Outcome]) -> ServiceStatus:
    statuses = {check.name: CheckStatus(check=check) for check in service.checks}
    status = ServiceStatus(service=service, track=Track(since=0.0, watched_since=0.0), checks=statuses)
    for check in service.checks:
        one, outcome = statuses[check.name], seen.get(check.name, PASS)
        one.outcome, one.diagnosis = outcome, diagnose(service, check, outcome)
        status.track, _ = judge(status.track, service, check, outcome, one.diagnosis, 1.0)
        status.show_decided()
    return status


def about(name: str, seen: Seen, *, without: tuple[str, ...] = ()) -> Reasoning:
    return reason(board(seen, without=without), name)


def test_a_service_that_is_well_has_no_cause() -> None:
    found = about("litellm", {})
    assert (found.root, found.cause, found.confidence, found.remedy) == ("litellm", None, "proven", "")
    assert "is well" in found.sentence


def test_a_lost_database_that_answers_is_a_lost_way_to_it() -> None:
    found = about("litellm", {"litellm": {"ready": LOST}})
    assert (found.root, found.cause, found.confidence) == ("litellm", Cause.DEPENDENCY, "likely")
    assert "PostgreSQL itself answers, so LiteLLM lost its own way there." in found.sentence
    assert "Not PostgreSQL: it answers directly (query, 2 ms)." in found.ruled_out
    assert any(one.startswith("Not the process") and "alive" in one for one in found.ruled_out)
    assert "database_lost" in found.because[0]


def test_what_passes_at_another_services_address_clears_nothing() -> None:
    found = about("litellm", {"litellm": {"alive": missed(Sight.GARBLED, "the port speaks HTTP/2", code="http2")}})
    assert found.cause == Cause.WRONG_SERVICE
    assert not any(one.startswith("Not the process") for one in found.ruled_out)


def test_what_another_service_answers_does_not_clear_this_one() -> None:
    failed = {name: missed(Sight.ANSWERED, "HTTP 500", code="500", sign="status") for name in ("health", "ready")}
    found = about("langfuse-worker", {"langfuse-worker": failed})
    (own,) = (one for one in found.ruled_out if one.startswith("Not the process"))
    assert own == "Not the process, its port or the network to it: propagation passes."


def test_a_lost_database_that_is_dead_is_the_root() -> None:
    found = about("litellm", {"litellm": {"ready": LOST}, "postgres": {"query": REFUSED}})
    assert (found.root, found.cause, found.confidence) == ("postgres", Cause.REFUSED, "proven")
    assert found.remedy == about("postgres", {"postgres": {"query": REFUSED}}).remedy
    assert "Not Redis: it answers directly (ping, 2 ms)." in found.ruled_out


def test_a_dead_dependency_that_the_words_do_not_name_is_not_the_root() -> None:
    found = about("litellm", {"litellm": {"ready": LOST}, "redis": {"ping": REFUSED}})
    assert found.root == "litellm"
    assert "PostgreSQL itself answers" in found.sentence


@pytest.mark.parametrize(
    ("kind", "root"), [("postgres", "postgres"), ("redis", "redis"), ("clickhouse", "langfuse-worker")]
)
def test_of_two_dependencies_that_are_named_either_may_be_the_root(kind: str, root: str) -> None:
    lost = missed(Sight.ANSWERED, "HTTP 500, the worker cannot reach PostgreSQL or Redis", sign="dependency_lost")
    check = {"postgres": "query", "redis": "ping", "clickhouse": "query"}[kind]
    found = about("langfuse-worker", {"langfuse-worker": {"health": lost}, kind: {check: REFUSED}})
    assert found.root == root


def test_what_is_not_watched_leaves_it_unsure() -> None:
    web = missed(Sight.ANSWERED, "HTTP 503: Database not available", sign="database_unavailable")
    found = about(
        "langfuse-web", {"langfuse-web": {"health": web}}, without=("DATABASE_URL", "REDIS_URL", "CLICKHOUSE_URL")
    )
    assert found.confidence == "unsure"
    assert any("not watched" in step for step in found.because)


@pytest.mark.parametrize(
    ("outcome", "root", "confidence"),
    [
        (REFUSED, "postgres", "likely"),  # it may have ended itself for want of its database
        (missed(Sight.NO_ANSWER, "silence"), "postgres", "likely"),
        (missed(Sight.NO_NAME, "no such name", code="EAI_NONAME"), "litellm", "proven"),
        (missed(Sight.ANSWERED, "HTTP 401", code="401", sign="status"), "litellm", "proven"),
        (missed(Sight.TLS, "expired", code="expired"), "litellm", "proven"),
    ],
)
def test_a_dead_dependency_explains_silence_and_refusal_but_no_wrong_name_or_key(
    outcome: Outcome, root: str, confidence: str
) -> None:
    found = about("litellm", {"litellm": {"alive": outcome, "ready": outcome}, "postgres": {"query": REFUSED}})
    assert (found.root, found.confidence) == (root, confidence)


@pytest.mark.parametrize(
    ("sight", "confidence"),
    [
        (Sight.REFUSED, "proven"),
        (Sight.RESET, "likely"),
        (Sight.NO_CONNECT, "likely"),
        (Sight.NO_ANSWER, "likely"),
        (Sight.GARBLED, "proven"),
    ],
)
def test_silence_proves_less_than_an_answer(sight: Sight, confidence: str) -> None:
    assert about("redis", {"redis": {"ping": missed(sight, "x")}}).confidence == confidence


def test_what_could_not_be_looked_at_is_unsure() -> None:
    blind = missed(Sight.NO_RESOLVER, "the resolver gave no answer", verdict=Verdict.UNKNOWN)
    found = about("redis", {"redis": {"ping": blind}})
    assert (found.confidence, found.cause) == ("unsure", Cause.NO_RESOLVER)


def test_a_degraded_dependency_is_no_reason_to_be_down() -> None:
    slow = missed(Sight.ANSWERED, "80 %", sign="transactions", verdict=Verdict.WARN)
    seen: Seen = {"postgres": {"transactions": slow}, "litellm": {"alive": missed(Sight.NO_ANSWER, "silence")}}
    assert about("litellm", seen).root == "litellm"
    assert about("postgres", seen).cause is not None


def test_a_warning_of_a_service_that_is_not_down_is_explained() -> None:
    warning = missed(Sight.ANSWERED, "LiteLLM lists no model", sign="no_models", verdict=Verdict.WARN)
    made = board({"litellm": {"models": warning}})
    assert made.services["litellm"].state == State.DEGRADED
    assert reason(made, "litellm").cause == Cause.BAD_ANSWER


def test_a_provider_somewhere_else_is_no_lost_way_to_what_is_watched() -> None:
    outcome = missed(Sight.ANSWERED, "gpt fails: Connection timed out", sign="health", code="provider_unreached")
    found = about("litellm", {"litellm": {"providers": outcome}, "redis": {"ping": REFUSED}})
    assert (found.root, found.cause, found.confidence) == ("litellm", Cause.DEPENDENCY, "proven")
    assert "lost its own way" not in found.sentence


def test_of_several_that_may_be_meant_all_are_named() -> None:
    lost = missed(Sight.ANSWERED, "HTTP 500, the worker cannot reach PostgreSQL or Redis", sign="dependency_lost")
    found = about("langfuse-worker", {"langfuse-worker": {"health": lost}})
    assert "PostgreSQL and Redis themselves answer" in found.sentence


def test_a_dependency_that_only_ails_leaves_it_unsure() -> None:
    slow = missed(Sight.ANSWERED, "oldest transaction", sign="transactions", verdict=Verdict.WARN)
    found = about("litellm", {"litellm": {"ready": LOST}, "postgres": {"transactions": slow}})
    assert (found.root, found.confidence) == ("litellm", "unsure")
    assert "PostgreSQL is degraded, which may be the reason." in found.because


def test_one_that_answers_while_what_it_needs_is_dead_is_expected_to_fail() -> None:
    found = about("litellm", {"redis": {"ping": REFUSED}})
    assert found.cause is None
    assert "But Redis, which it needs, is down: expect it to fail" in found.sentence


KEY_REFUSED = missed(Sight.ANSWERED, "HTTP 401 to the key", code="wrong", sign="key")
OUR_KEY_REFUSED = missed(Sight.ANSWERED, "HTTP 401 for our own key", code="auth", sign="models")


def test_whoever_refuses_our_key_too_is_the_root_of_a_refused_key() -> None:
    refused = missed(Sight.ANSWERED, "HTTP 401", code="401", sign="key_refused")
    seen: Seen = {"open-webui": {"litellm_key": KEY_REFUSED}, "litellm": {"models": refused}}
    assert about("open-webui", seen).root == "litellm"
    assert about("open-webui", {"open-webui": {"litellm_key": KEY_REFUSED}}).root == "open-webui"


def test_a_key_of_its_own_is_refused_whoever_else_refuses_one() -> None:
    refused = missed(Sight.ANSWERED, "HTTP 401", code="401", sign="key")
    seen: Seen = {"open-webui": {"models": OUR_KEY_REFUSED}, "qdrant": {"key": refused}}
    assert board(seen).services["qdrant"].state == State.DEGRADED
    assert about("open-webui", seen).root == "open-webui"
