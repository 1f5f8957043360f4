"""Rows of the matrix about PostgreSQL, Redis, ClickHouse, MinIO and Qdrant."""

from config.causes import Cause
from demo.expectations import Expected, degraded
from demo.faults.matrix import SLOW, TRACE, Row, play, queue

WEB = frozenset({"langfuse-web"})


STORES: tuple[Row, ...] = (
    Row(
        number=8,
        failure="Redis' memory is full, and it refuses writes",
        plays=(play("redis/full"),),
        apart="PING passes; a write of our own meets OOM. A failed save says MISCONF, a replica READONLY",
    ),
    Row(
        number=9,
        failure="Redis throws keys away that are Langfuse's jobs",
        plays=(
            play("redis/policy", within=SLOW),
            play(
                "redis/evicted",
                wanted=Expected(not_up=degraded(Cause.CAPACITY, "redis"), shows="throws keys away"),
                lingers=True,
            ),
        ),
        apart="the policy is told before anything is lost, the count of evictions once something is",
    ),
    Row(
        number=10,
        failure="Redis cannot save to disk, and refuses writes",
        plays=(play("redis/unsaved"),),
        apart="MISCONF, with rdb_last_bgsave_status err",
    ),
    Row(
        number=13,
        failure="The bucket is missing",
        plays=(
            play("minio/bucket"),
            play("minio/other_bucket"),
            play("langfuse-web/bucket_missing", within=TRACE),
            queue("jobs_without_bucket"),
        ),
        apart="the store is well and a signed question for the bucket is 404; Langfuse's own words say which bucket",
    ),
    Row(
        number=14,
        failure="ClickHouse's disk is full, as of its own logs",
        plays=(play("clickhouse/disk", uses=WEB),),
        apart="/ping and SELECT 1 are well; the free space of each disk is read, the size of its own logs has a signal "
        "of its own, and refused inserts are counted by their code (243)",
    ),
    Row(
        number=15,
        failure="ClickHouse has too little memory for what Langfuse asks",
        plays=(play("clickhouse/memory", uses=WEB),),
        apart="/ping and SELECT 1 are well; a query that needs as much as Langfuse's do is refused with 241",
    ),
    Row(
        number=16,
        failure="ClickHouse refuses inserts: too many parts",
        plays=(play("clickhouse/parts"),),
        apart="parts are counted against the limit of their own table before and when inserts fail with 252",
    ),
    Row(
        number=17,
        failure="A mutation of ClickHouse's is stuck",
        plays=(play("clickhouse/mutation"),),
        apart="is_done is 0 and there is a reason it failed for, which is told",
    ),
    Row(
        number=20,
        failure="ClickHouse may open no more files",
        plays=(
            play(
                "clickhouse/files",
                wanted=Expected(not_up=degraded(Cause.CAPACITY, "clickhouse"), shows="files"),
                uses=WEB,
                within=SLOW,
            ),
        ),
        apart="/ping and SELECT 1 are well; what was refused is counted by its code, here 76 with errno 24",
    ),
    Row(
        number=21,
        failure="PostgreSQL has no connection slot left",
        plays=(play("postgres/slots"),),
        apart="53300, where a stopped server refuses the connection; a session that was kept says who holds the slots",
    ),
    Row(
        number=30,
        failure="Qdrant's disk is full",
        plays=(play("qdrant/disk_full"), play("qdrant/collection_red")),
        apart="its health pages are green; a collection is red and says why. A full disk is down, one failed "
        "collection degraded",
    ),
    Row(
        number=31,
        failure="A collection of Qdrant waits to be optimised",
        plays=(play("qdrant/collection_grey"),),
        apart="grey and yellow are no outage: nothing is told",
    ),
    Row(
        number=32,
        failure="The key for Qdrant is another one",
        plays=(play("qdrant/key_changed"), play("R2R_QDRANT_API_KEY holds another key")),
        apart="its health is green without a key; its collections are refused with ours",
    ),
    Row(
        number=33,
        failure="MinIO boots: it is alive, and its storage is not there",
        plays=(play("minio-standin/booting"),),
        apart="live and ready are 200; the cluster page and x-minio-server-status say offline",
    ),
    Row(
        number=37,
        failure="PostgreSQL's certificate has expired",
        plays=(
            play(
                "postgres-tls/expired",
                wanted=Expected(not_up=degraded(Cause.CERT_EXPIRED, "postgres-tls"), shows="expired"),
                on="real PostgreSQL behind TLS",
            ),
        ),
        apart="queries are answered on; only the certificate of the handshake says it",
    ),
)
