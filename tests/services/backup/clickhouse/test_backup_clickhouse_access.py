"""Users and roles out and back, on a server of one's own: the demo's engine has no users that SQL could make."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest

from backup.clickhouse.client import Server
from backup.errors import SourceError
from config.secret import Secret

KINDS = ("USER", "ROLE", "QUOTA", "SETTINGS PROFILE", "FUNCTION")


@pytest.fixture
def names(lab: Any, own_server: str, database: str) -> Iterator[dict[str, str]]:
    """One of each, with what hangs on it, gone afterwards. By kind."""
    tail = uuid4().hex[:8]
    made = {kind: f"wk_{kind.lower().replace(' ', '_')}_{tail}" for kind in KINDS}
    lab.run(f"CREATE SETTINGS PROFILE {made['SETTINGS PROFILE']} SETTINGS max_threads = 3")
    lab.run(f"CREATE ROLE {made['ROLE']}")
    lab.run(f"GRANT SELECT ON system.one TO {made['ROLE']}")
    lab.run(
        f"CREATE USER {made['USER']} IDENTIFIED WITH sha256_password BY 'first-{tail}' "
        f"DEFAULT ROLE NONE SETTINGS PROFILE '{made['SETTINGS PROFILE']}'"
    )
    lab.run(f"GRANT {made['ROLE']} TO {made['USER']}")
    lab.run(f"CREATE QUOTA {made['QUOTA']} FOR INTERVAL 1 hour MAX queries = 1000 TO {made['USER']}")
    lab.run(f"CREATE FUNCTION {made['FUNCTION']} AS (x) -> x + 1")
    yield made
    for kind, name in made.items():
        lab.run(f"DROP {kind} IF EXISTS {name}")


def definitions(lab: Any, names: dict[str, str]) -> list[str]:
    """How the server says each would be made, and what the user may do."""
    found = [str(lab.server.value(f"SHOW CREATE {kind} {name}")) for kind, name in names.items() if kind != "FUNCTION"]
    grants = lab.server.rows(f"SHOW GRANTS FOR {names['USER']}")
    function = lab.server.value(
        "SELECT create_query FROM system.functions WHERE name = {n:String}", {"n": names["FUNCTION"]}
    )
    return [*found, *(str(row) for row in grants), str(function)]


def log_in(lab: Any, user: str, password: str) -> int:
    """What SELECT 1 gives when asked as that user."""
    server = Server(replace(lab.settings.clickhouse, user=user, password=Secret(password)), lab.mask)
    try:
        return int(server.value("SELECT 1 AS one"))
    finally:
        server.close()


def test_users_and_what_belongs_to_them_come_back(lab: Any, database: str, names: dict[str, str]) -> None:
    password = f"first-{names['USER'][-8:]}"
    before = definitions(lab, names)
    artifact = lab.back_up(database)["access"]
    assert artifact.status == "whole", artifact.error
    assert lab.heard.notes == []
    for kind, name in names.items():
        lab.run(f"DROP {kind} {name}")
    lab.restorer().access(artifact, lab.prefix)
    assert definitions(lab, names) == before
    assert log_in(lab, names["USER"], password) == 1


def test_a_password_that_was_changed_since_stays(lab: Any, database: str, names: dict[str, str]) -> None:
    artifact = lab.back_up(database)["access"]
    lab.run(f"ALTER USER {names['USER']} IDENTIFIED WITH sha256_password BY 'second'")
    lab.restorer().access(artifact, lab.prefix)
    assert log_in(lab, names["USER"], "second") == 1


def test_a_user_that_may_not_back_users_up_backs_up_the_databases(
    lab: Any, database: str, names: dict[str, str]
) -> None:
    lab.run(f"GRANT BACKUP, SHOW, SELECT ON *.* TO {names['USER']}")
    lab.run(f"GRANT S3 ON *.* TO {names['USER']}")
    lab.run(f"REVOKE BACKUP ON system.* FROM {names['USER']}")
    settings = {"user": names["USER"], "password": Secret(f"first-{names['USER'][-8:]}")}
    made = lab.back_up(database, **settings)
    assert made[database].status == "whole", made[database].error
    assert any("not in the backup of ClickHouse: users" in note for note in lab.heard.notes)
    lab.run(f"REVOKE BACKUP ON *.* FROM {names['USER']}")
    with pytest.raises(SourceError, match="GRANT BACKUP"):
        lab.back_up(database, **settings)
