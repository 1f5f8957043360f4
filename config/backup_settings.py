"""What backups are told: where they are kept, how they are sealed and for how long, and what is backed up and when.

Each section is built from an Env alone: `restore` reads the store and the seal, and trips over nothing else.
"""

import re
import socket
from dataclasses import dataclass
from pathlib import Path

from config.env import Env
from config.secret import Secret
from config.syntax import BUCKET
from config.urls import FORMS, Address, AddressError, parse_address

DAY = 86_400
RECIPIENT = re.compile(r"age1[02-9ac-hj-np-z]{58}")
IDENTITY = re.compile(r"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}")
UNSAFE = re.compile(r"[^a-z0-9._-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where restore points are kept: in `folder` when there is one, else in the bucket at `endpoint`.

    `endpoint` is host and port without a scheme. Keys begin with `prefix`, then `source`, which is whose points they
    are. `region` None means: us-east-1, or what Amazon's host name says.
    """

    folder: Path | None = None
    endpoint: str = ""
    secure: bool = False
    access_key: Secret | None = None
    secret_key: Secret | None = None
    bucket: str = "backups"
    region: str | None = None
    virtual_host: bool = False
    prefix: str = "watchkeeper"
    source: str = "default"

    @classmethod
    def read(cls, env: Env) -> "StoreSettings":
        """This section from `env`; what cannot be used becomes a problem there."""
        folder = env.text(
            "BACKUP_DIR",
            says="Folder that keeps the backups instead of a bucket. `./backups` when no MINIO_ENDPOINT is set either.",
            kind="path",
        )
        secure = env.flag("MINIO_SECURE", default=False, says="Whether the store is asked over https.")
        address = _address(env, "MINIO_ENDPOINT", secure if env.is_set("MINIO_SECURE") else None)
        keys = [_first_secret(env, *names) for names in (ACCESS_KEYS, SECRET_KEYS)]
        if folder and env.is_set("MINIO_ENDPOINT"):
            env.note("BACKUP_DIR and MINIO_ENDPOINT are both set; backups go to the folder BACKUP_DIR")
        if address and not folder:
            _ask_for_keys(env, keys)
        in_folder = bool(folder) or not env.is_set("MINIO_ENDPOINT")
        return cls(
            folder=Path(folder or "backups") if in_folder else None,
            endpoint=address.place if address else "",
            secure=address.tls if address else secure,
            access_key=keys[0],
            secret_key=keys[1],
            bucket=_bucket(env),
            region=env.text("MINIO_REGION", says="The store's region, where it insists on one."),
            virtual_host=env.choice(
                "MINIO_ADDRESSING",
                ("path", "virtual"),
                default="path",
                says="How the bucket is addressed: in the path, or (newer Railway buckets) in the host name: virtual.",
            )
            == "virtual",
            prefix=_prefix(env),
            source=read_source(env),
        )


ACCESS_KEYS = ("MINIO_ACCESS_KEY", "MINIO_ROOT_USER")
SECRET_KEYS = ("MINIO_SECRET_KEY", "MINIO_ROOT_PASSWORD")


@dataclass(frozen=True, slots=True, kw_only=True)
class SealSettings:
    """Whom backups are sealed to (age public keys; none: not sealed), and the key that opens them.

    `identity` is the text of a key; `identity_file` the file that holds it. At most one of them is set.
    """

    recipients: tuple[str, ...] = ()
    identity: Secret | None = None
    identity_file: Path | None = None

    @classmethod
    def read(cls, env: Env) -> "SealSettings":
        """This section from `env`; what cannot be used becomes a problem there."""
        recipients = listed(
            env, "BACKUP_AGE_RECIPIENTS", says="age public keys (age1…), by comma, that backups are sealed to."
        )
        for recipient in recipients:
            if IDENTITY.fullmatch(recipient.upper()):
                env.problem(
                    "BACKUP_AGE_RECIPIENTS",
                    "holds a secret key, which this daemon must not know",
                    "give the public key (age1…) that belongs to it, and regard the secret one as seen",
                )
            elif not RECIPIENT.fullmatch(recipient):
                env.problem(
                    "BACKUP_AGE_RECIPIENTS",
                    "holds something that is no age public key",
                    "write keys like age1…, by comma; `python -m backup keygen` makes a pair",
                )
        given = env.secret("BACKUP_AGE_IDENTITY", says="The age secret key for restore, or the file that holds it.")
        text = given.reveal() if given else ""
        if not text:
            return cls(recipients=recipients)
        if text.upper().startswith("AGE-SECRET-KEY-"):
            return cls(recipients=recipients, identity=Secret(text.upper()))
        return cls(recipients=recipients, identity_file=Path(text))


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
class PostgresSettings:
    """The PostgreSQL server to back up. `databases` names those wanted, as they are written; empty: all but templates.

    `url_variable` is where `url` came from; `clients` the folder of PostgreSQL's programs to use before any other.
    Times are seconds; `longest_seconds` is how long the snapshots of one run may hold back the server's vacuum.
    """

    url: Secret | None = None
    url_variable: str = "DATABASE_URL"
    databases: tuple[str, ...] = ()
    count_seconds: float = 60.0
    lock_wait_seconds: float = 120.0
    longest_seconds: float = 6 * 3600.0
    clients: Path | None = None

    @classmethod
    def read(cls, env: Env) -> "PostgresSettings":
        """This section from `env`; what cannot be used becomes a problem there."""
        direct = env.secret(
            "BACKUP_DATABASE_URL", says="PostgreSQL's direct address, when DATABASE_URL leads through a pooler."
        )
        url = env.secret("DATABASE_URL", says="PostgreSQL's address with user, password and database.")
        clients = env.text(
            "BACKUP_PG_BIN", says="Folder of pg_dump, pg_dumpall and pg_restore, if not the usual.", kind="path"
        )
        return cls(
            url=direct or url,
            url_variable="BACKUP_DATABASE_URL" if direct else "DATABASE_URL",
            databases=listed(env, "BACKUP_DATABASES", says="PostgreSQL databases to back up, by comma. Unset: all."),
            count_seconds=env.number(
                "BACKUP_COUNT_SECONDS",
                default=60.0,
                least=0,
                most=DAY,
                says="Seconds to spend on counting rows; tables not counted by then have the server's estimates.",
            ),
            lock_wait_seconds=env.number(
                "BACKUP_LOCK_WAIT_SECONDS",
                default=120.0,
                least=1,
                most=DAY,
                says="Seconds a dump waits for a table that somebody has locked.",
            ),
            longest_seconds=env.number(
                "BACKUP_LONGEST_SECONDS",
                default=6 * 3600.0,
                least=1,
                most=30 * DAY,
                says="Seconds after which PostgreSQL's dumps are given up: until then vacuum cannot clean behind them.",
            ),
            clients=Path(clients) if clients else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickhouseSettings:
    """The ClickHouse server to back up. `url` is its HTTP address without user and password, "" when none is set.

    `s3_endpoint` is the store's URL as ClickHouse reaches it; None: as we do. `s3_collection` is a named collection of
    ClickHouse's that holds the bucket's URL and its keys. `databases` as they are written.
    """

    url: str = ""
    user: str = "default"
    password: Secret | None = None
    database: str = "default"
    databases: tuple[str, ...] = ()
    s3_endpoint: str | None = None
    s3_collection: str = ""

    @classmethod
    def read(cls, env: Env) -> "ClickhouseSettings":
        """This section from `env`; what cannot be used becomes a problem there."""
        address = _clickhouse_address(env)
        user = env.text("CLICKHOUSE_USER", says="ClickHouse user to back up as; needs the BACKUP privilege.")
        password = env.secret("CLICKHOUSE_PASSWORD", says="That user's password.")
        database = env.text("CLICKHOUSE_DB", default="default", says="The database to connect to.")
        reached = _address(env, "CLICKHOUSE_S3_ENDPOINT", None, says="The store's address as ClickHouse reaches it.")
        collection = env.text(
            "CLICKHOUSE_S3_COLLECTION",
            default="",
            says="A named collection of ClickHouse's with url (endpoint and bucket), access_key_id and "
            "secret_access_key: then no key is in any statement. Unset: its query log shows the access key.",
        )
        if collection and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", collection):
            env.problem("CLICKHOUSE_S3_COLLECTION", "is no collection's name", "write letters, digits and underscore")
            collection = ""
        return cls(
            url=address.url if address else "",
            user=user or (address and address.user) or "default",
            password=password or (address.password if address else None),
            database=database,
            databases=listed(
                env, "BACKUP_CLICKHOUSE_DATABASES", says="ClickHouse databases to back up, by comma. Unset: all."
            ),
            s3_endpoint=reached.url if reached else None,
            s3_collection=collection,
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
class BackupSettings:
    """All that a run needs. `level` is zstd's, `stall_seconds` without a byte end a dump, `instance` is who runs."""

    store: StoreSettings
    seal: SealSettings
    retention: RetentionSettings
    postgres: PostgresSettings
    clickhouse: ClickhouseSettings
    schedule: ScheduleSettings
    level: int = 3
    stall_seconds: float = 300.0
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
            instance=read_instance(env),
        )


def read_source(env: Env) -> str:
    """Whose restore points are ours: BACKUP_SOURCE, else Railway's project and environment, else "default"."""
    given = env.text(
        "BACKUP_SOURCE",
        says="Whose backups these are. Default: Railway's project and environment, else `default`. Two installations "
        "in one bucket need two names.",
    )
    project = env.text("RAILWAY_PROJECT_NAME", says="Set by Railway; the first half of BACKUP_SOURCE's default.")
    where = env.text("RAILWAY_ENVIRONMENT_NAME", says="Set by Railway; the second half of BACKUP_SOURCE's default.")
    railway = "-".join(part for part in (project, where) if part)
    source = safe_name(given or railway) or "default"
    if given and source != given:
        env.note(f"BACKUP_SOURCE: written as {source}, since it is part of every object's key")
    return source


def read_instance(env: Env) -> str:
    """Who runs, for the lease: INSTANCE, else Railway's service name, else the host's name."""
    given = env.text("INSTANCE", says="Name of this daemon in what it reports.")
    service = env.text("RAILWAY_SERVICE_NAME", says="Set by Railway; INSTANCE's default.")
    return given or service or socket.gethostname() or "watchkeeper"


def safe_name(text: str) -> str:
    """`text` in small letters, digits, dot, dash and underscore, at most 100, not beginning with a dot or dash."""
    return UNSAFE.sub("-", text.strip().lower())[:100].strip(".-")


def listed(env: Env, name: str, *, says: str = "") -> tuple[str, ...]:
    """The names in a comma-separated list as they are written, each once."""
    value = env.text(name, says=says, kind="list") or ""
    return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))


def _address(
    env: Env, name: str, secure: bool | None, says: str = "The store's endpoint; any S3 will do."
) -> Address | None:
    """The endpoint in `name`, or None: not set, or a problem now."""
    secret = env.secret(name, says=says)  # somebody may have put a password into it
    value = secret.reveal() if secret else None
    if value is None:
        return None
    try:
        address = parse_address(value, FORMS["s3"], port=9000, secure=secure)
    except AddressError as error:
        env.problem(name, error.message, error.remedy)
        return None
    if address.path or address.user:
        env.problem(name, "holds more than host and port", "write the endpoint alone, such as http://minio:9000")
        return None
    for note in address.notes:
        env.note(f"{name} {note}")
    _show(env, secret)
    return address


def _clickhouse_address(env: Env) -> Address | None:
    """CLICKHOUSE_URL, else CLICKHOUSE_HOST and CLICKHOUSE_PORT."""
    secret = env.secret("CLICKHOUSE_URL", says="ClickHouse's HTTP address.")  # it may hold a password
    url = secret.reveal() if secret else None
    host = env.text("CLICKHOUSE_HOST", says="ClickHouse's host, without CLICKHOUSE_URL.")
    port = env.whole("CLICKHOUSE_PORT", default=8123, least=1, most=65_535, says="Its HTTP port.")
    name, value = ("CLICKHOUSE_URL", url) if url else ("CLICKHOUSE_HOST", host)
    if value is None:
        return None
    try:
        address = parse_address(value, FORMS["clickhouse"], port=port)
    except AddressError as error:
        env.problem(name, error.message, error.remedy)
        return None
    _show(env, secret)
    return address


def _show(env: Env, secret: Secret | None) -> None:
    """Takes the mask off an address that holds host and port alone; else no message could name the server."""
    if secret and not set("@?") & set(secret.reveal()):
        env.secrets.remove(secret)


def _first_secret(env: Env, *names: str) -> Secret | None:
    found = [env.secret(name, says="Key of the store.") for name in names]
    return next((one for one in found if one), None)


def _ask_for_keys(env: Env, keys: list[Secret | None]) -> None:
    for names, key in zip((ACCESS_KEYS, SECRET_KEYS), keys, strict=True):
        if key is None and not any(env.is_set(name) for name in names):
            env.problem(
                names[0], "is not set, and MINIO_ENDPOINT is", f"set {names[0]} (or {names[1]}) to the store's key"
            )


def _bucket(env: Env) -> str:
    bucket = env.text("BACKUP_BUCKET", default="backups", says="The bucket backups go to; made if it may be.")
    if not BUCKET.fullmatch(bucket):
        env.problem(
            "BACKUP_BUCKET",
            "is no bucket's name",
            "write 3 to 63 small letters, digits, dots and dashes, without a slash",
        )
        return "backups"
    return bucket


def _prefix(env: Env) -> str:
    given = env.text("BACKUP_PREFIX", default="watchkeeper", says="What every backup's key begins with.")
    parts = [part for part in given.split("/") if part]
    if not parts or any(part in (".", "..") or not re.fullmatch(r"[\w.=-]{1,100}", part, re.ASCII) for part in parts):
        env.problem(
            "BACKUP_PREFIX", "is no key prefix", "write letters, digits, dot, dash and underscore, parts split by /"
        )
        return "watchkeeper"
    return "/".join(parts)
