"""Incidents and silences over real connections: what is shown, who may change it, and what is refused in words."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from http import HTTPStatus

import httpx
import pytest

from alerts.trouble import DeliveryStatus
from config.causes import Cause
from config.checks import TcpParams
from config.secret import Secret
from config.services import Check, Service
from monitor.board import Board, CheckStatus, ServiceStatus
from monitor.incidents import BLIND, Entry, Happening, Incident
from monitor.judge import State, Track
from monitor.silences import Silence
from monitor.web.app import bind, build_app, serve

NOW = 1_700_000_000.0
EVIL = "<script>alert('x')</script>"
TOKEN = "right-api-token"


def an_incident(root: str = "postgres", **changes: object) -> Incident:
    made = Incident(
        id=f"20231114T221200Z-{root}",
        root=root,
        state="down",
        worst="down",
        since=NOW - 80,
        opened_at=NOW - 60,
        cause=Cause.REFUSED,
        sentence=f"It refuses {EVIL}",
        affected=("litellm", "gone"),
        failed_checks=3,
        timeline=(Entry(at=NOW - 60, what=Happening.OPENED, text=f"opened {EVIL}"),),
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # as each test wants it


class Desk:
    """Incidents and silences in memory, as the daemon's own desk keeps them."""

    def __init__(self, *incidents: Incident) -> None:
        self.kept = list(incidents)
        self.quiet: list[Silence] = []
        self.seen_by: dict[str, str] = {}

    async def incidents(self, *, since: float) -> Sequence[Incident]:
        return [one for one in self.kept if one.resolved_at is None or one.resolved_at >= since]

    async def acknowledge(self, incident: str, by: str) -> bool:
        self.seen_by[incident] = by
        return any(one.id == incident and one.resolved_at is None for one in self.kept)

    async def silences(self) -> Sequence[Silence]:
        return self.quiet

    async def silence(self, silence: Silence) -> None:
        self.quiet.append(silence)

    async def end_silence(self, silence: str) -> bool:
        found = [one for one in self.quiet if one.id == silence]
        self.quiet = [one for one in self.quiet if one.id != silence]
        return bool(found)


class Site:
    """The pages over a desk of the test's own, in a thread."""

    def __init__(self, desk: Desk | None, token: str) -> None:
        self.board = a_board()
        self._sockets = bind(0)
        self.port = self._sockets[0].getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, args=(desk, token))
        self._thread.start()

    def _run(self, desk: Desk | None, token: str) -> None:
        async def nothing() -> None:
            pass

        app = build_app(
            self.board,
            healthy=lambda: (True, {}),
            check_now=nothing,
            incidents=lambda: desk,
            api_token=Secret(token) if token else None,
            wall=lambda: NOW,
        )
        self._loop.run_until_complete(serve(app, self._sockets, self._stop))
        self._loop.close()

    def ask(self, method: str, path: str, json: object = None, **arguments: object) -> httpx.Response:
        given = {} if json is None else {"json": json}
        with httpx.Client(trust_env=False, timeout=20) as client:
            return client.request(method, f"http://127.0.0.1:{self.port}{path}", **given, **arguments)  # type: ignore[arg-type]

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()


def a_board() -> Board:
    board = Board(instance="test", version="1", started_at=NOW - 900, loop_alive_at=NOW)
    for name, title in (("postgres", "PostgreSQL"), ("litellm", "LiteLLM")):
        check = Check(name="answers", kind="tcp", params=TcpParams(host="x", port=1))
        service = Service(name=name, kind="custom", title=title, address="x:1", checks=(check,))
        track = Track(state=State.UP, since=NOW - 900, watched_since=NOW - 900)
        statuses = {"answers": CheckStatus(check=check)}
        board.services[name] = ServiceStatus(service=service, track=track, checks=statuses)
    return board


Start = Callable[..., Site]


@pytest.fixture
def site() -> Iterator[Start]:
    started: list[Site] = []

    def start(desk: Desk | None, *, token: str = "") -> Site:
        started.append(Site(desk, token))
        return started[-1]

    yield start
    for one in started:
        one.close()


def test_open_ones_are_listed_and_all_when_asked(site: Start) -> None:
    over = an_incident("litellm", state="up", resolved_at=NOW - 5)
    one = site(Desk(an_incident(acknowledged_at=NOW, acknowledged_by="Anna"), over))
    (document,) = one.ask("GET", "/api/v1/incidents").json()["incidents"]
    assert (document["id"], document["title"], document["cause"]) == (
        "20231114T221200Z-postgres",
        "PostgreSQL",
        "refused",
    )
    assert (document["acknowledged_by"], document["resolved_at"]) == ("Anna", None)
    assert document["timeline"][0]["what"] == "opened"
    every = one.ask("GET", "/api/v1/incidents?all").json()["incidents"]
    assert [item["resolved_at"] is None for item in every] == [True, False]


def test_the_page_shows_open_ones_first_and_those_that_are_over_last_and_escapes_them(site: Start) -> None:
    over = an_incident("litellm", id="20231113T000000Z-litellm", state="up", resolved_at=NOW - 5)
    page = site(Desk(over, an_incident(), an_incident(BLIND, state="blind"))).ask("GET", "/")
    text = page.text
    assert page.status_code == 200
    assert EVIL not in text
    assert text.count("&lt;script&gt;") >= 4
    assert 'id="20231114T221200Z-postgres"' in text
    assert '<a href="#postgres">PostgreSQL</a>' in text
    assert "takes down LiteLLM, gone" in text
    assert "took down LiteLLM, gone" in text
    assert "<h3>Watchkeeper <small>" in text
    assert text.index("Open incidents") < text.index('id="postgres"') < text.index("Over, in the last 7 days")
    assert "lasted 1 min" in text


def test_a_page_without_incidents_has_no_empty_sections(site: Start) -> None:
    text = site(Desk()).ask("GET", "/").text
    assert "incident" not in text.split("<body>")[1]
    assert site(None).ask("GET", "/").status_code == 200


def test_a_long_timeline_shows_its_newest(site: Start) -> None:
    entries = tuple(Entry(at=NOW - 50, what=Happening.SPREAD, text=f"line {number}.") for number in range(100))
    text = site(Desk(an_incident(timeline=entries))).ask("GET", "/").text
    assert "70 earlier" in text
    assert "line 99." in text
    assert "line 69." not in text


def test_an_acknowledgement_reaches_the_desk(site: Start) -> None:
    desk = Desk(an_incident())
    one = site(desk)
    answer = one.ask("POST", "/api/v1/incidents/20231114T221200Z-postgres/ack", {"by": " Anna\n\x1b[2J "})
    assert (answer.status_code, answer.json()) == (200, {"status": "acknowledged"})
    assert desk.seen_by == {"20231114T221200Z-postgres": "Anna"}
    missing = one.ask("POST", "/api/v1/incidents/20200101T000000Z-x/ack", {"by": "Anna"})
    assert missing.status_code == 404
    assert "may be over" in missing.json()["error"]


def test_a_silence_comes_shows_and_ends(site: Start) -> None:
    one = site(Desk())
    asked = {"service": "post*", "for": "1h30m", "why": f"moving {EVIL}", "by": "Anna"}
    made = one.ask("POST", "/api/v1/silences", asked)
    assert made.status_code == HTTPStatus.CREATED
    document = made.json()
    assert (document["since"], document["until"]) == ("2023-11-14T22:13:20.000Z", "2023-11-14T23:43:20.000Z")
    assert (document["active"], document["cron"], document["duration_seconds"]) == (True, None, None)
    assert one.ask("GET", "/api/v1/silences").json() == {"silences": [document]}
    page = one.ask("GET", "/").text
    assert "nothing is told about post* until 2023-11-14 23:43:20 UTC" in page
    assert 'class="summary up"' in page  # planned silence is no trouble
    assert EVIL not in page
    ended = one.ask("DELETE", f"/api/v1/silences/{document['id']}")
    assert (ended.status_code, ended.json()) == (200, {"status": "ended"})
    assert one.ask("DELETE", f"/api/v1/silences/{document['id']}").status_code == 404
    assert one.ask("GET", "/api/v1/silences").json() == {"silences": []}


def test_a_silence_that_comes_again_has_a_length_and_no_end(site: Start) -> None:
    asked = {"service": "postgres", "for": 3600, "why": "vacuum", "cron": "30 3 * * sun", "maintenance": True}
    document = site(Desk()).ask("POST", "/api/v1/silences", asked).json()
    assert (document["cron"], document["duration_seconds"], document["until"]) == ("30 3 * * sun", 3600, None)
    assert (document["maintenance"], document["by"]) == (True, "somebody")


def test_the_daemon_s_own_sight_is_silenced_by_its_name_alone(site: Start) -> None:
    one = site(Desk())
    assert one.ask("POST", "/api/v1/silences", {**GOOD, "service": BLIND}).status_code == 201
    assert one.ask("POST", "/api/v1/silences", {**GOOD, "service": "(b*"}).status_code == 400


def test_the_page_says_which_alerts_do_not_get_through(site: Start) -> None:
    one = site(Desk())
    one.board.outbox = {
        "slack": DeliveryStatus(channel="slack", refused=True, last_error=f"Slack answered 404: {EVIL}"),
        "discord": DeliveryStatus(channel="discord", pending=1, oldest_at=NOW - 700, last_error="no answer"),
        "webhook": DeliveryStatus(channel="webhook", pending=1, oldest_at=NOW - 20, last_error="no answer"),
    }
    text = one.ask("GET", "/").text
    assert "Alerts to slack are refused there: Slack answered 404" in text
    assert "Alerts to discord have waited for 11 min 40 s: no answer" in text
    assert "webhook" not in text
    assert EVIL not in text


GOOD = {"service": "postgres", "for": "2h", "why": "because"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ([], "send a JSON object"),
        ({}, "say which service"),
        ({**GOOD, "service": "postgre"}, "no service is called postgre; there are litellm, postgres"),
        ({**GOOD, "service": 7}, "service is text"),
        ({**GOOD, "for": "soon"}, "say for how long"),
        ({**GOOD, "for": True}, "say for how long"),
        ({**GOOD, "for": "0s"}, "from one second to 31 days"),
        ({**GOOD, "for": "32d"}, "from one second to 31 days"),
        ({**GOOD, "for": "999999w"}, "from one second to 31 days"),
        ({**GOOD, "why": " "}, "say why"),
        ({**GOOD, "why": "x" * 501}, "longer than 500"),
        ({**GOOD, "cron": "@daily"}, "cron: a cron line has five fields"),
        ({**GOOD, "cron": "0 0 30 2 *"}, "cron: it never comes"),
        ({**GOOD, "cron": "0 3 * * *", "for": "30s"}, "cron: a window lasts from a minute"),
        ({**GOOD, "maintenance": "yes"}, "true or false"),
        ({**GOOD, "untill": "x"}, "untill is not known here"),
    ],
)
def test_what_is_not_understood_is_refused_with_a_sentence(site: Start, body: object, says: str) -> None:
    desk = Desk()
    answer = site(desk).ask("POST", "/api/v1/silences", body)
    assert (answer.status_code, desk.quiet) == (400, [])
    assert says in answer.json()["error"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 60_000, b'{"service": "\\ud800", "for": "2h"}'])
def test_a_body_that_is_no_json_is_refused_too(site: Start, content: bytes) -> None:
    headers = {"content-type": "application/json"}
    answer = site(Desk()).ask("POST", "/api/v1/silences", content=content, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_a_form_that_a_page_elsewhere_could_send_is_refused(site: Start) -> None:
    desk = Desk()
    body = '{"service": "postgres", "for": "2h", "why": "x"}'
    answer = site(desk).ask("POST", "/api/v1/silences", content=body, headers={"content-type": "text/plain"})
    assert (answer.status_code, desk.quiet) == (400, [])
    assert "Content-Type: application/json" in answer.json()["error"]


def test_with_a_token_nothing_goes_without_it(site: Start) -> None:
    desk = Desk(an_incident())
    one = site(desk, token=TOKEN)
    for method, path in (
        ("GET", "/api/v1/incidents"),
        ("GET", "/api/v1/silences"),
        ("POST", "/api/v1/silences"),
        ("POST", "/api/v1/incidents/20231114T221200Z-postgres/ack"),
        ("DELETE", "/api/v1/silences/x"),
    ):
        assert one.ask(method, path, GOOD if method == "POST" else None).status_code == 401, path
    assert not desk.seen_by
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    assert one.ask("POST", "/api/v1/silences", GOOD, headers=bearer).status_code == 201


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-Ip"])
def test_without_a_token_only_this_machine_may_change_anything(site: Start, header: str) -> None:
    desk = Desk(an_incident())
    one = site(desk)
    through_a_proxy = {header: "203.0.113.9"}
    answer = one.ask("POST", "/api/v1/silences", GOOD, headers=through_a_proxy)
    assert (answer.status_code, desk.quiet) == (403, [])
    assert "set API_TOKEN" in answer.json()["error"]
    assert one.ask("GET", "/api/v1/silences", headers=through_a_proxy).status_code == 200
    assert one.ask("POST", "/api/v1/silences", GOOD).status_code == 201


def test_silences_do_not_pile_up(site: Start) -> None:
    desk = Desk()
    desk.quiet = [Silence(id=str(number), service="x", why="x", by="x", since=NOW) for number in range(200)]
    assert site(desk).ask("POST", "/api/v1/silences", GOOD).status_code == 409


def test_a_daemon_that_stands_by_or_has_not_opened_its_state_says_so(site: Start) -> None:
    for one, says in ((site(None), "still opening its state"), (site(Desk()), "stands by")):
        one.board.standby = says == "stands by"
        for method, path, body in (
            ("GET", "/api/v1/incidents", None),
            ("GET", "/api/v1/silences", None),
            ("POST", "/api/v1/silences", GOOD),
            ("POST", "/api/v1/incidents/x/ack", {"by": "Anna"}),
            ("DELETE", "/api/v1/silences/x", None),
        ):
            answer = one.ask(method, path, body)
            assert answer.status_code == 503
            assert says in answer.json()["error"]
