"""Reads variables: remembers what was read and what was wrong with it, and never stops at the first problem.

An empty variable counts as not set: Docker Compose and Railway hand on an empty text for what they do not know.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, overload

from config.secret import Secret

Kind = Literal["text", "secret", "number", "whole number", "yes or no", "word", "list", "path"]

YES = ("1", "true", "yes", "on")
NO = ("0", "false", "no", "off")

REFERENCE = re.compile(r"\$\{\{\s*([A-Za-z0-9_ -]{1,64}(?:\.[A-Z0-9_]{1,64})?)\s*\}\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something we were told that cannot be right: where it stands, what is wrong, what to do. Holds no value."""

    place: str
    message: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}; {self.remedy}"


class ConfigError(Exception):
    """What we were told cannot be used. Its text is one line for each problem."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """One variable that was asked for: what it means, its default, and what it holds, fit to be shown.

    `shown` is "" when it is not set, and "***" for a secret.
    """

    variable: str
    kind: Kind
    default: str
    says: str
    shown: str


class Env:
    """The environment, read one variable at a time.

    `problems`, `notes`, `reads` and `secrets` grow with each read. A value that cannot be used becomes a problem and
    its default is given back, so that all problems are found in one go; `check()` raises them.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.environ = environ
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.reads: dict[str, Read] = {}
        self.secrets: list[Secret] = []

    def check(self) -> None:
        """Raises ConfigError when anything read so far cannot be used."""
        if self.problems:
            raise ConfigError(tuple(self.problems))

    def problem(self, place: str, message: str, remedy: str) -> None:
        """Remembers one problem, once."""
        problem = Problem(place=place, message=message, remedy=remedy)
        if problem not in self.problems:
            self.problems.append(problem)

    def note(self, text: str) -> None:
        """Remembers one note, once."""
        if text not in self.notes:
            self.notes.append(text)

    def raw(self, name: str) -> str | None:
        """The value of `name` without the blanks and quotes around it; None when it is empty, not set or unusable."""
        value = self.environ.get(name, "").strip()
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "\"'":
            value = value[1:-1].strip()
            self.note(f"{name}: the quotes around the value were taken off; the platform does not need them")
        if "${{" in value:
            found = REFERENCE.search(value)
            what = f"the reference {found.group(0)}" if found else "a ${{…}} reference"
            self.problem(
                name,
                f"holds {what}, which the platform did not fill in",
                "check that service and variable are spelled as in the Railway project, or write the value itself",
            )
            return None
        if any(ord(character) < 32 or ord(character) == 127 for character in value):
            self.problem(name, "holds a line break or another control character", "write it on one line")
            return None
        return value or None

    @overload
    def text(self, name: str, *, default: str, says: str = "", kind: Kind = "text") -> str: ...
    @overload
    def text(self, name: str, *, default: None = None, says: str = "", kind: Kind = "text") -> str | None: ...
    def text(self, name: str, *, default: str | None = None, says: str = "", kind: Kind = "text") -> str | None:
        """The text of `name`, else the default."""
        value = self.raw(name)
        self._remember(name, kind, default, says, value)
        return default if value is None else value

    def secret(self, name: str, *, says: str = "") -> Secret | None:
        """The text of `name` as a Secret; None when it is not set."""
        value = self.raw(name)
        self._remember(name, "secret", None, says, None if value is None else "***")
        if value is None:
            return None
        secret = Secret(value)
        self.secrets.append(secret)
        return secret

    def number(self, name: str, *, default: float, least: float, most: float, says: str = "") -> float:
        """The number in `name`, from `least` to `most`, both included."""
        return self._numeric(name, "number", default, least, most, says)

    def whole(self, name: str, *, default: int, least: int, most: int, says: str = "") -> int:
        """The whole number in `name`, from `least` to `most`, both included."""
        return int(self._numeric(name, "whole number", default, least, most, says))

    def flag(self, name: str, *, default: bool, says: str = "") -> bool:
        """Whether `name` says yes: 1, true, yes, on; or no: 0, false, no, off."""
        value = self.raw(name)
        self._remember(name, "yes or no", "yes" if default else "no", says, value)
        if value is None:
            return default
        if value.lower() not in YES + NO:
            self.problem(name, "is neither yes nor no", "write true or false")
            return default
        return value.lower() in YES

    def choice(self, name: str, options: tuple[str, ...], *, default: str, says: str = "") -> str:
        """The one of `options` that `name` names, in lower case."""
        value = self.raw(name)
        self._remember(name, "word", default, says, value)
        if value is None:
            return default
        if value.lower() not in options:
            self.problem(name, "is not one of the words it may hold", f"write one of {', '.join(options)}")
            return default
        return value.lower()

    def names(self, name: str, *, says: str = "") -> tuple[str, ...]:
        """The names in a comma-separated list, in lower case, each once."""
        value = self.raw(name)
        self._remember(name, "list", None, says, value)
        parts = (part.strip().lower() for part in (value or "").split(","))
        return tuple(dict.fromkeys(part for part in parts if part))

    def is_set(self, name: str) -> bool:
        """Whether `name` holds anything but blanks."""
        return bool(self.environ.get(name, "").strip())

    def _remember(self, name: str, kind: Kind, default: object, says: str, value: str | None) -> None:
        shown_default = "" if default is None else plain(default) if isinstance(default, float) else str(default)
        self.reads[name] = Read(variable=name, kind=kind, default=shown_default, says=says, shown=value or "")

    def _numeric(
        self, name: str, kind: Literal["number", "whole number"], default: float, least: float, most: float, says: str
    ) -> float:
        value = self.raw(name)
        self._remember(name, kind, float(default), says, value)
        if value is None:
            return default
        remedy = f"write a {kind} from {plain(least)} to {plain(most)}, without a unit"
        try:
            number = float(int(value)) if kind == "whole number" else float(value)
        except ValueError:
            self.problem(name, f"is not a {kind}", remedy)
            return default
        if math.isnan(number) or not least <= number <= most:
            self.problem(name, f"is not between {plain(least)} and {plain(most)}", remedy)
            return default
        return number


def plain(number: float) -> str:
    """A number as people write it: 16777216, not 1.67772e+07."""
    return str(int(number)) if number == int(number) else str(number)
