"""The command line: run, check, config."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Coroutine
from typing import Annotated, Any, TypeVar

import structlog
import typer

from config.configuration import Configuration, load
from config.env import ConfigError
from config.logs import configure, mask

T = TypeVar("T")

EXIT_NOT_UP = 1
EXIT_CONFIGURATION = 2

app = typer.Typer(
    name="watchkeeper",
    help="Watches a self-hosted LLM stack: says what broke, why, and what to do.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
log = structlog.get_logger()


@app.command()
def run() -> None:
    """Run the daemon: watch every service that a variable names, until SIGTERM."""
    configuration = configured()
    from monitor.daemon import Daemon
    from monitor.web.app import BindError

    for note in configuration.discovery.notes:
        log.info("configuration_note", says=note)

    async def main() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await Daemon(configuration).run(stop)

    try:
        in_loop(main())
    except BindError as error:
        fail([str(error)])


@app.command()
def check(
    services: Annotated[list[str] | None, typer.Argument(help="Only these, by name.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.05,
            max=600,
            metavar="SECONDS",
            help="Wait this long for one answer at most. Less than PROBE_TIMEOUT, so that a look at a service that "
            "hangs is over soon; to be sure of one that is only slow, give more.",
        ),
    ] = 3.0,
) -> None:
    """Look at every service once, now; at the backups only when named: check backups.

    Exit code 0: all up; 1: something is not; 2: the configuration cannot be used; 74: the output cannot be written.
    """
    configuration = configured()
    from monitor.backups import with_backups
    from monitor.once import all_up, look_once
    from monitor.terminal import check_table, writing
    from monitor.web.api import services_document

    chosen = configuration.discovery.services
    if services:
        chosen = with_backups(chosen, configuration.backup, time.time())
        known = {service.name for service in chosen}
        if unknown := [name for name in services if name not in known]:
            fail([f"{name}: no such service; there are {', '.join(sorted(known))}" for name in unknown])
        chosen = tuple(service for service in chosen if service.name in services)
    board = in_loop(look_once(chosen, instance=configuration.watch.instance, longest=timeout))
    if as_json:
        with writing():
            typer.echo(json.dumps({"services": services_document(board)}, indent=2))
    else:
        check_table(board)
    if not all_up(board):
        raise typer.Exit(EXIT_NOT_UP)


@app.command()
def config() -> None:
    """Show what was discovered, and from which variable; secrets are masked."""
    configuration = configured()
    from monitor.terminal import config_table

    config_table(configuration)


def configured() -> Configuration:
    """What the environment says; ends the program with one line for each problem when it cannot be used."""
    try:
        configuration = load(os.environ)
    except ConfigError as error:
        fail([str(problem) for problem in error.problems])
    if configuration.backup:
        from monitor.schedule import trigger_of

        schedule = configuration.backup.schedule
        try:
            trigger_of(schedule.schedule, schedule.hour)
        except ValueError as error:
            fail([f"BACKUP_SCHEDULE: {error}"])
    mask(configuration.secrets)
    configure(stream=sys.stderr, json=configuration.logs.json, level=configuration.logs.level)
    return configuration


def in_loop(coroutine: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine on the loop whose name look-ups cannot queue."""
    from monitor.net import WatchLoop

    with asyncio.Runner(loop_factory=WatchLoop) as runner:
        return runner.run(coroutine)


def fail(lines: list[str]) -> Any:
    """Says what is wrong with the configuration, a line each, and ends with exit code 2."""
    for line in lines:
        typer.echo(f"watchkeeper: {line}", err=True)
    raise typer.Exit(EXIT_CONFIGURATION)


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
