"""From evidence to a cause, a sentence and a remedy."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.causes import Cause
from config.checks import HttpParams, RedisParams, S3Params, Sign, TcpParams, TlsParams
from config.kinds import Params
from config.services import Check, Service
from monitor.diagnose.base import Diagnosis
from monitor.diagnose.general import GENERAL
from monitor.diagnose.table import TABLES, diagnose, explain
from monitor.probes.base import Evidence, Outcome, Sight, Verdict

A, G, T, R = Sight.ANSWERED, Sight.GARBLED, Sight.TLS, Sight.RESET

# kind, sight, code, sign, text → cause
SEEN: list[tuple[str, Sight, str, str, str, Cause]] = [
    ("tcp", Sight.REFUSED, "ECONNREFUSED", "", "", Cause.REFUSED),
    ("tcp", Sight.RESET, "ECONNRESET", "", "", Cause.RESET),
    ("tcp", Sight.NO_NAME, "EAI_NONAME", "", "", Cause.DNS),
    ("tcp", Sight.NO_CONNECT, "", "", "", Cause.TIMEOUT),
    ("tcp", Sight.NO_ANSWER, "", "", "", Cause.NO_ANSWER),
    ("tcp", Sight.NO_RESOLVER, "EAI_AGAIN", "", "", Cause.NO_RESOLVER),
    ("tcp", Sight.NO_ROUTE, "ENETUNREACH", "", "", Cause.NO_ROUTE),
    ("tcp", Sight.CUT_OFF, "", "", "", Cause.CUT_OFF),
    ("tcp", Sight.LATE, "", "", "", Cause.LATE),
    ("tcp", Sight.WAKING, "502", "", "", Cause.WAKING),
    ("tcp", Sight.FAULT, "", "", "", Cause.PROBE_FAULT),
    ("tcp", A, "", "expect", "expected SSH; it says: 220 ftp", Cause.BAD_ANSWER),
    ("tcp", G, "", "", "", Cause.WRONG_SERVICE),
    ("tls", T, "", "", "", Cause.TLS),
    ("tls", T, "eof", "", "", Cause.TLS),
    ("tls", T, "untrusted", "", "", Cause.TLS),
    ("tls", T, "self_signed", "", "", Cause.TLS),
    ("tls", T, "unsupported_protocol", "", "", Cause.TLS),
    ("tls", T, "not_tls", "", "", Cause.TLS_ON_PLAIN),
    ("tls", T, "wrong_name", "", "", Cause.TLS),
    ("tls", T, "not_yet_valid", "", "", Cause.TLS),
    ("tls", T, "expired", "", "", Cause.CERT_EXPIRED),
    ("dns", A, "", "expect", "x has no AAAA record", Cause.DNS),
    ("grpc", A, "NOT_SERVING", "", "", Cause.SERVER_ERROR),
    ("grpc", A, "UNAVAILABLE", "", "", Cause.SERVER_ERROR),
    ("grpc", A, "UNAUTHENTICATED", "", "", Cause.AUTH),
    ("grpc", A, "UNIMPLEMENTED", "", "", Cause.NOT_FOUND),
    ("grpc", A, "SERVICE_UNKNOWN", "", "", Cause.NOT_FOUND),
    ("grpc", A, "RESOURCE_EXHAUSTED", "", "", Cause.CAPACITY),
    ("grpc", A, "DEADLINE_EXCEEDED", "", "", Cause.NO_ANSWER),
    ("grpc", A, "unreadable", "", "", Cause.BAD_ANSWER),
    ("grpc", G, "http1", "", "", Cause.WRONG_SERVICE),
    ("grpc", T, "tls_port", "", "", Cause.PLAIN_ON_TLS),
    ("http", A, "401", "status", "", Cause.AUTH),
    ("http", A, "403", "status", "", Cause.AUTH),
    ("http", A, "404", "status", "", Cause.NOT_FOUND),
    ("http", A, "404", "status", "HTTP 404; it says: Application not found", Cause.NOT_FOUND),
    ("http", A, "429", "status", "", Cause.CAPACITY),
    ("http", A, "507", "status", "", Cause.CAPACITY),
    ("http", A, "500", "status", "", Cause.SERVER_ERROR),
    ("http", A, "502", "status", "HTTP 502; it says: Application failed to respond", Cause.SERVER_ERROR),
    ("http", A, "502", "status", "", Cause.SERVER_ERROR),
    ("http", A, "503", "status", "", Cause.SERVER_ERROR),
    ("http", A, "504", "status", "", Cause.SERVER_ERROR),
    ("http", A, "599", "status", "", Cause.SERVER_ERROR),
    ("http", A, "301", "redirect", "", Cause.BAD_STATUS),
    ("http", A, "204", "status", "", Cause.BAD_STATUS),
    ("http", A, "418", "status", "", Cause.BAD_STATUS),
    ("http", A, "400", "status", "The plain HTTP request was sent to HTTPS port", Cause.PLAIN_ON_TLS),
    ("http", A, "400", "status", "Client sent an HTTP request to an HTTPS server.", Cause.PLAIN_ON_TLS),
    ("http", A, "400", "status", "", Cause.BAD_STATUS),
    ("http", G, "200", "json", "a page for people where JSON was expected", Cause.WRONG_SERVICE),
    ("http", A, "200", "json", "the answer is not JSON", Cause.BAD_ANSWER),
    ("http", A, "200", "expect_json", "", Cause.BAD_ANSWER),
    ("http", A, "200", "expect_text", "it says: HTML page titled “Client”", Cause.BAD_ANSWER),
    ("http", A, "200", "expect_header", "", Cause.BAD_ANSWER),
    ("http", A, "200", "json", "the answer is larger than 65536 bytes, so its JSON was not read", Cause.BAD_ANSWER),
    ("http", A, "200", "json", "the answer is empty where JSON was expected", Cause.BAD_ANSWER),
    ("http", A, "200", "expect_json", 'it says: {"title": "qdrant - vector search engine"', Cause.WRONG_SERVICE),
    ("http", A, "200", "expect_text", "HTTP 200, not found; it says: Ok.", Cause.WRONG_SERVICE),
    ("http", A, "200", "expect_json", 'it says: {"results":{"message":"ok"}}', Cause.WRONG_SERVICE),
    ("http", G, "", "", "the answer is not HTTP", Cause.WRONG_SERVICE),
    ("http", G, "http2", "", "", Cause.WRONG_SERVICE),
    ("http", T, "not_tls", "", "", Cause.TLS_ON_PLAIN),
    ("http", T, "tls_port", "", "", Cause.PLAIN_ON_TLS),
    ("http", T, "expired", "", "", Cause.CERT_EXPIRED),
    ("postgres", A, "28P01", "", "password authentication failed", Cause.AUTH),
    ("postgres", A, "28000", "", 'role "x" does not exist', Cause.AUTH),
    ("postgres", A, "28000", "", "no pg_hba.conf entry for host, SSL encryption", Cause.AUTH),
    ("postgres", A, "28000", "", 'no pg_hba.conf entry for host "1", user "x", no encryption', Cause.TLS),
    ("postgres", A, "28000", "", 'no pg_hba.conf entry for host "1", user "x", SSL off', Cause.TLS),
    ("postgres", A, "42501", "", "permission denied for database", Cause.AUTH),
    ("postgres", T, "no_tls", "", "server does not support SSL, but SSL was required", Cause.TLS_ON_PLAIN),
    ("postgres", T, "insecure", "", "", Cause.TLS),
    ("postgres", T, "wrong_name", "", "", Cause.TLS),
    ("postgres", A, "3D000", "", "", Cause.NOT_FOUND),
    ("postgres", A, "55000", "", 'database "x" is not currently accepting connections', Cause.NOT_FOUND),
    ("postgres", A, "53300", "", "", Cause.CAPACITY),
    ("postgres", A, "53100", "", "", Cause.CAPACITY),
    ("postgres", A, "53200", "", "", Cause.CAPACITY),
    ("postgres", A, "08P01", "", "no more connections allowed (max_client_conn)", Cause.CAPACITY),
    ("postgres", A, "08P01", "", "server_login_retry: server login has been failing", Cause.DEPENDENCY),
    ("postgres", A, "57P03", "", "the database system is starting up", Cause.STARTING),
    ("postgres", A, "57P03", "", "the database system is in recovery mode", Cause.STARTING),
    ("postgres", A, "57P03", "", "the database system is shutting down", Cause.STOPPING),
    ("postgres", A, "57P01", "", "", Cause.STOPPING),
    ("postgres", A, "57P02", "", "", Cause.SERVER_ERROR),
    ("postgres", A, "XX001", "", "", Cause.SERVER_ERROR),
    ("postgres", A, "57014", "", "canceling statement due to statement timeout", Cause.NO_ANSWER),
    ("postgres", A, "25006", "", "", Cause.READONLY),
    ("postgres", A, "", "", "unrecognized configuration parameter", Cause.BAD_ANSWER),
    ("postgres", G, "", "", "", Cause.WRONG_SERVICE),
    ("postgres", R, "", "", "", Cause.RESET),
    ("redis", A, "NOAUTH", "", "", Cause.AUTH),
    ("redis", A, "WRONGPASS", "", "", Cause.AUTH),
    ("redis", A, "NOPERM", "", "", Cause.AUTH),
    ("redis", A, "DENIED", "", "", Cause.AUTH),
    ("redis", A, "ERR", "", "ERR invalid password", Cause.AUTH),
    ("redis", A, "ERR", "", "ERR AUTH <password> called without any password configured", Cause.AUTH),
    ("redis", A, "ERR", "", "ERR Client sent AUTH, but no password is set", Cause.AUTH),
    ("redis", A, "ERR", "", "ERR DB index is out of range", Cause.NOT_FOUND),
    ("redis", A, "LOADING", "", "", Cause.STARTING),
    ("redis", A, "MISCONF", "", "", Cause.READONLY),
    ("redis", A, "READONLY", "", "", Cause.READONLY),
    ("redis", A, "OOM", "", "", Cause.CAPACITY),
    ("redis", A, "ERR", "", "ERR max number of clients reached", Cause.CAPACITY),
    ("redis", A, "MASTERDOWN", "", "", Cause.DEPENDENCY),
    ("redis", A, "CLUSTERDOWN", "", "", Cause.DEPENDENCY),
    ("redis", A, "BUSY", "", "", Cause.NO_ANSWER),
    ("redis", A, "ERR", "", "ERR something new", Cause.BAD_ANSWER),
    ("redis", G, "", "", "", Cause.WRONG_SERVICE),
    ("redis", R, "", "", "", Cause.RESET),
    ("clickhouse", A, "516", "", "", Cause.AUTH),
    ("clickhouse", A, "192", "", "", Cause.AUTH),
    ("clickhouse", A, "497", "", "", Cause.AUTH),
    ("clickhouse", A, "81", "", "", Cause.NOT_FOUND),
    ("clickhouse", A, "241", "", "", Cause.CAPACITY),
    ("clickhouse", A, "243", "", "", Cause.CAPACITY),
    ("clickhouse", A, "252", "", "", Cause.CAPACITY),
    ("clickhouse", A, "202", "", "", Cause.CAPACITY),
    ("clickhouse", A, "76", "", "errno: 24, strerror: Too many open files", Cause.CAPACITY),
    ("clickhouse", A, "164", "", "", Cause.READONLY),
    ("clickhouse", A, "242", "", "", Cause.READONLY),
    ("clickhouse", A, "999", "", "", Cause.DEPENDENCY),
    ("clickhouse", A, "159", "", "", Cause.NO_ANSWER),
    ("clickhouse", A, "394", "", "", Cause.STOPPING),
    ("clickhouse", A, "62", "", "", Cause.BAD_ANSWER),
    ("clickhouse", A, "HTTP 502", "", "", Cause.SERVER_ERROR),
    ("clickhouse", G, "", "", "Port 9000 is for clickhouse-client program", Cause.WRONG_SERVICE),
    ("clickhouse", G, "", "", "HTML", Cause.WRONG_SERVICE),
    ("s3", A, "503", "offline", "", Cause.STARTING),
    ("s3", A, "XMinioServerNotInitialized", "", "", Cause.STARTING),
    ("s3", A, "NoSuchBucket", "", "", Cause.NOT_FOUND),
    ("s3", A, "InvalidAccessKeyId", "", "", Cause.AUTH),
    ("s3", A, "SignatureDoesNotMatch", "", "", Cause.AUTH),
    ("s3", A, "AccessDenied", "", "", Cause.AUTH),
    ("s3", A, "403", "", "", Cause.AUTH),
    ("s3", A, "RequestTimeTooSkewed", "", "", Cause.AUTH),
    ("s3", A, "ExpiredToken", "", "", Cause.AUTH),
    ("s3", A, "PermanentRedirect", "", "", Cause.BAD_ANSWER),
    ("s3", A, "SlowDown", "", "", Cause.CAPACITY),
    ("s3", A, "XMinioStorageFull", "", "", Cause.CAPACITY),
    ("s3", A, "XMinioReadQuorum", "", "", Cause.DEPENDENCY),
    ("s3", A, "InternalError", "", "", Cause.SERVER_ERROR),
    ("s3", A, "503", "", "", Cause.SERVER_ERROR),
    ("s3", G, "", "", "", Cause.WRONG_SERVICE),
]


def check(kind: str = "tcp", params: Params | None = None) -> Check:
    return Check(name="x", kind=kind, params=params or TcpParams(host="shop.internal", port=7))


def service(**changes: object) -> Service:
    values: dict[str, object] = {
        "name": "shop",
        "kind": "custom",
        "title": "The Shop",
        "address": "shop.internal:7",
        "checks": (check(),),
        "variables": ("SHOP_URL",),
    }
    return Service(**(values | changes))  # type: ignore[arg-type]  # a test's own values


def outcome(
    sight: Sight, *, verdict: Verdict = Verdict.FAIL, code: str = "", sign: str = "", text: str = "x"
) -> Outcome:
    return Outcome(verdict=verdict, latency=0.1, evidence=Evidence(sight=sight, text=text, code=code, sign=sign))


def found(kind: str, seen: Outcome, of: Service | None = None) -> Diagnosis:
    diagnosis = diagnose(of or service(), check(kind), seen)
    assert diagnosis is not None
    return diagnosis


@pytest.mark.parametrize(("kind", "sight", "code", "sign", "text", "cause"), SEEN)
def test_evidence_proves_its_cause(kind: str, sight: Sight, code: str, sign: str, text: str, cause: Cause) -> None:
    diagnosis = found(kind, outcome(sight, code=code, sign=sign, text=text or "x"))
    assert diagnosis.cause == cause
    assert "The Shop" in diagnosis.sentence
    assert "shop.internal:7" in diagnosis.sentence
    assert diagnosis.sentence.endswith(".")
    assert "()" not in diagnosis.sentence


def test_every_sight_is_in_the_table_above() -> None:
    assert {row[1] for row in SEEN} == set(Sight) - {Sight.NOT_ASKED}  # which comes with a pass alone


def test_every_kind_of_check_has_a_table() -> None:
    from config.kinds import PARAMS

    assert set(TABLES) == {*PARAMS, "backups"}


@pytest.mark.parametrize("kind", TABLES)
def test_a_pass_needs_no_diagnosis(kind: str) -> None:
    assert diagnose(service(), check(kind), outcome(Sight.ANSWERED, verdict=Verdict.PASS)) is None


def test_warnings_are_diagnosed() -> None:
    slow = outcome(Sight.ANSWERED, verdict=Verdict.WARN, sign="slow", text="PING answered")
    assert found("redis", slow).cause == Cause.SLOW
    expiring = outcome(Sight.ANSWERED, verdict=Verdict.WARN, code="expiring", sign="expiring")
    assert found("tls", expiring).cause == Cause.CERT_EXPIRING


@pytest.mark.parametrize("sight", [Sight.NO_CONNECT, Sight.NO_ANSWER])
def test_a_timeout_that_counts_as_unknown_is_our_own_lateness(sight: Sight) -> None:
    assert found("http", outcome(sight, verdict=Verdict.UNKNOWN)).cause == Cause.LATE


def test_what_we_could_not_see_blames_nobody() -> None:
    for sight in (Sight.NO_RESOLVER, Sight.NO_ROUTE, Sight.LATE, Sight.FAULT):
        diagnosis = found("postgres", outcome(sight, verdict=Verdict.UNKNOWN))
        assert diagnosis.sentence.startswith("We could not look at The Shop")
        assert "may be well" in diagnosis.remedy


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_words_of_its_own(cause: Cause) -> None:
    diagnosis = explain(service(), cause)
    assert diagnosis.cause == cause
    assert "The Shop" in diagnosis.sentence
    assert len(diagnosis.remedy) > 40
    assert not re.search(r"\{\w+\}", diagnosis.sentence + diagnosis.remedy)


def test_words_are_not_repeated_between_causes() -> None:
    assert len({rule.says for rule in GENERAL.values()}) == len(GENERAL)
    assert len({rule.remedy for rule in GENERAL.values()}) == len(GENERAL)


def test_the_remedy_names_the_variable_to_look_at() -> None:
    assert "SHOP_URL" in found("http", outcome(Sight.REFUSED)).remedy
    two = service(variables=("REDIS_HOST", "REDIS_PORT"))
    assert "REDIS_HOST or REDIS_PORT" in found("redis", outcome(Sight.REFUSED), two).remedy
    assert "WATCH_FILE" in found("redis", outcome(Sight.REFUSED), service(variables=())).remedy


def test_a_key_is_looked_at_only_for_what_a_key_can_cause() -> None:
    keyed = service(variables=("SHOP_URL__EU", "SHOP_KEY__EU"))
    assert "port in SHOP_URL__EU with" in found("http", outcome(Sight.REFUSED), keyed).remedy
    assert "SHOP_URL__EU or SHOP_KEY__EU" in found("http", outcome(A, code="401", sign="status"), keyed).remedy
    assert "SHOP_KEY" in found("http", outcome(Sight.REFUSED), service(variables=("SHOP_KEY",))).remedy


def test_who_wants_a_key_for_a_public_page_is_looked_for_by_its_address_alone() -> None:
    asked = check("http", HttpParams(url="http://shop.internal:7/ready"))
    keyed = service(kind="litellm", checks=(asked,), variables=("SHOP_URL", "SHOP_KEY", "SHOP_SYNTHETIC_MODEL"))
    told = diagnose(keyed, asked, outcome(A, code="401", sign="status"))
    assert told is not None
    assert "host and port in SHOP_URL with" in told.remedy
    assert "SHOP_KEY" not in told.remedy


@pytest.mark.parametrize(("code", "says"), [("MISCONF", "BGSAVE"), ("READONLY", "primary"), ("BUSY", "SCRIPT KILL")])
def test_what_redis_names_itself_is_told_before_what_is_usual(code: str, says: str) -> None:
    usual = {Cause.READONLY: "Look at its disk.", Cause.NO_ANSWER: "Look at its CPU."}
    assert says in found("redis", outcome(A, code=code), service(remedies=usual)).remedy


def test_a_full_pooler_is_not_a_server_without_slots() -> None:
    told = found("postgres", outcome(A, code="53300", text="no more connections allowed (max_client_conn)"))
    assert "pooler" in told.sentence
    assert "SHOW CLIENTS" in told.remedy
    assert "pooler" not in found("postgres", outcome(A, code="53300", text="too many clients already")).sentence


def test_a_railway_reference_in_a_remedy_is_left_as_it_is() -> None:
    assert "${{Redis.REDIS_URL}}" in found("redis", outcome(Sight.ANSWERED, code="NOAUTH")).remedy


def test_names_with_braces_are_shown_as_they_are() -> None:
    odd = service(title="{address} & {setting}", address="{code}")
    assert found("tcp", outcome(Sight.REFUSED), odd).sentence.startswith("{address} & {setting} at {code} refuses")


def test_a_check_that_looks_elsewhere_names_where() -> None:
    lake = Check(name="lake", kind="tcp", params=TcpParams(host="lake", port=9))
    shop = service(checks=(check(), lake))
    diagnosis = diagnose(shop, lake, outcome(Sight.REFUSED))
    assert diagnosis is not None
    assert diagnosis.sentence.startswith("The Shop at lake:9 refuses")
    tls = Check(name="certificate", kind="tls", params=TlsParams(host="shop", port=443))
    page = Check(name="page", kind="http", params=HttpParams(url="https://shop/x"))
    assert_says(service(address="https://shop", checks=(page, tls)), tls, "The Shop at https://shop refuses")


def assert_says(of: Service, asked: Check, start: str) -> None:
    diagnosis = diagnose(of, asked, outcome(Sight.REFUSED))
    assert diagnosis is not None
    assert diagnosis.sentence.startswith(start)


def test_a_missing_bucket_is_named() -> None:
    asked = Check(name="bucket", kind="s3", params=S3Params(url="http://s3", bucket="events"))
    diagnosis = diagnose(service(checks=(asked,)), asked, outcome(A, code="NoSuchBucket"))
    assert diagnosis is not None
    assert "no bucket events" in diagnosis.sentence
    assert "mc mb store/events" in diagnosis.remedy


def test_the_checks_own_remedy_goes_before_the_services() -> None:
    asked = Check(name="x", kind="redis", params=RedisParams(host="r"), remedies={Cause.AUTH: "Ask Cleo."})
    of = service(checks=(asked,), remedies={Cause.AUTH: "Ask Ada.", Cause.STARTING: "Wait."})
    for code, remedy in (("WRONGPASS", "Ask Cleo."), ("LOADING", "Wait.")):
        diagnosis = diagnose(of, asked, outcome(A, code=code))
        assert diagnosis is not None
        assert diagnosis.remedy == remedy


@pytest.mark.parametrize(
    ("kind", "headers", "asks"), [("minio", {}, True), ("custom", {}, False), ("minio", {"A": "b"}, False)]
)
def test_a_key_asked_for_what_needs_none_is_another_service(kind: str, headers: dict[str, str], asks: bool) -> None:
    asked = Check(name="x", kind="http", params=HttpParams(url="http://m", headers=headers))
    of = service(kind=kind, checks=(asked,), remedies={Cause.AUTH: "Compare the keys."})
    diagnosis = diagnose(of, asked, outcome(A, code="401", sign="status"))
    assert diagnosis is not None
    assert diagnosis.cause == Cause.AUTH
    assert ("Another service" in diagnosis.remedy) == asks


@pytest.mark.parametrize(("sight", "code"), [(T, "not_tls"), (Sight.NO_ANSWER, "tls")])
def test_a_tls_check_of_a_plain_port_speaks_of_no_scheme(sight: Sight, code: str) -> None:
    remedy = found("tls", outcome(sight, code=code), service(remedies={Cause.NO_ANSWER: "Look at its CPU."})).remedy
    assert "port that speaks TLS" in remedy
    assert "scheme" not in remedy


def test_the_services_own_remedy_goes_before_ours() -> None:
    own = service(remedies={Cause.AUTH: "Ask Ada {title}.", Cause.CAPACITY: "Ask Bob."})
    assert found("postgres", outcome(Sight.ANSWERED, code="28P01"), own).remedy == "Ask Ada {title}."
    assert found("postgres", outcome(Sight.ANSWERED, code="53300"), own).remedy == "Ask Bob."
    assert explain(own, Cause.AUTH).remedy == "Ask Ada {title}."


def test_a_remedy_for_the_cause_in_general_does_not_hide_a_full_disk() -> None:
    own = service(remedies={Cause.CAPACITY: "All connection slots are taken."})
    diagnosis = found("postgres", outcome(Sight.ANSWERED, code="53100"), own)
    assert diagnosis.cause == Cause.CAPACITY
    assert "volume" in diagnosis.remedy


def sign(**changes: object) -> Sign:
    values: dict[str, object] = {"name": "lost", "json": "x", "cause": Cause.DEPENDENCY, "says": "its database is lost"}
    return Sign(**(values | changes))  # type: ignore[arg-type]  # a test's own values


@pytest.mark.parametrize("code", ["200", "503", "401"])
def test_a_presets_sign_brings_its_cause_and_words(code: str) -> None:
    params = HttpParams(url="http://shop.internal:7", signs=(sign(),))
    diagnosis = diagnose(service(), check("http", params), outcome(Sight.ANSWERED, code=code, sign="lost"))
    assert diagnosis is not None
    assert diagnosis.cause == Cause.DEPENDENCY
    assert diagnosis.sentence == "The Shop at shop.internal:7: its database is lost."
    assert diagnosis.remedy


def test_a_sign_that_names_the_service_is_not_named_twice() -> None:
    params = HttpParams(url="http://shop.internal:7", signs=(sign(says="the shop has lost its database."),))
    diagnosis = diagnose(service(), check("http", params), outcome(Sight.ANSWERED, sign="lost"))
    assert diagnosis is not None
    assert diagnosis.sentence == "The shop has lost its database (shop.internal:7)."


def test_a_stranger_is_called_by_its_name() -> None:
    seen = outcome(A, code="200", sign="expect_json", text='it says: {"title":"qdrant - vector search engine"}')
    assert found("http", seen).sentence == "What answers at shop.internal:7 is Qdrant, and not The Shop."


@pytest.mark.parametrize("body", ['{"status":"ok"}', '{"status": "healthy"}', '{"status": true}'])
def test_plain_words_name_nobody_where_the_service_is_somebodys_own(body: str) -> None:
    seen = outcome(A, code="200", sign="expect_json", text=f"HTTP 200, not so in the answer; it says: {body}")
    assert found("http", seen, service(kind="custom")).cause == Cause.BAD_ANSWER
    assert found("http", seen, service(kind="langfuse-web")).cause == Cause.WRONG_SERVICE


def test_a_service_is_no_stranger_at_its_own_address() -> None:
    page = outcome(G, code="200", sign="json", text="HTTP 200, a page; it says: HTML page titled “Langfuse”")
    assert "is Langfuse, and not" in found("http", page, service(kind="litellm")).sentence
    assert "is Langfuse, and not" not in found("http", page, service(kind="langfuse-web")).sentence
    missing = outcome(A, code="404", sign="status", text="HTTP 404; it says: HTML page titled “Langfuse”")
    assert found("http", missing, service(kind="langfuse-worker")).cause == Cause.WRONG_SERVICE
    assert found("http", missing, service(kind="langfuse-web")).cause == Cause.NOT_FOUND


def test_a_sign_without_words_borrows_them_from_its_cause() -> None:
    params = HttpParams(url="http://shop.internal:7", signs=(sign(says=""),))
    diagnosis = diagnose(service(), check("http", params), outcome(Sight.ANSWERED, sign="lost"))
    assert diagnosis is not None
    assert diagnosis.sentence == explain(service(), Cause.DEPENDENCY).sentence


# The five "common communication issues" of the stack's own guide, as our probes see them.
ISSUES = [
    ("connection refused", "http", outcome(Sight.REFUSED, code="ECONNREFUSED"), Cause.REFUSED, "listen on ::"),
    ("authentication failures", "http", outcome(A, code="401", sign="status"), Cause.AUTH, "LITELLM_MASTER_KEY"),
    ("timeout errors", "http", outcome(Sight.NO_ANSWER), Cause.NO_ANSWER, "CPU and memory"),
    ("gateway timeout", "http", outcome(A, code="504", sign="status"), Cause.SERVER_ERROR, "overloaded"),
    ("DNS failures", "http", outcome(Sight.NO_NAME), Cause.DNS, ".railway.internal"),
    ("wrong port, reset", "http", outcome(R), Cause.RESET, "port"),
    ("wrong port, 404", "http", outcome(A, code="404", sign="status"), Cause.NOT_FOUND, "port"),
    ("wrong port, a page", "http", outcome(G, code="200", sign="json"), Cause.WRONG_SERVICE, "LiteLLM 4000"),
]


@pytest.mark.parametrize(("kind", "seen", "cause", "hint"), [row[1:] for row in ISSUES], ids=[row[0] for row in ISSUES])
def test_common_communication_issues_have_a_cause_and_a_way_out(
    kind: str, seen: Outcome, cause: Cause, hint: str
) -> None:
    diagnosis = found(kind, seen)
    assert diagnosis.cause == cause
    assert hint in diagnosis.remedy


CODES = st.sampled_from(sorted({row[2] for row in SEEN})) | st.text(max_size=8)
SIGNS = st.sampled_from(["", "slow", "status", "json", "redirect", "expect_json", "offline", "expiring"]) | st.text()


@settings(derandomize=True, deadline=None)
@given(
    kind=st.sampled_from([*TABLES, "unheard of"]),
    verdict=st.sampled_from(Verdict),
    sight=st.sampled_from(Sight),
    code=CODES,
    sign=SIGNS,
    text=st.text(),
)
def test_any_outcome_but_a_pass_gets_a_sentence_and_a_remedy(
    kind: str, verdict: Verdict, sight: Sight, code: str, sign: str, text: str
) -> None:
    seen = outcome(sight, verdict=verdict, code=code, sign=sign, text=text)
    diagnosis = diagnose(service(), check(kind), seen)
    assert (diagnosis is None) == (verdict == Verdict.PASS)
    if diagnosis is not None:
        assert diagnosis.sentence.strip()
        assert diagnosis.remedy.strip()
        assert not re.search(r"\{(title|address|code|setting)\}", diagnosis.remedy)
