"""Which sources there are, and which of them the settings ask for."""

from collections.abc import Callable, Mapping

from backup.manifest import Engine
from backup.sources.base import Job, Source


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
