"""Alerts as they come at night: one for each situation that people must understand half asleep.

Their texts are those that the daemon writes (monitor.letters, .routing, .outages, .vantage); the golden payloads of the
tests and the examples of docs/reference/messages.md are made of them.
"""

from collections.abc import Mapping
from dataclasses import replace

from alerts.alert import Affected, Alert, Change, Kind, Severity
from alerts.order import joined
from alerts.trouble import Matter, Trouble

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
    command="python -m monitor explain postgres",
    runbook="https://wiki.example.com/runbooks/postgres?from=alert",
    status_url=f"{STATUS}/#20261121T031222Z-postgres",
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
    command="python -m monitor explain qdrant",
    status_url=f"{STATUS}/#20261121T031305Z-qdrant",
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
    command="python -m monitor explain redis",
    status_url=f"{STATUS}/#20261121T031214Z-redis",
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
    sentence="Nothing at all is seen: the resolver here does not answer, so no name can be looked up.",
    evidence="nothing of langfuse-web, litellm, postgres and 4 more; qdrant: the resolver gave no answer within 2 s",
    remedy="The services may be well. See whether names resolve on another machine of this network, and the platform's "
    "status; then redeploy Watchkeeper.",
    command="python -m monitor check",
    status_url=f"{STATUS}/#20261121T031400Z-blind",
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
    command="python -m monitor explain backups",
    status_url=f"{STATUS}/#20261121T050000Z-backups",
)

NOTICE = Alert(
    kind=Kind.NOTICE,
    severity=Severity.INFO,
    incident="20261121T031200Z-test-5f0c",
    dedup_key="watchkeeper@production/20261121T031200Z-test-5f0c",
    instance="watchkeeper@production",
    service="watchkeeper",
    title="Test: alerts reach you here",
    state="up",
    since=BEGAN,
    at=BEGAN,
    sentence="Somebody has tried Watchkeeper's alerts by hand. Nothing is wrong, and there is nothing to do.",
    status_url=STATUS,
)

REFUSED = Trouble(
    channel="slack", matter=Matter.REFUSED, reason="refused", said="Slack answered 404: no_service", at=BEGAN, alerts=()
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


def _resolved(alert: Alert, lasted: float, **facts: object) -> Alert:
    over = alert.since + lasted
    usual = {"kind": Kind.RESOLVE, "state": "up", "ended": over, "at": over + 2, "changes": ()}
    return replace(alert, **{**usual, **facts})  # type: ignore[arg-type]  # fields of Alert by their names


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
        REDIS,
        kind=Kind.UPDATE,
        state="flapping",
        at=BEGAN + 21 * MINUTE,
        changes_of_state=3,
        note="Redis went down 3 times within 30 min: it flaps. It counts as in trouble until it has been up for "
        "10 min.",
    ),
    "reminder": replace(POSTGRES, kind=Kind.REMINDER, at=BEGAN + 105 * MINUTE, note="The 3rd reminder."),
    "reminder_next_day": replace(POSTGRES, kind=Kind.REMINDER, at=BEGAN + 2 * DAY + 8 * HOUR, note="The 8th reminder."),
    "resolve": _resolved(POSTGRES, 4 * MINUTE + 12, failed_checks=12),
    "resolve_flapping": _resolved(
        REDIS,
        62 * MINUTE,
        failed_checks=41,
        changes_of_state=7,
        note="Redis is up again, for 10 min without a break; it went down 7 times.",
    ),
    "brief": _resolved(
        POSTGRES, 95, kind=Kind.BRIEF, state="down", failed_checks=4, at=BEGAN + 12 * MINUTE, changes=POSTGRES.changes
    ),
    "resolve_paused": _resolved(
        REDIS, 25 * MINUTE, state="paused", failed_checks=30, note="Redis is paused, so nobody looks at it any more."
    ),
    "group_of_3": joined([POSTGRES, REDIS, QDRANT]),
    "group_of_30": joined(_many(30)),
    "group_resolve": joined(
        [_resolved(POSTGRES, 252, failed_checks=12), _resolved(REDIS, 240, failed_checks=9)],
    ),
    "blind": BLIND,
    "blind_resolve": _resolved(BLIND, 11 * MINUTE),
    "backups_stale": BACKUPS,
    "backups_resolve": _resolved(BACKUPS, 27 * HOUR, failed_checks=12),
    "notice_test": NOTICE,
    "notice_channel_refused": replace(
        NOTICE,
        severity=Severity.ERROR,
        service="",
        state="",
        title=REFUSED.title(),
        sentence=REFUSED.sentence(),
    ),
    "notice_backup_done": replace(
        NOTICE,
        service="",
        state="",
        title="Backup taken",
        sentence="Restore point 20261121T030000Z-7f3a: 412.0 MB stored in 48 s.",
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
