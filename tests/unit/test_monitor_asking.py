"""What a check asks, in words: of every kind there is, and nothing secret among it."""

from config.kinds import PARAMS
from config.services import discover
from monitor.asking import asks

ENVIRON = {
    "DATABASE_URL": "postgresql://anna:hidden-p@db/x",
    "REDIS_URL": "redis://:hidden-p@r",
    "CLICKHOUSE_URL": "http://anna:hidden-p@c:8123",
    "MINIO_ENDPOINT": "http://m:9000",
    "MINIO_ACCESS_KEY": "hidden-a",
    "MINIO_SECRET_KEY": "hidden-s",
    "LITELLM_URL": "http://anna:hidden-p@l:4000",
    "LITELLM_MASTER_KEY": "sk-hidden",
    "LITELLM_SYNTHETIC_MODEL": "small",
    "LANGFUSE_URL": "https://web",
    "LANGFUSE_PUBLIC_KEY": "pk-lf-hidden",
    "LANGFUSE_SECRET_KEY": "sk-lf-hidden",
    "LANGFUSE_WORKER_URL": "http://worker:3030",
    "QDRANT_URL": "http://q:6333",
    "QDRANT_GRPC_URL": "q:6334",
    "OPENWEBUI_URL": "http://o:8080",
}


def test_every_check_of_the_presets_is_told_in_words_of_its_own() -> None:
    found = discover(ENVIRON)
    for service in found.services:
        said = [asks(check) for check in service.checks]
        assert len(set(said)) == len(said), service.name
        assert all(10 < len(one) < 300 and one.isprintable() for one in said), said
        assert not any("hidden" in one for one in said)
    assert {check.kind for service in found.services for check in service.checks} <= {*PARAMS}


def test_some_are_read() -> None:
    checks = {(s.name, c.name): c for s in discover(ENVIRON).services for c in s.checks}
    assert asks(checks["postgres", "query"]) == "logs in and asks SELECT 1 at db:5432"
    assert asks(checks["litellm", "models"]) == "GET http://l:4000/v1/models; wants 200, JSON"
    assert asks(checks["postgres", "slots"]) == "slots, as postgres tells it; warns from 80, fails from 100"
    assert "certificate at web:3000" in asks(checks["langfuse-web", "certificate"])
