"""A contract server that is told where its real dependencies are fails with them, and with no others."""

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from demo.contract import Contract
from demo.contracts.needs import Needs

ContractFactory = Callable[..., Contract]
OWUI_KEY = {"authorization": "Bearer sk-demo-open-webui"}
READINESS = "/health/readiness"
WORKER = "/api/health"
WEB = "/api/public/health"
WEB_DB = "/api/public/health?failIfDatabaseUnavailable=true"
WEB_EVENTS = "/api/public/health?failIfNoRecentEvents=true"


def test_only_what_truly_depends_on_redis_fails_with_it(contract: ContractFactory, valkey_gone: str) -> None:
    needs = Needs(redis=valkey_gone)
    expected = {"langfuse-worker": 500, "open-webui": 503, "litellm": 200, "langfuse-web": 200}
    paths = {"langfuse-worker": WORKER, "open-webui": "/ready", "litellm": READINESS, "langfuse-web": WEB_DB}
    got = {
        kind: httpx.get(contract(kind, needs=needs).url + path, trust_env=False).status_code
        for kind, path in paths.items()
    }
    assert got == expected


@pytest.fixture
def valkey_gone(contract: ContractFactory) -> str:
    """The address of a Redis that refuses."""
    return f"redis://127.0.0.1:{contract('chat', fault='refuse').port}/0"


def test_only_what_truly_depends_on_postgres_fails_with_it(contract: ContractFactory) -> None:
    gone = contract("chat", fault="refuse").port
    needs = Needs(postgres=f"postgresql://demo@127.0.0.1:{gone}/litellm")
    asked = {
        ("litellm", READINESS): 503,
        ("litellm", "/health/liveness"): 200,
        ("langfuse-web", WEB): 200,
        ("langfuse-web", WEB_DB): 503,
        ("langfuse-web", "/api/public/ready"): 200,
        ("langfuse-worker", WORKER): 500,
        ("open-webui", "/ready"): 503,
        ("open-webui", "/health/db"): 500,
        ("r2r", "/v3/health"): 200,
    }
    got = {
        (kind, path): httpx.get(contract(kind, needs=needs).url + path, trust_env=False).status_code
        for kind, path in asked
    }
    assert got == asked


def test_stopping_the_real_redis_takes_the_worker_along(
    contract: ContractFactory, postgres: Any, fresh_valkey: Callable[..., Any]
) -> None:
    valkey = fresh_valkey()
    needs = Needs(postgres=postgres.environ()["DATABASE_URL"], redis=valkey.environ()["REDIS_URL"])
    worker, proxy = contract("langfuse-worker", needs=needs), contract("litellm", needs=needs)

    def seen() -> tuple[int, int]:
        asked = (worker.url + WORKER, proxy.url + READINESS)
        first, second = (httpx.get(url, trust_env=False).status_code for url in asked)
        return first, second

    assert seen() == (200, 200)
    valkey.stop()
    assert seen() == (500, 200)
    valkey.start()
    assert seen() == (200, 200)


def test_open_webui_lists_what_litellm_lists(contract: ContractFactory) -> None:
    proxy = contract("litellm", models=("one",), stored=("two",))
    needs = Needs(litellm=proxy.url, litellm_key="sk-demo-master-key")
    server = contract("open-webui", needs=needs)

    def names() -> list[str]:
        answer = httpx.get(f"{server.url}/api/models", headers=OWUI_KEY, trust_env=False)
        return [model["id"] for model in answer.json()["data"]]

    assert names() == ["one", "two"]
    proxy.break_with("key_changed")
    assert names() == []


def test_clickhouse_is_asked_only_by_its_flag(contract: ContractFactory) -> None:
    clickhouse = contract("chat")  # answers 404 to a query, which is a failed one
    server = contract("langfuse-web", needs=Needs(clickhouse=clickhouse.url))
    assert httpx.get(server.url + WEB_DB, trust_env=False).status_code == 200
    answer = httpx.get(server.url + WEB_EVENTS, trust_env=False)
    assert (answer.status_code, answer.json()["status"]) == (503, "Couldn't fetch recent events")
    assert clickhouse.seen["POST /"] == 1


def test_a_good_database_answer_is_believed_for_its_time() -> None:
    async def run() -> None:
        asked = 0

        async def question() -> None:
            nonlocal asked
            asked += 1
            if asked > 1:
                raise ConnectionError

        needs = Needs()
        assert await needs._ask("postgres", question, 0.1)
        assert await needs._ask("postgres", question, 0.1)
        assert asked == 1
        await asyncio.sleep(0.12)
        assert not await needs._ask("postgres", question, 0.1)

    asyncio.run(run())
