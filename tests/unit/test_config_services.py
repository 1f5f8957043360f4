"""What is found in an environment, and what is said about the rest."""

import string
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.causes import Cause
from config.checks import ClickhouseParams, GrpcParams, HttpParams, PostgresParams, RedisParams, S3Params, TlsParams
from config.configuration import load
from config.env import ConfigError
from config.kinds import SIGNALS
from config.presets import Preset, presets
from config.secret import Secret
from config.services import Discovery, Service, discover

CANARY = "c4n4ryS3cret"

EVERYTHING = {
    "LITELLM_URL": "http://litellm.railway.internal:4000",
    "LITELLM_MASTER_KEY": "sk-" + CANARY,
    "LANGFUSE_URL": "http://langfuse-web.railway.internal:3000",
    "LANGFUSE_PUBLIC_KEY": "pk-lf-" + CANARY,
    "LANGFUSE_SECRET_KEY": "sk-lf-" + CANARY,
    "LANGFUSE_WORKER_URL": "http://langfuse-worker.railway.internal:3030",
    "OPEN_WEBUI_URL": "http://openwebui.railway.internal:8080",
    "OPEN_WEBUI_API_KEY": "sk-" + CANARY,
    "R2R_URL": "http://r2r.railway.internal:7272",
    "QDRANT_URL": "http://qdrant.railway.internal:6333",
    "QDRANT_API_KEY": CANARY,
    "QDRANT_GRPC_URL": "qdrant.railway.internal:6334",
    "REACT_CLIENT_URL": "http://react-client.railway.internal:3000",
    "SAAS_API_URL": "http://saas-api.railway.internal:8000",
    "API_GATEWAY_URL": "http://api-gateway:8000",
    "CHAT_SERVICE_URL": "http://chat-service:8004",
    "INFERENCE_SERVICE_URL": "http://inference-service:8001",
    "AGENT_SERVICE_URL": "http://agent-service:8002",
    "RETRIEVAL_SERVICE_URL": "http://retrieval-service:8003",
    "DATABASE_URL": f"postgresql://postgres:{CANARY}@postgres.railway.internal:5432/litellm",
    "REDIS_URL": f"redis://default:{CANARY}@redis.railway.internal:6379",
    "CLICKHOUSE_URL": "http://clickhouse.railway.internal:8123",
    "CLICKHOUSE_USER": "clickhouse",
    "CLICKHOUSE_PASSWORD": CANARY,
    "CLICKHOUSE_DB": "langfuse",
    "MINIO_ENDPOINT": "minio.railway.internal:9000",
    "MINIO_ACCESS_KEY": CANARY,
    "MINIO_SECRET_KEY": CANARY,
    "MINIO_SECURE": "false",
}
NAMES = """
agent api-gateway chat clickhouse inference langfuse-web langfuse-worker litellm minio open-webui
postgres qdrant qdrant-grpc r2r react-client redis retrieval saas-api
"""


def found(environ: Mapping[str, str]) -> dict[str, Service]:
    """The services in `environ`, which must be without problems."""
    discovery = discover(environ)
    assert discovery.problems == ()
    return {service.name: service for service in discovery.services}


def params(service: Service, check: str) -> Any:
    return next(item.params for item in service.checks if item.name == check)


def remedy(service: Service, check: str, cause: Cause) -> str:
    return next(item.remedies[cause] for item in service.checks if item.name == check)


def places(environ: Mapping[str, str]) -> list[str]:
    return [problem.place for problem in discover(environ).problems]


def everything_seen(discovery: Discovery) -> str:
    return f"{discovery!r} {[str(problem) for problem in discovery.problems]}"


def test_of_several_buckets_the_one_that_is_none_is_told_by_its_number() -> None:
    store = {"MINIO_ENDPOINT": "minio:9000", "MINIO_ACCESS_KEY": "a", "MINIO_SECRET_KEY": "s"}
    (problem,) = discover({**store, "MINIO_BUCKETS": "langfuse, Bad_One, backups"}).problems
    assert str(problem).startswith("MINIO_BUCKETS: entry 2 is no bucket's name; write 3 to 63")
    many = ",".join(f"bucket-{number}" for number in range(101))
    (problem,) = discover({**store, "MINIO_BUCKETS": many}).problems
    assert str(problem).startswith("MINIO_BUCKETS: has 101 entries; name at most 100")
    assert not discover({**store, "MINIO_BUCKETS": many.rpartition(",")[0]}).problems
    (problem,) = discover({**store, "MINIO_BUCKETS": "Bad_One"}).problems
    assert str(problem).startswith("MINIO_BUCKETS: is no bucket's name")


def test_the_whole_stack_is_found_sorted_and_the_same_each_time() -> None:
    discovery = discover(EVERYTHING)
    assert [service.name for service in discovery.services] == NAMES.split()
    assert discovery.problems == ()
    assert discovery.notes == ()
    assert discovery == discover(dict(reversed(EVERYTHING.items())))
    assert CANARY not in everything_seen(discovery)


def test_who_depends_on_whom() -> None:
    services = found(EVERYTHING)
    assert {name: service.depends_on for name, service in services.items() if service.depends_on} == {
        "litellm": ("postgres", "redis"),
        "langfuse-web": ("postgres", "clickhouse", "redis", "minio"),
        "langfuse-worker": ("postgres", "clickhouse", "redis", "minio"),
        "open-webui": ("litellm", "postgres", "redis", "qdrant"),
        "r2r": ("postgres",),
        "qdrant-grpc": ("qdrant",),
        "saas-api": ("litellm", "postgres"),
        "api-gateway": ("chat", "inference", "agent", "retrieval"),
        "chat": ("postgres",),
        "retrieval": ("qdrant",),
    }


def test_what_is_not_watched_is_no_dependency() -> None:
    assert found({"LITELLM_URL": "litellm", "REDIS_URL": "redis://redis"})["litellm"].depends_on == ("redis",)


def test_parameters_reach_the_checks() -> None:
    services = found(EVERYTHING)
    secret = Secret(CANARY)
    assert params(services["postgres"], "query") == PostgresParams(
        host="postgres.railway.internal", port=5432, user="postgres", password=secret, database="litellm"
    )
    assert params(services["redis"], "ping") == RedisParams(
        host="redis.railway.internal", port=6379, user="default", password=secret
    )
    assert params(services["clickhouse"], "query") == ClickhouseParams(
        url="http://clickhouse.railway.internal:8123", user="clickhouse", password=secret, database="langfuse"
    )
    assert params(services["minio"], "bucket") == S3Params(
        url="http://minio.railway.internal:9000", access_key=secret, secret_key=secret, bucket="backups"
    )
    assert params(services["qdrant-grpc"], "health") == GrpcParams(host="qdrant.railway.internal", port=6334)
    models = params(services["litellm"], "models")
    assert isinstance(models, HttpParams)
    assert models.headers == {"Authorization": Secret(f"Bearer sk-{CANARY}")}


def test_no_service_at_all_is_a_problem_that_says_what_to_set() -> None:
    (problem,) = discover({"PATH": "/bin", "QDRANT__SERVICE__API_KEY": "x"}).problems
    for variable in ("LITELLM_URL", "DATABASE_URL", "REDIS_HOST", "WATCH_FILE"):
        assert variable in problem.remedy


@pytest.mark.parametrize(
    ("environ", "hint"),
    [
        ({"OPENWEBUI_URL": "http://webui"}, "did you mean OPEN_WEBUI_URL?"),
        ({"LITELLM_URL": ""}, "LITELLM_URL is set but empty"),
        ({"REDIS_PASSWORD": CANARY}, "REDIS_PASSWORD is set, but without REDIS_URL"),
    ],
)
def test_no_service_at_all_points_to_what_was_perhaps_meant(environ: dict[str, str], hint: str) -> None:
    (problem,) = discover(environ).problems
    assert hint in problem.message


def test_a_bad_address_is_not_called_no_address() -> None:
    assert places({"LITELLM_URL": "redis://litellm"}) == ["LITELLM_URL"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LITELLM_URL", "redis://litellm:4000"),
        ("LITELLM_URL", "http://litellm:99999"),
        ("LANGFUSE_URL", "${{langfuse-web.URL}}"),
        ("DATABASE_URL", "${{Postgres.DATABASE_URL}}"),
        ("DATABASE_URL", f"postgresql://postgres:{CANARY}@${{{{Postgres.PGHOST}}}}:5432/x"),
        ("DATABASE_URL", f"redis://:{CANARY}@redis:6379"),
        ("DATABASE_URL", f"postgresql://postgres:{CANARY}"),
        ("DATABASE_URL", f"postgresql://postgres:{CANARY}/litellm"),
        ("DATABASE_URL", f"postgresql://postgres:{CANARY}@one,two/litellm"),
        ("DATABASE_URL", f"postgresql://postgres:{CANARY}@db/x?sslmode={CANARY}"),
        ("DATABASE_URL", f"postgresql:///x?host=/var/run&password={CANARY}"),
        ("REDIS_URL", f"redis://{CANARY}@redis:6379"),
        ("REDIS_URL", f"redis://:{CANARY}@redis:6379/{CANARY}"),
        ("REDIS_URL", f"postgres://x:{CANARY}@redis:6379"),
        ("REDIS_URL", f"unix:///{CANARY}.sock"),
        ("CLICKHOUSE_URL", f"clickhouse://default:{CANARY}@clickhouse:9000"),
        ("MINIO_ENDPOINT", "s3://backups"),
        ("QDRANT_GRPC_URL", "redis://qdrant:6334"),
        ("REDIS_URL__EU", "http://redis"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_line_with_its_variable_and_a_remedy(variable: str, value: str) -> None:
    discovery = discover({variable: value})
    (problem,) = discovery.problems
    assert problem.place == variable
    assert problem.remedy
    assert "\n" not in str(problem)
    assert CANARY not in everything_seen(discovery)


def test_all_problems_come_at_once() -> None:
    environ = {"LITELLM_URL": "http://x:0", "REDIS_URL": "http://x", "CHECK_INTERVAL": "?", "LANGFUSE_URL": "a b"}
    assert places(environ) == ["CHECK_INTERVAL", "LANGFUSE_URL", "LITELLM_URL", "REDIS_URL"]
    with pytest.raises(ConfigError) as caught:
        load({**environ, "PORT": "x"})
    assert len(str(caught.value).splitlines()) == 5


@pytest.mark.parametrize(
    ("environ", "host", "port"),
    [
        ({"QDRANT_URL": "http://one:1"}, "one", 1),
        ({"QDRANT_URI": "http://two"}, "two", 6333),
        ({"QDRANT_HOST": "three"}, "three", 6333),
        ({"QDRANT_HOST": "four", "QDRANT_PORT": "4"}, "four", 4),
        ({"QDRANT_HOST": "http://five:5", "QDRANT_PORT": "4"}, "five", 5),
        ({"QDRANT_HOST": "::1", "QDRANT_PORT": "6"}, "[::1]", 6),
        ({"QDRANT_URL": "one:1", "QDRANT_URI": "two:2", "QDRANT_HOST": "three"}, "one", 1),
    ],
)
def test_a_service_may_be_named_in_several_ways(environ: dict[str, str], host: str, port: int) -> None:
    assert found(environ)["qdrant"].address == f"http://{host}:{port}"


def test_what_is_not_used_is_noted() -> None:
    notes = discover({"QDRANT_URL": "one:1", "QDRANT_URI": "two:2", "QDRANT_HOST": "three"}).notes
    assert [note.split()[0] for note in notes if "not used" in note] == ["QDRANT_HOST", "QDRANT_URI"]
    assert not any("not used" in note for note in discover({"REDIS_URL": "redis://redis", "REDIS_HOST": "redis"}).notes)


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1", "63.79"])
def test_a_port_of_its_own_is_checked(port: str) -> None:
    assert places({"REDIS_HOST": "redis", "REDIS_PORT": port}) == ["REDIS_PORT"]


def test_a_port_that_kubernetes_put_there_is_explained() -> None:
    (problem,) = discover({"REDIS_HOST": "redis", "REDIS_PORT": "tcp://10.0.0.1:6379"}).problems
    assert "enableServiceLinks" in problem.remedy
    assert found({"REDIS_URL": "redis://redis", "REDIS_PORT": "tcp://10.0.0.1:6379"})["redis"].address == (
        "redis://redis:6379"
    )


@pytest.mark.parametrize(
    ("environ", "password"),
    [
        ({"REDIS_HOST": "redis", "REDIS_PASSWORD": "one"}, Secret("one")),
        ({"REDIS_URL": "redis://redis", "REDIS_PASSWORD": "one"}, Secret("one")),
        ({"REDIS_URL": "redis://:two@redis", "REDIS_PASSWORD": "one"}, Secret("two")),
        ({"REDIS_URL": "redis://user@redis", "REDIS_PASSWORD": "one"}, Secret("one")),
        ({"REDIS_URL": "redis://redis"}, None),
    ],
)
def test_a_password_of_the_address_wins_over_the_variable(environ: dict[str, str], password: Secret | None) -> None:
    assert params(found(environ)["redis"], "ping").password == password


def test_redis_with_tls_and_a_database() -> None:
    made = params(found({"REDIS_URL": "rediss://:x@redis.example.com:6380/3?family=0"})["redis"], "ping")
    assert (made.host, made.port, made.database, made.tls) == ("redis.example.com", 6380, 3, True)


def test_parameters_for_an_orm_are_dropped_with_a_note() -> None:
    url = f"postgres://u:{CANARY}@db/x?pool_size=20&max_overflow=10&sslmode=require&pgbouncer=true&schema=public"
    discovery = discover({"DATABASE_URL": url})
    (service,) = discovery.services
    assert params(service, "query").options == {"sslmode": "require"}
    (note,) = discovery.notes
    assert "pool_size, max_overflow, pgbouncer, schema" in note
    assert CANARY not in everything_seen(discovery)


@pytest.mark.parametrize(
    ("url", "user", "database"),
    [
        ("postgresql://db", "postgres", "postgres"),
        ("postgresql://me@db", "me", "me"),
        ("postgresql://me@db/", "me", "me"),
        ("postgresql://me@db/my%20data", "me", "my data"),
        ("postgresql://db?user=me&password=x&dbname=data", "me", "data"),
    ],
)
def test_user_and_database_follow_libpq(url: str, user: str, database: str) -> None:
    made = params(found({"DATABASE_URL": url})["postgres"], "query")
    assert (made.user, made.database) == (user, database)


def test_endings_that_people_copy_along_are_dropped() -> None:
    discovery = discover({"LITELLM_URL": "http://litellm:4000/v1/", "R2R_URL": "http://r2r:7272/base"})
    assert [service.address for service in discovery.services] == ["http://litellm:4000", "http://r2r:7272/base"]
    assert any(note.startswith("LITELLM_URL: /v1") for note in discovery.notes)


def test_user_and_password_of_an_http_address_become_a_header() -> None:
    service = found({"LANGFUSE_URL": f"http://me:{CANARY}@langfuse-web:3000"})["langfuse-web"]
    made = params(service, "health")
    assert made.url == "http://langfuse-web:3000"
    assert made.headers["Authorization"].reveal().startswith("Basic ")
    assert CANARY not in f"{service!r} {made.headers!r}"


def test_an_address_that_nobody_could_read_is_cut_where_it_is_shown() -> None:
    service = found({"DATABASE_URL": f"postgresql://u:p@db/{'x' * 10_000}"})["postgres"]
    assert service.address.startswith("postgresql://db:5432/xxx")
    assert len(service.address) == 200
    assert params(service, "query").database == "x" * 10_000


def test_an_https_address_has_its_certificate_watched() -> None:
    service = found({"LANGFUSE_URL": "https://langfuse.example.com"})["langfuse-web"]
    assert params(service, "certificate") == TlsParams(host="langfuse.example.com", port=443, optional=True)


def test_checks_whose_key_is_not_set_are_left_out_with_a_note() -> None:
    discovery = discover({"LITELLM_URL": "litellm", "CLICKHOUSE_URL": "http://clickhouse", "QDRANT_URL": "qdrant"})
    checks = {service.name: [check.name for check in service.checks] for service in discovery.services}
    # Qdrant may well need no key: it is asked without one.
    qdrant = ["ready", "identity", "key", "collections", "queue", "recovery", "replicas"]
    assert checks == {"litellm": ["alive", "ready"], "clickhouse": ["ping"], "qdrant": qdrant}
    assert any("CLICKHOUSE_USER or CLICKHOUSE_PASSWORD" in note for note in discovery.notes)
    assert "api-key" not in params(discovery.services[-1], "ready").headers


@pytest.mark.parametrize(
    "environ",
    [
        {"MINIO_ACCESS_KEY": "a", "MINIO_SECRET_KEY": "b"},
        {"MINIO_ROOT_USER": "a", "MINIO_ROOT_PASSWORD": "b"},
        {"MINIO_ACCESS_KEY": "a", "MINIO_ROOT_USER": "x", "MINIO_SECRET_KEY": "b", "MINIO_ROOT_PASSWORD": "x"},
    ],
)
def test_keys_of_the_store_under_either_name(environ: dict[str, str]) -> None:
    made = params(found({"MINIO_ENDPOINT": "minio:9000", **environ})["minio"], "bucket")
    assert (made.access_key, made.secret_key) == (Secret("a"), Secret("b"))


def test_half_a_pair_of_keys_is_a_problem() -> None:
    (problem,) = discover({"MINIO_ENDPOINT": "minio:9000", "MINIO_ACCESS_KEY": CANARY}).problems
    assert problem.place == "MINIO_SECRET_KEY or MINIO_ROOT_PASSWORD"


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"MINIO_ENDPOINT": "minio:9000"}, "http://minio:9000"),
        ({"MINIO_ENDPOINT": "minio:9000", "MINIO_SECURE": "true"}, "https://minio:9000"),
        ({"MINIO_ENDPOINT": "http://minio:9000", "MINIO_SECURE": "true"}, "http://minio:9000"),
        ({"MINIO_ENDPOINT": "https://s3.example.com"}, "https://s3.example.com"),
        ({"MINIO_ENDPOINT": "s3.example.com"}, "https://s3.example.com"),
    ],
)
def test_the_endpoint_of_the_store(environ: dict[str, str], url: str) -> None:
    assert found(environ)["minio"].address == url


def test_a_second_one_has_a_suffix_and_companions_of_its_own() -> None:
    services = found(
        {
            "REDIS_HOST": "one",
            "REDIS_PASSWORD": "p1",
            "REDIS_HOST__EU_WEST": "two",
            "REDIS_PORT__EU_WEST": "6380",
            "REDIS_PASSWORD__EU_WEST": "p2",
            "REDIS_URL__US": "redis://three",
            "MINIO_ENDPOINT__EU": "minio",
            "MINIO_SECURE": "yes",
            "MINIO_ACCESS_KEY__EU": "a",
            "MINIO_SECRET_KEY__EU": "b",
            "LITELLM_URL__EU": "litellm",
            "LITELLM_MASTER_KEY": "not for it",
        }
    )
    assert list(services) == ["litellm-eu", "minio-eu", "redis", "redis-eu-west", "redis-us"]
    assert params(services["redis-eu-west"], "ping") == RedisParams(host="two", port=6380, password=Secret("p2"))
    assert params(services["redis-us"], "ping").password is None
    assert params(services["minio-eu"], "bucket").bucket is None
    assert services["minio-eu"].address.startswith("https://")
    assert [check.name for check in services["litellm-eu"].checks] == ["alive", "ready"]
    assert services["redis-eu-west"].kind == "redis"
    assert services["redis-eu-west"].title == "Redis (eu-west)"
    assert services["redis-eu-west"].variables == ("REDIS_HOST__EU_WEST", "REDIS_PASSWORD__EU_WEST")


@pytest.mark.parametrize(
    "variable",
    ["REDIS_URL__", "REDIS_URL___EU", "REDIS_URL__EU_", "REDIS_URL__É", "REDIS_URL__A__B", "REDIS_URL__A_-B"],
)
def test_a_suffix_that_names_nothing_is_a_problem(variable: str) -> None:
    assert variable in places({variable: "redis://redis", "LITELLM_URL": "litellm"})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("REDIS_URL__a", "REDIS_URL__A"),
        ("DATABASE_URL__EU_1", "DATABASE_URL__eu-1"),
        ("REDIS_PASSWORD__x", "REDIS_PASSWORD__X"),
    ],
)
def test_two_spellings_of_one_name_are_a_problem_that_names_both(one: str, other: str) -> None:
    scheme = "postgres" if "DATABASE" in one else "redis"
    environ = {one: f"{scheme}://h", other: f"{scheme}://i", "REDIS_URL__X": "redis://x"}
    (problem,) = discover(environ).problems
    assert set(problem.place.split(" and ")) == {one, other}


def test_of_two_spellings_an_empty_one_does_not_count() -> None:
    assert found({"REDIS_URL__A": "", "REDIS_URL__a": "redis://h"})["redis-a"].variables == ("REDIS_URL__a",)
    assert found({"REDIS_URL__A": "redis://h", "REDIS_URL__a": ""})["redis-a"].variables == ("REDIS_URL__A",)


@pytest.mark.parametrize(
    ("variables", "note"),
    [
        ({"REDIS_URL": "redis://:a@h:1", "REDIS_PORT": "2"}, "REDIS_PORT is not used: REDIS_URL says otherwise"),
        ({"REDIS_URL": "redis://:a@h", "REDIS_PASSWORD": "b"}, "REDIS_PASSWORD is not used: REDIS_URL says otherwise"),
        ({"REDIS_HOST": "h:1", "REDIS_PORT": "2"}, "REDIS_PORT is not used: REDIS_HOST says otherwise"),
        (
            {"MINIO_ENDPOINT": "m", "MINIO_ACCESS_KEY": "a", "MINIO_ROOT_USER": "b", "MINIO_SECRET_KEY": "c"},
            "MINIO_ROOT_USER is not used: MINIO_ACCESS_KEY",
        ),
        ({"LITELLM_URL": "l", "REDIS_PORT": "1"}, "REDIS_PORT is set, but without REDIS_URL or REDIS_HOST no redis is"),
    ],
)
def test_what_is_set_and_not_used_is_noted(variables: dict[str, str], note: str) -> None:
    assert any(said.startswith(note) for said in discover(variables).notes)


@pytest.mark.parametrize(
    "variables",
    [
        {"REDIS_URL": "redis://:a@h:1", "REDIS_PORT": "1", "REDIS_PASSWORD": "a", "REDIS_HOST": "h"},
        {"REDIS_URL": "redis://h:1", "REDIS_PORT": "tcp://10.0.0.1:6379"},
        {"REDIS_HOST": "h", "REDIS_PORT": "2", "REDIS_PASSWORD": "b"},
    ],
)
def test_what_says_the_same_twice_is_no_note(variables: dict[str, str]) -> None:
    assert discover(variables).notes == ()


@pytest.mark.parametrize("name", ["API_TOKEN", "METRICS_TOKEN"])
def test_a_token_that_is_set_but_empty_is_noted(name: str) -> None:
    def notes(**environ: str) -> str:
        return " ".join(load({"LITELLM_URL": "litellm", **environ}).discovery.notes)

    assert f"{name} is set but empty" in notes(**{name: " "})
    assert "open to anybody" not in notes() + notes(**{name: "x"})


def test_of_several_databases_each_takes_its_own() -> None:
    services = found(
        {
            "DATABASE_URL": "postgres://db",
            "DATABASE_URL__LANGFUSE": "postgres://db-langfuse",
            "DATABASE_URL__EU": "postgres://db-eu",
            "DATABASE_URL__OPENWEBUI": "postgres://db-webui",
            "REDIS_URL__LANGFUSE": "redis://r",
            "LITELLM_URL": "litellm",
            "LITELLM_URL__EU": "litellm-eu",
            "LITELLM_URL__US": "litellm-us",
            "LANGFUSE_URL": "langfuse",
            "LANGFUSE_URL__EU": "langfuse-eu",
            "LANGFUSE_WORKER_URL": "worker",
            "OPEN_WEBUI_URL": "webui",
            "SAAS_API_URL__EU": "saas",
        }
    )
    depends = {name: service.depends_on for name, service in services.items() if service.depends_on}
    assert depends == {
        "litellm": ("postgres",),
        "litellm-eu": ("postgres-eu",),
        "litellm-us": ("postgres",),
        "langfuse-web": ("postgres-langfuse", "redis-langfuse"),
        "langfuse-web-eu": ("postgres-eu", "redis-langfuse"),
        "langfuse-worker": ("postgres-langfuse", "redis-langfuse"),
        "open-webui": ("litellm", "postgres-openwebui"),
        "saas-api-eu": ("litellm-eu", "postgres-eu"),
    }


def test_databases_on_one_server_depend_on_the_first_so_that_its_outage_is_one() -> None:
    services = found(
        {
            "DATABASE_URL": "postgres://db/litellm",
            "DATABASE_URL__LANGFUSE": "postgres://db:5432/langfuse",
            "DATABASE_URL__OTHER": "postgres://db:6432/other",
            "LANGFUSE_URL": "langfuse",
        }
    )
    assert services["postgres"].depends_on == services["postgres-other"].depends_on == ()
    assert services["postgres-langfuse"].depends_on == ("postgres",)
    assert services["langfuse-web"].depends_on == ("postgres-langfuse",)


def test_a_missing_database_is_a_fault_of_litellm_only_where_one_is_watched() -> None:
    def signs(environ: dict[str, str]) -> list[str]:
        return [sign.name for sign in params(found({"LITELLM_URL": "litellm", **environ})["litellm"], "ready").signs]

    assert "database_never_connected" in signs({"DATABASE_URL": "postgres://db"})
    assert "database_never_connected" not in signs({})
    assert "database_lost" in signs({})


@pytest.mark.parametrize("value", ["", "   ", '""'])
def test_an_address_that_is_set_but_empty_is_noted(value: str) -> None:
    discovery = discover({"LITELLM_URL": "litellm", "LANGFUSE_URL": value})
    assert [service.name for service in discovery.services] == ["litellm"]
    assert "LANGFUSE_URL is set but empty, so langfuse-web is not watched" in discovery.notes


def test_a_companion_without_an_address_is_noted() -> None:
    notes = discover({"LITELLM_URL": "litellm", "REDIS_PASSWORD": CANARY, "CLICKHOUSE_USER__EU": "x"}).notes
    assert any(note.startswith("REDIS_PASSWORD is set, but without REDIS_URL") for note in notes)
    assert any(note.startswith("CLICKHOUSE_USER__EU is set, but without CLICKHOUSE_URL__EU") for note in notes)


def test_a_slip_in_a_variables_name_is_noted() -> None:
    notes = discover({"LITELLM_URL": "litellm", "OPENWEBUI_URL": "http://webui", "MY_OTHER_URL": "x"}).notes
    assert "OPENWEBUI_URL is not read; did you mean OPEN_WEBUI_URL?" in notes
    assert not any("MY_OTHER_URL" in note for note in notes)


def test_the_alert_variables_of_the_template_have_their_meaning() -> None:
    hook = f"https://hooks.example.com/{CANARY}"
    given = {"ALERT_WEBHOOK_URL": hook, "ALERT_COOLDOWN": "30", "ALERT_ON_SUCCESS": "true"}
    configuration = load({"LITELLM_URL": "litellm", "PAGERDUTY_ROUTING_KEY": "R" * 32, **given})
    alerts = configuration.alerts
    assert alerts.webhook
    assert alerts.webhook.reveal() == hook
    assert alerts.pagerduty_key
    assert (alerts.cooldown, alerts.on_success) == (1800, True)
    assert CANARY not in repr(configuration)


def test_timing_from_the_environment_reaches_every_check() -> None:
    services = found({**EVERYTHING, "CHECK_INTERVAL": "20", "FAILURE_THRESHOLD": "5", "PROBE_TIMEOUT": "4"})
    for service in services.values():
        for check in service.checks:
            assert (check.failure_threshold, check.timeout) == (5, 4)
            paced = check.kind == "tls" or check.kind in SIGNALS or (check.name, check.interval) == ("identity", 300)
            assert check.interval == 20 or paced  # some have a pace of their own


def test_a_short_interval_shortens_a_timeout_nobody_chose() -> None:
    (check, *_) = found({"LITELLM_URL": "litellm", "CHECK_INTERVAL": "5"})["litellm"].checks
    assert (check.interval, check.timeout) == (5, 2.5)


def test_paused_services_are_watched_no_more_but_known() -> None:
    services = found({"LITELLM_URL": "litellm", "REDIS_URL": "redis://r", "PAUSE": "redis"})
    assert (services["redis"].paused, services["litellm"].paused) == (True, False)


def test_pausing_what_is_not_there() -> None:
    (problem,) = discover({"LITELLM_URL": "litellm", "PAUSE": "litelm"}).problems
    assert "did you mean litellm?" in problem.remedy
    assert discover({"LITELLM_URL": "litellm", "PAUSE": "redis"}).problems == ()


def test_the_very_container_is_pointed_out_on_railway() -> None:
    environ = {"LITELLM_URL": "http://localhost:4000"}
    assert discover(environ).notes == discover({"LITELLM_URL": "http://litellm:4000"}).notes
    assert any("container" in note for note in discover({**environ, "RAILWAY_ENVIRONMENT_ID": "x"}).notes)


def test_what_was_found_is_told_with_secrets_masked() -> None:
    sources = {source.variable: (source.service, source.shown) for source in discover(EVERYTHING).sources}
    assert sources["DATABASE_URL"] == ("postgres", "postgresql://postgres.railway.internal:5432/litellm")
    assert sources["LITELLM_MASTER_KEY"] == ("litellm", "***")
    assert sources["CLICKHOUSE_USER"] == ("clickhouse", "clickhouse")
    assert set(sources) == set(EVERYTHING)


def test_every_secret_is_handed_to_the_log() -> None:
    revealed = {secret.reveal() for secret in load({**EVERYTHING, "API_TOKEN": "token"}).secrets}
    assert {CANARY, f"sk-{CANARY}", f"Bearer sk-{CANARY}", "token"} <= revealed


SECRET_PLACES = (
    ("LITELLM_MASTER_KEY", "{}"),
    ("DATABASE_URL", "postgresql://user:{}@db:5432/x"),
    ("DATABASE_URL__EU", "postgres+asyncpg://user:{}@db/x?pool_size=2"),
    ("REDIS_URL", "redis://:{}@redis:6379/0"),
    ("REDIS_PASSWORD", "{}"),
    ("CLICKHOUSE_URL", "http://user:{}@clickhouse:8123"),
    ("CLICKHOUSE_PASSWORD", "{}"),
    ("MINIO_SECRET_KEY", "{}"),
    ("QDRANT_API_KEY", "{}"),
    ("LANGFUSE_URL", "https://user:{}@langfuse:3000/x?y=z"),
    ("METRICS_TOKEN", "{}"),
    ("API_TOKEN", "{}"),
)
NOISE = st.text(alphabet=string.printable + "é€", max_size=8)


@given(noise=st.lists(st.tuples(NOISE, NOISE), min_size=len(SECRET_PLACES), max_size=len(SECRET_PLACES)))
@settings(deadline=None, derandomize=True, max_examples=60)
def test_no_secret_is_ever_seen(noise: list[tuple[str, str]]) -> None:
    environ = dict(EVERYTHING)
    for (variable, form), (before, after) in zip(SECRET_PLACES, noise, strict=True):
        environ[variable] = form.format(f"{before}{CANARY}{after}")
    assert CANARY.lower() not in everything_seen(discover(environ)).lower()
    assert CANARY.lower() not in told(environ).lower()


def told(environ: Mapping[str, str]) -> str:
    """What a person is told: the whole configuration, or everything that is wrong with it."""
    try:
        return repr(load(environ))
    except ConfigError as error:
        return f"{error} {error!r} {error.problems!r}"


def test_words_name_the_variable_that_was_set() -> None:
    services = found(
        {
            "DATABASE_URL__LANGFUSE": "postgresql://u:p@db/langfuse",
            "LITELLM_URL__EU": "http://litellm-eu",
            "LITELLM_MASTER_KEY__EU": "sk-1",
            "QDRANT_HOST": "qdrant",
            "MINIO_ENDPOINT": "minio:9000",
            "MINIO_ROOT_USER": "root",
            "MINIO_ROOT_PASSWORD": "p",
        }
    )
    assert "in DATABASE_URL__LANGFUSE are refused" in services["postgres-langfuse"].remedies[Cause.AUTH]
    assert "into LITELLM_MASTER_KEY__EU here" in remedy(services["litellm-eu"], "models", Cause.AUTH)
    assert "answers at QDRANT_HOST." in services["qdrant"].remedies[Cause.WRONG_SERVICE]
    assert "MINIO_ROOT_USER" in remedy(services["minio"], "bucket", Cause.AUTH)
    assert "mc mb store/backups; or name the right one in BACKUP_BUCKET." in remedy(
        services["minio"], "bucket", Cause.NOT_FOUND
    )
    assert not {Cause.AUTH, Cause.NOT_FOUND} & services["minio"].remedies.keys()
    sign = next(sign for sign in params(services["litellm-eu"], "models").signs if sign.name == "key_refused")
    assert sign.says == "LiteLLM refuses the key in LITELLM_MASTER_KEY__EU"


def test_words_name_the_port_of_the_address() -> None:
    services = found({"AGENT_SERVICE_URL": "http://agent:42100"})
    assert "at port 42100." in services["agent"].remedies[Cause.REFUSED]


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"REDIS_URL": "redis://:a@h"}, "REDIS_URL"),
        ({"REDIS_URL": "redis://:a@h", "REDIS_PASSWORD": "b"}, "REDIS_URL"),  # what the address says wins
        ({"REDIS_URL": "redis://h", "REDIS_PASSWORD": "b"}, "REDIS_PASSWORD"),
        ({"REDIS_URL": "redis://h"}, "REDIS_PASSWORD"),
        ({"REDIS_URL__B": "redis://h"}, "REDIS_PASSWORD__B"),
    ],
)
def test_a_password_is_looked_for_where_it_stands(variables: dict[str, str], named: str) -> None:
    (service,) = found(variables).values()
    assert f"to {named} again" in service.remedies[Cause.AUTH]


def test_every_place_in_a_presets_words_is_known() -> None:
    for name, preset in presets().items():
        signs = [sign for check in preset.checks.values() for sign in check.get("signs", [])]  # type: ignore[attr-defined]  # a TOML list
        own = [text for check in preset.checks.values() for text in check.get("remedies", {}).values()]  # type: ignore[attr-defined]  # a TOML table
        for words in (*preset.remedies.values(), *own, *(sign.get("says", "") for sign in signs)):
            plain = words.replace("${", "{")
            places = {field for _, field, _, _ in string.Formatter().parse(plain) if field is not None}
            assert places <= {"setting", "port", *preset.companions, *around(preset)}, f"{name}: {words}"


def around(preset: Preset) -> set[str]:
    """What words may say of the services that this one depends on or looks at."""
    kinds = {kind: presets()[kind] for kind in (*preset.depends_on, *preset.looks_at)}
    return {
        f"{kind.replace('-', '_')}_{name}" for kind, other in kinds.items() for name in ("setting", *other.companions)
    }
