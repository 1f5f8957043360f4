"""What the way to a service proves, whatever the service is."""

from dataclasses import replace

from config.causes import Cause
from monitor.diagnose.base import Rule
from monitor.diagnose.general import GENERAL
from monitor.probes.base import Sight, Verdict


def _seen(sight: Sight, cause: Cause) -> Rule:
    return replace(GENERAL[cause], sights=(sight,))


FIRST: tuple[Rule, ...] = (
    # We could not look: nothing else the outcome holds proves anything about the service.
    _seen(Sight.NO_RESOLVER, Cause.NO_RESOLVER),
    _seen(Sight.NO_ROUTE, Cause.NO_ROUTE),
    _seen(Sight.CUT_OFF, Cause.CUT_OFF),
    _seen(Sight.LATE, Cause.LATE),
    _seen(Sight.WAKING, Cause.WAKING),
    _seen(Sight.FAULT, Cause.PROBE_FAULT),
    replace(GENERAL[Cause.LATE], verdict=Verdict.UNKNOWN, sights=(Sight.NO_CONNECT, Sight.NO_ANSWER)),
    replace(GENERAL[Cause.SLOW], verdict=Verdict.WARN, signs=("slow",)),
)

LAST: tuple[Rule, ...] = (
    _seen(Sight.REFUSED, Cause.REFUSED),
    _seen(Sight.RESET, Cause.RESET),
    _seen(Sight.NO_NAME, Cause.DNS),
    _seen(Sight.NO_CONNECT, Cause.TIMEOUT),
    _seen(Sight.NO_ANSWER, Cause.NO_ANSWER),
    _seen(Sight.GARBLED, Cause.WRONG_SERVICE),
    _seen(Sight.ANSWERED, Cause.BAD_ANSWER),
)
