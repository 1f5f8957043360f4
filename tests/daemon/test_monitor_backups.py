"""The daemon takes backups: when asked, as a child; shown on the status, judged from the store, ended when told."""

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from demo.daemon import Daemon
from demo.postgres import Postgres

Start = Callable[..., Daemon]
Until = Callable[..., Any]
TOKEN = {"Authorization": "Bearer open-sesame"}


def status(daemon: Daemon) -> dict[str, Any]:
    document = httpx.get(f"{daemon.url}/api/v1/status", headers=TOKEN, trust_env=False).json()
    assert isinstance(document, dict)
    return document


def backup_now(daemon: Daemon) -> httpx.Response:
    return httpx.post(f"{daemon.url}/backup", headers=TOKEN, trust_env=False)


def ended(daemon: Daemon) -> dict[str, Any] | None:
    backup = status(daemon)["backup"]
    return backup["last"] if not backup["running"] and backup["last"] else None


def variables(postgres: Postgres, folder: Path, **more: str) -> dict[str, str]:
    url = postgres.environ()["DATABASE_URL"]
    return {
        "DATABASE_URL": url,
        "BACKUP_DIR": str(folder),
        "BACKUP_DATABASES": "litellm",
        "API_TOKEN": "open-sesame",
        **more,
    }


def test_a_backup_that_is_asked_for_is_taken_shown_and_judged(
    daemon: Start, postgres: Postgres, until: Until, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    one = daemon(variables(postgres, folder))
    until(lambda: status(one)["services"])
    assert backup_now(one).status_code == 202
    last = until(lambda: ended(one), 60)
    assert last["exit_code"] == 0, last
    assert last["stored_bytes"] > 0
    assert last["point"]
    text = httpx.get(f"{one.url}/metrics", trust_env=False).text
    assert "\nwatchkeeper_backup_last_success_timestamp_seconds 1" in text
    assert "\nwatchkeeper_backup_runs_total 1.0" in text
    manifests = list(folder.rglob("manifest.json"))
    assert len(manifests) == 1
    assert last["point"] in str(manifests[0])
    httpx.post(f"{one.url}/check", headers=TOKEN, trust_env=False)
    services = until(lambda: {s["name"]: s for s in status(one)["services"] if s["state"] == "up"}.get("backups"), 30)
    assert services["facts"]["newest"] == last["point"]


def test_without_a_token_nobody_has_the_databases_dumped(daemon: Start, postgres: Postgres, tmp_path: Path) -> None:
    one = daemon({**variables(postgres, tmp_path), "API_TOKEN": ""})
    answer = httpx.post(f"{one.url}/backup", trust_env=False)
    assert answer.status_code == 403
    assert "API_TOKEN" in answer.text


def test_a_run_that_fails_is_told_and_counted(daemon: Start, postgres: Postgres, until: Until, tmp_path: Path) -> None:
    one = daemon(variables(postgres, tmp_path / "b", BACKUP_DATABASES="no_such_database"))
    until(lambda: status(one)["services"])
    assert backup_now(one).status_code == 202
    last = until(lambda: ended(one), 60)
    assert last["exit_code"] == 1
    assert "no_such_database" in last["error"]
    assert "no_such_database" in one.log.read_text()
    text = httpx.get(f"{one.url}/metrics", trust_env=False).text
    assert "\nwatchkeeper_backup_failed_runs_total 1.0" in text
    assert 'watchkeeper_backup_last_error_info{error_class="SourceError",exit_code="1"} 1.0' in text
    told = until(lambda: {s["name"]: s for s in status(one)["services"] if s["state"] == "down"}.get("backups"), 30)
    assert "no_such_database" in told["evidence"]


def test_sigterm_ends_the_run_as_well_and_leaves_nothing_listed(
    daemon: Start, postgres: Postgres, until: Until, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    one = daemon(variables(postgres, folder))
    until(lambda: status(one)["services"])
    backup_now(one)
    child = until(lambda: children(one.pid), 30)
    began = time.monotonic()
    os.kill(one.pid, signal.SIGTERM)
    until(lambda: not one.running, 8)
    assert time.monotonic() - began < 5
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in child), 5)
    for manifest in folder.rglob("manifest.json"):
        assert json.loads(manifest.read_text())["artifacts"]


def test_where_nothing_is_kept_nothing_is_taken_and_that_is_noted(daemon: Start, postgres: Postgres) -> None:
    one = daemon({"DATABASE_URL": postgres.environ()["DATABASE_URL"], "API_TOKEN": "open-sesame"})
    assert status(one)["backup"] is None
    assert backup_now(one).status_code == 409
    assert "no backups are taken" in one.log.read_text()


def children(pid: int) -> list[int]:
    """The backup processes a daemon has started."""
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found if b"backup" in Path(f"/proc/{child}/cmdline").read_bytes()]
