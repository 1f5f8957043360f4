"""How far a restore point has been shown to be good: proof.json, written beside it by `verify` and by a restore.

It may be lost or overwritten at any time, and no manifest depends on it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from backup.catalog import Catalog, Point
from backup.manifest import MANIFEST, PROOF, Artifact, Level
from backup.storage.base import Storage

FORMAT = 1
LEVELS: tuple[Level, ...] = ("written", "readable", "restored", "equal")
DAMAGED = "damaged"


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How far one artifact was shown to be good, when (RFC 3339), and in words what was looked at.

    `error` says what is wrong with it, "" when nothing is; `bytes` were read in `seconds`. Not `judged` means that
    the error is of the place we look from (a key that does not open it, a program that is lacking) and no damage: such
    a proof is not kept.
    """

    level: Level
    at: str
    says: str
    error: str = ""
    bytes: int = 0
    seconds: float = 0.0
    judged: bool = True


def read(document: Mapping[str, Any]) -> dict[str, Proof]:
    """What proof.json says of each artifact, by label; what cannot be read of it is left out."""
    artifacts = document.get("artifacts")
    found = {}
    for label, one in (artifacts if isinstance(artifacts, dict) else {}).items():
        known = {each.name: one[each.name] for each in fields(Proof) if isinstance(one, dict) and each.name in one}
        if known.get("level") in LEVELS and {"at", "says"} <= set(known):
            found[str(label)] = Proof(**known)
    return found


def without_damaged(catalog: Catalog, point: Point) -> Point:
    """The point, with what `verify` found damaged counted as failed: it neither serves nor keeps anything."""
    damaged = {label: proof.error for label, proof in read(catalog.proof(point.id)).items() if proof.error}
    if point.manifest is None or not damaged:
        return point
    artifacts = [
        replace(one, status="failed", error=f"verify found it damaged: {damaged[one.label]}")
        if one.label in damaged and one.status == "whole"
        else one
        for one in point.manifest.artifacts
    ]
    return replace(point, manifest=replace(point.manifest, artifacts=tuple(artifacts)))


def record(storage: Storage, point: Point, found: Mapping[str, Proof]) -> None:
    """Writes what was found to what is known. Raises StoreError."""
    prefix = point.prefix
    if storage.stat(prefix + MANIFEST) is None:
        return  # retention has removed it meanwhile, and nothing may be left of it
    try:
        known = read(json.loads(storage.get(prefix + PROOF)))
    except (KeyError, ValueError, AttributeError):
        known = {}
    storage.put(prefix + PROOF, document(point, merged(known, found)))


def merged(known: Mapping[str, Proof], found: Mapping[str, Proof]) -> dict[str, Proof]:
    """What is known by now: damage counts at once, and what was shown before and is not contradicted stays."""
    both = dict(known)
    for label, proof in found.items():
        if not proof.judged:
            continue
        before = known.get(label)
        higher = before and not before.error and LEVELS.index(before.level) > LEVELS.index(proof.level)
        if proof.error or before is None or not higher:
            both[label] = proof
    return both


def document(point: Point, proofs: Mapping[str, Proof]) -> bytes:
    """proof.json: what is known of each artifact, and the lowest level of all databases, `damaged` if any artifact
    is."""
    databases = [one for one in point.whole() if one.kind == "database"]
    levels = [proofs[one.label].level if one.label in proofs else seen_by_the_run(one) for one in databases]
    lowest = min(levels, key=LEVELS.index, default="written")
    overall = DAMAGED if any(proof.error for proof in proofs.values()) else lowest
    artifacts = {label: asdict(proof) for label, proof in proofs.items()}
    made = {"format": FORMAT, "point": point.id, "level": overall, "artifacts": artifacts}
    return json.dumps(made, indent=1, ensure_ascii=False).encode()


def seen_by_the_run(artifact: Artifact) -> Level:
    """What the run that made it has seen of it."""
    return "readable" if artifact.readable else "written"
