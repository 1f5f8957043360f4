"""Pieces of text: what is left out, where it is cut, how times are said."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerts.channels import discord, slack
from alerts.texts import clamp, clean, duration, listed, moment, rfc3339, units, unmention, web_address

T = 1_795_230_720.0  # 2026-11-21 03:12:00 UTC


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("  one\r\n\ttwo\u2028three\u00a0 ", "one two three"),
        ("\x1b[1;31mred\x1b[0m \x07bell\x00", "red bell"),
        ("user\u202etxt.exe", "usertxt.exe"),  # turns what follows around
        ("in\u200bvisi\u2060ble\ufeff", "invisible"),
        ("half \ud83d of a pair", "half \ufffd of a pair"),
        (
            "\U0001f469\u200d\U0001f692 e\u0301 \u05e9\u05dc\u05d5\u05dd",
            "\U0001f469\u200d\U0001f692 e\u0301 \u05e9\u05dc\u05d5\u05dd",
        ),
        ("hidden\U000e0068\U000e0069", "hidden"),  # tag characters write text that nobody sees
    ],
)
def test_clean_leaves_one_line_of_what_can_be_seen(given_text: str, shown: str) -> None:
    assert clean(given_text) == shown


def test_clean_does_not_go_through_megabytes() -> None:
    assert len(clean("x" * 5_000_000)) == 20_001


@pytest.mark.parametrize("name", ["@everyone", "@here", "@channel", "<@123>", "<@!123>", "<@&9>", "<!channel>", "<#5>"])
def test_a_mention_is_broken(name: str) -> None:
    assert name not in unmention(f"x {name} y")


def test_an_address_of_mail_stays_as_it_is() -> None:
    assert unmention("ana@example.com") == "ana@example.com"


@pytest.mark.parametrize("escape", [slack.escape, slack.literal, discord.escape, discord.literal])
@given(
    text=st.text(max_size=300) | st.text("&<>*_`\\@\U0001f469\u200d\u0301e", max_size=200), most=st.integers(10, 120)
)
def test_clamp_keeps_within_its_limit_and_loses_nothing_that_fits(escape: object, text: str, most: int) -> None:
    assert callable(escape)
    shown = clamp(text, most, escape)
    assert units(shown) <= most
    if units(escape(text)) <= most:
        assert shown == escape(text)
    else:
        assert shown.endswith("…")


def test_clamp_cuts_no_entity_and_no_emoji() -> None:
    assert clamp("<" * 10, 14, slack.escape) == "&lt;&lt;&lt;…"
    assert clamp("ab\U0001f469\u200d\U0001f692", 6) == "ab…"
    assert clamp("abe\u0301", 4) == "abe\u0301"
    assert clamp("abe\u0301x", 4) == "ab…"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (-5, "0 s"),
        (float("nan"), "0 s"),
        (0.3, "less than 1 s"),
        (42, "42 s"),
        (59.7, "1 min"),
        (252, "4 min 12 s"),
        (3600, "1 h"),
        (4500, "1 h 15 min"),
        (3599.6, "1 h"),
        (86_400 * 3 + 4 * 3600 + 59, "3 d 4 h"),
    ],
)
def test_a_duration_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_a_moment_has_its_date_only_on_another_day() -> None:
    assert moment(T, near=T + 60) == "03:12 UTC"
    assert moment(T, near=T + 86_400) == "21 Nov, 03:12 UTC"
    assert moment(float("inf"), near=T) == "a time unknown"
    assert rfc3339(T + 0.25) == "2026-11-21T03:12:00.250Z"
    assert (rfc3339(None), rfc3339(1e30)) == (None, None)


def test_names_are_listed_as_people_say_them() -> None:
    assert [listed(["A", "B", "C"][:count], 3) for count in range(4)] == ["", "A", "A and B", "A, B and C"]
    assert listed(list("ABCDE"), 3) == "A, B and 3 more"


@pytest.mark.parametrize(
    ("address", "link"),
    [
        ("https://wiki.example.com/a?b=c#d", "https://wiki.example.com/a?b=c#d"),
        ("http://[::1]:8080/x", "http://[::1]:8080/x"),
        ("https://x.example/a)b|c>d", "https://x.example/a%29b%7Cc%3Ed"),
        ("https://x.example/@everyone", "https://x.example/%40everyone"),
        ("javascript:alert(1)", ""),
        ("https://user:password@x.example/", ""),
        ("/relative", ""),
        ("https://x.example/" + "y" * 990, ""),  # longer than what a message has room for
        ("https://[::", ""),
        ("", ""),
    ],
)
def test_an_address_is_safe_in_a_link_or_left_out(address: str, link: str) -> None:
    assert web_address(address) == link


@settings(derandomize=True, deadline=None)
@given(st.text())
def test_any_text_is_an_address_or_none(text: str) -> None:
    assert not set(web_address("https://x.example/" + text)) & set("<>|()`@* \n")
