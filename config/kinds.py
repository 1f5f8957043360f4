"""Every kind of check by the word that a preset and WATCH_FILE name it with."""

from collections.abc import Mapping

from config.checks import (
    BackupsParams,
    ClickhouseParams,
    DnsParams,
    GrpcParams,
    HttpParams,
    PostgresParams,
    RedisParams,
    S3Params,
    TcpParams,
    TlsParams,
)
from config.signals import (
    ClickhouseSignalParams,
    KeySignalParams,
    LangfuseSignalParams,
    LitellmSignalParams,
    OpenwebuiSignalParams,
    PostgresSignalParams,
    QdrantSignalParams,
    QueueSignalParams,
    RedisSignalParams,
    S3SignalParams,
)

Params = (
    HttpParams
    | TcpParams
    | TlsParams
    | DnsParams
    | GrpcParams
    | PostgresParams
    | RedisParams
    | ClickhouseParams
    | S3Params
    | BackupsParams
    | PostgresSignalParams
    | RedisSignalParams
    | ClickhouseSignalParams
    | S3SignalParams
    | LitellmSignalParams
    | LangfuseSignalParams
    | QueueSignalParams
    | OpenwebuiSignalParams
    | KeySignalParams
    | QdrantSignalParams
)

PLAIN: Mapping[str, type[Params]] = {
    "http": HttpParams,
    "tcp": TcpParams,
    "tls": TlsParams,
    "dns": DnsParams,
    "grpc": GrpcParams,
    "postgres": PostgresParams,
    "redis": RedisParams,
    "clickhouse": ClickhouseParams,
    "s3": S3Params,
}

# They have no pace of their own to be judged by.
SIGNALS: Mapping[str, type[Params]] = {
    "postgres_signal": PostgresSignalParams,
    "redis_signal": RedisSignalParams,
    "clickhouse_signal": ClickhouseSignalParams,
    "s3_signal": S3SignalParams,
    "litellm_signal": LitellmSignalParams,
    "langfuse_signal": LangfuseSignalParams,
    "queue_signal": QueueSignalParams,
    "openwebui_signal": OpenwebuiSignalParams,
    "key_signal": KeySignalParams,
    "qdrant_signal": QdrantSignalParams,
}

PARAMS: Mapping[str, type[Params]] = {**PLAIN, **SIGNALS}
