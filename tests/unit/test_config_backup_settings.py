"""What backups are told, and what is said about what they cannot be told."""

from pathlib import Path

import pytest

from config.backup_settings import BackupSettings, RetentionSettings, ScheduleSettings
from config.backup_sources import ClickhouseSettings, PostgresSettings
from config.backup_store import SealSettings, StoreSettings
from config.env import Env
from config.secret import Secret

RECIPIENT = "age1" + "q" * 58
IDENTITY = "AGE-SECRET-KEY-1" + "Q" * 58
CANARY = "c4n4ryS3cret"
STORE = {"MINIO_ENDPOINT": "minio:9000", "MINIO_ACCESS_KEY": "key", "MINIO_SECRET_KEY": CANARY}


def read(**environ: str) -> tuple[BackupSettings, Env]:
    env = Env(environ)
    return BackupSettings.read(env), env


def problems(**environ: str) -> dict[str, str]:
    return {problem.place: str(problem) for problem in read(**environ)[1].problems}


def test_with_nothing_set_backups_go_to_a_folder_here() -> None:
    settings, env = read()
    assert env.problems == []
    assert settings.store == StoreSettings(folder=Path("backups"))
    assert settings.seal == SealSettings()
    assert settings.retention == RetentionSettings(days=7, keep_min=3)
    assert settings.postgres == PostgresSettings()
    assert settings.clickhouse == ClickhouseSettings()
    assert settings.schedule == ScheduleSettings(schedule="daily", hour=3, on_startup=False)
    assert (settings.dump.level, settings.dump.stall_seconds) == (3, 300)


def test_every_variable_of_the_templates_backup_service() -> None:
    settings, env = read(
        DATABASE_URL=f"postgresql://u:{CANARY}@postgres:5432/litellm",
        CLICKHOUSE_HOST="clickhouse",
        CLICKHOUSE_PORT="8124",
        CLICKHOUSE_USER="langfuse",
        CLICKHOUSE_PASSWORD=CANARY,
        CLICKHOUSE_DB="traces",
        MINIO_ENDPOINT="minio:9000",
        MINIO_ROOT_USER="root",
        MINIO_ROOT_PASSWORD=CANARY,
        MINIO_SECURE="false",
        BACKUP_BUCKET="safe-place",
        BACKUP_RETENTION_DAYS="14",
        BACKUP_SCHEDULE="Weekly",
        BACKUP_HOUR="5",
        BACKUP_ON_STARTUP="true",
    )
    assert env.problems == []
    assert settings.postgres.url_variable == "DATABASE_URL"
    clickhouse = settings.clickhouse
    assert (clickhouse.url, clickhouse.user, clickhouse.database) == ("http://clickhouse:8124", "langfuse", "traces")
    assert clickhouse.password == Secret(CANARY)
    store = settings.store
    assert (store.endpoint, store.secure, store.bucket, store.folder) == ("minio:9000", False, "safe-place", None)
    assert (store.access_key, store.secret_key) == (Secret("root"), Secret(CANARY))
    assert settings.retention.days == 14
    assert settings.schedule == ScheduleSettings(schedule="weekly", hour=5, on_startup=True)
    assert CANARY not in repr(settings)


def test_an_access_key_comes_before_the_root_user() -> None:
    settings, _ = read(**STORE, MINIO_ROOT_USER="root", MINIO_ROOT_PASSWORD="other")
    assert settings.store.access_key == Secret("key")
    assert settings.store.secret_key == Secret(CANARY)


@pytest.mark.parametrize(
    ("endpoint", "secure", "place", "tls"),
    [
        ("minio", "", "minio:9000", False),
        ("http://minio.railway.internal:9000", "", "minio.railway.internal:9000", False),
        ("https://s3.example.com", "", "s3.example.com:443", True),
        ("s3.example.com", "true", "s3.example.com:443", True),
        ("minio:9000", "true", "minio:9000", True),
        ("[::1]:9000", "false", "[::1]:9000", False),
    ],
)
def test_endpoints(endpoint: str, secure: str, place: str, tls: bool) -> None:
    settings, env = read(**{**STORE, "MINIO_ENDPOINT": endpoint, "MINIO_SECURE": secure})
    assert env.problems == []
    assert (settings.store.endpoint, settings.store.secure) == (place, tls)


def test_a_folder_comes_before_the_bucket_and_is_said() -> None:
    settings, env = read(**STORE, BACKUP_DIR="/mnt/backups")
    assert settings.store.folder == Path("/mnt/backups")
    assert any("BACKUP_DIR" in note for note in env.notes)


def test_an_unusable_endpoint_does_not_become_a_folder() -> None:
    settings, env = read(**{**STORE, "MINIO_ENDPOINT": "s3://bucket"})
    assert [problem.place for problem in env.problems] == ["MINIO_ENDPOINT"]
    assert settings.store.folder is None


@pytest.mark.parametrize(
    ("endpoint", "beside"),
    [
        ("minio:9000", True),
        ("http://minio.railway.internal:9000", True),
        ("http://10.1.2.3:9000", True),
        ("http://[fd12::1]:9000", True),
        ("https://storage.railway.app", False),
        ("https://93.184.216.34", False),
        ("http://127.0.0.1:9000", False),
        ("localhost:9000", False),
    ],
)
def test_a_store_beside_what_it_keeps_is_told(endpoint: str, beside: bool) -> None:
    _, env = read(**{**STORE, "MINIO_ENDPOINT": endpoint})
    assert not env.problems
    assert any("deletes the backups too" in note for note in env.notes) == beside


@pytest.mark.parametrize(
    ("environ", "place"),
    [
        ({"MINIO_ENDPOINT": "minio:9000", "MINIO_SECRET_KEY": CANARY}, "MINIO_ACCESS_KEY"),
        ({"MINIO_ENDPOINT": "minio:9000", "MINIO_ACCESS_KEY": CANARY}, "MINIO_SECRET_KEY"),
        ({"BACKUP_BUCKET": "Has Blanks"}, "BACKUP_BUCKET"),
        ({"BACKUP_BUCKET": "a/b"}, "BACKUP_BUCKET"),
        ({"BACKUP_PREFIX": "../up"}, "BACKUP_PREFIX"),
        ({"BACKUP_PREFIX": "/"}, "BACKUP_PREFIX"),
        ({"BACKUP_AGE_RECIPIENTS": "age1short"}, "BACKUP_AGE_RECIPIENTS"),
        ({"BACKUP_AGE_RECIPIENTS": IDENTITY}, "BACKUP_AGE_RECIPIENTS"),
        ({"BACKUP_RETENTION_DAYS": "a week"}, "BACKUP_RETENTION_DAYS"),
        ({"BACKUP_KEEP_MIN": "0"}, "BACKUP_KEEP_MIN"),
        ({"BACKUP_SCHEDULE": "fortnightly"}, "BACKUP_SCHEDULE"),
        ({"BACKUP_HOUR": "24"}, "BACKUP_HOUR"),
        ({"BACKUP_ZSTD_LEVEL": "22"}, "BACKUP_ZSTD_LEVEL"),
        ({"CLICKHOUSE_URL": "clickhouse://x:9000"}, "CLICKHOUSE_URL"),
        ({"CLICKHOUSE_S3_ENDPOINT": "http://minio:9000/bucket"}, "CLICKHOUSE_S3_ENDPOINT"),
    ],
)
def test_what_cannot_be_used_is_said_without_its_value(environ: dict[str, str], place: str) -> None:
    found = problems(**environ)
    assert list(found) == [place]
    assert CANARY not in found[place]
    assert IDENTITY not in found[place]
    assert "; " in found[place]


def test_another_parts_mistake_is_not_the_stores() -> None:
    env = Env({**STORE, "BACKUP_HOUR": "25", "BACKUP_RETENTION_DAYS": "x", "CHECK_INTERVAL": "never"})
    StoreSettings.read(env)
    SealSettings.read(env)
    assert env.problems == []


def test_seals() -> None:
    settings, env = read(BACKUP_AGE_RECIPIENTS=f"{RECIPIENT}, {RECIPIENT}", BACKUP_AGE_IDENTITY=IDENTITY.lower())
    assert env.problems == []
    assert settings.seal.recipients == (RECIPIENT,)
    assert settings.seal.identity == Secret(IDENTITY)
    assert IDENTITY not in repr(settings)
    settings, _ = read(BACKUP_AGE_IDENTITY="/run/secrets/age.key")
    assert (settings.seal.identity, settings.seal.identity_file) == (None, Path("/run/secrets/age.key"))


@pytest.mark.parametrize(
    ("environ", "source"),
    [
        ({}, "default"),
        ({"BACKUP_SOURCE": "prod"}, "prod"),
        ({"BACKUP_SOURCE": "Prod / EU!"}, "prod-eu"),
        ({"BACKUP_SOURCE": "../.."}, "default"),
        ({"RAILWAY_PROJECT_NAME": "LLM Stack", "RAILWAY_ENVIRONMENT_NAME": "production"}, "llm-stack-production"),
        ({"BACKUP_SOURCE": "mine", "RAILWAY_PROJECT_NAME": "x"}, "mine"),
    ],
)
def test_whose_backups_they_are(environ: dict[str, str], source: str) -> None:
    assert read(**environ)[0].store.source == source


def test_databases_keep_their_letters() -> None:
    settings, _ = read(BACKUP_DATABASES="My Db, litellm,,litellm", BACKUP_CLICKHOUSE_DATABASES="Default")
    assert settings.postgres.databases == ("My Db", "litellm")
    assert settings.clickhouse.databases == ("Default",)


def test_a_direct_address_comes_before_the_poolers() -> None:
    settings, _ = read(DATABASE_URL="postgresql://pooler/x", BACKUP_DATABASE_URL="postgresql://direct/x")
    assert settings.postgres.url == Secret("postgresql://direct/x")
    assert settings.postgres.url_variable == "BACKUP_DATABASE_URL"


def test_a_cron_line_is_a_schedule() -> None:
    assert read(BACKUP_SCHEDULE="30 2 * * MON")[0].schedule.schedule == "30 2 * * MON"


def test_addresses_are_named_in_messages_unless_they_hold_a_password() -> None:
    env = Env({"MINIO_ENDPOINT": "minio.internal:9000", "CLICKHOUSE_URL": "http://clickhouse.internal:8123"})
    BackupSettings.read(env)
    assert env.secrets == []
    for holding in ("http://u:canary@h:8123", "http://h:8123/?password=canary"):
        env = Env({"CLICKHOUSE_URL": holding, "MINIO_ENDPOINT": "http://u:canary@h:9000"})
        BackupSettings.read(env)
        assert {secret.reveal() for secret in env.secrets} >= {holding, "http://u:canary@h:9000"}
