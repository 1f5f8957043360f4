"""Names in the store, and what is ours among them."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup.layout import (
    begun_at,
    globals_folder,
    is_ours,
    is_point,
    lease_key,
    left_aside,
    new_point,
    point_prefix,
    postgres_folder,
    source_prefix,
)


def test_a_points_name_tells_when_it_was_begun() -> None:
    began = datetime(2026, 11, 21, 3, tzinfo=UTC)
    name = new_point(began)
    assert re.fullmatch(r"20261121T030000Z-[0-9a-f]{4}", name)
    assert begun_at(name) == began
    assert is_point(name)


@pytest.mark.parametrize(
    "name",
    ["", "lease.json", "20261121T030000Z", "20261121T030000Z-7F3A", "20261399T030000Z-7f3a", "20261121T030000Z-7f3a/x"],
)
def test_what_is_no_point(name: str) -> None:
    assert not is_point(name)
    with pytest.raises(ValueError, match="named like"):
        point_prefix("default", name)


@pytest.mark.parametrize("source", ["", "..", "a/b", "UPPER", "a b", "-a", ".hidden"])
def test_what_is_no_source(source: str) -> None:
    with pytest.raises(ValueError, match="source is named"):
        source_prefix(source)


def test_what_belongs_to_a_point() -> None:
    for name in ("manifest.json", "run.json", "deleting.json", "RECOVERY.md", "proof.json"):
        assert is_ours(name)
    assert is_ours("postgres/litellm.dump.zst/000000")
    assert is_ours("clickhouse/.backup")
    for name in ("notes.txt", "manifest.json.old", "other/x", "postgres", "postgres/", "xpostgres/1", "../x"):
        assert not is_ours(name)


@settings(derandomize=True, deadline=None)
@given(st.text(min_size=1, max_size=20), st.booleans())
def test_any_databases_name_makes_a_safe_folder(name: str, sealed: bool) -> None:
    try:
        name.encode()
    except UnicodeEncodeError:
        return
    folder = postgres_folder(name, sealed=sealed)
    assert re.fullmatch(r"postgres/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*\.dump\.zst(\.age)?", folder)
    assert folder != postgres_folder(name + "x", sealed=sealed)


@pytest.mark.parametrize("name", ["ü" * 31, "日本" * 10, "\n" * 63, '"' * 127, ".." * 31, "a/" * 100, "%" * 500])
def test_a_long_name_fits_a_file_system(name: str) -> None:
    folders = {postgres_folder(name[:length], sealed=True) for length in (len(name), len(name) - 1)}
    assert len(folders) == 2
    for folder in folders:
        assert len(folder.removeprefix("postgres/")) <= 255


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("litellm_restoring_0a1b2c", ("litellm", "restoring")),
        ("litellm_restored_20261121", ("litellm", "restored")),
        ("my db_before_20261121_2", ("my db", "before")),
        ("litellm_taken_back", ("litellm", "taken_back")),
        ("litellm", None),
        ("orders_before_2026", None),
        ("litellm_restoring_0A1B2C", None),
        ("restored_20261121_live", None),
    ],
)
def test_what_a_restore_names(name: str, what: tuple[str, str] | None) -> None:
    assert left_aside(name) == what


def test_names_people_give() -> None:
    assert postgres_folder("litellm", sealed=False) == "postgres/litellm.dump.zst"
    assert postgres_folder('My "DB"/ü', sealed=True) == "postgres/My~20~22DB~22~2f~c3~bc.dump.zst.age"
    assert postgres_folder("..", sealed=False) == "postgres/~2e..dump.zst"
    assert globals_folder(sealed=True) == "postgres/globals.sql.zst.age"
    assert lease_key("prod") == "prod/lease.json"
