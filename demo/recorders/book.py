"""Where recordings are written, and what is made the same in all of them: what differs from one run to the next."""

import json
import re
import shutil
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from demo.process import DemoError

FOLDER = Path(__file__).parents[2] / "tests/data/recorded"
"""Where they are kept."""

# Times, ids and the like, wherever they stand in a text; the first that fits decides.
_VARYING: Sequence[tuple[str, str]] = (
    (r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b", "00000000-0000-0000-0000-000000000000"),
    (r"\b20\d\d-[01]\d-[0-3]\d[T ][\d:]{8}(?:\.\d+)?(?:Z|\+00:00)?", "2026-01-01T00:00:00Z"),
    (r"\b[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} 20\d\d [\d:]{8} GMT", "Thu, 01 Jan 2026 00:00:00 GMT"),
    (r"(127\.0\.0\.1|localhost|\[?::1\]?):\d+", r"\1:1"),
    (r'(server at "[^"]*", port) \d+', r"\1 1"),
    (r"<RequestId>[^<]*<", "<RequestId>0<"),
    (r"(\d+\.\d+\.\d+\.\d+\t)\d+\b", r"\g<1>0"),  # ClickHouse's version, and its uptime
    # What its system tables tell of this moment and this disk, as `monitor.probes.clickhouse_queries` asks for it.
    (r'"(uptime|age|elapsed)":"\d+"', r'"\1":"1"'),
    (r'"(memory|count|bytes|logs)":"[1-9]\d*"', r'"\1":"1"'),
    (r'"(free|unreserved)":"\d+"', r'"\1":"50000000000"'),
    (r'"total":"\d+"', '"total":"100000000000"'),
    (r"elapsed [\d.]+ ms", "elapsed 1000 ms"),
    (r"would use [\d.]+ MiB", "would use 6 MiB"),
    (r'"created":\d+', '"created":0'),
    (r'"id":"chatcmpl-[^"]*"', '"id":"chatcmpl-0"'),
)


class Book:
    """The recordings of one server: a folder of its own in `into`, with a file for each situation.

    `secrets` are texts that must not get into one. `subject` is who is recorded, in words.
    """

    def __init__(self, into: Path, name: str, version: str, subject: str, secrets: Sequence[str]) -> None:
        self.folder = into / f"{name}-{version}"
        self._head = {"server": subject, "version": version}
        self._secrets = tuple(secrets)
        self.written: list[Path] = []

    def write(self, situation: str, says: str, **found: Any) -> None:
        """Keeps what was found in a situation; `says` how it was brought about. Raises DemoError for a secret in it."""
        text = json.dumps({**self._head, "says": says, **found}, indent=1, ensure_ascii=False, sort_keys=True)
        leaked = [secret for secret in self._secrets if secret in text]
        if leaked:
            raise DemoError(f"the recording {self.folder.name}/{situation} holds a secret ({leaked[0][:6]}…)")
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{situation}.json"
        path.write_text(text + "\n")
        self.written.append(path)

    def close(self) -> None:
        """Takes away what earlier runs wrote of this server and this one did not."""
        for path in set(self.folder.glob("*.json")) - set(self.written):
            path.unlink()


def steady(text: str) -> str:
    """Gives `text` with what differs between two runs made the same."""
    for pattern, instead in _VARYING:
        text = re.sub(pattern, instead, text)
    return text


def rounded(number: float, digits: int = 2) -> int:
    """Gives a number that differs a little between two runs with so many of its digits."""
    whole = int(number)
    places = len(str(abs(whole))) - digits
    return whole if places <= 0 else round(whole / 10**places) * 10**places


def clear(into: Path, name: str, keep: Collection[str]) -> None:
    """Takes away the folders of a server's versions that are not recorded any more; `keep` are names of folders."""
    for folder in into.glob(f"{name}-*"):
        if folder.name not in keep:
            shutil.rmtree(folder)
