"""Writes docs/reference/messages.md from the wording itself: `python docs/messages.py`.

`python docs/messages.py --goldens` also writes tests/data/alerts/, what each provider is sent in each situation; read
their difference as somebody who was woken would read the messages.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from alerts.alert import Alert
from alerts.channels import apprise, discord, pagerduty, slack, webhook
from alerts.wording import text
from config.secret import Secret
from demo.situations import SITUATIONS

PAGE = Path(__file__).parent / "reference" / "messages.md"
GOLDENS = Path(__file__).parents[1] / "tests" / "data" / "alerts"
KEY = Secret("0" * 32)
UNSHOWN = ("hostile", "group_of_30")  # too long for a page

HEAD = """# Messages

Generated from `alerts/wording.py` and `demo/situations.py` by `python docs/messages.py`; do not edit.

How alerts read, as plain text. Slack and Discord show the same words beside a bar of colour. On a lock screen the lines
before "Seen" appear. What exactly each provider is sent in these situations is in `tests/data/alerts/`.
[Alerts](alerts.md) says what is sent to whom.

{examples}"""


def golden(alert: Alert) -> dict[str, Any]:
    """What each provider is sent; of several alerts told in one message, those that are sent such messages."""
    title, body, kind = apprise.words(alert)
    sent = {
        "slack": slack.message(alert),
        "discord": discord.message(alert),
        "pagerduty": pagerduty.events(alert, KEY),
        "webhook": webhook.document(alert),
        "apprise": {"title": title, "body": body.split("\n"), "type": kind},
    }
    apart = ("pagerduty", "webhook") if alert.members else ()
    return {name: payload for name, payload in sent.items() if name not in apart}


def examples() -> Iterator[str]:
    """Each situation under its name."""
    for name, alert in SITUATIONS.items():
        if name not in UNSHOWN:
            yield f"## {name.replace('_', ' ').capitalize()}\n\n```\n{text(alert)}\n```\n"


def page() -> str:
    """The whole page."""
    return HEAD.format(examples="\n".join(examples()))


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    if "--goldens" in sys.argv[1:]:
        GOLDENS.mkdir(parents=True, exist_ok=True)
        for name, alert in SITUATIONS.items():
            made = json.dumps(golden(alert), indent=2, ensure_ascii=False) + "\n"
            (GOLDENS / f"{name}.json").write_text(made, encoding="utf-8")
