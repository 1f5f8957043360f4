"""Our own APIs, the SaaS API and the Open WebUI microservices: constant health that only a dead process changes.

The microservices' health is the same to the letter; the title in their API's description is not.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from demo.contracts.base import Answer, Fault, Handler, Request, Service, always, as_json

CRASH = as_json({"detail": "Internal server error"}, 500)


@dataclass(frozen=True, kw_only=True)
class OwnApi(Service):
    """A FastAPI service with a constant /health, and (unless that is switched off) a description of its API."""

    VERSIONS: ClassVar[Mapping[str, str]] = {"1.0.0": "a constant /health"}
    FAULTS: ClassVar[Mapping[str, Fault]] = {
        "unhealthy": Fault("it says that it is not healthy, with 200", {"word": "unhealthy"}),
    }
    NAME: ClassVar[str] = ""
    TITLE: ClassVar[str] = ""

    version: str = "1.0.0"
    word: str = "healthy"
    described: bool = True

    def routes(self) -> Mapping[str, Handler]:
        said = {"status": self.word} | ({"service": self.NAME} if self.NAME else {})
        described = {"openapi": "3.1.0", "info": {"title": self.TITLE, "version": "0.1.0"}, "paths": {"/health": {}}}
        return {"/health": always(as_json(said))} | (
            {"/openapi.json": always(as_json(described))} if self.described else {}
        )


class SaasApi(OwnApi):
    """The SaaS API."""

    VARIABLE: ClassVar[str] = "SAAS_API_URL"
    TITLE: ClassVar[str] = "SaaS LLM API"
    NAME: ClassVar[str] = "saas-llm-api"


@dataclass(frozen=True, kw_only=True)
class ApiGateway(OwnApi):
    """The gateway, which makes one answer of every error behind it."""

    VARIABLE: ClassVar[str] = "API_GATEWAY_URL"
    TITLE: ClassVar[str] = "Open WebUI API Gateway"
    FAULTS: ClassVar[Mapping[str, Fault]] = {
        **OwnApi.FAULTS,
        "crashing": Fault("an error nobody handles, at every path", {"crashing": True}),
    }

    crashing: bool = False

    async def answer(self, request: Request) -> Answer:
        return CRASH if self.crashing else await super().answer(request)


class Chat(OwnApi):
    """The chat service."""

    VARIABLE: ClassVar[str] = "CHAT_SERVICE_URL"
    TITLE: ClassVar[str] = "Open WebUI Chat Service"


class Inference(OwnApi):
    """The inference service."""

    VARIABLE: ClassVar[str] = "INFERENCE_SERVICE_URL"
    TITLE: ClassVar[str] = "Open WebUI Inference Service"


class Agent(OwnApi):
    """The agent service."""

    VARIABLE: ClassVar[str] = "AGENT_SERVICE_URL"
    TITLE: ClassVar[str] = "Open WebUI Agent Service"


class Retrieval(OwnApi):
    """The retrieval service."""

    VARIABLE: ClassVar[str] = "RETRIEVAL_SERVICE_URL"
    TITLE: ClassVar[str] = "Open WebUI Retrieval Service"
