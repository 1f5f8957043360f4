"""What PostgreSQL says is explained, its programs are chosen, its addresses are read: without a server."""

import os
from pathlib import Path

import pytest

from backup.errors import SettingsError, SourceError
from backup.postgres.clients import Client, choose, companion
from backup.postgres.database import Mark
from backup.postgres.explain import GENERAL, dump_failed, explained, remedy_for
from backup.postgres.login import Login, password_file
from backup.postgres.server import is_aside
from config.secret import Secret


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("FATAL:  remaining connection slots are reserved for roles", "max_connections"),
        ("FATAL:  sorry, too many clients already", "max_connections"),
        ('FATAL:  password authentication failed for user "x"', "user and password"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1"', "pg_hba.conf"),
        ('FATAL:  database "x" does not exist', "database's name"),
        ('FATAL:  role "x" does not exist', "user in the address"),
        ("FATAL:  unsupported startup parameter: options", "BACKUP_DATABASE_URL"),
        ('could not translate host name "x" to address', "check the host"),
        ("connection to server failed: Connection refused", "PostgreSQL runs"),
        ("FATAL:  the database system is starting up", "run again in a minute"),
        ("pg_dump: error: aborting because of server version mismatch", "BACKUP_PG_BIN"),
        ("ERROR: canceling statement due to statement timeout pg_dump: detail: Query was: LOCK TABLE", "quieter hour"),
        ("ERROR:  query would be affected by row-level security policy", "BYPASSRLS"),
        ("ERROR:  permission denied for table x", "pg_read_all_data"),
        ('ERROR:  invalid snapshot identifier: "00000003"', "BACKUP_DATABASE_URL"),
        ("FATAL:  terminating connection due to administrator command", "see its log"),
        ("could not extend file: No space left on device", "disk is full"),
        ("ERROR:  out of shared memory", "max_locks_per_transaction"),
        ("ERREUR:  quelque chose", GENERAL),
    ],
)
def test_what_to_do(said: str, remedy: str) -> None:
    assert remedy in remedy_for(said)
    error = explained(said + "\n  more", "here")
    assert "\n" not in str(error)
    assert str(error).startswith("here: ")


def test_how_a_program_ended() -> None:
    assert "was killed by signal 9; whoever killed it" in str(dump_failed("pg_dump", "x", -9, []))
    error = dump_failed("pg_dump", "x", 1, ["pg_dump: error: permission denied for table t", "more"])
    assert str(error).startswith("pg_dump of x ended with exit code 1: pg_dump: error: permission denied")
    assert len(str(dump_failed("pg_dump", "x", 1, ["y" * 5000]))) < 800


def client(version: str, folder: str = "/nowhere") -> Client:
    return Client(folder=Path(folder), version=version, major=int(version.partition(".")[0]))


def test_the_servers_own_major_is_chosen_else_the_next_newer() -> None:
    known = [client("18.1"), client("15.2"), client("16.3", "/first"), client("16.9", "/second")]
    assert choose(known, 16).folder == Path("/first")
    assert choose(known, 17).version == "18.1"
    assert choose(known, 13).version == "15.2"
    with pytest.raises(SourceError, match="install postgresql-client-19") as raised:
        choose(known, 19)
    assert "16.3" in str(raised.value)
    with pytest.raises(SourceError, match="found: none"):
        choose([], 16)


def test_a_companion_is_as_new(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
    for place in ("old/pg_restore", "new/pg_restore"):
        (tmp_path / place).write_text("#!/bin/sh\n")
        (tmp_path / place).chmod(0o755)
    bare, old, new = client("16.1"), client("15.1", str(tmp_path / "old")), client("17.1", str(tmp_path / "new"))
    assert companion([bare, old, new], bare, "pg_restore") == tmp_path / "new" / "pg_restore"
    assert companion([bare, old, new], old, "pg_restore") == tmp_path / "old" / "pg_restore"
    assert companion([bare, old], bare, "pg_restore") is None


def test_an_address_is_split_for_programs() -> None:
    url = "postgres://us%40er:pa%3Ass@[::1]:5433/My%20DB?sslmode=require&pool_size=5&options=-c%20a%3Db"
    login = Login.read(Secret(url), "DATABASE_URL")
    environ = login.environ('Ünï "db"=1', 7)
    assert environ["PGHOST"] == "::1"
    assert environ["PGPORT"] == "5433"
    assert environ["PGUSER"] == "us@er"
    assert environ["PGDATABASE"] == 'Ünï "db"=1'
    assert environ["PGSSLMODE"] == "require"
    assert environ["PGOPTIONS"] == "-c a=b"
    assert environ["PGPASSFILE"] == "/proc/self/fd/7"
    assert not [name for name in environ if name.startswith("PG") and "pa:ss" in environ[name]]
    assert login.database == "My DB"
    assert login.place == "[::1]:5433"
    assert any("pool_size" in note for note in login.notes)
    assert "pa:ss" not in repr(login)


def test_an_address_that_cannot_be_read_is_not_repeated() -> None:
    with pytest.raises(SettingsError) as raised:
        Login.read(Secret("mysql://user:canary@host/db"), "BACKUP_DATABASE_URL")
    assert str(raised.value).startswith("BACKUP_DATABASE_URL ")
    assert "canary" not in str(raised.value)


def test_the_password_file_is_ours_alone_and_escaped() -> None:
    with password_file(Secret("a:b\\c")) as descriptor:
        assert descriptor is not None
        assert os.fstat(descriptor).st_mode & 0o777 == 0o600
        assert os.pread(descriptor, 100, 0) == b"*:*:*:*:a\\:b\\\\c\n"
        assert not os.get_inheritable(descriptor)
    with password_file(None) as descriptor:
        assert descriptor is None


def test_what_a_restore_left_aside() -> None:
    """Left out is what certainly is ours, stands beside a live database, and is used by nobody."""
    mark = Mark(point="p", database="app", sha256="", state="restored", pid=0, since="").text()
    there = {"app", "app_restored_20261121", "app_before_20261121", "gone_before_20261121", "app_restoring_0a1b2c"}
    long = "x" * 47
    there |= {long + "abcdefg", f"{long}_before_20261121"}

    def aside(name: str, comment: str = "", *used: str) -> bool:
        return is_aside(name, comment, there, set(used))

    assert aside("app_restored_20261121", mark)
    assert aside("app_before_20261121", "any comment")
    assert aside("app_restoring_0a1b2c", mark, "app_restoring_0a1b2c")
    assert aside(f"{long}_before_20261121")  # 63 bytes: the name it begins with was cut
    assert not aside("app_restored_20261121", "made by hand")
    assert not aside("app_restored_20261121", mark, "app_restored_20261121")
    assert not aside("app_before_20261121", "", "app_before_20261121")
    assert not aside("gone_before_20261121")  # there is no live one: it may be the only copy
    assert not aside("app", mark)
