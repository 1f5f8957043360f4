"""What the watch says of every outage the demo can play, after one look.

A test plays each of them against the whole stack and compares; docs/reference/outages.md is made from this.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from config.causes import Cause

STAND_IN_STORE = "minio-standin"
"""MinIO's stand-in, watched as a second store: a real server answers as the first."""


@dataclass(frozen=True, slots=True)
class Told:
    """What is told of one service. "not up": down or degraded, by which of its questions comes first."""

    state: Literal["down", "degraded", "not up"]
    cause: Cause


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """The services that are not up; every other one is. `why` is for people: why the others are up, or when this holds.

    `shows` is what must be found in the evidence, the sentence or the remedy of the first of them.
    """

    not_up: Mapping[str, Told] = field(default_factory=dict)
    shows: str = ""
    why: str = ""


def down(cause: Cause, *names: str) -> dict[str, Told]:
    """All of these down for the same cause."""
    return dict.fromkeys(names, Told("down", cause))


def degraded(cause: Cause, *names: str) -> dict[str, Told]:
    """All of these degraded for the same cause."""
    return dict.fromkeys(names, Told("degraded", cause))


def up(why: str) -> Expected:
    """Nothing is told, by design."""
    return Expected(why=why)


ON_POSTGRES = down(Cause.DEPENDENCY, "litellm", "langfuse-web", "langfuse-worker", "r2r")
TWO_DATABASES = ("postgres", "postgres-langfuse")
LITELLM_CONSUMERS = ("open-webui", "saas-api")  # whose own key for it is known to the watch
CONSTANT = "our own APIs' health pages are constant, so they stay up"
TURNS_LATER = "LiteLLM believes its database for 15 s after a good answer"

REAL: Mapping[str, Expected] = {
    "postgres": Expected(
        not_up=down(Cause.REFUSED, *TWO_DATABASES) | ON_POSTGRES,
        shows="connection refused",
        why=f"{TURNS_LATER}. {CONSTANT}",
    ),
    "postgres/pause": Expected(
        not_up=down(Cause.NO_ANSWER, *TWO_DATABASES) | ON_POSTGRES, shows="did not answer within", why=TURNS_LATER
    ),
    "postgres/password": Expected(
        not_up=down(Cause.AUTH, *TWO_DATABASES) | ON_POSTGRES, shows="User or password in DATABASE_URL are refused"
    ),
    "postgres/slots": Expected(
        not_up=down(Cause.CAPACITY, *TWO_DATABASES) | ON_POSTGRES, shows="every connection slot is taken"
    ),
    "postgres/readonly": Expected(
        not_up=down(Cause.READONLY, *TWO_DATABASES),
        shows="default_transaction_read_only is on",
        why="whoever asks SELECT 1 is answered",
    ),
    "redis": Expected(
        not_up=down(Cause.REFUSED, "redis") | down(Cause.DEPENDENCY, "langfuse-worker"),
        shows="connection refused",
        why="LiteLLM and Langfuse's web container do not look at Redis when they are asked how they are",
    ),
    "redis/pause": Expected(
        not_up=down(Cause.NO_ANSWER, "redis") | down(Cause.DEPENDENCY, "langfuse-worker"),
        shows="did not answer within",
    ),
    "redis/password": Expected(
        not_up=down(Cause.AUTH, "redis") | down(Cause.DEPENDENCY, "langfuse-worker"), shows="REDIS_URL"
    ),
    "redis/full": Expected(
        not_up=down(Cause.CAPACITY, "redis"), shows="every write is refused", why="the worker only asks PING, and is up"
    ),
    "redis/policy": Expected(
        not_up=degraded(Cause.MISCONFIGURED, "redis"),
        shows="noeviction",
        why="nothing is lost before its memory is full",
    ),
    "redis/evicted": up("one look cannot know what was counted before; the daemon tells it"),
    "redis/unsaved": Expected(
        not_up=down(Cause.READONLY, "redis") | down(Cause.DEPENDENCY, "langfuse-worker"), shows="cannot save to disk"
    ),
    "redis/replica": Expected(
        not_up=down(Cause.READONLY, "redis"), shows="read-only replica", why="whoever asks PING is answered"
    ),
    "clickhouse": Expected(
        not_up=down(Cause.REFUSED, "clickhouse") | degraded(Cause.DEPENDENCY, "langfuse-web"),
        shows="connection refused",
        why="Langfuse's web container runs on without events; its worker never looks at ClickHouse",
    ),
    "clickhouse/pause": Expected(
        not_up=down(Cause.NO_ANSWER, "clickhouse") | degraded(Cause.DEPENDENCY, "langfuse-web"),
        shows="did not answer within",
    ),
    "clickhouse/password": Expected(
        not_up=down(Cause.AUTH, "clickhouse") | degraded(Cause.DEPENDENCY, "langfuse-web"), shows="CLICKHOUSE_PASSWORD"
    ),
    "clickhouse/memory": Expected(
        not_up=down(Cause.CAPACITY, "clickhouse"), shows="KILL QUERY", why="whoever asks for little is answered"
    ),
    "clickhouse/disk": Expected(
        not_up=down(Cause.CAPACITY, "clickhouse"),
        shows="inserts and merges are refused",
        why="what is there can be read, and SELECT 1 is answered",
    ),
    "clickhouse/parts": Expected(
        not_up=down(Cause.CAPACITY, "clickhouse"), shows="12 parts in partition", why="what is there can be read"
    ),
    "clickhouse/mutation": Expected(
        not_up=degraded(Cause.STUCK, "clickhouse"), shows="the demo wants it to fail", why="only changes wait for it"
    ),
    "clickhouse/files": up("what was refused is counted from the second look on; the daemon tells it"),
    "minio": Expected(not_up=down(Cause.REFUSED, "minio"), shows="connection refused"),
    "minio/pause": Expected(not_up=down(Cause.NO_ANSWER, "minio"), shows="did not answer within"),
    "minio/bucket": Expected(not_up=down(Cause.NOT_FOUND, "minio"), shows="BACKUP_BUCKET"),
    "minio/other_bucket": Expected(
        not_up=down(Cause.NOT_FOUND, "minio"),
        shows="MINIO_BUCKETS",
        why="Langfuse's web container says so only when a trace is written, and our own goes to a stand-in",
    ),
    "minio/readonly": Expected(
        not_up=degraded(Cause.AUTH, "minio"), shows="may not write", why="what is there can be read"
    ),
    "minio/full": Expected(
        not_up=down(Cause.SERVER_ERROR, "minio"), shows="does not take an object", why="MinIO itself says capacity"
    ),
    "minio/key": Expected(not_up=down(Cause.AUTH, "minio"), shows="MINIO_SECRET_KEY"),
    "litellm/key": Expected(
        not_up=degraded(Cause.AUTH, "litellm", *LITELLM_CONSUMERS),
        shows="refuses the key in LITELLM_MASTER_KEY",
        why="it is alive and ready, and refuses the key that we and its consumers hold",
    ),
    "langfuse-worker/jobs_wait": Expected(
        not_up=degraded(Cause.LAGGING, "langfuse-worker"),
        shows="the oldest job waits for 60 min",
        why="that none is taken, and it is stuck, shows after four minutes",
    ),
    "langfuse-worker/jobs_overdue": Expected(
        not_up=degraded(Cause.LAGGING, "langfuse-worker"), shows="the oldest job waits for 60 min"
    ),
    "langfuse-worker/jobs_stand": up(
        "jobs may wait for a moment; that none is taken the daemon tells after four minutes"
    ),
    "langfuse-worker/queue_paused": Expected(not_up=degraded(Cause.STUCK, "langfuse-worker"), shows="is paused"),
    "langfuse-worker/jobs_given_up": Expected(
        not_up=degraded(Cause.DEPENDENCY, "langfuse-worker"), shows="Memory limit"
    ),
    "langfuse-worker/jobs_without_bucket": Expected(
        not_up=degraded(Cause.NOT_FOUND, "langfuse-worker"), shows="LANGFUSE_S3_EVENT_UPLOAD_BUCKET"
    ),
}

OWN: Mapping[str, Expected] = {
    "litellm/db_lost": Expected(not_up=down(Cause.DEPENDENCY, "litellm"), shows="has lost its database"),
    "litellm/db_lost_allowed": Expected(not_up=down(Cause.DEPENDENCY, "litellm"), shows="has lost its database"),
    "litellm/db_not_connected": Expected(
        not_up=down(Cause.DEPENDENCY, "litellm"), shows="started without reaching its database"
    ),
    "litellm/shutting_down": Expected(not_up=down(Cause.STOPPING, "litellm"), shows="shutting down"),
    "litellm/key_changed": Expected(
        not_up=degraded(Cause.AUTH, "litellm", *LITELLM_CONSUMERS), shows="LITELLM_MASTER_KEY"
    ),
    "litellm/salt_changed": Expected(not_up=degraded(Cause.BAD_ANSWER, "litellm"), shows="LITELLM_SALT_KEY"),
    "litellm/stored_models_vanished": up("one look cannot know what was there before; the daemon tells it"),
    "litellm/provider_key_expired": Expected(
        not_up=degraded(Cause.AUTH, "litellm"), shows="A provider refuses the key that LiteLLM"
    ),
    "litellm/provider_quota_spent": Expected(not_up=degraded(Cause.CAPACITY, "litellm"), shows="out of money or quota"),
    "litellm/provider_model_retired": Expected(
        not_up=degraded(Cause.NOT_FOUND, "litellm"), shows="Providers retire models"
    ),
    "litellm/provider_gone": Expected(not_up=degraded(Cause.DEPENDENCY, "litellm"), shows="does not reach a provider"),
    "litellm/budget_exceeded": up("no outage: LiteLLM does what it was told to, and our own completions rest"),
    "litellm/overloaded": Expected(not_up=degraded(Cause.CAPACITY, "litellm"), shows="requests in flight"),
    "langfuse-web/db_down": Expected(not_up=down(Cause.DEPENDENCY, "langfuse-web"), shows="PostgreSQL"),
    "langfuse-web/clickhouse_down": Expected(not_up=degraded(Cause.DEPENDENCY, "langfuse-web"), shows="ClickHouse"),
    "langfuse-web/idle": up("a stack nobody uses just now is well"),
    "langfuse-web/shutting_down": Expected(
        not_up=degraded(Cause.STOPPING, "langfuse-web"), shows="Langfuse is shutting down"
    ),
    "langfuse-web/health_failed": Expected(
        not_up=down(Cause.SERVER_ERROR, "langfuse-web"), shows="Langfuse's own health check failed"
    ),
    "langfuse-web/bucket_missing": Expected(
        not_up=degraded(Cause.DEPENDENCY, "langfuse-web"), shows="cannot put events into its bucket"
    ),
    "langfuse-web/keys_changed": Expected(
        not_up=degraded(Cause.AUTH, "langfuse-web", "litellm"),
        shows="LANGFUSE_SECRET_KEY",
        why="LiteLLM holds the same pair, so its traces are refused as well",
    ),
    "langfuse-web/suspended": Expected(not_up=degraded(Cause.CAPACITY, "langfuse-web"), shows="suspended"),
    "langfuse-web/traces_lost": up("a trace has ten minutes to arrive; the daemon tells it then"),
    "langfuse-web/queries_fail": up("shows when the trace of an earlier look is read; the daemon tells it"),
    "langfuse-worker/db_down": Expected(not_up=down(Cause.DEPENDENCY, "langfuse-worker"), shows="PostgreSQL or Redis"),
    "langfuse-worker/redis_down": Expected(
        not_up=down(Cause.DEPENDENCY, "langfuse-worker"), shows="PostgreSQL or Redis"
    ),
    "langfuse-worker/shutting_down": Expected(
        not_up=degraded(Cause.STOPPING, "langfuse-worker"), shows="worker is shutting down"
    ),
    "langfuse-worker/queue_stuck": Expected(
        not_up=down(Cause.CAPACITY, "langfuse-worker"), shows="has stopped taking jobs"
    ),
    "langfuse-worker/propagation_stuck": Expected(
        not_up=degraded(Cause.CAPACITY, "langfuse-worker"), shows="has stopped passing events on"
    ),
    "langfuse-worker/propagation_behind": up("only over time it can be told from a pause; the daemon tells it"),
    "open-webui/startup": Expected(not_up=down(Cause.STARTING, "open-webui"), shows="still starting"),
    "open-webui/db_down": Expected(not_up=down(Cause.DEPENDENCY, "open-webui"), shows="its database"),
    "open-webui/redis_down": Expected(not_up=down(Cause.DEPENDENCY, "open-webui"), shows="its Redis"),
    "open-webui/db_session_broken": up("a fault of the question: /ready asks a session of its own, and is right"),
    "open-webui/stale_key": Expected(
        not_up=degraded(Cause.MISCONFIGURED, "open-webui"), shows="ENABLE_PERSISTENT_CONFIG"
    ),
    "open-webui/api_keys_off": up("people work on; that our own key is refused is not available, and says why"),
    "open-webui/api_key_deleted": Expected(
        not_up=degraded(Cause.AUTH, "open-webui"), shows="refuses the key in OPEN_WEBUI_API_KEY"
    ),
    "open-webui/no_frontend": up("an image without its page is an API on purpose"),
    "r2r/db_down": Expected(not_up=down(Cause.DEPENDENCY, "r2r"), shows="cannot read from its PostgreSQL"),
    "r2r/authentication": up(
        "people work on; that R2R requires authentication is not available, and says which key to set"
    ),
    "qdrant/not_ready": Expected(not_up=down(Cause.STARTING, "qdrant"), shows="loading its shards"),
    "qdrant/key_changed": Expected(not_up=degraded(Cause.AUTH, "qdrant"), shows="QDRANT_API_KEY"),
    "qdrant/cloud_403": up("the key is sent with every question, so there is nothing to refuse"),
    "qdrant/collection_yellow": up("optimising is no fault"),
    "qdrant/collection_grey": up("waiting to be optimised is no fault"),
    "qdrant/collection_red": Expected(not_up=degraded(Cause.SERVER_ERROR, "qdrant"), shows="wal is corrupted"),
    "qdrant/collection_unread": Expected(not_up=down(Cause.SERVER_ERROR, "qdrant"), shows="documents"),
    "qdrant/collection_silent": Expected(
        not_up=degraded(Cause.NO_ANSWER, "qdrant"), shows="does not answer, while Qdrant"
    ),
    "qdrant/disk_full": Expected(not_up=down(Cause.CAPACITY, "qdrant"), shows="No space left on device"),
    "qdrant/recovery_mode": Expected(not_up=down(Cause.CAPACITY, "qdrant"), shows="recovery mode"),
    "qdrant/metrics_recovery": Expected(not_up=down(Cause.CAPACITY, "qdrant"), shows="recovery mode"),
    "qdrant/replica_dead": Expected(not_up=degraded(Cause.INCOMPLETE, "qdrant"), shows="a replica that is not active"),
    "qdrant/queue_behind": Expected(not_up=degraded(Cause.LAGGING, "qdrant"), shows="changes wait to be applied"),
    "qdrant/grpc_not_serving": Expected(not_up=down(Cause.SERVER_ERROR, "qdrant-grpc"), shows="NOT_SERVING"),
    "react-client/not_built": Expected(not_up=down(Cause.NOT_FOUND, "react-client"), shows="no page to serve"),
    "react-client/default_page": Expected(not_up=down(Cause.NOT_FOUND, "react-client"), shows="its own welcome page"),
    "react-client/listing": Expected(not_up=down(Cause.NOT_FOUND, "react-client"), shows="lists a folder"),
    "react-client/sign_in": Expected(not_up=down(Cause.WRONG_SERVICE, "react-client"), shows="a sign-in page"),
    "react-client/other_client": Expected(
        not_up=down(Cause.WRONG_SERVICE, "react-client"), shows="REACT_CLIENT_TEXT with the page it serves now"
    ),
    "react-client/html": Expected(
        not_up=down(Cause.WRONG_SERVICE, "react-client"), shows="Welcome", why="it lacks the words in REACT_CLIENT_TEXT"
    ),
    # What says this of a path is an application in Python, which these are not.
    **{
        f"{name}/not_found": Expected(not_up=down(Cause.WRONG_SERVICE, name), shows=shows)
        for name, shows in (
            ("langfuse-web", "FastAPI"),
            ("langfuse-worker", "FastAPI"),
            ("react-client", "an API answers with JSON"),
        )
    },
    "api-gateway/crashing": Expected(not_up=down(Cause.SERVER_ERROR, "api-gateway"), shows="Internal server error"),
    **{
        f"{name}/unhealthy": Expected(not_up=down(Cause.BAD_ANSWER, name), shows="unhealthy")
        for name in ("saas-api", "api-gateway", "chat", "inference", "agent", "retrieval")
    },
    **{
        f"{STAND_IN_STORE}/{fault}": Expected(not_up=down(cause, STAND_IN_STORE), shows=shows)
        for fault, cause, shows in (
            ("booting", Cause.STARTING, "its storage is not there yet"),
            ("offline", Cause.STARTING, "its storage is not there yet"),
            ("metadata_offline", Cause.STARTING, "bucket settings"),
            ("iam_offline", Cause.STARTING, "users and policies"),
            ("no_quorum", Cause.CAPACITY, "drives are online"),
            ("read_only", Cause.CAPACITY, "drives are online"),
            ("not_found", Cause.WRONG_SERVICE, "no object store"),
        )
    },
    f"{STAND_IN_STORE}/maintenance": up("it is not asked whether it may be taken down"),
    f"{STAND_IN_STORE}/healing": up("drives that heal are no outage"),
    f"{STAND_IN_STORE}/kms_down": up("only /ready says so, which is 200 while nothing can be read"),
    f"{STAND_IN_STORE}/full": up("only who writes is told so, and without keys nothing is written; minio/full is"),
    f"{STAND_IN_STORE}/busy": up("only /live and /ready say so; a signed question meets it as capacity"),
    # What has no /readyz is no Qdrant, of any version.
    "qdrant/not_found": Expected(not_up=down(Cause.WRONG_SERVICE, "qdrant"), shows="no /readyz"),
}

ANYWHERE: Mapping[str, tuple[Cause, str, str]] = {
    "refuse": (Cause.REFUSED, "connection refused", ""),
    "reset": (Cause.RESET, "was cut", ""),
    "close": (Cause.RESET, "was cut", ""),
    "hang": (Cause.NO_ANSWER, "did not answer within", ""),
    "slow": (Cause.NO_ANSWER, "did not answer within", "when later than the check's timeout; else up"),
    "slow_drip": (Cause.NO_ANSWER, "within", ""),
    "reset_midway": (Cause.RESET, "was cut", ""),
    "truncated": (Cause.RESET, "was cut", ""),
    "garbage": (Cause.WRONG_SERVICE, "the answer is not HTTP", ""),
    "huge": (Cause.BAD_ANSWER, "padding", ""),
    "http_500": (Cause.SERVER_ERROR, "HTTP 500", ""),
    "http_503": (Cause.SERVER_ERROR, "HTTP 503", ""),
    "http_502_edge": (Cause.SERVER_ERROR, "Railway's edge", ""),
    "http_404_edge": (Cause.NOT_FOUND, "Railway's edge has nothing deployed", ""),
    "flapping": (Cause.SERVER_ERROR, "HTTP 500", "told as intermittent by the daemon after four misses in ten looks"),
    "not_found": (Cause.NOT_FOUND, "HTTP 404", ""),
    "unauthorized": (Cause.AUTH, "HTTP 401", ""),
    "html": (Cause.WRONG_SERVICE, "a web page", ""),
    "wrong_service": (Cause.WRONG_SERVICE, "HTTP 200", ""),
    "redirect": (Cause.BAD_STATUS, "it redirects to", ""),
    "redirect_loop": (Cause.BAD_STATUS, "it redirects in a circle", ""),
    "empty": (Cause.BAD_ANSWER, "HTTP 200", ""),
    "bad_json": (Cause.BAD_ANSWER, "HTTP 200", ""),
}
"""What any stand-in can have: the cause told of it, what the evidence shows, and what there is to say."""
UNSTEADY = ("flapping",)
"""These fail some of a service's questions, so the state depends on which."""
GRPC: Mapping[str, Cause] = {
    "refuse": Cause.REFUSED,
    "reset": Cause.RESET,
    "close": Cause.RESET,
    "hang": Cause.NO_ANSWER,
    "slow": Cause.NO_ANSWER,
    "slow_drip": Cause.RESET,
    "reset_midway": Cause.RESET,
    "truncated": Cause.WRONG_SERVICE,
    "garbage": Cause.WRONG_SERVICE,
    "huge": Cause.WRONG_SERVICE,
}
"""What of these befalls Qdrant's second port as well, and as what."""


def expected(outage: str) -> Expected:
    """What the watch says of an outage, by its name in demo/outages.py. Raises KeyError for one nobody thought of."""
    if outage in REAL:
        return REAL[outage]
    if outage in OWN:
        return OWN[outage]
    name, _, fault = outage.partition("/")
    if fault in ("", "pause"):
        fault = "hang" if fault else "refuse"
    if fault == "waking":
        return up("one look asks a service that slept once more, and so does the daemon: it is well then")
    cause, shows, why = ANYWHERE[fault]
    told = {name: Told("not up" if fault in UNSTEADY else "down", cause)}
    if name == "qdrant" and fault in GRPC:
        told |= down(GRPC[fault], "qdrant-grpc")
    return Expected(not_up=told, shows=shows, why=why)
