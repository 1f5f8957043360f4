"""What verify finds: every way a stored dump can be damaged, named by artifact and key."""

import json
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from backup import manifest
from backup.catalog import Point
from backup.manifest import MANIFEST, PROOF
from backup.proof import Proof
from backup.seal import keygen
from backup.verify import Task, verify

ROWS = """
CREATE TABLE large (n int, data bytea);
ALTER TABLE large ALTER data SET STORAGE EXTERNAL;
INSERT INTO large SELECT n, (SELECT string_agg(sha512((n * 1000 + m)::text::bytea), '') FROM generate_series(1, 320) m)
  FROM generate_series(1, 1000) n;
"""


@pytest.fixture(scope="module")
def large(postgres: Any, helpers: Any) -> Any:
    """A database whose dump takes several pieces."""
    name = f"b4_large_{uuid4().hex[:8]}"
    helpers.make(postgres, name, ROWS)
    yield name
    helpers.drop(postgres, name)


def looked(bench: Any, **task: Any) -> tuple[Point, dict[str, Proof]]:
    point = bench.catalog.load("latest")
    return point, verify(point, Task(storage=bench.storage, listener=bench.told, **task))


def proof(bench: Any, point: Point) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(bench.storage.get(point.prefix + PROOF))
    return document


def test_what_is_well(bench: Any, database: str) -> None:
    bench.take(database)
    point, proofs = looked(bench)
    assert {label: one.level for label, one in proofs.items()} == {
        f"postgres/database/{database}": "readable",
        "postgres/globals/globals": "readable",
    }
    assert not any(one.error for one in proofs.values())
    written = proof(bench, point)
    assert written["level"] == "readable"
    assert written["artifacts"][f"postgres/database/{database}"]["level"] == "readable"
    assert bench.catalog.proof(point.id)["level"] == "readable"


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("damage", ["flip", "truncate", "drop", "swap", "grow"])
def test_damage_is_named(bench: Any, large: str, damage: str, sealed: bool) -> None:
    pair = keygen()
    report = bench.take(large, recipients=[pair.recipient] if sealed else [])
    artifact = next(one for one in report.artifacts if one.name == large)
    assert len(artifact.pieces) > 2
    prefix = f"default/{report.point}/"
    keys = [prefix + piece.key for piece in artifact.pieces]
    bytes_of = [bench.storage.get(key) for key in keys]
    wrong = keys[1]
    if damage == "flip":
        middle = len(bytes_of[1]) // 2
        data = bytearray(bytes_of[1])
        data[middle] ^= 1
        bench.storage.put(wrong, bytes(data))
    elif damage == "truncate":
        bench.storage.put(wrong, bytes_of[1][:-1])
    elif damage == "drop":
        bench.storage.delete([wrong])
    elif damage == "grow":
        bench.storage.put(wrong, bytes_of[1] + b"\\0")
    else:
        wrong = keys[0]
        bench.storage.put(keys[0], bytes_of[1])
        bench.storage.put(keys[1], bytes_of[0])
    for identities in ([pair.identity], []):
        point, proofs = looked(bench, identities=identities)
        damaged = {label: one for label, one in proofs.items() if one.error}
        assert list(damaged) == [f"postgres/database/{large}"]
        assert wrong in damaged[f"postgres/database/{large}"].error
        assert proofs["postgres/globals/globals"].error == ""
        assert proof(bench, point)["level"] == "damaged"


def test_a_dump_that_was_cut_before_it_was_stored(bench: Any, database: str) -> None:
    """Every hash is right, and it is no whole archive: pg_restore --list would be content with it."""
    report = bench.take(database)
    whole = bench.plain(report, database)
    for left_out in (1, 200, len(whole) // 2):
        bench.replace_dump(report, database, whole[:-left_out])
        _, proofs = looked(bench)
        assert "pg_restore cannot read it" in proofs[f"postgres/database/{database}"].error
        assert proofs[f"postgres/database/{database}"].level == "written"
    bench.replace_dump(report, database, whole + b"x" * 4_000_000)
    _, proofs = looked(bench)
    assert "did not read it to its end" in proofs[f"postgres/database/{database}"].error


def test_without_the_key_what_is_not_proven_is_said(bench: Any, database: str) -> None:
    pair = keygen()
    bench.take(database, recipients=[pair.recipient])
    _, proofs = looked(bench)
    one = proofs[f"postgres/database/{database}"]
    assert one.level == "written"
    assert one.error == ""
    assert "every stored byte is what was written" in one.says
    assert "unproven here: set BACKUP_AGE_IDENTITY" in one.says
    _, proofs = looked(bench, identities=[pair.identity])
    assert proofs[f"postgres/database/{database}"].level == "readable"
    # A wrong key says nothing of the point, and what was proven stays.
    point, proofs = looked(bench, identities=[keygen().identity])
    assert "does not open it" in proofs[f"postgres/database/{database}"].error
    assert proof(bench, point)["level"] == "readable"


def test_the_program(bench: Any, database: str, program: Any) -> None:
    report = bench.take(database)
    code, text = program.run("verify", BACKUP_AGE_RECIPIENTS="nonsense", BACKUP_HOUR="late")
    assert code == 0, text
    assert "reads it to its end" in text
    code, text = program.run("verify", "--all")
    assert code == 0
    key = f"default/{report.point}/{report.artifacts[0].pieces[0].key}"
    bench.storage.put(key, bench.storage.get(key)[:-1])
    code, text = program.run("verify", report.point)
    assert code == 1
    assert f"DAMAGED {report.point} postgres/database/{database}" in text
    assert key in text
    code, text = program.run("verify", "20200101T000000Z-0000")
    assert code == 1
    assert "there is no restore point 20200101T000000Z-0000" in text
    code, text = program.run("verify", "--source", "elsewhere")
    assert code == 1
    assert "no restore point of elsewhere" in text


def test_a_manifest_whose_list_is_short(bench: Any, large: str) -> None:
    report = bench.take(large)
    key = f"default/{report.point}/{MANIFEST}"
    read = manifest.load(bench.storage.get(key))
    cut = tuple(replace(one, pieces=one.pieces[:-1]) if one.name == large else one for one in read.artifacts)
    bench.storage.put(key, manifest.dump(replace(read, artifacts=cut)))
    _, proofs = looked(bench)
    assert proofs[f"postgres/database/{large}"].error
