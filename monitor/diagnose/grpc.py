"""What a gRPC health check proves. Evidence.code is the gRPC status' name, or the serving status."""

from config.causes import Cause
from monitor.diagnose.base import Rule
from monitor.diagnose.general import GENERAL
from monitor.probes.base import Sight

GRPC: tuple[Rule, ...] = (
    Rule(
        cause=Cause.AUTH,
        codes=("UNAUTHENTICATED", "PERMISSION_DENIED", "401", "403"),
        proof="UNAUTHENTICATED or PERMISSION_DENIED",
        says="{title} at {address} does not accept our key ({code}).",
        remedy=GENERAL[Cause.AUTH].remedy,
    ),
    Rule(
        cause=Cause.NOT_FOUND,
        codes=("UNIMPLEMENTED", "NOT_FOUND", "SERVICE_UNKNOWN"),
        proof="UNIMPLEMENTED, NOT_FOUND or SERVICE_UNKNOWN: no health service, or not of that name",
        says="{title} at {address} speaks gRPC, but reports no health under that name ({code}).",
        remedy="Leave service empty in the check to ask about the server as a whole. If it has no health service, "
        "watch it with a tcp check.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        codes=("RESOURCE_EXHAUSTED",),
        proof="RESOURCE_EXHAUSTED",
        says="{title} at {address} is at its limit.",
        remedy=GENERAL[Cause.CAPACITY].remedy,
    ),
    Rule(
        cause=Cause.SERVER_ERROR,
        codes=(
            "NOT_SERVING",
            "UNKNOWN",
            "UNAVAILABLE",
            "INTERNAL",
            "DATA_LOSS",
            "500",
            "502",
            "503",
        ),
        proof="NOT_SERVING, UNAVAILABLE or INTERNAL",
        says="{title} at {address} says that it does not serve ({code}).",
        remedy=GENERAL[Cause.SERVER_ERROR].remedy,
    ),
    Rule(
        cause=Cause.NO_ANSWER,
        codes=("DEADLINE_EXCEEDED",),
        proof="DEADLINE_EXCEEDED",
        says="{title} at {address} takes the connection but does not answer in time.",
        remedy=GENERAL[Cause.NO_ANSWER].remedy,
    ),
    Rule(
        cause=Cause.WRONG_SERVICE,
        sights=(Sight.GARBLED,),
        proof="the answer is no gRPC",
        says="Something answers at {address}, but it does not speak gRPC as {title} would.",
        remedy="Compare the port in {setting} (Qdrant: 6334 is gRPC, 6333 HTTP), and whether it speaks TLS.",
    ),
)
