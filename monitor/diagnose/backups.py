"""What the restore points in the store prove."""

from config.causes import Cause
from monitor.diagnose.base import Rule

BACKUPS: tuple[Rule, ...] = (
    Rule(
        cause=Cause.DEPENDENCY,
        precise=True,
        signs=("store",),
        proof="the store does not tell its restore points",
        says="Whether the backups are fresh cannot be seen: the store cannot be read.",
        remedy="Look at the store (MinIO) first; then at MINIO_ENDPOINT, its keys and BACKUP_BUCKET.",
    ),
    Rule(
        cause=Cause.STARTING,
        precise=True,
        signs=("first",),
        proof="there is no restore point, and the first run has not ended",
        says="The first backup is not there yet.",
        remedy="Nothing: it is taken a minute after the first start, and takes as long as the databases are large.",
    ),
    Rule(
        cause=Cause.STALE,
        precise=True,
        signs=("none",),
        proof="no good restore point in the store",
        says="There is no good backup in the store.",
        remedy="Take one now, and read what it says: python -m backup run. If backups were there yesterday, see "
        "whether the bucket, BACKUP_PREFIX or BACKUP_SOURCE changed.",
    ),
    Rule(
        cause=Cause.STALE,
        signs=("overdue", "late"),
        proof="the newest good backup is older than its schedule allows",
        says="The newest good backup is older than its schedule allows.",
        remedy="See the last run's error: python -m backup show latest, and the daemon's log. Take one now: "
        "python -m backup run.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("full",),
        proof="the newest run ended since the store had no room, and no newer point is there",
        says="The store is full: the newest backup could not be written, and what it had written was removed again.",
        remedy="Give the store more room, or keep less (BACKUP_RETENTION_DAYS, then python -m backup prune). The older "
        "restore points are untouched. Then take one: python -m backup run.",
    ),
    Rule(
        cause=Cause.INCOMPLETE,
        precise=True,
        signs=("run",),
        proof="the newest run ended with nothing in the store, and no newer point is there",
        says="The newest backup run failed, and nothing of it is in the store.",
        remedy="Its error says what to do; it is tried again by itself, ever less often. To see it happen: "
        "python -m backup run.",
    ),
    Rule(
        cause=Cause.INCOMPLETE,
        signs=("failed", "missing"),
        proof="the newest restore point lacks a database that was backed up before, or whose dump failed",
        says="The newest backup lacks a database: its dump failed, or it is gone.",
        remedy="See why: python -m backup show latest names each artifact's error. A database removed on purpose stops "
        "being missed after the next run.",
    ),
    Rule(
        cause=Cause.INCOMPLETE,
        precise=True,
        signs=("damaged",),
        proof="the newest restore point cannot be read, or `verify` found that it is not what was written",
        says="The newest restore point is damaged.",
        remedy="Take a new one now: python -m backup run. See what is damaged (python -m backup verify latest), and "
        "who else writes to or removes from the bucket: a lifecycle rule, a sync, a failing disk.",
    ),
    Rule(
        cause=Cause.SHRUNKEN,
        signs=("shrunken",),
        proof="the newest restore point holds less than half of what those before it held",
        says="The newest backup holds less than half of what those before it held.",
        remedy="Compare tables and rows: python -m backup show latest. If data was lost, keep the older points: raise "
        "BACKUP_RETENTION_DAYS before you do anything else.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("space",),
        proof="what is stored and another backup of the newest's size are more than BACKUP_MAX_BYTES",
        says="The next backup would take more room than BACKUP_MAX_BYTES allows.",
        remedy="Keep less (BACKUP_RETENTION_DAYS, BACKUP_KEEP_MIN, then python -m backup prune), or give the store "
        "more room and raise BACKUP_MAX_BYTES.",
    ),
)
