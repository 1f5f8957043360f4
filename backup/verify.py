"""Whether a restore point is what was written: every object there, every byte unchanged, every dump readable.

Each artifact is judged for itself, and what was found is written beside the point (proof.json).
"""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from backup.catalog import Point
from backup.errors import ArchiveError, BackupError, KeyMissingError, StoppedError, StoreError
from backup.manifest import Artifact, Level, rfc3339
from backup.postgres.archive import Archive, pick_reader, read_text
from backup.postgres.clients import installed
from backup.progress import Listener, Progress
from backup.proof import Proof, record
from backup.readback import OTHER_POINT, hash_stored
from backup.storage.base import Storage
from config.secret import Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What verifying is given: the store, the keys, whom to tell, what stops it, the folder of PostgreSQL's programs
    to use first."""

    storage: Storage
    listener: Listener
    identities: Sequence[Secret] = ()
    stop: threading.Event = field(default_factory=threading.Event)
    clients: Path | None = None


def verify(point: Point, task: Task) -> dict[str, Proof]:
    """Looks at every whole artifact of `point`, and writes what it found, by label, to proof.json where it may.

    Raises StoreError, StoppedError.
    """
    sizes = {stored.key: stored.size for stored in task.storage.list(point.prefix)}
    proofs = {}
    for artifact in point.whole():
        proofs[artifact.label] = proof = _judge(point, artifact, sizes, task)
        task.listener.note(f"{point.id} {artifact.label}: {proof.error or proof.says}")
    try:
        record(task.storage, point, proofs)
    except StoreError as error:
        task.listener.note(f"what was found is not written beside the point: {error}")
    return proofs


def check_store(point: Point, artifact: Artifact, sizes: Mapping[str, int]) -> None:
    """Compares the manifest with what the store lists. Raises ArchiveError, which names the first object amiss."""
    if not artifact.pieces and artifact.engine == "postgres":
        raise ArchiveError(f"{artifact.label} has no pieces", OTHER_POINT)
    for piece in artifact.pieces:
        key = point.prefix + piece.key
        if key not in sizes:
            raise ArchiveError(f"{artifact.label}: the piece {key} is missing", OTHER_POINT)
        if sizes[key] != piece.size:
            raise ArchiveError(
                f"{artifact.label}: the piece {key} has {sizes[key]} bytes instead of {piece.size}", OTHER_POINT
            )


def _judge(point: Point, artifact: Artifact, sizes: Mapping[str, int], task: Task) -> Proof:
    began = time.monotonic()
    level: Level = "written"
    says, failure, judged = "", "", True
    try:
        check_store(point, artifact, sizes)
        level, says = _LOOKS[artifact.engine](point, artifact, task)
    except (StoppedError, StoreError):
        raise
    except BackupError as error:
        failure = str(error)
        judged = isinstance(error, ArchiveError) and not isinstance(error, KeyMissingError)
    return Proof(
        level=level,
        at=rfc3339(task.storage.now()),
        says=says,
        error=failure,
        bytes=artifact.stored_bytes,
        seconds=round(time.monotonic() - began, 3),
        judged=judged,
    )


def _postgres(point: Point, artifact: Artifact, task: Task) -> tuple[Level, str]:
    if artifact.recipients and not task.identities:
        return _hashed(point, artifact, task)
    if artifact.kind == "globals":
        read_text(task.storage, point.prefix, artifact, task.identities)
        return "readable", "every byte is what was dumped"
    reader = pick_reader(installed(task.clients), artifact)
    program = reader.program("pg_restore")
    if program is None:
        raise AssertionError("a reader has pg_restore")
    archive = Archive(task.storage, point.prefix, artifact, task.identities, program)
    archive.read_through(task.stop, partial(_tell, artifact, task))
    return "readable", f"every byte is what was dumped, and pg_restore {reader.version} reads it to its end"


def _hashed(point: Point, artifact: Artifact, task: Task) -> tuple[Level, str]:
    count = 0
    for piece in hash_stored(task.storage, point.prefix, artifact):
        if task.stop.is_set():
            raise StoppedError("the verification was told to stop")
        count += piece.size
        _tell(artifact, task, count)
    read = "pg_restore read it when it was dumped" if artifact.readable else "nobody has read it since"
    return "written", (
        f"every stored byte is what was written, and {read}; that a key opens it is unproven here: "
        "set BACKUP_AGE_IDENTITY where the key is"
    )


def _clickhouse(point: Point, artifact: Artifact, task: Task) -> tuple[Level, str]:
    from backup.clickhouse.check import check
    from backup.clickhouse.place import ACCESS_FOLDER, folder_of

    usual = folder_of(artifact.name) if artifact.kind == "database" else ACCESS_FOLDER
    folder = point.prefix + str(artifact.detail.get("folder") or usual)
    checked = check(task.storage, folder, database=artifact.name)
    return "written", f"each of its {checked.files} files is there with its size"


_LOOKS = {"postgres": _postgres, "clickhouse": _clickhouse}


def _tell(artifact: Artifact, task: Task, count: int) -> None:
    total = artifact.stored_bytes if artifact.recipients and not task.identities else artifact.plain_bytes
    task.listener.progress(
        Progress(engine=artifact.engine, name=artifact.name, plain_bytes=count, expected_bytes=total, table="verifying")
    )
