"""Removing points, killed at every request; what a sweep takes and what it leaves; nothing foreign is touched."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup import manifest, runfile
from backup.catalog import Catalog, sources
from backup.errors import ArchiveError, LockedError, StoreError
from backup.layout import new_point, point_prefix
from backup.lease import Lease
from backup.manifest import MANIFEST, RUN, Artifact, Manifest, Piece, rfc3339
from backup.owner import Owner
from backup.runfile import RunFile
from backup.sweep import fate, plan, prune, remove_point, sweep
from config.backup_settings import RetentionSettings

BEGIN = datetime(2026, 11, 21, 3, tzinfo=UTC)
ELSEWHERE = Owner(instance="other", host="other-host", pid=7, machine="another boot", started="1")
RULES = RetentionSettings()


class Killed(BaseException):
    """Our process ends here."""


def lease_of(storage: Any, source: str = "default", **arguments: Any) -> Lease:
    lease = Lease(storage, source, owner=Owner.here("test"), purpose="prune", **arguments)
    return lease.acquire()


def put_run(
    storage: Any, point: str, *, owner: Owner = ELSEWHERE, lease: str = "gone", ids: tuple[str, ...] = ()
) -> str:
    prefix = point_prefix("default", point)
    run = RunFile(point=point, source="default", lease=lease, owner=owner, started_at="x", clickhouse_ids=ids)
    storage.put(prefix + RUN, runfile.dump(run))
    for number in range(3):
        storage.put(f"{prefix}postgres/litellm.dump.zst/{number:06d}", b"piece")
    if ids:
        storage.put(f"{prefix}clickhouse/.lock", b"lock")
    return prefix


def put_point(storage: Any, began: datetime, source: str = "default") -> str:
    point = new_point(began)
    prefix = point_prefix(source, point)
    artifact = Artifact(
        engine="postgres",
        kind="database",
        name="litellm",
        status="whole",
        server="18",
        pieces=(Piece(key="postgres/litellm.dump.zst/000000", size=5, sha256="x"),),
    )
    read = Manifest(
        id=point,
        source=source,
        created_at=rfc3339(began),
        ended_at=rfc3339(began),
        tool_version="1",
        artifacts=(artifact,),
    )
    storage.put(f"{prefix}run.json", b"{}")
    for number in range(3):
        storage.put(f"{prefix}postgres/litellm.dump.zst/{number:06d}", b"piece")
    storage.put(f"{prefix}RECOVERY.md", b"how")
    storage.put(f"{prefix}proof.json", b"{}")
    storage.put(prefix + MANIFEST, manifest.dump(read))
    return point


def test_a_removal_killed_at_any_request_is_never_listed_and_is_finished(new_memory: Callable[[], Any]) -> None:
    survived = 0
    for kill_at in range(1, 40):
        memory = new_memory()
        point = put_point(memory, BEGIN - timedelta(days=1))
        other = put_point(memory, BEGIN - timedelta(hours=1))
        lease = lease_of(memory)
        count = 0

        def killing(verb: str, key: str, kill_at: int = kill_at) -> None:
            nonlocal count
            count += 1
            if count == kill_at:
                raise Killed

        memory.failing = killing
        try:
            remove_point(memory, "default", point, lease, why="test")
            survived += 1
        except Killed:
            pass
        memory.failing = lambda *_: None
        catalog = Catalog(memory, "default")
        for one in catalog.points():
            assert all(memory.stat(one.prefix + piece.key) for artifact in one.whole() for piece in artifact.pieces)
        sweep(catalog, lease, grace=0)
        listed = [one.id for one in catalog.points()]
        left = [key for key in memory.objects if point in key]
        assert listed in ([other], [other, point])
        # Killed before its mark it is whole still; after it nothing is left of it.
        assert len(left) == (7 if point in listed else 0)
        lease.release()
    assert survived > 20


def test_a_prune_removes_what_retention_says(memory: Any) -> None:
    points = [put_point(memory, BEGIN - timedelta(days=day, hours=1)) for day in range(12)]
    with lease_of(memory) as lease:
        decided = prune(Catalog(memory, "default"), RULES, lease, clock=lambda: BEGIN)
    assert list(decided.removed) == points[:6:-1]
    assert [one.id for one in Catalog(memory, "default").points()] == points[:7]
    assert not [key for key in memory.objects for point in decided.removed if point in key]


def test_clocks_that_differ_stand_still(memory: Any) -> None:
    for day in range(12):
        put_point(memory, BEGIN - timedelta(days=day, hours=1))
    decided = plan(Catalog(memory, "default"), RULES, clock=lambda: BEGIN + timedelta(hours=2))
    assert decided.removed == ()
    assert "this machine's clock" in decided.standstill


def test_a_lost_lease_stops_the_prune(memory: Any) -> None:
    for day in range(12):
        put_point(memory, BEGIN - timedelta(days=day, hours=1))
    lease = lease_of(memory)
    before = set(memory.objects)
    memory.objects["default/lease.json"] = (
        memory.objects["default/lease.json"][0].replace(lease.id.encode(), b"x" * 16),
        BEGIN,
    )
    with pytest.raises(LockedError):
        prune(Catalog(memory, "default"), RULES, lease, clock=lambda: BEGIN)
    assert set(memory.objects) == before
    lease.release()


def test_the_sweep_takes_what_dead_runs_left(memory: Any) -> None:
    put_run(memory, "20261121T010000Z-0001")
    kept = put_point(memory, BEGIN - timedelta(days=1))
    memory.pass_time(120)
    with lease_of(memory) as lease:
        swept = sweep(Catalog(memory, "default"), lease)
    assert swept.removed == ("20261121T010000Z-0001",)
    assert swept.left == ()
    assert all(kept in key for key in memory.objects)


def test_the_sweep_leaves_the_run_that_sweeps_and_what_was_just_written(memory: Any) -> None:
    with lease_of(memory) as lease:
        put_run(memory, "20261121T020000Z-0001", lease=lease.id, owner=lease.owner)
        put_run(memory, "20261121T020000Z-0002")
        swept = sweep(Catalog(memory, "default"), lease)
        assert swept.removed == ()
        assert [point for point, _ in swept.left] == ["20261121T020000Z-0002"]
        assert "other (process 7 on other-host) wrote to it 0 s ago" in swept.left[0][1]
        memory.pass_time(31)
        assert sweep(Catalog(memory, "default"), lease).removed == ("20261121T020000Z-0002",)


def test_of_an_owner_known_to_be_dead_nothing_is_waited_for(memory: Any) -> None:
    here = Owner.here("test")
    dead = Owner(instance="test", host=here.host, pid=here.pid, machine=here.machine, started="1")
    assert dead.is_dead()
    put_run(memory, "20261121T020000Z-0001", owner=dead)
    with lease_of(memory) as lease:
        assert sweep(Catalog(memory, "default"), lease).removed == ("20261121T020000Z-0001",)


def test_clickhouse_is_asked_before_its_folder_goes(memory: Any) -> None:
    put_run(memory, "20261121T010000Z-0001", ids=("wk-1", "wk-2"))
    memory.pass_time(120)
    asked = []

    def ended(backup: str) -> bool:
        asked.append(backup)
        return backup == "wk-1"

    with lease_of(memory) as lease:
        swept = sweep(Catalog(memory, "default"), lease, clickhouse_ended=ended)
        assert asked == ["wk-1", "wk-2"]
        assert swept.left == (("20261121T010000Z-0001", "ClickHouse still writes its backup wk-2"),)
        assert sweep(Catalog(memory, "default"), lease, clickhouse_ended=lambda _: True).removed


def test_a_folder_that_a_store_shows_though_nothing_is_in_it_is_no_point(memory: Any) -> None:
    """SeaweedFS does so for some time after a point's last object has gone."""
    put_run(memory, "20261121T010000Z-0002")
    shown = memory.folders
    memory.folders = lambda prefix: [*shown(prefix), "20261121T010000Z-0001"]
    catalog = Catalog(memory, "default")
    assert catalog.unfinished() == ["20261121T010000Z-0002"]
    with lease_of(memory) as lease:
        assert sweep(catalog, lease, grace=0).left == ()


def test_what_becomes_of_an_unfinished_point_is_told_as_the_sweep_will_do(memory: Any) -> None:
    catalog = Catalog(memory, "default")
    names = [f"20261121T0{number}0000Z-0000" for number in range(1, 6)]
    put_run(memory, names[1])
    memory.put(f"default/{names[2]}/run.json", b"no run")
    memory.put(f"default/{names[3]}/somebody's.txt", b"x")
    memory.put(put_run(memory, names[4]) + "deleting.json", b"{}")
    memory.pass_time(9999)
    with lease_of(memory) as lease:
        put_run(memory, names[0], lease=lease.id)
        told = {name: fate(catalog, name) for name in names}
        swept = sweep(catalog, lease)
    assert told[names[0]].endswith(" is at it")
    assert "the next run removes" in told[names[1]]
    assert "the next run removes" in told[names[4]]
    assert "by hand" in told[names[2]]
    assert "by hand" in told[names[3]]
    assert set(swept.removed) == {names[1], names[4]}
    assert {name for name, _ in swept.left} == {names[2], names[3]}


def test_a_folder_that_no_run_of_ours_made_is_left(memory: Any) -> None:
    memory.put("default/20261121T010000Z-0001/somebody's.txt", b"x")
    memory.put("default/20261121T010000Z-0002/run.json", b"no run")
    memory.pass_time(9999)
    with lease_of(memory) as lease:
        swept = sweep(Catalog(memory, "default"), lease)
    assert swept.removed == ()
    assert [why for _, why in swept.left] == [
        "its run.json cannot be read",
        "it has no run.json, so no run of ours made it: remove it by hand",
    ]


PARTS = st.sampled_from(
    [
        "default",
        "default2",
        "prod",
        "20261001T010000Z-0001",
        "20261002T010000Z-0002",
        "postgres",
        "clickhouse",
        "manifest.json",
        "run.json",
        "deleting.json",
        "notes.txt",
        "lease.claims",
        "x",
    ]
)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.sets(st.lists(PARTS, min_size=1, max_size=5).map("/".join), max_size=25))
def test_nothing_outside_the_layout_is_ever_touched(new_memory: Callable[[], Any], foreign: set[str]) -> None:
    memory = new_memory()
    for key in foreign:
        memory.put(key, b"foreign")
    for day in range(12):
        put_point(memory, BEGIN - timedelta(days=day, hours=1))
    memory.pass_time(9999)
    touched: set[str] = set()
    memory.failing = lambda verb, key: touched.add(key) if verb in ("put", "delete", "put_new") else None
    lease = lease_of(memory)
    sweep(Catalog(memory, "default"), lease)
    prune(Catalog(memory, "default"), RULES, lease, clock=memory.now)
    lease.release()
    ours = re.compile(
        r"default/(20\d{6}T\d{6}Z-[0-9a-f]{4}/(postgres/.+|clickhouse/.+|manifest.json|run.json|deleting.json)"
        r"|lease.json|lease.claims/.+)"
    )
    assert {key for key in touched & foreign if not ours.fullmatch(key)} == set()
    assert {key for key in foreign if not ours.fullmatch(key)} <= set(memory.objects)


def test_sources_do_not_see_each_other(memory: Any) -> None:
    mine = put_point(memory, BEGIN)
    theirs = put_point(memory, BEGIN - timedelta(days=1), source="default2")
    assert [one.id for one in Catalog(memory, "default").points()] == [mine]
    assert [one.id for one in Catalog(memory, "default2").points()] == [theirs]
    memory.put("Not A Source/x/y", b"")
    assert list(sources(memory)) == ["default", "default2"]


def test_the_catalog_names_what_it_cannot_read(memory: Any) -> None:
    good = put_point(memory, BEGIN - timedelta(days=1))
    for number, body in enumerate(
        [b"", b"[]", b"{}", b'{"format": 99}', b"\xff", b'{"format":1,"id":"x"}', b'{"format": "1"}', b"[" * 9000]
    ):
        memory.put(f"default/20261121T0{number}0000Z-0000/manifest.json", body)
    catalog = Catalog(memory, "default")
    points = catalog.points()
    assert len(points) == 9
    assert all(one.problem for one in points if one.id != good)
    latest = catalog.latest()
    assert latest is not None
    assert latest.id == good == catalog.load("latest").id
    with pytest.raises(ArchiveError, match="cannot be used"):
        catalog.load("20261121T000000Z-0000")
    with pytest.raises(ArchiveError, match="there is no restore point"):
        catalog.load("../20261121T000000Z-0000")


def test_an_empty_store_says_what_to_do(memory: Any) -> None:
    with pytest.raises(ArchiveError, match="python -m backup run"):
        Catalog(memory, "default").load("latest")


def test_a_store_that_fails_is_no_empty_catalog(memory: Any) -> None:
    def failing(verb: str, key: str) -> None:
        raise StoreError("down")

    memory.failing = failing
    with pytest.raises(StoreError):
        Catalog(memory, "default").points()
