"""What the newest run of a check measured, as a metric: what our own completions cost among it."""

from config.checks import TcpParams
from config.services import Check, Service
from monitor.board import Board, CheckStatus, ServiceStatus
from monitor.judge import Track
from monitor.metrics import Collector, render
from monitor.probes.base import Evidence, Outcome, Sight, Verdict


def lines(*, paused: bool = False, measures: dict[str, float] | None = None) -> list[str]:
    check = Check(name="completion", kind="tcp", params=TcpParams(host="h", port=1))
    service = Service(name="litellm", kind="litellm", title="L", address="h", checks=(check,), paused=paused)
    evidence = Evidence(sight=Sight.ANSWERED, text="fine")
    outcome = Outcome(verdict=Verdict.PASS, latency=0.1, evidence=evidence, measures=measures or {})
    status = CheckStatus(check=check, outcome=outcome, ran_at=1.0)
    board = Board(instance="test", version="1", started_at=0.0)
    board.services["litellm"] = ServiceStatus(
        service=service, track=Track(since=0.0, watched_since=0.0), checks={"completion": status}
    )
    text = render(Collector(board).snapshot(), "text/plain")[0].decode()
    return [line for line in text.splitlines() if line.startswith("watchkeeper_check_measure{")]


def test_each_number_is_a_series_of_its_own() -> None:
    found = lines(measures={"tokens_today": 90.0, "cost_today_dollars": 0.0012})
    start = 'watchkeeper_check_measure{check="completion",measure='
    assert sorted(found) == [
        f'{start}"cost_today_dollars",service="litellm"}} 0.0012',
        f'{start}"tokens_today",service="litellm"}} 90.0',
    ]


def test_what_measured_nothing_or_rests_has_no_series() -> None:
    assert lines() == []
    assert lines(paused=True, measures={"tokens_today": 90.0}) == []
