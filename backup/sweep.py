"""Removing: points that retention lets go, and what dead runs left. All of it under the lease, and only what is ours.

A point goes in this order, so that it is never listed while half of it is gone, and whoever is killed over it leaves a
mark by which the next sweep goes on: deleting.json is written, the artifacts go, then the manifest and what belongs to
it, run.json, and the mark itself last.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from backup import runfile
from backup.catalog import Catalog
from backup.layout import DELETING, OBJECTS, claim_prefix, is_ours, lease_key, point_prefix
from backup.lease import Lease, read_lease
from backup.manifest import MANIFEST, PROOF, RECOVERY, RUN, rfc3339
from backup.proof import without_damaged
from backup.retention import Plan, decide, stand_still
from backup.storage.base import Storage
from config.backup_settings import RetentionSettings

# A run whose lease has ended may have a last request under way.
GRACE = 30.0
# Further apart than this, the store's clock or ours is wrong, and nobody knows which.
CLOCKS_APART = timedelta(hours=1)
NO_RUN = "it has no run.json, so no run of ours made it: remove it by hand"
UNREADABLE = "its run.json cannot be read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """What a sweep removed, and what it left although nobody finishes it: point → why, in words."""

    removed: tuple[str, ...] = ()
    left: tuple[tuple[str, str], ...] = ()


def plan(catalog: Catalog, rules: RetentionSettings, *, clock: Callable[[], datetime] | None = None) -> Plan:
    """What a prune would do now. `clock` is this machine's, in UTC."""
    now = catalog.storage.now()
    here = (clock or _utcnow)()
    decided = decide([without_damaged(catalog, point) for point in catalog.each()], now, rules)
    if abs(here - now) > CLOCKS_APART and not decided.standstill:
        return stand_still(decided, f"this machine's clock says {here:%Y-%m-%d %H:%M} UTC, the store's {now:%H:%M}")
    return decided


def prune(
    catalog: Catalog, rules: RetentionSettings, lease: Lease, *, clock: Callable[[], datetime] | None = None
) -> Plan:
    """Removes the points that retention lets go, the oldest first. Raises StoreError, and LockedError with the lease
    lost."""
    decided = plan(catalog, rules, clock=clock)
    for point in decided.removed:
        lease.recheck()
        remove_point(catalog.storage, catalog.source, point, lease, why=decided.of(point).reason)
    return decided


def sweep(
    catalog: Catalog,
    lease: Lease,
    *,
    grace: float = GRACE,
    clickhouse_ended: Callable[[str], bool] = lambda _: True,
) -> Swept:
    """Removes what runs of this source left that died before their manifest, and finishes removals that were cut short.

    Given the lease that we hold, seconds nothing must have been written for when the owner's death is not certain, and
    what tells whether the ClickHouse backup of an id has ended (or has been ended). Raises like `prune`.
    """
    removed, left = [], []
    for point in catalog.unfinished():
        why_left = _why_left(catalog, point, lease, grace, clickhouse_ended)
        if why_left is None:
            continue
        if why_left:
            left.append((point, why_left))
            continue
        lease.recheck()
        remove_point(catalog.storage, catalog.source, point, lease, why="its run died")
        removed.append(point)
    _remove_old_claims(catalog, lease)
    return Swept(removed=tuple(removed), left=tuple(left))


def remove_point(storage: Storage, source: str, point: str, lease: Lease, *, why: str) -> None:
    """Removes one point, finished or not, under the lease. What lies in its folder and is not ours stays."""
    prefix = point_prefix(source, point)
    mark = {"at": rfc3339(storage.now()), "by": str(lease.owner), "why": why}
    storage.put(prefix + DELETING, json.dumps(mark).encode())
    batch: list[str] = []
    for stored in storage.list(prefix):
        name = stored.key.removeprefix(prefix)
        if is_ours(name) and name not in OBJECTS:
            batch.append(stored.key)
        if len(batch) == 1000:
            lease.check()
            storage.delete(batch)
            batch = []
    lease.check()
    storage.delete(batch)
    for name in (MANIFEST, PROOF, RECOVERY, RUN, DELETING):
        storage.delete([prefix + name])


def fate(catalog: Catalog, point: str) -> str:
    """What becomes of a point that is not finished, in words. Asks nobody but the store, and needs no lease."""
    storage, prefix = catalog.storage, point_prefix(catalog.source, point)
    if storage.stat(prefix + DELETING) is not None:
        return "it is being removed, or that was cut short; then the next run removes the rest"
    try:
        run = runfile.load(storage.get(prefix + RUN))
    except KeyError:
        return NO_RUN
    except ValueError:
        return f"{UNREADABLE}: look at it, and remove it by hand"
    held = read_lease(storage, lease_key(catalog.source))
    if held is not None and held.id == run.lease and not held.ended(storage.now()):
        return f"{run.owner} is at it"
    return "its run died; the next run removes it"


def _why_left(
    catalog: Catalog, point: str, lease: Lease, grace: float, clickhouse_ended: Callable[[str], bool]
) -> str | None:
    """Why an unfinished point must stay; "" when it may go; None when it is the run that sweeps."""
    storage, prefix = catalog.storage, point_prefix(catalog.source, point)
    if storage.stat(prefix + DELETING) is not None:
        return ""
    try:
        run = runfile.load(storage.get(prefix + RUN))
    except KeyError:
        return NO_RUN
    except ValueError:
        return UNREADABLE
    if run.lease == lease.id:
        return None
    age = storage.now() - max(stored.modified for stored in storage.list(prefix))
    if age < timedelta(seconds=grace) and not run.owner.is_dead():
        return f"{run.owner} wrote to it {age.total_seconds():.0f} s ago"
    running = [backup for backup in run.clickhouse_ids if not clickhouse_ended(backup)]
    return f"ClickHouse still writes its backup {running[0]}" if running else ""


def _remove_old_claims(catalog: Catalog, lease: Lease) -> None:
    """Claims of contenders that died over taking an expired lease over."""
    storage = catalog.storage
    now = storage.now()
    claims = [stored.key for stored in storage.list(claim_prefix(catalog.source))]
    ended = [key for key in claims if (held := read_lease(storage, key)) and held.ended(now)]
    if ended:
        lease.check()
        storage.delete(ended)


def _utcnow() -> datetime:
    return datetime.now(UTC)
