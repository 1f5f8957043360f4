"""What every contract is made of: a request, an answer, and a service whose state is a frozen value.

A fault of a service is a change of its state, nothing else: `dataclasses.replace(service, **fault.changes)`.
"""

import json
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from demo.contracts.needs import Needs


class World:
    """What stays with one server whatever state its service is in: what it needs, and what it was asked."""

    def __init__(self, needs: Needs) -> None:
        self.needs = needs
        self.seen: Counter[str] = Counter()  # "GET /health" -> times
        self.since_fault = 0  # requests read since the last change of fault
        self.counts: Counter[str] = Counter()  # what a service counts itself, such as paid calls
        self.kept: dict[str, float] = {}  # what a service was given to keep, and when on the loop's clock
        self.objects: dict[str, bytes] = {}  # what an object store was given to keep, by its path


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One HTTP request. Header names are in lower case; of a repeated query parameter the last stands."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    world: World

    def flag(self, name: str) -> bool:
        """Whether the query says `name=true`."""
        return self.query.get(name) == "true"

    def bearer(self) -> str | None:
        """The token of `Authorization: Bearer …`, None without one."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token if scheme.lower() == "bearer" and token else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One HTTP answer, before it is put on the wire."""

    status: int = 200
    body: bytes = b""
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


def as_json(value: object, status: int = 200, **headers: str) -> Answer:
    """An answer of `value` as JSON; keyword names become header names with dashes."""
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Answer(status=status, body=json.dumps(value).encode(), content_type="application/json", headers=named)


def as_text(text: str, status: int = 200) -> Answer:
    """An answer of plain text."""
    return Answer(status=status, body=text.encode(), content_type="text/plain; charset=utf-8")


def as_html(title: str, status: int = 200) -> Answer:
    """The index page of a single-page application."""
    page = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<script type="module" src="/assets/index.js"></script></head><body><div id="root"></div></body></html>\n'
    )
    return Answer(status=status, body=page.encode(), content_type="text/html; charset=utf-8")


NOT_FOUND = as_json({"detail": "Not Found"}, 404)  # what FastAPI says

Handler = Callable[[Request], Awaitable[Answer]]


def always(answer: Answer) -> Handler:
    """A handler that gives the same answer to every request."""

    async def handle(_: Request) -> Answer:
        return answer

    return handle


def reached(version: str, mark: str) -> bool:
    """Whether dotted `version` is `mark` or later."""
    return [int(part) for part in version.split(".")] >= [int(part) for part in mark.split(".")]


@dataclass(frozen=True, slots=True)
class Fault:
    """One way a service breaks: what a person reads about it, and what changes in the service's state."""

    says: str
    changes: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Service:
    """One service in one state. A subclass adds fields for what can differ, and the answers.

    VERSIONS says for each version that answers differently what is different, newest last.
    """

    VERSIONS: ClassVar[Mapping[str, str]]
    FAULTS: ClassVar[Mapping[str, Fault]]
    VARIABLE: ClassVar[str]  # the variable that holds its address
    SERVER: ClassVar[str] = "uvicorn"  # the Server header; "" sends none

    version: str

    def routes(self) -> Mapping[str, Handler]:
        """The exact paths it knows, in the state it is in."""
        raise NotImplementedError

    async def missing(self, request: Request) -> Answer:  # noqa: ARG002 -- subclasses look at the path
        """The answer to a path it does not know."""
        return NOT_FOUND

    async def answer(self, request: Request) -> Answer:
        """The answer of this service, in this state, to `request`."""
        return await self.routes().get(request.path, self.missing)(request)

    def environ(self, url: str) -> dict[str, str]:
        """The variables that make the monitor watch it at `url`."""
        return {self.VARIABLE: url}
