"""What an S3 store proves. Evidence.code is the S3 error code, or the HTTP status where it gave none."""

from config.causes import Cause
from monitor.diagnose.base import Rule
from monitor.diagnose.general import GENERAL
from monitor.probes.base import Sight

S3: tuple[Rule, ...] = (
    Rule(
        cause=Cause.STARTING,
        signs=("offline",),
        proof="x-minio-server-status: offline",
        says="{title} at {address} is running, but its object layer is not up yet.",
        remedy="Wait for it. If it stays so, its disks are missing or too few: see its log, and /minio/health/cluster.",
    ),
    Rule(
        cause=Cause.STARTING,
        codes=("XMinioServerNotInitialized", "ServerNotInitialized"),
        proof="XMinioServerNotInitialized",
        says="{title} at {address} is running, but its object layer is not up yet.",
        remedy="Wait for it. If it stays so, its disks are missing or too few: see its log, and /minio/health/cluster.",
    ),
    Rule(
        cause=Cause.NOT_FOUND,
        codes=("NoSuchBucket",),
        proof="NoSuchBucket",
        says="{title} at {address} answers, but has no bucket {bucket}.",
        remedy="Create it (mc mb store/{bucket}; the template's init-minio.sh does not run by itself), or correct the "
        "name in {setting}. If it was there yesterday, see whether the volume is new and empty.",
    ),
    Rule(
        cause=Cause.AUTH,
        codes=("InvalidAccessKeyId", "InvalidAccessKey", "UnknownAccessKeyId"),
        proof="InvalidAccessKeyId: no such access key",
        says="{title} at {address} does not know this access key.",
        remedy="Compare MINIO_ACCESS_KEY (MINIO_ROOT_USER) with the store's own: rotated or removed on one side, or "
        "this is another store.",
    ),
    Rule(
        cause=Cause.AUTH,
        codes=("SignatureDoesNotMatch",),
        proof="SignatureDoesNotMatch: the secret is wrong, or a proxy changes the request",
        says="{title} at {address} knows the access key, but the secret does not fit.",
        remedy="Compare MINIO_SECRET_KEY (MINIO_ROOT_PASSWORD) with the store's own. If it is right, a proxy in "
        "between changes the Host header: use the private address.",
    ),
    Rule(
        cause=Cause.AUTH,
        precise=True,
        codes=("RequestTimeTooSkewed", "RequestExpired"),
        proof="RequestTimeTooSkewed: the clocks differ by more than 15 minutes",
        says="{title} at {address} refuses the time of our request, by its own clock as well as by ours.",
        remedy="Compare date -u there, here and on any proxy between, and set the wrong one right: the store's clock "
        "and the Date its answers carry do not agree, or it does not tell its time.",
    ),
    Rule(
        cause=Cause.AUTH,
        precise=True,
        codes=("ExpiredToken", "InvalidToken", "TokenRefreshRequired"),
        proof="ExpiredToken: temporary credentials have run out",
        says="{title} at {address} says our temporary credentials have run out.",
        remedy="Use a key of its own for the monitor that does not run out, or renew it.",
    ),
    Rule(
        cause=Cause.AUTH,
        precise=True,
        codes=("AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden", "401", "403"),
        proof="AccessDenied: the key holds, and its policy does not allow this",
        says="{title} at {address} does not let this key see the bucket.",
        remedy="Give the key's policy s3:ListBucket on the bucket (s3:ListAllMyBuckets if none is named). Some stores "
        "hide a bucket that does not exist behind this answer: check that it exists.",
    ),
    Rule(
        cause=Cause.BAD_ANSWER,
        codes=(
            "PermanentRedirect",
            "TemporaryRedirect",
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraintException",
            "InvalidRegion",
            "301",
            "307",
        ),
        proof="PermanentRedirect or AuthorizationHeaderMalformed: another region",
        says="{title} at {address} says the bucket lives in another region.",
        remedy="Set the region the evidence names, and that region's endpoint in {setting}.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        codes=("SlowDown", "SlowDownRead", "SlowDownWrite", "RequestLimitExceeded", "TooManyRequests", "429"),
        proof="SlowDown: too many requests, or drives too slow",
        says="{title} at {address} asks us to slow down: it is overloaded.",
        remedy="See who asks so much (a backup, a migration, a lifecycle job) and its drives' load.",
    ),
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        codes=(
            "XMinioStorageFull",
            "StorageFull",
            "QuotaExceeded",
            "XMinioAdminBucketQuotaExceeded",
            "EntityTooLarge",
            "507",
        ),
        proof="XMinioStorageFull: no space left",
        says="{title} at {address} has no space left.",
        remedy="Enlarge the volume or delete what may go (old backups first): Langfuse loses events while its store "
        "is full.",
    ),
    Rule(
        cause=Cause.DEPENDENCY,
        codes=("XMinioReadQuorum", "XMinioWriteQuorum", "InsufficientReadQuorum", "InsufficientWriteQuorum"),
        proof="no quorum: too many of its drives or nodes are away",
        says="{title} at {address} is up, but too many of its drives are away.",
        remedy="mc admin info shows which drives or nodes are offline: bring those back.",
    ),
    Rule(
        cause=Cause.SERVER_ERROR,
        codes=("InternalError", "ServiceUnavailable", "OperationAborted", "500", "502", "503", "504"),
        proof="InternalError, ServiceUnavailable or another 5xx",
        says="{title} at {address} answers with an error of its own ({code}).",
        remedy=GENERAL[Cause.SERVER_ERROR].remedy,
    ),
    Rule(
        cause=Cause.WRONG_SERVICE,
        sights=(Sight.GARBLED,),
        proof="the answer is no S3: a web page, or another service",
        says="Something answers at {address}, but it does not speak S3 as {title} would.",
        remedy="Compare the port in {setting}: MinIO's S3 port is 9000, 9001 is its console; and the host.",
    ),
)
