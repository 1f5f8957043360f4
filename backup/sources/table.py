"""Which sources there are, and which of them the settings ask for."""

from collections.abc import Callable, Mapping

from backup.errors import BackupError
from backup.manifest import Engine
from backup.sources.base import Job, Source
from config.backup_sources import ClickhouseSettings
from config.logs import Mask


def _postgres(job: Job) -> Source | None:
    if job.settings.postgres.url is None:
        return None
    from backup.sources.postgres import PostgresSource

    return PostgresSource(job)


def _clickhouse(job: Job) -> Source | None:
    if not job.settings.clickhouse.url:
        return None
    from backup.sources.clickhouse import ClickhouseSource

    return ClickhouseSource(job)


SOURCES: Mapping[Engine, Callable[[Job], Source | None]] = {"postgres": _postgres, "clickhouse": _clickhouse}
"""Each engine's source for a job, or None where the settings name no server of that kind."""


def clickhouse_ended(settings: ClickhouseSettings, mask: Mask) -> Callable[[str], bool]:
    """What a sweep asks before it removes what a dead run left: whether ClickHouse has ended its backup of that id.

    One that still runs is ended. False while the server does not answer; where none is named, nobody can be asked.
    """
    if not settings.url:
        return lambda _: True

    def ended(backup: str) -> bool:
        from backup.clickhouse.client import Server
        from backup.clickhouse.native import end

        try:
            server = Server(settings, mask)
        except BackupError:
            return False
        try:
            return end(server, backup)
        finally:
            server.close()

    return ended
