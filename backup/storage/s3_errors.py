"""What an S3 store answers, in words a person can act on. No message holds a key, a signature or an answer's body."""

from dataclasses import dataclass
from xml.etree.ElementTree import ParseError

import urllib3.exceptions as http
from minio.error import InvalidResponseError, MinioException, S3Error, ServerError

from backup.errors import StoreDeniedError, StoreError, StoreFullError, StoreMissingError

# What the client library may raise: its own, urllib3's, the socket's, and a parser's on an answer that is no XML.
RAISED = (MinioException, http.HTTPError, OSError, ParseError, ValueError)

NOT_S3 = "check MINIO_ENDPOINT: MinIO's S3 port is 9000, its web console has another"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What some error codes mean, and HTTP statuses that came with no code known here."""

    codes: tuple[str, ...]
    what: str
    remedy: str
    statuses: tuple[int, ...] = ()
    kind: type[StoreError] = StoreError
    transient: bool = False


ANSWERS = (
    Answer(
        codes=(
            *("XMinioStorageFull", "XMinioAdminBucketQuotaExceeded", "StorageFull", "InsufficientStorage"),
            *("QuotaExceeded", "InsufficientCapacity", "InsufficientStorageSpace", "OverQuota"),
        ),
        statuses=(507,),
        kind=StoreFullError,
        what="it is full ({code})",
        remedy="free space there or raise its quota; `python -m backup prune` removes what need not be kept",
    ),
    Answer(
        codes=("NoSuchBucket",),
        kind=StoreMissingError,
        what="there is no bucket {bucket}",
        remedy="make it, or correct BACKUP_BUCKET",
    ),
    Answer(
        codes=("InvalidAccessKeyId",),
        kind=StoreDeniedError,
        what="it does not know the access key",
        remedy="check MINIO_ACCESS_KEY",
    ),
    Answer(
        codes=("SignatureDoesNotMatch",),
        kind=StoreDeniedError,
        what="the secret key is wrong",
        remedy="check MINIO_SECRET_KEY",
    ),
    Answer(
        codes=("RequestTimeTooSkewed",),
        what="its clock and this machine's differ by minutes",
        remedy="set the clocks right",
    ),
    Answer(
        codes=("AuthorizationHeaderMalformed", "PermanentRedirect", "Redirect", "InvalidRegion"),
        what="it is in another region ({code})",
        remedy="set MINIO_REGION to the store's region",
    ),
    Answer(
        codes=(
            *("SlowDown", "SlowDownRead", "SlowDownWrite", "InternalError", "ServiceUnavailable", "RequestTimeout"),
            *("OperationAborted", "ConditionalRequestConflict", "TooManyRequests", "Busy", "ServerBusy"),
            *("XMinioServerNotInitialized", "XMinioBackendDown", "IncompleteBody", "BadDigest"),
            *("XAmzContentSHA256Mismatch",),
        ),
        statuses=(408, 425, 429, 500, 502, 503, 504),
        transient=True,
        what="it answers {code}",
        remedy="look at the store's log and at its free disk space",
    ),
    Answer(
        codes=("AccessDenied", "AllAccessDisabled"),
        statuses=(401, 403),
        kind=StoreDeniedError,
        what="the key may not do that ({code})",
        remedy="allow it list, get, put and delete in the bucket {bucket}",
    ),
)
NAMED = frozenset(code for answer in ANSWERS for code in answer.codes)

# What OpenSSL says, in the order it is looked for; the last matches all.
TLS = (
    ("WRONG_VERSION_NUMBER", "it speaks http and was asked in https", "set MINIO_SECURE=false"),
    ("record layer failure", "it speaks http and was asked in https", "set MINIO_SECURE=false"),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "its certificate is not trusted here",
        "give the file of its CA in SSL_CERT_FILE, and check that the certificate names the endpoint's host",
    ),
    ("", "TLS failed", "check that MINIO_ENDPOINT is its TLS port"),
)
# urllib3 derives the first from the second, and both from the third.
CONNECTION: tuple[tuple[type[Exception], str, str], ...] = (
    (http.NameResolutionError, "its name is not known", "check MINIO_ENDPOINT, and that we share its network"),
    (http.NewConnectionError, "nothing listens there", "start it, or correct MINIO_ENDPOINT"),
    (http.TimeoutError, "no answer in time", "look at the store's load and at the network"),
    (TimeoutError, "no answer in time", "look at the store's load and at the network"),
)
UNSUPPORTED = frozenset({"NotImplemented", "MethodNotAllowed", "InvalidArgument", "InvalidRequest"})


class Refused(MinioException):
    """A refusal of a request that was not made through minio-py."""

    def __init__(self, code: str, status: int) -> None:
        super().__init__(code)
        self.code = code
        self.status = status


def explain(error: Exception, *, doing: str, address: str, bucket: str, status: int) -> StoreError:
    """`error`, met while `doing` something, as a StoreError. `status` is the HTTP status last seen, 0 for none."""
    start = f"the store at {address} could not {doing}: "
    if isinstance(error, (S3Error, Refused)):
        return of_code(error.code or "", status, start=start, bucket=bucket)
    if isinstance(error, InvalidResponseError) and "HTTPS server" in str(error):
        return StoreError(f"{start}it speaks https and was asked in http", "set MINIO_SECURE=true")
    if isinstance(error, (InvalidResponseError, ServerError)):
        return of_code("", status, start=start, bucket=bucket)
    if isinstance(error, (http.HTTPError, OSError)) and not isinstance(error, http.LocationValueError):
        return _of_connection(error, start)
    if status:
        return StoreError(f"{start}what answers is not S3", NOT_S3)
    return StoreError(f"{start}the endpoint, bucket or key is malformed", "check MINIO_ENDPOINT and BACKUP_BUCKET")


def of_code(code: str, status: int, *, start: str, bucket: str) -> StoreError:
    """The StoreError for an S3 error code, or for the HTTP status alone where there was none."""
    for answer in ANSWERS:
        if code in answer.codes or (status in answer.statuses and code not in NAMED):
            what = answer.what.format(bucket=bucket, code=code or status)
            remedy = answer.remedy.format(bucket=bucket)
            failure = answer.kind(f"{start}{what}", remedy)
            failure.transient = answer.transient
            return failure
    if not code and status < 400:
        return StoreError(f"{start}what answers is not S3 ({status})", NOT_S3)
    return StoreError(f"{start}it answers {code or status}", "check MINIO_ENDPOINT and look at the store's log")


def _of_connection(error: http.HTTPError | OSError, start: str) -> StoreError:
    """The StoreError for a connection that failed, by the kind of failure: its own text may hold an address."""
    if isinstance(error, http.SSLError):
        text = str(error)
        return next((StoreError(f"{start}{what}", remedy) for sign, what, remedy in TLS if sign in text))
    for kind, what, remedy in CONNECTION:
        if isinstance(error, kind):
            return StoreError(f"{start}{what}", remedy, transient=True)
    return StoreError(
        f"{start}the connection broke",
        "look at the store's log; a store that speaks only https needs MINIO_SECURE=true",
        transient=True,
    )
