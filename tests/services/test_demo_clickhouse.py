"""Our ClickHouse server answers as a real one does, to plain HTTP and to clickhouse-connect."""

import gzip
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from demo.clickhouse import Clickhouse
from demo.process import DemoError

ASLEEP = (
    "SELECT sum(sleepEachRow(1)) FROM numbers(60) "
    "SETTINGS max_block_size = 1, function_sleep_max_microseconds_per_block = 100000000"
)


@pytest.fixture
def database(clickhouse: Clickhouse) -> Iterator[str]:
    """A database of the test's own."""
    name = f"test_{secrets.token_hex(6)}"
    clickhouse.query(f"CREATE DATABASE {name}")
    yield name
    clickhouse.query(f"DROP DATABASE {name} SYNC")


@pytest.fixture(scope="module")
def http(clickhouse: Clickhouse) -> Iterator[httpx.Client]:
    """A client that says who it is by headers."""
    headers = {"X-ClickHouse-User": clickhouse.user, "X-ClickHouse-Key": clickhouse.password}
    with httpx.Client(base_url=clickhouse.url, headers=headers, trust_env=False, timeout=20) as client:
        yield client


@pytest.fixture(scope="module")
def anonymous(clickhouse: Clickhouse) -> Iterator[httpx.Client]:
    """A client that does not say who it is."""
    with httpx.Client(base_url=clickhouse.url, trust_env=False, timeout=20) as client:
        yield client


@pytest.mark.parametrize("path", ["/ping", "/replicas_status", "/"])
def test_health_needs_no_password(anonymous: httpx.Client, path: str) -> None:
    assert anonymous.get(path).text == "Ok.\n"
    head = anonymous.head(path)
    assert (head.status_code, head.headers["content-length"], head.content) == (200, "4", b"")


def test_post_to_ping(anonymous: httpx.Client) -> None:
    assert anonymous.post("/ping", content="x").text == "Ok.\n"


def test_unknown_path(anonymous: httpx.Client) -> None:
    answer = anonymous.get("/health")
    assert answer.status_code == 404
    assert answer.text.startswith("There is no handle /health\n")


def test_both_address_families(clickhouse: Clickhouse, anonymous: httpx.Client) -> None:
    assert anonymous.get(f"http://[::1]:{clickhouse.port}/ping").text == "Ok.\n"


def test_every_way_of_saying_who_one_is(clickhouse: Clickhouse, anonymous: httpx.Client) -> None:
    user, password = clickhouse.user, clickhouse.password
    asked = {"query": "SELECT 1"}
    for answer in (
        anonymous.get("/", params=asked, headers={"X-ClickHouse-User": user, "X-ClickHouse-Key": password}),
        anonymous.get("/", params=asked, auth=(user, password)),
        anonymous.get("/", params=asked | {"user": user, "password": password}),
    ):
        assert (answer.status_code, answer.text) == (200, "1\n")


@pytest.mark.parametrize(
    ("headers", "parameters", "who"),
    [
        ({}, {}, "default"),
        ({"X-ClickHouse-User": "clickhouse", "X-ClickHouse-Key": "wrong"}, {}, "clickhouse"),
        ({"X-ClickHouse-User": "nobody", "X-ClickHouse-Key": "demo-clickhouse-password"}, {}, "nobody"),
        ({"Authorization": "Basic Y2xpY2tob3VzZTp3cm9uZw=="}, {}, "clickhouse"),
        ({"Authorization": "Basic !!"}, {}, "Invalid authentication"),
        ({"Authorization": "Bearer x"}, {}, "Invalid authentication"),
        ({"X-ClickHouse-User": "clickhouse"}, {"user": "clickhouse"}, "Invalid authentication"),
    ],
)
def test_wrong_credentials(
    anonymous: httpx.Client, headers: dict[str, str], parameters: dict[str, str], who: str
) -> None:
    answer = anonymous.post("/", content="SELECT 1", headers=headers, params=parameters)
    assert answer.status_code == 403
    assert answer.headers["X-ClickHouse-Exception-Code"] == "516"
    assert answer.text.startswith(f"Code: 516. DB::Exception: {who}: ")
    assert "(AUTHENTICATION_FAILED) (version " in answer.text
    assert "wrong" not in answer.text


@pytest.mark.parametrize(
    ("sql", "parameters", "status", "code", "name"),
    [
        ("SELECT * FROM nope", {}, 404, 60, "UNKNOWN_TABLE"),
        ("SELECT 1", {"database": "nope"}, 404, 81, "UNKNOWN_DATABASE"),
        ("SELEC 1", {}, 400, 62, "SYNTAX_ERROR"),
        ("", {}, 400, 62, "SYNTAX_ERROR"),
        ("SELECT 1; SELECT 2", {}, 400, 62, "SYNTAX_ERROR"),
        ("SELECT 1", {"no_such_setting": "1"}, 404, 115, "UNKNOWN_SETTING"),
        ("SELECT 1", {"no-setting'": "1"}, 404, 115, "UNKNOWN_SETTING"),
        ("SELECT 1 FORMAT Nope", {}, 404, 73, "UNKNOWN_FORMAT"),
        ("SELECT throwIf(1)", {}, 500, 395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO"),
        ("SELECT {x:Int8}", {"param_x": "many"}, 500, 457, "BAD_QUERY_PARAMETER"),
        ("SELECT sleep(2)", {"max_execution_time": "0.2"}, 408, 159, "TIMEOUT_EXCEEDED"),
        ("SELECT 1", {"compress": "1"}, 501, 48, "NOT_IMPLEMENTED"),
        ("CREATE USER u", {}, 403, 497, "ACCESS_DENIED"),
        ("DROP DATABASE default", {"readonly": "1"}, 500, 164, "READONLY"),
        ("SELECT 1", {"session_id": "never-seen", "session_check": "1"}, 500, 372, "SESSION_NOT_FOUND"),
        ("SELECT 1", {"session_id": "x", "session_timeout": "soon"}, 500, 374, "INVALID_SESSION_TIMEOUT"),
    ],
)
def test_errors(http: httpx.Client, sql: str, parameters: dict[str, str], status: int, code: int, name: str) -> None:
    answer = http.post("/", content=sql, params=parameters)
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (status, str(code))
    assert re.fullmatch(
        rf"Code: {code}\. DB::Exception: .*\({name}\) \(version 2\d\.\S+ \(official build\)\)\n", answer.text, re.DOTALL
    )
    assert answer.text.count("(version ") == 1


def test_get_may_only_read(http: httpx.Client) -> None:
    assert http.get("/", params={"query": "SELECT 41 + 1"}).text == "42\n"
    answer = http.get("/", params={"query": "CREATE DATABASE from_get"})
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (500, "164")


def test_formats(http: httpx.Client) -> None:
    def asked(sql: str, **how: dict[str, str]) -> tuple[str, str, str]:
        answer = http.post("/", content=sql, **how)  # type: ignore[arg-type]  # httpx names each keyword's type apart
        return answer.headers["X-ClickHouse-Format"], answer.headers["Content-Type"], answer.text

    tsv, ndjson = "text/tab-separated-values; charset=UTF-8", "application/x-ndjson; charset=UTF-8"
    by_header = {"X-ClickHouse-Format": "JSONEachRow"}
    assert asked("SELECT 1 AS a") == ("TabSeparated", tsv, "1\n")
    assert asked("SELECT 1 AS a", params={"default_format": "JSONEachRow"}) == ("JSONEachRow", ndjson, '{"a":1}\n')
    assert asked("SELECT 1 AS a", headers=by_header) == ("JSONEachRow", ndjson, '{"a":1}\n')
    assert asked("SELECT 1 AS a FORMAT TSV", headers=by_header) == ("TSV", tsv, "1\n")
    assert http.post("/", content="SELECT 1 FORMAT JSON").json()["rows"] == 1
    assert "X-ClickHouse-Format" not in http.post("/", content="SYSTEM FLUSH LOGS").headers


def test_headers_of_an_answer(http: httpx.Client) -> None:
    answer = http.post(
        "/", content="SELECT number FROM numbers(5)", params={"query_id": "mine", "wait_end_of_query": "1"}
    )
    assert answer.headers["X-ClickHouse-Query-Id"] == "mine"
    assert answer.headers["X-ClickHouse-Server-Display-Name"] == "demo-clickhouse"
    assert answer.headers["X-ClickHouse-Timezone"]
    summary = answer.headers["X-ClickHouse-Summary"]
    assert '"read_rows":"5"' in summary
    assert '"written_rows":"0"' in summary


def test_query_in_the_url_goes_on_in_the_body(http: httpx.Client, database: str) -> None:
    parameters = {"database": database}
    assert http.post("/", params={"query": "SELECT 1,"}, content="2").text == "1\t2\n"
    http.post("/", params=parameters, content="CREATE TABLE t (a UInt8, b String) ENGINE = MergeTree ORDER BY a")
    for query, body in (
        ("INSERT INTO t FORMAT TSV", b"1\tone\n2\ttwo\n"),
        ("", b'INSERT INTO t (b, a) FORMAT CSV\n"a;b",3\n'),
        ("INSERT INTO t VALUES", b"(4, 'it''s'), (5, 'x')"),
        ("INSERT INTO t FORMAT JSONEachRow", b'{"a":6,"b":"\\u00e9"}'),
        ("INSERT INTO t SELECT number + 7, 'q' FROM numbers(2)", b""),
    ):
        assert http.post("/", params=parameters | {"query": query}, content=body).status_code == 200
    assert http.post("/", params=parameters, content="SELECT a, b FROM t ORDER BY a").text.splitlines() == [
        *("1\tone", "2\ttwo", "3\ta;b", "4\tit\\'s", "5\tx", "6\té", "7\tq", "8\tq")
    ]


def test_native_goes_out_and_comes_back_in(http: httpx.Client, database: str) -> None:
    parameters = {"database": database}
    http.post(
        "/", params=parameters, content="CREATE TABLE t (a UInt64, b Array(String)) ENGINE = MergeTree ORDER BY a"
    )
    rows = http.post("/", content="SELECT number AS a, ['x\\0y'] AS b FROM numbers(100000) FORMAT Native").content

    def pieces() -> Iterator[bytes]:  # a generator makes httpx send chunks
        for start in range(0, len(rows), 70_000):
            yield rows[start : start + 70_000]

    answer = http.post("/", params=parameters | {"query": "INSERT INTO t FORMAT Native"}, content=pieces())
    assert '"written_rows":"100000"' in answer.headers["X-ClickHouse-Summary"]
    assert http.post("/", params=parameters, content="SELECT count(), max(a), any(b) FROM t").text == (
        "100000\t99999\t['x\\0y']\n"
    )
    bad = http.post("/", params=parameters | {"query": "INSERT INTO t FORMAT TSV"}, content="1\t['a']\nx\t[]\n")
    assert (bad.status_code, bad.headers["X-ClickHouse-Exception-Code"]) == (400, "27")


def test_what_the_table_or_a_view_refuses_is_an_error(http: httpx.Client, database: str) -> None:
    """What chdb parsed and could not store must not be told as done."""
    parameters = {"database": database}
    for sql in (
        "CREATE TABLE t (a UInt8, b String, CONSTRAINT small CHECK a < 5) ENGINE = MergeTree ORDER BY a",
        "CREATE TABLE source (a UInt8, b String) ENGINE = MergeTree ORDER BY a",
        "CREATE MATERIALIZED VIEW view TO t AS SELECT a, b FROM source",
        "CREATE TABLE settings (a UInt8) ENGINE = MergeTree ORDER BY a",
    ):
        assert http.post("/", params=parameters, content=sql).status_code == 200
    for into in ("t", "source"):
        for sql in ("VALUES (7, 'x')", "FORMAT TSV\n7\tx\n", "SETTINGS max_threads = 1 FORMAT CSV\n7,x\n"):
            answer = http.post("/", params=parameters, content=f"INSERT INTO {into} (a, b) {sql}")
            assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (500, "469"), (into, sql)
    assert http.post("/", params=parameters, content="INSERT INTO settings VALUES (1)").status_code == 200
    assert http.post("/", params=parameters, content="SELECT count() FROM t").text == "0\n"


def test_half_an_insert_is_none(clickhouse: Clickhouse, http: httpx.Client, database: str) -> None:
    http.post("/", params={"database": database}, content="CREATE TABLE t (a UInt8) ENGINE = MergeTree ORDER BY a")
    line = f"POST /?database={database}&query=INSERT+INTO+t+FORMAT+TSV HTTP/1.1\r\n"
    who = f"X-ClickHouse-User: {clickhouse.user}\r\nX-ClickHouse-Key: {clickhouse.password}\r\n"
    for body in ("Content-Length: 100\r\n\r\n1\n2\n", "Transfer-Encoding: chunked\r\n\r\n4\r\n1\n2\n\r\n"):
        with socket.create_connection((clickhouse.host, clickhouse.port)) as connection:
            connection.sendall((line + who + body).encode())
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(1) == b""
    assert http.post("/", params={"database": database}, content="SELECT count() FROM t").text == "0\n"


def test_compression(http: httpx.Client) -> None:
    wanted = {"Accept-Encoding": "gzip"}
    on = {"enable_http_compression": "1"}
    packed = http.post("/", content="SELECT number FROM numbers(1000)", params=on, headers=wanted)
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.text.splitlines()[-1] == "999"
    assert "Content-Encoding" not in http.post("/", content="SELECT 1", headers=wanted).headers
    sent = gzip.compress(b"SELECT 1") + gzip.compress(b" + 1")
    assert http.post("/", content=sent, headers={"Content-Encoding": "gzip"}).text == "2\n"
    broken = http.post("/", content=b"SELECT 1", headers={"Content-Encoding": "gzip"})
    assert (broken.status_code, broken.headers["X-ClickHouse-Exception-Code"]) == (500, "89")


def test_settings_and_parameters_end_with_their_request(http: httpx.Client) -> None:
    for session in ({}, {"session_id": secrets.token_hex(4)}):
        asked = "SELECT getSetting('max_result_rows'), currentDatabase()"
        changed = {"max_result_rows": "77", "database": "system"}
        assert http.post("/", content=asked, params=session | changed).text == "77\tsystem\n"
        assert http.post("/", content=asked, params=session).text == "0\tdefault\n"
    answer = http.post(
        "/", content="SELECT {a:String}, {b:Array(UInt8)}", params={"param_a": "x\\ty'", "param_b": "[1,2]"}
    )
    assert answer.text == "x\\ty\\'\t[1,2]\n"


def test_a_session_keeps_what_it_set(http: httpx.Client) -> None:
    session = {"session_id": secrets.token_hex(4)}
    http.post("/", content="SET max_result_rows = 5", params=session)
    http.post("/", content="CREATE TEMPORARY TABLE kept (a UInt8)", params=session)
    http.post("/", content="INSERT INTO kept VALUES (9)", params=session)
    asked = "SELECT a, getSetting('max_result_rows') FROM kept"
    assert http.post("/", content=asked, params=session | {"max_result_rows": "6"}).text == "9\t6\n"
    assert http.post("/", content=asked, params=session).text == "9\t5\n"
    assert http.post("/", content=asked).status_code == 404


def test_a_session_takes_one_query_at_a_time(clickhouse: Clickhouse, http: httpx.Client) -> None:
    session = {"session_id": secrets.token_hex(4)}
    long = threading.Thread(target=http.post, args=("/",), kwargs={"content": "SELECT sleep(1.5)", "params": session})
    long.start()
    time.sleep(0.5)
    answer = http.post("/", content="SELECT 1", params=session)
    long.join()
    assert (answer.status_code, answer.headers["X-ClickHouse-Exception-Code"]) == (500, "373")
    assert http.post("/", content="SELECT 1", params=session).status_code == 200


def test_long_queries_hold_nobody_up(clickhouse: Clickhouse, http: httpx.Client) -> None:
    answers: list[str] = []
    sleepers = [
        threading.Thread(target=lambda: answers.append(http.post("/", content="SELECT sleep(1.5)").text))
        for _ in range(6)
    ]
    began = time.monotonic()
    for sleeper in sleepers:
        sleeper.start()
    time.sleep(0.3)
    while any(sleeper.is_alive() for sleeper in sleepers):
        asked = time.monotonic()
        assert http.get("/ping").text == "Ok.\n"
        assert http.post("/", content="SELECT 1").text == "1\n"
        assert time.monotonic() - asked < 1
    assert answers == ["0\n"] * 6
    assert time.monotonic() - began < 6  # one after the other they would take nine seconds


def test_an_error_after_the_first_rows_breaks_the_answer_off(http: httpx.Client) -> None:
    sql = "SELECT throwIf(number = 900000) FROM numbers(1000000) SETTINGS max_block_size = 10000"
    received = bytearray()
    with http.stream("POST", "/", content=sql) as answer:
        assert answer.status_code == 200
        tag = answer.headers["X-ClickHouse-Exception-Tag"]
        with pytest.raises(httpx.RemoteProtocolError):
            drain(answer, received)
    assert received.startswith(b"0\n")
    assert f"__exception__\r\n{tag}\r\nCode: 395. DB::Exception: ".encode() in received
    assert http.post("/", content=sql, params={"wait_end_of_query": "1"}).status_code == 500


def drain(answer: httpx.Response, received: bytearray) -> None:
    for piece in answer.iter_bytes():
        received += piece


def test_a_client_that_leaves_ends_its_query(clickhouse: Clickhouse, http: httpx.Client) -> None:
    mark = secrets.token_hex(6)
    with http.stream("POST", "/", content=f"SELECT number, '{mark}' FROM system.numbers") as answer:
        next(answer.iter_bytes())
    deadline = time.monotonic() + 10
    while clickhouse.query(f"SELECT count() FROM system.processes WHERE query LIKE '%numbers%{mark}%'") != "1\n":
        assert time.monotonic() < deadline  # the one that is left is the question itself
        time.sleep(0.1)


def test_query_log_and_kill(clickhouse: Clickhouse, http: httpx.Client) -> None:
    mark = secrets.token_hex(6)
    codes: list[str] = []
    sql = ASLEEP.replace("SELECT", f"SELECT /* {mark} */ '{mark}',")
    sleeper = threading.Thread(
        target=lambda: codes.append(http.post("/", content=sql).headers["X-ClickHouse-Exception-Code"])
    )
    sleeper.start()
    kill = f"KILL QUERY WHERE query LIKE '%{mark}%' AND query NOT LIKE 'KILL%' ASYNC"
    deadline = time.monotonic() + 30
    killed = False
    while sleeper.is_alive():  # the engine looks between two blocks whether it was killed
        assert time.monotonic() < deadline
        killed |= bool(clickhouse.query(kill))
        time.sleep(0.1)
    sleeper.join()
    assert killed
    assert codes == ["394"]
    clickhouse.query("SYSTEM FLUSH LOGS")
    logged = (
        f"SELECT DISTINCT exception_code FROM system.query_log WHERE query LIKE 'SELECT%{mark}%' AND exception != ''"
    )
    assert "394\n" in clickhouse.query(logged)


def test_langfuse_tables(clickhouse: Clickhouse) -> None:
    assert clickhouse.query("SELECT uniqExact(id), count() > 2000 FROM traces") == "2000\t1\n"
    assert clickhouse.query("SELECT count() FROM traces FINAL") == "2000\n"
    assert (
        clickhouse.query("SELECT count(), countIf(trace_id IN (SELECT id FROM traces)) FROM observations")
        == "6000\t6000\n"
    )
    assert clickhouse.query("SELECT count() FROM scores") == "1000\n"
    # the view saw every generation
    assert clickhouse.query("SELECT sum(calls) FROM model_usage_by_day") == "2000\n"
    assert clickhouse.query("SELECT engine FROM system.databases WHERE name = 'default'") == "Atomic\n"


def test_variables(clickhouse: Clickhouse) -> None:
    assert clickhouse.environ() == {
        "CLICKHOUSE_URL": f"http://127.0.0.1:{clickhouse.port}",
        "CLICKHOUSE_USER": "clickhouse",
        "CLICKHOUSE_PASSWORD": "demo-clickhouse-password",
        "CLICKHOUSE_DB": "default",
    }
    arguments = " ".join(psutil.Process(clickhouse.pid).cmdline())
    assert clickhouse.password not in arguments


def test_a_missing_engine_is_named(tmp_path: Path) -> None:
    with pytest.raises(DemoError, match="run: make venv"):
        Clickhouse(python=tmp_path / "python").command()
