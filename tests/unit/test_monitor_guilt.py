"""Whose trouble explains whose: what a lost dependency may show as, and what is its own whatever else is out."""

from dataclasses import replace

import pytest

from config.causes import Cause
from config.services import discover
from monitor.dependencies import Graph
from monitor.guilt import ITS_OWN, Trouble, explains, provider_of
from monitor.watch import neighbours

ENVIRON = {
    "DATABASE_URL": "postgresql://u:p@db/x",
    "LITELLM_URL": "http://l:4000",
    "LITELLM_MASTER_KEY": "sk-1",
    "LITELLM_LANGFUSE_PUBLIC_KEY": "pk-lf-1",
    "LITELLM_LANGFUSE_SECRET_KEY": "sk-lf-1",
    "LANGFUSE_URL": "http://web:3000",
    "OPEN_WEBUI_URL": "http://o:8080",
    "OPEN_WEBUI_OPENAI_API_KEY": "sk-1",
}


def trouble(name: str, state: str, cause: Cause | None, asks: str = "http", provider: str = "") -> Trouble:
    return Trouble(name=name, kind=name, state=state, cause=cause, asks=asks, provider=provider)


POSTGRES = trouble("postgres", "down", Cause.REFUSED, "postgres")
QDRANT_KEY = trouble("qdrant", "degraded", Cause.AUTH, "qdrant_signal")
LITELLM_KEY = trouble("litellm", "degraded", Cause.AUTH)
KEY_AT_LITELLM = trouble("open-webui", "degraded", Cause.AUTH, "key_signal", "litellm")
KEY_AT_QDRANT = trouble("open-webui", "degraded", Cause.AUTH, "key_signal", "qdrant")
OWN_KEY = trouble("open-webui", "degraded", Cause.AUTH, "openwebui_signal")


@pytest.mark.parametrize("cause", sorted(set(Cause) - ITS_OWN))
def test_what_a_lost_dependency_shows_as_is_explained_by_it(cause: Cause) -> None:
    assert explains(POSTGRES, trouble("litellm", "down", cause))


@pytest.mark.parametrize("cause", sorted(ITS_OWN))
def test_what_lies_with_the_service_itself_is_not(cause: Cause) -> None:
    assert not explains(POSTGRES, trouble("litellm", "down", cause))


@pytest.mark.parametrize(
    ("root", "other", "explained"),
    [
        (LITELLM_KEY, KEY_AT_LITELLM, True),
        (LITELLM_KEY, KEY_AT_QDRANT, False),
        (LITELLM_KEY, OWN_KEY, False),
        (QDRANT_KEY, OWN_KEY, False),
        (QDRANT_KEY, KEY_AT_QDRANT, True),
        # It cannot look keys up, or is gone altogether; slow it may be.
        (trouble("litellm", "degraded", Cause.DEPENDENCY), KEY_AT_LITELLM, True),
        (trouble("litellm", "down", Cause.REFUSED), KEY_AT_LITELLM, True),
        (trouble("litellm", "degraded", Cause.SLOW), KEY_AT_LITELLM, False),
        # The key of a provider in the world, or LiteLLM's own at Langfuse, is none that LiteLLM takes.
        (trouble("litellm", "degraded", Cause.AUTH, "litellm_signal"), KEY_AT_LITELLM, False),
        (trouble("litellm", "degraded", Cause.AUTH, "key_signal"), KEY_AT_LITELLM, False),
        # Where keys are kept in a database that is out, ours may be refused.
        (POSTGRES, OWN_KEY, True),
        (POSTGRES, KEY_AT_LITELLM, False),
        (trouble("redis", "down", Cause.REFUSED), OWN_KEY, False),
    ],
)
def test_a_key_that_is_refused(root: Trouble, other: Trouble, explained: bool) -> None:
    assert explains(root, other) == explained


@pytest.mark.parametrize(
    ("cause", "other", "explained"),
    [
        (Cause.AUTH, Cause.DEPENDENCY, True),
        (Cause.AUTH, Cause.BAD_ANSWER, True),
        (Cause.AUTH, Cause.SLOW, False),
        (Cause.CERT_EXPIRING, Cause.SLOW, False),
        (Cause.CERT_EXPIRING, Cause.DEPENDENCY, False),
        (Cause.SLOW, Cause.SLOW, True),
    ],
)
def test_what_leaves_dependents_working_explains_nothing_of_theirs(cause: Cause, other: Cause, explained: bool) -> None:
    root = trouble("qdrant", "degraded", cause, "qdrant_signal")
    assert explains(root, trouble("r2r", "degraded", other)) == explained


@pytest.mark.parametrize(
    ("one", "other", "explained"),
    [
        (Cause.DNS, Cause.NO_NAMES, True),
        (Cause.TLS, Cause.TLS, True),
        (Cause.CERT_EXPIRED, Cause.CERT_EXPIRED, True),
        (Cause.MISCONFIGURED, Cause.MISCONFIGURED, False),
        (Cause.TLS, Cause.DNS, False),
    ],
)
def test_one_network_or_authority_fails_several_alike(one: Cause, other: Cause, explained: bool) -> None:
    assert explains(trouble("a", "down", one), trouble("b", "down", other)) == explained


def test_a_missing_bucket_fails_the_jobs_that_need_it() -> None:
    jobs = trouble("langfuse-worker", "degraded", Cause.NOT_FOUND, "queue_signal")
    assert explains(trouble("minio", "down", Cause.NOT_FOUND, "s3"), jobs)


def test_a_second_port_fails_with_its_server_whatever_it_shows() -> None:
    garbled = trouble("qdrant-grpc", "down", Cause.WRONG_SERVICE, "grpc")
    assert explains(trouble("qdrant", "down", Cause.RESET), garbled)


@pytest.mark.parametrize(
    ("one", "other", "explained"),
    [
        (Cause.AUTH, Cause.AUTH, True),
        (Cause.REFUSED, Cause.WRONG_SERVICE, True),
        (Cause.NOT_FOUND, Cause.AUTH, False),
    ],
)
def test_two_databases_of_one_server_fail_as_one(one: Cause, other: Cause, explained: bool) -> None:
    assert explains(trouble("postgres", "down", one), trouble("postgres", "down", other)) == explained


def test_a_root_of_which_no_cause_is_known_explains_everything() -> None:
    assert explains(trouble("postgres", "down", None), OWN_KEY)


def test_who_tries_a_key_where_is_read_off_the_checks() -> None:
    graph = Graph.of(discover(ENVIRON).services)
    assert graph.keys == {
        ("litellm", "langfuse_key"): "langfuse-web",
        ("open-webui", "litellm_key"): "litellm",
    }
    assert graph.holders["langfuse-web"] == ("litellm",)
    assert graph.holders["litellm"] == ()  # its children anyway


def test_a_provider_that_is_watched_at_another_address_is_the_one_its_holder_depends_on() -> None:
    services = {one.name: one for one in discover({**ENVIRON, "LITELLM_URL": "http://elsewhere:4000"}).services}
    (key,) = (one for one in discover(ENVIRON).services if one.name == "open-webui")
    check = next(one for one in key.checks if one.name == "litellm_key")
    assert provider_of(key, check, services.values()) == "litellm"
    assert provider_of(replace(key, depends_on=()), check, services.values()) == ""


def test_who_misses_has_the_provider_of_its_keys_asked_too() -> None:
    near = neighbours(discover(ENVIRON).services)
    assert "langfuse-web" in near["litellm"]
    assert "litellm" in near["langfuse-web"]


def test_no_key_is_tried_at_what_depends_on_its_holder() -> None:
    """Either would be the other's excuse, and neither be told."""
    services = [
        replace(one, depends_on=("litellm",)) if one.name == "langfuse-web" else one
        for one in discover(ENVIRON).services
    ]
    assert set(Graph.of(services).keys) == {("open-webui", "litellm_key")}
