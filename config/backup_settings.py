"""What a backup is told beside its store and its sources: how long it is kept, and when and how it is taken.

Each section is built from an Env alone: `restore` reads the store and the seal, and trips over nothing else.
"""

import socket
from dataclasses import dataclass

from config.backup_sources import ClickhouseSettings, PostgresSettings
from config.backup_store import SealSettings, StoreSettings
from config.env import Env

DAY = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class RetentionSettings:
    """How long artifacts are kept: all for `days`; of older ones the newest of each of the last `daily` days, `weekly`
    weeks and `monthly` months that have one; and whatever their age the newest `keep_min` good ones of each label."""

    days: float = 7.0
    keep_min: int = 3
    daily: int = 0
    weekly: int = 0
    monthly: int = 0

    @classmethod
    def read(cls, env: Env) -> "RetentionSettings":
        """This section from `env`; what cannot be used becomes a problem there."""
        return cls(
            days=env.number(
                "BACKUP_RETENTION_DAYS", default=7.0, least=0.01, most=36_500, says="Days every backup is kept."
            ),
            keep_min=env.whole(
                "BACKUP_KEEP_MIN",
                default=3,
                least=1,
                most=10_000,
                says="Good backups of each database that are kept whatever their age.",
            ),
            daily=env.whole("BACKUP_KEEP_DAILY", default=0, least=0, most=10_000, says="Days of which one is kept."),
            weekly=env.whole("BACKUP_KEEP_WEEKLY", default=0, least=0, most=10_000, says="Weeks of which one is kept."),
            monthly=env.whole(
                "BACKUP_KEEP_MONTHLY", default=0, least=0, most=10_000, says="Months of which one is kept."
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleSettings:
    """When the daemon takes backups: `schedule` is off, hourly, daily, weekly or five cron fields; `hour` is in UTC.

    `max_bytes` 0 means that nobody said how much may be stored.
    """

    schedule: str = "daily"
    hour: int = 3
    on_startup: bool = False
    max_bytes: int = 0

    @classmethod
    def read(cls, env: Env) -> "ScheduleSettings":
        """This section from `env`; what cannot be used becomes a problem there."""
        schedule = env.text(
            "BACKUP_SCHEDULE", default="daily", says="off, hourly, daily, weekly, or a cron line of five fields, UTC."
        )
        if schedule.lower() in SCHEDULES:
            schedule = schedule.lower()
        elif len(schedule.split()) != 5:
            env.problem(
                "BACKUP_SCHEDULE",
                "is neither off, hourly, daily, weekly nor a cron line",
                'write one of these words, or five fields such as "30 2 * * *"',
            )
            schedule = "daily"
        return cls(
            schedule=schedule,
            hour=env.whole(
                "BACKUP_HOUR", default=3, least=0, most=23, says="Hour of the day, in UTC, of a daily or weekly backup."
            ),
            on_startup=env.flag(
                "BACKUP_ON_STARTUP", default=False, says="Whether a backup is taken when the daemon starts."
            ),
            max_bytes=env.whole(
                "BACKUP_MAX_BYTES",
                default=0,
                least=0,
                most=2**63,
                says="Bytes the backups may take up: `backups` is degraded when the next would exceed it. 0: no limit.",
            ),
        )


SCHEDULES = ("off", "hourly", "daily", "weekly")


@dataclass(frozen=True, slots=True, kw_only=True)
class DumpSettings:
    """How a dump is written: `level` is zstd's, `stall_seconds` without a byte end it."""

    level: int = 3
    stall_seconds: float = 300.0

    @classmethod
    def read(cls, env: Env) -> "DumpSettings":
        """This section from `env`; what cannot be used becomes a problem there."""
        return cls(
            level=env.whole(
                "BACKUP_ZSTD_LEVEL", default=3, least=1, most=19, says="zstd level, 1 (fast) to 19 (small)."
            ),
            stall_seconds=env.number(
                "BACKUP_STALL_SECONDS",
                default=300.0,
                least=1,
                most=DAY,
                says="Seconds without a byte after which a dump is given up.",
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupSettings:
    """All that a run needs. `instance` is who runs."""

    store: StoreSettings
    seal: SealSettings
    retention: RetentionSettings
    postgres: PostgresSettings
    clickhouse: ClickhouseSettings
    schedule: ScheduleSettings
    dump: DumpSettings = DumpSettings()
    instance: str = "watchkeeper"

    @classmethod
    def read(cls, env: Env) -> "BackupSettings":
        """Every section from `env`; what cannot be used becomes a problem there."""
        return cls(
            store=StoreSettings.read(env),
            seal=SealSettings.read(env),
            retention=RetentionSettings.read(env),
            postgres=PostgresSettings.read(env),
            clickhouse=ClickhouseSettings.read(env),
            schedule=ScheduleSettings.read(env),
            dump=DumpSettings.read(env),
            instance=read_instance(env),
        )


def read_instance(env: Env) -> str:
    """Who runs, for the lease: INSTANCE, else Railway's service name, else the host's name."""
    given = env.text("INSTANCE", says="Name of this daemon in what it reports.")
    service = env.text("RAILWAY_SERVICE_NAME", says="Set by Railway; INSTANCE's default.")
    return given or service or socket.gethostname() or "watchkeeper"
