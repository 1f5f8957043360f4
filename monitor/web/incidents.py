"""Incidents and silences over HTTP: what is open, who has seen it, and what nobody wants to hear of for now."""

import asyncio
import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from http import HTTPStatus
from typing import Protocol

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from alerts.texts import clean
from monitor.board import Board
from monitor.incidents import BLIND, Incident
from monitor.silences import Silence, check_window
from monitor.web.api import incident_document, silence_document
from monitor.web.guard import Guard, is_near

DAY = 86_400.0
SHOWN_FOR = 7 * DAY  # seconds after its end that an incident is on the status page
ALL_FOR = 400 * DAY  # seconds after its end that one is listed with ?all
LONGEST = 31 * DAY  # seconds a silence may last: one that is forgotten must not hide the outage of next year
MOST = 200  # silences at a time
BODY_WAIT = 5.0  # seconds a body may take to arrive

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": DAY, "w": 7 * DAY}
LENGTH = re.compile(r"(?:\d{1,6}[smhdw])+")


class IncidentDesk(Protocol):
    """Who keeps the incidents and the silences."""

    async def incidents(self, *, since: float) -> Sequence[Incident]:
        """The open incidents, and those that ended at or after `since` (epoch seconds), the newest first."""
        ...

    async def acknowledge(self, incident: str, by: str) -> bool:
        """Stops the reminders of the open incident with this id; False when there is none."""
        ...

    async def silences(self) -> Sequence[Silence]:
        """The silences that hold or will."""
        ...

    async def silence(self, silence: Silence) -> None:
        """Keeps a new one."""
        ...

    async def end_silence(self, silence: str) -> bool:
        """Ends the silence with this id; False when there is none."""
        ...


class UnusableError(ValueError):
    """A request that cannot be done as it stands. Its text is a sentence for whoever sent it."""


class IncidentRoutes:
    """What the routes of incidents and silences answer. `desk` gives None until the state is open."""

    def __init__(
        self, board: Board, desk: Callable[[], IncidentDesk | None], guard: Guard, *, wall: Callable[[], float]
    ) -> None:
        self._board = board
        self._desk = desk
        self._guard = guard
        self._wall = wall

    def routes(self) -> list[Route]:
        """Every route, behind the guard."""
        around = self._guard.around
        return [
            Route("/api/v1/incidents", around(self._list)),
            Route("/api/v1/incidents/{id}/ack", around(self._acknowledge), methods=["POST"]),
            Route("/api/v1/silences", around(self._silences), methods=["GET", "POST"]),
            Route("/api/v1/silences/{id}", around(self._end), methods=["DELETE"]),
        ]

    async def _list(self, request: Request) -> Response:
        desk = self._desk()
        if desk is None or self._board.standby:
            return self._not_here()
        every = "all" in request.query_params
        now = self._wall()
        found = await desk.incidents(since=now - ALL_FOR if every else now)
        shown = [incident for incident in found if every or incident.resolved_at is None]
        services = {name: status.service for name, status in self._board.services.items()}
        return JSONResponse({"incidents": [incident_document(incident, services) for incident in shown]})

    async def _acknowledge(self, request: Request) -> Response:
        desk = self._desk()
        if refusal := self._refusal(request, desk):
            return refusal
        assert desk is not None  # refused above
        try:
            by = _text(await _body(request, ("by",)), "by", 'who looks after it: {"by": "Anna"}', most=100)
        except UnusableError as error:
            return _unusable(error)
        id_ = request.path_params["id"]
        if not await desk.acknowledge(id_, by):
            says = f"no open incident has the id {id_}: it may be over; GET /api/v1/incidents lists those that are open"
            return JSONResponse({"error": says}, HTTPStatus.NOT_FOUND)
        return JSONResponse({"status": "acknowledged"})

    async def _silences(self, request: Request) -> Response:
        desk = self._desk()
        if request.method != "POST":
            if desk is None or self._board.standby:
                return self._not_here()
            now = self._wall()
            return JSONResponse({"silences": [silence_document(one, now) for one in await desk.silences()]})
        if refusal := self._refusal(request, desk):
            return refusal
        assert desk is not None  # refused above
        try:
            silence = read_silence(
                await _body(request, ("service", "for", "why", "by", "cron", "maintenance")),
                services=self._board.services,
                now=self._wall(),
            )
        except UnusableError as error:
            return _unusable(error)
        if len(await desk.silences()) >= MOST:
            return JSONResponse({"error": f"there are {MOST} silences already; end some"}, HTTPStatus.CONFLICT)
        await desk.silence(silence)
        return JSONResponse(silence_document(silence, self._wall()), HTTPStatus.CREATED)

    async def _end(self, request: Request) -> Response:
        desk = self._desk()
        if refusal := self._refusal(request, desk):
            return refusal
        assert desk is not None  # refused above
        id_ = request.path_params["id"]
        if not await desk.end_silence(id_):
            says = f"no silence has the id {id_}: it may be over; GET /api/v1/silences lists those there are"
            return JSONResponse({"error": says}, HTTPStatus.NOT_FOUND)
        return JSONResponse({"status": "ended"})

    def _refusal(self, request: Request, desk: IncidentDesk | None) -> Response | None:
        """Why a change is not made for this request at all."""
        if not self._guard.asks and not is_near(request):
            says = (
                "set API_TOKEN and send it: without one anybody could silence an outage; on its own machine it may be"
            )
            return JSONResponse({"error": says}, HTTPStatus.FORBIDDEN)
        return self._not_here() if desk is None or self._board.standby else None

    def _not_here(self) -> Response:
        says = "this daemon stands by: another one holds the state folder and does the work; ask that one"
        if not self._board.standby:
            says = "the daemon is still opening its state; ask again in a few seconds"
        return JSONResponse({"error": says}, HTTPStatus.SERVICE_UNAVAILABLE)


def read_silence(body: Mapping[str, object], *, services: Mapping[str, object], now: float) -> Silence:
    """The silence that a request's body asks for, from `now` (epoch seconds) on. Raises UnusableError."""
    pattern = _text(body, "service", 'which service: its name, or a pattern such as "langfuse-*"', most=100)
    if pattern != BLIND and not any(fnmatchcase(name, pattern) for name in services):
        raise UnusableError(f"no service is called {pattern}; there are {', '.join(sorted(services))}")
    length = read_length(body.get("for"))
    why = _text(body, "why", "why, so that whoever wonders at the silence knows", most=500)
    by = _text(body, "by", "", most=100) if "by" in body else "somebody"
    maintenance = body.get("maintenance", False)
    if not isinstance(maintenance, bool):
        raise UnusableError("maintenance is true or false")
    cron = _text(body, "cron", "", most=200) if body.get("cron") else ""
    if cron:
        try:
            check_window(cron, length)
        except ValueError as error:
            raise UnusableError(f"cron: {error}") from None
    return Silence(
        id=secrets.token_hex(4),
        service=pattern,
        why=why,
        by=by,
        since=now,
        until=None if cron else now + length,
        cron=cron,
        duration=length if cron else 0.0,
        maintenance=maintenance,
    )


def read_length(given: object) -> float:
    """Seconds from a length of time as people write it: "90m", "2h", "1d12h"; or a number of seconds.

    Raises UnusableError.
    """
    if isinstance(given, int | float) and not isinstance(given, bool):
        seconds = float(given)
    elif isinstance(given, str) and LENGTH.fullmatch(given.strip().lower()):
        seconds = sum(
            int(number) * UNITS[unit] for number, unit in re.findall(r"(\d+)([smhdw])", given.strip().lower())
        )
    else:
        raise UnusableError('say for how long: "for": "90m", "2h", "1d12h"')
    if not 1 <= seconds <= LONGEST:
        raise UnusableError(f"a silence lasts from one second to {LONGEST / DAY:.0f} days")
    return seconds


async def _body(request: Request, keys: Sequence[str]) -> Mapping[str, object]:
    """The JSON object in a request's body, which may hold `keys`. Raises UnusableError.

    Another content type is refused: a page elsewhere could have a browser send it without asking.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise UnusableError("send JSON, with the header Content-Type: application/json")
    try:
        async with asyncio.timeout(BODY_WAIT):
            document = json.loads(await request.body())
    except (TimeoutError, ClientDisconnect):
        raise UnusableError("the body did not arrive whole") from None
    except (ValueError, RecursionError):
        raise UnusableError("the body is no JSON") from None
    if not isinstance(document, dict):
        raise UnusableError("send a JSON object, in { }")
    if unknown := sorted(set(document) - set(keys)):
        raise UnusableError(f"{clean(unknown[0])[:100]} is not known here; there are {', '.join(keys)}")
    return document


def _text(body: Mapping[str, object], key: str, wanted: str, *, most: int) -> str:
    given = body.get(key)
    if given is not None and not isinstance(given, str):
        raise UnusableError(f"{key} is text")
    text = clean(given or "")
    if not text:
        raise UnusableError(f"say {wanted}" if wanted else f"{key} is empty")
    if len(text) > most:
        raise UnusableError(f"{key} is longer than {most} characters")
    return text


def _unusable(error: UnusableError) -> Response:
    return JSONResponse({"error": str(error)}, HTTPStatus.BAD_REQUEST)
