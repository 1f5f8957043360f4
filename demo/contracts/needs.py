"""What a contract server truly needs, when it is told where that is: it looks, as the real service does."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

REDIS_PATIENCE = 2.0  # seconds; what Langfuse's worker gives Redis before it calls it gone
PATIENCE = 5.0  # seconds for the others; the real services wait this long at least


@dataclass(kw_only=True)
class Needs:
    """Where the real servers are; one that is not named counts as well.

    `postgres` is a libpq URL, `redis` a redis:// URL, `clickhouse` an http:// URL with user and password in it,
    `litellm` an http:// URL and `litellm_key` the key that is sent there. Passwords here are the demo's own.
    """

    postgres: str | None = None
    redis: str | None = None
    clickhouse: str | None = None
    litellm: str | None = None
    litellm_key: str | None = None

    def __post_init__(self) -> None:
        self._good_until: dict[str, float] = {}

    def forget(self) -> None:
        """Believe no good answer any longer, as after a while."""
        self._good_until.clear()

    async def has_postgres(self, *, remember: float = 0.0) -> bool:
        """Whether PostgreSQL answers SELECT 1; a good answer is believed for `remember` seconds."""
        return self.postgres is None or await self._ask("postgres", lambda: _select_1(self.postgres or ""), remember)

    async def has_redis(self) -> bool:
        """Whether Redis answers PING."""
        return self.redis is None or await self._ask("redis", lambda: _ping(self.redis or ""), patience=REDIS_PATIENCE)

    async def has_clickhouse(self) -> bool:
        """Whether ClickHouse answers an authenticated SELECT 1."""
        return self.clickhouse is None or await self._ask("clickhouse", lambda: _query(self.clickhouse or ""))

    async def models(self, otherwise: list[str]) -> list[str]:
        """The ids of LiteLLM's models; none when it does not give them, `otherwise` when no LiteLLM is named."""
        if self.litellm is None:
            return otherwise
        found: list[str] = []

        async def ask() -> None:
            found.extend(await _models(self.litellm or "", self.litellm_key))

        await self._ask("litellm", ask)
        return found

    async def _ask(
        self,
        name: str,
        question: Callable[[], Awaitable[None]],
        remember: float = 0.0,
        *,
        patience: float = PATIENCE,
    ) -> bool:
        now = asyncio.get_running_loop().time()
        if now < self._good_until.get(name, 0.0):
            return True
        try:
            async with asyncio.timeout(patience):
                await question()
        except Exception:  # noqa: BLE001 -- four client libraries, and every failure means the same: it is not there
            return False
        self._good_until[name] = now + remember
        return True


async def _select_1(url: str) -> None:
    import psycopg

    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("SELECT 1")


async def _ping(url: str) -> None:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    client = Redis.from_url(url, retry=Retry(NoBackoff(), 0))
    try:
        await client.ping()
    finally:
        await client.aclose()


async def _query(url: str) -> None:
    import httpx

    async with httpx.AsyncClient(trust_env=False) as client:
        (await client.post(url, content="SELECT 1")).raise_for_status()


async def _models(url: str, key: str | None) -> list[str]:
    import httpx

    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {key}"} if key else {})
        answer.raise_for_status()
        body: Any = json.loads(answer.text)
        return [str(model["id"]) for model in body["data"]]
