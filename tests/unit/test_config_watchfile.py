"""WATCH_FILE: services of the user's own, and changes to the presets'."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from config.causes import Cause
from config.checks import (
    ClickhouseParams,
    DnsParams,
    GrpcParams,
    HttpParams,
    PostgresParams,
    RedisParams,
    S3Params,
    TcpParams,
    TlsParams,
)
from config.presets import presets
from config.secret import Secret
from config.services import Check, Discovery, Service, discover
from config.watchfile import line_of

CANARY = "c4n4ryS3cret"
BASE = {"LITELLM_URL": "litellm:4000", "DATABASE_URL": "postgres://db", "REDIS_URL": "redis://r"}

Told = Callable[..., Discovery]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    """What is discovered with a WATCH_FILE of this text beside BASE."""

    def discover_with(text: str, environ: Mapping[str, str] | None = None) -> Discovery:
        path = tmp_path / "watch.toml"
        path.write_text(text, encoding="utf-8")
        return discover({**BASE, "WATCH_FILE": str(path), **(environ or {})})

    return discover_with


def services(discovery: Discovery) -> dict[str, Service]:
    assert [str(problem) for problem in discovery.problems] == []
    return {service.name: service for service in discovery.services}


def check(service: Service, name: str) -> Check:
    return next(check for check in service.checks if check.name == name)


def test_a_service_of_each_kind(told: Told) -> None:
    discovery = told(
        """
        [services.mine]
        title = "My API"
        depends_on = ["postgres", "redis"]
        start_period = 5
        [services.mine.remedies]
        refused = "Call Anna."
        [services.mine.checks.health]
        kind = "http"
        url = "http://me:${MINE_PASSWORD}@mine:9000/health/?deep=1#x"
        headers = { X-Token = "${MINE_TOKEN}", Accept = "application/json" }
        expect_json = "status == 'ok'"
        expect_header = { content-type = "json" }
        facts = { version = "version", server = "header:server" }
        signs = [{ name = "full", json = "status == `507`", cause = "capacity", says = "full" }]
        [services.mine.checks.port]
        kind = "tcp"
        host = "::1"
        port = 25
        send = "EHLO"
        expect = "^250"
        [services.mine.checks.certificate]
        kind = "tls"
        host = "mine.example.com"
        port = 443
        warn_days = 30
        [services.mine.checks.name]
        kind = "dns"
        name = "mine.example.com"
        types = ["A", "AAAA"]
        [services.mine.checks.grpc]
        kind = "grpc"
        host = "mine"
        port = 50051
        service = "mine.v1"
        [services.mine.checks.database]
        kind = "postgres"
        host = "db"
        password = "${MINE_PASSWORD}"
        [services.mine.checks.cache]
        kind = "redis"
        host = "cache"
        port = "${CACHE_PORT}"
        password = "literal-secret"
        [services.mine.checks.lake]
        kind = "clickhouse"
        url = "http://me:${MINE_PASSWORD}@lake:8123"
        [services.mine.checks.store]
        kind = "s3"
        url = "store:9000"
        access_key = "${MINE_TOKEN}"
        secret_key = "${MINE_PASSWORD}"
        bucket = "things"
        """,
        {"MINE_PASSWORD": CANARY, "MINE_TOKEN": CANARY, "CACHE_PORT": "6380"},
    )
    mine = services(discovery)["mine"]
    secret = Secret(CANARY)
    assert (mine.kind, mine.title, mine.depends_on, mine.start_period) == ("custom", "My API", ("postgres", "redis"), 5)
    assert mine.address == "http://mine:9000/health/"
    assert mine.remedies == {Cause.REFUSED: "Call Anna."}
    health = check(mine, "health").params
    assert isinstance(health, HttpParams)
    assert health.url == "http://mine:9000/health/?deep=1"
    assert health.headers["X-Token"] == secret
    assert health.headers["Accept"] == "application/json"
    assert isinstance(health.headers["Authorization"], Secret)
    assert health.signs[0].cause == Cause.CAPACITY
    assert {name: check(mine, name).params for name in ("port", "certificate", "name", "grpc", "database")} == {
        "port": TcpParams(host="::1", port=25, send="EHLO", expect="^250"),
        "certificate": TlsParams(host="mine.example.com", port=443, warn_days=30),
        "name": DnsParams(name="mine.example.com", types=("A", "AAAA")),
        "grpc": GrpcParams(host="mine", port=50051, service="mine.v1"),
        "database": PostgresParams(host="db", password=secret),
    }
    assert {name: check(mine, name).params for name in ("cache", "lake", "store")} == {
        "cache": RedisParams(host="cache", port=6380, password=Secret("literal-secret")),
        "lake": ClickhouseParams(url="http://lake:8123", user="me", password=secret),
        "store": S3Params(url="http://store:9000", access_key=secret, secret_key=secret, bucket="things"),
    }
    assert CANARY not in repr(discovery)
    assert "literal-secret" not in repr(discovery)
    assert {CANARY, "literal-secret"} <= {item.reveal() for item in discovery.secrets}


def test_a_preset_is_changed_where_the_file_says_so(told: Told) -> None:
    litellm = services(
        told(
            """
            [defaults]
            interval = 30
            success_threshold = 4
            start_period = 7
            [services.litellm]
            failure_threshold = 9
            depends_on = ["redis"]
            remedies = { refused = "Call Anna." }
            [services.litellm.checks.alive]
            interval = 20
            severity = "degraded"
            latency_threshold = 1.5
            [services.litellm.checks.port]
            kind = "tcp"
            host = "litellm"
            port = 4000
            [services.redis]
            paused = true
            """
        )
    )["litellm"]
    alive, ready = check(litellm, "alive"), check(litellm, "ready")
    assert [item.name for item in litellm.checks] == ["alive", "ready", "port"]
    assert (alive.interval, alive.severity, alive.latency_threshold) == (20, "degraded", 1.5)
    assert (ready.interval, ready.severity, ready.latency_threshold) == (30, "down", None)
    assert (alive.failure_threshold, alive.success_threshold) == (9, 4)
    assert (litellm.depends_on, litellm.start_period) == (("redis",), 7)
    assert litellm.remedies[Cause.REFUSED] == "Call Anna."
    assert Cause.NO_ANSWER in litellm.remedies


def test_the_nearest_word_on_a_time_counts(told: Told) -> None:
    text = "[defaults]\ninterval = 30\n[services.a]\ninterval = 20\n[services.a.checks.x]\nkind = 'dns'\nname = 'x'\n"
    assert check(services(told(text))["a"], "x").interval == 20
    assert check(services(told(text + "interval = 10\n"))["a"], "x").interval == 10
    made = services(told(text, {"CHECK_INTERVAL": "50", "PROBE_TIMEOUT": "40"}))
    assert (check(made["litellm"], "alive").interval, check(made["litellm"], "alive").timeout) == (30, 15)


def test_a_service_over_https_has_an_hourly_certificate_check_unless_told_otherwise(told: Told) -> None:
    environ = {"LANGFUSE_URL": "https://langfuse.example.com"}
    assert check(services(told("", environ))["langfuse-web"], "certificate").interval == 3600
    made = services(told("[services.langfuse-web]\ninterval = 20\n", environ))["langfuse-web"]
    assert check(made, "certificate").interval == 20


def test_a_check_is_turned_off(told: Told) -> None:
    text = "[services.litellm.checks.ready]\nenabled = false\n"
    assert [item.name for item in services(told(text))["litellm"].checks] == ["alive"]


def test_leaving_the_database_out_means_litellm_is_not_expected_to_have_one(told: Told) -> None:
    ready = check(services(told('[services.litellm]\ndepends_on = ["redis"]\n'))["litellm"], "ready").params
    assert isinstance(ready, HttpParams)
    assert "database_never_connected" not in [sign.name for sign in ready.signs]


def test_a_service_alone_in_the_file_is_enough(tmp_path: Path) -> None:
    path = tmp_path / "watch.toml"
    path.write_text('[services.a.checks.x]\nkind = "dns"\nname = "a.example.com"\n')
    assert [service.name for service in discover({}, watch_file=path).services] == ["a"]


def test_changes_to_what_is_not_watched_here_are_noted(told: Told) -> None:
    discovery = told('[services.clickhouse]\ninterval = 5\n[services.litellm]\ndepends_on = ["minio", "redis"]\n')
    assert services(discovery)["litellm"].depends_on == ("redis",)
    assert any("clickhouse is not watched here" in note for note in discovery.notes)
    assert any("minio is not watched" in note for note in discovery.notes)


CHECK = "[services.a.checks.x]\n"
HTTP = CHECK + 'kind = "http"\nurl = "http://a:1"\n'
TCP = CHECK + 'kind = "tcp"\nport = 1\n'
GRPC = CHECK + 'kind = "grpc"\nhost = "a"\n'
PG = CHECK + 'kind = "postgres"\nhost = "a"\n'
LAKE = CHECK + 'kind = "clickhouse"\n'
STORE = CHECK + 'kind = "s3"\n'
HOSTS = [
    ("'h:6379'", "into its own key"),
    ("'http://h'", "is an address"),
    ("'[::1]'", "has brackets"),
    ("''", "is empty"),
    ("'h y'", "no host name has"),
    ("'-h'", "no host name has"),
]
DIALLED = ("tcp", "tls", "redis", "postgres", "grpc")


ALL_OFF = "".join(f"[services.redis.checks.{name}]\nenabled = false\n" for name in presets()["redis"].checks)


@pytest.mark.parametrize(
    ("text", "line", "place", "says"),
    [
        ("[sevices.a]\n", 1, "sevices", "did you mean services?"),
        ("[services.litelm]\ninterval = 5\n", 1, "services.litelm", "did you mean litellm?"),
        ("[services.litellm]\n\nintervall = 5\n", 3, "services.litellm.intervall", "did you mean interval?"),
        ("[services.litellm]\ninterval = -5\n", 2, "services.litellm.interval", "out of range"),
        ("[services.litellm]\ninterval = nan\n", 2, "services.litellm.interval", "out of range"),
        ('[services.litellm]\ninterval = "5s"\n', 2, "services.litellm.interval", "is text, not a number"),
        ("[services.litellm]\ninterval = true\n", 2, "services.litellm.interval", "is true or false, not a number"),
        (
            "[services.litellm]\nfailure_threshold = 1.5\n",
            2,
            "services.litellm.failure_threshold",
            "not a whole number",
        ),
        ("[services.litellm]\ninterval = 5\ntimeout = 5\n", 1, "services.litellm.checks.alive.timeout", "not below"),
        ("[services.litellm]\npaused = 1\n", 2, "services.litellm.paused", "not true or false"),
        ('[services.litellm]\ndepends_on = "redis"\n', 2, "services.litellm.depends_on", "is text, not a list"),
        ('[services.litellm]\ndepends_on = ["reddis-x"]\n', 2, "services.litellm.depends_on", "not known"),
        ('[services.litellm]\nremedies = { down = "x" }\n', 2, "services.litellm.remedies", "not one of the words"),
        ("[services.litellm.checks.redy]\ninterval = 5\n", 1, "services.litellm.checks.redy", "did you mean ready?"),
        (
            "[services.litellm.checks.ready]\nkind = 'tcp'\n",
            2,
            "services.litellm.checks.ready.kind",
            "cannot be",
        ),
        (ALL_OFF, 1, "services.redis", "no check that is on"),
        ("[services.A_b.checks.x]\n", 1, "services.A_b", "not a name"),
        ("[services.a.checks]\n", 1, "services.a", "no check of its own"),
        ("services = 3\n", 1, "services", "not a table"),
        ("[services]\na = 3\n", 2, "services.a", "not a table"),
        ("defaults = 3\n", 1, "defaults", "not a table"),
        ("[defaults]\ntimeout = 90\n", 2, "defaults.timeout", "not below the interval"),
        ("[defaults]\nkind = 'http'\n", 2, "defaults.kind", "not a known key"),
        (CHECK + 'url = "http://a"\n', 1, "services.a.checks.x", "lacks kind"),
        (CHECK + 'kind = "htp"\n', 2, "services.a.checks.x.kind", "did you mean http?"),
        (CHECK + 'kind = "http"\n', 1, "services.a.checks.x", "lacks url"),
        (HTTP + "exect_json = 'a'\n", 4, "services.a.checks.x.exect_json", "did you mean expect_json?"),
        (HTTP + "expect_json = 'a =='\n", 4, "services.a.checks.x.expect_json", "not a JMESPath"),
        (HTTP + "expect_json = 'size(a)'\n", 4, "services.a.checks.x.expect_json", "function that does not exist"),
        (HTTP + "expect_json = 'length(a, b)'\n", 4, "services.a.checks.x.expect_json", "too few or too many"),
        (HTTP + "expect_text = '('\n", 4, "services.a.checks.x.expect_text", "not a regular expression"),
        (HTTP + "expect_header = { a = '(' }\n", 4, "services.a.checks.x.expect_header", "not a regular expression"),
        (HTTP + "facts = { a = '(' }\n", 4, "services.a.checks.x.facts", "not a JMESPath"),
        (HTTP + "status = [99]\n", 4, "services.a.checks.x.status", "out of range"),
        (HTTP + "status = 200\n", 4, "services.a.checks.x.status", "not a list"),
        (HTTP + "headers = 'x'\n", 4, "services.a.checks.x.headers", "not a table"),
        (HTTP + "headers = { a = 1 }\n", 4, "services.a.checks.x.headers", "not text"),
        (HTTP + "severity = 'bad'\n", 4, "services.a.checks.x.severity", "not one of the words"),
        (HTTP + "timeout = 60\n", 4, "services.a.checks.x.timeout", "not below"),
        (HTTP + "latency_threshold = 10\n", 4, "services.a.checks.x.latency_threshold", "not below"),
        (HTTP + "signs = [{ name = 'a' }]\n", 4, "services.a.checks.x.signs", "exactly one of json, text and header"),
        (HTTP + "signs = [{ name = 'a', txt = 'b' }]\n", 4, "services.a.checks.x.signs", "did you mean text?"),
        (HTTP + "signs = [{ name = 'a', header = 'b' }]\n", 4, "services.a.checks.x.signs", "name: regular expression"),
        (HTTP + "signs = ['a']\n", 4, "services.a.checks.x.signs", "not a table"),
        (HTTP + "body = '${{x.Y}}'\n", 4, "services.a.checks.x.body", "for variables only"),
        (HTTP + "body = '${NOT_SET}'\n", 4, "services.a.checks.x.body", "needs the variable NOT_SET"),
        (HTTP + "body = 1979-05-27\n", 4, "services.a.checks.x.body", "is a date or time"),
        (CHECK + 'kind = "http"\nurl = "redis://a"\n', 3, "services.a.checks.x.url", "redis://"),
        (CHECK + 'kind = "http"\nurl = "http://a/?k=${TOKEN}"\n', 3, "services.a.checks.x.url", "addresses are shown"),
        (CHECK + 'kind = "http"\nurl = "${ASKS}"\n', 3, "services.a.checks.x.url", "addresses are shown"),
        (CHECK + 'kind = "http"\nurl = "http://u:${TOKEN}#@a"\n', 3, "services.a.checks.x.url", "after the host"),
        (CHECK + 'kind = "tcp"\nhost = "a"\nport = 70000\n', 4, "services.a.checks.x.port", "out of range"),
        (CHECK + 'kind = "tcp"\nhost = "a"\nport = "${TOKEN}"\n', 4, "services.a.checks.x.port", "holds no number"),
        *((TCP + f"host = {host}\n", 4, "services.a.checks.x.host", says) for host, says in HOSTS),
        *((f"{CHECK}kind = '{kind}'\nhost = ''\n", 3, "services.a.checks.x.host", "is empty") for kind in DIALLED),
        (CHECK + 'kind = "dns"\nname = ""\n', 3, "services.a.checks.x.name", "no name"),
        (CHECK + 'kind = "dns"\nname = "http://a"\n', 3, "services.a.checks.x.name", "no name"),
        (HTTP + "headers = { 'X A' = 'b' }\n", 4, "services.a.checks.x.headers", "no header can have"),
        (HTTP + 'headers = { X-A = "b\\nX-C: d" }\n', 4, "services.a.checks.x.headers", "header cannot carry"),
        (HTTP + "headers = { X-A = '☃' }\n", 4, "services.a.checks.x.headers", "header cannot carry"),
        (HTTP + "headers = { X-A = 'b ' }\n", 4, "services.a.checks.x.headers", "header cannot carry"),
        (HTTP + "headers = { X-Key = '${SNOW}' }\n", 4, "services.a.checks.x.headers", "header cannot carry"),
        (HTTP + "headers = { Content-Length = '5' }\n", 4, "services.a.checks.x.headers", "sets Content-Length"),
        (HTTP + "method = 'GET X'\n", 4, "services.a.checks.x.method", "no HTTP method"),
        (HTTP + "paths = []\n", 4, "services.a.checks.x.paths", "is empty"),
        (HTTP + "paths = ['health']\n", 4, "services.a.checks.x.paths", "cannot be asked for"),
        (HTTP + "paths = ['/a b']\n", 4, "services.a.checks.x.paths", "cannot be asked for"),
        (HTTP + "max_body = 0\n", 4, "services.a.checks.x.max_body", "from 1 to 16777216"),
        (GRPC + "headers = { grpc-timeout = '1S' }\n", 4, "services.a.checks.x.headers", "keeps for itself"),
        (PG + "options = { sslmod = 'require' }\n", 4, "services.a.checks.x.options", "no option of libpq's"),
        (PG + "options = { sslmode = 'bogus' }\n", 4, "services.a.checks.x.options", "unknown word for sslmode"),
        (LAKE + "url = 'http://a:8123/?user=x'\n", 3, "services.a.checks.x.url", "after host and port"),
        (LAKE + "url = 'http://a:8123/db'\n", 3, "services.a.checks.x.url", "after host and port"),
        (LAKE + "url = 'http://u@a'\nuser = 'v'\n", 3, "services.a.checks.x.url", "names a user"),
        (LAKE + "url = 'http://a'\nuser = 'é'\n", 4, "services.a.checks.x.user", "header cannot carry"),
        (STORE + "url = 'http://u:p@a'\n", 3, "services.a.checks.x.url", "which S3 has not"),
        (STORE + "url = 'http://a'\nbucket = 'My Bucket'\n", 4, "services.a.checks.x.bucket", "no bucket's name"),
        (CHECK + 'kind = "dns"\nname = "a"\ntypes = ["MX"]\n', 4, "services.a.checks.x.types", "not one of the words"),
    ],
)
def test_a_mistake_is_one_line_with_its_place(told: Told, text: str, line: int, place: str, says: str) -> None:
    problems = told(text, {"TOKEN": CANARY, "SNOW": f"{CANARY}☃", "ASKS": f"http://a/?{CANARY}"}).problems
    first = next(problem for problem in problems if problem.place.endswith(f"watch.toml:{line}: {place}"))
    assert says in str(first)
    assert first.remedy
    assert all("\n" not in str(problem) and CANARY not in str(problem) for problem in problems)


@pytest.mark.parametrize(
    "edges",
    [{"litellm": ["litellm"]}, {"postgres": ["litellm"]}, {"redis": ["postgres"], "postgres": ["litellm"]}],
)
def test_a_circle_of_dependencies_is_a_problem(told: Told, edges: dict[str, list[str]]) -> None:
    text = "".join(f"[services.{name}]\ndepends_on = {others!r}\n" for name, others in edges.items())
    (problem,) = told(text).problems
    assert "in a circle" in problem.message
    assert " → " in problem.message


def test_the_files_remedies_go_before_the_presets_whichever_stands_closer_to_the_check(told: Told) -> None:
    text = """
    [services.litellm.remedies]
    auth = "Call Anna."
    bad_answer = "Call Bert."
    [services.litellm.checks.models.remedies]
    bad_answer = "Call Cleo."
    """
    litellm = services(told(text, {"LITELLM_MASTER_KEY": "sk-1"}))["litellm"]
    assert litellm.remedies[Cause.AUTH] == "Call Anna."
    assert check(litellm, "models").remedies == {Cause.BAD_ANSWER: "Call Cleo."}


def test_every_circle_is_told(told: Told) -> None:
    pairs = {"litellm": "postgres", "postgres": "litellm", "redis": "redis"}
    text = "".join(f'[services.{name}]\ndepends_on = ["{other}"]\n' for name, other in pairs.items())
    text += "[services.redis.checks.ping]\ntimeout = 0\n"
    problems = [problem.message for problem in told(text).problems]
    assert len(problems) == 3
    assert any("litellm → postgres → litellm" in message for message in problems)
    assert any("redis → redis" in message for message in problems)


def test_no_mistake_in_a_check_hides_another(told: Told) -> None:
    text = (
        "[services.a]\ninterval = 'soon'\ndepends_on = ['nobody']\n"
        + CHECK
        + "kind = 'tcp'\nport = 70000\nhost = 'h y'\ninterval = '2m'\ntimeout = 90\nseverity = 'bad'\nexect = 'x'\n"
    )
    problems = told(text, {"PAUSE": "a"}).problems
    assert {problem.place.rpartition(" ")[2] for problem in problems} == {
        "services.a.interval",
        "services.a.depends_on",
        *(f"services.a.checks.x.{key}" for key in ("port", "host", "interval", "severity", "exect")),
    }


def test_what_a_header_cannot_carry_is_said_of_the_variable_it_came_from(told: Told) -> None:
    environ = {"LITELLM_MASTER_KEY": "sk-é☃", "MINIO_ENDPOINT": "minio", "MINIO_ACCESS_KEY": "a☃"}
    environ |= {"MINIO_SECRET_KEY": "☃", "CLICKHOUSE_URL__EU": "ch", "CLICKHOUSE_PASSWORD__EU": "☃"}
    problems = told("[services.litellm.checks.alive]\ntimeout = 5\n", environ).problems
    assert {problem.place for problem in problems} == {
        "LITELLM_MASTER_KEY",
        "MINIO_ACCESS_KEY",
        "CLICKHOUSE_PASSWORD__EU",
    }
    assert not any("☃" in str(problem) for problem in problems)


def test_a_preset_whose_bucket_is_none_says_which_variable_names_it(told: Told) -> None:
    environ = {"MINIO_ENDPOINT": "m", "MINIO_ACCESS_KEY": "a", "MINIO_SECRET_KEY": "b", "BACKUP_BUCKET": "a/b"}
    assert [problem.place for problem in told("", environ).problems] == ["BACKUP_BUCKET"]


def test_all_mistakes_are_told_at_once(told: Told) -> None:
    text = "[defaults]\nx = 1\n[services.litellm]\ninterval = 0\n" + CHECK + 'kind = "tcp"\nport = 0\n'
    problems = told(text, {"REDIS_URL": "http://x"}).problems
    assert {problem.place.rpartition(" ")[2] for problem in problems} == {
        "REDIS_URL",
        "defaults.x",
        "services.litellm.interval",
        "services.a.checks.x.port",
        "services.a.checks.x",
    }


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"[services\n", "line 1"),
        (b"a = 1\na = '" + CANARY.encode() + b"'\n", "line 2"),
        (b"\xff\xfe", "UTF-8"),
        (b"#" * 1_100_000, "larger than 1 MB"),
    ],
)
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes, says: str) -> None:
    path = tmp_path / "watch.toml"
    path.write_bytes(content)
    (problem,) = discover({**BASE, "WATCH_FILE": str(path)}).problems
    assert says in str(problem)
    assert CANARY not in str(problem)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        (problem,) = discover({**BASE, "WATCH_FILE": str(path)}).problems
        assert (problem.place, str(path) in problem.message) == ("WATCH_FILE", True)


def test_a_dollar_sign_can_be_meant(told: Told) -> None:
    made = check(services(told(HTTP + "body = 'costs $${price}'\n"))["a"], "x").params
    assert isinstance(made, HttpParams)
    assert made.body == "costs ${price}"


@pytest.mark.parametrize(
    ("place", "line"),
    [(("a",), 1), (("t", "x"), 3), (("t", "y", "z"), 4), (("t", "y z", "k"), 6), (("t", "none"), 2), (("none",), None)],
)
def test_the_line_of_a_key(place: tuple[str, ...], line: int | None) -> None:
    text = 'a = 1\n[t] # the table\nx = 2\ny.z = 3\n[[t."y z"]]\n"k" = 4\n'
    assert line_of(text, place) == line


def test_a_value_of_the_wrong_kind_is_told_at_its_place_and_changes_nothing(told: Told) -> None:
    values = ["3", "[1]", "[[1]]", "{ a = 1 }", "{ a = { b = 1 } }", "[{ a = 1 }]", "true", "1.5", "'x'"]
    plain = told("").services
    for value in values:
        for key in ("services", "services.litellm", "services.litellm.checks", "services.a.checks", "defaults"):
            found = told(f"{key} = {value}\n")
            assert found.services == plain, (key, value)
            assert [problem for problem in found.problems if key in problem.place], (key, value)
        for key in ("checks.ready", "checks.ready.signs", "remedies", "depends_on", "title", "checks.ready.headers"):
            found = told(f"services.litellm.{key} = {value}\n")
            meant = (key, value) == ("title", "'x'")
            assert [service.name for service in found.services] == [service.name for service in plain], (key, value)
            told_of = [problem for problem in found.problems if "services.litellm" in problem.place]
            assert bool(told_of) != meant, (key, value)


def test_how_loudly_a_service_and_a_check_are_told(told: Told) -> None:
    found = services(
        told(
            """
            [services.redis]
            alert = "warning"
            runbook = "https://wiki.example.com/redis?page=1#start"

            [services.redis.checks.ping]
            alert = "none"
            """
        )
    )
    assert (found["redis"].alert, found["redis"].runbook) == ("warning", "https://wiki.example.com/redis?page=1#start")
    assert check(found["redis"], "ping").alert == "none"
    assert (found["litellm"].alert, found["litellm"].runbook) == (None, "")
    assert {one.alert for one in found["litellm"].checks} == {None}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('alert = "loud"', "is not one of the words it may hold"),
        ("alert = 1", "is not one of the words it may hold"),
        ('runbook = "wiki.example.com/redis"', "is no address that a browser opens"),
        ('runbook = "javascript:alert(1)"', "is no address that a browser opens"),
        ('runbook = "https://me:c4n4ryS3cret@wiki.example.com/"', "is no address that a browser opens"),
        ('runbook = "https://wiki.example.com/<page>"', "is no address that a browser opens"),
        ("runbook = 3", "is a whole number, not text"),
    ],
)
def test_a_loudness_or_a_runbook_that_is_none_is_refused(told: Told, line: str, says: str) -> None:
    (problem,) = told(f"[services.redis]\n{line}\n").problems
    assert says in problem.message
    assert CANARY not in str(problem)
