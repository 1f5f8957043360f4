"""What each of ClickHouse's signals means: rows of its system tables, the thresholds and earlier looks → an Answer."""

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from config.signals import ClickhouseSignalParams
from monitor.probes.amounts import counted, fullness, graded, sized, span
from monitor.probes.base import Answer, Verdict, not_available
from monitor.probes.shared import Samples

LATELY = 300.0  # seconds within which errors are counted: long enough for every second look
# What a server refuses for want of something, the worst first, and how it is called.
LIMITS: Mapping[str, str] = {
    "243": "no disk space",
    "252": "too many parts",
    "76": "a file could not be opened",
    "241": "memory limit",
}
INSERT_BYTES = 1 << 20  # what ClickHouse sets aside for the smallest insert; with less it is refused (243)
# Volumes of a sane size; an object store tells the largest number there is.
MOST_BYTES = 1 << 60


@dataclass(frozen=True, slots=True)
class Row:
    """One row: which of the questions it answers, and its values by name."""

    tag: str
    values: Mapping[str, str]

    def text(self, name: str) -> str:
        """A value; "" where there is none."""
        return self.values.get(name, "")

    def number(self, name: str) -> int:
        """A value as a number; 0 where it is none."""
        value = self.text(name)
        return int(value) if value.isascii() and value.isdigit() and len(value) < 20 else 0


@dataclass(frozen=True, slots=True)
class Seen:
    """The rows of one answer by tag."""

    rows: Mapping[str, Sequence[Row]]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Seen":
        """Gives the rows of an answer, sorted by tag."""
        return cls({tag: [row for row in rows if row.tag == tag] for tag in {row.tag for row in rows}})

    def __getitem__(self, tag: str) -> Sequence[Row]:
        return self.rows.get(tag, ())

    @property
    def uptime(self) -> int:
        """Seconds since the server's start."""
        return self["server"][0].number("uptime") if self["server"] else 0


@dataclass(frozen=True, slots=True)
class Memory:
    """What earlier looks saw of `server`. `now` is the loop's clock."""

    samples: Samples[Any]
    server: Hashable
    now: float

    def gained(self, seen: Seen, code: str, count: int) -> tuple[int, float] | None:
        """By how much the count of an error grew lately, and within how many seconds; None for the first look.

        An error that was never seen is not in the table, so a look without it is a look at 0. A restart begins anew.
        """
        key = (self.server, "errors", code)
        uptime, before = self.samples.newest(key) or (0, 0)
        if seen.uptime < uptime or count < before:
            self.samples.forget(key)
        first = self.samples.since(key, (seen.uptime, count), LATELY, self.now)
        return (count - first[1][1], first[0]) if first else None


def disk(seen: Seen, params: ClickhouseSignalParams, _: Memory) -> Answer:
    """The fullest disk, in percent of its size; where none has room for an insert it fails, with code "full"."""
    disks = [row for row in seen["disk"] if 0 < row.number("total") + row.number("kept") < MOST_BYTES]
    if not disks:
        return not_available("no disk of this server tells its size, as object stores do not")
    full = max(disks, key=_filled)
    text = "; ".join(_disk(row) for row in sorted(disks, key=_filled, reverse=True)[:4])
    measures = {"disk_free_bytes": float(full.number("free")), "disk_used_percent": round(_filled(full), 2)}
    if all(row.number("unreserved") < INSERT_BYTES for row in disks):
        return Answer(verdict=Verdict.FAIL, text=text, sign=params.signal, code="full", measures=measures)
    near = "near" if fullness(_filled(full)) else ""
    code = "one_full" if full.number("unreserved") < INSERT_BYTES else near
    return _graded(_filled(full), params, text, code=code, measures=measures)


def _filled(row: Row) -> float:
    """A disk that has less than keep_free_space_bytes may tell a size of 0."""
    total = row.number("total")
    return 100 * (1 - min(row.number("free"), total) / total) if total else 100.0


def _disk(row: Row) -> str:
    reserved = row.number("free") - row.number("unreserved")
    merging = f", {sized(reserved)} of it reserved by merges" if reserved > 0 else ""
    left = f"{sized(row.number('free'))} of {sized(row.number('total'))}{merging}"
    return f"disk {row.text('name')} is {_filled(row):.0f} % full, {left} are free"


def parts(seen: Seen, params: ClickhouseSignalParams, _: Memory) -> Answer:
    """Active parts of a partition, in percent of those that inserts are refused at; where they are delayed it warns."""
    server = {row.text("name"): row.number("value") for row in seen["limit"]}
    own = {row.text("table"): row for row in seen["own_limit"]}
    if not server.get("parts_to_throw_insert"):
        return not_available("the server does not tell at how many parts it refuses inserts")

    def limit(row: Row, word: str) -> int:
        mine = own.get(row.text("table"))
        return (mine.number(word) if mine else 0) or server.get(f"parts_to_{word}_insert", 0)

    def share(row: Row) -> float:
        return 100 * row.number("parts") / limit(row, "throw")

    worst = max(seen["partition"], key=share, default=None)
    if worst is None:
        return Answer(verdict=Verdict.PASS, text="no partition has ten parts", measures={"parts_percent": 0.0})
    delay = limit(worst, "delay")
    text = (
        f"{worst.number('parts')} parts in partition {worst.text('partition')} of {worst.text('table')}; inserts are "
        f"delayed from {delay} and refused from {limit(worst, 'throw')}"
    )
    delayed = "delayed" if 0 < delay <= worst.number("parts") else ""
    code = "refused" if share(worst) >= 100 else delayed
    answer = _graded(share(worst), params, text, code=code, measures={"parts_percent": round(share(worst), 2)})
    if answer.verdict == Verdict.PASS and code:
        return Answer(verdict=Verdict.WARN, text=text, sign=params.signal, code=code, measures=answer.measures)
    return answer


def mutations(seen: Seen, params: ClickhouseSignalParams, _: Memory) -> Answer:
    """Seconds since the oldest mutation was ordered that fails; one that only takes long is well."""
    waiting = seen["mutation"]
    failing = [row for row in waiting if row.text("reason")]
    measures = {"mutations_waiting": float(len(waiting)), "mutations_failing": float(len(failing))}
    if not failing:
        text = f"{counted(len(waiting), 'mutation')} under way, none fails" if waiting else "no mutation waits"
        return Answer(verdict=Verdict.PASS, text=text, measures=measures)
    oldest = max(failing, key=lambda row: row.number("age"))
    others = f" (and {len(failing) - 1} more)" if len(failing) > 1 else ""
    text = (
        f"mutation {oldest.text('id')} of {oldest.text('table')} fails, ordered {span(oldest.number('age'))} "
        f"ago{others}: {oldest.text('reason')}"
    )
    return _graded(oldest.number("age"), params, text, measures=measures)


def replicas(seen: Seen, params: ClickhouseSignalParams, _: Memory) -> Answer:
    """Seconds the furthest replica is behind; one that takes no writes fails, however little it is behind."""
    rows = seen["replica"]
    if not rows:
        return Answer(verdict=Verdict.PASS, text="no table here is replicated")
    stuck = [row for row in rows if row.number("readonly") or row.number("expired")]
    late = max(rows, key=lambda row: row.number("delay"))
    if stuck:
        names = ", ".join(row.text("table") for row in stuck[:3]) + (f" and {len(stuck) - 3} more" * (len(stuck) > 3))
        text = f"read-only for want of its Keeper: {names}"
        return Answer(verdict=Verdict.FAIL, text=text, sign=params.signal, code="readonly")
    text = f"{late.text('table')} is {span(late.number('delay'))} behind, {late.number('queue')} entries in its queue"
    measures = {"replica_delay_seconds": float(late.number("delay"))}
    return _graded(late.number("delay"), params, text, code="behind", measures=measures)


def errors(seen: Seen, params: ClickhouseSignalParams, memory: Memory) -> Answer:
    """Queries refused for want of something within five minutes: the thresholds count those of memory (241).

    One query may ask for too much memory by itself; of every other want a single one is one too many.
    """
    found = {row.text("code"): row for row in seen["error"]}
    gains = {code: memory.gained(seen, code, found[code].number("count") if code in found else 0) for code in LIMITS}
    times = {code: gain[0] for code, gain in gains.items() if gain and gain[0]}
    seconds = max((gain[1] for gain in gains.values() if gain), default=0.0)
    if all(gain is None for gain in gains.values()):
        return Answer(verdict=Verdict.PASS, text="refusals are counted from now on")
    measures = {"refusals_lately": float(sum(times.values()))}
    said = [
        f"{LIMITS[code]} {counted(n, 'time')} (code {code}): {found[code].text('message')}" for code, n in times.items()
    ]
    text = f"in the last {seconds:.0f} s {'; '.join(said)}" if said else f"none refused in the last {seconds:.0f} s"
    others = [code for code in times if code != "241"]
    if others:
        verdict = Verdict.FAIL if params.fail is not None else Verdict.WARN
        return Answer(verdict=verdict, text=text, sign=params.signal, code=others[0], measures=measures)
    if not times:  # a threshold of 0 makes no trouble of what did not happen
        return Answer(verdict=Verdict.PASS, text=text, measures=measures)
    return _graded(times.get("241", 0), params, text, code="241", measures=measures)


def own_limit(text: str) -> bool:
    """Whether a refusal for memory is about the query's own limit, and not what all queries share."""
    return re.search(r"query memory limit|memory limit \(for query\)", text, re.IGNORECASE) is not None


def queries(seen: Seen, params: ClickhouseSignalParams, _: Memory) -> Answer:
    """Seconds the longest query has run, ours left out."""
    longest = max(seen["query"], key=lambda row: row.number("elapsed"), default=None)
    if longest is None:
        return Answer(verdict=Verdict.PASS, text="no query runs", measures={"longest_query_seconds": 0.0})
    seconds = longest.number("elapsed")
    text = (
        f"a query of {longest.text('user')} has run for {span(seconds)} and holds {sized(longest.number('memory'))}: "
        f"{longest.text('id')} {longest.text('query')}"
    )
    return _graded(seconds, params, text, measures={"longest_query_seconds": float(seconds)})


def size_of(seen: Seen) -> tuple[int, int]:
    """Bytes of everything, and of the server's own logs in it."""
    return sum(row.number("bytes") for row in seen["database"]), sum(row.number("logs") for row in seen["database"])


def size(seen: Seen, params: ClickhouseSignalParams, _: Memory) -> Answer:
    """Bytes of all databases."""
    whole, own = size_of(seen)
    rows = sorted(seen["database"], key=lambda row: row.number("bytes"), reverse=True)[:4]
    names = ", ".join(f"{row.text('name')} {sized(row.number('bytes'))}" for row in rows)
    text = f"{sized(whole)} in all, {sized(own)} of it system logs" + (f": {names}" if names else "")
    return _graded(whole, params, text, measures={"size_bytes": float(whole), "system_logs_bytes": float(own)})


def logs(seen: Seen, params: ClickhouseSignalParams, _: Memory) -> Answer:
    """Bytes of the server's own logs, where they are larger than the data."""
    whole, own = size_of(seen)
    data = whole - own
    names = ", ".join(f"system.{row.text('table')} {sized(row.number('bytes'))}" for row in seen["log"])
    text = f"{sized(own)} of system logs beside {sized(data)} of data" + (f": {names}" if names else "")
    return _graded(own, params, text) if own > data else Answer(verdict=Verdict.PASS, text=text)


def quoted(name: str) -> str:
    """A user's name as GRANT wants it."""
    return name if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) else "`" + name.replace("`", "\\`") + "`"


def _graded(
    value: float,
    params: ClickhouseSignalParams,
    text: str,
    *,
    code: str = "",
    measures: Mapping[str, float] | None = None,
) -> Answer:
    """The verdict that the thresholds make of `value`; sign and code are told only where it is no pass."""
    verdict = graded(value, params)
    if verdict == Verdict.PASS:
        return Answer(verdict=verdict, text=text, measures=measures or {})
    return Answer(verdict=verdict, text=text, sign=params.signal, code=code, measures=measures or {})
