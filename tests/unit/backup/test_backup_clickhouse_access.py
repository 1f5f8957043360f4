"""What ClickHouse is told about users and roles. The demo's engine has none, so that a server of one's own
(CLICKHOUSE_TEST_URL, tests/services/backup/clickhouse/test_backup_clickhouse_access.py) is the only proof that it
does it; here are our statements, and what we make of its answers."""

import re
import threading
from typing import Any

import pytest

from backup.clickhouse.client import ClickhouseError
from backup.clickhouse.explain import explain
from backup.clickhouse.place import Place
from backup.clickhouse.preflight import ACCESS, Preflight
from backup.clickhouse.restore import Restorer
from backup.errors import DumpError, StoppedError
from backup.manifest import Artifact
from config.logs import Mask

PLACE = Place(url="http://store:9000/backups", prefix="wk/")
DENIED = "Code: 497. DB::Exception: demo: Not enough privileges. it's necessary to have the grant BACKUP ON system.{}."
NO_STORAGE = "Code: 664. DB::Exception: Backup of access entities is not allowed in [users_xml] (ACCESS_STORAGE)"


class Server:
    """Takes statements and remembers them; `refuses` are messages by a word of the statement. What it backs up is then
    in `storage`."""

    version = "25.8.1.1"

    def __init__(self, storage: Any, refuses: dict[str, str] | None = None) -> None:
        self.storage = storage
        self.mask = Mask()
        self.refuses = refuses or {}
        self.said: list[str] = []

    def run_long(self, sql: str, *, of: str, **_: Any) -> list[Any]:
        self.run(sql, of=of)
        key = re.search(r"S3\('http://store:9000/backups/wk/([^']*)'", sql)
        assert key is not None
        self.storage.put(f"{key[1]}/.backup", b"<config></config>")
        return []

    def run(self, sql: str, *, of: str = "the statement", **_: Any) -> None:
        self.said.append(sql)
        for word, message in self.refuses.items():
            if word in sql:
                raise ClickhouseError(of, explain(message, self.mask))

    def rows(self, sql: str, parameters: Any = None) -> list[dict[str, Any]]:
        if "system.backups" not in sql:
            return []
        status = "RESTORE_FAILED" if "failed" in self.refuses else "RESTORED"
        return [{"status": status, "error": self.refuses.get("failed", ""), "query_id": "q"}]


def preflight(memory: Any, server: Server) -> Preflight:
    made: Any = server
    return Preflight(made, PLACE, memory, "default", threading.Event())


def test_users_and_roles_are_tried_wholly_since_their_structure_says_nothing(memory: Any) -> None:
    server = Server(memory)
    assert preflight(memory, server).access() == (list(ACCESS), [])
    assert len(server.said) == 1
    for one in ACCESS:
        assert f"TABLE system.{one}" in server.said[0]
    assert "structure_only" not in server.said[0]
    assert not list(memory.list(""))
    preflight(memory, server).databases(["litellm"])
    assert server.said[1].endswith("SETTINGS structure_only = 1")


def test_what_may_not_be_backed_up_is_named_and_costs_the_rest_nothing(memory: Any) -> None:
    server = Server(memory, {"system.users": NO_STORAGE, "system.quotas": DENIED.format("quotas")})
    tables, why = preflight(memory, server).access()
    assert tables == [one for one in ACCESS if one not in ("users", "quotas")]
    assert len(why) == 2
    assert why[0].startswith("users (a test backup failed: Backup of access entities is not allowed in [users_xml]")
    assert "users.xml" in why[0]
    assert "grant it what the message names" in why[1]


def test_a_user_without_any_right_to_it_is_one_line(memory: Any) -> None:
    server = Server(memory, {"TABLE system.": DENIED.format("users")})
    tables, why = preflight(memory, server).access()
    assert tables == []
    assert len(why) == 1
    assert why[0].startswith("users, roles, settings_profiles, row_policies, quotas, functions (")


ARTIFACT = Artifact(
    engine="clickhouse",
    kind="globals",
    name="access",
    status="whole",
    server="25.8.1.1",
    detail={"folder": "clickhouse/~access", "what": "TABLE system.users, TABLE system.roles"},
)


def restorer(memory: Any, server: Server) -> Restorer:
    memory.put("default/p/clickhouse/~access/.backup", b"<config></config>")
    made: Any = server
    return Restorer(made, PLACE, memory, stop=threading.Event())


def test_users_that_exist_are_left_as_they_are(memory: Any) -> None:
    server = Server(memory)
    restorer(memory, server).access(ARTIFACT, "default/p/")
    (statement,) = server.said
    assert statement.startswith("RESTORE TABLE system.users, TABLE system.roles FROM S3('http://store:9000/backups/wk/")
    assert "default/p/clickhouse/~access'" in statement
    assert "create_access = 'if-not-exists'" in statement
    assert statement.endswith(" ASYNC")


def test_a_restore_of_users_that_fails_says_why(memory: Any) -> None:
    server = Server(memory, {"failed": DENIED.format("users")})
    with pytest.raises(DumpError, match=r"users and roles: .*Not enough privileges.*grant it what the message names"):
        restorer(memory, server).access(ARTIFACT, "default/p/")


def test_a_trial_that_is_told_to_end_leaves_nothing_in_the_store(memory: Any) -> None:
    class Stopped(Server):
        def run_long(self, sql: str, *, of: str, **_: Any) -> list[Any]:
            super().run_long(sql, of=of)
            raise StoppedError("told to stop")

    with pytest.raises(StoppedError):
        preflight(memory, Stopped(memory)).databases(["litellm"])
    assert not list(memory.list(""))
