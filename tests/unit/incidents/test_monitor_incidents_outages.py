"""Every outage of the demo that is told of several services is one incident, at the one that explains the rest."""

import pytest

from config.causes import Cause
from config.services import discover
from demo.expectations import expected
from demo.outages import groups
from monitor.blame import View
from monitor.dependencies import Graph
from monitor.incidents import Seen
from monitor.judge import State

ENVIRON = {
    "DATABASE_URL": "postgresql://u:p@db/litellm",
    "DATABASE_URL__LANGFUSE": "postgresql://u:p@db/langfuse",
    "REDIS_URL": "redis://r",
    "CLICKHOUSE_URL": "http://c:8123",
    "MINIO_ENDPOINT": "m:9000",
    "MINIO_ACCESS_KEY": "a",
    "MINIO_SECRET_KEY": "s",
    "QDRANT_URL": "http://q:6333",
    "QDRANT_GRPC_URL": "http://q:6334",
    "LITELLM_URL": "http://l:4000",
    "LITELLM_MASTER_KEY": "sk-1",
    "LITELLM_LANGFUSE_PUBLIC_KEY": "pk-lf-1",
    "LITELLM_LANGFUSE_SECRET_KEY": "sk-lf-1",
    "LANGFUSE_URL": "http://web:3000",
    "LANGFUSE_WORKER_URL": "http://worker:3030",
    "OPEN_WEBUI_URL": "http://o:8080",
    "OPEN_WEBUI_OPENAI_API_KEY": "sk-1",
    "R2R_URL": "http://r2r:7272",
    "SAAS_API_URL": "http://s:8000",
    "SAAS_API_LITELLM_MASTER_KEY": "sk-1",
}
GRAPH = Graph.of(discover(ENVIRON).services)
OUTAGES = [
    outage.name
    for outages in groups().values()
    for outage in outages
    if len(expected(outage.name).not_up.keys() & GRAPH.services.keys()) > 1
]


def test_the_outages_that_spread_are_among_them() -> None:
    assert {"postgres", "postgres/password", "clickhouse", "litellm/key", "langfuse-web/keys_changed"} <= {*OUTAGES}


@pytest.mark.parametrize("outage", OUTAGES)
def test_an_outage_is_one_incident(outage: str) -> None:
    told = {name: one for name, one in expected(outage).not_up.items() if name in GRAPH.services}
    seen = {name: Seen(state=State.UP, since=0.0) for name in GRAPH.services}
    for name, one in told.items():
        tried = [check for (holder, check), provider in GRAPH.keys.items() if holder == name and provider in told]
        keyed = one.cause == Cause.AUTH and tried
        check = tried[0] if keyed else GRAPH.services[name].checks[0].name
        state = State.DEGRADED if one.state == "degraded" else State.DOWN
        seen[name] = Seen(state=state, since=0.0, check=check, cause=one.cause)
    view = View(graph=GRAPH, seen=seen, cases={}, held={})
    roots = [name for name in told if not view.excuses(name, seen[name].state)]
    assert len(roots) == 1
    assert {roots[0], *view.reach(roots[0])[0]} == told.keys()
