"""What Redis or Valkey proves. Evidence.code is the first word of its error."""

from dataclasses import replace

from config.causes import Cause
from monitor.diagnose.base import Rule
from monitor.diagnose.general import GENERAL
from monitor.probes.base import Sight

REDIS: tuple[Rule, ...] = (
    Rule(
        cause=Cause.AUTH,
        precise=True,
        text="without any password|no password is set",
        proof="a password was sent to a server that has none",
        says="{title} at {address} has no password set, and {setting} sends one.",
        remedy="Either the server lost its password (REDIS_PASSWORD or requirepass not set after a redeploy: anybody "
        "can use it now), or this is another server: compare host and port. Set the password, or take it out of "
        "{setting}.",
    ),
    Rule(
        cause=Cause.AUTH,
        codes=("NOAUTH",),
        proof="NOAUTH: a password is needed and none was sent",
        says="{title} at {address} needs a password, and none was sent.",
        remedy="Put it in {setting}: redis://:PASSWORD@host:6379, the reference ${{Redis.REDIS_URL}}, or "
        "REDIS_PASSWORD.",
    ),
    Rule(
        cause=Cause.AUTH,
        codes=("WRONGPASS",),
        proof="WRONGPASS, or invalid password",
        says="{title} at {address} does not accept the user or password.",
        remedy="Compare the password in {setting} with the server's requirepass or REDIS_PASSWORD; special characters "
        "need %-encoding in a URL. A user name other than default must exist: ACL LIST.",
    ),
    Rule(
        cause=Cause.AUTH,
        text="invalid password|wrong number of arguments for 'auth'",
        proof="ERR invalid password, or wrong number of arguments for AUTH, as before version 6",
        says="{title} at {address} does not accept the user or password.",
        remedy="Compare the password in {setting} with the server's requirepass. A server before version 6 knows no "
        "user names.",
    ),
    Rule(
        cause=Cause.AUTH,
        precise=True,
        codes=("NOPERM",),
        proof="NOPERM: the user may not PING",
        says="{title} at {address} lets us in, but this user may not PING.",
        remedy="Give it the right: ACL SETUSER <name> +ping +info; then ACL SAVE.",
    ),
    Rule(
        cause=Cause.AUTH,
        precise=True,
        codes=("DENIED",),
        proof="DENIED: protected mode",
        says="{title} at {address} is in protected mode and takes only local connections.",
        remedy="Set a password (requirepass) rather than switching protected-mode off.",
    ),
    Rule(
        cause=Cause.STARTING,
        codes=("LOADING",),
        proof="LOADING: it reads its data from disk",
        says="{title} at {address} is loading its data from disk.",
        remedy="Wait: INFO persistence shows loading_eta_seconds. If it begins again and again, it runs out of memory "
        "while loading: give it more than the data need.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        text="max number of clients|max clients reached",
        proof="ERR max number of clients reached",
        says="{title} at {address} is up, but takes no more clients.",
        remedy="A client leaks connections, mostly: from one that is still connected, CLIENT LIST shows whose (addr, "
        "name, idle). Restart that client, lower its pool, then raise maxclients.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        codes=("OOM",),
        proof="OOM, or used_memory above maxmemory with noeviction: every write is refused",
        says="{title} at {address} is out of memory and refuses every write.",
        remedy="See what fills it: INFO memory, redis-cli --bigkeys; often a queue nobody works off (is the Langfuse "
        "worker up?) or a cache without expiry. Raise maxmemory below the container's limit. Keep noeviction where "
        "queues live: give the cache a Redis of its own.",
    ),
    Rule(
        cause=Cause.READONLY,
        precise=True,
        codes=("MISCONF",),
        proof="MISCONF: it could not save to disk and refuses writes",
        says="{title} at {address} cannot save to disk and therefore refuses writes.",
        remedy="Its disk is full or not writable, or it has no memory to fork: see its log, free or enlarge the "
        "volume; BGSAVE, then INFO persistence must say rdb_last_bgsave_status:ok.",
    ),
    Rule(
        cause=Cause.READONLY,
        precise=True,
        codes=("READONLY",),
        proof="READONLY: this is a replica",
        says="{title} at {address} is a read-only replica.",
        remedy="Point {setting} at the primary: INFO replication names it. If a failover made this one a replica, the "
        "clients' addresses must follow.",
    ),
    Rule(
        cause=Cause.DEPENDENCY,
        codes=("MASTERDOWN",),
        proof="MASTERDOWN: a replica that lost its primary",
        says="{title} at {address} is a replica that has lost its primary.",
        remedy="Look at the primary first (INFO replication: master_host, master_link_status), then at the network "
        "and password between them.",
    ),
    Rule(
        cause=Cause.DEPENDENCY,
        codes=("CLUSTERDOWN",),
        proof="CLUSTERDOWN: the cluster does not serve",
        says="{title} at {address} is part of a cluster that is down.",
        remedy="CLUSTER INFO and CLUSTER NODES show which nodes or slots are missing: bring those back.",
    ),
    Rule(
        cause=Cause.NO_ANSWER,
        precise=True,
        codes=("BUSY",),
        proof="BUSY: a script runs and blocks everything else",
        says="{title} at {address} is blocked by a script that does not end.",
        remedy="SCRIPT KILL (FUNCTION KILL) ends it if it has not written; else only SHUTDOWN NOSAVE does.",
    ),
    Rule(
        cause=Cause.NOT_FOUND,
        text="DB index|invalid DB",
        proof="ERR DB index is out of range",
        says="{title} at {address} has no database of that number.",
        remedy="Use number 0 in {setting}, or raise the server's databases setting.",
    ),
    replace(
        GENERAL[Cause.WRONG_SERVICE],
        sights=(Sight.GARBLED,),
        proof="the answer is not Redis's protocol",
        says="Something answers at {address}, but it does not speak Redis's protocol as {title} would.",
    ),
    Rule(
        cause=Cause.RESET,
        sights=(Sight.RESET,),
        proof="the connection was cut before the answer",
        says="{title} at {address} took the connection and cut it before its answer was complete.",
        remedy="It is crashing or restarting (read its log, look for an out-of-memory kill), speaks TLS on that port "
        "(rediss://), or the port in {setting} is another service's.",
    ),
)
