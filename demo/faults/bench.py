"""What the matrix is run on: the demo's stack, the servers that stand beside it, and how the daemon is told of them."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from config.services import Service, discover
from demo.contract import Contract
from demo.contracts.table import faults
from demo.daemon import RUN, Daemon
from demo.faults.front import Front
from demo.faults.matrix import OLD, Play
from demo.faults.names import SAYS as NAMED
from demo.faults.names import Names
from demo.litellm import LiteLlm
from demo.outages import Outage, find
from demo.postgres import Postgres
from demo.process import DemoError, Keeper
from demo.stack import Stack

INTERVAL, CONFIRM, TIMEOUT = 6.0, 2.5, 3.0
"""The daemon's pace in seconds, in place of 60, 10 and 10. CONFIRM is above the 2 s for which an answer is shared."""

THRESHOLDS: Mapping[tuple[str, str], str] = {
    ("langfuse-worker", "queues"): "warn = 255",
    ("langfuse-web", "trace"): "every = 60\nwarn = 20\nfail = 25",
}
"""What WATCH_FILE says of checks that would have to be waited for by the hour."""


SAYS: Mapping[str, str] = {
    "postgres-tls/expired": "its certificate ended a day ago",
    "litellm-real/stop": "it has ended",
}


class Bench:
    """The stack and what stands beside it, each under the name the watch gives it."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper
        self.stack = Stack(keeper, real_litellm=False)
        self.litellm = LiteLlm(keeper=keeper) if LiteLlm.installed() else None
        self.variables: dict[str, str] = {}
        self.names: Names | None = None
        self._nameless = ""
        self._behind = Postgres(seed=False, keeper=keeper)
        self._front: Front | None = None

    def start(self) -> "Bench":
        """Starts everything; raises DemoError for what does not start."""
        self.stack.start()
        beside = {"minio-standin": Contract("minio")}
        beside |= {name: Contract("litellm", version=version) for name, version in OLD.items()}
        for name, contract in beside.items():
            self.stack.parts[name] = self.stack.contracts[name] = contract.start()
        self._front = Front(self._behind.start().port).start()
        self.variables = {**self.stack.variables, **self._beside()}
        try:
            self.names = Names(self.keeper.folder).start()
            self.variables |= self.names.variables()
        except DemoError as problem:
            self._nameless = str(problem)
        if self.litellm:
            self.stack.parts["litellm-real"] = self.litellm.start()
            self.variables |= {f"{name}__REAL": value for name, value in self.litellm.environ().items()}
        return self

    def _beside(self) -> dict[str, str]:
        """The variables of what stands beside the stack."""
        assert self._front
        contracts, postgres = self.stack.contracts, urlsplit(self._behind.url("litellm"))
        place = f"{postgres.username}:{postgres.password}@127.0.0.1:{self._front.port}"
        variables = {
            "MINIO_ENDPOINT__STANDIN": urlsplit(contracts["minio-standin"].url).netloc,
            "DATABASE_URL__TLS": postgres._replace(netloc=place).geturl(),
        }
        for name in OLD:
            suffix = name.partition("-")[2].upper()
            variables |= {f"{key}__{suffix}": value for key, value in contracts[name].environ().items()}
        return variables

    def lacking(self, play: Play) -> str:
        """Why a play cannot be played on this machine; "" where it can."""
        if "litellm-real" in play.touches and not self.litellm:
            return "the real LiteLLM is not installed: make demo-litellm"
        return self._nameless if play.name in NAMED else ""

    def stop(self) -> None:
        """Ends what runs in this process; the rest ends with the keeper."""
        self.stack.stop()
        if self._front:
            self._front.stop()
        if self.names:
            self.names.stop()

    def outage(self, name: str) -> Outage:
        """The outage of a play; raises DemoError where there is none of that name."""
        head, _, fault = name.partition("/")
        part = self.stack.parts.get(head)
        if head in OLD or head == "minio-standin":
            assert isinstance(part, Contract)
            says = faults(part.kind)[fault]
            return Outage(name=name, says=says, begin=lambda _: part.break_with(fault), end=lambda _: part.mend())
        own = {"postgres-tls/expired": self._expired, "litellm-real/stop": self._stopped}
        named = self.names.outages() if self.names else {}
        return named.get(name) or (own[name]() if name in own else find(name))

    def _expired(self) -> Outage:
        front = self._front
        assert front
        return Outage(
            name="postgres-tls/expired",
            says=SAYS["postgres-tls/expired"],
            begin=lambda _: front.show(days=-1),
            end=lambda _: front.show(days=400),
        )

    def _stopped(self) -> Outage:
        return Outage(
            name="litellm-real/stop",
            says=SAYS["litellm-real/stop"],
            begin=lambda _: self._real.stop(),
            end=self._started,
        )

    @property
    def _real(self) -> LiteLlm:
        if not self.litellm:
            raise DemoError("the real LiteLLM is not installed; run: make demo-litellm")
        return self.litellm

    def _started(self, _: Stack) -> None:
        self._real.start()

    def watch_file(self, variables: Mapping[str, str]) -> Path:
        """WATCH_FILE for these variables, written anew."""
        services = discover(variables).services
        path = self.keeper.folder / "faults.toml"
        text = watch_text(services, no_database=["litellm-real"] if self.litellm else [])
        path.write_text(text + (self.names.checks(services) if self.names else ""), encoding="utf-8")
        return path

    @contextlib.contextmanager
    def daemon(self, variables: Mapping[str, str]) -> Iterator[Daemon]:
        """A real daemon in a hurry over the stack; it ends with the block."""
        pace = {"CHECK_INTERVAL": INTERVAL, "CONFIRM_INTERVAL": CONFIRM, "PROBE_TIMEOUT": TIMEOUT, "START_PERIOD": 0}
        given = {name: value for name, value in variables.items() if name != "WATCH_FILE"}
        given |= {name: f"{seconds:g}" for name, seconds in pace.items()}
        given |= {"BACKUP_SCHEDULE": "off", "WATCH_FILE": str(self.watch_file(variables))}
        daemon = Daemon(given, keeper=self.keeper, command=self.names.command() if self.names else RUN)
        try:
            daemon.start()
            yield daemon
        finally:
            daemon.close()


def watch_text(services: tuple[Service, ...], *, no_database: list[str]) -> str:
    """WATCH_FILE that has every check run at INTERVAL, with THRESHOLDS; some LiteLLM has no database."""
    lines = []
    for service in services:
        if service.name in no_database:
            lines.append(f"[services.{service.name}]\ndepends_on = []")
        for check in service.checks:
            own = THRESHOLDS.get((service.kind, check.name), "")
            if check.interval != INTERVAL or own:
                lines.append(f"[services.{service.name}.checks.{check.name}]\ninterval = {INTERVAL:g}\n{own}")
    return "\n".join(lines) + "\n"
