"""Writes docs/reference/states.md from the judge itself: `python docs/states.py`."""

from collections.abc import Iterator
from pathlib import Path

from config.causes import Cause
from config.checks import TcpParams
from config.services import Check, Severity
from monitor.diagnose.base import Diagnosis
from monitor.judge import CheckTrack, State, judge_check
from monitor.probes.base import Evidence, Outcome, Sight, Verdict

PAGE = Path(__file__).parent / "reference" / "states.md"
LONGEST_ROW = 12  # outcomes tried before a cell says that nothing changes

HEAD = """# States

Generated from `monitor/judge.py` by `python docs/states.py`; do not edit.

A check is moved by its outcomes, as the tables say; the numbers are the defaults of FAILURE_THRESHOLD (3 fails),
SUCCESS_THRESHOLD (2 passes) and `warn_threshold` (3 runs without a clean pass). A cell says how many outcomes of that
kind in a row it takes from a settled state, and where they lead.

{tables}
## Rules the tables cannot show

- A fail counts towards down until the next clean pass: a warning in between does not clear it.
- {failures} fails among the last 10 runs, though never {threshold} in a row, make a check degraded with cause
  *intermittent*; it is up again when at most {settled} of the last 10 failed.
- Unknown (we could not look) neither advances nor clears a count. After as many in a row as a failure takes, the
  check is shown as unknown until an answer, or fails enough, settle how it is; nothing is claimed for the time between.
- A signal that was not asked, because its server does not answer, changes nothing of what is known of it; that the
  server does not answer is told by the service's own check. One that is *not available* (a right is lacking) passes.
- A service is down if one of its checks is, else degraded if one is, else unknown if a check that could make it down
  was never confirmed or cannot be looked at, else up. A check of severity *degraded* makes a service degraded at worst.
- A service never yet seen up may fail for START_PERIOD (120 s) before it counts as down; until then it is unknown with
  cause *starting*. That belongs to the service: a restart of the daemon does not renew it.
- Since when a state holds is the time of the first outcome of the row that led to it, not of the last one, and never
  reaches back over a time in which nobody could look.
- A paused service is not looked at.
"""


def outcome(verdict: Verdict) -> Outcome:
    """An outcome of that verdict and nothing else."""
    return Outcome(verdict=verdict, latency=0.01, evidence=Evidence(sight=Sight.ANSWERED, text="x"))


def settled(state: State, check: Check) -> CheckTrack:
    """A check that has been in `state` for long."""
    way = {
        State.UNKNOWN: [],
        State.UP: [Verdict.PASS] * 12,
        State.DEGRADED: [Verdict.WARN] * 12,
        State.DOWN: [Verdict.FAIL] * 12,
    }[state]
    track = CheckTrack()
    for verdict in way:
        track = step(track, check, verdict)
    return track


def step(track: CheckTrack, check: Check, verdict: Verdict) -> CheckTrack:
    """The track after one more outcome."""
    found = Diagnosis(cause=Cause.REFUSED, sentence="x", remedy="x")
    return judge_check(track, check, outcome(verdict), None if verdict == Verdict.PASS else found, 1.0)


def cell(state: State, check: Check, verdict: Verdict) -> str:
    """What a row of `verdict` makes of a check settled in `state`."""
    track = settled(state, check)
    start = track.confirmed
    for count in range(1, LONGEST_ROW + 1):
        track = step(track, check, verdict)
        if track.confirmed != start:
            return f"{track.confirmed.value} after {count}"
    return "stays"


def tables() -> Iterator[str]:
    """One table for each severity."""
    severities: tuple[Severity, ...] = ("down", "degraded")
    for severity in severities:
        params = TcpParams(host="x", port=1)
        check = Check(name="x", kind="tcp", params=params, severity=severity)
        yield f"## A check whose miss means {severity}\n"
        yield "| settled state | pass | warn | fail | unknown |"
        yield "|---|---|---|---|---|"
        states = [State.UNKNOWN, State.UP, State.DEGRADED] + ([State.DOWN] if severity == "down" else [])
        for state in states:
            cells = " | ".join(cell(state, check, verdict) for verdict in Verdict)
            name = "never confirmed" if state == State.UNKNOWN else state.value
            yield f"| {name} | {cells} |"
        yield ""


def page() -> str:
    """The whole page."""
    from monitor.judge import INTERMITTENT_FAILURES, SETTLED_FAILURES

    return HEAD.format(
        tables="\n".join(tables()), failures=INTERMITTENT_FAILURES, settled=SETTLED_FAILURES, threshold=3
    )


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
