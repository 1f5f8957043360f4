"""The daemon as the demo runs it: a child with the variables a user would set, its words, and what it has seen."""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from demo.ports import free_port
from demo.process import Command, Keeper, clean_environ
from demo.server import Server

RUN = (sys.executable, "-m", "monitor", "run")
CHECK = (sys.executable, "-m", "monitor", "check")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A service that changed its state, `at` seconds of the monotonic clock."""

    at: float
    name: str
    before: str
    after: str
    cause: str | None


def daemon_variables(stack: Mapping[str, str], *, interval: float) -> dict[str, str]:
    """The stack's variables and, for a pace other than the daemon's own 60 seconds, those that set it."""
    if interval == 60:
        return dict(stack)
    pace = {"CHECK_INTERVAL": interval, "CONFIRM_INTERVAL": interval / 5, "PAGE_AFTER": interval * 2}
    return {**stack, **{name: f"{seconds:g}" for name, seconds in pace.items()}}


class Daemon(Server):
    """`python -m monitor run` on a free port, with its state in a folder of its own.

    `variables` are what a user would set; nothing else of our environment reaches it but path, locale and home.
    """

    name = "daemon"
    stop_timeout = 10.0

    def __init__(
        self,
        variables: Mapping[str, str],
        *,
        command: Sequence[str] = RUN,
        port: int | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        super().__init__(keeper=keeper)
        self.port = port or free_port()
        self._variables = dict(variables)
        self._command = tuple(command)
        self._read = 0

    def command(self) -> Command:
        """The command with the variables, PORT and STATE_DIR. Nobody on the internet is asked unless that is set."""
        variables = {"ANCHORS": "off", **self._variables, **self.environ()}
        return Command(argv=self._command, environ=clean_environ(**variables))

    def environ(self) -> dict[str, str]:
        """PORT and STATE_DIR."""
        return {"PORT": str(self.port), "STATE_DIR": str(self.folder / "state")}

    def prepare(self) -> None:
        """Makes the folder for its state."""
        (self.folder / "state").mkdir()

    def ready(self) -> bool:
        """Whether /healthz is 200."""
        try:
            return httpx.get(f"{self.url}/healthz", timeout=2, trust_env=False).status_code == 200
        except httpx.TransportError as error:
            raise OSError(str(error)) from error

    @property
    def url(self) -> str:
        """Where its pages are, without a slash at the end."""
        return f"http://{self.host}:{self.port}"

    def said(self) -> list[str]:
        """What it said to people since the last call: the flips and warnings of its log, and plain lines."""
        if not self.log.exists():
            return []
        with self.log.open("rb") as log:
            log.seek(self._read)
            data = log.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        lines = (_for_people(line) for line in whole.decode(errors="replace").splitlines())
        return [line for line in lines if line]

    def services(self) -> dict[str, dict[str, Any]]:
        """Every service by name as /api/v1/status has it; none while it does not answer."""
        try:
            answer = httpx.get(f"{self.url}/api/v1/status", timeout=2, trust_env=False)
        except httpx.TransportError:
            return {}
        return {service["name"]: service for service in answer.json()["services"]} if answer.is_success else {}


class Recorder:
    """What became of every service, from one look at the status to the next."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.states: dict[str, str] = {}

    def look(self, services: Mapping[str, Mapping[str, Any]], *, now: float) -> None:
        """Takes in the status as it is `now`. A first sight is no change. The backups are judged by days, not here."""
        for name, service in services.items():
            if name == "backups":
                continue
            before, after = self.states.get(name), str(service["state"])
            if before is not None and before != after:
                self.changes.append(Change(at=now, name=name, before=before, after=after, cause=service["cause"]))
            self.states[name] = after

    @property
    def all_up(self) -> bool:
        """Whether every service is up."""
        return bool(self.states) and all(state == "up" for state in self.states.values())


def _for_people(line: str) -> str | None:
    """A line of the daemon's output as it is shown: of its JSON log only what it says in words, and what is wrong."""
    try:
        entry = json.loads(line)
    except ValueError:
        return line
    if not isinstance(entry, dict):
        return line
    if "says" in entry:
        return str(entry["says"])
    if entry.get("level") in ("warning", "error", "critical"):
        facts = [f"{name}={value}" for name, value in entry.items() if name not in ("level", "event", "timestamp")]
        return f"{entry['level']}: {entry.get('event')} {' '.join(facts)}".rstrip()
    return None
