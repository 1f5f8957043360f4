"""Everything the daemon was told, read once at start: all that is wrong is said at once."""

from collections.abc import Mapping
from dataclasses import dataclass

from config.alert_settings import AlertSettings
from config.backup_settings import BackupSettings
from config.backup_store import ACCESS_KEYS
from config.env import ConfigError, Env, Read
from config.secret import Secret
from config.services import Discovery, survey
from config.settings import LogSettings, StateSettings, WatchSettings, WebSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """The sections of the daemon, what is watched, and each setting that was read, for `monitor config` to show.

    `backup` is None when nothing is backed up here: no database, no store, or BACKUP_SCHEDULE=off.
    """

    watch: WatchSettings
    web: WebSettings
    state: StateSettings
    logs: LogSettings
    alerts: AlertSettings
    backup: BackupSettings | None
    discovery: Discovery
    settings: tuple[Read, ...]

    @property
    def secrets(self) -> tuple[Secret, ...]:
        """Every secret that was read: logs must mask them."""
        own = [secret for secret in (self.web.metrics_token, self.web.api_token) if secret is not None]
        return tuple(dict.fromkeys([*own, *self.alerts.secrets, *self.discovery.secrets]))


def load(environ: Mapping[str, str]) -> Configuration:
    """What `environ` says, in full. Raises ConfigError with every problem there is."""
    env = Env(environ)
    watch, web = WatchSettings.read(env), WebSettings.read(env)
    state, logs = StateSettings.read(env), LogSettings.read(env)
    alerts, backup = AlertSettings.read(env), backups(env)
    settings = tuple(env.reads.values())
    discovery = survey(env, watch)
    if discovery.problems:
        raise ConfigError(discovery.problems)
    return Configuration(
        watch=watch,
        web=web,
        state=state,
        logs=logs,
        alerts=alerts,
        backup=backup,
        discovery=discovery,
        settings=settings,
    )


def backups(env: Env) -> BackupSettings | None:
    """What the daemon backs up and where, or None with a note that says why it does not."""
    if not any(map(env.is_set, ("DATABASE_URL", "BACKUP_DATABASE_URL", "CLICKHOUSE_URL", "CLICKHOUSE_HOST"))):
        return None
    if not env.is_set("BACKUP_DIR") and not (env.is_set("MINIO_ENDPOINT") and any(map(env.is_set, ACCESS_KEYS))):
        env.note("no backups are taken: set MINIO_ENDPOINT with its keys (any S3), or BACKUP_DIR")
        return None
    settings = BackupSettings.read(env)
    return None if settings.schedule.schedule == "off" else settings
