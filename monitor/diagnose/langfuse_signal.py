"""What the way of an event through Langfuse proves. Evidence.sign is the signal, code what kind of trouble it is."""

from config.causes import Cause
from monitor.diagnose.base import Rule

LANGFUSE_SIGNAL: tuple[Rule, ...] = (
    Rule(
        cause=Cause.LAGGING,
        precise=True,
        signs=("propagation",),
        codes=("behind",),
        proof="events arrive, and the worker has passed none on for longer than the threshold",
        says="{title} at {address} takes events in and does not pass them on: what arrives now is not shown.",
        remedy="Look at ClickHouse first: memory (241), too many parts (252) and disk stop this job. Then at the "
        "worker's log for “DUAL WRITE”. Restart the worker; nothing is lost while its staging table keeps it.",
    ),
    Rule(
        cause=Cause.STUCK,
        precise=True,
        signs=("trace",),
        codes=("lost",),
        proof="a trace that Langfuse took is not there to be read after the threshold",
        says="{title} at {address} takes traces and they do not appear.",
        remedy="Follow its way: the worker (is it up, do its queues move?), Redis (maxmemory-policy must be "
        "noeviction, or jobs vanish), the bucket of events (S3 keys, does it exist?), ClickHouse (memory, disk, "
        "parts). The worker's log names the one that fails. What is in the bucket can be taken in again.",
    ),
    Rule(
        cause=Cause.LAGGING,
        precise=True,
        signs=("trace",),
        codes=("slow",),
        proof="a trace was there to be read, but only after the threshold",
        says="{title} at {address} shows traces late.",
        remedy="See how many jobs wait in the worker's queues, then ClickHouse's load and memory; more workers help "
        "only if ClickHouse keeps up.",
    ),
    Rule(
        cause=Cause.AUTH,
        precise=True,
        signs=("trace",),
        codes=("auth",),
        proof="Langfuse answers 401 or 403 to LANGFUSE_PUBLIC_KEY and LANGFUSE_SECRET_KEY",
        says="{title} at {address} refuses the keys of the project that traces are written to.",
        remedy="Copy LANGFUSE_PUBLIC_KEY (pk-lf-…) and LANGFUSE_SECRET_KEY (sk-lf-…) from the project's settings; "
        "both belong to one project, and an organization's keys do not do. If LiteLLM holds the same pair, its traces "
        "are refused as well. If they worked yesterday, see whether Langfuse's SALT or its database was changed.",
    ),
    Rule(
        cause=Cause.DEPENDENCY,
        precise=True,
        signs=("trace",),
        codes=("bucket",),
        proof="Langfuse says “Failed to upload events to blob storage”",
        says="{title} at {address} cannot put events into its bucket: no trace is taken.",
        remedy="See that LANGFUSE_S3_EVENT_UPLOAD_BUCKET exists in the store (nothing creates it by itself: mc mb), "
        "that the store is up and has room, and that its keys and endpoint in Langfuse's LANGFUSE_S3_EVENT_UPLOAD_* "
        "are the store's. What was refused meanwhile is lost, unless the client sends it again.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("trace",),
        codes=("suspended",),
        proof="Langfuse says that ingestion is suspended",
        says="{title} at {address} has suspended taking traces in for this project.",
        remedy="A usage threshold was passed: see the organization's billing page in Langfuse.",
    ),
    Rule(
        cause=Cause.DEPENDENCY,
        precise=True,
        signs=("trace",),
        codes=("unreadable",),
        proof="Langfuse fails when it is asked for one trace",
        says="{title} at {address} cannot read a trace back.",
        remedy="Traces are read from ClickHouse: look at its memory (241), its disk and its log; Langfuse's own health "
        "stays green meanwhile.",
    ),
    Rule(
        cause=Cause.SERVER_ERROR,
        precise=True,
        signs=("trace",),
        codes=("refused",),
        proof="Langfuse does not take a trace, for another reason; the evidence quotes it",
        says="{title} at {address} does not take a trace.",
        remedy="Read the evidence, then the web container's log at that time. Redis and the bucket are what it needs "
        "to take one: look at both.",
    ),
)
