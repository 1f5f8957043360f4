"""What people read: nothing is cut that they need, nothing is taken for markup, one line is one line."""

from dataclasses import replace
from io import StringIO

from rich.console import Console

from config.causes import Cause
from config.checks import TcpParams
from config.configuration import load
from config.services import Check, Service
from monitor.board import Board, CheckStatus, ServiceStatus
from monitor.depth import LeftOut
from monitor.diagnose.base import Diagnosis
from monitor.judge import Flip, State, Track
from monitor.probes.base import Evidence, Outcome, Sight, Verdict
from monitor.terminal import check_table, config_table, flip_line, left_out

CHECK = Check(name="answers", kind="tcp", params=TcpParams(host="x", port=1))


def printed(show: object, what: object) -> str:
    assert callable(show)
    out = StringIO()
    show(what, Console(file=out, width=100))
    return out.getvalue()


def board(**states: State) -> Board:
    found = Board(instance="i", version="0", started_at=0)
    for name, state in states.items():
        service = Service(name=name, kind="custom", title=name, address="x", checks=(CHECK,))
        fine = state == State.UP
        evidence = Evidence(sight=Sight.ANSWERED if fine else Sight.REFUSED, text="saw [bold]this[/bold]")
        outcome = Outcome(verdict=Verdict.PASS if fine else Verdict.FAIL, latency=0.0123, evidence=evidence)
        diagnosis = None if fine else Diagnosis(cause=Cause.REFUSED, sentence="It refuses.", remedy="Start [it].")
        status = CheckStatus(check=CHECK, outcome=outcome, diagnosis=diagnosis)
        track = Track(state=state, since=0, watched_since=0)
        found.services[name] = ServiceStatus(service=service, track=track, checks={"answers": status})
    return found


def test_the_worst_comes_first_with_cause_evidence_and_remedy() -> None:
    text = printed(check_table, board(fine=State.UP, broken=State.DOWN))
    assert text.index("broken") < text.index("fine")
    for part in (
        "✗ down",
        "answers fail (refused): It refuses.",
        "saw: saw [bold]this[/bold]",
        "do: Start [it].",
        "12 ms",
    ):
        assert part in text
    assert "1 down, 1 up of 2 services." in text


def test_all_up_is_said_in_one_line() -> None:
    assert "All 2 services are up." in printed(check_table, board(a=State.UP, b=State.UP))


def test_what_fails_for_want_of_another_comes_after_it_and_names_it() -> None:
    found = board(app=State.DOWN, api=State.DOWN, base=State.DOWN)
    for name, needs in (("app", "api"), ("api", "base")):
        found.services[name].service = replace(found.services[name].service, depends_on=(needs,))
    for status in found.services.values():
        status.track = replace(status.track, check="answers")
        status.diagnosis = status.checks["answers"].diagnosis
    text = printed(check_table, found)
    assert text.index("do: Start [it].") < text.index("mend base first: this one needs it")
    assert text.count("do: Start [it].") == 1
    assert text.count("mend base first") == 2


def test_one_service_and_one_check_are_spoken_of_as_one() -> None:
    assert "The one service is down." in printed(check_table, board(a=State.DOWN))
    assert "The one service is up." in printed(check_table, board(a=State.UP))
    left = [LeftOut(service="a", check="slow", why="slow")]
    assert "1 check that is slow or costs something; --deep asks it" in left_out(left, brief=True)[0].plain
    assert "2 checks that are slow or cost something; --deep asks them" in left_out(left * 2, brief=True)[0].plain


def test_a_flip_is_one_line_whatever_the_texts_hold() -> None:
    flip = Flip(
        service="redis",
        old=State.UP,
        new=State.DOWN,
        at=1,
        since=1,
        cause=Cause.REFUSED,
        sentence="Redis refuses\nthe connection. ",
        remedy=" Start it.",
    )
    assert flip_line(flip) == "redis: up → down (refused): Redis refuses the connection. Start it."
    assert flip_line(Flip(service="redis", old=State.DOWN, new=State.UP, at=1, since=1)) == "redis: down → up"


def test_what_was_discovered_names_its_variable_and_hides_its_secret() -> None:
    text = printed(config_table, load({"DATABASE_URL": "postgresql://u:canary-1@db:5432/x", "API_TOKEN": "canary-2"}))
    assert "DATABASE_URL" in text
    assert "db:5432" in text
    assert "CHECK_INTERVAL" in text
    assert "canary" not in text
