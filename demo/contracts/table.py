"""Every kind of contract server."""

from collections.abc import Mapping

from demo.contracts.base import Service
from demo.contracts.langfuse_web import LangfuseWeb
from demo.contracts.langfuse_worker import LangfuseWorker
from demo.contracts.litellm import LiteLlm
from demo.contracts.minio import Minio
from demo.contracts.open_webui import OpenWebUi
from demo.contracts.own_api import Agent, ApiGateway, Chat, Inference, Retrieval, SaasApi
from demo.contracts.qdrant import Qdrant
from demo.contracts.r2r import R2r
from demo.contracts.react_client import ReactClient
from demo.contracts.wire import WIRE_FAULTS

KINDS: Mapping[str, type[Service]] = {
    "litellm": LiteLlm,
    "langfuse-web": LangfuseWeb,
    "langfuse-worker": LangfuseWorker,
    "open-webui": OpenWebUi,
    "r2r": R2r,
    "qdrant": Qdrant,
    "minio": Minio,
    "react-client": ReactClient,
    "saas-api": SaasApi,
    "api-gateway": ApiGateway,
    "chat": Chat,
    "inference": Inference,
    "agent": Agent,
    "retrieval": Retrieval,
}


def faults(kind: str) -> dict[str, str]:
    """Every fault a contract of `kind` can be told to have, its own first, each with its line for people."""
    own = {name: fault.says for name, fault in KINDS[kind].FAULTS.items()}
    return own | {name: fault.says for name, fault in WIRE_FAULTS.items()}
