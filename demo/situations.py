"""Alerts as they come at night: one for each situation that people must understand half asleep.

The golden payloads of the tests and the examples of docs/reference/messages.md are made of them.
"""

from collections.abc import Mapping
from dataclasses import replace

from alerts.alert import Affected, Alert, Change, Kind, Severity

BEGAN = 1_795_230_720.0  # 2026-11-21 03:12:00 UTC
MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
STATUS = "https://watchkeeper-production.up.railway.app"

POSTGRES = Alert(
    kind=Kind.OPEN,
    severity=Severity.CRITICAL,
    incident="20261121T031222Z-postgres",
    dedup_key="watchkeeper@production/postgres",
    instance="watchkeeper@production",
    service="postgres",
    title="PostgreSQL",
    state="down",
    since=BEGAN,
    at=BEGAN + 22,
    cause="refused",
    sentence="PostgreSQL at postgres.railway.internal:5432 refuses the connection: nothing listens on that port.",
    evidence="connection refused by fd12:7a4c::5:5432",
    takes_down=(
        Affected(service="litellm", title="LiteLLM", state="down"),
        Affected(service="langfuse-web", title="Langfuse web", state="down"),
        Affected(service="open-webui", title="Open WebUI", state="expected"),
    ),
    changes=(
        Change(text="PostgreSQL: version 17.4 → 17.5", at=BEGAN - 4 * MINUTE),
        Change(text="LiteLLM: version 1.84.0 → 1.85.0", at=BEGAN - 31 * MINUTE),
    ),
    remedy="See whether it runs: its deployment and the last lines of its log (crashed, still starting, or out of "
    "restarts: Railway gives up after 10). Then compare the port in DATABASE_URL with the one it listens on.",
    command="python -m monitor check postgres",
    runbook="https://wiki.example.com/runbooks/postgres?from=alert",
    status_url=f"{STATUS}/#postgres",
)

QDRANT = Alert(
    kind=Kind.OPEN,
    severity=Severity.WARNING,
    incident="20261121T031305Z-qdrant",
    dedup_key="watchkeeper@production/qdrant",
    instance="watchkeeper@production",
    service="qdrant",
    title="Qdrant",
    state="degraded",
    since=BEGAN + 65,
    at=BEGAN + 185,
    cause="slow",
    sentence="Qdrant at qdrant.railway.internal:6333 takes longer to answer than it should.",
    evidence="200 after 2.31 s; 1.00 s is the limit",
    remedy="Look at its CPU and memory, and at optimizations that run: they slow searches down while they last.",
    command="python -m monitor check qdrant",
    status_url=f"{STATUS}/#qdrant",
)

REDIS = Alert(
    kind=Kind.OPEN,
    severity=Severity.CRITICAL,
    incident="20261121T031214Z-redis",
    dedup_key="watchkeeper@production/redis",
    instance="watchkeeper@production",
    service="redis",
    title="Redis",
    state="down",
    since=BEGAN + 14,
    at=BEGAN + 36,
    cause="capacity",
    sentence="Redis at redis.railway.internal:6379 refuses writes: its memory is full.",
    evidence="OOM command not allowed when used memory > 'maxmemory'.",
    takes_down=(Affected(service="langfuse-worker", title="Langfuse worker", state="expected"),),
    remedy="Give it more memory (maxmemory), or find what fills it: redis-cli --bigkeys.",
    status_url=f"{STATUS}/#redis",
)

BLIND = Alert(
    kind=Kind.OPEN,
    severity=Severity.CRITICAL,
    incident="20261121T031400Z-blind",
    dedup_key="watchkeeper@production/watch",
    instance="watchkeeper@production",
    service="(blind)",
    title="Watchkeeper",
    state="blind",
    since=BEGAN,
    at=BEGAN + 2 * MINUTE,
    cause="no_resolver",
    sentence="No name can be looked up from here and none of 3 anchors answers, so nothing is known of any service.",
    evidence="dns.quad9.net:443, 1.1.1.1:443, 8.8.8.8:443: no answer within 5 s",
    remedy="See the platform's status page first (status.railway.com); then redeploy Watchkeeper.",
    status_url=STATUS,
)

BACKUPS = Alert(
    kind=Kind.OPEN,
    severity=Severity.CRITICAL,
    incident="20261121T050000Z-backups",
    dedup_key="watchkeeper@production/backups",
    instance="watchkeeper@production",
    service="backups",
    title="Backups",
    state="down",
    since=BEGAN - 26 * HOUR,
    at=BEGAN + 5 * MINUTE,
    cause="stale",
    sentence="The newest good backup is older than its schedule allows.",
    evidence="newest good: 20261119T030004Z-91cc, 48 h old; due daily at 03:00",
    remedy="See the last run's error: python -m backup show latest, and the daemon's log. Take one now: "
    "python -m backup run.",
    command="python -m backup list",
    status_url=f"{STATUS}/#backups",
)

NOTICE = Alert(
    kind=Kind.NOTICE,
    severity=Severity.INFO,
    incident="20261121T031200Z-test",
    dedup_key="watchkeeper@production/(test)",
    instance="watchkeeper@production",
    service="(test)",
    title="Test: alerts of watchkeeper@production reach you here",
    state="",
    since=BEGAN,
    at=BEGAN,
    sentence="Somebody ran test-alert; nothing is broken and nothing is to be done.",
    status_url=STATUS,
)

HOSTILE_TEXT = (
    "<!channel> @everyone <@U024BE7LH> <@&123456> @here </td><script>alert(1)</script> *bold* _it_ ~no~ `code` "
    "[click](https://evil.example/x) <https://evil.example|PostgreSQL> ||spoiler|| \x1b[31mred\x1b[0m\r\n\u202e"
    "drowssap\u202c \u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627 \U0001f469\u200d\U0001f692 "
    "\U0001f1e9\U0001f1ea e\u0301 \ud83d \x00 &amp; ${jndi} "
)


def _hostile() -> Alert:
    return replace(
        POSTGRES,
        title="PostgreSQL *<!here>* @everyone",
        sentence="The server says: " + HOSTILE_TEXT,
        evidence=HOSTILE_TEXT * 60,
        takes_down=tuple(
            Affected(service=f"s{number}", title=f"<!channel> {number} @everyone", state="down") for number in range(40)
        ),
        changes=tuple(Change(text=HOSTILE_TEXT, at=BEGAN - number) for number in range(8)),
        remedy=HOSTILE_TEXT * 30,
        command="echo `whoami` " + HOSTILE_TEXT * 10,
        runbook="https://evil.example/a)b|c>d<e*f`g@everyone?x=<!channel>&y=" + "z" * 300,
        status_url="javascript:alert(1)",
        note=HOSTILE_TEXT,
        instance="production\n<!channel>",
    )


def _many(count: int) -> tuple[Alert, ...]:
    """As many services that broke each for its own reason."""
    names = [f"Agent {number:02d}" for number in range(1, count + 1)]
    return tuple(
        replace(
            QDRANT if number % 5 == 4 else REDIS,
            incident=f"20261121T0312{number:02d}Z-agent-{number:02d}",
            dedup_key=f"watchkeeper@production/agent-{number:02d}",
            service=f"agent-{number:02d}",
            title=name,
            since=BEGAN + number,
            sentence=f"{name} at agent-{number:02d}.railway.internal:8080 does not answer in time.",
            evidence="no answer within 10 s",
            takes_down=(),
            remedy="Look at its log.",
        )
        for number, name in enumerate(names)
    )


def group(*members: Alert, kind: Kind = Kind.OPEN) -> Alert:
    """Several alerts told in one message."""
    worst = min((one.severity for one in members), key=list(Severity).index)
    return replace(
        NOTICE,
        kind=kind,
        severity=worst,
        incident="",
        dedup_key="",
        service="",
        title="",
        sentence="",
        since=min(one.since for one in members),
        at=BEGAN + 40,
        members=members,
    )


def _resolved(alert: Alert, lasted: float, **changes: object) -> Alert:
    facts = {"kind": Kind.RESOLVE, "state": "up", "ended": alert.since + lasted, "at": alert.since + lasted + 2}
    return replace(alert, **{**facts, **changes})  # type: ignore[arg-type]  # fields of Alert by their names


SITUATIONS: Mapping[str, Alert] = {
    "open_down": POSTGRES,
    "open_degraded": QDRANT,
    "worse": replace(
        QDRANT,
        kind=Kind.UPDATE,
        severity=Severity.CRITICAL,
        state="down",
        at=BEGAN + 9 * MINUTE,
        cause="no_answer",
        sentence="Qdrant at qdrant.railway.internal:6333 opened the connection and did not answer in time.",
        evidence="no answer within 10 s",
        note="It was degraded.",
    ),
    "better": replace(QDRANT, kind=Kind.UPDATE, at=BEGAN + 14 * MINUTE, note="It was down."),
    "spread": replace(
        POSTGRES,
        kind=Kind.UPDATE,
        at=BEGAN + 3 * MINUTE,
        note="R2R is in trouble too, with PostgreSQL.",
        takes_down=(
            *POSTGRES.takes_down,
            Affected(service="r2r", title="R2R", state="down"),
        ),
    ),
    "flapping": replace(
        REDIS, kind=Kind.UPDATE, severity=Severity.WARNING, state="flapping", at=BEGAN + 41 * MINUTE, changes_of_state=5
    ),
    "reminder": replace(POSTGRES, kind=Kind.REMINDER, at=BEGAN + 105 * MINUTE, note="The 3rd reminder."),
    "reminder_next_day": replace(
        POSTGRES, kind=Kind.REMINDER, at=BEGAN + 2 * DAY + 4 * HOUR, note="The 9th reminder.", changes=()
    ),
    "acknowledged": replace(
        POSTGRES, kind=Kind.UPDATE, at=BEGAN + 8 * MINUTE, note="acknowledged by Ana: no more reminders"
    ),
    "resolve": _resolved(POSTGRES, 4 * MINUTE + 12, failed_checks=12),
    "resolve_flapping": _resolved(
        REDIS,
        62 * MINUTE,
        failed_checks=41,
        changes_of_state=7,
        note="Redis is up again, for 10 min without a break; it went down 7 times.",
    ),
    "brief": _resolved(POSTGRES, 95, kind=Kind.BRIEF, failed_checks=4, at=BEGAN + 12 * MINUTE),
    "resolve_paused": _resolved(
        REDIS, 25 * MINUTE, state="paused", failed_checks=30, note="Redis is paused, so nobody looks at it any more."
    ),
    "group_of_3": group(POSTGRES, REDIS, QDRANT),
    "group_of_30": group(*_many(30)),
    "group_resolve": group(
        _resolved(POSTGRES, 252, failed_checks=12), _resolved(REDIS, 240, failed_checks=9), kind=Kind.RESOLVE
    ),
    "blind": BLIND,
    "blind_resolve": _resolved(BLIND, 11 * MINUTE),
    "backups_stale": BACKUPS,
    "backups_resolve": _resolved(BACKUPS, 27 * HOUR, failed_checks=12),
    "notice_test": NOTICE,
    "notice_channel_refused": replace(
        NOTICE,
        severity=Severity.CRITICAL,
        title="Slack does not take alerts any more",
        sentence="3 alerts wait for it and are not tried again",
        evidence="Slack answered 404: no_service",
        remedy="Make a new incoming webhook in Slack, set SLACK_WEBHOOK_URL and redeploy.",
        command="python -m monitor test-alert slack",
    ),
    "notice_backup_done": replace(
        NOTICE,
        title="Backup done",
        sentence="PostgreSQL (3 databases) and ClickHouse, 412 MB in 48 s",
        evidence="20261121T030000Z-7f3a",
        command="python -m backup show latest",
    ),
    "hostile": _hostile(),
    "bare": Alert(
        kind=Kind.OPEN,
        severity=Severity.ERROR,
        incident="i",
        dedup_key="k",
        instance="",
        service="agent",
        title="",
        state="down",
        since=BEGAN,
        at=BEGAN,
    ),
}
