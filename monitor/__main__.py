"""The command line: run, check, explain, config; incidents, ack, silence, test-alert."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import structlog
import typer

from config.alert_settings import CHANNELS, AlertSettings
from config.configuration import Configuration, load
from config.env import ConfigError, Env
from config.logs import configure, mask
from config.settings import WatchSettings, WebSettings

if TYPE_CHECKING:
    from config.services import Service
    from monitor.client import Client

T = TypeVar("T")

EXIT_NOT_UP = 1
EXIT_CONFIGURATION = 2
EXIT_NO_DAEMON = 69  # sysexits.h: EX_UNAVAILABLE

LONGEST = typer.Option(
    min=0.05,
    max=600,
    metavar="SECONDS",
    help="Wait this long for one answer at most. Less than PROBE_TIMEOUT, so that a look at a service that hangs is "
    "over soon; to be sure of one that is only slow, give more.",
)

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
    deep: Annotated[
        bool,
        typer.Option("--deep", help="Ask the slow ones too, and those that cost or write and are switched on."),
    ] = False,
    timeout: Annotated[float, LONGEST] = 3.0,
) -> None:
    """Look at every service once, now; at the backups only when named: check backups.

    Without --deep it is asked what the daemon asks in every round: whether each service answers, and its quick signals.
    Exit code 0: all up; 1: something is not; 2: the configuration cannot be used; 74: the output cannot be written.
    """
    configuration = configured()
    from monitor.backups import with_backups
    from monitor.depth import Depth, lacking, reach_all
    from monitor.once import all_up, look_once
    from monitor.terminal import check_table, writing
    from monitor.web.api import left_out_document, services_document

    chosen = configuration.discovery.services
    if services:
        chosen = with_backups(chosen, configuration.backup, time.time())
        chosen = tuple({name: found(chosen, name) for name in services}.values())
    watch = configuration.watch
    asked, left = reach_all(chosen, Depth.DEEP if deep else Depth.QUICK, watch.interval)
    left = (*left, *lacking(chosen)) if deep else left
    board = in_loop(look_once(asked, instance=watch.instance, longest=timeout, wakes=watch.confirm_interval))
    if as_json:
        with writing():
            document = {"services": services_document(board), "left_out": left_out_document(left)}
            typer.echo(json.dumps(document, indent=2))
    else:
        check_table(board, left=left, deep=deep)
    if not all_up(board):
        raise typer.Exit(EXIT_NOT_UP)


@app.command()
def explain(
    service: Annotated[str, typer.Argument(help="A service's name, as check and config list it.")],
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a page.")] = False,
    timeout: Annotated[float, LONGEST] = 3.0,
) -> None:
    """Tell everything that is known now of one service: checks, neighbours, history, and how the cause follows.

    It is looked at now with all its checks but those that cost something; history and incidents come from the daemon on
    this machine, if one runs. Exit code 0: it is up; 1: it is not; 2: the configuration cannot be used; 74: the output
    cannot be written.
    """
    configuration = configured()
    from monitor.backups import with_backups
    from monitor.client import Client
    from monitor.command_explain import explain_command
    from monitor.explain import ask_daemon, conclude, look_around

    services = with_backups(configuration.discovery.services, configuration.backup, time.time())
    chosen, settings = found(services, service), configuration.watch
    pace, wakes = settings.interval, settings.confirm_interval
    looked = look_around(services, chosen, instance=settings.instance, pace=pace, longest=timeout, wakes=wakes)
    board, left = in_loop(looked)
    daemon = ask_daemon(Client(configuration.web), service)
    explanation = conclude(services, service, board, left, at=time.time(), daemon=daemon)
    explain_command(explanation, as_json=as_json)
    if not explanation.well:
        raise typer.Exit(EXIT_NOT_UP)


@app.command()
def config() -> None:
    """Show what was discovered, and from which variable; secrets are masked."""
    configuration = configured()
    from monitor.terminal import config_table

    config_table(configuration)


@app.command()
def incidents(
    every: Annotated[bool, typer.Option("--all", help="Those that are over too, up to 100 in all.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """List the outages that are open, as the daemon on this machine has them.

    Exit code 1: it refused; 2: the configuration cannot be used; 69: no daemon answers at PORT.
    """
    with asked_of_the_daemon() as client:
        from monitor.command_incidents import incidents_command

        incidents_command(client, every=every, as_json=as_json)


@app.command()
def ack(
    incident: Annotated[str, typer.Argument(help="An incident's id, or the service it is about.")],
    by: Annotated[str, typer.Option(help="Who looks after it.")] = os.environ.get("USER", "somebody"),
) -> None:
    """Say that somebody looks after an outage: its reminders stop. Its end is told all the same."""
    with asked_of_the_daemon() as client:
        from monitor.command_incidents import ack_command

        ack_command(client, incident, by)


@app.command()
def silence(
    service: Annotated[str | None, typer.Argument(help='A service, or a pattern of names: "langfuse-*".')] = None,
    length: Annotated[str | None, typer.Option("--for", metavar="LENGTH", help="90m, 2h, 1d12h; 31d at most.")] = None,
    why: Annotated[str | None, typer.Option(help="Why, for whoever wonders.")] = None,
    cron: Annotated[str | None, typer.Option(metavar="LINE", help="Again and again: 30 3 * * sun (UTC).")] = None,
    maintenance: Annotated[bool, typer.Option("--maintenance", help="It is planned work.")] = False,
    by: Annotated[str, typer.Option(help="Who asks.")] = os.environ.get("USER", "somebody"),
    listing: Annotated[bool, typer.Option("--list", help="List the silences there are.")] = False,
    end: Annotated[str | None, typer.Option(metavar="ID", help="End this one.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With --list: JSON instead of a table.")] = False,
) -> None:
    """Have nothing told about a service for a while. It is looked at as ever; what is still down at the end is told."""
    if sum((listing, end is not None, service is not None)) != 1:
        fail(['say one of: silence SERVICE --for 2h --why "…"; silence --list; silence --end ID'])
    if service is not None and not (length and why):
        fail([f'say for how long and why: silence {service} --for 2h --why "…"'])
    with asked_of_the_daemon() as client:
        from monitor.command_incidents import end_silence_command, list_silences_command, silence_command

        if listing:
            list_silences_command(client, as_json=as_json)
        elif end is not None:
            end_silence_command(client, end)
        else:
            asked: dict[str, object] = {"service": service, "for": length, "why": why, "by": by}
            asked |= {"cron": cron} if cron else {}
            silence_command(client, asked | ({"maintenance": True} if maintenance else {}))


@app.command("test-alert")
def try_alerts(
    channel: Annotated[str | None, typer.Argument(help="Only this one: slack, discord, pagerduty, …")] = None,
) -> None:
    """Send a real test through each channel that is set up, and say what its provider answered. Needs no daemon.

    PagerDuty gets an incident of severity info that ends at once. Exit code 1: some channel did not take it.
    """
    env = Env(os.environ)
    settings = AlertSettings.read(env)
    complain(env)
    mask(settings.secrets)
    from alerts.channels.table import open_channels
    from monitor.command_test_alert import trial_command

    channels = open_channels(settings)
    names = [one.name for one in channels]
    if not channels:
        fail([f"no channel is set up: set {', '.join(CHANNELS)} or ALERT_APPRISE_URLS"])
    if channel is not None and channel not in names:
        fail([f"{channel}: no such channel is set up; there are {', '.join(names)}"])
    chosen = [one for one in channels if channel in (None, one.name)]
    instance = WatchSettings.read(Env(os.environ)).instance
    if not trial_command(chosen, instance, status_url=settings.public_url):
        raise typer.Exit(EXIT_NOT_UP)


@contextmanager
def asked_of_the_daemon() -> "Iterator[Client]":
    """The daemon on this machine; ends the program with one sentence when it does not do what it is asked."""
    env = Env(os.environ)
    settings = WebSettings.read(env)
    complain(env)
    from monitor.client import Client, DaemonError

    try:
        yield Client(settings)
    except DaemonError as error:
        typer.echo(f"watchkeeper: {error}", err=True)
        raise typer.Exit(EXIT_NOT_UP if error.there else EXIT_NO_DAEMON) from None


def found(services: "Sequence[Service]", name: str) -> "Service":
    """The service of that name; ends the program with the names that come near, and all there are."""
    from config.tables import suggest

    known = {service.name: service for service in services}
    if name not in known:
        near = suggest(name, known)
        said = f"{near} There" if near.startswith("did you mean") else "there"
        fail([f"{name}: no such service; {said} are {', '.join(sorted(known))}"])
    return known[name]


def complain(env: Env) -> None:
    """Ends the program with one line for each problem that `env` has met, if any."""
    try:
        env.check()
    except ConfigError as error:
        fail([str(problem) for problem in error.problems])


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


def fail(lines: list[str]) -> NoReturn:
    """Says what is wrong with the configuration, a line each, and ends with exit code 2."""
    for line in lines:
        typer.echo(f"watchkeeper: {line}", err=True)
    raise typer.Exit(EXIT_CONFIGURATION)


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
