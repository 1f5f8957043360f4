"""LiteLLM's proxy. The readiness answer changed four times; `status` says healthy even at 503."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import ClassVar

from demo.contracts.base import Answer, Fault, Handler, Request, Service, always, as_html, as_json, as_text, reached

DB_MEMORY = 15.0  # seconds a good database answer is believed
NO_KEY = "Authentication Error, No api key passed in."
WRONG_KEY = (
    "Authentication Error, Invalid proxy server token passed. Received API Key = sk-...{tail}, Key Hash (Token) ="
    "{digest}. Unable to find token in cache or `LiteLLM_VerificationTokenTable`"
)
PROVIDER_401 = "litellm.AuthenticationError: AuthenticationError: OpenAIException - Incorrect API key provided"
PROVIDER_QUOTA = (
    "litellm.RateLimitError: RateLimitError: OpenAIException - You exceeded your current quota, please check your plan "
    "and billing details."
)
PROVIDER_404 = "litellm.NotFoundError: OpenAIException - The model `gpt-4-old` does not exist"
PROVIDER_GONE = "litellm.APIConnectionError: OpenAIException - Connection error."
TOKENS, DOLLARS = 30, "0.00015"  # what a completion here costs


def _error(status: int, message: str, kind: str, param: str = "None") -> Answer:
    return as_json({"error": {"message": message, "type": kind, "param": param, "code": str(status)}}, status)


@dataclass(frozen=True, kw_only=True)
class LiteLlm(Service):
    """One proxy with a master key, models of its file, `stored` ones of its database, and keys beside its master key.

    `checked_at` is when its background checks last ran, now where it is None; `background` whether they do.
    """

    VARIABLE: ClassVar[str] = "LITELLM_URL"
    # Only 1.80.8 and 1.84 are versions the facts name; the two between stand for the changes of April 2026.
    VERSIONS: ClassVar[Mapping[str, str]] = {
        "1.80.8": "readiness 200 with db and details; a lost database is 503 with a detail text",
        "1.83.0": "a lost database is 200 with db disconnected (#26134)",
        "1.83.10": "readiness is only status healthy, whatever the database does (#26912)",
        "1.84.0": "200 with status and db; a lost database is 503 with db disconnected (#27866)",
        "1.85.0": "/metrics asks for a key",
    }
    FAULTS: ClassVar[Mapping[str, Fault]] = {
        "db_lost": Fault("the database went away while it ran", {"db": "disconnected"}),
        "db_lost_allowed": Fault(
            "the database went away and allow_requests_on_db_unavailable is set",
            {"db": "disconnected", "allow_requests_on_db_unavailable": True},
        ),
        "db_not_connected": Fault(
            "the database was not there at start and was never connected", {"db": "Not connected"}
        ),
        "shutting_down": Fault("it drains after SIGTERM", {"draining": True}),
        "key_changed": Fault("the master key is another one", {"master_key": "sk-another-master-key"}),
        "salt_changed": Fault(
            "the salt key is another one: every model was stored, and none can be decrypted",
            {"models": (), "stored": ()},
        ),
        "stored_models_vanished": Fault(
            "the models kept in the database cannot be decrypted, those of its file are there", {"stored": ()}
        ),
        "provider_key_expired": Fault("the provider refuses its key", {"provider_error": PROVIDER_401}),
        "provider_quota_spent": Fault(
            "the account with the provider has no money left", {"provider_error": PROVIDER_QUOTA}
        ),
        "provider_model_retired": Fault("the provider has retired the model", {"provider_error": PROVIDER_404}),
        "provider_gone": Fault("the provider cannot be reached", {"provider_error": PROVIDER_GONE}),
        "budget_exceeded": Fault("the budget is spent", {"budget_exceeded": True}),
        "overloaded": Fault("more requests are in flight than it allows", {"overloaded": True}),
    }

    version: str = "1.85.0"
    master_key: str = "sk-demo-master-key"
    models: tuple[str, ...] = ("demo-small", "demo-large")
    stored: tuple[str, ...] = ("demo-stored",)
    keys: tuple[str, ...] = ()
    background: bool = True
    checked_at: str | None = None
    db: str = "connected"
    allow_requests_on_db_unavailable: bool = False
    draining: bool = False
    provider_error: str = ""
    budget_exceeded: bool = False
    overloaded: bool = False

    def environ(self, url: str) -> dict[str, str]:
        return {self.VARIABLE: url, "LITELLM_MASTER_KEY": self.master_key}

    def routes(self) -> Mapping[str, Handler]:
        keyed = {
            "/health": self._health,
            "/health/services": self._services,
            "/health/history": self._history,
            "/health/latest": self._latest,
            "/health/backlog": always(as_json({"in_flight_requests": 900 if self.overloaded else 0})),
            "/v1/models": self._models,
            "/models": self._models,
            "/v1/chat/completions": self._completion,
            "/chat/completions": self._completion,
        }
        if reached(self.version, "1.83.10"):
            keyed["/health/readiness/details"] = self._details
        metrics = always(as_text("# TYPE litellm_requests_metric_total counter\nlitellm_requests_metric_total 0.0\n"))
        public = {
            "/": always(as_html("LiteLLM API - Swagger UI")),
            "/health/liveliness": self._liveness,
            "/health/liveness": self._liveness,
            "/health/readiness": self._readiness,
            "/metrics": always(Answer(status=307, headers={"location": "/metrics/"})),
        }
        (keyed if reached(self.version, "1.85.0") else public)["/metrics/"] = metrics
        return public | {path: self._with_key(handler) for path, handler in keyed.items()}

    def _with_key(self, handler: Handler) -> Handler:
        async def handle(request: Request) -> Answer:
            key = request.bearer() or request.headers.get("x-litellm-api-key")
            if key == self.master_key or (key in self.keys and await self._db(request) == "connected"):
                return await handler(request)
            if key is None:
                return _error(401, NO_KEY, "auth_error")
            if await self._db(request) != "connected" and reached(self.version, "1.84.0"):
                return _error(503, "Service Unavailable: the database could not be reached", "no_db_connection")
            digest = hashlib.sha256(key.encode()).hexdigest()
            return _error(401, WRONG_KEY.format(tail=key[-4:], digest=digest), "token_not_found_in_db", "key")

        return handle

    async def _db(self, request: Request) -> str:
        if self.db != "connected" or await request.world.needs.has_postgres(remember=DB_MEMORY):
            return self.db
        return "disconnected"

    async def _liveness(self, _: Request) -> Answer:
        if self.draining and reached(self.version, "1.84.0"):
            return as_json({"status": "shutting_down"}, 503)
        return as_json("I'm alive!")

    async def _readiness(self, request: Request) -> Answer:
        db = await self._db(request)
        if reached(self.version, "1.84.0"):
            return as_json({"status": "healthy", "db": db}, 503 if db == "disconnected" else 200)
        if reached(self.version, "1.83.10"):
            return as_json({"status": "healthy"})
        if db == "disconnected" and not (reached(self.version, "1.83.0") or self.allow_requests_on_db_unavailable):
            return as_json({"detail": "Service Unhealthy (Can't reach database server at `postgres:5432`)"}, 503)
        return as_json(self._full(db))

    def _full(self, db: str) -> dict[str, object]:
        # `cache` is the type that is configured: readiness does not ask Redis.
        callbacks = ["langfuse"]
        facts = {"cache": "redis", "litellm_version": self.version, "success_callbacks": callbacks}
        return {"status": "healthy", "db": db, **facts, "use_aiohttp_transport": True}

    async def _details(self, request: Request) -> Answer:
        db = await self._db(request)
        return as_json(self._full(db), 503 if db == "disconnected" and reached(self.version, "1.84.0") else 200)

    async def _health(self, request: Request) -> Answer:
        # One real call of every model: the path a monitor must never ask.
        request.world.counts["paid_calls"] += max(1, len(self._names()))
        endpoints = [{"model": model} for model in self._names()]
        broken = [{**endpoint, "error": self.provider_error} for endpoint in endpoints] if self.provider_error else []
        healthy = [] if self.provider_error else endpoints
        narrowed = "model" in request.query or "model_id" in request.query
        body = {
            "healthy_endpoints": healthy,
            "unhealthy_endpoints": broken,
            "healthy_count": len(healthy),
            "unhealthy_count": len(broken),
        }
        return as_json(body, 503 if narrowed and not healthy and reached(self.version, "1.84.0") else 200)

    async def _services(self, request: Request) -> Answer:
        service = request.query.get("service")
        if service is None:
            return _error(400, "Service must be specified.", "auth_error")
        request.world.counts["mock_traces"] += 1
        return as_json({"status": "success", "message": f"Mock LLM request made - check {service}."})

    def _names(self) -> tuple[str, ...]:
        return (*self.models, *self.stored)

    def _results(self) -> list[dict[str, object]]:
        status, error = ("unhealthy", self.provider_error) if self.provider_error else ("healthy", None)
        good, bad = (0, 1) if self.provider_error else (1, 0)
        return [
            {
                "model_name": model,
                "model_id": f"id-{model}",
                "status": status,
                "healthy_count": good,
                "unhealthy_count": bad,
                "error_message": error,
                "response_time_ms": 412.0,
                "checked_at": self.checked_at or datetime.now(UTC).isoformat(),
            }
            for model in (self._names() if self.background else ())
        ]

    async def _without_db(self, request: Request) -> Answer | None:
        db = await self._db(request)
        if db == "connected":
            return None
        lost = "Failed to retrieve latest health checks: Can't reach database server"
        return as_json({"detail": {"error": lost if db == "disconnected" else "Database not initialized"}}, 500)

    async def _history(self, request: Request) -> Answer:
        rows = self._results()
        listed = {"health_checks": rows, "total_records": len(rows), "limit": 100, "offset": 0}
        return await self._without_db(request) or as_json(listed)

    async def _latest(self, request: Request) -> Answer:
        latest = {str(result["model_id"]): result for result in self._results()}
        listed = {"latest_health_checks": latest, "total_models": len(latest)}
        return await self._without_db(request) or as_json(listed)

    async def _models(self, _: Request) -> Answer:
        listed = [{"id": m, "object": "model", "created": 1677610602, "owned_by": "openai"} for m in self._names()]
        return as_json({"data": listed, "object": "list"})

    async def _completion(self, request: Request) -> Answer:
        if self.overloaded:
            return _error(503, "The proxy has too many requests in flight.", "overloaded_error")
        if self.budget_exceeded:
            status = 429 if reached(self.version, "1.84.0") else 400
            return _error(status, "Budget has been exceeded! Current cost: 54.0, Max budget: 50.0", "budget_exceeded")
        model = _asked_model(request)
        if model not in self._names():
            message = f"/chat/completions: Invalid model name passed in model={model}. Call `/v1/models` to view them."
            return _error(400, message, "invalid_request_error")
        if self.provider_error:
            known = {PROVIDER_401: 401, PROVIDER_QUOTA: 429, PROVIDER_404: 404}
            return _error(known.get(self.provider_error, 500), self.provider_error, "None")
        request.world.counts["paid_calls"] += 1
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello!"}}
        usage = {"prompt_tokens": TOKENS - 20, "completion_tokens": 20, "total_tokens": TOKENS}
        body = {"id": "chatcmpl-demo", "object": "chat.completion", "model": model, "choices": [choice], "usage": usage}
        return as_json(body, x_litellm_response_cost=DOLLARS)


def _asked_model(request: Request) -> str:
    try:
        return str(json.loads(request.body)["model"])
    except (ValueError, KeyError, TypeError):
        return ""
