"""The forward flow with sources that do as they are told: what is written when, and what one engine's failure costs."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from backup import manifest as archive
from backup.catalog import Catalog
from backup.errors import BackupError, LockedError, SettingsError, SourceError, StoppedError, StoreError
from backup.fingerprints import differing, fingerprint, fingerprints
from backup.lease import Lease
from backup.manifest import MANIFEST, RECOVERY, RUN, Artifact, Engine, Piece
from backup.orders import Orders, Report
from backup.owner import Owner
from backup.progress import Expected, Progress
from backup.run import take
from backup.sources.base import Job
from config.backup_settings import BackupSettings, RetentionSettings, ScheduleSettings
from config.backup_sources import ClickhouseSettings, PostgresSettings
from config.backup_store import SealSettings, StoreSettings
from config.logs import Mask

SETTINGS = BackupSettings(
    store=StoreSettings(endpoint="store:9000", prefix="test"),
    seal=SealSettings(),
    retention=RetentionSettings(),
    postgres=PostgresSettings(),
    clickhouse=ClickhouseSettings(),
    schedule=ScheduleSettings(),
    instance="test",
)


class Deaf:
    """A listener that keeps what ended."""

    def __init__(self) -> None:
        self.artifacts: list[Artifact] = []
        self.notes: list[str] = []

    def started(self, point: str, expected: Sequence[Expected]) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def ended(self, artifact: Artifact) -> None:
        self.artifacts.append(artifact)

    def note(self, text: str) -> None:
        self.notes.append(text)


class Pretend:
    """A source that stores one object and does at each step what `at` says."""

    def __init__(self, job: Job, engine: Engine, moment: float = 0.0, **at: Callable[[Job], object]) -> None:
        self.engine: Engine = engine
        self.identity = "4711" if engine == "postgres" else ""
        self.moments = [moment]
        self.expected: list[Expected] = []
        self.job = job
        self.at = at
        self.closed = 0

    def _do(self, step: str) -> object:
        return self.at.get(step, lambda _: None)(self.job)

    def prepare(self) -> tuple[str, ...]:
        self._do("prepare")
        return ("an-id",) if self.engine == "clickhouse" else ()

    def open(self) -> None:
        self._do("open")

    def run(self) -> Iterator[Artifact]:
        name = f"{self.engine}/db.dump.zst/000000"
        self.job.storage.put(self.job.prefix + name, b"data")
        given = self._do("run")
        piece = Piece(key=name, size=4, sha256="0" * 64)
        made = Artifact(engine=self.engine, kind="database", name="db", status="whole", server="1", pieces=(piece,))
        yield given if isinstance(given, Artifact) else made

    def close(self) -> None:
        self.closed += 1


Steps = dict[str, Callable[[Job], object]]


def run(memory: Any, postgres: Steps | None = None, clickhouse: Steps | None = None, **more: Any) -> tuple[Report, Any]:
    """A run of the engines given, and its listener. The last sources made are in `run.sources`."""
    sources: dict[Engine, Callable[[Job], Any]] = {}
    for engine, steps, moment in (("postgres", postgres, 10.0), ("clickhouse", clickhouse, 10.4)):
        if steps is not None:
            sources[engine] = lambda job, e=engine, s=steps, m=moment: made.setdefault(e, Pretend(job, e, m, **s))
    made: dict[str, Pretend] = {}
    listener = Deaf()
    orders = Orders(listener=listener, environ={"SALT": "salt"}, mask=Mask(), sources=sources, **more)
    try:
        report = take(SETTINGS, memory, orders)
    finally:
        assert all(source.closed == 1 for source in made.values()), "each source is closed once"
    return report, listener


def failing(error: Exception) -> Callable[[Job], object]:
    def fail(_: Job) -> object:
        raise error

    return fail


def names(memory: Any) -> list[str]:
    """The objects that are left, without the point's own name."""
    return [key.split("/", 2)[-1] for key in memory.objects]


def test_run_json_is_first_and_the_manifest_last(memory: Any) -> None:
    report, _ = run(memory, {}, {})
    written = [key.split("/", 2)[-1] for verb, key in memory.requests if verb == "put" and report.point in key]
    assert written[0] == RUN
    assert written[-2:] == [RECOVERY, MANIFEST]
    assert report.exit_code == 0
    made = Catalog(memory, "default").load("latest").manifest
    assert made == report.manifest
    assert made.skew_seconds == 0.4
    assert made.system_identifier == "4711"
    assert set(made.fingerprints) == {"SALT"}
    recorded = json.loads(memory.get(f"default/{report.point}/{RUN}"))
    assert recorded["clickhouse_ids"] == ["an-id"]
    assert "default/lease.json" not in memory.objects


@pytest.mark.parametrize("step", ["prepare", "open", "run"])
@pytest.mark.parametrize("error", [SourceError("no luck", "do this"), RuntimeError("a fault"), SettingsError("odd")])
def test_one_engine_failing_costs_the_other_nothing(memory: Any, step: str, error: Exception) -> None:
    report, listener = run(memory, {}, {step: failing(error)})
    assert report.exit_code == 1
    assert [one.label for one in report.manifest.whole()] == ["postgres/database/db"]
    failed = next(one for one in report.manifest.artifacts if one.status == "failed")
    assert failed.label == "clickhouse/database/*"
    assert str(error) in failed.error
    assert sorted(one.label for one in listener.artifacts) == [failed.label, "postgres/database/db"]
    assert Catalog(memory, "default").load("latest").id == report.point


def test_a_failed_artifact_is_recorded_beside_the_whole_ones(memory: Any) -> None:
    bad = Artifact(engine="clickhouse", kind="database", name="db", status="failed", server="1", error="it broke")
    report, _ = run(memory, {}, {"run": lambda _: bad})
    assert report.errors == ("clickhouse/database/db: it broke",)
    assert bad in report.manifest.artifacts


@pytest.mark.parametrize("step", ["prepare", "open", "run"])
def test_nothing_whole_leaves_nothing(memory: Any, step: str) -> None:
    report, _ = run(memory, {step: failing(SourceError("no luck"))})
    assert (report.exit_code, report.manifest) == (1, None)
    assert names(memory) == []


def test_roles_alone_are_no_restore_point(memory: Any) -> None:
    roles = Artifact(engine="postgres", kind="globals", name="globals", status="whole", server="1")
    report, _ = run(memory, {"run": lambda _: roles})
    assert (report.exit_code, report.manifest) == (1, None)
    assert names(memory) == []


def test_pieces_a_failed_dump_left_are_not_listed_for_ever(memory: Any) -> None:
    def leave(job: Job) -> None:
        job.storage.put(f"{job.prefix}postgres/other.dump.zst/000007", b"left")

    report, _ = run(memory, {"run": leave})
    assert report.exit_code == 0
    assert not [key for key in memory.objects if "other" in key]


def test_settings_that_name_nothing_are_an_error(memory: Any) -> None:
    with pytest.raises(SettingsError, match="nothing to back up"):
        run(memory)
    with pytest.raises(SettingsError, match="odd"):
        run(memory, {"prepare": failing(SettingsError("odd"))})
    with pytest.raises(SettingsError, match="wrong"):
        run(memory, {}, {}, only="clickhouse", unusable={"clickhouse": SettingsError("wrong")})
    assert names(memory) == []


def test_only_one_engine_when_asked_to(memory: Any) -> None:
    report, _ = run(memory, {}, {}, only="clickhouse")
    assert [one.engine for one in report.artifacts] == ["clickhouse"]


def test_another_holder_is_left_alone(memory: Any) -> None:
    held = Lease(memory, "default", owner=Owner.here("other"), purpose="prune").acquire()
    with held, pytest.raises(LockedError, match="held by other"):
        run(memory, {})
    assert names(memory) == []


@pytest.mark.parametrize("step", ["prepare", "open", "run"])
def test_a_stop_leaves_nothing(memory: Any, step: str) -> None:
    stop = threading.Event()

    def told(job: Job) -> None:
        stop.set()
        raise StoppedError("stopped")

    with pytest.raises(StoppedError):
        run(memory, {step: told}, stop=stop)
    assert names(memory) == []


def test_a_source_that_does_not_end_keeps_its_run_json_for_the_sweep(memory: Any) -> None:
    stop, release = threading.Event(), threading.Event()

    def linger(job: Job) -> None:
        stop.set()
        release.wait(10)

    began = time.monotonic()
    with pytest.raises(StoppedError):
        run(memory, {"run": linger}, stop=stop)
    assert time.monotonic() - began < 3
    assert RUN in names(memory)
    assert MANIFEST not in names(memory)
    release.set()


def test_a_lease_lost_midway_lists_nothing(memory: Any) -> None:
    def lose(job: Job) -> None:
        held = json.loads(memory.objects["default/lease.json"][0])
        memory.put("default/lease.json", json.dumps(held | {"id": "another"}).encode())

    with pytest.raises(LockedError):
        run(memory, {"run": lose})
    assert MANIFEST not in names(memory)


def test_a_store_that_fails_at_the_end_lists_nothing(memory: Any) -> None:
    def fail(verb: str, key: str) -> None:
        if verb == "put" and key.endswith(RECOVERY):
            raise StoreError("full", "free space")

    memory.failing = fail
    with pytest.raises(BackupError, match="full"):
        run(memory, {})
    assert names(memory) == []


def test_what_a_dead_run_left_goes_first(memory: Any) -> None:
    stop = threading.Event()

    def die(_: str, key: str) -> None:
        if key.endswith(MANIFEST) and stop.is_set():
            raise KeyboardInterrupt

    report, _ = run(memory, {})
    left = f"default/{report.point}/{MANIFEST}"
    del memory.objects[left]
    owner = json.loads(memory.get(f"default/{report.point}/{RUN}"))
    owner["owner"]["started"] = "1"
    memory.put(f"default/{report.point}/{RUN}", json.dumps(owner).encode())
    again, listener = run(memory, {})
    assert {key.split("/")[1] for key in memory.objects} == {again.point}
    assert any(report.point in note for note in listener.notes)


def test_fingerprints_differ_by_point_and_tell_a_wrong_key() -> None:
    environ = {"SALT": "one", "ENCRYPTION_KEY": " two ", "LITELLM_SALT_KEY": "", "OTHER": "x"}
    kept = fingerprints("p1", environ)
    assert set(kept) == {"SALT", "ENCRYPTION_KEY"}
    assert kept["SALT"] != fingerprint("p2", "SALT", "one") != fingerprint("p2", "ENCRYPTION_KEY", "one")
    assert differing("p1", kept, environ) == []
    assert differing("p1", kept, environ | {"SALT": "another"}) == ["SALT"]
    assert differing("p1", kept, {}) == [], "what is not set cannot be compared"


def test_a_manifest_of_a_run_reads_back(memory: Any) -> None:
    report, _ = run(memory, {}, {})
    assert archive.load(archive.dump(report.manifest)) == report.manifest
    assert replace(report.manifest, notes=("x",)) != report.manifest
