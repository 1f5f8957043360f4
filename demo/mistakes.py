"""Variables set wrongly while the stack is well, and what the watch says of each: the other half of the outages."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from config.causes import Cause
from demo.expectations import Expected, degraded, down
from demo.outages import ANOTHER
from demo.ports import free_port

Variables = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """One variable that holds something else than it should. `value` makes it of those of a stack that is well."""

    variable: str
    says: str
    value: Callable[[Variables], str]
    expected: Expected

    @property
    def name(self) -> str:
        """What it is called in a table."""
        return f"{self.variable} {self.says}"


def _place(address: str) -> str:
    return urlsplit(address).netloc.rpartition("@")[2] if "://" in address else address


def _at(variable: str, other: str) -> Callable[[Variables], str]:
    """`variable` as it is, with another service's host and port."""
    return lambda known: known[variable].replace(_place(known[variable]), _place(known[other]))


def _closed(variable: str) -> Callable[[Variables], str]:
    return lambda known: known[variable].replace(_place(known[variable]), f"127.0.0.1:{free_port()}")


def _scheme(variable: str, scheme: str) -> Callable[[Variables], str]:
    return lambda known: urlsplit(known[variable])._replace(scheme=scheme).geturl()


def _path(variable: str, path: str) -> Callable[[Variables], str]:
    return lambda known: urlsplit(known[variable])._replace(path=path).geturl()


def _query(variable: str, query: str) -> Callable[[Variables], str]:
    return lambda known: urlsplit(known[variable])._replace(query=query).geturl()


def _password(variable: str, password: str) -> Callable[[Variables], str]:
    def change(known: Variables) -> str:
        given = urlsplit(known[variable])
        user = f"{given.username or ''}:{password}@" if password else ""
        return given._replace(netloc=user + _place(known[variable])).geturl()

    return change


def _is(text: str) -> Callable[[Variables], str]:
    return lambda _: text


def _mistake(
    variable: str, says: str, value: Callable[[Variables], str], service: str, cause: Cause, shows: str
) -> Mistake:
    return Mistake(
        variable=variable, says=says, value=value, expected=Expected(not_up=down(cause, service), shows=shows)
    )


def _elsewhere(variable: str, service: str, other: str, whose: str, cause: Cause, shows: str) -> Mistake:
    return _mistake(variable, f"holds the address of {whose}", _at(variable, other), service, cause, shows)


def _consumer(variable: str, service: str, says: str, key: str, shows: str) -> Mistake:
    """A key that one service holds for another, and that the other one refuses."""
    told = Expected(not_up=degraded(Cause.AUTH, service), shows=shows)
    return Mistake(variable=variable, says=says, value=_is(key), expected=told)


CONSUMERS = (
    ("OPEN_WEBUI_OPENAI_API_KEY", "open-webui"),
    ("SAAS_API_LITELLM_MASTER_KEY", "saas-api"),
    ("R2R_OPENAI_API_KEY", "r2r"),
)
KEYS = (
    ("holds another key", ANOTHER, "LITELLM_MASTER_KEY"),
    ("holds a provider's key", "sk-ant-api03-another", "belongs to Anthropic"),
    ("holds a key without sk-", "cm9vdDpub3Qtb3Vycw==", "does not begin with sk-"),
)

_WRONG, _NOT_FOUND, _AUTH = Cause.WRONG_SERVICE, Cause.NOT_FOUND, Cause.AUTH
_TLS = Cause.TLS_ON_PLAIN

MISTAKES: tuple[Mistake, ...] = (
    _mistake(
        "LITELLM_URL",
        "names a port where nobody listens",
        _closed("LITELLM_URL"),
        "litellm",
        Cause.REFUSED,
        "connection refused",
    ),
    _mistake("LITELLM_URL", "says https", _scheme("LITELLM_URL", "https"), "litellm", _TLS, "plain text"),
    _elsewhere("LITELLM_URL", "litellm", "LANGFUSE_URL", "Langfuse", _WRONG, "is Langfuse"),
    _elsewhere("LITELLM_URL", "litellm", "OPEN_WEBUI_URL", "Open WebUI", _WRONG, "is Open WebUI"),
    _elsewhere("LITELLM_URL", "litellm", "DATABASE_URL", "PostgreSQL", _WRONG, "speaks PostgreSQL's protocol"),
    _elsewhere("LITELLM_URL", "litellm", "REDIS_URL", "Redis", _WRONG, "speaks Redis' protocol"),
    Mistake(
        variable="LITELLM_MASTER_KEY",
        says="holds another key",
        value=_is(ANOTHER),
        expected=Expected(not_up=degraded(_AUTH, "litellm"), shows="the key in LITELLM_MASTER_KEY"),
    ),
    *(_consumer(variable, service, *case) for variable, service in CONSUMERS for case in KEYS),
    _consumer("OPEN_WEBUI_QDRANT_API_KEY", "open-webui", "holds another key", ANOTHER, "QDRANT__SERVICE__API_KEY"),
    _consumer("R2R_QDRANT_API_KEY", "r2r", "holds another key", ANOTHER, "QDRANT__SERVICE__API_KEY"),
    _consumer("LITELLM_LANGFUSE_SECRET_KEY", "litellm", "holds another key", "sk-lf-other", "LANGFUSE_SECRET_KEY"),
    _consumer("LITELLM_LANGFUSE_SECRET_KEY", "litellm", "holds LiteLLM's own", ANOTHER, "does not begin with sk-lf-"),
    _consumer("OPEN_WEBUI_API_KEY", "open-webui", "holds another key", ANOTHER, "OPEN_WEBUI_API_KEY"),
    _consumer("LANGFUSE_SECRET_KEY", "langfuse-web", "holds another key", "sk-lf-other", "LANGFUSE_SECRET_KEY"),
    Mistake(
        variable="LITELLM_SYNTHETIC_MODEL",
        says="names a model that is not there",
        value=_is("gone"),
        expected=Expected(not_up=degraded(_NOT_FOUND, "litellm"), shows="LITELLM_SYNTHETIC_MODEL"),
    ),
    _elsewhere("LANGFUSE_URL", "langfuse-web", "LANGFUSE_WORKER_URL", "Langfuse's worker", _WRONG, "Express"),
    _elsewhere("LANGFUSE_WORKER_URL", "langfuse-worker", "LANGFUSE_URL", "Langfuse web", _WRONG, "web container"),
    _elsewhere("OPEN_WEBUI_URL", "open-webui", "REACT_CLIENT_URL", "the React client", _WRONG, "OPEN_WEBUI_URL"),
    _elsewhere("OPEN_WEBUI_URL", "open-webui", "LITELLM_URL", "LiteLLM", _WRONG, "is LiteLLM"),
    _elsewhere("R2R_URL", "r2r", "SAAS_API_URL", "the SaaS API", _NOT_FOUND, "R2R_URL"),
    _elsewhere("QDRANT_URL", "qdrant", "QDRANT_GRPC_URL", "Qdrant's gRPC port", _WRONG, "HTTP/2"),
    _elsewhere("QDRANT_GRPC_URL", "qdrant-grpc", "QDRANT_URL", "Qdrant's HTTP port", _WRONG, "6334"),
    _elsewhere("QDRANT_URL", "qdrant", "CLICKHOUSE_URL", "ClickHouse", _WRONG, "QDRANT_URL"),
    Mistake(
        variable="QDRANT_API_KEY",
        says="holds another key",
        value=_is(ANOTHER),
        expected=Expected(not_up=degraded(_AUTH, "qdrant"), shows="QDRANT_API_KEY here must equal"),
    ),
    _elsewhere("REACT_CLIENT_URL", "react-client", "SAAS_API_URL", "the SaaS API", _WRONG, "an API answers"),
    _elsewhere("SAAS_API_URL", "saas-api", "CHAT_SERVICE_URL", "the chat service", _WRONG, "saas-llm-api"),
    _mistake(
        "API_GATEWAY_URL", "says https", _scheme("API_GATEWAY_URL", "https"), "api-gateway", _TLS, "API_GATEWAY_URL"
    ),
    _elsewhere(
        "CHAT_SERVICE_URL", "chat", "AGENT_SERVICE_URL", "the agent service", _WRONG, "another one of Open WebUI"
    ),
    Mistake(
        variable="REACT_CLIENT_TEXT",
        says="holds words that are not on the page",
        value=_is("Another Client"),
        expected=Expected(not_up=down(_WRONG, "react-client"), shows="“Another Client”"),
    ),
    _mistake(
        "DATABASE_URL",
        "holds another password",
        _password("DATABASE_URL", ANOTHER),
        "postgres",
        _AUTH,
        "User or password in DATABASE_URL",
    ),
    _mistake(
        "DATABASE_URL__LANGFUSE",
        "names a database that is not there",
        _path("DATABASE_URL__LANGFUSE", "/nowhere"),
        "postgres-langfuse",
        _NOT_FOUND,
        "named in DATABASE_URL__LANGFUSE",
    ),
    _mistake(
        "DATABASE_URL",
        "asks for TLS of a server without",
        _query("DATABASE_URL", "sslmode=require"),
        "postgres",
        _TLS,
        "sslmode",
    ),
    _elsewhere("DATABASE_URL", "postgres", "REDIS_URL", "Redis", _WRONG, "DATABASE_URL"),
    _mistake("REDIS_URL", "holds another password", _password("REDIS_URL", ANOTHER), "redis", _AUTH, "REDIS_URL again"),
    _mistake("REDIS_URL", "holds no password", _password("REDIS_URL", ""), "redis", _AUTH, "none was sent"),
    _mistake("REDIS_URL", "names database 99", _path("REDIS_URL", "/99"), "redis", _NOT_FOUND, "no database of that"),
    _mistake("REDIS_URL", "says rediss", _scheme("REDIS_URL", "rediss"), "redis", _TLS, "plain text"),
    _elsewhere("REDIS_URL", "redis", "DATABASE_URL", "PostgreSQL", _WRONG, "speaks PostgreSQL's protocol"),
    _mistake(
        "CLICKHOUSE_PASSWORD", "is another one", _is(ANOTHER), "clickhouse", _AUTH, "the password (CLICKHOUSE_PASSWORD)"
    ),
    _mistake("CLICKHOUSE_USER", "is somebody else", _is("nobody"), "clickhouse", _AUTH, "the user (CLICKHOUSE_USER)"),
    _mistake("CLICKHOUSE_DB", "is not there", _is("nowhere"), "clickhouse", _NOT_FOUND, "in CLICKHOUSE_DB"),
    _elsewhere("CLICKHOUSE_URL", "clickhouse", "LANGFUSE_URL", "Langfuse", _WRONG, "CLICKHOUSE_URL"),
    _mistake("CLICKHOUSE_URL", "says https", _scheme("CLICKHOUSE_URL", "https"), "clickhouse", _TLS, "plain text"),
    _mistake("MINIO_SECRET_KEY", "is another one", _is(ANOTHER), "minio", _AUTH, "MINIO_SECRET_KEY"),
    _mistake("MINIO_ACCESS_KEY", "is another one", _is(ANOTHER), "minio", _AUTH, "MINIO_ACCESS_KEY"),
    _mistake("BACKUP_BUCKET", "is not there", _is("nowhere"), "minio", _NOT_FOUND, "BACKUP_BUCKET"),
    _mistake("MINIO_SECURE", "is true, without TLS there", _is("true"), "minio", _TLS, "MINIO_ENDPOINT"),
    _elsewhere("MINIO_ENDPOINT", "minio", "CLICKHOUSE_URL", "ClickHouse", _WRONG, "MINIO_ENDPOINT"),
    _elsewhere("MINIO_ENDPOINT", "minio", "REACT_CLIENT_URL", "the React client", _WRONG, "MINIO_ENDPOINT"),
)
