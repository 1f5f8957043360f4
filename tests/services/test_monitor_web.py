"""The daemon's own pages over real connections, IPv4 and IPv6, and what clients may not do to them."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

import httpx
import pytest

from config.causes import Cause
from config.checks import TcpParams
from config.secret import Secret
from config.services import Check, Service
from monitor.board import Board, CheckStatus, ServiceStatus
from monitor.diagnose.base import Diagnosis
from monitor.judge import CheckTrack, State, Track
from monitor.past import DAY, Past, Watched
from monitor.probes.base import Evidence, Outcome, Sight, Verdict
from monitor.web.app import BindError, bind, build_app, serve

NOW = 1_700_000_000.0
CHECK = Check(name="answers", kind="tcp", params=TcpParams(host="x", port=1))
EVIL = "<script>alert('x')</script>"


class Site:
    """A web server over a board of the test's own, in a thread."""

    def __init__(self, board: Board, **arguments: object) -> None:
        self.board = board
        self.rounds = 0
        self.well: tuple[bool, Mapping[str, str]] = (True, {"watch": "turning"})
        self._arguments = arguments
        self._sockets = bind(0)
        self.port = self._sockets[0].getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        app = build_app(
            self.board,
            healthy=lambda: self.well,
            check_now=self._check_now,
            wall=lambda: NOW + 60,
            **self._arguments,  # type: ignore[arg-type]  # tokens, as the test wants them
        )
        self._loop.run_until_complete(serve(app, self._sockets, self._stop))
        self._loop.close()

    async def _check_now(self) -> None:
        self.rounds += 1
        await asyncio.sleep(0.2)

    def get(self, path: str, host: str = "127.0.0.1", **arguments: object) -> httpx.Response:
        with httpx.Client(trust_env=False, timeout=10) as client:
            return client.request("GET", f"http://{host}:{self.port}{path}", **arguments)  # type: ignore[arg-type]

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()


def status(name: str, state: State, text: str = "it refuses", **facts: str) -> ServiceStatus:
    service = Service(name=name, kind="custom", title=name.title(), address="x:1", checks=(CHECK,))
    fine = state == State.UP
    evidence = Evidence(sight=Sight.ANSWERED if fine else Sight.REFUSED, text=text)
    outcome = Outcome(verdict=Verdict.PASS if fine else Verdict.FAIL, latency=0.05, evidence=evidence)
    found = None if fine else Diagnosis(cause=Cause.REFUSED, sentence=text, remedy=f"do {text}")
    one = CheckStatus(check=CHECK, outcome=outcome, diagnosis=found, ran_at=NOW, latency_sum=0.05)
    one.runs[outcome.verdict] += 1
    track = Track(
        state=state,
        since=NOW - 90,
        watched_since=NOW - 900,
        check="" if fine else "answers",
        cause=None if fine else Cause.REFUSED,
        checks={"answers": CheckTrack(confirmed=state)},
    )
    return ServiceStatus(
        service=service, track=track, checks={"answers": one}, facts=facts, diagnosis=found, evidence=text
    )


def a_board(*statuses: ServiceStatus) -> Board:
    board = Board(instance="test", version="0.1.0", started_at=NOW - 900, loop_alive_at=NOW)
    board.services.update({one.service.name: one for one in statuses})
    return board


@pytest.fixture
def site() -> Iterator[Callable[..., Site]]:
    with ExitStack() as stack:

        def start(*statuses: ServiceStatus, **arguments: object) -> Site:
            one = Site(a_board(*statuses), **arguments)
            stack.callback(one.close)
            return one

        yield start


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_it_answers_on_both_families(site: Callable[..., Site], host: str) -> None:
    one = site(status("redis", State.UP))
    for path in ("/", "/healthz", "/health", "/metrics", "/api/v1/status"):
        assert one.get(path, host).status_code == 200, path


def test_health_speaks_of_the_daemon_alone(site: Callable[..., Site]) -> None:
    one = site(status("redis", State.DOWN), status("postgres", State.DOWN))
    assert one.get("/healthz").status_code == 200
    one.well = (False, {"watch": "has stood still for 31 s"})
    answer = one.get("/healthz")
    assert answer.status_code == 503
    assert "stood still" in answer.text
    head = httpx.head(f"http://127.0.0.1:{one.port}/healthz", trust_env=False)
    assert (head.status_code, head.text) == (503, "")


def test_the_page_says_what_is_wrong_first_and_escapes_what_services_say(site: Callable[..., Site]) -> None:
    one = site(status("fine", State.UP, version="1.2"), status("bad", State.DOWN, EVIL))
    answer = one.get("/")
    assert answer.text.index("Bad") < answer.text.index("Fine")
    assert "1 down" in answer.text
    assert EVIL not in answer.text
    assert "&lt;script&gt;" in answer.text
    assert "<script" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_no_service_and_a_thousand_services_are_both_shown(site: Callable[..., Site]) -> None:
    assert site().get("/").status_code == 200
    many = site(*(status(f"s{number}", State.UP) for number in range(1000)))
    page, metrics, document = many.get("/"), many.get("/metrics"), many.get("/api/v1/status")
    assert "1000" in page.text
    assert metrics.text.count('watchkeeper_service_state{service="s999"') + metrics.text.count(',service="s999"') >= 4
    assert len(document.json()["services"]) == 1000


def test_what_the_daemon_lost_is_counted(site: Callable[..., Site]) -> None:
    one = site()
    one.board.outcomes_dropped, one.board.probes_hung = 3, 2
    lines = one.get("/metrics").text.splitlines()
    assert "watchkeeper_outcomes_dropped_total 3.0" in lines
    assert "watchkeeper_probes_hung_total 2.0" in lines


def test_the_status_has_the_documented_shape(site: Callable[..., Site]) -> None:
    document = site(status("redis", State.DOWN, "it refuses", version="7")).get("/api/v1/status").json()
    assert set(document) == {"instance", "version", "started_at", "state", "services", "backup"}
    assert document["backup"] is None
    assert document["state"] == "down"
    service = document["services"][0]
    assert service["since"] == "2023-11-14T22:11:50.000Z"
    assert (service["cause"], service["sentence"], service["evidence"]) == ("refused", "it refuses", "it refuses")
    assert service["facts"] == {"version": "7"}
    check = service["checks"][0]
    assert (check["name"], check["verdict"], check["latency_seconds"]) == ("answers", "fail", 0.05)


def test_tokens_guard_what_they_name_and_nothing_else(site: Callable[..., Site]) -> None:
    one = site(status("x", State.UP), api_token=Secret("right-api"), metrics_token=Secret("right-metrics"))
    bearer = {"Authorization": "Bearer right-api"}
    assert one.get("/").status_code == one.get("/healthz").status_code == 200
    for path in ("/api/v1/status", "/metrics", "/check"):
        assert one.get(path).status_code == 401
        assert "Bearer" in one.get(path).headers["www-authenticate"]
        wrong = {"Authorization": "Bearer wröng".encode("latin-1")}
        assert one.get(path, headers=wrong).status_code == 401
    assert one.get("/api/v1/status", headers=bearer).status_code == 200
    assert one.get("/metrics", headers=bearer).status_code == 401
    assert one.get("/metrics", auth=("any", "right-metrics")).status_code == 200


def test_rounds_that_are_asked_for_do_not_pile_up(site: Callable[..., Site]) -> None:
    one = site(status("x", State.UP))
    with httpx.Client(trust_env=False) as client:
        answers = [client.post(f"http://127.0.0.1:{one.port}/check") for _ in range(20)]
    assert {answer.status_code for answer in answers} == {202}
    assert answers[0].json() == {"status": "check_triggered"}
    assert one.rounds <= 2


def test_a_daemon_that_stands_by_makes_no_round(site: Callable[..., Site]) -> None:
    one = site(status("x", State.UP))
    one.board.standby = True
    answer = httpx.post(f"http://127.0.0.1:{one.port}/check", trust_env=False)
    assert answer.status_code == 503
    assert "stands by" in answer.json()["error"]
    assert one.rounds == 0
    one.board.standby = False
    assert httpx.post(f"http://127.0.0.1:{one.port}/check", trust_env=False).status_code == 202


def test_what_is_not_there_is_said_in_json(site: Callable[..., Site]) -> None:
    one = site()
    assert one.get("/nothing").status_code == 404
    assert one.get("/nothing").headers["content-type"] == "application/json"
    posted = httpx.post(f"http://127.0.0.1:{one.port}/metrics", trust_env=False)
    assert posted.status_code == 405


def test_half_open_clients_hold_up_nobody(site: Callable[..., Site]) -> None:
    one = site(status("x", State.UP))
    with ExitStack() as stack:
        for _ in range(300):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", one.port), timeout=5))
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        for _ in range(5):
            assert one.get("/healthz").status_code == 200


def test_a_large_body_is_refused(site: Callable[..., Site]) -> None:
    one = site()
    answer = httpx.post(f"http://127.0.0.1:{one.port}/check", content=b"x" * 100_000, trust_env=False)
    assert answer.status_code == 413


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BindError, match=f"PORT={port} is already taken"):
            bind(port)


def test_what_is_remembered_of_a_service_is_asked_by_its_name(site: Callable[..., Site]) -> None:
    watched = Watched(length=DAY, by_state={State.UP: 90.0, State.DOWN: 10.0})
    opened = [False]

    async def past(service: Service) -> Past | None:
        if not opened[0]:
            return None
        return Past(service=service.name, day=watched, week=watched, flips=(), facts=())

    one = site(status("redis", State.UP), past=past, api_token=Secret("an api token"))
    token = {"Authorization": "Bearer an api token"}
    path = "/api/v1/services/redis/history"
    assert one.get(path).status_code == 401
    early = one.get(path, headers=token)
    assert (early.status_code, "opening its state" in early.json()["error"]) == (503, True)
    opened[0] = True
    answer = one.get(path, headers=token)
    assert (answer.status_code, answer.json()["watched"]["24h"]["shares"]) == (200, {"up": 0.9, "down": 0.1})
    other = one.get("/api/v1/services/nobody/history", headers=token)
    assert (other.status_code, "there are redis" in other.json()["error"]) == (404, True)
    one.board.standby = True
    assert "stands by" in one.get(path, headers=token).json()["error"]
