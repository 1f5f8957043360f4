"""What the fault matrix is made of: rows of faults, the plays that produce each, and what must be told of a play."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from demo.expectations import Expected, expected
from demo.mistakes import MISTAKES, Mistake

QUICK, SLOW, TRACE, WEDGED = 40.0, 75.0, 120.0, 320.0
"""Seconds within which a play is told: three looks; what takes longer; a trace a minute; four minutes of no job."""

OLD = {"litellm-old": "1.80.8", "litellm-spring": "1.83.0", "litellm-bare": "1.83.10"}
"""LiteLLM's stand-in as three versions that say in three ways how their database is; the stack's is the newest."""

SERVERS = {
    "postgres": "real PostgreSQL",
    "postgres-tls": "real PostgreSQL",
    "redis": "real Valkey",
    "clickhouse": "real ClickHouse engine",
    "minio": "real SeaweedFS",
    "litellm-real": "real LiteLLM",
    **{name: f"contract server of {version}" for name, version in OLD.items()},
    "names": "the daemon's own names",
    "chat-client": "the daemon's own names",
    "chat-lost": "the daemon's own names",
}
"""What a play breaks, where that is no contract server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Play:
    """One way to produce a fault: an outage by its name in demo/outages.py or demo/faults/bench.py, or a mistake.

    `wanted` is what the daemon says of it in the end, where that is more than the first look shows; `uses` are services
    it touches beside those that are told; `on` is what is broken, where its name does not say so. What
    `lingers` is told for minutes after it is over: such plays come last. `own` is a mistake
    of the matrix' own.
    """

    name: str
    wanted: Expected | None = None
    uses: frozenset[str] = frozenset()
    on: str = ""
    within: float = QUICK
    lingers: bool = False
    own: Mistake | None = None

    @property
    def mistake(self) -> Mistake | None:
        """The wrong variable it is, if it is one; the daemon must be started with it."""
        return self.own or next((one for one in MISTAKES if one.name == self.name), None)

    @property
    def head(self) -> str:
        """The server that is broken."""
        return self.name.partition("/")[0]

    @property
    def expected(self) -> Expected:
        """What must be told of it."""
        if self.wanted:
            return self.wanted
        return self.mistake.expected if self.mistake else expected(self.name)

    @property
    def touches(self) -> frozenset[str]:
        """The services that two plays of one round must not share."""
        return frozenset({self.head, *self.expected.not_up, *self.uses} if not self.mistake else self.expected.not_up)

    @property
    def server(self) -> str:
        """What is broken, for people."""
        if self.mistake:
            return self.on or "the watch's own variables"
        return self.on or SERVERS.get(self.head, "contract server")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault: its number in the facts, what fails, how it is produced, and how it is told from its neighbours."""

    number: int
    failure: str
    plays: tuple[Play, ...]
    apart: str


def rounds(plays: Iterable[Play]) -> Sequence[Sequence[Play]]:
    """The plays in rounds of which no two touch the same service, so that each service is told for one reason only.

    Slow ones come together: a round takes as long as its slowest.
    """
    made: list[list[Play]] = []
    for play in sorted(plays, key=lambda play: (play.mistake is not None, play.lingers, -play.within)):
        for one in made:
            alike = (one[0].mistake is None, one[0].lingers) == (play.mistake is None, play.lingers)
            if alike and not any(play.touches & other.touches for other in one) and _variables_differ(play, one):
                one.append(play)
                break
        else:
            made.append([play])
    return made


def _variables_differ(play: Play, others: Iterable[Play]) -> bool:
    """Whether no other one sets the same variable."""
    return not play.mistake or all(other.mistake.variable != play.mistake.variable for other in others if other.mistake)


def play(name: str, **facts: Any) -> Play:
    """A play by its name; `facts` are the other fields of Play."""
    return Play(name=name, **facts)


def queue(fault: str, **facts: Any) -> Play:
    """A fault of the worker's queues, which live in Redis."""
    where = "real Valkey, Langfuse's queues in it"
    return play(f"langfuse-worker/{fault}", uses=frozenset({"redis"}), on=where, **facts)
