"""docs/reference/alerts.md names every field and header, its example is sent so, its check of a signature works."""

import json
import re
from pathlib import Path

from alerts.channels import webhook
from alerts.channels.exchange import encode
from alerts.channels.table import CHANNELS
from config.secret import Secret
from demo.situations import SITUATIONS

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "alerts.md").read_text(encoding="utf-8")
NOW = 1_795_230_720.0


def block(language: str) -> str:
    """The page's one block of code in `language`."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    return str(found)


def test_every_channel_is_named() -> None:
    assert set(CHANNELS) <= set(re.findall(r"^\| `(\w+)`", PAGE, flags=re.MULTILINE))


def test_every_field_has_its_row_and_no_row_is_left_over() -> None:
    table = PAGE[PAGE.index("| name | meaning |") : PAGE.index("```json")]
    assert re.findall(r"^\| `(\w+)`", table, flags=re.MULTILINE) == list(webhook.document(SITUATIONS["open_down"]))


def test_the_example_is_what_is_sent() -> None:
    assert json.loads(block("json")) == webhook.document(SITUATIONS["open_down"])


def test_the_check_of_the_signature_takes_ours_and_nothing_else() -> None:
    names: dict[str, object] = {}
    exec(block("python"), names)
    verify = names["verify"]
    assert callable(verify)
    body = encode(webhook.document(SITUATIONS["open_down"]))
    headers = webhook.headers(body, Secret("hush"), NOW)
    timestamp, signature = headers[webhook.TIMESTAMP_HEADER], headers[webhook.SIGNATURE_HEADER]
    assert verify(body, timestamp, signature, "hush", NOW + 2) is True
    assert verify(body + b" ", timestamp, signature, "hush", NOW + 2) is False
    assert verify(body, str(int(timestamp) + 1), signature, "hush", NOW + 2) is False
    assert verify(body, timestamp, signature, "other", NOW + 2) is False
    assert verify(body, timestamp, signature, "hush", NOW + 301) is False
    assert verify(body, "never", signature, "hush", NOW) is False


def test_the_headers_are_named() -> None:
    for name in (webhook.TIMESTAMP_HEADER, webhook.SIGNATURE_HEADER, webhook.KEY_HEADER):
        assert f"`{name}`" in PAGE
