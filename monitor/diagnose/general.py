"""What each cause means and what to do about it when no technology's own table knows better."""

from collections.abc import Mapping

from config.causes import Cause
from monitor.diagnose.base import Rule

_RULES = (
    Rule(
        cause=Cause.REFUSED,
        proof="the machine answered: nothing listens on that port",
        says="{title} at {address} refuses the connection: nothing listens on that port.",
        remedy="See whether the service runs: its deployment and the last lines of its log (crashed, still starting, "
        "or out of restarts: Railway gives up after 10). Then compare the port in {setting} with the one it listens "
        "on. If it runs, make it listen on :: (older Railway networks are IPv6 only, and 0.0.0.0 refuses IPv6).",
    ),
    Rule(
        cause=Cause.NOT_RESTARTED,
        proof="connections are refused for ten minutes, without one that opened in between",
        says="{title} at {address} has refused every connection for ten minutes and more: nothing brings it back.",
        remedy="Whatever restarts it has given up (Railway does after 10 crashes) or nobody started it. Read the last "
        "lines of its log, mend what they say, and redeploy it by hand. If it is shown as running, it listens on "
        "another port than the one in {setting}.",
    ),
    Rule(
        cause=Cause.WRONG_PORT,
        proof="that port is closed or speaks something else, and the service's usual one takes connections there",
        says="{title} is not at {address}: another port of that host is its own.",
        remedy="Compare the port in {setting} with the one the service listens on.",
    ),
    Rule(
        cause=Cause.IPV6_ONLY,
        proof="it can be reached by IPv6 alone, and IPv4 was asked for",
        says="{title} at {address} can be reached by IPv6 alone.",
        remedy="Make it listen on both kinds of address, or have its clients ask for both.",
    ),
    Rule(
        cause=Cause.IPV4_ONLY,
        proof="it can be reached by IPv4 alone, and IPv6 was asked for",
        says="{title} at {address} can be reached by IPv4 alone.",
        remedy="Make it listen on ::, or have its clients ask for both kinds of address.",
    ),
    Rule(
        cause=Cause.RESET,
        proof="the connection opened and was cut before the answer was complete",
        says="{title} at {address} took the connection and cut it before its answer was complete.",
        remedy="Compare the port in {setting} with the service's own: a port that speaks another protocol (TLS, gRPC) "
        "cuts like this. If the port is right, the process is crashing or restarting: read its log, and look for an "
        "out-of-memory kill.",
    ),
    Rule(
        cause=Cause.TIMEOUT,
        proof="the connection did not open in time",
        says="{title} at {address} did not take the connection in time.",
        remedy="Check that the service runs and that {setting} names a host of the same network, project and "
        "environment: a firewall, or another environment's private address, swallows connections like this. If other "
        "services of that host time out too, the host is the trouble.",
    ),
    Rule(
        cause=Cause.NO_ANSWER,
        proof="the connection opened, the answer did not come in time",
        says="{title} at {address} takes connections but does not answer in time.",
        remedy="The process is alive and stuck or overloaded: look at its CPU and memory, at slow operations in its "
        "log, and at what it waits for (database, queue, provider). Restart it if it does not come back, add "
        "resources if it returns under load, and raise the check's timeout only if such answers are normal.",
    ),
    Rule(
        cause=Cause.DNS,
        proof="the resolver says there is no such name, or no address of the kind asked for",
        says="{title} cannot be found: there is no such name as in {address}.",
        remedy="Compare the name in {setting} with the service's exact name (<service>.railway.internal, the same "
        "project and environment); a renamed or removed service loses its name. If every private name fails, see "
        "status.railway.com.",
    ),
    Rule(
        cause=Cause.NO_NAMES,
        proof="the resolver answers and knows none of this network's names",
        says="{title} cannot be found, nor can any other name of its network.",
        remedy="It is the network's names and not this service's: in the first seconds of a deployment they may not be "
        "there yet, so wait a minute. Then see that Watchkeeper runs in the project and environment of what it "
        "watches, with private networking on, and status.railway.com.",
    ),
    Rule(
        cause=Cause.TLS,
        proof="the TLS handshake failed",
        says="{title} at {address} cannot be reached over TLS: the handshake fails.",
        remedy="On a private network use the scheme without TLS (http://, redis://) in {setting}. On a public one see "
        "that the certificate covers this very name and is sent with its chain.",
    ),
    Rule(
        cause=Cause.TLS_ON_PLAIN,
        proof="TLS was asked for and plain text came back",
        says="{title} at {address} speaks plain text where TLS was asked for.",
        remedy="Take the s out of the scheme in {setting} (http://, redis://): on Railway's private network nothing "
        "speaks TLS. If TLS is meant, this is the wrong port.",
    ),
    Rule(
        cause=Cause.PLAIN_ON_TLS,
        proof="plain text was asked of a port that speaks TLS",
        says="{title} at {address} speaks TLS on that port and was asked in plain text.",
        remedy="Write https:// (rediss://) in {setting}, or name the port that speaks plain text: on a private network "
        "that is the one to use.",
    ),
    Rule(
        cause=Cause.CERT_EXPIRED,
        proof="the certificate's last day has passed",
        says="The certificate of {title} at {address} has expired.",
        remedy="Renew it now and make the service load it: most read it only at start, so redeploy. (Railway's "
        "PostgreSQL image renews its own when it restarts.) Then find out why the automatic renewal did not run.",
    ),
    Rule(
        cause=Cause.CERT_EXPIRING,
        proof="the certificate has fewer days left than the check asks for",
        says="The certificate of {title} at {address} expires soon.",
        remedy="See that its automatic renewal runs; if there is none, renew it. Then redeploy the service so that it "
        "loads the new one (Railway's PostgreSQL image renews its own when it restarts).",
    ),
    Rule(
        cause=Cause.AUTH,
        proof="the service does not accept the name, key or password it was given",
        says="{title} at {address} does not accept our key or password.",
        remedy="Compare the credentials in {setting} with the service's own: rotated on one side only, a missing "
        "reference, a space or line end that came along. Other clients that hold the old value fail as well.",
    ),
    Rule(
        cause=Cause.NOT_FOUND,
        proof="the service answers and does not have what was asked for",
        says="{title} at {address} answers, but does not have what was asked for.",
        remedy="Compare the path or name in {setting} with what this version of the service offers, and see that it "
        "was created and that this is the right service.",
    ),
    Rule(
        cause=Cause.STARTING,
        proof="the service says it is still starting",
        says="{title} at {address} is still starting.",
        remedy="Wait for it. If it stays like this for minutes, read its log: a migration, a recovery or a load of "
        "data is under way, or it starts over and over.",
    ),
    Rule(
        cause=Cause.STOPPING,
        proof="the service says it is shutting down",
        says="{title} at {address} is shutting down.",
        remedy="If nobody is deploying or restarting it, see what ended it: its log, and the platform's events. If it "
        "does not come back, start it.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        proof="the service says it is full: connections, memory, disk or requests",
        says="{title} at {address} is up but at its limit.",
        remedy="Find out what is used up (connections, memory, disk, requests) and by whom, free it, then raise the "
        "limit or the volume.",
    ),
    Rule(
        cause=Cause.READONLY,
        proof="the service answers and refuses to write",
        says="{title} at {address} takes no writes.",
        remedy="See whether {setting} names a replica instead of the primary, and whether the disk is full: many "
        "servers stop writing to protect their data.",
    ),
    Rule(
        cause=Cause.DEPENDENCY,
        proof="the service says that something it needs does not work",
        says="{title} at {address} is up, but something it depends on does not work.",
        remedy="Look at the services it depends on first: its database, cache, object store or provider. If they are "
        "all up, compare the address and password it has for them.",
    ),
    Rule(
        cause=Cause.SERVER_ERROR,
        proof="the service answers with an error of its own",
        says="{title} at {address} answers with an internal error.",
        remedy="Read its log at this very minute. If it began with a deploy, roll that back; if not, restart it.",
    ),
    Rule(
        cause=Cause.BAD_STATUS,
        proof="the service answers with a status that was not expected",
        says="{title} at {address} answers with an unexpected status ({code}).",
        remedy="Open the address by hand and see what it says. If that is right for this version, expect that status "
        "in the check.",
    ),
    Rule(
        cause=Cause.STUCK,
        proof="work that should have ended goes on, or work that waits is not taken up",
        says="{title} at {address} has work that does not end.",
        remedy="See what it is and what it waits for; end it by hand if nobody needs it, and keep whoever began it "
        "from doing so again.",
    ),
    Rule(
        cause=Cause.LAGGING,
        proof="a copy is behind its original by more than it may",
        says="{title} at {address} has a copy that falls behind.",
        remedy="See whether the copy is up and connected, then its load, its disk and the network between them.",
    ),
    Rule(
        cause=Cause.UNSAVED,
        proof="it says that what it holds could not be saved",
        says="{title} at {address} works, but cannot save what it holds.",
        remedy="Read its log for the reason: a full or unwritable disk, or a target that refuses. What is not saved "
        "is lost with the next restart or disaster.",
    ),
    Rule(
        cause=Cause.RESTARTING,
        proof="its uptime fell again and again",
        says="{title} at {address} restarts again and again.",
        remedy="Read the last lines of its log before each restart, and look for out-of-memory kills: give it more "
        "memory or have it use less.",
    ),
    Rule(
        cause=Cause.MISCONFIGURED,
        proof="a setting of it contradicts what the services around it need",
        says="{title} at {address} has a setting that the services around it cannot live with.",
        remedy="Change the setting at the service itself, so that it survives a redeploy.",
    ),
    Rule(
        cause=Cause.BAD_ANSWER,
        proof="the service answers in its protocol, and not what was expected",
        says="{title} at {address} answers, but not what a healthy one says.",
        remedy="Read the evidence, then its log. If a new version answers differently and is healthy, change the "
        "check's expectation.",
    ),
    Rule(
        cause=Cause.WRONG_SERVICE,
        proof="something answers, and it is not the service that was asked for",
        says="Something answers at {address}, but it is not {title}.",
        remedy="Compare host and port in {setting} with the service's own (LiteLLM 4000, Langfuse 3000, its worker "
        "3030, Open WebUI 8080, R2R 7272, Qdrant 6333 and 6334 for gRPC, PostgreSQL 5432, Redis 6379, ClickHouse "
        "8123, MinIO 9000, its console 9001), and see which service has that name now.",
    ),
    Rule(
        cause=Cause.SLOW,
        proof="it passes, but takes longer than the check's latency_threshold",
        says="{title} at {address} answers, but slowly.",
        remedy="Look at its CPU and memory, and at what it waits for. If this is its normal pace, raise "
        "latency_threshold.",
    ),
    Rule(
        cause=Cause.STALE,
        proof="what should be renewed by a schedule has not been",
        says="{title} has not been renewed in time.",
        remedy="See when and why the last run failed, and run it by hand.",
    ),
    Rule(
        cause=Cause.INCOMPLETE,
        proof="a part that was there before is missing",
        says="{title} is incomplete.",
        remedy="See which part failed and why, and run it again.",
    ),
    Rule(
        cause=Cause.SHRUNKEN,
        proof="it holds less than half of what it held before",
        says="{title} holds far less than before.",
        remedy="Find out what vanished before anything that still holds it is removed.",
    ),
    Rule(
        cause=Cause.INTERMITTENT,
        proof="it failed again and again among its last runs, never long enough to be down",
        says="{title} at {address} fails now and then.",
        remedy="Compare the times of the misses with its restarts, deploys, memory use and scheduled jobs. Of several "
        "replicas or addresses one may be broken: ask each by itself.",
    ),
    Rule(
        cause=Cause.NO_RESOLVER,
        proof="our own resolver gave no answer",
        says="We could not look at {title}: the resolver here does not answer, so {address} could not be looked up.",
        remedy="The service may be well. See whether other names fail as well; if they do, the resolver or the "
        "network of this daemon is the trouble: see the platform's status, then redeploy Watchkeeper.",
    ),
    Rule(
        cause=Cause.NO_ROUTE,
        proof="our own network has no way to the address",
        says="We could not look at {title}: there is no route from here to {address}.",
        remedy="The service may be well. If other services are unreachable too, this daemon's network is down. If it "
        "is only this one, its address is of a kind (IPv6, a private range) that this daemon's network does not carry.",
    ),
    Rule(
        cause=Cause.CUT_OFF,
        proof="it did not answer in time, and neither did anything else on that side of the network: no other service "
        "and no anchor (ANCHORS)",
        says="We could not look at {title}: nothing answers on the way to {address}, nor anything beside it.",
        remedy="The service may be well. See whether it answers from elsewhere; if it does, this daemon's network is "
        "cut off: see the platform's status, then redeploy Watchkeeper. If its network lets it reach none of the "
        "anchors even on good days, set ANCHORS to what it may reach.",
    ),
    Rule(
        cause=Cause.LATE,
        proof="our own loop stood still while the probe waited",
        says="We could not look at {title}: this daemon itself stood still while it waited for {address}.",
        remedy="The service may be well. Give Watchkeeper more CPU, or find what keeps its machine busy or suspends "
        "it.",
    ),
    Rule(
        cause=Cause.WAKING,
        proof="nobody had asked it for ten minutes, and the first question failed; the second one counts",
        says="{title} at {address} may be waking up: it failed the first question in ten minutes.",
        remedy="It is asked again in a moment. A sleeping service (Railway's Serverless) is woken by the first "
        "question, and whoever needs it meets the same wait. Switch that off for what must answer at once, or have it "
        "asked more often than every ten minutes, which keeps it awake.",
    ),
    Rule(
        cause=Cause.PROBE_FAULT,
        proof="the probe itself broke",
        says="We could not look at {title} at {address}: our own probe broke.",
        remedy="The service may be well. See the evidence: a wrong option in {setting}, or this daemon out of files "
        "or memory. Otherwise it is a bug of Watchkeeper: report it with the log of this minute.",
    ),
)

GENERAL: Mapping[Cause, Rule] = {rule.cause: rule for rule in _RULES}
