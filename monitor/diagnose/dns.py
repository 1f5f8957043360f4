"""What a look-up proves."""

from config.causes import Cause
from monitor.diagnose.base import Rule
from monitor.probes.base import Sight

DNS: tuple[Rule, ...] = (
    Rule(
        cause=Cause.DNS,
        sights=(Sight.ANSWERED,),
        proof="the name resolves, and not to what is expected",
        says="{title}: the name {address} does not resolve as it should.",
        remedy="Compare the record at its provider with what the check expects. After a move, wait until the old "
        "record has expired everywhere.",
    ),
)
