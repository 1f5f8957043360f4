"""The words for what evidence can prove. Presets name them, diagnose proves them, people read them."""

from enum import StrEnum


class Cause(StrEnum):
    """What is wrong with a service, as far as the evidence proves it."""

    # The network told us.
    REFUSED = "refused"
    NOT_RESTARTED = "not_restarted"
    WRONG_PORT = "wrong_port"
    IPV6_ONLY = "ipv6_only"
    IPV4_ONLY = "ipv4_only"
    RESET = "reset"
    TIMEOUT = "timeout"
    NO_ANSWER = "no_answer"
    DNS = "dns"
    NO_NAMES = "no_names"
    TLS = "tls"
    TLS_ON_PLAIN = "tls_on_plain"
    PLAIN_ON_TLS = "plain_on_tls"
    CERT_EXPIRED = "cert_expired"
    CERT_EXPIRING = "cert_expiring"
    # The service told us.
    AUTH = "auth"
    NOT_FOUND = "not_found"
    STARTING = "starting"
    STOPPING = "stopping"
    CAPACITY = "capacity"
    READONLY = "readonly"
    STUCK = "stuck"
    LAGGING = "lagging"
    UNSAVED = "unsaved"
    RESTARTING = "restarting"
    MISCONFIGURED = "misconfigured"
    DEPENDENCY = "dependency"
    SERVER_ERROR = "server_error"
    BAD_STATUS = "bad_status"
    BAD_ANSWER = "bad_answer"
    WRONG_SERVICE = "wrong_service"
    # The backups told us.
    STALE = "stale"
    INCOMPLETE = "incomplete"
    SHRUNKEN = "shrunken"
    # We worked it out over time.
    SLOW = "slow"
    INTERMITTENT = "intermittent"
    # We could not look.
    NO_RESOLVER = "no_resolver"
    NO_ROUTE = "no_route"
    CUT_OFF = "cut_off"
    LATE = "late"
    WAKING = "waking"
    PROBE_FAULT = "probe_fault"
