"""Everybody whom alerts go to, on one loopback port: Slack, Discord, PagerDuty, a plain webhook, a heartbeat service.

It keeps what they keep (messages, open incidents), notes each request with its time, and misbehaves when told to.
As a library:

    with Provider() as provider:
        provider.behave("hang", only="slack")
        ... provider.environ() has the variables ...
        provider.wait(1, place="discord")

As a process: `python -m demo.provider --port 0`, which prints one JSON line when it listens. Then, over HTTP:
GET /-/received, GET /-/memory, POST /-/behave {"name": "hang", "seconds": 5, "only": "slack"},
POST /-/script {"names": ["server_error", "ok"], "only": "slack"}, POST /-/clear.
"""

import argparse
import asyncio
import json
import signal
import threading
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import TracebackType
from typing import Any, Self

from demo.contract import LoopThread
from demo.contracts.base import Answer, Request, World, as_json
from demo.contracts.http1 import BAD_REQUEST, BadRequestError, read_request, render
from demo.contracts.listener import Listener, reset
from demo.contracts.needs import Needs
from demo.contracts.wire import WIRE_FAULTS, Link
from demo.provider_faults import BEHAVIOURS
from demo.providers import ANSWERS, Memory, place_of

ROUTING_KEY = "c0ffee00c0ffee00c0ffee00c0ffee00"
SLACK_TOKEN = "canarySlackToken4f1d9b7e"
DISCORD_TOKEN = "canary-discord_token-83b1f0aa6c"
HOOK_TOKEN = "canaryhook7d20"


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request as it came. `at` is epoch seconds, `clock` the monotonic clock, `answer` how it was met."""

    at: float
    clock: float
    place: str
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    answer: str

    @property
    def json(self) -> Any:
        """Its body as JSON. Raises ValueError."""
        return json.loads(self.body)


class Provider:
    """The providers, in this process. `host` is 127.0.0.1, ::1 or localhost for both; port 0 takes a free one."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, loop: LoopThread | None = None) -> None:
        self.memory = Memory()
        self._received: list[Received] = []
        self._news = threading.Condition()
        self._own_loop = loop is None
        self._loop = loop or LoopThread()
        self.listener = Listener(host, port, self._serve)
        self._world = World(Needs())
        # A place, or "" for all → what is done from now on, and what is done first, once each.
        self._standing: dict[str, tuple[str, float | None, Answer | None]] = {}
        self._scripts: defaultdict[str, deque[str]] = defaultdict(deque)

    @property
    def url(self) -> str:
        """Its address, without a slash at the end."""
        host = "[::1]" if self.listener.host == "::1" else self.listener.host
        return f"http://{host}:{self.listener.port}"

    @property
    def slack_url(self) -> str:
        """An incoming webhook of Slack's shape."""
        return f"{self.url}/services/T0DEMO000/B0DEMO000/{SLACK_TOKEN}"

    @property
    def discord_url(self) -> str:
        """A webhook of Discord's shape."""
        return f"{self.url}/api/webhooks/123456789012345678/{DISCORD_TOKEN}"

    @property
    def pagerduty_url(self) -> str:
        """PagerDuty's Events v2 endpoint; ROUTING_KEY goes with it."""
        return f"{self.url}/v2/enqueue"

    @property
    def webhook_url(self) -> str:
        """A plain webhook."""
        return f"{self.url}/hook/{HOOK_TOKEN}"

    @property
    def heartbeat_url(self) -> str:
        """A check of healthchecks.io's shape."""
        return f"{self.url}/ping/3f0a5c1e-0000-4000-8000-000000000001"

    def environ(self, *places: str) -> dict[str, str]:
        """The variables that send alerts here: of slack, discord, pagerduty, webhook and heartbeat, or of `places`."""
        variables = {
            "slack": {"SLACK_WEBHOOK_URL": self.slack_url},
            "discord": {"DISCORD_WEBHOOK_URL": self.discord_url},
            "pagerduty": {"PAGERDUTY_ROUTING_KEY": ROUTING_KEY, "PAGERDUTY_EVENTS_URL": self.pagerduty_url},
            "webhook": {"ALERT_WEBHOOK_URL": self.webhook_url},
            "heartbeat": {"HEARTBEAT_URL": self.heartbeat_url},
        }
        return {name: value for place in places or variables for name, value in variables[place].items()}

    @property
    def received(self) -> list[Received]:
        """Every request read so far, in order."""
        return list(self._received)

    def of(self, place: str) -> list[Received]:
        """The requests to one place."""
        return [one for one in self._received if one.place == place]

    def behave(self, name: str, *, seconds: float | None = None, only: str = "") -> None:
        """From now on meet requests like this (to `only` one place). Raises KeyError for a name not in BEHAVIOURS."""
        assert name in BEHAVIOURS, f"there is no behaviour {name!r}; there are {', '.join(BEHAVIOURS)}"
        if not only:
            self._standing.clear()
        self._standing[only] = (name, seconds, None)

    def answer(self, answer: Answer, *, only: str = "") -> None:
        """From now on give exactly this answer, and take nothing."""
        self._standing[only] = ("given", None, answer)

    def script(self, *names: str, only: str = "") -> None:
        """The next requests are met like this, one name each; after them as `behave` says."""
        assert all(name in BEHAVIOURS for name in names), f"names are {', '.join(BEHAVIOURS)}"
        self._scripts[only].extend(names)

    def wait(self, count: int, *, place: str = "", timeout: float = 10.0) -> list[Received]:
        """Waits until `count` requests came (to `place`), and gives them. Raises TimeoutError after `timeout` s."""

        def got() -> list[Received]:
            return self.of(place) if place else self.received

        with self._news:
            if not self._news.wait_for(lambda: len(got()) >= count, timeout):
                raise TimeoutError(f"{len(got())} of {count} requests came to {place or 'the provider'}")
        return got()

    def clear(self) -> None:
        """Forgets what came and how to behave; open incidents and messages as well."""
        self._received.clear()
        self._standing.clear()
        self._scripts.clear()
        self.memory = Memory()

    def start(self) -> Self:
        """Take the port and answer; after `stop` the same port. Raises OSError when the port is taken."""
        self._loop.call(self.listener.open())
        return self

    def refuse(self) -> None:
        """Refuse connections from now on, as a dead process's port does; `start` ends it."""
        self._loop.call(self.listener.refuse())

    def stop(self) -> None:
        """Let go of port, connections and (its own) thread."""
        self._loop.call(self.listener.close())
        if self._own_loop:
            self._loop.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not writer.is_closing() and await self._exchange(Link(reader, writer, 0.0)):
            pass

    async def _exchange(self, link: Link) -> bool:
        """Read one request and answer it; False when that was the connection's last."""
        if self._resets():
            greets = WIRE_FAULTS["reset"].greets
            assert greets is not None  # that fault takes over at the connection
            await greets(link)
            return False
        try:
            request = await read_request(link.reader, self._world)
        except BadRequestError:
            await link.send(render(BAD_REQUEST, server="", extra={"connection": "close"}))
            return False
        if request is None:
            return False
        if request.path.startswith("/-/"):
            await link.send(render(self._control(request), server="", extra={"connection": "close"}))
            return False
        stays = await self._respond(link, request)
        return stays and request.headers.get("connection", "").lower() != "close"

    async def _respond(self, link: Link, request: Request) -> bool:
        """Meet `request`; False when the connection is not to be used again."""
        name, answer, wire, seconds = self._meet(request)
        data = render(answer, server="", body=request.method != "HEAD")
        self._note(request, name)
        if wire == "reset":
            reset(link.writer)
        elif wire:
            sends = WIRE_FAULTS[wire].sends
            await (sends(replace(link, seconds=seconds), data) if sends else link.until_left())
        else:
            await link.send(data)
        return wire in ("", "slow")

    def _resets(self) -> bool:
        """Whether this connection is to be reset whatever comes over it."""
        script = self._scripts[""]
        if script and script[0] == "reset":
            script.popleft()
            return True
        return not script and self._standing.get("", ("",))[0] == "reset"

    def _meet(self, request: Request) -> tuple[str, Answer, str, float]:
        """How this request is met: the behaviour's name, the answer, the wire fault and its seconds."""
        place = place_of(request.path)
        script = self._scripts[place] or self._scripts[""]
        standing = self._standing.get(place) or self._standing.get("") or ("ok", None, None)
        name, given_seconds, given = (script.popleft(), None, None) if script else standing
        if given is not None:
            return name, given, "", 0.0
        behaviour = BEHAVIOURS[name]
        seconds = behaviour.seconds if given_seconds is None else given_seconds
        if behaviour.instead is not None:
            return name, behaviour.instead(place, seconds), "", seconds
        answer = ANSWERS[place](request, self.memory) if behaviour.acts else Answer()
        return name, answer, behaviour.wire, seconds

    def _note(self, request: Request, name: str) -> None:
        facts = {"method": request.method, "path": request.path, "query": request.query, "headers": request.headers}
        one = Received(
            at=time.time(),
            clock=time.monotonic(),
            place=place_of(request.path),
            body=request.body,
            answer=name,
            **facts,  # type: ignore[arg-type]  # each is what its field says
        )
        with self._news:
            self._received.append(one)
            self._news.notify_all()

    def _control(self, request: Request) -> Answer:
        asked = json.loads(request.body) if request.body else {}
        try:
            match request.path.removeprefix("/-/"):
                case "received":
                    return as_json(
                        [{**asdict(one), "body": one.body.decode("utf-8", "replace")} for one in self._received]
                    )
                case "memory":
                    return as_json(asdict(self.memory))
                case "behave":
                    self.behave(asked["name"], seconds=asked.get("seconds"), only=asked.get("only", ""))
                case "script":
                    self.script(*asked["names"], only=asked.get("only", ""))
                case "clear":
                    self.clear()
                case _:
                    return as_json({"error": "received, memory, behave, script or clear"}, 404)
        except (AssertionError, KeyError, TypeError) as problem:
            return as_json({"error": f"{type(problem).__name__}: {problem}"}, 400)
        return as_json({"done": True})


async def host(address: str, port: int) -> None:
    """Be the providers until SIGTERM or SIGINT. Prints one JSON line once it listens."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    provider = Provider(host=address, port=port)
    await provider.listener.open()
    try:
        print(json.dumps({"ready": provider.url, "environ": provider.environ()}), flush=True)
        await ended.wait()
    finally:
        await provider.listener.close()


def main(words: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m demo.provider", description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--host", default="127.0.0.1", help="127.0.0.1, ::1 or localhost for both")
    chosen = parser.parse_args(words)
    asyncio.run(host(chosen.host, chosen.port))


if __name__ == "__main__":
    main()
