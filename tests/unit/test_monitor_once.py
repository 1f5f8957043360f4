"""One look: what a person is told of a check that was given less time than its own."""

from config.checks import TcpParams
from config.services import Check
from monitor.once import cut_short
from monitor.probes.base import Evidence, Outcome, Sight, Verdict

CHECK = Check(name="port", kind="tcp", params=TcpParams(host="h", port=1), timeout=10.0)


def missed(sight: Sight) -> Outcome:
    """A miss seen like this."""
    return Outcome(verdict=Verdict.FAIL, latency=3.0, evidence=Evidence(sight=sight, text="nothing within 3 s"))


def test_a_look_cut_short_says_how_long_the_watch_would_wait() -> None:
    for sight in (Sight.NO_CONNECT, Sight.NO_ANSWER):
        seen = cut_short(missed(sight), CHECK, 3.0)
        assert seen.evidence.text == "nothing within 3 s; the watch itself waits 10 s"
        assert seen.verdict == Verdict.FAIL


def test_a_look_that_was_given_its_time_or_was_answered_says_nothing_of_it() -> None:
    assert cut_short(missed(Sight.NO_ANSWER), CHECK, 10.0) == missed(Sight.NO_ANSWER)
    assert cut_short(missed(Sight.REFUSED), CHECK, 3.0) == missed(Sight.REFUSED)
