"""Writes docs/reference/causes.md from the tables of monitor/diagnose: `python docs/causes.py`."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from config.causes import Cause
from monitor.diagnose.base import Rule
from monitor.diagnose.general import GENERAL
from monitor.diagnose.http import UNASKED
from monitor.diagnose.table import TABLES
from monitor.diagnose.tls import TLS
from monitor.diagnose.ways import WAYS

PAGE = Path(__file__).parent / "reference" / "causes.md"

HEAD = """# Causes

Generated from `monitor/diagnose/` by `python docs/causes.py`; do not edit.

A cause is what the evidence of one check proves, never a guess. For each: what it means whatever the service is, and
under it what proves it for one kind of check and what to do then. A preset's own remedy for a cause goes before these,
save where a row is marked \\*: it knows more than the cause. An alert names the service and its setting.
"""

PLACES = {
    "title": "the service",
    "address": "its address",
    "code": "code",
    "setting": "its setting",
    "where": "its setting",
    "bucket": "its bucket",
    "provider": "its provider",
    "speech": "another protocol",
    "usual_port": "N",
    "others": "another one",
}


def plain(template: str) -> str:
    """A rule's text without a service to fill it with, fit for a table's cell."""
    text = template.replace(" ({code})", "")
    for name, words in PLACES.items():
        text = text.replace("{" + name + "}", words)
    text = text.replace("|", "\\|").replace("<", "\\<").replace("*", "\\*").replace("_", "\\_")
    return text[0].upper() + text[1:]


def rows(kind: str, rules: Iterable[Rule], cause: Cause) -> Iterator[str]:
    """The lines of one cause's table that a kind of check has of its own."""
    general = GENERAL[cause]
    for rule in rules:
        if rule.cause == cause and (rule.proof, rule.remedy) != (general.proof, general.remedy):
            mark = "\\*" if rule.precise else ""
            yield f"| {kind}{mark} | {plain(rule.proof)} | {plain(rule.remedy)} |"


def sections() -> Iterator[str]:
    """One section a cause, in the order of config/causes.py."""
    for cause in Cause:
        general = GENERAL[cause]
        yield f"## {cause.value}\n"
        yield f"{plain(general.proof)}.\n"
        yield f"{plain(general.remedy)}\n"
        kinds = [*TABLES.items(), ("http, of a preset", (UNASKED,)), ("any, over TLS", TLS), ("any", WAYS)]
        found = [row for kind, rules in kinds for row in rows(kind, rules, cause)]
        if found:
            yield "\n".join(("| check | what proves it | what to do |", "|---|---|---|", *found, ""))


def page() -> str:
    """The whole page."""
    return HEAD + "\n" + "\n".join(sections()).rstrip() + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
