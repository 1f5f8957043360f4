"""JSON lines: whole, short, not too many, and no end of the run when nobody reads."""

import io
import json
import os
import threading
from typing import Any

from rich.console import Console

from backup.manifest import Artifact
from backup.progress import Bars, Expected, Lines, Progress


def told(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def at(count: int, table: str = "") -> Progress:
    return Progress(engine="postgres", name="db", plain_bytes=count, expected_bytes=1000, table=table)


def test_lines() -> None:
    stream = io.StringIO()
    lines = Lines(stream, every=0.0)
    lines.started("p", [Expected(engine="postgres", name="db", bytes=1000)])
    lines.progress(at(5, "public.ü\n"))
    lines.ended(Artifact(engine="postgres", kind="database", name="db", status="failed", server="1", error="x" * 5000))
    lines.note("n")
    found = told(stream)
    assert [line["event"] for line in found] == ["started", "progress", "artifact", "note"]
    assert found[1]["table"] == "public.ü\n"
    assert len(stream.getvalue().splitlines()) == 4
    assert max(map(len, stream.getvalue().splitlines())) < 1000


def test_progress_is_told_now_and_then() -> None:
    stream = io.StringIO()
    lines = Lines(stream, every=1000.0)
    for count in range(100):
        lines.progress(at(count))
    assert told(stream) == []


def test_lines_of_several_threads_do_not_mix() -> None:
    stream = io.StringIO()
    lines = Lines(stream, every=0.0)
    threads = [threading.Thread(target=lambda: [lines.note("x" * 500) for _ in range(50)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told(stream)) == 200


def test_a_reader_that_went_away_stops_nothing() -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "w", encoding="utf-8") as stream:  # noqa: PTH123  # a descriptor
        lines = Lines(stream)
        for _ in range(3):
            lines.note("x")


def test_bars_name_the_table_and_are_never_full_too_soon() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=160)
    with Bars(console) as bars:
        bars.started("20261121T030000Z-7f3a", [Expected(engine="postgres", name="[red]db", bytes=1000)])
        bars.progress(Progress(engine="postgres", name="[red]db", plain_bytes=5000, expected_bytes=1000, table="[x]t"))
        bars._bars.refresh()
        assert bars._bars.tasks[0].percentage < 100
        done = Artifact(
            engine="postgres", kind="database", name="[red]db", status="whole", server="1", plain_bytes=5200
        )
        bars.ended(done)
        assert bars._bars.tasks[0].percentage == 100
    text = console.file.getvalue()
    assert "postgres [red]db" in text
    assert "[x]t" in text
