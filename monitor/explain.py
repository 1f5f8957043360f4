"""Everything known now about one service: looked at anew with its neighbours, and what a daemon here remembers."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from alerts.texts import rfc3339
from config.services import Service
from monitor.asking import asks
from monitor.blame import TROUBLE
from monitor.board import Board, CheckStatus, ServiceStatus
from monitor.client import Client, DaemonError
from monitor.dependencies import Graph
from monitor.depth import Depth, LeftOut, lacking, reach
from monitor.diagnose.table import decide
from monitor.judge import State
from monitor.once import look_once
from monitor.probes.base import Outcome
from monitor.reasoning import Reasoning, reason
from monitor.web.api import left_out_document, services_document


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What the daemon on this machine holds of the service, as its API gives it.

    `incident` is the open one that it is the root of or that takes it down, `silences` those that hold for it now.
    """

    status: dict[str, Any]
    history: dict[str, Any]
    incident: dict[str, Any] | None
    silences: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """One service explained. `board` holds it and the neighbours that were looked at, at `at` (epoch seconds).

    Without `remembered`, `forgotten` says why.
    """

    name: str
    at: float
    board: Board
    reasoning: Reasoning
    needs: tuple[str, ...]
    needed_by: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    remembered: Remembered | None
    forgotten: str

    @property
    def status(self) -> ServiceStatus:
        """What our own look at it saw."""
        return self.board.services[self.name]

    @property
    def well(self) -> bool:
        """Whether it is up or paused, by our own look and, where there is one, by the daemon's."""
        held = self.remembered.status.get("state") if self.remembered else None
        return self.status.state in (State.UP, State.PAUSED) and held not in TROUBLE


async def look_around(
    services: tuple[Service, ...], service: Service, *, instance: str, pace: float, longest: float, wakes: float
) -> tuple[Board, tuple[LeftOut, ...]]:
    """Looks at `service` with all its checks but those that cost something, and at its neighbours with the quick ones.

    `pace` is the seconds between the daemon's rounds, `longest` those that one answer may take, `wakes` those until a
    service that may have slept is asked again.
    """
    graph = Graph.of(services)
    tried = (provider for (holder, _), provider in graph.keys.items() if holder == service.name)
    beside = {*graph.parents[service.name], *graph.children[service.name], *tried} - {service.name}
    own, left = reach(service, Depth.FREE, pace)
    others = [reach(one, Depth.QUICK, pace)[0] for one in services if one.name in beside]
    board = await look_once([own, *others], instance=instance, longest=longest, wakes=wakes)
    return board, (*left, *lacking([service]))


def ask_daemon(client: Client, name: str) -> tuple[Remembered | None, str]:
    """What the daemon remembers of the service, and why it does not where it does not."""
    try:
        held = client.services()
        status = next((one for one in held if one.get("name") == name), None)
        if status is None:
            return None, "the daemon at PORT does not watch this service: it was started with other variables"
        incidents, silences = client.incidents(every=False), client.silences()
        history = client.history(name)
    except DaemonError as error:
        return None, str(error)
    about = (one for one in incidents if one["service"] == name)
    taken = (one for one in incidents if name in one["affected"])
    quiet = tuple(one for one in silences if one["active"] and fnmatchcase(name, one["service"]))
    incident = next(about, None) or next(taken, None)
    return Remembered(status=status, history=history, incident=incident, silences=quiet), ""


def conclude(
    services: tuple[Service, ...],
    name: str,
    board: Board,
    left: tuple[LeftOut, ...],
    *,
    at: float,
    daemon: tuple[Remembered | None, str],
) -> Explanation:
    """Puts together what was seen and what is remembered."""
    graph = Graph.of(services)
    return Explanation(
        name=name,
        at=at,
        board=board,
        reasoning=reason(board, name),
        needs=graph.parents[name],
        needed_by=graph.children[name],
        left_out=left,
        remembered=daemon[0],
        forgotten=daemon[1],
    )


def explanation_document(found: Explanation) -> dict[str, Any]:
    """Gives all of it, ready for json.dumps; docs/reference/api.md names the keys."""
    services = {one["name"]: one for one in services_document(found.board)}
    own = services[found.name]
    own["checks"] = [{**one, **_more(found.status, found.status.checks[one["name"]])} for one in own["checks"]]
    held, thought = found.remembered, found.reasoning
    return {
        "looked_at": rfc3339(found.at),
        "service": own,
        "reasoning": {
            "root": thought.root,
            "cause": thought.cause.value if thought.cause else None,
            "confidence": thought.confidence,
            "sentence": thought.sentence,
            "remedy": thought.remedy or None,
            "because": list(thought.because),
            "ruled_out": list(thought.ruled_out),
        },
        "needs": [_neighbour(services[one]) for one in found.needs],
        "needed_by": [_neighbour(services[one]) for one in found.needed_by],
        "left_out": left_out_document(found.left_out),
        "remembered": held
        and {
            "state": held.status["state"],
            "since": held.status["since"],
            "cause": held.status["cause"],
            "sentence": held.status["sentence"],
            "watched": held.history["watched"],
            "flips": held.history["flips"],
            "facts": held.history["facts"],
            "incident": held.incident,
            "silences": list(held.silences),
        },
        "forgotten": found.forgotten or None,
    }


def ways(outcome: Outcome | None) -> tuple[str, ...]:
    """What is known of the ways to where a failed run looked, a line each; nothing where it got an answer."""
    truth = outcome.evidence.network if outcome else None
    return truth.lines() if truth else ()


def _neighbour(service: dict[str, Any]) -> dict[str, Any]:
    return {key: service[key] for key in ("name", "title", "state", "cause", "sentence")}


def _more(status: ServiceStatus, one: CheckStatus) -> dict[str, Any]:
    """What an explanation tells of a check beyond the status document."""
    check, outcome = one.check, one.outcome
    found = decide(status.service, check, outcome) if outcome else None
    rule, sign = found or (None, None)
    return {
        "asks": asks(check),
        "severity": check.severity,
        "interval_seconds": check.interval,
        "timeout_seconds": check.timeout,
        "latency_threshold_seconds": check.latency_threshold,
        "failure_threshold": check.failure_threshold,
        "network": list(ways(outcome)),
        "code": outcome.evidence.code or None if outcome else None,
        "sign": outcome.evidence.sign or None if outcome else None,
        "proof": (sign.says if sign else rule.proof) if rule else None,
        "sentence": one.diagnosis.sentence if one.diagnosis else None,
    }
