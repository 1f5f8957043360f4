"""A sign of life to somebody outside, who raises the alarm when it stays away: healthchecks.io and what is like it.

It is given only while every loop advances. When one stands still, or alerts do not get out, that is told at once
instead. Nothing waits for it: it has a task and a client of its own, and a deadline.
"""

import asyncio
import time
from collections.abc import Callable
from enum import StrEnum
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import httpx
import structlog

from alerts.deliver import no_client
from config.secret import Secret
from monitor.probes.base import clean

EVERY = 60.0  # seconds between two signs of life; the first comes when the daemon has lived as long
LOOK = 5.0  # seconds between two looks at whether all is well; trouble counts when two in a row saw it
AGAIN = 15.0  # seconds after which one that did not get through is sent again
DEADLINE = 10.0  # seconds for one request
BODY = 1000  # characters of a body
HEARD = 200  # bytes of an answer that are read
KUMA = "/api/push/"

log = structlog.get_logger()


class Signal(StrEnum):
    """What is said. The word is what healthchecks.io wants at the end of the address."""

    START = "start"
    WELL = ""
    FAIL = "fail"


class Form(StrEnum):
    """How it is said."""

    HEALTHCHECKS = "healthchecks"  # /start and /fail at the end of the path, with a body
    KUMA = "kuma"  # Uptime Kuma's push: status and msg in the query; it knows no start
    PLAIN = "plain"  # it knows one address: only that all is well is said, and silence says the rest


def form_of(url: str) -> Form:
    """The form an address asks for. PLAIN is found out: by a /start or a /fail that the other side does not know."""
    return Form.KUMA if KUMA in urlsplit(url).path else Form.HEALTHCHECKS


def address(url: str, form: Form, signal: Signal, words: str) -> str | None:
    """Where to say `signal`; None where this form has no way to. What the query holds already stays in it."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    if form == Form.HEALTHCHECKS:
        path, query = (f"{path}/{signal}" if signal else path), parts.query
    elif form == Form.KUMA and signal != Signal.START:
        kept = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in ("status", "msg")]
        status = "down" if signal == Signal.FAIL else "up"
        query = urlencode([("status", status), ("msg", words or "OK"), *kept])
    elif form == Form.PLAIN and signal == Signal.WELL:
        query = parts.query
    else:
        return None
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def new_client() -> httpx.AsyncClient:
    """The client signs of life are sent with: through a proxy if the environment names one."""
    return httpx.AsyncClient(
        trust_env=True,
        follow_redirects=True,
        timeout=httpx.Timeout(DEADLINE),
        limits=httpx.Limits(max_keepalive_connections=0),
    )


class Heartbeat:
    """Gives signs of life at `url` until cancelled; only the daemon that does the work may run it, no standby.

    `alive` says whether all is well, and what is not, in words without secrets; it must be quick. `failed` counts
    signs that did not get through, `sent` those that did; `last_sent_at` is when one last did that all is well (epoch
    seconds of `wall`). `problem` says why the newest did not, or is empty.
    """

    def __init__(
        self,
        url: Secret,
        *,
        alive: Callable[[], tuple[bool, str]],
        instance: str = "",
        wall: Callable[[], float] = time.time,
        client: Callable[[], httpx.AsyncClient] = new_client,
        every: float = EVERY,
        look: float = LOOK,
        deadline: float = DEADLINE,
    ) -> None:
        self.sent = 0
        self.failed = 0
        self.last_sent_at: float | None = None
        self.problem = ""
        self._url = url
        self._alive = alive
        self._instance = instance
        self._wall = wall
        self._new_client = client
        self._every = every
        self._look = look
        self._deadline = deadline
        self._form = form_of(url.reveal())
        self._unknown = Signal.WELL

    async def run(self) -> None:
        """Says that it starts, then every minute how it is; trouble and its end at once."""
        try:
            client = self._new_client()
        except Exception as error:  # noqa: BLE001 -- proxy and certificate variables may hold any nonsense
            log.warning("heartbeat_off", says=no_client(error))
            return
        loop = asyncio.get_running_loop()
        async with client:
            await self._say(client, Signal.START, f"Watchkeeper {self._instance} starts")
            due, told, before = loop.time() + self._every, True, True
            while True:
                await asyncio.sleep(self._look)
                well, why = self._alive()
                now, sure = loop.time(), well == before
                before = well
                if not sure or (well == told and now < due):
                    continue
                took = await self._say(client, Signal.WELL if well else Signal.FAIL, why)
                told = well
                due = now + (self._every if took else min(AGAIN, self._every))

    async def _say(self, client: httpx.AsyncClient, signal: Signal, words: str) -> bool:
        """Whether it got through, or there was nothing to say in this form."""
        words = clean(words, BODY)
        url = address(self._url.reveal(), self._form, signal, words[:200])
        if url is None:
            return True
        problem, status = await self._request(client, url, words)
        if status in (404, 405) and signal != Signal.WELL and self._form == Form.HEALTHCHECKS:
            self._unknown = signal
            self._doubt()
            return True
        self._count(problem, signal)
        self._doubt()
        return not problem

    def _doubt(self) -> None:
        """An address that takes a sign of life and knows no /start or no /fail is a plain one."""
        if self._unknown and self.last_sent_at is not None and self._form == Form.HEALTHCHECKS:
            self._form = Form.PLAIN
            says = f"HEARTBEAT_URL knows no /{self._unknown}: it hears only that all is well, or nothing"
            log.warning("heartbeat_plain", says=says)

    async def _request(self, client: httpx.AsyncClient, url: str, words: str) -> tuple[str, int]:
        """What went wrong, in words that hold nothing of the address, or ""; and the status, 0 without an answer."""
        post = self._form == Form.HEALTHCHECKS
        method, content = ("POST", words.encode()) if post else ("GET", None)
        try:
            async with asyncio.timeout(self._deadline), client.stream(method, url, content=content) as answer:
                said = await anext(answer.aiter_bytes(HEARD), b"")
        except (TimeoutError, httpx.TimeoutException):
            return f"no answer within {self._deadline:g} s", 0
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            return f"no answer: {type(error).__name__}", 0
        if not answer.is_success:
            return f"it answered {answer.status_code}", answer.status_code
        if said.startswith(b"OK ("):  # "OK (not found)", "OK (rate-limited)": taken, and not noted
            return f"it answered {clean(said.decode(errors='replace'), 60)}", answer.status_code
        return "", answer.status_code

    def _count(self, problem: str, signal: Signal) -> None:
        """Counts, and logs a change."""
        if problem:
            self.failed += 1
        else:
            self.sent += 1
            if signal == Signal.WELL:
                self.last_sent_at = self._wall()
        if problem and not self.problem:
            log.warning("heartbeat_failed", says=f"the sign of life to HEARTBEAT_URL did not get through: {problem}")
        elif self.problem and not problem:
            log.info("heartbeat_again", says="the sign of life to HEARTBEAT_URL gets through again")
        self.problem = problem
