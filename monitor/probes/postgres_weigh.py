"""What each of PostgreSQL's signals means: a section of the snapshot and the thresholds → an Answer. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from config.signals import PostgresSignalParams
from monitor.probes.amounts import counted, fullness, graded, span
from monitor.probes.base import Answer, Verdict, not_available

Seen = Mapping[str, Any]

DAY = 86_400.0
GROWTH_WINDOW = DAY
GROWTH_LEAST = 3_600.0  # seconds: a rate told from less than that is noise
MILLION = 1_000_000
LAST_XID = 2_147  # millions: nothing can be written beyond
NEAR_LAST_XID = 1_000  # millions, from which numbers may be said to run out
OURS_ALONE = ("user", "database user", "client", "session")  # where a setting of our role alone comes from


def slots(seen: Seen, params: PostgresSignalParams) -> Answer:
    """Connection slots that are taken, in percent of those an ordinary role may take; the tightest limit counts."""
    limits = [limit for limit in seen["limits"] if limit["most"] > 0]
    tight = max(limits, key=lambda limit: limit["used"] / limit["most"], default=None)
    if tight is None:
        return not_available("the server reserves every connection slot")
    share = 100 * tight["used"] / tight["most"]
    of = "" if tight["of"] == "the server" else f" of {tight['of']}"
    text = f"{tight['used']} of {tight['most']} connection slots{of} are taken ({share:.0f} %)"
    holders = "; ".join(_holder(one) for one in seen["holders"] or ())
    facts = {"busy_with": seen["dump"] or "clients"}
    return _graded(share, params, f"{text}: {holders}" if holders else text, facts, code=fullness(share))


def _holder(one: Seen) -> str:
    kinds = [f"{one[key]} {words}" for key, words in (("idle", "idle"), ("waiting", "in a transaction")) if one[key]]
    return f"{one['app']} as {one['role']} {one['count']}" + (f" ({', '.join(kinds)})" if kinds else "")


def transactions(seen: Seen, params: PostgresSignalParams) -> Answer:
    """Seconds the oldest transaction has been open; one that was prepared and forgotten is open too."""
    found = [one for one in (seen["oldest"], seen["prepared"]) if one]
    oldest = max(found, key=lambda one: int(one["open"]), default=None)
    if oldest is None:
        return _unless_hidden(Answer(verdict=Verdict.PASS, text="no transaction is open"), seen, params)
    text = f"the oldest transaction is {span(oldest['open'])} old: {_who(oldest)}"
    return _unless_hidden(_graded(oldest["open"], params, text), seen, params)


def idle_in_transaction(seen: Seen, params: PostgresSignalParams) -> Answer:
    """Seconds the longest has waited for its client in the middle of a transaction."""
    one = seen["waiting"]
    if not one:
        answer = Answer(verdict=Verdict.PASS, text="no session is idle in a transaction")
        return _unless_hidden(answer, seen, params)
    text = f"a session has been idle in a transaction for {span(one['still'])}: {_who(one)}"
    return _unless_hidden(_graded(one["still"], params, text), seen, params)


def _who(one: Seen) -> str:
    if "gid" in one:
        return f"prepared as {one['gid']} by {one['role']} in {one['database']}, and never committed"
    return f"{one['app']} as {one['role']} in {one['database']}, pid {one['pid']}, {one['state']}"


def _unless_hidden(answer: Answer, seen: Seen, params: PostgresSignalParams) -> Answer:
    """The answer, unless it is good and there are sessions we may not look into."""
    if answer.verdict == Verdict.PASS and seen["hidden"]:
        what = f"what {counted(seen['hidden'], 'session')} of other roles do is hidden from {quoted(params.user)}"
        return not_available(f"{what}; GRANT pg_monitor TO {quoted(params.user)}")
    return answer


def writable(seen: Seen, params: PostgresSignalParams) -> Answer:
    """Whether transactions may write, for anybody and not for our own role alone."""
    if seen["standby"]:
        return _failed(params, "it is in recovery, so a standby, and takes no writes", code="25006")
    if not seen["read_only"]:
        return Answer(verdict=Verdict.PASS, text="it takes writes")
    if seen["source"] in OURS_ALONE:
        return Answer(verdict=Verdict.PASS, text="only our own role may not write")
    where = "this database" if seen["source"] == "database" else "the whole server"
    return _failed(params, f"default_transaction_read_only is on for {where}", code="25006")


def wraparound(seen: Seen, params: PostgresSignalParams) -> Answer:
    """Millions of transactions since the oldest one that is not frozen; multixacts are counted apart."""
    kind, worst = max(
        (("transactions", seen["transactions"]), ("multixacts", seen["multixacts"])), key=lambda one: int(one[1]["age"])
    )
    millions = worst["age"] / MILLION
    text = (
        f"{millions:.0f} million {kind} since the oldest in database {worst['database']} was frozen, "
        f"of {LAST_XID} at most"
    )
    return _graded(millions, params, text, code="near" if millions >= NEAR_LAST_XID else "")


def replication(seen: Seen, params: PostgresSignalParams) -> Answer:
    """Seconds the slowest replica is behind; on a standby, those it is behind itself."""
    if seen["standby"]:
        return _standby(seen, params)
    replicas: Sequence[Seen] = seen["replicas"] or ()
    # A server that never had a replica need not tell that it has none.
    facts = {"replicas": str(len(replicas))} if replicas or seen["slots"] else {}
    if not replicas:
        return Answer(verdict=Verdict.PASS, text="no replica is connected", facts=facts)
    if any(one["state"] is None for one in replicas):
        return not_available(f"replication is hidden from our role; GRANT pg_monitor TO {quoted(params.user)}")
    slowest = max(replicas, key=lambda one: int(one["behind"] or 0))
    text = f"replica {slowest['name']} ({slowest['state']}) is {span(slowest['behind'] or 0)} behind"
    if slowest["bytes"]:
        text += f", {_size(slowest['bytes'])} of WAL"
    return _graded(slowest["behind"] or 0, params, text, facts)


def _standby(seen: Seen, params: PostgresSignalParams) -> Answer:
    if seen["replayed"] is None or (seen["connected"] and seen["caught_up"]):
        return Answer(verdict=Verdict.PASS, text="this standby has replayed all it was sent")
    text = f"this standby is {span(seen['replayed'])} behind"
    return _graded(seen["replayed"], params, text if seen["connected"] else f"{text}, and not connected to its primary")


def retained_wal(seen: Seen, params: PostgresSignalParams) -> Answer:
    """Bytes of WAL that the slackest replication slot keeps from being removed."""
    slots: Sequence[Seen] = seen["slots"] or ()
    lost = next((one for one in slots if one["status"] == "lost"), None)
    if lost is not None:
        text = f"replication slot {lost['name']} has lost WAL it needed; its replica must be made anew"
        return Answer(verdict=Verdict.FAIL, text=text, sign=params.signal, code="lost")
    if not slots:
        return Answer(verdict=Verdict.PASS, text="there is no replication slot")
    worst = max(slots, key=lambda one: int(one["bytes"] or 0))
    used = "in use" if worst["active"] else "used by nobody"
    return _graded(
        worst["bytes"] or 0,
        params,
        f"replication slot {worst['name']} ({used}) keeps {_size(worst['bytes'] or 0)} of WAL",
    )


def archiver(seen: Seen, params: PostgresSignalParams) -> Answer:
    """Seconds since WAL was last archived, while archiving fails."""
    if seen["mode"] == "off":
        return Answer(verdict=Verdict.PASS, text="WAL archiving is off")
    if not seen["failing"]:
        return Answer(verdict=Verdict.PASS, text="archiving has not failed since it last succeeded")
    waited = seen["archived"] if seen["archived"] is not None else seen["counting"] or 0
    since = f"{span(waited)} ago" if seen["archived"] is not None else "never"
    text = f"archiving fails at {seen['segment']}, {seen['failed']} times by now; it last succeeded {since}"
    return _graded(waited, params, text)


def size(seen: Seen, params: PostgresSignalParams) -> Answer:
    """Bytes of the database."""
    text = f"database {seen['database']} takes {_size(seen['bytes'])}"
    return _graded(seen["bytes"], params, text, {"size": _size(seen["bytes"])})


def growth(seen: Seen, params: PostgresSignalParams) -> Answer:
    """Bytes a day, told from an earlier sample of ours: `before` is (seconds ago, bytes), None at the first."""
    if seen["before"] is None or seen["before"][0] < GROWTH_LEAST:
        return Answer(verdict=Verdict.PASS, text="watched for less than an hour, which tells nothing of growth yet")
    seconds, before = seen["before"]
    daily = (seen["bytes"] - before) / seconds * DAY
    grown = f"grew by {_size(seen['bytes'] - before)}" if daily > 0 else "did not grow"
    text = f"database {seen['database']} {grown} in {span(seconds)}, to {_size(seen['bytes'])}"
    return _graded(daily, params, text)


def _graded(
    value: float, params: PostgresSignalParams, text: str, facts: Mapping[str, str] | None = None, code: str = ""
) -> Answer:
    """The verdict that the thresholds make of `value`; the signal's name and `code` are told only where it is no pass.

    `code` is what the sentence may claim, which the verdict of a threshold set to any number does not prove.
    """
    verdict = graded(value, params)
    if verdict == Verdict.PASS:
        return Answer(verdict=verdict, text=text, facts=facts or {})
    return Answer(verdict=verdict, text=text, sign=params.signal, code=code, facts=facts or {})


def _failed(params: PostgresSignalParams, text: str, code: str) -> Answer:
    return Answer(verdict=Verdict.FAIL, text=text, sign=params.signal, code=code)


def quoted(name: str) -> str:
    """A name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


def _size(number: float) -> str:
    """Bytes for people in two digits, and not as `sized` has them, so that the fact does not change with every row."""
    for unit, name in ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if number >= unit:
            return f"{number / unit:.2g} {name}" if number < 100 * unit else f"{number / unit:.0f} {name}"
    return f"{number:.0f} B"
