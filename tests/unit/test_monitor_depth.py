"""Which checks a look runs, and what it says of those it leaves out."""

import pytest

from config.presets import presets
from config.services import discover
from config.watched import Service
from monitor.depth import Depth, lacking, reach, reach_all

PACE = 60.0
ENVIRON = {
    "DATABASE_URL": "postgresql://u:p@db/x",
    "REDIS_URL": "redis://r",
    "LITELLM_URL": "http://l:4000",
    "LITELLM_MASTER_KEY": "sk-1",
    "LITELLM_SYNTHETIC_MODEL": "small",
    "LANGFUSE_URL": "https://web",
    "LANGFUSE_PUBLIC_KEY": "pk-lf-1",
    "LANGFUSE_SECRET_KEY": "sk-lf-1",
}


def watched(**changes: str) -> dict[str, Service]:
    found = discover({**ENVIRON, **changes})
    assert not found.problems
    return {service.name: service for service in found.services}


def names(service: Service, depth: Depth, pace: float = PACE) -> set[str]:
    kept, left = reach(service, depth, pace)
    there, out = {check.name for check in kept.checks}, {one.check for one in left}
    assert there | out == {check.name for check in service.checks}
    assert not there & out
    return there


def test_a_quick_look_asks_what_every_round_asks_and_nothing_that_costs() -> None:
    services = watched()
    assert names(services["litellm"], Depth.QUICK) == {"alive", "ready", "database", "models"}
    assert {"query", "slots", "writable", "certificate"} <= names(services["postgres"], Depth.QUICK)
    assert "replication" not in names(services["postgres"], Depth.QUICK)
    # A certificate is looked at once an hour, and is a plain question all the same.
    assert names(services["langfuse-web"], Depth.QUICK) == {"health", "events", "ready", "certificate"}


def test_a_look_that_costs_nothing_asks_the_slow_ones_too() -> None:
    services = watched()
    assert names(services["litellm"], Depth.FREE) == {"alive", "ready", "database", "models", "vanished", "providers"}
    assert "trace" not in names(services["langfuse-web"], Depth.FREE)
    assert "replication" in names(services["postgres"], Depth.FREE)


def test_a_deep_look_leaves_nothing_out() -> None:
    services = watched()
    assert "completion" in names(services["litellm"], Depth.DEEP)
    assert "trace" in names(services["langfuse-web"], Depth.DEEP)
    assert reach_all(services.values(), Depth.DEEP, PACE)[1] == ()


def test_what_is_slow_is_told_by_the_pace_of_the_rounds() -> None:
    services = watched(CHECK_INTERVAL="300")
    assert "replication" in names(services["postgres"], Depth.QUICK, 300.0)


@pytest.mark.parametrize(
    ("environ", "service", "check", "why"),
    [
        ({"LITELLM_SYNTHETIC_MODEL": ""}, "litellm", "completion", "LITELLM_SYNTHETIC_MODEL"),
        ({"CANARY_WRITES": "off"}, "redis", "canary", "CANARY_WRITES=off"),
        ({"LITELLM_MASTER_KEY": ""}, "litellm", "vanished", "LITELLM_MASTER_KEY"),
        ({}, "litellm", "langfuse_key", "LITELLM_LANGFUSE_SECRET_KEY"),
    ],
)
def test_what_is_off_is_told_with_what_would_have_it_asked(
    environ: dict[str, str], service: str, check: str, why: str
) -> None:
    found = {(one.service, one.check): one.why for one in lacking(watched(**environ).values())}
    assert why in found[service, check]


def test_what_is_set_is_not_told_as_missing() -> None:
    store = {"MINIO_ENDPOINT": "minio:9000", "MINIO_ACCESS_KEY": "a", "MINIO_SECRET_KEY": "b"}
    services = [service for service in watched(**store).values() if service.name == "minio"]
    assert {one.check: one.why for one in lacking(services)}["buckets"] == "it needs MINIO_BUCKETS"
    off = [service for service in watched(**store, CANARY_WRITES="off").values() if service.name == "minio"]
    assert {one.check: one.why for one in lacking(off)}["canary"].startswith("it writes, and CANARY_WRITES=off")


def test_of_no_check_that_is_there_it_is_said_that_it_is_off() -> None:
    services = watched()
    there = {(service.name, check.name) for service in services.values() for check in service.checks}
    off = {(one.service, one.check) for one in lacking(services.values())}
    assert not there & off
    assert {name for service in services.values() for name in presets()[service.kind].checks} == {
        check for _, check in there | off if check != "certificate"
    }
