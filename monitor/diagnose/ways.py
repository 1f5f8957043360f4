"""What a look at every way to a service proves (`monitor.surveyor`), where a check did not get as far as an answer."""

from config.causes import Cause
from monitor.diagnose.base import Rule
from monitor.diagnose.general import GENERAL
from monitor.probes.base import Sight
from monitor.ways import Finding

_SHUT = (Sight.REFUSED, Sight.NO_CONNECT, Sight.RESET)
_CUT = (Sight.RESET, Sight.GARBLED)

WAYS: tuple[Rule, ...] = (
    Rule(
        cause=Cause.PLAIN_ON_TLS,
        sights=(*_CUT, Sight.NO_ANSWER),
        findings=(Finding.SPEAKS_TLS,),
        proof="plain text was cut off or garbled there, and the same port shakes hands in TLS",
        says="{title} at {address} speaks TLS on that port and was asked in plain text.",
        remedy=GENERAL[Cause.PLAIN_ON_TLS].remedy,
    ),
    Rule(
        cause=Cause.TLS_ON_PLAIN,
        sights=(Sight.TLS, Sight.RESET, Sight.NO_ANSWER),
        findings=(Finding.SPEAKS_PLAIN,),
        proof="the TLS handshake failed there, and the same port answers in plain text",
        says="{title} at {address} speaks plain text ({speech}) where TLS was asked for.",
        remedy=GENERAL[Cause.TLS_ON_PLAIN].remedy,
    ),
    Rule(
        cause=Cause.IPV6_ONLY,
        precise=True,
        sights=_SHUT,
        findings=(Finding.IPV6_LISTENER,),
        proof="the name has both kinds of address: over IPv4 it does not connect, over IPv6 it does",
        says="{title} at {address} listens on IPv6 alone: over IPv4 it takes no connection.",
        remedy="It binds :: without IPv4, as uvicorn does with --host ::. Have it listen on both (uvicorn with one "
        "worker: --host ''; or Hypercorn: --bind [::]:PORT; elsewhere turn IPV6_V6ONLY off). Clients that look for "
        "IPv4 alone are refused until then.",
    ),
    Rule(
        cause=Cause.IPV6_ONLY,
        precise=True,
        sights=(Sight.NO_NAME,),
        findings=(Finding.IPV4_WANTED,),
        proof="an IPv4 address was asked for, and the name has IPv6 addresses only",
        says="{title} has IPv6 addresses only: {address} has no IPv4 address to be reached by.",
        remedy="Older Railway environments are like this, and IPv6 works there. Have the client look for both kinds "
        "(ioredis and BullMQ: ?family=0 in the Redis URL, or family: 0; Node: no family: 4) and this check as well "
        '(family = "any"). Or move to a new environment, whose names have both.',
    ),
    Rule(
        cause=Cause.IPV4_ONLY,
        precise=True,
        sights=_SHUT,
        findings=(Finding.IPV4_LISTENER,),
        proof="the name has both kinds of address: over IPv6 it does not connect, over IPv4 it does",
        says="{title} at {address} listens on IPv4 alone: over IPv6 it takes no connection.",
        remedy="It binds 0.0.0.0. Make it listen on :: (HOSTNAME=:: for Node and Next.js, QDRANT__SERVICE__HOST=:: for "
        "Qdrant, --host :: where that takes IPv4 too). Until then it is out of reach from an IPv6-only network, such "
        "as an older Railway environment.",
    ),
    Rule(
        cause=Cause.IPV4_ONLY,
        precise=True,
        sights=(Sight.NO_NAME,),
        findings=(Finding.IPV6_WANTED,),
        proof="an IPv6 address was asked for, and the name has IPv4 addresses only",
        says="{title} has IPv4 addresses only: {address} has no IPv6 address to be reached by.",
        remedy='Ask for both kinds (family = "any"), or give the name an AAAA record once the service listens on ::.',
    ),
    Rule(
        cause=Cause.WRONG_PORT,
        precise=True,
        sights=(*_SHUT, Sight.GARBLED),
        findings=(Finding.USUAL_PORT,),
        proof="that port is closed or speaks something else, and the service's usual one takes connections there",
        says="{title} is not at {address}: port {usual_port}, its usual one, takes connections there.",
        remedy="Put port {usual_port} in {setting}, or make the service listen on the port that is there now (its PORT "
        "variable). If neither is meant, look at the service's own deployment.",
    ),
    Rule(
        cause=Cause.WRONG_SERVICE,
        precise=True,
        sights=(*_CUT, Sight.NO_ANSWER),
        findings=(Finding.SPEAKS_OTHER,),
        proof="the port does not answer in the protocol it was asked in, and does in another one",
        says="What answers at {address} speaks {speech}, and is not {title}.",
        remedy=GENERAL[Cause.WRONG_SERVICE].remedy,
    ),
    Rule(
        cause=Cause.DNS,
        precise=True,
        sights=(Sight.NO_NAME,),
        findings=(Finding.LONE_NAME,),
        proof="the resolver says there is no such name, and finds another one of the same network",
        says="{title} cannot be found: there is no such name as in {address}, while {others} resolves.",
        remedy="The resolver is well, so it is the name: compare it in {setting} with the service's exact name "
        "(<service>.railway.internal). A renamed or removed service loses its name, and one of another project or "
        "environment has none here.",
    ),
    Rule(
        cause=Cause.NO_NAMES,
        sights=(Sight.NO_NAME,),
        findings=(Finding.NO_NAMES,),
        proof="the resolver says there is no such name, and says the same of other watched names of that network",
        says="{title} cannot be found: there is no such name as in {address}, nor {others}.",
        remedy=GENERAL[Cause.NO_NAMES].remedy,
    ),
    Rule(
        cause=Cause.NOT_RESTARTED,
        sights=(Sight.REFUSED,),
        findings=(Finding.NEVER_BACK,),
        proof="connections are refused for ten minutes, without one that opened in between",
        says="{title} at {address} has refused every connection for ten minutes and more: nothing brings it back.",
        remedy=GENERAL[Cause.NOT_RESTARTED].remedy,
    ),
    Rule(
        cause=Cause.REFUSED,
        precise=True,
        sights=(Sight.REFUSED,),
        findings=(Finding.IPV6_NAME,),
        proof="nothing listens on that port over IPv6, and the name has no IPv4 address",
        says="{title} at {address} refuses the connection over IPv6, the only kind of address its name has.",
        remedy="See whether the service runs: its deployment and the last lines of its log (crashed, still starting, "
        "or out of restarts: Railway gives up after 10). If it runs, it listens on 0.0.0.0, which refuses IPv6: make "
        "it listen on :: (HOSTNAME=:: for Node and Next.js, --host :: elsewhere). Then compare the port in {setting}.",
    ),
)
