"""The outages the demo can play: how each begins and how it ends."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from demo.contract import Contract
from demo.contracts.table import KINDS, faults
from demo.litellm import LiteLlm
from demo.process import DemoError
from demo.queues import NO_BUCKET, NO_MEMORY, Queues
from demo.stack import Stack

ANOTHER = "sk-demo-another-secret"
"""The password or key a server wants when it no longer wants ours."""
REAL = ("postgres", "redis", "clickhouse", "minio", "litellm")
"""Services that real servers answer for."""
STAND_INS = tuple(kind for kind in KINDS if kind not in REAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """One way to break the stack: `begin` breaks it, `end` mends it. `says` is one line for people.

    `stand_in` means that LiteLLM's stand-in must play; the real one cannot be told to fail like that.
    """

    name: str
    says: str
    begin: Callable[[Stack], None]
    end: Callable[[Stack], None]
    stand_in: bool = False


def find(name: str) -> Outage:
    """The outage called `name`. Raises DemoError that says what is near, or where the list is."""
    known = {outage.name: outage for outages in groups().values() for outage in outages}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=3)
    hint = f"did you mean {', '.join(near)}?" if near else "python -m demo --list shows them all"
    raise DemoError(f"there is no outage called {name!r}; {hint}")


def groups() -> dict[str, list[Outage]]:
    """All of them under headings for people: real servers, LiteLLM's stand-in, then each other stand-in."""
    real = {"Real servers": [*(outage for name in REAL for outage in _gone(name)), *SPOILED]}
    return (
        real
        | {"LiteLLM, played by its stand-in": _faults("litellm")}
        | {kind: [*_gone(kind), *_faults(kind)] for kind in STAND_INS}
    )


def listing() -> str:
    """A line for each outage; what every stand-in can do is said once, at the end."""
    common = {name for name in faults("react-client") if name not in KINDS["react-client"].FAULTS}
    lines = []
    for heading, outages in groups().items():
        lines.append(heading)
        lines += [_line(outage.name, outage.says) for outage in outages if outage.name.split("/")[-1] not in common]
        lines.append("")
    lines.append("Every stand-in, for example qdrant/hang")
    lines += [_line(f"…/{name}", says) for name, says in faults("react-client").items() if name in common]
    return "\n".join(lines)


def _line(name: str, says: str) -> str:
    return f"  {name:<32} {says}"


def _gone(name: str) -> list[Outage]:
    """The two ways in which any server is gone."""
    return [
        Outage(
            name=name,
            says=f"{name} is stopped: connections are refused",
            begin=lambda stack: stack.parts[name].stop(),
            end=partial(_start, name=name),
        ),
        Outage(
            name=f"{name}/pause",
            says=f"{name} is frozen: it accepts connections and never answers",
            begin=lambda stack: stack.parts[name].pause(),
            end=lambda stack: stack.parts[name].resume(),
        ),
    ]


def _start(stack: Stack, *, name: str) -> None:
    stack.parts[name].start()


def _faults(kind: str) -> list[Outage]:
    """What a stand-in can be told to have."""
    return [
        Outage(
            name=f"{kind}/{fault}",
            says=says,
            begin=partial(_break, kind=kind, fault=fault),
            end=lambda stack: _stand_in(stack, kind).mend(),
            stand_in=kind == "litellm",
        )
        for fault, says in faults(kind).items()
    ]


def _break(stack: Stack, *, kind: str, fault: str) -> None:
    _stand_in(stack, kind).break_with(fault)


def _stand_in(stack: Stack, kind: str) -> Contract:
    part = stack.parts[kind]
    if not isinstance(part, Contract):
        raise DemoError(f"{kind} is the real one and cannot be told to fail like that")
    return part


def _clickhouse_password(stack: Stack, password: str) -> None:
    """ClickHouse reads its password at start only."""
    stack.clickhouse.stop()
    stack.clickhouse.password = password
    stack.clickhouse.start()


def _queues(stack: Stack, change: Callable[[Queues], None]) -> None:
    with stack.valkey.client() as client:
        change(Queues(client))


def _queue_outage(name: str, says: str, change: Callable[[Queues], None]) -> Outage:
    """One of the worker's queues in the real Redis; no worker is there to work them off."""
    return Outage(
        name=f"langfuse-worker/{name}",
        says=says,
        begin=partial(_queues, change=change),
        end=partial(_queues, change=lambda queues: queues.clear()),
    )


def _paused(queues: Queues) -> None:
    queues.add(3)
    queues.pause()


def _litellm_key(stack: Stack, key: str) -> None:
    if isinstance(stack.litellm, LiteLlm):
        stack.litellm.stop()
        stack.litellm.master_key = key
        stack.litellm.start()
    elif key == ANOTHER:
        stack.litellm.break_with("key_changed")
    else:
        stack.litellm.mend()


SPOILED = [
    Outage(
        name="postgres/password",
        says="the role in DATABASE_URL has another password now",
        begin=lambda stack: stack.postgres.change_password(ANOTHER),
        end=lambda stack: stack.postgres.change_password(stack.postgres.password),
    ),
    Outage(
        name="postgres/slots",
        says="every connection slot is taken: FATAL 53300",
        begin=lambda stack: stack.postgres.take_slots(),
        end=lambda stack: stack.postgres.free_slots(),
    ),
    Outage(
        name="postgres/readonly",
        says="default_transaction_read_only is on: queries are answered, every write is refused with 25006",
        begin=lambda stack: stack.postgres.refuse_writes(),
        end=lambda stack: stack.postgres.allow_writes(),
    ),
    Outage(
        name="redis/password",
        says="Valkey wants another password than REDIS_URL holds",
        begin=lambda stack: stack.valkey.change_password(ANOTHER),
        end=lambda stack: stack.valkey.restore_password(ANOTHER),
    ),
    Outage(
        name="redis/full",
        says="Valkey's memory is full: writes are refused while PING still answers",
        begin=lambda stack: stack.valkey.fill(),
        end=lambda stack: stack.valkey.empty(),
    ),
    Outage(
        name="redis/policy",
        says="Valkey may throw keys away (allkeys-lru), Langfuse's queues among them",
        begin=lambda stack: stack.valkey.evict(),
        end=lambda stack: stack.valkey.keep(),
    ),
    Outage(
        name="redis/evicted",
        says="Valkey has thrown keys away for want of memory; its memory and policy are as they should be again",
        begin=lambda stack: stack.valkey.throw_away(),
        end=lambda stack: stack.valkey.empty(),
    ),
    Outage(
        name="redis/unsaved",
        says="Valkey cannot save to disk, and refuses writes and PING with MISCONF; what is there can be read",
        begin=lambda stack: stack.valkey.lose_folder(),
        end=lambda stack: stack.valkey.find_folder(),
    ),
    Outage(
        name="redis/replica",
        says="Valkey is a replica without a primary: it takes no writes (READONLY) while PING still answers",
        begin=lambda stack: stack.valkey.follow_nobody(),
        end=lambda stack: stack.valkey.lead(),
    ),
    Outage(
        name="clickhouse/password",
        says="ClickHouse wants another password: /ping stays green, queries are refused with 516",
        begin=lambda stack: _clickhouse_password(stack, ANOTHER),
        end=lambda stack: _clickhouse_password(stack, stack.variables["CLICKHOUSE_PASSWORD"]),
    ),
    Outage(
        name="clickhouse/memory",
        says="ClickHouse is short of memory: SELECT 1 is answered, what needs 61 MiB is refused with 241 (it restarts)",
        begin=lambda stack: stack.clickhouse.starve(),
        end=lambda stack: stack.clickhouse.ease(),
    ),
    Outage(
        name="clickhouse/disk",
        says="ClickHouse's disk is full: SELECT 1 is answered, inserts are refused with 243 (it restarts)",
        begin=lambda stack: stack.clickhouse.fill_disk(),
        end=lambda stack: stack.clickhouse.ease(),
    ),
    Outage(
        name="clickhouse/parts",
        says="a table of ClickHouse's has as many parts as it may: one more insert is refused with 252",
        begin=lambda stack: stack.clickhouse.pile_up_parts(),
        end=lambda stack: stack.clickhouse.drop("demo_parts"),
    ),
    Outage(
        name="clickhouse/mutation",
        says="a mutation of ClickHouse's fails whenever it is tried",
        begin=lambda stack: stack.clickhouse.stick_mutation(),
        end=lambda stack: stack.clickhouse.drop("demo_stuck"),
    ),
    Outage(
        name="clickhouse/files",
        says="ClickHouse may open no more files: SELECT 1 is answered, a wide table is refused with 76 (it restarts)",
        begin=lambda stack: stack.clickhouse.run_out_of_files(),
        end=lambda stack: stack.clickhouse.find_files(),
    ),
    Outage(
        name="minio/bucket",
        says="the bucket for backups is gone",
        begin=lambda stack: stack.seaweedfs.remove_bucket(),
        end=lambda stack: stack.seaweedfs.make_bucket(),
    ),
    Outage(
        name="minio/other_bucket",
        says="the bucket of Langfuse's events is gone; that for backups is there",
        begin=lambda stack: stack.seaweedfs.remove_bucket("langfuse"),
        end=lambda stack: stack.seaweedfs.make_bucket("langfuse"),
    ),
    Outage(
        name="minio/readonly",
        says="the store's key may read and not write any more",
        begin=lambda stack: stack.seaweedfs.forbid_writes(),
        end=lambda stack: stack.seaweedfs.allow_writes(),
    ),
    Outage(
        name="minio/full",
        says="the store's disk is full: every question is answered, every write refused (it restarts, 3 s)",
        begin=lambda stack: stack.seaweedfs.fill(),
        end=lambda stack: stack.seaweedfs.empty(),
    ),
    Outage(
        name="minio/key",
        says="the store has another secret key than MINIO_SECRET_KEY",
        begin=lambda stack: stack.seaweedfs.change_secret(ANOTHER),
        end=lambda stack: stack.seaweedfs.change_secret(stack.variables["MINIO_SECRET_KEY"]),
    ),
    Outage(
        name="litellm/key",
        says="LiteLLM runs with another master key: alive and ready, but ours is refused (the real one restarts, 8 s)",
        begin=lambda stack: _litellm_key(stack, ANOTHER),
        end=lambda stack: _litellm_key(stack, stack.variables["LITELLM_MASTER_KEY"]),
    ),
    _queue_outage(
        "jobs_wait",
        "jobs wait in Redis for an hour, and its health is green",
        lambda queues: queues.add(40, age=3600),
    ),
    _queue_outage(
        "jobs_overdue",
        "jobs that were due an hour ago are still delayed: no worker looks, and its health is green",
        lambda queues: queues.delay(40, overdue=3600),
    ),
    _queue_outage(
        "jobs_stand",
        "jobs have just come, and none of them is taken: its health is green",
        lambda queues: queues.add(40),
    ),
    _queue_outage("queue_paused", "its queue is paused, and jobs wait in it", _paused),
    _queue_outage(
        "jobs_given_up",
        "jobs are given up because ClickHouse has no memory",
        lambda queues: queues.give_up(200, reason=NO_MEMORY),
    ),
    _queue_outage(
        "jobs_without_bucket",
        "jobs are given up because the bucket is gone",
        lambda queues: queues.give_up(200, reason=NO_BUCKET),
    ),
]
