"""What each of Qdrant's signals means: its answers and the thresholds → an Answer. Pure."""

import re
from collections import Counter
from collections.abc import Mapping

from config.signals import QdrantSignalParams
from monitor.probes.amounts import counted, graded, some
from monitor.probes.ask import Said, number, told_elsewhere
from monitor.probes.base import Answer, Verdict, not_available

SHOWN = 3  # collections in a sentence
# What they mean in words; only red is a fault.
_WORDS = {
    "green": "green",
    "yellow": "yellow (being optimised)",
    "grey": "grey (waiting to be optimised)",
    "red": "red",
}
_SPACE = re.compile(r"no space left|os error 28|disk (is )?full|not enough (disk )?space", re.IGNORECASE)
_RECOVERY = re.compile(r"recovery mode|killed during initialization", re.IGNORECASE)


def names(said: Said) -> list[str] | None:
    """Gives the names in an answer to /collections, sorted; None where it is no list of collections."""
    rows = said.get("result", "collections")
    if said.status != 200 or not isinstance(rows, list):
        return None
    return sorted({str(row["name"]) for row in rows if isinstance(row, dict) and isinstance(row.get("name"), str)})


def key(said: Said, params: QdrantSignalParams) -> Answer:
    """Whether the key is taken, or none is asked for; without one of ours a refusal says that one is lacking here."""
    listed = names(said)
    if listed is not None:
        text = f"{counted(len(listed), 'collection')} listed " + ("with the key" if params.key else "without a key")
        return Answer(verdict=Verdict.PASS, text=text, measures={"collections": float(len(listed))})
    if said.status in (401, 403) and params.key:
        text = f"HTTP {said.status} to our key: {said.text or 'no reason given'}"
        return Answer(verdict=Verdict.FAIL, text=text, sign="key", code="wrong")
    if said.status in (401, 403):
        return not_available(
            f"Qdrant asks for an API key (HTTP {said.status}) and none is set here; set QDRANT_API_KEY, a read-only "
            "one will do"
        )
    if said.status < 500:
        return told_elsewhere(f"what answers does not list collections as Qdrant does (HTTP {said.status})")
    text = f"it does not list its collections: HTTP {said.status}, {said.text or 'without a word'}"
    return Answer(verdict=Verdict.FAIL, text=text, sign="key", code="unlisted")


def collections(seen: Mapping[str, Said | None], listed: list[str], params: QdrantSignalParams) -> Answer:
    """What the collections' states prove: a full disk and one that cannot be read are a failure, another red a warning.

    `seen` are the answers (None: none in time), `listed` all there are; one that was removed in between is none.
    """
    there = {name: said for name, said in seen.items() if said and said.status not in (401, 403, 404)}
    silent = {name: "no answer in time" for name, said in seen.items() if said is None}
    states = {name: _state(said) for name, said in there.items() if said.status == 200}
    counts = Counter(states.values())
    measures = {f"collections_{state}": float(counts[state]) for state in _WORDS}
    unread = {name: _words(said) for name, said in there.items() if said.status != 200}
    red = {name: _error(there[name]) for name, state in states.items() if state == "red"}
    full = {name: error for name, error in {**red, **unread}.items() if _SPACE.search(error)}
    verdict, code, bad, what = Verdict.PASS, "", {}, ""
    if full:
        verdict, code, bad, what = Verdict.FAIL, "space", full, "red" if set(full) <= set(red) else "out of space"
    elif unread:
        recovery = all(_RECOVERY.search(words) for words in unread.values())
        verdict, code, bad, what = Verdict.FAIL, "recovery" if recovery else "unread", unread, "not readable"
    elif red:
        verdict, code, bad, what = Verdict.WARN, "red", red, "red"
    elif silent:
        verdict, code, bad, what = Verdict.WARN, "silent", silent, "silent"
    if not bad:
        return Answer(verdict=verdict, text=_all_well(counts, len(listed), len(seen)), measures=measures)
    first = min(bad)
    of = counted(len(listed), "collection")
    text = f"{some(sorted(bad), SHOWN)} of {of} {what}; {first}: {bad[first] or 'no reason given'}"
    return Answer(verdict=verdict, text=text, sign=params.signal, code=code, measures=measures)


def _all_well(counts: Mapping[str, int], listed: int, asked: int) -> str:
    if not listed:
        return "no collection"
    states = ", ".join(f"{count} {_WORDS.get(state, state)}" for state, count in sorted(counts.items()))
    rest = f"; {listed - asked} of {listed} were not asked" if listed > asked else ""
    return f"collections: {states or 'none readable with this key'}{rest}"


def queue(seen: Mapping[str, Said | None], params: QdrantSignalParams) -> Answer:
    """Changes that wait to be applied; versions before 1.17 do not tell."""
    waiting = {name: number(said.get("result", "update_queue", "length")) for name, said in seen.items() if said}
    known = {name: length for name, length in waiting.items() if length is not None}
    if not known:
        none = (
            "there is no collection" if not seen else "this Qdrant does not tell its update queue (1.17 and later do)"
        )
        return not_available(none)
    longest = max(known, key=lambda name: known[name])
    measures = {"updates_waiting": sum(known.values())}
    text = f"{sum(known.values()):.0f} changes wait to be applied"
    verdict = graded(known[longest], params)
    if verdict == Verdict.PASS:
        return Answer(verdict=verdict, text=text, measures=measures)
    text = f"{text}, {known[longest]:.0f} of them in {longest}"
    return Answer(verdict=verdict, text=text, sign=params.signal, code="behind", measures=measures)


def recovery(metrics: str, params: QdrantSignalParams) -> Answer:
    """Whether Qdrant runs in recovery mode, where its collections can be removed and nothing else."""
    mode = _gauge(metrics, "app_status_recovery_mode")
    if mode is None:
        return not_available("its metrics do not tell app_status_recovery_mode")
    if not mode:
        return Answer(verdict=Verdict.PASS, text="not in recovery mode")
    text = "it runs in recovery mode: no collection can be searched or written"
    return Answer(verdict=Verdict.FAIL, text=text, sign=params.signal)


def replicas(metrics: str, params: QdrantSignalParams) -> Answer:
    """Shards of which a replica is not active: dead, or still being brought up."""
    dead = _gauge(metrics, "collection_dead_replicas")
    if dead is None:
        return not_available("its metrics do not tell collection_dead_replicas")
    verdict = graded(dead, params)
    text = f"{dead:.0f} shards have a replica that is not active" if dead else "every replica is active"
    sign = params.signal if verdict != Verdict.PASS else ""
    return Answer(verdict=verdict, text=text, sign=sign, measures={"replicas_dead": dead})


def _gauge(metrics: str, name: str) -> float | None:
    """The value of a gauge without labels, or the sum over its labels; service.metrics_prefix may stand before it."""
    found = re.findall(rf"^\w*{name}(?:\{{[^}}\n]*\}})? ([0-9.eE+]{{1,32}})$", metrics, re.MULTILINE)
    try:
        return sum(float(value) for value in found) if found else None
    except ValueError:
        return None


def _state(said: Said) -> str:
    """Its state in lower case; "unknown" where the answer holds none."""
    state = said.get("result", "status")
    return state.lower() if isinstance(state, str) and state.isalpha() else "unknown"


def _error(said: Said) -> str:
    """The optimizer's error; "" where it gives none."""
    return str(said.get("result", "optimizer_status", "error") or "")


def _words(said: Said) -> str:
    """What Qdrant says instead of a collection's state."""
    error = said.get("status", "error")
    return f"HTTP {said.status}: {error}" if isinstance(error, str) else f"HTTP {said.status}: {said.text[:200]}"
