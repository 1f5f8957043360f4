"""What Qdrant's answers prove, worked out without asking anybody."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.causes import Cause
from config.secret import Secret
from config.services import Check, Service
from config.signals import QdrantSignalParams
from monitor.diagnose.table import diagnose
from monitor.probes import qdrant_weigh as weigh
from monitor.probes.ask import Said
from monitor.probes.base import Answer, Evidence, Outcome, Verdict

SPACE = "Service internal error: No space left on device (os error 28)"
RECOVERY = "Service internal error: Failed to Get Info,  Qdrant was killed during initialization. Most likely OOM"


def params(signal: str = "collections", **changes: Any) -> QdrantSignalParams:
    return QdrantSignalParams(url="http://q", signal=signal, **changes)  # type: ignore[arg-type]  # a word of the type


def said(body: Any, status: int = 200) -> Said:
    return Said(status=status, headers={}, body=body, text=str(body))


def one(status: str = "green", error: str = "", **more: Any) -> Said:
    optimizer = {"error": error} if error else "ok"
    return said({"result": {"status": status, "optimizer_status": optimizer, **more}, "status": "ok"})


def broken(words: str) -> Said:
    return said({"status": {"error": words}, "time": 0.1}, 500)


def of(**seen: Said | None) -> Answer:
    return weigh.collections(seen, sorted(seen), params())


def cause(answer: Answer, signal: str) -> Cause | None:
    """What is told of it, in words that name the service and help."""
    check = Check(name=signal, kind="qdrant_signal", params=params(signal))
    service = Service(name="q", kind="qdrant", title="Qdrant", address="http://q", checks=(check,))
    evidence = Evidence(sight=answer.sight, text=answer.text, code=answer.code, sign=answer.sign)
    told = diagnose(service, check, Outcome(verdict=answer.verdict, latency=0.1, evidence=evidence))
    assert told is None or ("http://q" in told.sentence and len(told.remedy) > 60 and "{" not in told.remedy)
    return told.cause if told else None


def test_yellow_and_grey_are_told_and_are_no_outage() -> None:
    answer = of(a=one(), b=one("yellow"), c=one("grey"), d=one())
    assert answer.verdict == Verdict.PASS
    assert answer.text == "collections: 2 green, 1 grey (waiting to be optimised), 1 yellow (being optimised)"
    assert answer.measures["collections_grey"] == 1
    assert of().text == "no collection"


@pytest.mark.parametrize(
    ("seen", "verdict", "code", "means"),
    [
        ({"a": one("red", SPACE), "b": one()}, "fail", "space", Cause.CAPACITY),
        ({"a": one("red", "wal is corrupted"), "b": one("red", SPACE)}, "fail", "space", Cause.CAPACITY),
        ({"a": broken(SPACE)}, "fail", "space", Cause.CAPACITY),
        ({"a": one("red", "wal is corrupted")}, "warn", "red", Cause.SERVER_ERROR),
        ({"a": one("red")}, "warn", "red", Cause.SERVER_ERROR),
        ({"a": one(), "b": None}, "warn", "silent", Cause.NO_ANSWER),
        ({"a": one("red"), "b": None}, "warn", "red", Cause.SERVER_ERROR),
        ({"a": broken("Failed to load local shard"), "b": one()}, "fail", "unread", Cause.SERVER_ERROR),
        ({"a": broken("dirty shard"), "b": broken(RECOVERY)}, "fail", "unread", Cause.SERVER_ERROR),
        ({"a": broken(RECOVERY), "b": broken(RECOVERY)}, "fail", "recovery", Cause.CAPACITY),
    ],
)
def test_what_collections_prove(seen: dict[str, Said | None], verdict: str, code: str, means: Cause) -> None:
    answer = of(**seen)
    assert (answer.verdict.value, answer.sign, answer.code) == (verdict, "collections", code)
    assert cause(answer, "collections") == means


def test_the_evidence_names_the_collection_and_quotes_the_optimizer() -> None:
    answer = of(**{f"c{number}": one("red", SPACE) for number in range(5)}, well=one())
    assert answer.text == f"c0, c1, c2 and 2 more of 6 collections red; c0: {SPACE}"


def test_a_collection_that_was_removed_or_is_not_for_our_key_is_none() -> None:
    gone, hidden = said({"status": {"error": "Not found"}}, 404), said(None, 403)
    assert of(gone=gone, hidden=hidden, a=one()).verdict == Verdict.PASS


def test_one_collection_is_one() -> None:
    assert " of 1 collection red" in weigh.collections({"a": one("red")}, ["a"], params()).text


def test_collections_beyond_those_that_were_asked_are_not_called_well() -> None:
    answer = weigh.collections({"a": one()}, ["a", "b", "c"], params())
    assert answer.text == "collections: 1 green; 2 of 3 were not asked"


def test_a_key_that_is_missing_here_is_told_apart_from_a_wrong_one() -> None:
    listed = said({"result": {"collections": [{"name": "b"}, {"name": "a"}]}, "status": "ok"})
    refused, ours = said(None, 401), params("key", key=Secret("ours"))
    assert weigh.names(listed) == ["a", "b"]
    assert weigh.key(listed, params("key")).text == "2 collections listed without a key"
    lacking = weigh.key(refused, params("key"))
    assert (lacking.verdict, lacking.sign) == (Verdict.PASS, "not_available")
    assert "set QDRANT_API_KEY" in lacking.text
    wrong = weigh.key(refused, ours)
    assert (wrong.verdict, wrong.code, cause(wrong, "key")) == (Verdict.FAIL, "wrong", Cause.AUTH)
    assert cause(weigh.key(said(None, 500), ours), "key") == Cause.SERVER_ERROR
    assert weigh.key(said(None, 404), ours).sign == "not_available"


@pytest.mark.parametrize(("length", "verdict"), [(0, "pass"), (99, "pass"), (100, "warn"), (5000, "fail")])
def test_changes_that_wait(length: int, verdict: str) -> None:
    seen = {"a": one(update_queue={"length": 1}), "b": one(update_queue={"length": length}), "old": one()}
    answer = weigh.queue(seen, params("queue", warn=100, fail=1000))
    assert answer.verdict.value == verdict
    assert answer.measures == {"updates_waiting": length + 1.0}
    assert cause(answer, "queue") == (None if verdict == "pass" else Cause.LAGGING)


def test_a_queue_that_is_not_told() -> None:
    assert "1.17 and later" in weigh.queue({"a": one()}, params("queue")).text
    assert "no collection" in weigh.queue({}, params("queue")).text


def test_what_the_metrics_say() -> None:
    text = (
        "# TYPE app_status_recovery_mode gauge\nmine_app_status_recovery_mode 1\n"
        'collection_dead_replicas{id="a"} 1\ncollection_dead_replicas{id="b"} 2\n'
    )
    mode, dead = weigh.recovery(text, params("recovery")), weigh.replicas(text, params("replicas", warn=1))
    assert (mode.verdict, cause(mode, "recovery")) == (Verdict.FAIL, Cause.CAPACITY)
    assert (dead.verdict, cause(dead, "replicas")) == (Verdict.WARN, Cause.INCOMPLETE)
    assert dead.text == "3 shards have a replica that is not active"
    well = "app_status_recovery_mode 0\ncollection_dead_replicas 0\n"
    assert weigh.recovery(well, params("recovery")).sign == weigh.replicas(well, params("replicas", warn=1)).sign == ""
    for strange in ("", "app_status_recovery_mode\n", "app_status_recovery_mode 1e1e1\n"):
        assert weigh.recovery(strange, params("recovery")).sign == "not_available"


KEYS = st.sampled_from(
    ["result", "status", "collections", "name", "optimizer_status", "error", "update_queue", "length"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just("red"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=15,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(body=JSON, status=st.sampled_from((200, 401, 404, 500)), metrics=st.text(max_size=50))
def test_whatever_stands_in_an_answer_is_weighed(body: Any, status: int, metrics: str) -> None:
    answer = said(body, status)
    weigh.names(answer)
    weigh.key(answer, params("key"))
    weigh.collections({"a": answer}, ["a"], params())
    weigh.queue({"a": answer}, params("queue", warn=1))
    weigh.recovery("app_status_recovery_mode " + metrics, params("recovery"))
