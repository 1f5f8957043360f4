"""What Redis's or Valkey's signals prove. Evidence.sign is the signal, code the first word of the canary's error."""

from dataclasses import replace

from config.causes import Cause
from monitor.diagnose.base import Rule
from monitor.diagnose.redis import REDIS

# What the canary's write is refused with means what it means to the plain check.
_REFUSALS = {"OOM", "MISCONF", "READONLY", "CLUSTERDOWN"}
_CANARY = tuple(replace(rule, signs=("canary",), precise=True) for rule in REDIS if _REFUSALS & set(rule.codes))

REDIS_SIGNAL: tuple[Rule, ...] = (
    *_CANARY,
    Rule(
        cause=Cause.READONLY,
        precise=True,
        signs=("canary",),
        codes=("NOREPLICAS",),
        proof="NOREPLICAS: fewer replicas are connected than min-replicas-to-write asks for",
        says="{title} at {address} refuses writes, because too few replicas are connected.",
        remedy="Bring the replicas back (INFO replication), or lower min-replicas-to-write.",
    ),
    Rule(
        cause=Cause.SERVER_ERROR,
        precise=True,
        signs=("canary",),
        proof="a write to a key of our own is refused with any other error",
        says="{title} at {address} answers PING and refuses to write ({code}).",
        remedy="The evidence holds its words; see its log.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("memory",),
        codes=("near",),
        proof="used_memory is above the threshold's share of maxmemory, and above 80 %, with noeviction",
        says="{title} at {address} runs out of memory: at maxmemory it refuses every write.",
        remedy="See what fills it: redis-cli --bigkeys, and the length of Langfuse's queues (is its worker up and fast "
        "enough?). Give keys an expiry, raise maxmemory below the container's limit, and keep noeviction where queues "
        "live: give the cache a Redis of its own.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("memory",),
        proof="used_memory is above the threshold's share of maxmemory, and below 80 %, with noeviction",
        says="{title} at {address} uses more of its memory than its threshold allows.",
        remedy="See what fills it: redis-cli --bigkeys, and the length of Langfuse's queues. If it is as it should be, "
        "raise warn and fail of this check in WATCH_FILE (percent; it warns from 85 without it).",
    ),
    Rule(
        cause=Cause.MISCONFIGURED,
        precise=True,
        signs=("policy",),
        proof="maxmemory_policy is not noeviction, and Langfuse, whose queues live there, depends on it",
        says="{title} at {address} may throw keys away, and Langfuse keeps its queues there.",
        remedy="Set maxmemory-policy noeviction in its start command or configuration (CONFIG SET alone does not "
        "survive a restart). LiteLLM's cache wants the opposite: give it a Redis of its own, REDIS_URL__LITELLM.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("evicted",),
        proof="evicted_keys grew between two looks of ours, and Langfuse depends on it",
        says="{title} at {address} throws keys away for want of memory: Langfuse loses queued events.",
        remedy="Set maxmemory-policy noeviction and raise maxmemory; then see what fills it. What was thrown away is "
        "lost from the queue; the events themselves may still lie in Langfuse's bucket.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("rejected",),
        proof="rejected_connections grew between two looks of ours: maxclients was reached",
        says="{title} at {address} refused connections, because too many clients are connected.",
        remedy="CLIENT LIST shows whose they are (addr, name, idle). Restart the client that leaks or lower its pool; "
        "then raise maxclients, and the container's limit of open files with it.",
    ),
    Rule(
        cause=Cause.UNSAVED,
        precise=True,
        signs=("persistence",),
        proof="INFO persistence: rdb_last_bgsave_status, aof_last_write_status or aof_last_bgrewrite_status is not ok",
        says="{title} at {address} could not save what it holds to disk.",
        remedy="Its log says why: the disk is full or not writable, or there is no memory to fork (overcommit_memory). "
        "Free or enlarge the volume; then BGSAVE, and INFO persistence must say ok. With "
        "stop-writes-on-bgsave-error it refuses every write until then.",
    ),
    Rule(
        cause=Cause.DEPENDENCY,
        precise=True,
        signs=("replica",),
        proof="INFO replication: master_link_status has been down for longer than the threshold",
        says="{title} at {address} is a replica that has lost its primary.",
        remedy="See whether the primary is up, then masterauth and the network between them: the log names the error. "
        "What is read here is old.",
    ),
    Rule(
        cause=Cause.RESTARTING,
        precise=True,
        signs=("restarts",),
        proof="run_id changed as often within an hour as the threshold says",
        says="{title} at {address} restarts more often than it may.",
        remedy="Mostly it is killed for memory: set maxmemory to three quarters of the container's limit, since "
        "snapshots need the rest. Then see the last lines of its log before each start.",
    ),
)
