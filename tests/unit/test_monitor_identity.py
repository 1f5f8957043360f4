"""Every preset against every other service's healthy answers: none but the right one is up, and it is said who answers.

Nothing is dialled: a transport of our own hands each question to the contract's answers.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from config.causes import Cause
from config.services import Service, discover
from demo.contracts.base import Answer, Request
from demo.contracts.react_client import LISTING, SIGN_IN, WELCOME
from demo.contracts.table import KINDS
from monitor.diagnose.table import diagnose
from monitor.probes.base import Outcome, ProbeContext, Verdict
from monitor.probes.table import run_check

MICROSERVICES = ("api-gateway", "chat", "inference", "agent", "retrieval")
FASTAPI = ("litellm", "r2r", "saas-api", *MICROSERVICES)
S3_DENIED = "<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied.</Message></Error>"
EDGE = {"status": "error", "message": "Application not found", "code": 404}
EDGE_502 = {"status": "error", "message": "Application failed to respond", "code": 502}


class Fixed:
    """The same answer at every path, or at those that are named; 404 elsewhere."""

    def __init__(
        self, body: object, status: int = 200, kind: str = "", *, only: tuple[str, ...] = (), missing: str = ""
    ) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        html = "text/html" if text.lstrip().startswith("<") else "text/plain"
        self._only, self._missing = only, missing
        self._answer = Answer(
            status=status, body=text.encode(), content_type=kind or (html if text is body else "application/json")
        )

    async def answer(self, request: Request) -> Answer:
        if self._only and request.path not in self._only:
            return Answer(status=404, body=self._missing.format(request.path).encode(), content_type="text/plain")
        return self._answer


def page(title: str) -> Fixed:
    return Fixed(f"<!doctype html><html><head><title>{title}</title><script src='/a.js'></script></head></html>")


CONTRACTS: Mapping[str, Any] = {kind: service(version=list(service.VERSIONS)[-1]) for kind, service in KINDS.items()}
# What else is met at a wrong address.
OTHERS: Mapping[str, Any] = {
    "clickhouse": Fixed("Ok.\n", kind="text/html; charset=UTF-8", only=("/", "/ping"), missing="There is no handle {}"),
    "minio console": page("MinIO Console"),
    "swagger": page("LiteLLM API - Swagger UI"),
    "nginx": Fixed(WELCOME),
    "nginx 404": Fixed("<html><head><title>404 Not Found</title></head><body>nginx</body></html>", 404),
    "listing": Fixed(LISTING),
    "sign-in": Fixed(SIGN_IN),
    "edge 404": Fixed(EDGE, 404),
    "edge 502": Fixed(EDGE_502, 502),
    "watchkeeper": Fixed({"status": "ok", "why": {}}, only=("/health", "/healthz"), missing="Not Found"),
    "template's monitor": Fixed({"status": "healthy", "timestamp": "now", "services": {"redis": {}}}),
    "template's backups": Fixed({"status": "healthy", "service": "backup-service", "backup_state": {}}),
    "words": Fixed("OK"),
    "nothing": Fixed(""),
    "empty object": Fixed({}),
    "empty list": Fixed([]),
}
STRANGERS = {**CONTRACTS, **OTHERS}

# Who is told apart by the path alone: a 404 that any application of its kind would give, or one without a word. The
# remedy says that another service may answer there.
BY_PATH: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("open-webui", "saas-api", *MICROSERVICES), ("r2r", "qdrant")),
    "litellm": ("r2r", "qdrant", "saas-api", *MICROSERVICES),
    "r2r": ("litellm", "qdrant", "saas-api", *MICROSERVICES),
    "langfuse-web": ("qdrant",),
    "langfuse-worker": ("qdrant",),
    "clickhouse": ("qdrant",),
}
# Strangers that prove no more than that they are not what was asked for.
NAMELESS = {
    "nginx 404": Cause.NOT_FOUND,
    "nginx": Cause.NOT_FOUND,  # for the React client, whose build is missing then
    "listing": Cause.NOT_FOUND,
    "edge 404": Cause.NOT_FOUND,
    "edge 502": Cause.SERVER_ERROR,
    "watchkeeper": Cause.NOT_FOUND,
    "words": Cause.BAD_ANSWER,
    "nothing": Cause.BAD_ANSWER,
    "empty object": Cause.BAD_ANSWER,
    "empty list": Cause.BAD_ANSWER,
    "template's monitor": Cause.BAD_ANSWER,
    "template's backups": Cause.BAD_ANSWER,
}


def watched(**more: str) -> dict[str, Service]:
    """Every service that is asked over HTTP, without keys where a key is not what it is known by."""
    variables = {
        name: value for kind in KINDS for name, value in KINDS[kind](version="9").environ(f"http://{kind}.test").items()
    }
    keys = ("MINIO_ACCESS_KEY", "MINIO_SECRET_KEY", "LITELLM_MASTER_KEY", "LANGFUSE_PUBLIC_KEY", "LANGFUSE_SECRET_KEY")
    plain = {name: value for name, value in variables.items() if name not in (*keys, "OPEN_WEBUI_API_KEY")}
    discovery = discover({**plain, "CLICKHOUSE_URL": "http://clickhouse.test", **more})
    assert discovery.problems == ()
    return {service.kind: service for service in discovery.services}


Miss = tuple[Outcome, Cause, str]
Look = Callable[[Service, Any], Miss | None]


@pytest.fixture
def first_miss(answered_by: Callable[[Any], ProbeContext]) -> Look:
    """What the first check that makes the service not up saw there, its cause and remedy; None when it is up."""

    async def look(service: Service, stranger: Any) -> Miss | None:
        context = answered_by(stranger)
        try:
            for check in service.checks:
                outcome = await run_check(check, context)
                told = diagnose(service, check, outcome)
                if told and outcome.verdict != Verdict.PASS:
                    return outcome, told.cause, told.remedy
        finally:
            await context.aclose()
        return None

    return lambda service, stranger: asyncio.run(look(service, stranger))


SERVICES = watched()


@pytest.mark.parametrize("kind", SERVICES)
def test_a_service_is_up_at_its_own_address_and_at_no_other(first_miss: Look, kind: str) -> None:
    service, own = SERVICES[kind], STRANGERS[kind]
    assert first_miss(service, own) is None
    for name, stranger in STRANGERS.items():
        if stranger is own:
            continue
        found = first_miss(service, stranger)
        assert found is not None, f"{name} passes for {kind}"
        outcome, cause, remedy = found
        assert outcome.verdict == Verdict.FAIL
        if name in BY_PATH.get(kind, ()):
            assert cause == Cause.NOT_FOUND, (name, outcome.evidence)
            assert "nother service" in remedy, (name, remedy)
        else:
            assert cause in (Cause.WRONG_SERVICE, NAMELESS.get(name)), (name, cause, outcome.evidence)
        assert len(remedy) > 30


def test_the_exceptions_are_needed(first_miss: Look) -> None:
    for kind, names in BY_PATH.items():
        for name in names:
            found = first_miss(SERVICES[kind], STRANGERS[name])
            assert found
            assert found[1] == Cause.NOT_FOUND, (kind, name)


def test_another_store_is_one_as_well(first_miss: Look) -> None:
    """It has no health page of MinIO's: where keys are given, the signed question of the bucket decides."""
    assert first_miss(SERVICES["minio"], Fixed(S3_DENIED, 403, "application/xml")) is None


@pytest.mark.parametrize(("kind", "version"), [(kind, version) for kind in KINDS for version in KINDS[kind].VERSIONS])
def test_every_version_is_known(first_miss: Look, kind: str, version: str) -> None:
    assert first_miss(SERVICES[kind], KINDS[kind](version=version)) is None


@pytest.mark.parametrize("kind", MICROSERVICES)
def test_microservices_without_a_description_of_their_api_cannot_be_told_apart(first_miss: Look, kind: str) -> None:
    """By design: their health is the same to the letter."""
    for other in MICROSERVICES:
        bare = KINDS[other](version="1.0.0", described=False)  # type: ignore[call-arg]  # a field of these alone
        assert first_miss(SERVICES[kind], bare) is None


def test_without_its_text_another_client_passes_for_the_client_and_nothing_else_does(first_miss: Look) -> None:
    """Which built page is the right one, only REACT_CLIENT_TEXT can say."""
    known = watched()
    text = watched(REACT_CLIENT_TEXT="")["react-client"]
    other = page("Another Client")
    assert first_miss(text, other) is None
    assert first_miss(text, page("LLM Stack - React Client")) is None
    missed = first_miss(known["react-client"], other)
    assert missed
    assert missed[1] == Cause.WRONG_SERVICE
    for name, stranger in STRANGERS.items():
        if name != "react-client":
            assert first_miss(text, stranger) is not None, name


@pytest.mark.parametrize("unit", [" ", "<title>", "<title> ", "<input ", "<form log", "| ", "a", "<", "{"])
def test_a_hostile_page_takes_no_time(first_miss: Look, unit: str) -> None:
    began = time.process_time()
    for kind in ("react-client", "qdrant", "minio", "clickhouse"):
        first_miss(SERVICES[kind], Fixed("<title>" + unit * (65_536 // len(unit)), kind="text/html"))
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    ("served", "fits"),
    [("R&amp;D (beta)", True), ("R&D (beta)", True), ("R&D beta", False), ("r&d (beta)", False)],
)
def test_the_text_is_looked_for_letter_by_letter(first_miss: Look, served: str, *, fits: bool) -> None:
    client = watched(REACT_CLIENT_TEXT="R&D (beta)")["react-client"]
    assert (first_miss(client, page(served)) is None) == fits
