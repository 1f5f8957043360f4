"""What each of Redis's signals means: INFO, the thresholds and what was seen earlier → an Answer."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from config.signals import RedisSignalParams
from monitor.probes.amounts import counted, fullness, graded, sized
from monitor.probes.base import Answer, Verdict, not_available
from monitor.probes.shared import Samples

Info = Mapping[str, str]

LATELY = 300.0  # seconds within which evictions and rejections are counted: long enough for every second look
HOUR = 3_600.0


@dataclass(frozen=True, slots=True)
class Memory:
    """What earlier runs saw of `server`. `now` is the loop's clock."""

    samples: Samples[Any]
    server: Hashable
    now: float

    def gained(self, info: Info, counter: str) -> tuple[int, float] | None:
        """By how much a counter of INFO grew lately, and within how many seconds; None when there is no earlier look.

        A restart begins it anew, and so does CONFIG RESETSTAT.
        """
        key = (self.server, info.get("run_id"), counter)
        value = number(info, counter)
        if value < (self.samples.newest(key) or 0):
            self.samples.forget(key)
        before = self.samples.since(key, value, LATELY, self.now)
        return (value - before[1], before[0]) if before else None

    def restarts(self, info: Info) -> int:
        """How often within the last hour another process answered than before."""
        key = (self.server, "restarts")
        count, known = self.samples.newest(key) or (0, info.get("run_id"))
        count += known != info.get("run_id")
        before = self.samples.since(key, (count, info.get("run_id")), HOUR, self.now)
        return count - before[1][0] if before else 0


def memory(info: Info, params: RedisSignalParams, _: Memory) -> Answer:
    """Memory in use, in percent of maxmemory, where what is over it is refused; a cache that evicts may be full."""
    most, policy_is = number(info, "maxmemory"), info.get("maxmemory_policy", "")
    used = number(info, "used_memory") - number(info, "mem_not_counted_for_evict")
    if not most:
        why = f"maxmemory is not set, so there is nothing to measure {sized(used)} against"
        return not_available(f"{why}; set it below the container's limit, or that will end the process without a word")
    share = 100 * used / most
    text = f"{sized(used)} of {sized(most)} are used ({share:.0f} %) with {policy_is}"
    if policy_is != "noeviction":
        return Answer(verdict=Verdict.PASS, text=text)
    return _graded(share, params, text, code="near" if fullness(share) else "")


def policy(info: Info, params: RedisSignalParams, _: Memory) -> Answer:
    """Whether keys may be thrown away, which queues do not survive."""
    found = info.get("maxmemory_policy")
    if not found:
        return not_available("INFO does not tell maxmemory_policy")
    if found == "noeviction":
        return Answer(verdict=Verdict.PASS, text="maxmemory_policy is noeviction")
    if not number(info, "maxmemory"):
        return Answer(verdict=Verdict.PASS, text=f"maxmemory_policy is {found}, but no maxmemory is set to evict at")
    text = f"maxmemory_policy is {found}: when memory is full, queues lose keys; it must be noeviction"
    return Answer(verdict=Verdict.WARN, text=text, sign=params.signal)


def evicted(info: Info, params: RedisSignalParams, seen: Memory) -> Answer:
    """Keys thrown away within the last minutes."""
    return _counted(seen.gained(info, "evicted_keys"), params, "key", "thrown away for want of memory")


def rejected(info: Info, params: RedisSignalParams, seen: Memory) -> Answer:
    """Connections refused within the last minutes."""
    clients = f"; {info.get('connected_clients', '?')} of {info.get('maxclients', '?')} clients are connected"
    answer = _counted(seen.gained(info, "rejected_connections"), params, "connection", "refused")
    return Answer(verdict=answer.verdict, text=answer.text + clients, sign=answer.sign)


def _counted(gained: tuple[int, float] | None, params: RedisSignalParams, noun: str, what: str) -> Answer:
    if gained is None:
        return Answer(verdict=Verdict.PASS, text=f"{noun}s that are {what} are counted from now on")
    count, seconds = gained
    text = f"{counted(count, noun)} {what} in the last {seconds:.0f} s"
    # A threshold of 0 makes no trouble of what did not happen.
    return _graded(count, params, text) if count else Answer(verdict=Verdict.PASS, text=text)


def persistence(info: Info, params: RedisSignalParams, _: Memory) -> Answer:
    """Whether what it holds could be saved, the last time that was tried."""
    if "rdb_last_bgsave_status" not in info:
        return not_available("INFO does not tell of persistence")
    failed = [
        words
        for field, words in (
            ("rdb_last_bgsave_status", "the last snapshot (RDB)"),
            ("aof_last_write_status", "the last write to the log (AOF)"),
            ("aof_last_bgrewrite_status", "the last rewrite of the log (AOF)"),
        )
        if info.get(field, "ok") != "ok"
    ]
    if failed:
        changes = number(info, "rdb_changes_since_last_save")
        text = f"{' and '.join(failed)} failed; {changes} changes are not in a snapshot"
        return Answer(verdict=Verdict.FAIL, text=text, sign=params.signal)
    return Answer(verdict=Verdict.PASS, text="the last snapshot, and the log if there is one, were written")


def replica(info: Info, params: RedisSignalParams, _: Memory) -> Answer:
    """Seconds a replica has been without its primary; a primary has none."""
    if info.get("role") != "slave":
        return Answer(verdict=Verdict.PASS, text=f"a primary with {number(info, 'connected_slaves')} replicas")
    if info.get("master_link_status") == "up":
        return Answer(verdict=Verdict.PASS, text="the link to its primary is up")
    where = f"{info.get('master_host', '?')}:{info.get('master_port', '?')}"
    if info.get("master_sync_in_progress") == "1":
        return Answer(verdict=Verdict.PASS, text=f"it is fetching everything from its primary {where}")
    # -1 when there has been no link since its start.
    since = (
        "uptime_in_seconds" if info.get("master_link_down_since_seconds") == "-1" else "master_link_down_since_seconds"
    )
    down = number(info, since)
    return _graded(down, params, f"the link to its primary {where} has been down for {down} s")


def restarts(info: Info, params: RedisSignalParams, seen: Memory) -> Answer:
    """Restarts within the last hour, as far as they were seen."""
    count = seen.restarts(info)
    times = "once" if count == 1 else f"{count} times"
    up = f"it has been up for {number(info, 'uptime_in_seconds')} s"
    text = f"it restarted {times} within the last hour; {up}" if count else f"no restart was seen; {up}"
    return _graded(count, params, text) if count else Answer(verdict=Verdict.PASS, text=text)


def _graded(value: float, params: RedisSignalParams, text: str, code: str = "") -> Answer:
    """The verdict that the thresholds make of `value`; the signal's name and `code` are told only where it is no pass.

    `code` is what the sentence may claim, which the verdict of a threshold set to any number does not prove.
    """
    verdict = graded(value, params)
    if verdict == Verdict.PASS:
        return Answer(verdict=verdict, text=text)
    return Answer(verdict=verdict, text=text, sign=params.signal, code=code)


def number(info: Info, field: str) -> int:
    """A field of INFO as a number; 0 where there is none."""
    value = info.get(field, "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else 0
