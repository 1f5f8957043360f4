"""What may be judged: whether we could look, by what the probe saw and by who else answered."""

import pytest

from monitor.probes.base import Evidence, Outcome, Sight, Verdict
from monitor.vantage import Side, Witness, look, side_of, sign_at, wants_witness, weigh

SEEN = [Sight.ANSWERED, Sight.GARBLED, Sight.REFUSED, Sight.RESET, Sight.NO_NAME, Sight.TLS]
VAIN = [Sight.NO_CONNECT, Sight.NO_ANSWER]
NOBODY = Witness(silent=("1.1.1.1:443", "8.8.8.8:443", "dns.quad9.net:443"))
SOMEBODY = Witness(answered="redis", silent=("1.1.1.1:443",))


def outcome(sight: Sight, verdict: Verdict = Verdict.FAIL, code: str = "") -> Outcome:
    evidence = Evidence(sight=sight, text="what was seen", code=code, address="10.0.0.5:5432")
    return Outcome(verdict=verdict, latency=1.0, evidence=evidence)


@pytest.mark.parametrize("sight", SEEN)
@pytest.mark.parametrize("stalled", [0.0, 60.0])
def test_whatever_a_service_does_is_seen_and_asks_for_no_witness(sight: Sight, stalled: float) -> None:
    assert look(outcome(sight), stalled).verdict == Verdict.FAIL
    assert not wants_witness(outcome(sight), None)


@pytest.mark.parametrize("verdict", [Verdict.PASS, Verdict.WARN])
def test_an_answer_is_an_answer_though_nobody_else_gives_one(verdict: Verdict) -> None:
    assert not wants_witness(outcome(Sight.ANSWERED, verdict), None)


@pytest.mark.parametrize("sight", VAIN)
def test_what_waits_in_vain_is_an_outage_when_another_answers(sight: Sight) -> None:
    seen = outcome(sight)
    assert wants_witness(seen, None)
    assert weigh(seen, SOMEBODY) == seen


@pytest.mark.parametrize("sight", VAIN)
def test_what_waits_in_vain_is_unknown_when_nobody_answers_and_says_who_was_asked(sight: Sight) -> None:
    found = weigh(outcome(sight), NOBODY)
    assert found.verdict == Verdict.UNKNOWN
    assert found.evidence.sight == Sight.CUT_OFF
    assert found.evidence.text == ("what was seen; nor did 1.1.1.1:443, 8.8.8.8:443 and dns.quad9.net:443 answer")
    assert found.evidence.address == "10.0.0.5:5432"


@pytest.mark.parametrize("sight", VAIN)
def test_what_waited_while_the_network_came_back_is_unknown_once_more(sight: Sight) -> None:
    found = weigh(outcome(sight), SOMEBODY, cut_meanwhile=True)
    assert (found.verdict, found.evidence.sight) == (Verdict.UNKNOWN, Sight.CUT_OFF)
    gone = outcome(Sight.NO_ROUTE, Verdict.UNKNOWN, "EHOSTUNREACH")
    assert weigh(gone, SOMEBODY, cut_meanwhile=True) == gone


@pytest.mark.parametrize("sight", VAIN)
def test_without_anchors_what_waits_in_vain_is_an_outage(sight: Sight) -> None:
    assert weigh(outcome(sight), Witness()).verdict == Verdict.FAIL


def test_a_second_connection_that_opened_proves_the_way() -> None:
    assert not wants_witness(outcome(Sight.NO_ANSWER), Sight.NO_ANSWER)
    assert wants_witness(outcome(Sight.NO_ANSWER), Sight.ANSWERED)
    assert wants_witness(outcome(Sight.NO_ANSWER), Sight.NO_CONNECT)
    assert wants_witness(outcome(Sight.NO_CONNECT), Sight.NO_CONNECT)


def test_a_host_that_is_gone_is_an_outage_when_others_there_answer() -> None:
    gone = outcome(Sight.NO_ROUTE, Verdict.UNKNOWN, "EHOSTUNREACH")
    assert wants_witness(gone, None)
    found = weigh(gone, SOMEBODY)
    assert (found.verdict, found.evidence.sight) == (Verdict.FAIL, Sight.NO_CONNECT)
    assert found.evidence.text == "what was seen; redis answered meanwhile"
    assert weigh(gone, NOBODY) == gone
    assert weigh(gone, Witness()) == gone


def test_no_way_out_of_our_own_network_is_never_the_services_fault() -> None:
    assert not wants_witness(outcome(Sight.NO_ROUTE, Verdict.UNKNOWN, "ENETUNREACH"), None)


def test_a_name_that_fails_is_an_outage_when_other_names_are_found() -> None:
    lost = outcome(Sight.NO_RESOLVER, Verdict.UNKNOWN, "EAI_AGAIN")
    assert wants_witness(lost, None)
    found = weigh(lost, Witness(answered="redis.internal"))
    assert (found.verdict, found.evidence.sight) == (Verdict.FAIL, Sight.NO_NAME)
    assert weigh(lost, Witness()) == lost


@pytest.mark.parametrize("sight", [Sight.LATE, Sight.FAULT, Sight.CUT_OFF])
def test_our_own_faults_stay_unknown(sight: Sight) -> None:
    assert look(outcome(sight), 0.0).verdict == Verdict.UNKNOWN
    assert not wants_witness(look(outcome(sight), 0.0), None)


def test_after_a_stall_what_waited_in_vain_needs_no_witness() -> None:
    late = look(outcome(Sight.NO_CONNECT), 3600.0)
    assert late.evidence.sight == Sight.LATE
    assert not wants_witness(late, None)


@pytest.mark.parametrize(
    ("host", "side"),
    [
        ("127.0.0.1", Side.HERE),
        ("127.0.0.53", Side.HERE),
        ("::1", Side.HERE),
        ("::ffff:127.0.0.1", Side.HERE),
        ("0.0.0.0", Side.HERE),
        ("localhost", Side.HERE),
        ("/var/run/postgresql/.s.PGSQL.5432", Side.HERE),
        ("10.0.0.5", Side.INSIDE),
        ("172.17.0.1", Side.INSIDE),
        ("192.168.1.1", Side.INSIDE),
        ("100.64.0.1", Side.INSIDE),
        ("fd12::10", Side.INSIDE),
        ("fe80::1%eth0", Side.INSIDE),
        ("::ffff:10.0.0.5", Side.INSIDE),
        ("redis.railway.internal", Side.INSIDE),
        ("postgres", Side.INSIDE),
        ("1.1.1.1", Side.OUTSIDE),
        ("2606:4700:4700::1111", Side.OUTSIDE),
        ("::ffff:1.1.1.1", Side.OUTSIDE),
        ("chat.example.com", Side.OUTSIDE),
    ],
)
def test_sides(host: str, side: Side) -> None:
    assert side_of(host) == side


@pytest.mark.parametrize("sight", [*SEEN, *VAIN])
def test_what_counts_as_a_sign_of_the_network(sight: Sight) -> None:
    sign = sign_at(sight, 5.0, 9.0)
    if sight in (Sight.NO_CONNECT, Sight.NO_NAME):
        assert sign is None
    else:
        assert sign == (5.0 if sight == Sight.NO_ANSWER else 9.0)
