"""What the queues of Langfuse's worker prove. Evidence.sign is the signal, code what kind of trouble it is."""

from config.causes import Cause
from monitor.diagnose.base import Rule

QUEUE_SIGNAL: tuple[Rule, ...] = (
    Rule(
        cause=Cause.STUCK,
        precise=True,
        signs=("waiting",),
        codes=("paused",),
        proof="jobs wait in a queue that is paused",
        says="A queue of {title} at {address} is paused: traces are taken and do not appear.",
        remedy="Somebody, or a tool for BullMQ, paused it. Resume it in that tool, or delete the field: HDEL "
        "bull:<queue>:meta paused. Then see that the jobs are worked off.",
    ),
    Rule(
        cause=Cause.STUCK,
        precise=True,
        signs=("waiting",),
        codes=("stalled",),
        proof="jobs wait and for four minutes none was taken, while the worker may well say that it is healthy",
        says="{title} at {address} has stopped taking jobs from its queues: traces are taken and do not appear.",
        remedy="Restart the worker: after a lost connection to Redis its consumers can stay wedged while its health is "
        "green. Jobs stay in Redis. If it stops again, look in its log for what the jobs wait for: ClickHouse (memory, "
        "parts, disk), the bucket, Redis' maxmemory. A platform that restarts what is unhealthy can do it by itself, "
        "with the worker's /api/health?failIfQueueConsumptionStuck=true.",
    ),
    Rule(
        cause=Cause.LAGGING,
        precise=True,
        signs=("waiting",),
        codes=("behind",),
        proof="the oldest job waits for longer than the threshold, and jobs are taken",
        says="{title} at {address} is behind with its queues: traces appear late.",
        remedy="More arrives than is worked off, or each job takes long. Look at ClickHouse's load and memory first, "
        "then at the worker's CPU; add a second worker or raise LANGFUSE_INGESTION_QUEUE_PROCESSING_CONCURRENCY if "
        "both have room.",
    ),
    Rule(
        cause=Cause.NOT_FOUND,
        precise=True,
        signs=("failed",),
        text=r"NoSuchBucket|specified bucket does not exist",
        proof="jobs are given up for want of the bucket",
        says="{title} at {address} gives jobs up because its bucket is not there.",
        remedy="Make the bucket in LANGFUSE_S3_EVENT_UPLOAD_BUCKET again (mc mb), with the events that were in it if "
        "there is a copy. Jobs that were given up stay in `failed`; Langfuse's admin can retry them.",
    ),
    Rule(
        cause=Cause.DEPENDENCY,
        precise=True,
        signs=("failed",),
        text=r"clickhouse|MEMORY_LIMIT|TOO_MANY_PARTS|NOT_ENOUGH_SPACE|ECONNREFUSED|ENOTFOUND|ETIMEDOUT|ECONNRESET",
        proof="jobs are given up because what they need fails; the evidence quotes the newest",
        says="{title} at {address} gives jobs up because something it needs fails: those traces are not shown.",
        remedy="The evidence quotes why: ClickHouse (memory, parts, disk, password), the bucket, PostgreSQL or the "
        "network. Mend that first; then retry the jobs that were given up, which stay in `failed`.",
    ),
    Rule(
        cause=Cause.SERVER_ERROR,
        precise=True,
        signs=("failed",),
        proof="jobs are given up after all their attempts; the evidence quotes the newest",
        says="{title} at {address} gives jobs up: those traces are not shown.",
        remedy="The evidence quotes why the newest was given up; the worker's log has the whole error. Jobs that were "
        "given up stay in `failed` and can be tried again once that is mended.",
    ),
)
