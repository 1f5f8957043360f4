"""What a scrape says of the daemon's own alerts."""

from alerts.alert import Severity
from alerts.channels.base import Reason
from alerts.trouble import DeliveryStatus
from monitor.board import Board
from monitor.metrics import Collector, render

NOW = 1_700_000_000.0


def lines(board: Board) -> list[str]:
    return render(Collector(board).snapshot(), "text/plain")[0].decode().splitlines()


def a_board() -> Board:
    return Board(instance="test", version="1", started_at=NOW)


def test_what_can_be_counted_is_there_before_anything_happened() -> None:
    board = a_board()
    board.outbox = {"slack": DeliveryStatus(channel="slack")}
    said = lines(board)
    assert 'watchkeeper_incidents_open{severity="critical"} 0.0' in said
    assert "watchkeeper_incidents_total 0.0" in said
    assert "watchkeeper_blind 0.0" in said
    assert 'watchkeeper_alerts_pending{channel="slack"} 0.0' in said
    failed = [line for line in said if line.startswith('watchkeeper_alerts_failed_attempts_total{channel="slack"')]
    assert len(failed) == len(Reason)
    assert not [line for line in said if line.startswith("watchkeeper_alerts_oldest_pending")]
    assert not [line for line in said if line.startswith("watchkeeper_heartbeat_last_success")]


def test_what_happened_is_told_by_channel_reason_and_severity() -> None:
    board = a_board()
    board.incidents_open, board.incidents_opened = {Severity.CRITICAL: 2}, 7
    board.blind_since, board.silences_active, board.heartbeat_at = NOW, 1, NOW - 5
    board.outbox = {
        "pagerduty": DeliveryStatus(
            channel="pagerduty", pending=3, oldest_at=NOW - 60, sent=11, failed={Reason.RATE_LIMITED: 4}, parked=1
        )
    }
    said = lines(board)
    for line in (
        'watchkeeper_incidents_open{severity="critical"} 2.0',
        "watchkeeper_incidents_total 7.0",
        "watchkeeper_blind 1.0",
        "watchkeeper_silences_active 1.0",
        'watchkeeper_alerts_pending{channel="pagerduty"} 3.0',
        'watchkeeper_alerts_oldest_pending_timestamp_seconds{channel="pagerduty"} 1.69999994e+09',
        'watchkeeper_alerts_sent_total{channel="pagerduty"} 11.0',
        'watchkeeper_alerts_failed_attempts_total{channel="pagerduty",reason="rate_limited"} 4.0',
        'watchkeeper_alerts_failed_attempts_total{channel="pagerduty",reason="timeout"} 0.0',
        'watchkeeper_alerts_parked_total{channel="pagerduty"} 1.0',
        'watchkeeper_alert_channel_refused{channel="pagerduty"} 0.0',
        "watchkeeper_heartbeat_last_success_timestamp_seconds 1.699999995e+09",
    ):
        assert line in said, line
