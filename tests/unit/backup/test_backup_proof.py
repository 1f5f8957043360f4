"""What is known of a restore point when `verify` and restores have looked at it, in any order."""

import json
from typing import Any

import pytest

from backup import manifest
from backup.catalog import Catalog, Point
from backup.layout import point_prefix
from backup.manifest import MANIFEST, PROOF, Artifact, Level, Manifest
from backup.proof import Proof, record

ID = "20261121T030000Z-7f3a"
PREFIX = point_prefix("default", ID)
ONE, TWO, ROLES = "postgres/database/one", "clickhouse/database/two", "postgres/globals/globals"


@pytest.fixture
def point(memory: Any) -> Point:
    """Two databases, of which the run has read one through, and the roles."""
    made = Manifest(
        id=ID,
        source="default",
        created_at="2026-11-21T03:00:00Z",
        ended_at="2026-11-21T03:01:00Z",
        tool_version="test",
        artifacts=(
            Artifact(engine="postgres", kind="database", name="one", status="whole", server="18", readable=True),
            Artifact(engine="clickhouse", kind="database", name="two", status="whole", server="26"),
            Artifact(engine="postgres", kind="globals", name="globals", status="whole", server="18"),
            Artifact(engine="postgres", kind="database", name="three", status="failed", server="18"),
        ),
    )
    memory.put(PREFIX + MANIFEST, manifest.dump(made))
    return Catalog(memory, "default").load(ID)


def proven(level: Level, error: str = "", *, judged: bool = True) -> Proof:
    return Proof(level=level, at="2026-11-22T00:00:00Z", says="" if error else level, error=error, judged=judged)


def known(memory: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(memory.get(PREFIX + PROOF))
    return document


def test_the_lowest_of_all_databases_counts(memory: Any, point: Point) -> None:
    record(memory, point, {ONE: proven("restored")})
    assert known(memory)["level"] == "written"  # nobody has looked at the other
    record(memory, point, {TWO: proven("equal")})
    assert known(memory)["level"] == "restored"
    record(memory, point, {ROLES: proven("readable")})
    assert known(memory)["level"] == "restored"
    assert set(known(memory)["artifacts"]) == {ONE, TWO, ROLES}


def test_a_look_that_finds_nothing_wrong_takes_nothing_away(memory: Any, point: Point) -> None:
    record(memory, point, {ONE: proven("restored"), TWO: proven("equal")})
    record(memory, point, {ONE: proven("readable"), TWO: proven("written")})
    assert known(memory)["level"] == "restored"
    record(memory, point, {ONE: proven("written", "no key opens it", judged=False)})
    assert known(memory)["level"] == "restored"


def test_damage_counts_at_once_and_until_it_is_mended(memory: Any, point: Point) -> None:
    record(memory, point, {ONE: proven("equal"), TWO: proven("equal")})
    record(memory, point, {ONE: proven("written", "a piece is missing")})
    assert known(memory)["level"] == "damaged"
    record(memory, point, {TWO: proven("equal")})
    assert known(memory)["level"] == "damaged"
    record(memory, point, {ONE: proven("readable")})
    assert known(memory)["level"] == "readable"


@pytest.mark.parametrize(
    "garbage", [b"", b"[]", b"{", b'{"artifacts": 3}', b'{"artifacts": {"a": 1, "b": {}}}', b"\xff"]
)
def test_what_cannot_be_read_is_written_anew(memory: Any, point: Point, garbage: bytes) -> None:
    memory.put(PREFIX + PROOF, garbage)
    record(memory, point, {ONE: proven("readable")})
    assert set(known(memory)["artifacts"]) == {ONE}


def test_nothing_is_left_of_a_point_that_was_removed_meanwhile(memory: Any, point: Point) -> None:
    memory.delete([PREFIX + MANIFEST])
    record(memory, point, {ONE: proven("restored")})
    assert not list(memory.list(PREFIX))
