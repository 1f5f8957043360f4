"""`python -m backup verify` and `restore`: reads what they need of the environment, and nothing else."""

import contextlib
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import typer

from backup.catalog import Catalog
from backup.errors import SettingsError
from backup.manifest import Artifact
from backup.part import Hands, MakePart, Order, Part
from backup.postgres.login import Login
from backup.progress import Bars, Expected, Progress
from backup.proof import Proof
from backup.restore import restore
from backup.seal import read_identities
from backup.selection import Selection
from backup.storage.base import Storage
from backup.storage.table import open_storage
from backup.verify import Task, verify
from config import logs
from config.backup_sources import ClickhouseSettings, PostgresSettings
from config.backup_store import SealSettings, StoreSettings
from config.env import ConfigError, Env
from config.secret import Secret

T = TypeVar("T")

LINE_EVERY = 5.0
VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")


def verify_command(storage: Storage, source: str, env: Env, *, point: str, every: bool, stop: threading.Event) -> int:
    """Verifies a point, or every one; gives 1 when anything is wrong. Raises BackupError."""
    catalog = Catalog(storage, source)
    points = catalog.points() if every else [catalog.load(point)]
    newer = [] if every or point != "latest" else [one for one in catalog.points() if one.id > points[0].id]
    identities = read_identities(needed(env, SealSettings.read, "BACKUP_AGE_IDENTITY"))
    clients = needed(env, PostgresSettings.read, "BACKUP_PG_BIN").clients
    bad = [f"DAMAGED {one.id}: {one.problem or 'no dump in it is whole'}" for one in newer]
    with talking() as listener:
        for one in points:
            if one.manifest is None:
                bad.append(f"DAMAGED {one.id}: {one.problem}")
                continue
            task = Task(storage=storage, listener=listener, identities=identities, stop=stop, clients=clients)
            proofs: Mapping[str, Proof] = verify(one, task)
            bad += [
                f"{'DAMAGED' if proof.judged else 'NOT JUDGED'} {one.id} {label}: {proof.error}"
                for label, proof in proofs.items()
                if proof.error
            ]
    for line in bad:
        typer.echo(line, err=True)
    if not points:
        typer.echo(f"no restore point of {source} at {storage.address}", err=True)
    return 1 if bad or not points else 0


def restore_command(
    env: Env,
    order: Order,
    *,
    source: str | None,
    to_postgres: str | None,
    to_clickhouse: str | None,
    yes: bool,
    stop: threading.Event,
    firm: threading.Lock,
) -> int:
    """Restores, or says what it would do, and gives the exit code. Raises BackupError, ConfigError."""
    store = StoreSettings.read(env)
    env.check()
    logs.mask(env.secrets)
    postgres, clients = _postgres(env, to_postgres) if order.only != "clickhouse" else (None, None)
    with contextlib.closing(open_storage(store, make=False)) as storage, talking() as listener:
        hands = Hands(
            catalog=Catalog(storage, source or store.source),
            environ=env.environ,
            listener=listener,
            say=listener.say,
            agree=lambda cuts: yes or _agrees(cuts),
            identities=read_identities(needed(env, SealSettings.read, "BACKUP_AGE_IDENTITY")),
            postgres=postgres,
            clickhouse=_clickhouse(env, to_clickhouse, store),
            clients=clients,
            stop=stop,
            firm=firm,
        )
        return restore(order, hands)


class Talk:
    """Tells a person: bars on a terminal, from the first progress on, so that questions come before; else lines."""

    def __init__(self) -> None:
        self._stack = contextlib.ExitStack()
        self._bars: Bars | None = None
        self._last = time.monotonic()

    def started(self, point: str, expected: Sequence[Expected]) -> None:
        """Nothing: what is going to happen was said before."""

    def progress(self, progress: Progress) -> None:
        """Moves a bar, or writes a line now and then."""
        if sys.stdout.isatty():
            if self._bars is None:
                from rich.console import Console

                self._bars = self._stack.enter_context(Bars(Console()))
            self._bars.progress(progress)
        elif time.monotonic() - self._last > LINE_EVERY:
            self._last = time.monotonic()
            share = 100 * progress.plain_bytes // progress.expected_bytes if progress.expected_bytes else 0
            typer.echo(f"{progress.engine} {progress.name}: {min(share, 99)} % {progress.table}")

    def ended(self, artifact: Artifact) -> None:
        """Nothing: the report tells."""

    def say(self, text: str) -> None:
        """A line below the bars, which have come to their end by then."""
        self.close()
        typer.echo(text)

    def note(self, text: str) -> None:
        """A line."""
        typer.echo(text)

    def close(self) -> None:
        """Ends the bars; the next progress makes new ones."""
        self._bars = None
        self._stack.close()


def talking() -> "contextlib.closing[Talk]":
    """A Talk that is closed at the end."""
    return contextlib.closing(Talk())


def needed(env: Env, section: Callable[[Env], T], *variables: str) -> T:
    """A section of the settings, of which only these variables matter here: what is wrong with others is not our
    business at 3 a.m. Raises ConfigError."""
    own = Env(env.environ)
    found = section(own)
    env.secrets.extend(own.secrets)
    logs.mask(own.secrets)
    problems = tuple(problem for problem in own.problems if problem.place in variables)
    if problems:
        raise ConfigError(problems)
    return found


def _postgres(env: Env, to: str | None) -> tuple[Login | None, Path | None]:
    """The server to restore to, and the folder of programs to use first."""
    if to is not None:
        clients = needed(env, PostgresSettings.read, "BACKUP_PG_BIN").clients
        url, variable = _address(env, to, "--to-postgres")
        return Login.read(url, variable), clients
    found = needed(env, PostgresSettings.read, "BACKUP_PG_BIN", "BACKUP_DATABASE_URL", "DATABASE_URL")
    if found.url is None:
        return None, found.clients
    return Login.read(found.url, found.url_variable), found.clients


def _clickhouse(env: Env, to: str | None, store: StoreSettings) -> MakePart:
    """What makes ClickHouse's part; its settings and its client are looked at only when a point holds ClickHouse."""

    def make(selection: Selection, wanted: Mapping[str, str | None] | None, order: Order, hands: Hands) -> Part | None:
        own = Env(_environ(env, to))
        settings = ClickhouseSettings.read(own)
        own.check()
        env.secrets.extend(own.secrets)
        if not settings.url:
            return None
        from backup.clickhouse.client import Server
        from backup.clickhouse.part import ClickhousePart
        from backup.clickhouse.place import Place

        mask = logs.Mask()
        mask.add(env.secrets)
        place = Place.of(store, settings)
        return ClickhousePart(Server(settings, mask), place, selection, wanted, order, hands)

    return make


def _environ(env: Env, to: str | None) -> dict[str, str]:
    """The environment with the ClickHouse of --to-clickhouse in it; user and password of the address go first."""
    environ = dict(env.environ)
    if to is not None:
        url = _address(env, to, "--to-clickhouse")[0].reveal()
        environ["CLICKHOUSE_URL"] = url
        if "@" in url:
            environ.pop("CLICKHOUSE_USER", None)
            environ.pop("CLICKHOUSE_PASSWORD", None)
    return environ


def _address(env: Env, given: str, option: str) -> tuple[Secret, str]:
    """An address, given as such or as the name of the variable it is in, which keeps it out of the process list."""
    if not VARIABLE.fullmatch(given):
        secret = Secret(given)
        env.secrets.append(secret)
        return secret, option
    found = env.secret(given)
    if found is None:
        raise SettingsError(f"{option} names the variable {given}, which is not set", f"export {given}=…")
    logs.mask([found])
    return found, given


def _agrees(cuts: str) -> bool:
    """Asks the person, where one is there."""
    if not sys.stdin.isatty():
        typer.echo(f"this would {cuts}; say so with --yes", err=True)
        return False
    with contextlib.suppress(EOFError):
        return input(f"This will {cuts}. Type yes to go on: ").strip() == "yes"
    return False
