"""The log: one way for everything, and no secret in it."""

import io
import json
import logging
import string
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from config import logs
from config.secret import Secret

CANARY = 'c4n4ry "S3cret\\ é/@'


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    """Puts the standard library's and structlog's settings back: they belong to the process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    levels = {name: logging.getLogger(name).level for name in logs.CHATTY}
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, old in levels.items():
        logging.getLogger(name).setLevel(old)


def written(*, as_json: bool, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    logs.configure(stream=stream, json=as_json, level=level)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_where_nobody_looks() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    structlog.get_logger("monitor.watch").info("service_flipped", service="redis", latency=0.5)
    (line,) = lines(stream)
    assert (line["event"], line["level"], line["logger"]) == ("service_flipped", "info", "monitor.watch")
    assert (line["service"], line["latency"]) == ("redis", 0.5)
    assert line["timestamp"].endswith("Z")


def test_a_line_is_for_people_on_a_terminal() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    logs.configure(stream=stream)
    structlog.get_logger().info("started")
    assert "started" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_lines_of_libraries_go_the_same_way() -> None:
    stream = written(as_json=True)
    logging.getLogger("some.library").warning("port %d is taken", 8080)
    logging.getLogger("httpx").info("HTTP Request: GET")
    logging.getLogger("apscheduler.executors").info("Running job")
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"]) == ("port 8080 is taken", "some.library", "warning")


def test_the_level_counts() -> None:
    stream = written(as_json=True, level="warning")
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


@pytest.mark.parametrize("as_json", [True, False])
def test_no_secret_is_written_however_it_comes(as_json: bool) -> None:
    stream = written(as_json=as_json, level="debug")
    logs.mask([Secret(CANARY), Secret("Bearer sk-4n0ther")])
    log = structlog.get_logger()
    event = f"event {CANARY}"
    log.info(event, plain=CANARY, within=f"x{CANARY}x", encoded=quote(CANARY, safe=""), key="sk-4n0ther")
    log.info("nested", table={CANARY: [CANARY, (CANARY,)]}, thing=Secret(CANARY), literal=repr(CANARY))
    log.info("body", body=json.dumps({"password": CANARY}), other=json.dumps(CANARY, ensure_ascii=False))
    logging.getLogger("uvicorn").error("bad %s", CANARY, extra={"more": CANARY})
    try:
        refuse(CANARY)
    except ValueError:
        log.exception("failed", url=f"postgresql://user:{quote(CANARY)}@db/x")
        logging.getLogger("other").exception("failed too")
    text = stream.getvalue()
    for form in (CANARY, quote(CANARY), quote(CANARY, safe=""), repr(CANARY)[1:-1], json.dumps(CANARY)[1:-1]):
        assert form not in text
    assert "c4n4ry" not in text
    assert "sk-4n0ther" not in text
    assert "ValueError" in text
    if as_json:
        assert len(lines(stream)) == 6


def refuse(password: str) -> None:
    raise ValueError(f"refused: {password}")


def test_user_and_password_of_an_address_are_never_written() -> None:
    stream = written(as_json=True)
    structlog.get_logger().info("seen", url="redis://:never-told@redis:6379/0 and https://token@host/x", mail="a@b.c")
    (line,) = lines(stream)
    assert line["url"] == "redis://***@redis:6379/0 and https://***@host/x"
    assert line["mail"] == "a@b.c"


@pytest.mark.parametrize("text", ["abc", "postgres", "Redis", "info"])
def test_a_password_that_is_a_plain_word_does_not_make_the_log_unreadable(text: str) -> None:
    mask = logs.Mask()
    mask.add([Secret(text)])
    assert mask.clean(f"service {text} is down") == f"service {text} is down"


def test_locals_are_not_shown_in_tracebacks() -> None:
    stream = written(as_json=True)
    unmasked = "only-in-a-local"
    try:
        _ = len(unmasked) // 0
    except ZeroDivisionError:
        structlog.get_logger().exception("failed")
    assert "only-in-a-local" not in stream.getvalue()


@given(secret=st.text(alphabet=string.printable + "éß漢", min_size=6, max_size=30), around=st.text(max_size=10))
@settings(deadline=None, derandomize=True)
def test_any_secret_is_masked_in_each_form(secret: str, around: str) -> None:
    mask = logs.Mask()
    mask.add([Secret(secret)])
    for form in (secret, quote(secret, safe=""), repr(secret)[1:-1], json.dumps(secret)[1:-1]):
        cleaned = mask.clean(f"{around}|{form}|{around}")
        assert cleaned == mask.clean(around) + "|***|" + mask.clean(around) or form in around
