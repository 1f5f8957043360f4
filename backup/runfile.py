"""run.json, the first object of a restore point: who writes it, so that what a dead run left can be told from a live
run's."""

import json
from dataclasses import asdict, dataclass
from typing import Any

from backup.owner import Owner


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    """One run. `lease` is the id of the lease it held; `clickhouse_ids` name its backups in system.backups.

    `started_at` is RFC 3339 in UTC, by the store's clock.
    """

    point: str
    source: str
    lease: str
    owner: Owner
    started_at: str
    tool_version: str = ""
    clickhouse_ids: tuple[str, ...] = ()


def dump(run: RunFile) -> bytes:
    """The run as it is stored."""
    return json.dumps(asdict(run), indent=1, ensure_ascii=False).encode()


def load(data: bytes) -> RunFile:
    """A stored run; fields this version does not know are ignored. Raises ValueError."""
    try:
        document: dict[str, Any] = json.loads(data)
        return RunFile(
            point=document["point"],
            source=document["source"],
            lease=document["lease"],
            owner=Owner.of(document["owner"]),
            started_at=document["started_at"],
            tool_version=document.get("tool_version", ""),
            clickhouse_ids=tuple(document.get("clickhouse_ids", ())),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a run: {error}") from None
