"""Every command of the page for 3 a.m., and RECOVERY.md with other people's tools, run as they stand."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backup.catalog import Catalog
from backup.manifest import RECOVERY
from backup.seal import KeyPair, keygen
from backup.storage.table import open_storage
from config.backup_store import StoreSettings
from config.env import Env

GUIDE = Path(__file__).parents[4] / "docs" / "guides" / "restore.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


class Stack:
    """Two servers with Langfuse's and LiteLLM's databases, a new empty one, and a store."""

    def __init__(self, postgres: Any, clickhouse: Any, new: Any, seaweedfs: Any, folder: Path, helpers: Any) -> None:
        self.postgres, self.clickhouse, self.new = postgres, clickhouse, new
        self.helpers = helpers
        self.folder = folder
        self.pair: KeyPair = keygen()
        (folder / "key.txt").write_text(f"# made by a test\n{self.pair.identity.reveal()}\n")
        self.environ = {
            "PATH": f"{Path(sys.executable).parent}:{helpers.client(18)}:{os.environ['PATH']}",
            "HOME": str(folder),
            "DATABASE_URL": helpers.url_of(postgres),
            "CLICKHOUSE_URL": clickhouse.url,
            "CLICKHOUSE_USER": clickhouse.user,
            "CLICKHOUSE_PASSWORD": clickhouse.password,
            "MINIO_ENDPOINT": f"http://127.0.0.1:{seaweedfs.port}",
            "MINIO_ACCESS_KEY": seaweedfs.access_key,
            "MINIO_SECRET_KEY": seaweedfs.secret_key,
            "BACKUP_PREFIX": f"guide-{os.getpid()}-{folder.name}",
            "LITELLM_SALT_KEY": "canary-salt",
        }

    def run(self, text: str, **more: str) -> str:
        """A script of bash, in the folder; gives what it wrote."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            env={**self.environ, **more},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=100,
        )
        assert done.returncode == 0, f"{text}\n{done.stdout}"
        return done.stdout

    def point(self) -> str:
        return self._looked()[0]

    def page(self) -> str:
        """RECOVERY.md of the newest point."""
        return self._looked()[1]

    @property
    def keys(self) -> tuple[str, str]:
        """What a person fills into RECOVERY.md, and what is there for it."""
        access, secret = self.environ["MINIO_ACCESS_KEY"], self.environ["MINIO_SECRET_KEY"]
        return "ACCESS_KEY=... SECRET_KEY=...", f"ACCESS_KEY={access} SECRET_KEY={secret}"

    def _looked(self) -> tuple[str, str]:
        store = StoreSettings.read(Env(self.environ))
        with contextlib.closing(open_storage(store)) as storage:
            point = Catalog(storage, store.source).load("latest")
            return point.id, storage.get(point.prefix + RECOVERY).decode()


@pytest.fixture
def guide_stack(fresh_postgres: Any, fresh_clickhouse: Any, seaweedfs: Any, tmp_path: Path, helpers: Any) -> Stack:
    """All that the page speaks of, with one sealed restore point."""
    return Stack(fresh_postgres(), fresh_clickhouse(), fresh_postgres(seed=False), seaweedfs, tmp_path, helpers)


def _blocks(stack: Stack, point: str, helpers: Any) -> Iterator[tuple[str, str]]:
    """The page's commands, in order, with what a person would fill in."""
    filled = {
        "20261121T030000Z-7f3a": point,
        "20261121": point[:8],
        "postgresql://postgres:password@new-host:5432/postgres": helpers.url_of(stack.new),
        "http://store-host:9000 MINIO_ACCESS_KEY=... MINIO_SECRET_KEY=...": '"$MINIO_ENDPOINT"',
        "project-production": "default",
    }
    for kind, written in BLOCK.findall(GUIDE.read_text()):
        text = written
        for there, here in filled.items():
            text = text.replace(there, here)
        yield kind, text


def test_every_command_of_the_page(guide_stack: Stack, helpers: Any) -> None:
    stack = guide_stack
    stack.run("python -P -m backup run", BACKUP_AGE_RECIPIENTS=stack.pair.recipient)
    point = stack.point()
    with stack.postgres.connect("litellm") as connection:
        connection.execute('DELETE FROM "LiteLLM_TeamTable"')
    said: list[str] = []
    exports: list[str] = []
    for kind, text in _blocks(stack, point, helpers):
        if kind == "bash":
            said.append(stack.run("\n".join([*exports, text])))
            exports += [line for line in text.splitlines() if line.startswith("export ")]
        else:
            with stack.postgres.connect("postgres") as connection:
                for statement in filter(None, map(str.strip, text.split(";"))):
                    connection.execute(statement)
        if "--swap --yes" in text:
            teams = helpers.rows(stack.postgres, "litellm", 'SELECT count(*) FROM "LiteLLM_TeamTable"')
            assert teams == [(8,)]
            assert "is back" in said[-1]
            assert "ALTER DATABASE" in said[-1]
    everything = "\n".join(said)
    between = re.search(r"snapshots within ([0-9.e-]+) s", everything)
    assert between is not None
    assert float(between[1]) < 1, "PostgreSQL's databases and ClickHouse's are of one moment"
    assert point in said[0]
    assert "sealed to 1 key" in everything
    assert f'beside the live database, as "litellm_restored_{point[:8]}"' in everything
    assert '"default" is back as "default"' in everything
    # Taken back, the deletion is there again; the new server has all of it.
    assert helpers.rows(stack.postgres, "litellm", 'SELECT count(*) FROM "LiteLLM_TeamTable"') == [(0,)]
    assert helpers.rows(stack.new, "litellm", 'SELECT count(*) FROM "LiteLLM_TeamTable"') == [(8,)]
    assert helpers.rows(stack.new, "langfuse", "SELECT count(*) FROM prompts") == [(1500,)]
    assert helpers.rows(stack.postgres, "litellm_rows", 'SELECT count(*) FROM "LiteLLM_TeamTable"') == [(8,)]
    for secret in (stack.pair.identity.reveal(), stack.postgres.superuser_password, "canary-salt"):
        assert secret not in everything


NEEDED = ("rclone", "age", "zstd")


@pytest.mark.skipif(
    not os.environ.get("CI") and not all(map(shutil.which, NEEDED)), reason=f"needs {', '.join(NEEDED)}"
)
def test_recovery_with_other_peoples_tools(guide_stack: Stack, helpers: Any) -> None:
    """From S3, sealed, by rclone, age, zstd, psql and pg_restore; of ours only the page is used."""
    stack = guide_stack
    stack.run("python -P -m backup run --only postgres", BACKUP_AGE_RECIPIENTS=stack.pair.recipient)
    blocks = [text for kind, text in BLOCK.findall(stack.page()) if kind == "bash" and "mc alias" not in text]
    text = "\n".join(blocks)
    server = (
        f"PGHOST={stack.new.host} PGPORT={stack.new.port} PGUSER=postgres PGPASSWORD={stack.new.superuser_password}"
    )
    assert stack.keys[0] in text
    assert "PGHOST=localhost PGPORT=5432 PGUSER=postgres PGPASSWORD=..." in text
    text = text.replace(*stack.keys)
    text = text.replace("PGHOST=localhost PGPORT=5432 PGUSER=postgres PGPASSWORD=...", server)
    text = text.replace("-i key.txt", f"-i {stack.folder / 'key.txt'}")
    with stack.new.connect() as connection:  # what --create makes must not be there
        connection.execute("DROP DATABASE litellm")
        connection.execute("DROP DATABASE langfuse")
    stack.run(text, PYTHONPATH="/nowhere")
    for database in ("litellm", "langfuse"):
        assert helpers.script(stack.new, database) == helpers.script(stack.postgres, database)


# What is not to be had from any package index: its one call as an HTTP request to the server of the test.
CLIENT = """#!{python}
import sys
from urllib.request import Request, urlopen
assert sys.argv[1:4] == ["--host", "localhost", "--query"], sys.argv
headers = {{"X-ClickHouse-User": "{user}", "X-ClickHouse-Key": "{password}"}}
print(urlopen(Request("{url}", sys.argv[4].encode(), headers)).read().decode())
"""


def test_recovery_of_clickhouse(guide_stack: Stack, fresh_clickhouse: Any, helpers: Any) -> None:
    """The page's statement restores onto another server, which knows nothing but the store and its keys."""
    stack, new = guide_stack, fresh_clickhouse(seed=0)
    stack.run("python -P -m backup run --only clickhouse")
    blocks = [text for kind, text in BLOCK.findall(stack.page()) if kind == "bash"]
    (text,) = [text for text in blocks if "clickhouse-client" in text]
    client = stack.folder / "bin" / "clickhouse-client"
    client.parent.mkdir()
    client.write_text(CLIENT.format(python=sys.executable, url=new.url, user=new.user, password=new.password))
    client.chmod(0o700)
    stack.run(text.replace(*stack.keys), PATH=f"{client.parent}:{stack.environ['PATH']}")
    tables = "SELECT name, engine FROM system.tables WHERE database = 'default' ORDER BY name"
    assert "traces" in stack.clickhouse.query(tables)
    for question in (tables, "SELECT count(), sum(cityHash64(*)) FROM traces"):
        assert new.query(question) == stack.clickhouse.query(question)


def test_the_page_has_no_command_that_is_not_run() -> None:
    text = GUIDE.read_text()
    kinds = {kind for kind, _ in BLOCK.findall(text)}
    assert kinds == {"bash", "sql"}
    assert text.count("```") == 2 * len(BLOCK.findall(text))
