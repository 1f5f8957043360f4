"""`python -m backup run`: takes a restore point and tells of it on the terminal or in JSON lines."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import structlog
import typer

from backup.describe import size
from backup.errors import BackupError, SettingsError, StoreFullError
from backup.manifest import Artifact, Engine
from backup.orders import Orders, Report
from backup.part import engine_of
from backup.progress import Bars, Lines, Listener, shortened
from backup.run import take
from backup.sources.table import clickhouse_ended
from backup.storage.table import open_storage
from config import logs
from config.backup_settings import BackupSettings, DumpSettings
from config.backup_sources import ClickhouseSettings, PostgresSettings
from config.backup_store import SealSettings, StoreSettings
from config.env import ConfigError, Env
from config.logs import Mask

log = structlog.get_logger()


def run_command(env: Env, *, only: str | None, as_json: bool, stop: threading.Event) -> int:
    """Takes a restore point and gives the exit code. Raises BackupError and below, ConfigError."""
    try:
        settings, unusable = read_settings(env)
    except ConfigError as error:
        with telling(as_json=as_json) as listener:
            if isinstance(listener, Lines):
                listener.write("finished", point="", exit_code=2, errors=[str(problem) for problem in error.problems])
        raise
    mask = Mask()
    mask.add(env.secrets)
    logs.mask(env.secrets)
    for note in env.notes:
        log.info("configuration_note", says=note)
    with telling(as_json=as_json) as listener:
        try:
            storage = open_storage(settings.store)
            with contextlib.closing(storage):
                orders = Orders(
                    listener=_Logged(listener) if isinstance(listener, Lines) else listener,
                    environ=env.environ,
                    mask=mask,
                    only=engine_of(only),
                    stop=stop,
                    unusable=unusable,
                    clickhouse_ended=clickhouse_ended(settings.clickhouse, mask),
                )
                report = take(settings, storage, orders)
        except BackupError as error:
            if isinstance(listener, Lines):
                listener.write(
                    "finished",
                    point="",
                    exit_code=error.exit_code,
                    errors=[mask.clean(str(error))],
                    error_class=type(error).__name__,
                )
            raise
        if isinstance(listener, Lines):
            listener.write("finished", **finished(report))
    if isinstance(listener, Lines):
        log.info("backup_finished", **finished(report))
    else:
        typer.echo(summary(report))
    return report.exit_code


def read_settings(env: Env) -> tuple[BackupSettings, dict[Engine, SettingsError]]:
    """What a run needs, and the engines whose settings cannot be used: they fail, and cost the other nothing.

    Settings of other parts (retention, schedule) are not looked at. Raises ConfigError.
    """
    everything = BackupSettings.read(Env(env.environ))
    settings = replace(
        everything, store=StoreSettings.read(env), seal=SealSettings.read(env), dump=DumpSettings.read(env)
    )
    env.check()
    unusable: dict[Engine, SettingsError] = {}
    sections: dict[Engine, Callable[[Env], object]] = {
        "postgres": PostgresSettings.read,
        "clickhouse": ClickhouseSettings.read,
    }
    for engine, section in sections.items():
        own = Env(env.environ)
        section(own)
        env.secrets += own.secrets
        env.notes += own.notes
        if own.problems:
            first = own.problems[0]
            unusable[engine] = SettingsError(f"{first.place} {first.message}", first.remedy)
    return settings, unusable


@contextlib.contextmanager
def telling(*, as_json: bool) -> Iterator[Bars | Lines]:
    """Bars where a person looks on, else lines."""
    if as_json or not sys.stdout.isatty():
        yield Lines(sys.stdout)
        return
    from rich.console import Console

    with Bars(Console()) as bars:
        yield bars


def finished(report: Report) -> dict[str, Any]:
    """A report in a few facts."""
    whole = [one for one in report.artifacts if one.status == "whole"]
    return {
        "point": report.point if report.manifest else "",
        "exit_code": report.exit_code,
        "whole": len(whole),
        "failed": len(report.artifacts) - len(whole),
        "plain_bytes": sum(one.plain_bytes for one in whole),
        "stored_bytes": sum(one.stored_bytes for one in whole),
        "seconds": report.seconds,
        "skew_seconds": report.manifest.skew_seconds if report.manifest else 0.0,
        "errors": [shortened(error) for error in report.errors[:10]],
        "error_class": worst_class(report),
        "store": dict(report.store),
    }


def worst_class(report: Report) -> str:
    """The class of what went wrong, "" when nothing did; a full store before all else, since it stops every run."""
    classes = [str(one.detail.get("error_class", "")) for one in report.artifacts if one.status != "whole"]
    full = StoreFullError.__name__
    return full if full in classes else next(filter(None, classes), "")


def summary(report: Report) -> str:
    """A report in a line, for a person."""
    facts = finished(report)
    can = "the store: " + "; ".join(f"{name}: {found}" for name, found in report.store.items())
    if report.manifest is None:
        return f"NOTHING was backed up and nothing is listed, after {report.seconds:.0f} s"
    failed = f"INCOMPLETE, {facts['failed']} failed: " if facts["failed"] else ""
    kept = f"{facts['whole']} dumps are whole, {size(facts['stored_bytes'])} stored"
    return f"restore point {report.point}: {failed}{kept}, after {report.seconds:.0f} s\n{can}"


class _Logged:
    """A listener that writes what matters to the log as well."""

    def __init__(self, listener: Listener) -> None:
        self.started, self.progress = listener.started, listener.progress
        self._listener = listener

    def ended(self, artifact: Artifact) -> None:
        """A failure is a line in the log."""
        self._listener.ended(artifact)
        if artifact.error:
            log.error("artifact_failed", artifact=artifact.label, error=artifact.error)

    def note(self, text: str) -> None:
        """A line in the log."""
        self._listener.note(text)
        log.warning("backup_note", says=text)
