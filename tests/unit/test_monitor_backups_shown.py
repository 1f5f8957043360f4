"""What of backups reaches the rest of the daemon: slowness that is forgiven, and the metric of the last success."""

import pytest

from config.checks import TcpParams
from config.services import Check, Service
from monitor.backups import keeps_busy
from monitor.board import BackupStatus, Board, ServiceStatus
from monitor.judge import Track
from monitor.metrics import Collector, render

NOON = 1_795_262_400.0  # 2026-11-21T12:00:00Z


def a_board(**services: dict[str, str]) -> Board:
    """Services of the kinds their names say, with the facts known of each."""
    board = Board(instance="test", version="1", started_at=NOON)
    for name, facts in services.items():
        check = Check(name="answers", kind="tcp", params=TcpParams(host="h", port=1))
        kind = name.partition("_")[0]
        service = Service(name=name, kind=kind, title=name, address="h", checks=(check,))
        board.services[name] = ServiceStatus(
            service=service, track=Track(since=0.0, watched_since=0.0), checks={}, facts=facts
        )
    return board


@pytest.mark.parametrize(
    ("name", "ours"), [("postgres", True), ("clickhouse", True), ("minio", True), ("redis", False)]
)
def test_our_own_run_makes_slow_what_takes_part_in_it(name: str, ours: bool) -> None:
    board = a_board(**{name: {}})
    service = board.services[name].service
    assert not keeps_busy(board, service)
    board.backup = BackupStatus(schedule="daily")
    assert not keeps_busy(board, service)
    board.backup.running = True
    assert keeps_busy(board, service) == ours


def test_a_dump_by_hand_is_known_by_the_sessions_that_postgresql_shows() -> None:
    board = a_board(postgres={"busy_with": "clients"}, redis={})
    postgres = board.services["postgres"]
    assert not keeps_busy(board, postgres.service)
    postgres.facts["busy_with"] = "pg_dump"
    assert keeps_busy(board, postgres.service)
    assert not keeps_busy(board, board.services["redis"].service)


def success(board: Board) -> list[str]:
    text = render(Collector(board).snapshot(), "text/plain")[0].decode()
    return [line for line in text.splitlines() if line.startswith("watchkeeper_backup_last_success_timestamp_seconds ")]


def test_the_last_success_is_the_stores_too() -> None:
    """After lost state, or a run by hand, the newest whole point is a success like one of our own."""
    facts = {"points": "2", "newest": "20261121T110000Z-0001", "complete": "20261121T100000Z-0002", "proof": "read"}
    board = a_board(backups=facts)
    assert success(board) == []
    board.backup = BackupStatus(schedule="daily")
    assert success(board) == [f"watchkeeper_backup_last_success_timestamp_seconds {NOON - 7200:.9g}"]
    board.backup.last_success_at = NOON - 60
    assert success(board) == [f"watchkeeper_backup_last_success_timestamp_seconds {NOON - 60:.8e}"]
    del facts["complete"]
    board.backup.last_success_at = None
    assert success(board) == []
