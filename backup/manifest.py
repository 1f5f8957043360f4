"""What one restore point contains: the archive format. docs/design/restore-point.md specifies it; readers ignore
fields they do not know, and FORMAT grows only when an old reader would be wrong."""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Literal

FORMAT = 1
MANIFEST = "manifest.json"
RUN = "run.json"
PROOF = "proof.json"
RECOVERY = "RECOVERY.md"
# The name of an artifact that stands for all of an engine, when it failed before its databases were known.
EVERYTHING = "*"

Engine = Literal["postgres", "clickhouse"]
Kind = Literal["database", "globals"]
Status = Literal["whole", "failed"]
Level = Literal["written", "readable", "restored", "equal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One stored object of an artifact: `key` relative to the point, `size` in bytes and SHA-256 of what is stored."""

    key: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFacts:
    """One table as it was at the snapshot. `rows` is exact, or an estimate when `exact` is False; None: not counted."""

    name: str
    rows: int | None = None
    exact: bool = True
    bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One dump in a restore point. Sizes are bytes; `sha256` is of the plain dump (PostgreSQL) or "" (ClickHouse).

    `server` is its version, `tool` what made it, `extensions` name → version, `detail` what is the engine's own. An
    artifact that failed has `error` and may have pieces that are about to be removed.
    """

    engine: Engine
    kind: Kind
    name: str
    status: Status
    server: str
    tool: str = ""
    started_at: str = ""
    ended_at: str = ""
    plain_bytes: int = 0
    stored_bytes: int = 0
    sha256: str = ""
    compression: str = ""
    recipients: tuple[str, ...] = ()
    readable: bool = False
    pieces: tuple[Piece, ...] = ()
    tables: tuple[TableFacts, ...] = ()
    extensions: Mapping[str, str] = field(default_factory=dict)
    detail: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""

    @property
    def label(self) -> str:
        """The name retention and people know it by: engine/kind/name."""
        return f"{self.engine}/{self.kind}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One restore point. Times are RFC 3339 in UTC; `skew_seconds` lies between the first and the last snapshot."""

    id: str
    source: str
    created_at: str
    ended_at: str
    tool_version: str
    artifacts: tuple[Artifact, ...]
    system_identifier: str = ""
    skew_seconds: float = 0.0
    fingerprints: Mapping[str, str] = field(default_factory=dict)
    applications: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    format: int = FORMAT

    def whole(self) -> tuple[Artifact, ...]:
        """The artifacts that are good."""
        return tuple(artifact for artifact in self.artifacts if artifact.status == "whole")


def dump(manifest: Manifest) -> bytes:
    """The manifest as it is stored: JSON, readable by a person.

    Written part by part: `asdict` and `dumps` would hold a long list of pieces three times over.
    """
    data = io.BytesIO()
    with io.TextIOWrapper(data, encoding="utf-8") as text:
        json.dump(manifest, text, indent=1, ensure_ascii=False, default=_fields)
        text.flush()
        return data.getvalue()


def _fields(one: "Manifest | Artifact | Piece | TableFacts") -> dict[str, Any]:
    return {known.name: getattr(one, known.name) for known in fields(one)}


def load(data: bytes) -> Manifest:
    """A stored manifest. Raises ValueError when it is not one, or is of a newer format than this version reads."""
    document = json.loads(data)
    written = document.get("format", 0) if isinstance(document, dict) else 0
    if not 0 < written <= FORMAT:
        raise ValueError(f"not a manifest of format 1 to {FORMAT}; a newer version may have written it")
    artifacts = tuple(_artifact(one) for one in document.get("artifacts", ()))
    return Manifest(**_known(Manifest, document) | {"artifacts": artifacts, "notes": tuple(document.get("notes", ()))})


def _artifact(document: Mapping[str, Any]) -> Artifact:
    pieces = tuple(Piece(**_known(Piece, one)) for one in document.get("pieces", ()))
    tables = tuple(TableFacts(**_known(TableFacts, one)) for one in document.get("tables", ()))
    recipients = tuple(document.get("recipients", ()))
    return Artifact(**_known(Artifact, document) | {"pieces": pieces, "tables": tables, "recipients": recipients})


def _known(kind: type["Manifest | Artifact | Piece | TableFacts"], document: Mapping[str, Any]) -> dict[str, Any]:
    return {one.name: document[one.name] for one in fields(kind) if one.name in document}


def rfc3339(at: datetime) -> str:
    """A time as manifests write it."""
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
