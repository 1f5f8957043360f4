"""`python -m backup` as a program: exit codes, what it prints, signals, two at once, and where secrets are not."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from backup.lease import Lease
from backup.owner import Owner
from backup.seal import keygen
from backup.storage.folder import FolderStorage
from demo.postgres import Postgres
from demo.seaweedfs import Seaweedfs


def lines(out: str, event: str) -> list[dict[str, Any]]:
    return [line for line in map(json.loads, out.splitlines()) if line["event"] == event]


def stored(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and ".tmp" not in path.parts]


def test_a_first_try_needs_a_database_url_alone(program: Any, database: str, tmp_path: Path) -> None:
    environ = {"DATABASE_URL": program.environ["DATABASE_URL"], "BACKUP_DATABASES": database}
    program.environ = {"PATH": os.environ["PATH"], **environ}
    code, out, _ = program.run("run")
    assert code == 0
    assert [line["name"] for line in lines(out, "artifact")] == [database, "globals"]
    end = lines(out, "finished")[0]
    assert (end["exit_code"], end["whole"], end["failed"], end["errors"]) == (0, 2, 0, [])
    assert (tmp_path / "backups").is_dir()

    code, out, _ = program.run("list", "--json")
    assert code == 0
    (point,) = json.loads(out)["points"]
    assert point["id"] == end["point"]
    assert point["whole"] == [f"postgres/database/{database}", "postgres/globals/globals"]
    assert (point["proof"], point["keep"], point["sealed"]) == ("readable", True, False)
    code, out, _ = program.run("list")
    assert end["point"] in out
    code, out, _ = program.run("show", "latest")
    assert code == 0
    assert "public.t: 100 rows" in out
    code, out, _ = program.run("show", "latest", "--json")
    assert json.loads(out)["id"] == end["point"]
    code, out, _ = program.run("prune", "--dry-run")
    assert (code, out.startswith(f"keep {end['point']}")) == (0, True)


def test_what_is_not_there(program: Any, tmp_path: Path) -> None:
    """Who only looks makes nothing, and JSON stays JSON."""
    code, _, err = program.run("list")
    assert (code, "there is no folder" in err, "python -m backup run" in err) == (1, True, True)
    code, out, _ = program.run("list", "--json")  # what the daemon asks before the first run
    assert (code, json.loads(out)["points"]) == (0, [])
    code, out, _ = program.run("show", "latest", "--json")
    assert (code, json.loads(out)["exit_code"]) == (1, 1)
    assert not (tmp_path / "backups").exists()
    (tmp_path / "backups" / "watchkeeper" / "elsewhere" / "x").mkdir(parents=True)
    (tmp_path / "backups" / "watchkeeper" / "elsewhere" / "x" / "y").touch()
    code, out, _ = program.run("list", BACKUP_RETENTION_DAYS="seven")
    assert (code, "it has those of elsewhere: set BACKUP_SOURCE" in out) == (0, True)
    assert "nothing will be removed: BACKUP_RETENTION_DAYS" in out
    code, out, err = program.run("show", "latest", "--json")
    assert "there is no restore point" in json.loads(out)["errors"][0]
    assert "there is no restore point" in err


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"BACKUP_AGE_RECIPIENTS": "canary-no-key"}, "BACKUP_AGE_RECIPIENTS"),
        ({"BACKUP_PREFIX": "../up"}, "BACKUP_PREFIX"),
        ({"DATABASE_URL": "mysql://u:canary@h/x"}, "DATABASE_URL"),
        ({"DATABASE_URL": ""}, "set DATABASE_URL or CLICKHOUSE_URL"),
        ({"BACKUP_PG_BIN": "/nowhere"}, "BACKUP_PG_BIN"),
        ({"BACKUP_STALL_SECONDS": "soon"}, "BACKUP_STALL_SECONDS"),
    ],
)
def test_settings_that_cannot_be_used(program: Any, variables: dict[str, str], says: str, tmp_path: Path) -> None:
    code, out, err = program.run("run", **variables)
    assert json.loads(out.splitlines()[-1])["exit_code"] == code
    assert code == 2
    assert says in err
    assert "canary" not in err
    assert "Traceback" not in err
    assert not [path for path in stored(tmp_path) if "/postgres/" in str(path)]


def test_settings_of_other_parts_stop_nothing(program: Any, database: str) -> None:
    """At 3 a.m. a typing mistake in the retention is not why there is no backup."""
    odd = {"BACKUP_RETENTION_DAYS": "x", "BACKUP_SCHEDULE": "never?", "SLACK_WEBHOOK_URL": "${{x.y}}"}
    assert program.run("run", BACKUP_DATABASES=database, **odd)[0] == 0
    code, _, err = program.run("prune", **odd)
    assert code == 2
    assert "BACKUP_RETENTION_DAYS" in err


def test_an_engine_whose_settings_are_wrong_costs_the_other_nothing(program: Any, database: str) -> None:
    code, out, _ = program.run("run", BACKUP_DATABASES=database, CLICKHOUSE_URL="tcp://h:9000")
    assert code == 1
    states = {line["engine"] + "/" + line["name"]: line["status"] for line in lines(out, "artifact")}
    assert states == {"clickhouse/*": "failed", f"postgres/{database}": "whole", "postgres/globals": "whole"}
    code, out, _ = program.run("run", "--only", "postgres", BACKUP_DATABASES=database, CLICKHOUSE_URL="tcp://h:9000")
    assert code == 0
    code, _, err = program.run("run", "--only", "mysql")
    assert code == 2
    assert "postgres or clickhouse" in err


def test_the_second_of_two_runs_says_who_holds_the_lock(program: Any, database: str, tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path / "backups" / "watchkeeper")
    with Lease(storage, "default", owner=Owner.here("the-other-daemon"), purpose="run").acquire():
        code, out, err = program.run("run", BACKUP_DATABASES=database)
        assert code == 3
        assert "held by the-other-daemon" in err
        assert lines(out, "finished")[0]["exit_code"] == 3
        assert program.run("prune")[0] == 3
    assert program.run("run", BACKUP_DATABASES=database)[0] == 0


def test_sources_do_not_see_each_other(program: Any, database: str) -> None:
    assert program.run("run", BACKUP_DATABASES=database, BACKUP_SOURCE="staging")[0] == 0
    assert json.loads(program.run("list", "--json")[1])["points"] == []
    assert len(json.loads(program.run("list", "--json", "--source", "staging")[1])["points"]) == 1
    code, _, err = program.run("list", "--source", "../x")
    assert code == 1
    assert "--source cannot be used" in err


def test_keygen_makes_a_pair_that_fits(program: Any, tmp_path: Path) -> None:
    code, out, err = program.run("keygen")
    assert code == 0
    recipient = re.search(r"age1\w+", out)
    assert recipient
    assert "AGE-SECRET-KEY-1" in out
    assert "AGE-SECRET-KEY-1" not in err
    assert "BACKUP_AGE_RECIPIENTS" in err


@pytest.fixture
def hanging_store() -> Iterator[socket.socket]:
    """It takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        listener.settimeout(20)
        yield listener


def gone(child: "subprocess.Popen[str]", began: float) -> tuple[float, int]:
    child.wait(timeout=10)
    took = time.monotonic() - began
    child.communicate()
    return took, child.returncode


def test_sigterm_while_the_store_does_not_answer(program: Any, hanging_store: socket.socket) -> None:
    child = program.start(
        "run",
        BACKUP_DIR="",
        MINIO_ENDPOINT=f"http://127.0.0.1:{hanging_store.getsockname()[1]}",
        MINIO_ACCESS_KEY="k",
        MINIO_SECRET_KEY="s" * 20,
    )
    with hanging_store.accept()[0]:
        began = time.monotonic()
        child.send_signal(signal.SIGTERM)
        took, code = gone(child, began)
    assert took < 3
    assert code == 130


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_midway_takes_everything_back(
    program: Any, large: str, postgres: Postgres, tmp_path: Path, number: signal.Signals
) -> None:
    child = program.start("run", BACKUP_DATABASES=large)
    folder = tmp_path / "backups"
    deadline = time.monotonic() + 20
    while not any(".dump." in str(path) for path in stored(folder)):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    programs = psutil.Process(child.pid).children(recursive=True)
    began = time.monotonic()
    child.send_signal(number)
    took, code = gone(child, began)
    assert took < 3
    assert code in (130, 0), "0: it was through before the signal came"
    assert not [one for one in programs if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    if code:
        assert [path.name for path in stored(folder)] == []
    with postgres.connect() as connection:
        asked = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'watchkeeper-backup' AND datname = %s"
        deadline = time.monotonic() + 3
        while connection.execute(asked, (large,)).fetchone() != (0,):
            assert time.monotonic() < deadline, "a session was left on the server"
            time.sleep(0.05)


def test_what_a_killed_run_left_is_gone_after_the_next(program: Any, large: str, database: str, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    child = program.start("run", BACKUP_DATABASES=large)
    deadline = time.monotonic() + 20
    while not any(".dump." in str(path) for path in stored(folder)):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    child.kill()
    child.communicate()
    left = {path.relative_to(folder).parts[2] for path in stored(folder) if path.name == "run.json"}
    assert len(left) == 1
    assert json.loads(program.run("list", "--json")[1])["points"] == []
    code, out, _ = program.run("run", BACKUP_DATABASES=database)
    assert code == 0
    assert f"removed what the run of {left.pop()} left when it died" in out
    point = lines(out, "finished")[0]["point"]
    assert {path.relative_to(folder).parts[2] for path in stored(folder)} == {point}


CANARIES = {
    "LITELLM_SALT_KEY": "canary-litellm-salt",
    "LITELLM_MASTER_KEY": "canary-litellm-master",
    "ENCRYPTION_KEY": "canary-encryption-key",
    "SALT": "canary-langfuse-salt",
    "SLACK_WEBHOOK_URL": "https://hooks.example.test/canary-slack",
    "PAGERDUTY_ROUTING_KEY": "canary-pagerduty",
}


class Sampler(threading.Thread):
    """Reads arguments and environment of a process and all its descendants, again and again."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid = pid
        self.arguments: set[str] = set()
        self.environs: dict[str, str] = {}
        self.done = threading.Event()
        self.own = ""

    def run(self) -> None:
        while not self.own:
            self.own = Path(f"/proc/{self.pid}/cmdline").read_bytes().decode()
        while not self.done.is_set():
            for pid in [self.pid, *self._below(self.pid)]:
                try:
                    words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
                    environ = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
                except OSError:
                    continue
                self.arguments.add(words)
                # Before its exec, a child is a copy of ourselves, arguments and all.
                if words and words != self.own:
                    self.environs[words] = environ
            time.sleep(0.003)

    def _below(self, pid: int) -> list[int]:
        found = []
        try:
            tasks = list(Path(f"/proc/{pid}/task").iterdir())
        except OSError:
            return found
        for task in tasks:
            try:
                for child in (task / "children").read_text().split():
                    found += [int(child), *self._below(int(child))]
            except OSError:
                continue
        return found


def test_secrets_are_nowhere(
    program: Any, postgres: Postgres, made_database: Any, seaweedfs: Seaweedfs, tmp_path: Path
) -> None:
    """Arguments of every process, environments of children, what is printed, what is stored unsealed."""
    name, password = "b2_canary", "canary pass:word\\@é"
    quoted = "canary%20pass%3Aword%5C%40%C3%A9"
    rows = "CREATE TABLE t AS SELECT n, md5(n::text) FROM generate_series(1, 300000) n"
    with postgres.connect() as connection:
        connection.execute("DROP ROLE IF EXISTS b2_canary")
        connection.execute(f"CREATE ROLE b2_canary SUPERUSER LOGIN PASSWORD '{password}'")
        with made_database(postgres, name, rows):
            connection.execute(f"ALTER DATABASE {name} SET app.jwt_secret = 'canary-setting'")
            url = f"postgresql://b2_canary:{quoted}@{postgres.host}:{postgres.port}/{name}"
            environ = {
                **seaweedfs.environ(),
                "BACKUP_PREFIX": "canary",
                "BACKUP_DIR": "",
                "DATABASE_URL": url,
                **CANARIES,
            }
            child = program.start("run", BACKUP_DATABASES=name, **environ)
            sampler = Sampler(child.pid)
            sampler.start()
            out, err = child.communicate(timeout=60)
            sampler.done.set()
            sampler.join()
            wrong = url.replace(quoted, quoted + "-wrong")
            _, bad_out, bad_err = program.run("run", BACKUP_DATABASES=name, **{**environ, "DATABASE_URL": wrong})
        connection.execute("DROP ROLE b2_canary")
    assert child.returncode == 0, err
    for one in ("pg_dump", "pg_dumpall", "pg_restore"):
        assert [words for words in sampler.environs if one in words], f"{one} was never seen"
    client = seaweedfs.client()
    found = {one.object_name: one for one in client.list_objects("backups", prefix="canary/", recursive=True)}
    objects = {name: client.get_object("backups", name).read() for name in found if "/postgres/" not in name}
    assert {name.rsplit("/", 1)[1] for name in objects} == {"run.json", "manifest.json", "RECOVERY.md"}
    canaries = ["canary pass", "canary%20pass", "canary-", seaweedfs.secret_key]
    for where, text in {
        "arguments": "\n".join(sampler.arguments),
        "environments of children": "\n".join(sampler.environs.values()),
        "standard output": out + bad_out,
        "standard error": err + bad_err,
        **{name: data.decode() for name, data in objects.items()},
    }.items():
        for canary in canaries:
            assert canary not in text, f"{where} shows {canary}"
    for environ in sampler.environs.values():
        assert "MINIO" not in environ
        assert "PGPASSWORD" not in environ
    manifest = json.loads(next(data for name, data in objects.items() if name.endswith("manifest.json")))
    assert set(manifest["fingerprints"]) == {"LITELLM_SALT_KEY", "LITELLM_MASTER_KEY", "ENCRYPTION_KEY", "SALT"}


AGE = """#!{python}
import sys
from pathlib import Path
import pyrage
key = [line for line in Path(sys.argv[sys.argv.index("-i") + 1]).read_text().splitlines() if line.startswith("AGE")][0]
sealed = Path(sys.argv[-1]).read_bytes()
sys.stdout.buffer.write(pyrage.decrypt(sealed, [pyrage.x25519.Identity.from_str(key)]))
"""


@pytest.mark.parametrize("sealed", [False, True])
def test_recovery_md_restores_without_us(
    program: Any,
    database: str,
    postgres: Postgres,
    fresh_postgres: Any,
    made_database: Any,
    tmp_path: Path,
    sealed: bool,
) -> None:
    """Its commands, as they stand, with nothing but PostgreSQL's client, zstd, awk and age (here: the library's)."""
    with made_database(postgres, f"{database} 'ü' \"50%\"/..", "CREATE TABLE t AS SELECT 7 AS n") as odd:
        recover(program, [database, odd], postgres, fresh_postgres, tmp_path, sealed=sealed)


def recover(
    program: Any, databases: list[str], postgres: Postgres, fresh_postgres: Any, tmp_path: Path, *, sealed: bool
) -> None:
    database, odd = databases
    pair = keygen()
    more = {"BACKUP_AGE_RECIPIENTS": pair.recipient} if sealed else {}
    with postgres.connect(database) as connection:
        connection.execute('CREATE SCHEMA "it\'s $HOME"; CREATE TABLE "it\'s $HOME"."a`b" AS SELECT 1 AS n')
    code, _, err = program.run("run", BACKUP_DATABASES=",".join(databases), **more)
    assert code == 0, err
    (page,) = [path for path in stored(tmp_path / "backups") if path.name == "RECOVERY.md"]
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL)
    other = fresh_postgres(seed=False)
    script = "set -e\n" + "".join(blocks[:-1])
    script = script.replace("PGHOST=localhost PGPORT=5432", f"PGHOST={other.host} PGPORT={other.port}")
    script = script.replace("PGPASSWORD=...", f"PGPASSWORD={other.superuser_password}")
    script = script.replace("cd point\n", f"cd point\ncp {tmp_path}/key.txt .\n")
    (tmp_path / "key.txt").write_text(f"# the key\n{pair.identity.reveal()}\n")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "age").write_text(AGE.format(python=sys.executable))
    (tools / "age").chmod(0o755)
    path = f"{tools}:{wheel_bin()}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env={"PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with other.connect(database) as connection:
        assert connection.execute("SELECT count(*), max(word) FROM t").fetchone() == (100, "word 99")
        assert connection.execute('SELECT n FROM "it\'s $HOME"."a`b"').fetchone() == (1,)
    with other.connect(odd) as connection:
        assert connection.execute("SELECT n FROM t").fetchone() == (7,)


def wheel_bin() -> Path:
    from backup.postgres.clients import choose, installed

    return choose(installed(), 18).folder


@pytest.mark.skipif(not shutil.which("script"), reason="script (util-linux) makes the terminal")
def test_on_a_terminal_a_person_sees_bars(program: Any, large: str) -> None:
    words = f"{sys.executable} -P -m backup run"
    environ = {**program.environ, "BACKUP_DATABASES": large, "TERM": "xterm", "COLUMNS": "150"}
    done = subprocess.run(
        ["script", "-qec", words, "/dev/null"],
        env=environ,
        cwd=program.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert f"postgres {large}" in done.stdout
    assert "MiB" in done.stdout
    assert '{"event"' not in done.stdout
    assert "backup_finished" not in done.stdout
    assert re.search(r"restore point \S+: 2 dumps are whole, \S+ MiB stored, after \d+ s", done.stdout)
