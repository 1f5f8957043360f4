"""What Qdrant's signals prove. Evidence.sign is the signal, code what kind of trouble it is."""

from config.causes import Cause
from monitor.diagnose.base import Rule

QDRANT_SIGNAL: tuple[Rule, ...] = (
    Rule(
        cause=Cause.AUTH,
        signs=("key",),
        codes=("wrong",),
        proof="/collections is 401 or 403 to our key, while the health pages answer",
        says="{title} at {address} is up and refuses our key: whoever holds the same one is refused as well.",
        remedy="The key here must equal QDRANT__SERVICE__API_KEY, or the read-only one, on Qdrant; a variable named "
        "QDRANT_API_KEY on Qdrant itself does nothing. Set all of them from one reference and redeploy.",
    ),
    Rule(
        cause=Cause.SERVER_ERROR,
        precise=True,
        signs=("key",),
        codes=("unlisted",),
        proof="/collections is 5xx",
        says="{title} at {address} cannot list its collections.",
        remedy="The evidence holds its words. Look at its log and at the free space of its volume, then restart it.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("collections",),
        codes=("space",),
        proof="a collection is red, or cannot be read, and its error says that no space is left on the device",
        says="The disk of {title} at {address} is full: it takes no changes, while its health pages stay green.",
        remedy="Make room first: snapshots lie on the same disk until they are deleted (GET and DELETE "
        "/collections/NAME/snapshots, and /snapshots for full ones), then enlarge the volume. A red collection stays "
        "red after that: restart Qdrant, or have it optimised anew (PATCH /collections/NAME with an empty "
        "optimizers_config).",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("collections",),
        codes=("recovery",),
        proof="no collection can be read, because Qdrant runs in recovery mode",
        says="{title} at {address} runs in recovery mode: no collection can be searched or written.",
        remedy="It was killed while it loaded, mostly for memory, and QDRANT_ALLOW_RECOVERY_MODE had it start like "
        "this. Give it more memory, or remove collections (that is all it allows now), then restart it. If nobody "
        "meant it, take QDRANT__STORAGE__RECOVERY_MODE out.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("recovery",),
        proof="its metrics say app_status_recovery_mode 1",
        says="{title} at {address} runs in recovery mode: its health is green, and no collection can be searched.",
        remedy="It was killed while it loaded, mostly for memory, and QDRANT_ALLOW_RECOVERY_MODE had it start like "
        "this. Give it more memory, or remove collections (that is all it allows now), then restart it. If nobody "
        "meant it, take QDRANT__STORAGE__RECOVERY_MODE out.",
    ),
    Rule(
        cause=Cause.SERVER_ERROR,
        precise=True,
        signs=("collections",),
        codes=("unread",),
        proof="/collections/NAME is 5xx, while /readyz says that all is well",
        says="{title} at {address} cannot read a collection of its own, while its health pages stay green.",
        remedy="Its log says why: a shard that did not load, a damaged file, or no memory. Restart it once; if that "
        "does not help, restore this collection from a snapshot (PUT /collections/NAME/snapshots/recover).",
    ),
    Rule(
        cause=Cause.SERVER_ERROR,
        precise=True,
        signs=("collections",),
        codes=("red",),
        proof="a collection is red for another reason; the evidence quotes its optimizer",
        says="A collection of {title} at {address} is red: changes failed and were not made up for.",
        remedy="Read the evidence and Qdrant's log. Mostly memory, open files or a damaged segment: put that right, "
        "then restart Qdrant; it stays red until it is started or optimised anew. If it is red again at once, restore "
        "the collection from a snapshot.",
    ),
    Rule(
        cause=Cause.NO_ANSWER,
        precise=True,
        signs=("collections",),
        codes=("silent",),
        proof="a collection is not told of in time, while the list of them is",
        says="A collection of {title} at {address} does not answer, while Qdrant does.",
        remedy="Look at its CPU, its memory and its disk's pace: an optimisation or a snapshot may hold it. If it "
        "lasts, restart Qdrant, and see which segment its log ends with.",
    ),
    Rule(
        cause=Cause.LAGGING,
        precise=True,
        signs=("queue",),
        proof="result.update_queue.length of a collection is above the threshold",
        says="{title} at {address} takes changes faster than it applies them: what was written is not found yet.",
        remedy="Look at its CPU and at the optimisations that run (yellow collections). Let the import pause or send "
        "larger batches; it falls behind by itself when nothing more comes.",
    ),
    Rule(
        cause=Cause.INCOMPLETE,
        precise=True,
        signs=("replicas",),
        proof="its metrics say that collection_dead_replicas is above the threshold",
        says="{title} at {address} has shards with a replica that is not active.",
        remedy="See which (GET /collections/NAME/cluster) and whether that node is up and reached: it catches up by "
        "itself once it is back. A node that is gone for good is taken out with DELETE /cluster/peer/ID?force=true; "
        "then its shards are replicated anew.",
    ),
)
