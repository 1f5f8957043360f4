"""docs/reference/api.md names every route and every key, and its example has the shape the code gives."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from config.causes import Cause
from config.checks import TcpParams
from config.kinds import PARAMS
from config.secret import Secret
from config.services import Check, Service
from monitor.backup_runs import Run, shown
from monitor.board import BackupStatus, Board, CheckStatus, ServiceStatus
from monitor.diagnose.base import Diagnosis
from monitor.facts import Fact
from monitor.incidents import BLIND, Entry, Happening, Incident
from monitor.judge import Flip, State, Track
from monitor.past import DAY, Past, Watched
from monitor.probes.base import Evidence, Outcome, Sight, Verdict
from monitor.web.api import incident_document, past_document, silence_document, status_document
from monitor.web.app import build_app
from monitor.web.incidents import read_silence

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
NOW = 1_700_000_000.0


def board() -> Board:
    """A board on which nothing is left out."""
    check = Check(name="answers", kind="tcp", params=TcpParams(host="x", port=1))
    service = Service(name="x", kind="custom", title="X", address="x:1", checks=(check,))
    outcome = Outcome(verdict=Verdict.FAIL, latency=0.1, evidence=Evidence(sight=Sight.REFUSED, text="refused"))
    found = Diagnosis(cause=Cause.REFUSED, sentence="It refuses.", remedy="Start it.")
    status = ServiceStatus(
        service=service,
        track=Track(since=NOW, watched_since=NOW),
        checks={"answers": CheckStatus(check=check, outcome=outcome, diagnosis=found, ran_at=NOW)},
        diagnosis=found,
    )
    backup = BackupStatus(schedule="daily", last_success_at=NOW, last=shown(Run(at=NOW)))
    return Board(instance="here", version="1", started_at=NOW, services={"x": status}, backup=backup)


def sections() -> dict[str, str]:
    """The page's text by heading."""
    parts = re.split(r"^#+ (.+)$", PAGE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def named(text: str) -> set[str]:
    """The words of a text that stand in code marks, but not those of its code blocks."""
    return set(re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)))


def rows(text: str) -> Iterator[list[str]]:
    """The cells of each row of a text's table."""
    for line in text.splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def test_every_route_stands_in_the_table_with_its_methods_and_its_token() -> None:
    async def nothing() -> None:
        pass

    app = build_app(
        board(),
        healthy=lambda: (True, {}),
        check_now=nothing,
        api_token=Secret("an api token"),
        metrics_token=Secret("a metrics token"),
    )
    routes = {route.path: (route.methods or set()) - {"HEAD"} for route in app.routes if isinstance(route, Route)}
    told = {cells[0].strip("`"): cells[1:3] for cells in rows(sections()["API"])}
    assert {path: set(methods.split(", ")) for path, (methods, _) in told.items()} == routes
    tokens = {path: token.strip("`") for path, (_, token) in told.items()}
    assert {path for path, token in tokens.items() if token == "none"} == {"/", "/healthz", "/health"}
    assert {path for path, token in tokens.items() if token == "METRICS_TOKEN"} == {"/metrics"}


def parts(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The objects of a status document by the heading they are told under."""
    service = document["services"][0]
    return {"The document": document, "A service": service, "A check": service["checks"][0]}


@pytest.mark.parametrize("heading", ["The document", "A service", "A check"])
def test_every_key_is_told_and_none_that_is_not_there(heading: str) -> None:
    keys = set(parts(status_document(board()))[heading])
    assert {key for cells in rows(sections()[heading]) for key in re.findall(r"`(\w+)`", cells[0])} == keys


def test_every_key_of_the_backup_runs_is_told() -> None:
    backup = status_document(board())["backup"]
    text = sections()["The daemon's backup runs"]
    assert {cells[0].strip("`") for cells in rows(text)} == set(backup)
    assert named(text) >= set(backup["last"])


def past() -> Past:
    """A past of which nothing is left out."""
    flip = Flip(service="x", old=State.UP, new=State.DOWN, at=NOW, since=NOW, check="answers", cause=Cause.REFUSED)
    watched = Watched(length=DAY, by_state={State.UP: 60.0, State.DOWN: 20.0})
    fact = Fact(service="x", name="version", value="2", since=NOW, before="1")
    return Past(service="x", day=watched, week=watched, flips=(flip,), facts=(fact,))


def test_every_key_of_a_history_is_told_and_the_example_has_them() -> None:
    document = past_document(past())
    assert document["watched"]["24h"] == {"seconds": 80.0, "shares": {"up": 0.75, "down": 0.25}}
    assert keys_of("A history") == set(document)
    block = re.search(r"```json\n(.*?)```", sections()["GET /api/v1/services/{name}/history"], flags=re.DOTALL)
    assert block
    example = json.loads(block[1])
    assert list(example) == list(document)
    for part in ("flips", "facts"):
        assert list(example[part][0]) == list(document[part][0])
    assert list(example["watched"]) == list(document["watched"])


def incident() -> Incident:
    """An incident of which nothing is left out."""
    return Incident(
        id="20231114T221320Z-x",
        root="x",
        state="down",
        worst="down",
        since=NOW,
        opened_at=NOW,
        cause=Cause.REFUSED,
        timeline=(Entry(at=NOW, what=Happening.OPENED, text="X is down"),),
    )


def keys_of(heading: str) -> set[str]:
    """The keys that the table under a heading tells."""
    return {key for cells in rows(sections()[heading]) for key in re.findall(r"`(\w+)`", cells[0])}


def test_every_key_of_an_incident_is_told_and_every_word_of_its_timeline() -> None:
    document = incident_document(incident(), {})
    assert keys_of("An incident") == set(document)
    assert named(sections()["An incident"]) >= {happening.value for happening in Happening} | {BLIND}
    assert named(sections()["An incident"]) >= set(document["timeline"][0])
    block = re.search(r"```json\n(.*?)```", sections()["GET /api/v1/incidents"], flags=re.DOTALL)
    assert block
    assert list(json.loads(block[1])["incidents"][0]) == list(document)


def test_every_key_of_a_silence_is_told_and_the_example_is_taken() -> None:
    asked = re.search(r"-d '(.*)'", sections()["POST /api/v1/silences"])
    assert asked
    silence = read_silence(json.loads(asked[1]), services={"langfuse-web": None}, now=NOW)
    assert keys_of("A silence") == set(silence_document(silence, NOW))
    assert keys_of("A new silence") == {"service", "for", "why", "by", "cron", "maintenance"}


def test_the_words_of_states_verdicts_and_kinds_are_told() -> None:
    assert named(sections()["A service"]) >= {state.value for state in State}
    assert named(sections()["A check"]) >= {verdict.value for verdict in Verdict} | set(PARAMS)


def test_the_example_has_the_keys_the_code_gives_in_their_order() -> None:
    block = re.search(r"```json\n(.*?)```", sections()["GET /api/v1/status"], flags=re.DOTALL)
    assert block
    example = parts(json.loads(block[1]))
    for heading, made in parts(status_document(board())).items():
        assert list(example[heading]) == list(made), heading
