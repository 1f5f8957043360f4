"""What every metric of ours is called and means; monitor/metrics.py fills them in."""

from typing import Literal, NamedTuple


class Family(NamedTuple):
    """One metric's name, kind, labels and meaning, the same for the scrape and for the reference page."""

    name: str
    kind: Literal["gauge", "counter", "summary", "histogram", "info"]
    labels: tuple[str, ...]
    help: str


class Total(NamedTuple):
    """The value of a summary or a histogram: how many, their sum, and how many up to each bound."""

    number: int
    total: float
    buckets: tuple[tuple[float, int], ...] = ()


# A family, the values of its labels, and its value.
Reading = tuple[Family, tuple[str, ...], float | Total]

SERVICE = ("service",)
CHECK = ("service", "check")
CHANNEL = ("channel",)

SERVICE_INFO = Family(
    "watchkeeper_service_info",
    "info",
    ("service", "kind", "title", "version"),
    "A service that is watched; version is the one it last told of itself, or empty.",
)
SERVICE_DEPENDENCY = Family(
    "watchkeeper_service_dependency_info",
    "info",
    ("service", "depends_on"),
    "A service that this service needs, and that is watched too.",
)
SERVICE_STATE = Family(
    "watchkeeper_service_state",
    "gauge",
    ("service", "state"),
    "1 for the state the service is in, 0 for every other state.",
)
SERVICE_SINCE = Family(
    "watchkeeper_service_state_since_timestamp_seconds",
    "gauge",
    SERVICE,
    "When the state began; for an outage the time of its first miss, not of its confirmation.",
)
SERVICE_PROBLEM = Family(
    "watchkeeper_service_problem_info",
    "info",
    ("service", "check", "cause"),
    "What decided the state of a service that is degraded, down or unknown. No series while it is up.",
)
CHECK_INFO = Family(
    "watchkeeper_check_info",
    "info",
    ("service", "check", "kind", "severity"),
    "A check that is made; severity is what a confirmed miss makes of its service.",
)
CHECK_INTERVAL = Family(
    "watchkeeper_check_interval_seconds", "gauge", CHECK, "Time between the starts of two scheduled runs."
)
CHECK_UP = Family(
    "watchkeeper_check_up",
    "gauge",
    CHECK,
    "1 when the newest run that could look passed or warned, 0 when it failed. No series before the first such run.",
)
CHECK_LAST_RUN = Family(
    "watchkeeper_check_last_run_timestamp_seconds",
    "gauge",
    CHECK,
    "When the newest run ended. No series before the first run.",
)
CHECK_LAST_LATENCY = Family(
    "watchkeeper_check_last_latency_seconds",
    "gauge",
    CHECK,
    "What the newest run took, from look-up to last byte. No series before the first run.",
)
CHECK_LATENCY = Family(
    "watchkeeper_check_latency_seconds",
    "summary",
    CHECK,
    "What runs took, from look-up to last byte, failed runs included. Sum and count, no quantiles.",
)
CHECK_RUNS = Family("watchkeeper_check_runs_total", "counter", CHECK, "Runs made, whatever they saw.")
CHECK_FAILED = Family("watchkeeper_check_failed_runs_total", "counter", CHECK, "Runs that saw a failure.")
CHECK_WARNED = Family("watchkeeper_check_warned_runs_total", "counter", CHECK, "Runs that saw a warning.")
CHECK_UNSEEN = Family("watchkeeper_check_unseen_runs_total", "counter", CHECK, "Runs that could not look at all.")
CHECK_MISSED = Family("watchkeeper_check_missed_runs_total", "counter", CHECK, "Runs that were due and not made.")
CERTIFICATE = Family(
    "watchkeeper_certificate_expiry_timestamp_seconds",
    "gauge",
    CHECK,
    "When the certificate this check last saw expires. No series where no certificate was seen.",
)
CHECK_MEASURE = Family(
    "watchkeeper_check_measure",
    "gauge",
    ("service", "check", "measure"),
    "A number that the newest run of this check saw, named with its unit: jobs_waiting, oldest_job_seconds, "
    "trace_round_trip_seconds, tokens_today and cost_today_dollars (of our own completions, by LiteLLM's count) and "
    "others. No series where it saw none.",
)
BUILD = Family("watchkeeper_build_info", "info", ("version",), "The version of Watchkeeper that answers.")
LATENESS = Family("watchkeeper_run_lateness_seconds", "histogram", (), "How long after they were due runs started.")
LOOP_TURN = Family(
    "watchkeeper_loop_last_turn_timestamp_seconds",
    "gauge",
    (),
    "When the watch loop last turned; the time of start before its first turn.",
)
STATE_FILE = Family(
    "watchkeeper_state_file_in_use",
    "gauge",
    (),
    "1 when state is kept in its file, 0 when the daemon goes on in memory alone.",
)
DROPPED = Family(
    "watchkeeper_outcomes_dropped_total",
    "counter",
    (),
    "Outcomes that were seen and could not be written to the state; states and alerts do not need them.",
)
HUNG = Family(
    "watchkeeper_probes_hung_total", "counter", (), "Runs that outlived their deadline and had to be abandoned."
)
STANDBY = Family(
    "watchkeeper_standby", "gauge", (), "1 when another daemon holds the state folder and this one waits, else 0."
)

INCIDENTS_OPEN = Family(
    "watchkeeper_incidents_open", "gauge", ("severity",), "Outages that are open, by how loudly they are told."
)
INCIDENTS = Family("watchkeeper_incidents_total", "counter", (), "Outages that were opened.")
BLIND = Family(
    "watchkeeper_blind", "gauge", (), "1 while the daemon cannot look (its own network, its own delay), else 0."
)
SILENCES = Family("watchkeeper_silences_active", "gauge", (), "Maintenance windows that are open now.")
ALERTS_PENDING = Family(
    "watchkeeper_alerts_pending", "gauge", CHANNEL, "Alerts that wait for their channel's provider to take them."
)
ALERTS_OLDEST = Family(
    "watchkeeper_alerts_oldest_pending_timestamp_seconds",
    "gauge",
    CHANNEL,
    "When the oldest alert that waits was made. No series while none waits.",
)
ALERTS_SENT = Family("watchkeeper_alerts_sent_total", "counter", CHANNEL, "Alerts that the provider took.")
ALERTS_FAILED = Family(
    "watchkeeper_alerts_failed_attempts_total",
    "counter",
    ("channel", "reason"),
    "Attempts to deliver that failed; each alert is tried again until it is taken or given up.",
)
ALERTS_PARKED = Family(
    "watchkeeper_alerts_parked_total",
    "counter",
    CHANNEL,
    "Alerts that will not be told there: the provider refuses them as they are, or did not take them for too long.",
)
CHANNEL_REFUSED = Family(
    "watchkeeper_alert_channel_refused",
    "gauge",
    CHANNEL,
    "1 while the provider says that the channel's address or key is not, or no longer, known there, else 0.",
)
HEARTBEAT = Family(
    "watchkeeper_heartbeat_last_success_timestamp_seconds",
    "gauge",
    (),
    "When HEARTBEAT_URL last took a sign of life. No series without one, and before the first.",
)

BACKUP_SUCCESS = Family(
    "watchkeeper_backup_last_success_timestamp_seconds",
    "gauge",
    (),
    "When the newest backup run that lacked nothing ended; of one that this daemon did not make, when it began, as the "
    "store shows it. No series before the first.",
)
BACKUP_RUNNING = Family("watchkeeper_backup_running", "gauge", (), "1 while a backup run is under way.")
BACKUP_RUNS = Family("watchkeeper_backup_runs_total", "counter", (), "Backup runs that ended.")
BACKUP_FAILED = Family("watchkeeper_backup_failed_runs_total", "counter", (), "Backup runs that ended with an error.")
BACKUP_DURATION = Family(
    "watchkeeper_backup_last_run_duration_seconds", "gauge", (), "How long the newest backup run took."
)
BACKUP_SIZE = Family("watchkeeper_backup_last_run_stored_bytes", "gauge", (), "Bytes the newest backup run stored.")
BACKUP_POINTS = Family(
    "watchkeeper_backup_restore_points", "gauge", (), "Restore points of our own source in the store, when last looked."
)
BACKUP_PROOF = Family(
    "watchkeeper_backup_newest_point_info",
    "info",
    ("point", "proof"),
    "The newest restore point in the store, and how far it has been shown to be good.",
)
BACKUP_RESTORED = Family(
    "watchkeeper_backup_newest_restored_point_timestamp_seconds",
    "gauge",
    (),
    "When the newest restore point was taken that has been restored somewhere and compared. No series while none was.",
)
BACKUP_ERROR = Family(
    "watchkeeper_backup_last_error_info",
    "info",
    ("exit_code", "error_class"),
    "The newest backup run failed, and of what class its error was.",
)

FAMILIES: tuple[Family, ...] = (
    SERVICE_STATE,
    SERVICE_SINCE,
    SERVICE_PROBLEM,
    SERVICE_INFO,
    SERVICE_DEPENDENCY,
    CHECK_UP,
    CHECK_LAST_RUN,
    CHECK_LAST_LATENCY,
    CHECK_LATENCY,
    CHECK_RUNS,
    CHECK_FAILED,
    CHECK_WARNED,
    CHECK_UNSEEN,
    CHECK_MISSED,
    CHECK_INTERVAL,
    CHECK_INFO,
    CERTIFICATE,
    CHECK_MEASURE,
    LOOP_TURN,
    LATENESS,
    STATE_FILE,
    DROPPED,
    HUNG,
    STANDBY,
    INCIDENTS_OPEN,
    INCIDENTS,
    BLIND,
    SILENCES,
    ALERTS_PENDING,
    ALERTS_OLDEST,
    ALERTS_SENT,
    ALERTS_FAILED,
    ALERTS_PARKED,
    CHANNEL_REFUSED,
    HEARTBEAT,
    BACKUP_SUCCESS,
    BACKUP_RUNNING,
    BACKUP_RUNS,
    BACKUP_FAILED,
    BACKUP_DURATION,
    BACKUP_SIZE,
    BACKUP_ERROR,
    BACKUP_POINTS,
    BACKUP_PROOF,
    BACKUP_RESTORED,
    BUILD,
)
