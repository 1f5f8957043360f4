"""What an early version wrote restores for ever."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from backup.seal import read_identities
from backup.storage.folder import FolderStorage
from backup.verify import Task, verify
from config.backup_store import SealSettings, StoreSettings

DATA = Path(__file__).parents[3] / "data" / "point-format-1"


@pytest.mark.parametrize("kind", ["plain", "sealed"])
def test_the_golden_point(bench: Any, second: Any, helpers: Any, tmp_path: Path, kind: str) -> None:
    shutil.copytree(DATA / kind, tmp_path / kind)
    bench.store = StoreSettings(folder=tmp_path, prefix=kind, source="golden")
    bench.storage = FolderStorage(tmp_path / kind)
    identities = read_identities(SealSettings(identity_file=DATA / "key.txt")) if kind == "sealed" else ()
    proofs = verify(
        bench.catalog.load("latest"), Task(storage=bench.storage, listener=bench.told, identities=identities)
    )
    assert {label: (proof.level, proof.error) for label, proof in proofs.items()} == {
        "postgres/database/golden": ("readable", ""),
        "postgres/globals/globals": ("readable", ""),
    }
    try:
        assert bench.restore(second, identities=identities) == 0, bench.text
        assert helpers.rows(second, "golden", "SELECT md5(string_agg(n::text, '' ORDER BY id)) FROM notes n") == [
            ("3f14568ec388502e595e3c7b6d226e20",)
        ]
        assert helpers.rows(
            second, "golden", """SELECT md5(string_agg(n::text, '' ORDER BY k)) FROM "Zwei"."Üb er" n"""
        ) == [("3b8e7893aaf800f6cea017b2f9424f69",)]
        assert helpers.rows(second, "golden", "SELECT * FROM sums ORDER BY 1") == [("sad", 2394), ("ok", 2390)]
        assert helpers.rows(second, "golden", "SELECT convert_from(lo_get(4711), 'UTF8')") == [("a large object",)]
        assert helpers.rows(second, "golden", "SELECT count(*), sum(length(text)) FROM long") == [(25000, 5000000)]
        assert helpers.rows(second, "golden", "SHOW work_mem") == [("7MB",)]
        about = (
            "SELECT pg_get_userbyid(datdba), shobj_description(oid, 'pg_database') FROM pg_database"
            " WHERE datname = 'golden'"
        )
        assert helpers.rows(second, "postgres", about) == [("golden_owner", "The golden one")]
    finally:
        helpers.drop(second, "golden")
        with second.connect() as connection:
            connection.execute("DROP ROLE IF EXISTS golden_owner")
