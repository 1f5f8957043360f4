"""What became of one dump, as the manifest tells it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from backup.errors import BackupError, class_of
from backup.manifest import Artifact, Kind, rfc3339
from backup.postgres.dump import Dumped
from backup.stream import COMPRESSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Makes artifacts. Given the versions of the server and of the tools, the keys dumps are sealed to, and what takes
    secrets out of a text."""

    server: str
    tool: str
    recipients: tuple[str, ...]
    clean: Callable[[str], str]

    def whole(self, kind: Kind, name: str, dumped: Dumped, started: datetime, **facts: Any) -> Artifact:
        """One that is in the store. Words in `facts` that come from a program's mouth are cleaned."""
        written = dumped.written
        return Artifact(
            engine="postgres",
            kind=kind,
            name=name,
            status="whole",
            server=self.server,
            tool=f"{'pg_dump' if kind == 'database' else 'pg_dumpall'} {self.tool}",
            started_at=rfc3339(started),
            ended_at=rfc3339(datetime.now(UTC)),
            plain_bytes=written.plain_bytes,
            stored_bytes=written.stored_bytes,
            sha256=written.sha256,
            compression=COMPRESSION,
            recipients=self.recipients,
            readable=dumped.readable,
            pieces=written.pieces,
            **self._cleaned(facts),
        )

    def failed(self, kind: Kind, name: str, error: BackupError, started: datetime) -> Artifact:
        """One that is not."""
        return Artifact(
            engine="postgres",
            kind=kind,
            name=name,
            status="failed",
            server=self.server,
            started_at=rfc3339(started),
            ended_at=rfc3339(datetime.now(UTC)),
            error=self.clean(str(error)),
            detail=class_of(error),
        )

    def _cleaned(self, facts: dict[str, Any]) -> dict[str, Any]:
        detail = facts.get("detail", {})
        return facts | {"detail": detail | {"warnings": [self.clean(line) for line in detail.get("warnings", ())]}}
