"""WATCH_FILE: the TOML file with services of the user's own and changes to the presets'.

Read here: its shape, its variables, and the line a key stands on. config.service_tables knows what a service may hold.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from config.env import Env
from config.expansion import expand
from config.secret import Secret
from config.service_tables import DefaultsTable
from config.tables import Place, build, suggest

NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
HEADER = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?")
KEY = re.compile(r"\s*([A-Za-z0-9_.\"'\s-]+?)\s*=")
LARGEST = 1_048_576


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchFile:
    """What the file says. `services` holds each service's table with its variables filled in."""

    path: str = "WATCH_FILE"
    text: str = ""
    defaults: DefaultsTable = field(default_factory=DefaultsTable)
    services: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def where(self, place: Place) -> str:
        """The file, the line where it can be told, and the dotted path of a key."""
        line = line_of(self.text, place)
        return f"{self.path}{f':{line}' if line else ''}: {'.'.join(place)}"


def read_watch_file(path: Path, env: Env) -> WatchFile:
    """The file at `path`; what is wrong with it becomes problems of `env`."""
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST + 1)
        text = raw.decode("utf-8")
    except OSError as error:
        env.problem("WATCH_FILE", f"{path} cannot be read ({error.strerror})", "check the path and the mount")
        return WatchFile()
    except UnicodeDecodeError:
        env.problem("WATCH_FILE", f"{path} is not UTF-8 text", "save it as UTF-8")
        return WatchFile()
    if len(raw) > LARGEST:
        env.problem("WATCH_FILE", f"{path} is larger than 1 MB", "check that it is the right file")
        return WatchFile()
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        env.problem(str(path), f"is not TOML: {_syntax(error)}", "quote texts, and write each key once")
        return WatchFile()
    return _understand(WatchFile(path=str(path), text=text), document, env)


def _syntax(error: tomllib.TOMLDecodeError) -> str:
    """What the parser says, without what it quotes."""
    text = str(error)
    where = re.search(r"\((at [^()]*)\)\s*$", text)
    what = re.sub(r"['\"].*['\"]|\(.*", "…", text).strip()
    return f"{what[:80]} {where.group(1)}" if where else what[:80]


def _understand(file: WatchFile, document: Mapping[str, object], env: Env) -> WatchFile:
    def report(place: Place, message: str, remedy: str) -> None:
        env.problem(file.where(place), message, remedy)

    for key in document:
        if key not in ("defaults", "services"):
            report((key,), "is not a known table", suggest(key, ("defaults", "services")))
    defaults = document.get("defaults", {})
    services = document.get("services", {})
    if not isinstance(defaults, dict):
        report(("defaults",), "is not a table", "write [defaults]")
        defaults = {}
    if not isinstance(services, dict):
        report(("services",), "is not a table", "write [services.NAME]")
        services = {}
    found: dict[str, Mapping[str, object]] = {}
    for name, table in services.items():
        place = ("services", name)
        if not NAME.fullmatch(name):
            report(place, "is not a name a service can have", "use a to z, 0 to 9 and - (at most 64)")
        elif not isinstance(table, dict):
            report(place, "is not a table", f"write [services.{name}]")
        else:
            found[name] = _filled(table, place, file, env)
    filled = _filled(defaults, ("defaults",), file, env)
    made = build(DefaultsTable, filled, ("defaults",), report) or DefaultsTable()
    return WatchFile(path=file.path, text=file.text, defaults=made, services=found)


def _filled(table: dict[str, object], place: Place, file: WatchFile, env: Env) -> Mapping[str, object]:
    """The table with `${VARIABLE}` replaced by the environment's value, as a Secret."""

    def refuse_query(here: Place) -> None:
        what = "has a variable in what follows the ?, and addresses are shown"
        env.problem(file.where(here), what, "send a secret in headers instead, and write the rest out")

    def at(here: Place, value: object) -> object:
        def look_up(name: str) -> object:
            before = len(env.problems)
            value = env.raw(name)
            if value is None and len(env.problems) == before:
                env.problem(file.where(here), f"needs the variable {name}, which is not set", f"set {name}")
            if value and "?" in value and here[-1] == "url":
                refuse_query(here)
            return Secret(value or "unset")

        if isinstance(value, dict):
            return {key: at((*here, key), item) for key, item in value.items()}
        if isinstance(value, list):
            return [at(here, item) for item in value]
        if isinstance(value, str) and "${{" in value:
            env.problem(
                file.where(here),
                "holds a ${{…}} reference, which Railway fills in for variables only, not in files",
                "give it to the service as a variable and write ${VARIABLE} here",
            )
            return "unset"
        if isinstance(value, str) and here[-1] == "url" and "${" in value.partition("?")[2]:
            refuse_query(here)
        return expand(value, look_up)

    return {key: at((*place, key), item) for key, item in table.items()}


def line_of(text: str, place: Place) -> int | None:
    """The line on which the key at `place` is written, else that of its innermost table; None when neither is found.

    A plain search for `[a.b]` and `key =`: keys within inline tables are found by the line of the table.
    """
    lines = _lines(text)
    return next((lines[place[:depth]] for depth in range(len(place), 0, -1) if place[:depth] in lines), None)


@lru_cache(maxsize=1)
def _lines(text: str) -> Mapping[Place, int]:
    """The first line on which each key and each table, or something within it, is written."""
    found: dict[Place, int] = {}
    table: Place = ()
    for number, line in enumerate(text.splitlines(), start=1):
        header = HEADER.fullmatch(line)
        key = None if header else KEY.match(line)
        if header:
            table = _dotted(header.group(1))
        here = (*table, *_dotted(key.group(1))) if key else table if header else ()
        for depth in range(1, len(here) + 1):
            found.setdefault(here[:depth], number)
    return found


def _dotted(text: str) -> Place:
    return tuple(part.strip().strip("\"'") for part in text.split("."))
