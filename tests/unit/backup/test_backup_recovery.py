"""RECOVERY.md: one command for each thing, whatever the names, and no secret."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from backup.manifest import Artifact, Engine, Kind, Manifest, Piece
from backup.recovery import render
from config.backup_store import StoreSettings
from config.secret import Secret

STORE = StoreSettings(
    endpoint="minio:9000", access_key=Secret("canary-access"), secret_key=Secret("canary-secret"), prefix="watchkeeper"
)


def artifact(engine: Engine, name: str, kind: Kind = "database", **more: object) -> Artifact:
    made = Artifact(engine=engine, kind=kind, name=name, status="whole", server="18.6", tool="pg_dump 18.6")
    pieces = () if engine == "clickhouse" else (Piece(key="postgres/x.dump.zst/000000", size=1, sha256="0"),)
    return replace(made, pieces=pieces, **more)


def manifest(*artifacts: Artifact) -> Manifest:
    return Manifest(
        id="20261121T030000Z-7f3a",
        source="default",
        created_at="2026-11-21T03:00:00Z",
        ended_at="2026-11-21T03:01:00Z",
        tool_version="watchkeeper 1",
        artifacts=artifacts,
        fingerprints={"SALT": "00000000"},
    )


def commands(page: str) -> list[str]:
    return "".join(re.findall(r"```bash\n(.*?)```", page, re.DOTALL)).splitlines()


def test_each_artifact_has_its_commands() -> None:
    page = render(manifest(artifact("postgres", "one"), artifact("postgres", "globals", "globals")), STORE)
    found = commands(page)
    assert "rclone copy store:backups/watchkeeper/default/20261121T030000Z-7f3a point" in found
    assert "mc cp --recursive store/backups/watchkeeper/default/20261121T030000Z-7f3a/ point/" in found
    assert "psql -X -d postgres -f 1-globals.sql" in found
    assert "pg_restore --create --exit-on-error --jobs=2 -d postgres 0-one.dump  # one" in found
    assert "`SALT`" in page
    assert "canary" not in page
    assert "age -d" not in page
    assert "clickhouse-client" not in page


def test_a_failed_artifact_is_told_and_not_restored() -> None:
    failed = replace(artifact("postgres", "broken"), status="failed", pieces=(), error="x")
    page = render(manifest(artifact("postgres", "one"), failed), STORE)
    assert "`postgres/database/broken` | 0 | 18.6 | failed" in page
    assert "broken" not in "\n".join(commands(page))


def test_sealed_pieces_are_opened_first() -> None:
    page = render(manifest(artifact("postgres", "one", recipients=("age1abc",))), STORE)
    assert 'for piece in postgres/x.dump.zst/*; do age -d -i key.txt "$piece"; done | zstd -d > 0-one.dump' in page
    assert "`age1abc`" in page


@pytest.mark.parametrize(
    "name", ["a b", "$(touch x)", "`x`", "a'b\"c", "line\nbreak", "-rf", "Ünï ☃", "x;y|z&", "../up"]
)
def test_no_name_is_a_command(name: str) -> None:
    page = render(manifest(artifact("postgres", name), artifact("clickhouse", name)), STORE)
    for line in commands(page):
        if "awk" in line or "<<" in line:
            continue
        words = shlex.split(line, comments=True)
        assert "touch" not in words[:1]
        if "clickhouse-client" not in line:
            assert not set(" ".join(words)) & set("`☃"), line
    queries = [line for line in commands(page) if "clickhouse-client" in line]
    assert "$(touch" not in "".join(queries).replace("\\$(touch", "")


def test_clickhouse_reads_the_store_where_it_reaches_it() -> None:
    one = artifact("clickhouse", "db", detail={"folder": "clickhouse/db", "what": "DATABASE `db`"})
    page = render(manifest(one), STORE, "http://minio.internal:9000/")
    place = "http://minio.internal:9000/backups/watchkeeper/default/20261121T030000Z-7f3a/clickhouse/db"
    assert f"RESTORE DATABASE \\`db\\` FROM S3('{place}', '$ACCESS_KEY', '$SECRET_KEY')" in page
    hosted = replace(STORE, virtual_host=True, secure=True)
    assert "https://backups.minio:9000/watchkeeper/" in render(manifest(one), hosted)


def test_a_folder_is_copied() -> None:
    store = StoreSettings(folder=Path("/mnt/my backups"), prefix="w")
    page = render(manifest(artifact("postgres", "one")), store)
    assert "cp -r '/mnt/my backups/w/default/20261121T030000Z-7f3a' point" in page
