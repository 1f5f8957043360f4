"""What counts as news among the things probes learn."""

import pytest

from monitor.facts import Fact, Facts

NOON = 1_790_000_000.0


def told(facts: Facts, at: float, **seen: str) -> list[str]:
    """What is new, in words."""
    return [fact.sentence() for fact in facts.learn("litellm", seen, at)]


def test_a_version_is_news_once_and_again_when_it_changes() -> None:
    facts = Facts()
    assert told(facts, NOON, version="1.84") == ["version 1.84"]
    assert told(facts, NOON + 60, version="1.84") == []
    assert told(facts, NOON + 120, version="1.85") == ["version 1.84 → 1.85"]
    assert facts.of("litellm")["version"] == Fact(
        service="litellm", name="version", value="1.85", since=NOON + 120, before="1.84"
    )


def test_services_do_not_share_facts() -> None:
    facts = Facts()
    told(facts, NOON, version="1")
    assert [fact.service for fact in facts.learn("redis", {"version": "1"}, NOON)] == ["redis"]


def test_an_answer_without_a_fact_does_not_forget_it() -> None:
    facts = Facts()
    told(facts, NOON, version="1.84")
    assert told(facts, NOON + 60) == []
    assert told(facts, NOON + 60, version="") == []
    assert told(facts, NOON + 120, version="1.84") == []


def test_an_uptime_that_grows_is_no_news() -> None:
    facts = Facts()
    assert told(facts, NOON, uptime="100") == ["running since 2026-09-21 14:11:40 UTC"]
    news = [told(facts, NOON + second, uptime=str(100 + second)) for second in range(60, 90_000, 60)]
    assert not any(news)


def test_an_uptime_that_falls_is_a_restart() -> None:
    facts = Facts()
    told(facts, NOON, uptime="86400")
    assert told(facts, NOON + 60, uptime="12.5") == ["restarted at 2026-09-21 14:14:07 UTC"]


@pytest.mark.parametrize("step", [-3600, 3600])
def test_a_stepped_clock_is_no_restart(step: int) -> None:
    facts = Facts()
    told(facts, NOON, uptime="86400")
    assert told(facts, NOON + 60 + step, uptime="86460") == []
    assert told(facts, NOON + 120 + step, uptime="86520") == []
    assert told(facts, NOON + 180 + step, uptime="3") != []


def test_answers_that_overtake_each_other_are_no_restart() -> None:
    facts = Facts()
    told(facts, NOON, uptime="1000")
    assert told(facts, NOON, uptime="998") == []


def test_a_restart_while_we_were_away_is_seen_from_the_start_alone() -> None:
    before = Facts()
    told(before, NOON, uptime="1000")
    after = Facts(before.all())
    assert told(after, NOON + 600, uptime="1600") == []
    after = Facts(before.all())
    assert told(after, NOON + 600, uptime="300") == ["restarted at 2026-09-21 14:18:20 UTC"]


@pytest.mark.parametrize("nonsense", ["", "soon", "nan", "inf", "-5", "1e300"])
def test_an_uptime_that_is_none_is_passed_over(nonsense: str) -> None:
    assert told(Facts(), NOON, uptime=nonsense) == []


def test_values_are_cut_and_made_storable() -> None:
    (fact,) = Facts().learn("a", {"version": "v\udcff" + "x" * 1000}, NOON)
    assert fact.value.startswith("v?x")
    assert len(fact.value) == 200
