"""The routes, and what each of them answers."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from config.secret import Secret
from config.services import Service
from monitor.board import Board
from monitor.metrics import Collector, render
from monitor.past import Past
from monitor.spans import Bar
from monitor.web.api import past_document, status_document
from monitor.web.guard import Guard, Manners
from monitor.web.incidents import SHOWN_FOR, IncidentDesk, IncidentRoutes
from monitor.web.page import CONTENT_SECURITY_POLICY, PageSnapshot, draw
from monitor.web.renders import Draw, Renders
from monitor.web.server import BindError, bind, serve

__all__ = ["BindError", "bind", "build_app", "serve"]

log = structlog.get_logger()

Healthy = Callable[[], tuple[bool, Mapping[str, str]]]
CheckNow = Callable[[], Awaitable[object]]
BackupNow = Callable[[], bool]
Bars = Callable[[], Awaitable[Mapping[str, Sequence[Bar]]]]
Desk = Callable[[], IncidentDesk | None]
Remember = Callable[[Service], Awaitable[Past | None]]

ROUND_GAP = 5.0  # seconds from the end of a round that was asked for to the start of the next


def build_app(
    board: Board,
    *,
    healthy: Healthy,
    check_now: CheckNow,
    bars: Bars | None = None,
    past: Remember | None = None,
    backup_now: BackupNow | None = None,
    incidents: Desk = lambda: None,
    api_token: Secret | None = None,
    metrics_token: Secret | None = None,
    wall: Callable[[], float] = time.time,
) -> Starlette:
    """Gives the web application over `board`.

    `healthy` says whether the daemon itself is well, and why; it must not block. `check_now` makes one round and is
    never called twice at once. `bars` gives the last 24 hours of each service by name, `past` what is remembered of
    one service (None while the state is not open). `backup_now` has a backup run
    made and says whether it will be. `incidents` gives who keeps the incidents and silences, None while the state is
    not open. `api_token` guards /api, /check and /backup; without one /backup is off, and silences and
    acknowledgements are taken from this machine alone. `metrics_token` guards /metrics; the page and /healthz are
    open. `wall` is the time, epoch seconds.
    """
    site = _Site(board, healthy, check_now, bars, wall)
    site.desk, site.past = incidents, past
    site.backup_now = backup_now if api_token else None
    api, scrape = Guard(api_token), Guard(metrics_token)
    return Starlette(
        routes=[
            Route("/", site.page),
            Route("/healthz", site.health),
            Route("/health", site.health),
            Route("/metrics", scrape.around(site.metrics)),
            Route("/api/v1/status", api.around(site.status)),
            Route("/api/v1/services/{name}/history", api.around(site.history)),
            *IncidentRoutes(board, incidents, api, wall=wall).routes(),
            Route("/check", api.around(site.check), methods=["GET", "POST"]),
            Route("/backup", api.around(site.backup), methods=["POST"]),
        ],
        middleware=[Middleware(Manners)],
        exception_handlers={HTTPException: _refuse, 500: _fail},
    )


class _Site:
    """What the routes answer."""

    def __init__(
        self, board: Board, healthy: Healthy, check_now: CheckNow, bars: Bars | None, wall: Callable[[], float]
    ) -> None:
        self._board = board
        self._healthy = healthy
        self._bars = bars
        self._wall = wall
        self._collector = Collector(board)
        self._rounds = _Rounds(check_now)
        self.backup_now: BackupNow | None = None
        self.desk: Desk = lambda: None
        self.past: Remember | None = None
        self._metrics, self._status, self._page = Renders(), Renders(), Renders()

    async def health(self, _: Request) -> Response:
        well, why = self._health()
        document = {"status": "ok" if well else "unhealthy", "why": dict(why)}
        return JSONResponse(document, HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE)

    def _health(self) -> tuple[bool, Mapping[str, str]]:
        try:
            return self._healthy()
        except Exception:  # a daemon that cannot say whether it is well is not: 503, never 500
            log.exception("health_fault")
            return False, {"health": "the check of the daemon's own health failed; its log says more"}

    async def check(self, _: Request) -> Response:
        if self._board.standby:
            return _standing_by()
        self._rounds.ask()
        return JSONResponse({"status": "check_triggered"}, HTTPStatus.ACCEPTED)

    async def backup(self, _: Request) -> Response:
        if self.backup_now is None:
            says = "set API_TOKEN and send it: without one anybody could have the databases dumped"
            return JSONResponse({"error": says}, HTTPStatus.FORBIDDEN)
        if self._board.standby:
            return _standing_by()
        if self._board.backup is None:
            says = "no backups are taken here: it needs a database, and MINIO_ENDPOINT with its keys or BACKUP_DIR"
            return JSONResponse({"error": says}, HTTPStatus.CONFLICT)
        status = "backup_triggered" if self.backup_now() else "backup_running"
        return JSONResponse({"status": status}, HTTPStatus.ACCEPTED)

    async def metrics(self, request: Request) -> Response:
        accept = "application/openmetrics-text" if "openmetrics" in request.headers.get("accept", "") else "text/plain"

        async def take() -> Draw:
            snapshot = self._collector.snapshot()
            return lambda: render(snapshot, accept)

        return await self._metrics.answer(request, accept, take)

    async def status(self, request: Request) -> Response:
        async def take() -> Draw:
            document = status_document(self._board)
            return lambda: (json.dumps(document, allow_nan=False).encode(), "application/json")

        return await self._status.answer(request, "", take)

    async def history(self, request: Request) -> Response:
        status = self._board.services.get(request.path_params["name"])
        if status is None:
            says = f"no such service is watched; there are {', '.join(sorted(self._board.services))}"
            return JSONResponse({"error": says}, HTTPStatus.NOT_FOUND)
        past = await self.past(status.service) if self.past and not self._board.standby else None
        if past is None:
            says = "the daemon is still opening its state; ask again in a few seconds"
            return _standing_by() if self._board.standby else _refused(says)
        return JSONResponse(past_document(past))

    async def page(self, request: Request) -> Response:
        async def take() -> Draw:
            history = await self._bars() if self._bars else {}
            desk, now = self.desk(), self._wall()
            incidents = await desk.incidents(since=now - SHOWN_FOR) if desk else ()
            silences = await desk.silences() if desk else ()
            snapshot = PageSnapshot.take(
                self._board, self._health(), history, now, incidents=incidents, silences=silences
            )
            return lambda: (draw(snapshot), "text/html; charset=utf-8")

        answer = await self._page.answer(request, "", take)
        answer.headers["content-security-policy"] = CONTENT_SECURITY_POLICY
        return answer


class _Rounds:
    """Rounds that were asked for: one at a time, and what is asked meanwhile is one more round after it."""

    def __init__(self, check_now: CheckNow) -> None:
        self._check_now = check_now
        self._asked = False
        self._task: asyncio.Task[None] | None = None

    def ask(self) -> None:
        self._asked = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
            self._task.add_done_callback(_log_failed_round)

    async def _run(self) -> None:
        while self._asked:
            self._asked = False
            await self._check_now()
            await asyncio.sleep(ROUND_GAP)


def _log_failed_round(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("asked_round_failed", exc_info=error)


def _standing_by() -> Response:
    says = "this daemon stands by: another one holds the state folder and does the work; ask that one"
    return _refused(says)


def _refused(says: str) -> Response:
    return JSONResponse({"error": says}, HTTPStatus.SERVICE_UNAVAILABLE)


async def _refuse(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # the only kind it is registered for
    return JSONResponse(
        {"error": HTTPStatus(error.status_code).phrase.lower()}, error.status_code, headers=error.headers
    )


async def _fail(_request: Request, _error: Exception) -> Response:
    return JSONResponse({"error": "a fault of Watchkeeper's own; its log says more"}, HTTPStatus.INTERNAL_SERVER_ERROR)
