"""Where things lie in a store: `<source>/<point>/…` and the source's lease. Keys are relative to the store's prefix.

What does not fit this layout is not ours and is never removed.
"""

import hashlib
import re
import secrets
from datetime import UTC, datetime

from backup.manifest import MANIFEST, PROOF, RECOVERY, RUN

DELETING = "deleting.json"
LEASE = "lease.json"
POINT = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}")
STAMP = "%Y%m%dT%H%M%SZ"
SOURCE = re.compile(r"[a-z0-9_][a-z0-9._-]{0,99}")
# Below a point: these objects, and whatever lies in these folders.
OBJECTS = (MANIFEST, PROOF, RECOVERY, RUN, DELETING)
FOLDERS = ("postgres/", "clickhouse/")
# What file systems take, in bytes.
LONGEST_NAME = 255
PLAIN = re.compile(r"[A-Za-z0-9_.-]")
# What a restore names the databases that it fills, and those it leaves beside a live one.
ASIDE = re.compile(
    r"_(?:(?P<filled>restoring)_[0-9a-f]{6}|(?P<dated>restored|before)_\d{8}(?:_\d+)?|(?P<back>taken_back))$"
)


def new_point(now: datetime) -> str:
    """A name for the restore point begun at `now`: `20261121T030000Z-7f3a`."""
    return f"{now.astimezone(UTC).strftime(STAMP)}-{secrets.token_hex(2)}"


def begun_at(point: str) -> datetime:
    """When a restore point was begun, from its name. Raises ValueError."""
    return datetime.strptime(point.partition("-")[0], STAMP).replace(tzinfo=UTC)


def is_point(name: str) -> bool:
    """Whether `name` is a restore point's."""
    if not POINT.fullmatch(name):
        return False
    try:
        begun_at(name)
    except ValueError:
        return False
    return True


def source_prefix(source: str) -> str:
    """What every key of a source begins with. Raises ValueError for what is no source's name."""
    if not SOURCE.fullmatch(source):
        raise ValueError("a source is named in small letters, digits, dot, dash and underscore")
    return f"{source}/"


def point_prefix(source: str, point: str) -> str:
    """What every key of a restore point begins with: `<source>/<point>/`. Raises ValueError for foreign names."""
    if not is_point(point):
        raise ValueError("a restore point is named like 20261121T030000Z-7f3a")
    return f"{source_prefix(source)}{point}/"


def is_ours(name: str) -> bool:
    """Whether what lies at `name` below a point belongs to it."""
    return name in OBJECTS or (name.startswith(FOLDERS) and not name.endswith("/"))


def postgres_folder(name: str, *, sealed: bool, suffix: str = ".dump.zst") -> str:
    """The folder of one PostgreSQL artifact's pieces, relative to its point: `postgres/<name>.dump.zst[.age]`.

    A database may be named with anything; all but letters, digits, "_", "-" and inner dots is written as ~ and two hex
    digits for each byte: a "%" would be decoded by some on the way, and is written otherwise where the store is a
    folder. What is too long for a file's name is cut, with a hash: the manifest has the whole name.
    """
    ending = f"{suffix}{'.age' if sealed else ''}"
    room = LONGEST_NAME - len(ending)
    safe = "".join(map(_safe, name))
    if safe.startswith("."):
        safe = f"~2e{safe[1:]}"
    if len(safe) > room:
        safe = f"{safe[: room - 18]}~~{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return f"postgres/{safe}{ending}"


def left_aside(name: str) -> tuple[str, str] | None:
    """What a database is by its name, if a restore of ours gave it: what its name begins with, and "restoring",
    "restored", "before" or "taken_back". None for any other name.

    It begins with the live database's name, of which a long one was cut to make room for the ending.
    """
    found = ASIDE.search(name)
    return (name[: found.start()], found["filled"] or found["dated"] or found["back"]) if found else None


def globals_folder(*, sealed: bool) -> str:
    """The folder of the roles and grants."""
    return f"postgres/globals.sql.zst{'.age' if sealed else ''}"


def lease_key(source: str) -> str:
    """The key of a source's lease."""
    return f"{source_prefix(source)}{LEASE}"


def claim_key(source: str, lease_id: str) -> str:
    """The key under which one contender may claim the expired lease `lease_id`."""
    return f"{claim_prefix(source)}{lease_id}.json"


def claim_prefix(source: str) -> str:
    """What the keys of all claims on a source's lease begin with."""
    return f"{source_prefix(source)}lease.claims/"


def _safe(character: str) -> str:
    if PLAIN.fullmatch(character):
        return character
    return "".join(f"~{byte:02x}" for byte in character.encode())
