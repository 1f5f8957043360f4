"""What an alert says: the facts of an incident, or a word of the daemon's own, for whoever is told. Pure."""

from collections.abc import Iterator, Mapping

from alerts.alert import Affected, Alert, Change, Kind, Severity
from monitor.blame import TROUBLE, badness
from monitor.dependencies import Graph
from monitor.facts import Fact
from monitor.incidents import BLIND, Incident, Seen

CHANGED_WITHIN = 1_800.0  # seconds before an outage in which a change of version or a restart is worth telling


def write_alert(
    kind: Kind,
    incident: Incident,
    graph: Graph,
    seen: Mapping[str, Seen],
    facts: Mapping[str, Mapping[str, Fact]],
    *,
    severity: Severity,
    state: str,
    note: str,
    instance: str,
    status_url: str,
    wall: float,
) -> Alert:
    """The alert of `kind` about `incident`, at `wall` (epoch seconds). `state` is the one it is told as."""
    root, over = incident.root, kind == Kind.RESOLVE
    shown = incident.state if over else "flapping" if incident.flapping else state
    return Alert(
        kind=kind,
        severity=severity,
        incident=incident.id,
        dedup_key=dedup_key(instance, root),
        instance=instance,
        service=root,
        title=graph.title(root),
        state=shown,
        since=incident.since,
        at=wall,
        ended=incident.resolved_at,
        cause=incident.cause or "",
        sentence=incident.sentence,
        evidence=incident.evidence,
        takes_down=tuple(_affected(incident, graph, seen)),
        changes=() if over else tuple(_changes(incident, graph, facts, wall)),
        remedy=incident.remedy,
        command="python -m monitor check" if root == BLIND else f"python -m monitor explain {root}",
        runbook=graph.services[root].runbook if root in graph.services else "",
        status_url=f"{status_url}/#{incident.id}" if status_url else "",
        note=note,
        failed_checks=incident.failed_checks,
        changes_of_state=incident.downs if incident.flapping else 0,
    )


def write_notice(
    name: str,
    title: str,
    sentence: str,
    *,
    severity: Severity,
    at: float,
    instance: str,
    status_url: str,
    remedy: str = "",
) -> Alert:
    """A notice about the daemon itself, at `at` (epoch seconds); `name` is one that no other notice has."""
    return Alert(
        kind=Kind.NOTICE,
        severity=severity,
        incident=name,
        dedup_key=f"{instance}/{name}",
        instance=instance,
        service="watchkeeper",
        title=title,
        state="",
        since=at,
        at=at,
        sentence=sentence,
        remedy=remedy,
        status_url=status_url,
    )


def dedup_key(instance: str, root: str) -> str:
    """Names the root at this instance; the same for its every outage, and after lost state."""
    return f"{instance}/{'watch' if root == BLIND else root}"


def severity_of(graph: Graph, root: str, check_name: str, state: str) -> Severity | None:
    """How loudly trouble is told; None: not at all.

    Critical when down, warning when degraded. What WATCH_FILE says for a check counts for its miss, what it says for a
    service for its being down. What merely degrades without a miss, by being slow, is never louder than a warning.
    """
    usual = Severity.CRITICAL if badness(state) > 1 else Severity.WARNING
    service = graph.services.get(root)
    if service is None:
        return usual
    check = next((one for one in service.checks if one.name == check_name), None)
    asked = (check.alert if check else None) or service.alert
    if asked is None:
        return usual
    if asked == "none":
        return None
    missed = check is not None and check.alert is not None and check.severity == state
    severity = Severity(asked)
    return severity if missed else max(severity, usual, key=list(Severity).index)


def _affected(incident: Incident, graph: Graph, seen: Mapping[str, Seen]) -> Iterator[Affected]:
    """Whom it takes down, those that are down first."""
    states = {name: seen[name].state for name in incident.affected if name in seen}
    found = [(name, states[name].value if states.get(name) in TROUBLE else "expected") for name in incident.affected]
    for name, state in sorted(found, key=lambda one: -badness(one[1])):
        yield Affected(service=name, title=graph.title(name), state=state)


def _changes(
    incident: Incident, graph: Graph, facts: Mapping[str, Mapping[str, Fact]], wall: float
) -> Iterator[Change]:
    """What changed about the root and its parents shortly before it began, or since; newest first."""
    found = [
        fact
        for name in (incident.root, *graph.parents.get(incident.root, ()))
        for fact in facts.get(name, {}).values()
        if fact.before is not None and incident.since - CHANGED_WITHIN <= fact.since <= wall
    ]
    for fact in sorted(found, key=lambda fact: -fact.since):
        yield Change(text=f"{graph.title(fact.service)}: {fact.sentence()}", at=fact.since)
