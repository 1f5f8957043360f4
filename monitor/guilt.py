"""Whether one service's trouble explains another's. Pure; `blame` asks it of incidents, `reasoning` of one look."""

from collections.abc import Iterable
from dataclasses import dataclass

from config.causes import Cause
from config.signals import KeySignalParams
from config.watched import Check, Service
from monitor.judge import State

# What lies with the service itself, its address or our settings, however its dependencies are.
ITS_OWN = frozenset(
    {
        Cause.WRONG_PORT,
        Cause.IPV6_ONLY,
        Cause.IPV4_ONLY,
        Cause.DNS,
        Cause.NO_NAMES,
        Cause.TLS,
        Cause.TLS_ON_PLAIN,
        Cause.PLAIN_ON_TLS,
        Cause.CERT_EXPIRED,
        Cause.CERT_EXPIRING,
        Cause.AUTH,
        Cause.WRONG_SERVICE,
        Cause.NOT_FOUND,
        Cause.MISCONFIGURED,
    }
)
# Two services that both say this have two troubles; of the others, one network, authority or environment has one.
_EACH_FOR_ITSELF = frozenset({Cause.AUTH, Cause.MISCONFIGURED})
_NAMES = frozenset({Cause.DNS, Cause.NO_NAMES})
# How a service fares that is refused where it needs something, or gets nothing of use there.
_POORLY_SERVED = frozenset(
    {Cause.DEPENDENCY, Cause.SERVER_ERROR, Cause.BAD_ANSWER, Cause.BAD_STATUS, Cause.INTERMITTENT, Cause.NO_ANSWER}
)
# These look at another service: a key at its provider, a queue in its Redis.
LOOK_AWAY = ("key_signal", "queue_signal")
# The keys these speak of are none of those that the service itself takes.
_OTHERS_KEYS = (*LOOK_AWAY, "litellm_signal")
# Where people keep the keys that another service takes: while it is down, that one may know none of them.
_KEEP_KEYS = ("postgres", "custom")
# Whose keys a key_signal speaks of.
_KINDS = {"litellm": "litellm", "qdrant": "qdrant", "langfuse": "langfuse-web"}
# A second port of the same server.
_ONE_SERVER = {"qdrant-grpc": "qdrant"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What is wrong with a service. `state` is how bad it is.

    `cause` is that of the check that decided it, None when that is not known (any more), and `asks` the kind of that
    check. `provider` is the watched service at which that check tries a key, "" where it tries none.
    """

    name: str
    kind: str
    state: str
    cause: Cause | None = None
    asks: str = ""
    provider: str = ""

    @property
    def own(self) -> bool:
        """Whether it lies with the service itself. Jobs in a queue tell of whatever they need."""
        return self.cause in ITS_OWN and self.asks != "queue_signal"


def explains(root: Trouble, other: Trouble) -> bool:
    """Whether the trouble of `root` may be the reason of `other`'s.

    Given that `other` depends on it, or tries a key there, and that `root` is at least as bad.
    """
    if root.cause is None or _one_server(root, other):
        return True
    if other.own:
        return _explains_its_own(root, other)
    if root.state == State.DEGRADED and root.cause == Cause.AUTH:
        return other.cause == Cause.DEPENDENCY if root.asks == "key_signal" else other.cause in _POORLY_SERVED
    return root.state != State.DEGRADED or root.cause != Cause.CERT_EXPIRING


def _one_server(root: Trouble, other: Trouble) -> bool:
    """Whether both are one server, which fails as a whole, whatever either shows: two ports of it, or two databases.

    A preset's services depend on another of their kind only there. Each may be lost by a password or name of its own.
    """
    if _ONE_SERVER.get(other.kind) != root.kind and (other.kind != root.kind or other.kind == "custom"):
        return False
    return root.cause == other.cause or not (root.own and other.own)


def _explains_its_own(root: Trouble, other: Trouble) -> bool:
    """Whether what lies with `other` itself by its cause lies with `root` all the same."""
    if other.cause == Cause.AUTH and other.asks == "key_signal":
        return other.provider == root.name and (root.state == State.DOWN or _refuses(root))
    if other.cause == Cause.AUTH:
        # A service that cannot look our key up may refuse it, and be well but for that.
        return root.state == State.DOWN and root.kind in _KEEP_KEYS and other.state == State.DEGRADED
    same = root.cause == other.cause or {root.cause, other.cause} <= _NAMES
    return same and other.cause not in _EACH_FOR_ITSELF


def _refuses(root: Trouble) -> bool:
    """Whether a service that is merely degraded may refuse a key for it: it refuses ours too, or cannot look it up."""
    if root.cause == Cause.AUTH:
        return root.asks not in _OTHERS_KEYS
    return root.cause in _POORLY_SERVED


def provider_of(holder: Service, check: Check | None, services: Iterable[Service]) -> str:
    """Which of `services` `check` of `holder` tries a key at; "" where it tries none, or that is not watched."""
    if check is None or not isinstance(check.params, KeySignalParams):
        return ""
    url, kind = check.params.url.rstrip("/"), _KINDS[check.params.provider]
    others = [service for service in services if service.name != holder.name]
    there = (one for one in others if any(_address(its) == url for its in one.checks))
    # Its other address, perhaps: what it depends on of that kind is what its key is for.
    needed = (one for one in others if one.kind == kind and one.name in holder.depends_on)
    return next((one.name for one in (*there, *needed)), "")


def _address(check: Check) -> str:
    """The URL a check of its own service asks; "" for one that looks elsewhere, or has none."""
    return "" if check.kind in LOOK_AWAY else str(getattr(check.params, "url", "")).rstrip("/")
