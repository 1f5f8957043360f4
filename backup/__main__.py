"""The command line: run, list, show, verify, restore, prune, keygen. Each command reads only the settings it needs.

Exit codes: 0 done; 1 something failed; 2 what we were told cannot be used; 3 another run holds the lock; 130 stopped.
"""

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Annotated, Any, NoReturn, TypeVar

import structlog
import typer

from backup.errors import BackupError, SettingsError, StoppedError, StoreMissingError
from config import logs
from config.backup_settings import RetentionSettings
from config.backup_store import StoreSettings
from config.env import ConfigError, Env

T = TypeVar("T")

# Seconds between being told to stop and the end, whatever the store and the servers do.
STOP_WITHIN = 2.8

app = typer.Typer(
    name="watchkeeper-backup",
    help="Restore points of PostgreSQL and ClickHouse in a bucket or a folder.",
    add_completion=False,
    no_args_is_help=True,
    epilog="Exit codes: 0 done; 1 something failed; 2 what we were told cannot be used; 3 another run holds the lock; "
    "130 stopped. Restoring at 3 a.m.: docs/guides/restore.md, and the RECOVERY.md beside each restore point.",
    pretty_exceptions_enable=False,
)
log = structlog.get_logger()
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of text.")]
OfSource = Annotated[str | None, typer.Option("--source", help="Whose restore points, if not our own.")]


@app.command()
def run(
    only: Annotated[str | None, typer.Option(help="postgres or clickhouse alone.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines even on a terminal.")] = False,
) -> None:
    """Take one restore point."""
    with told() as env:
        stop = stop_signal()
        from backup.command_run import run_command

        raise typer.Exit(run_command(env, only=only, as_json=as_json, stop=stop))


@app.command("list")
def list_points(as_json: AsJson = False, source: OfSource = None) -> None:
    """List the restore points: age, size, what is in them, what is proven, what retention will do with them."""
    with told(as_json=as_json) as env:
        from backup.command_list import list_command, list_nothing

        try:
            with opened(env, source) as (storage, name):
                list_command(storage, name, env, as_json=as_json)
        except StoreMissingError as error:
            # Before the first run that is how it is, and the daemon wants to know what there is.
            if not as_json:
                raise
            list_nothing(source or StoreSettings.read(env).source, error)


@app.command()
def show(
    point: Annotated[str, typer.Argument(help="A restore point's id, or latest.")],
    as_json: AsJson = False,
    source: OfSource = None,
) -> None:
    """Show one restore point: every artifact, its tables, its error."""
    with told(as_json=as_json) as env, opened(env, source) as (storage, name):
        from backup.command_list import show_command

        show_command(storage, name, point, as_json=as_json)


@app.command()
def verify(
    point: Annotated[str, typer.Argument(help="A restore point's id, or latest.")] = "latest",
    every: Annotated[bool, typer.Option("--all", help="Every restore point.")] = False,
    source: OfSource = None,
) -> None:
    """Prove that a restore point is what was written: every object, every byte, every dump read to its end."""
    with told() as env, opened(env, source) as (storage, name):
        from backup.command_restore import verify_command

        raise typer.Exit(verify_command(storage, name, env, point=point, every=every, stop=stop_signal()))


@app.command()
def restore(
    point: Annotated[str, typer.Argument(help="A restore point's id, or latest.")] = "latest",
    only: Annotated[str | None, typer.Option(help="postgres or clickhouse alone.")] = None,
    database: Annotated[list[str] | None, typer.Option(help="SRC or SRC=DST: this one alone; may be repeated.")] = None,
    to_postgres: Annotated[str | None, typer.Option(help="Address of the server, or the variable it is in.")] = None,
    to_clickhouse: Annotated[str | None, typer.Option(help="Likewise.")] = None,
    table: Annotated[list[str] | None, typer.Option(help="The rows of this table alone; may be repeated.")] = None,
    swap: Annotated[bool, typer.Option("--swap", help="Put what was restored in the place of what is live.")] = False,
    plan: Annotated[bool, typer.Option("--plan", help="Say what would happen, and change nothing.")] = False,
    with_globals: Annotated[bool, typer.Option("--globals", help="Roles and passwords too, over live ones.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    source: OfSource = None,
) -> None:
    """Bring a restore point back, beside what is live unless --swap is given."""
    with told() as env:
        from backup.command_restore import restore_command
        from backup.part import Order, engine_of

        order = Order(
            point=point,
            only=engine_of(only),
            databases=tuple(database or ()),
            tables=tuple(table or ()),
            swap=swap,
            plan=plan,
            roles=with_globals,
        )
        firm = threading.Lock()
        stop = stop_signal(firm)
        to = {"to_postgres": to_postgres, "to_clickhouse": to_clickhouse}
        raise typer.Exit(restore_command(env, order, source=source, **to, yes=yes, stop=stop, firm=firm))


@app.command()
def prune(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove the restore points that retention lets go, and what dead runs left."""
    with told(as_json=as_json) as env, opened(env, None) as (storage, name):
        from backup.command_list import prune_command

        prune_command(storage, name, read(env, RetentionSettings.read), env, dry_run=dry_run, as_json=as_json)


@app.command()
def keygen() -> None:
    """Make a pair of age keys: the public one seals, the secret one opens. Nothing is stored."""
    from backup.seal import keygen as make

    pair = make()
    typer.echo(f"# public key: {pair.recipient}", err=True)
    typer.echo("# Set BACKUP_AGE_RECIPIENTS to it. Keep the secret key below away from this stack,", err=True)
    typer.echo("# without it nothing can be restored. BACKUP_AGE_IDENTITY takes it, or the file it is in.", err=True)
    typer.echo(f"# public key: {pair.recipient}\n{pair.identity.reveal()}")


@contextlib.contextmanager
def told(*, as_json: bool = False) -> Iterator[Env]:
    """What the environment says; logs set up; every error ends the program with its line and its exit code.

    With `as_json` what is wrong goes to standard output as well, as a document of its own.
    """
    env = Env(os.environ)
    logs.configure(stream=sys.stderr)
    try:
        yield env
    except ConfigError as error:
        fail([str(problem) for problem in error.problems], SettingsError.exit_code, as_json=as_json)
    except BackupError as error:
        mask = logs.Mask()
        mask.add(env.secrets)
        fail([mask.clean(str(error))], error.exit_code, as_json=as_json)
    except KeyboardInterrupt:
        fail(["stopped"], StoppedError.exit_code, as_json=as_json)


def read(env: Env, section: Callable[[Env], T]) -> T:
    """One section of the settings, its secrets masked from now on. Raises ConfigError."""
    found = section(env)
    env.check()
    logs.mask(env.secrets)
    for note in env.notes:
        log.info("configuration_note", says=note)
    env.notes.clear()
    return found


@contextlib.contextmanager
def opened(env: Env, source: str | None) -> Iterator[Any]:
    """The store, and whose points are meant. Raises like `open_storage`."""
    from backup.storage.table import open_storage

    settings = read(env, StoreSettings.read)
    storage = open_storage(settings, make=False)
    try:
        yield storage, source or settings.source
    finally:
        storage.close()


def stop_signal(firm: "threading.Lock | None" = None) -> threading.Event:
    """Set by SIGTERM and SIGINT. When the program has not ended in time then, it is ended, but not while `firm` is held
    (an exchange comes to its end first): the next run's sweep, or the next restore, removes what is left."""
    stop = threading.Event()

    def end() -> None:
        with firm or contextlib.nullcontext():
            typer.echo(
                "watchkeeper-backup: stopped; what was half-done is removed by the next run or restore", err=True
            )
            sys.stderr.flush()
            os._exit(StoppedError.exit_code)

    def told_to(_number: int, _frame: object) -> None:
        if not stop.is_set():
            stop.set()
            timer = threading.Timer(STOP_WITHIN, end)
            timer.daemon = True
            timer.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, told_to)
    return stop


def fail(lines: list[str], code: int, *, as_json: bool = False) -> NoReturn:
    """Says what is wrong, a line each, and ends with `code`."""
    if as_json:
        typer.echo(json.dumps({"errors": lines, "exit_code": code}))
    for line in lines:
        typer.echo(f"watchkeeper-backup: {line}", err=True)
    raise typer.Exit(code)


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
