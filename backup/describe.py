"""Restore points in the words people would use."""

from collections.abc import Iterator

from backup.manifest import Artifact, TableFacts

# Tables that are named one by one, the largest first.
NAMED = 20


def described(artifact: Artifact) -> Iterator[str]:
    """One artifact in a few lines: what it is, how it was taken and stored, what is in it."""
    if artifact.status != "whole":
        yield f"{artifact.label}: {artifact.status}: {artifact.error}"
        return
    yield f"{artifact.label}: whole"
    taken = " by ".join(filter(None, (f"server {artifact.server}", artifact.tool)))
    yield f"  {taken}; {size(artifact.plain_bytes)} as {size(artifact.stored_bytes)} in {_stored(artifact)}"
    if artifact.extensions:
        yield "  extensions: " + ", ".join(f"{name} {version}" for name, version in artifact.extensions.items())
    largest = sorted(artifact.tables, key=lambda table: -(table.bytes or 0))
    yield from (f"  {_table(table)}" for table in largest[:NAMED])
    if left := largest[NAMED:]:
        yield f"  and {counted(len(left), 'smaller table')}"


def _stored(artifact: Artifact) -> str:
    """How it lies in the store, and what was seen of it while it was written."""
    if artifact.engine == "clickhouse":
        return f"{artifact.detail.get('files', 'its')} files, each found in the store; not sealed by us"
    parts = [counted(len(artifact.pieces), "piece")]
    if artifact.kind == "database":
        parts.append("read through" if artifact.readable else "not read through")
    if artifact.recipients:
        parts.append(f"sealed to {counted(len(artifact.recipients), 'key')}")
    return ", ".join(parts)


def _table(table: TableFacts) -> str:
    about = "" if table.exact else "about "
    rows = "not counted" if table.rows is None else about + counted(table.rows, "row")
    return f"{table.name}: {rows}, {size(table.bytes or 0)}"


def counted(count: int, what: str) -> str:
    """A number of things: `1 key`, `2 keys`."""
    return f"{count} {what}{'' if count == 1 else 's'}"


def short(label: str) -> str:
    """An artifact's label without its kind: engine and name."""
    engine, _, rest = label.partition("/")
    return f"{engine} {rest.partition('/')[2]}"


def age(seconds: float) -> str:
    """A time that has passed, in the unit people would use."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(count: float) -> str:
    """A number of bytes in the unit people would use."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
