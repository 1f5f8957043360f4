"""`python -m monitor incidents`, `ack` and `silence`: what is open, who looks after it, what is not told for now."""

import json
import time
from datetime import datetime
from typing import Any

import typer
from rich.table import Table
from rich.text import Text

from alerts.texts import duration
from monitor.client import Client, DaemonError
from monitor.terminal import INCIDENT_LOOKS, print_parts, writing
from monitor.times import timestamp


def incidents_command(client: Client, *, every: bool, as_json: bool) -> None:
    """Writes the open incidents, or those that are over too, the newest first. Raises DaemonError."""
    found = client.incidents(every=every)
    if as_json:
        with writing():
            typer.echo(json.dumps({"incidents": found}, indent=2))
        return
    if not found:
        print_parts(Text("There is no incident." if every else "No incident is open.", "green"))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("incident", "state", "since", "for"):
        table.add_column(name, no_wrap=True)
    table.add_column("what", overflow="fold")
    for one in found:
        over = one["resolved_at"]
        word, style = INCIDENT_LOOKS.get("over" if over else one["state"], (one["state"], "bold"))
        began = seconds(one["since"])
        lasted = duration((seconds(over) if over else time.time()) - began)
        table.add_row(one["id"], Text(word, style), timestamp(began), lasted, _what(one))
    print_parts(table)


def _what(one: dict[str, Any]) -> Text:
    """What people want to know of one incident, a line for each."""
    lines = [Text(one["sentence"] or f"{one['title']} was {one['worst']}.")]
    if one["affected"]:
        lines.append(Text(f"takes down: {', '.join(one['affected'])}"))
    if one["flapping"]:
        held = "" if one["resolved_at"] else "; open until it has stayed up for a while"
        lines.append(Text(f"comes and goes: went down {one['downs']} times{held}"))
    if one["acknowledged_by"]:
        lines.append(Text(f"{one['acknowledged_by']} looks after it", "green"))
    if one["remedy"] and not one["resolved_at"]:
        lines.append(Text(f"do: {one['remedy']}"))
    return Text("\n").join(lines)


def ack_command(client: Client, incident: str, by: str) -> None:
    """Says that `by` looks after `incident`, given by its id or by the service it is about. Raises DaemonError."""
    known = client.incidents(every=False)
    found = next((one for one in known if incident in (one["id"], one["service"])), None)
    if found is None:
        there = ", ".join(one["id"] for one in known)
        raise DaemonError(f"no open incident is called {incident}; " + (f"there are {there}" if there else "none is"))
    client.acknowledge(found["id"], by)
    print_parts(Text(f"{by} looks after {found['id']}: no more reminders. Its end will be told."))


def silence_command(client: Client, asked: dict[str, object]) -> None:
    """Makes a silence and says what it does. Raises DaemonError."""
    made = client.silence(asked)
    length = f"until {timestamp(seconds(made['until']))}" if made["until"] else f"each time, {made['cron']} (UTC)"
    text = f"Nothing is told about {made['service']} {length}. End it: python -m monitor silence --end {made['id']}"
    print_parts(Text(text))


def end_silence_command(client: Client, silence: str) -> None:
    """Ends a silence. Raises DaemonError."""
    client.end_silence(silence)
    print_parts(Text(f"{silence} has ended: what is still down is told now."))


def list_silences_command(client: Client, *, as_json: bool) -> None:
    """Writes the silences there are. Raises DaemonError."""
    found = client.silences()
    if as_json:
        with writing():
            typer.echo(json.dumps({"silences": found}, indent=2))
        return
    if not found:
        print_parts(Text("There is no silence."))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("id", "service", "when"):
        table.add_column(name, no_wrap=True)
    for name in ("why", "by"):
        table.add_column(name, overflow="fold")
    for one in found:
        held = "now, " if one["active"] else ""
        length = (
            f"until {timestamp(seconds(one['until']))}"
            if one["until"]
            else f"{one['cron']} UTC, {duration(one['duration_seconds'])} each"
        )
        table.add_row(one["id"], Text(one["service"]), f"{held}{length}", Text(one["why"]), Text(one["by"]))
    print_parts(table)


def seconds(text: str) -> float:
    """Seconds since the epoch from a time as the API writes it."""
    return datetime.fromisoformat(text).timestamp()
