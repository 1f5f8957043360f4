"""One process that hosts every contract server of a stack, as one more server of the demo."""

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from demo.contracts.server import Plan
from demo.ports import free_port
from demo.process import Command, DemoError, Keeper, clean_environ
from demo.server import Server

REPOSITORY = Path(__file__).parents[2]


class ContractProcess(Server):
    """The contract servers of `plans`, told what to do over their control port (`port`).

    `stop`, `pause` and `kill` act on the whole process; `tell` acts on one server of it.
    """

    name = "contracts"

    def __init__(self, plans: Sequence[Plan], *, keeper: Keeper | None = None) -> None:
        super().__init__(keeper=keeper)
        self.port = free_port()
        self._plans = plans

    def prepare(self) -> None:
        plans = self.folder / "plans.json"
        plans.touch(mode=0o600)  # it holds the passwords of what they need
        plans.write_text(json.dumps([asdict(plan) for plan in self._plans]))

    def command(self) -> Command:
        arguments = ("--plans", str(self.folder / "plans.json"), "--control", str(self.port))
        environ = clean_environ(PYTHONPATH=str(REPOSITORY))
        return Command(argv=(sys.executable, "-m", "demo.contract", *arguments), environ=environ)

    def ready(self) -> bool:
        return bool(self.report())

    def environ(self) -> dict[str, str]:
        variables: dict[str, str] = {}
        for report in self.report().values():
            variables |= report["environ"]
        return variables

    def report(self) -> dict[str, Any]:
        """Of each server by kind: url, version, environ, fault, seen, counts, faults."""
        return self._ask("GET", "/")

    def tell(self, kind: str, verb: str, **details: object) -> dict[str, Any]:
        """Tell the server of `kind` one of fault (with name=…, seconds=…), mend, pause, resume, stop, start.

        Gives its report back. Raises DemoError with the server's own words when it cannot.
        """
        return self._ask("POST", f"/{kind}/{verb}", details)

    def break_with(self, kind: str, fault: str, *, seconds: float | None = None) -> None:
        """Break the server of `kind` in one way, in place of any other."""
        self.tell(kind, "fault", name=fault, seconds=seconds)

    def mend(self, kind: str) -> None:
        """Make the server of `kind` whole again."""
        self.tell(kind, "mend")

    def _ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        data = json.dumps(body).encode() if method == "POST" else None
        request = urllib.request.Request(f"http://{self.host}:{self.port}{path}", data, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy has no business on loopback
        try:
            with opener.open(request, timeout=10) as answer:
                said: dict[str, Any] = json.load(answer)
        except urllib.error.HTTPError as problem:
            with problem:
                raise DemoError(f"contract servers: {json.load(problem)['error']}") from problem
        return said
