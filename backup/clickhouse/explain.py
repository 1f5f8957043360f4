"""What ClickHouse says → what happened and what to do."""

import re
from dataclasses import dataclass

from config.logs import Mask

LONGEST = 500
# What is put around the words of a message: by the client library, and by the server its call stack and version.
_AROUND = (
    re.compile(r"^Received ClickHouse exception, code: \d+, server response: "),
    re.compile(r" \(for url [^)]*\)$"),
    re.compile(r",? Stack trace \(when copying.*", re.DOTALL),
    re.compile(r"\s*\(version [^()]*(?:\([^()]*\))?\)"),
    re.compile(r"^(?:Code: \d+\. )?DB::(?:\w+::)*\w*Exception: "),
)
_CODE = re.compile(r"Code: (\d+)")
# What the HTTP client makes of a server that did not answer, in plain words; the first that fits.
_UNANSWERED = (
    (re.compile(r"Failed to resolve|Name or service not known|Temporary failure in name"), "its name is not known"),
    (re.compile(r"Connection refused"), "nothing listens there"),
    (re.compile(r"WRONG_VERSION_NUMBER"), "it speaks http and was asked in https"),
    (re.compile(r"CERTIFICATE_VERIFY_FAILED: ([^(')]*)"), "its certificate is not trusted: {}"),
    (re.compile(r"Read timed out"), "it takes the connection and answers nothing"),
    (re.compile(r"timed out"), "it does not take the connection"),
    (re.compile(r"No route to host|unreachable"), "no way leads there"),
    (re.compile(r"RemoteDisconnected|Connection (?:reset|aborted)|BadStatusLine"), "it broke the connection"),
    (re.compile(r"HTTP status (\d+)"), "what answers is no ClickHouse (HTTP {})"),
)

S3_ERROR = 499
ACCESS_DENIED = 497
ALREADY_RUNNING = 647  # CONCURRENT_ACCESS_NOT_SUPPORTED: allow_concurrent_backups is off
UNKNOWN_DATABASE = 81


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """What to do when a message has one of `codes` (none: any) and matches `pattern`. `scope` is "store" when every
    database would fare the same."""

    text: str
    codes: tuple[int, ...] = ()
    pattern: str = ""
    scope: str = "database"

    def fits(self, code: int, said: str) -> bool:
        """Whether this is about that message."""
        return (not self.codes or code in self.codes) and bool(re.search(self.pattern, said, re.IGNORECASE))


REMEDIES = (
    Remedy(
        pattern=r"XMinioStorageFull|QuotaExceeded|StorageFull|InsufficientStorage|HTTP response code: 507",
        codes=(S3_ERROR,),
        scope="store",
        text="the store is full: free space there or raise its quota; `python -m backup prune` removes old points",
    ),
    Remedy(
        pattern=r"bucket does not exist|NoSuchBucket|NO_SUCH_BUCKET",
        codes=(S3_ERROR,),
        scope="store",
        text="make the bucket, or correct BACKUP_BUCKET; if it is there, CLICKHOUSE_S3_ENDPOINT leads to another store",
    ),
    Remedy(
        pattern=r"403|ACCESS_DENIED|SignatureDoesNotMatch|InvalidAccessKeyId|credentials|INVALID_SIGNATURE",
        codes=(S3_ERROR,),
        scope="store",
        text="the store refuses the key ClickHouse was given: check MINIO_ACCESS_KEY and MINIO_SECRET_KEY (or the "
        "collection CLICKHOUSE_S3_COLLECTION names); it needs to read, write, list and delete in the bucket",
    ),
    Remedy(
        pattern=r"SlowDown|SLOW_DOWN|HTTP response code: 503|throttl",
        codes=(S3_ERROR,),
        scope="store",
        text="the store is too busy: run again at a quieter hour",
    ),
    Remedy(
        pattern=r"DNS_ERROR|Not found address|Connection refused|NETWORK_CONNECTION|timed? ?out|No route|unreachable",
        codes=(S3_ERROR, 198, 209, 210),
        scope="store",
        text="ClickHouse cannot reach the store: set CLICKHOUSE_S3_ENDPOINT to the store's address as ClickHouse sees "
        "it, such as http://minio.railway.internal:9000",
    ),
    Remedy(codes=(S3_ERROR,), scope="store", text="see the store's log; ClickHouse could not use it"),
    Remedy(
        codes=(491,), scope="store", text="allow the store in ClickHouse's remote_url_allow_hosts (its configuration)"
    ),
    Remedy(
        pattern="named collection",
        scope="store",
        text="make the named collection CLICKHOUSE_S3_COLLECTION names, grant its use, or unset the variable",
    ),
    Remedy(codes=(192, 193, 194, 516), scope="server", text="check CLICKHOUSE_USER and CLICKHOUSE_PASSWORD"),
    Remedy(
        codes=(164,),
        text="this user may only read: use one without readonly that has BACKUP ON *.* (restore: CREATE, INSERT too)",
    ),
    Remedy(
        codes=(ACCESS_DENIED,),
        text="grant it what the message names; a backup needs GRANT BACKUP, SHOW, SELECT ON *.* and GRANT S3 ON *.*",
    ),
    Remedy(
        codes=(664,),
        text="its users are made by configuration (users.xml, users.d, CLICKHOUSE_USER): keep that with the deployment",
    ),
    Remedy(codes=(UNKNOWN_DATABASE,), text="check BACKUP_CLICKHOUSE_DATABASES: names are case-sensitive"),
    Remedy(codes=(243,), text="ClickHouse's disk is full: free space there"),
    Remedy(pattern=r"No space left on device|NOT_ENOUGH_SPACE", text="ClickHouse's disk is full: free space there"),
    Remedy(
        codes=(241, 173),
        text="ClickHouse ran out of memory: run at a quieter hour, give it more, or set backup_threads to 2 in the "
        "user's profile",
    ),
    Remedy(
        codes=(252,),
        text="the table has too many parts: let merges catch up (see system.merges), insert in larger batches",
    ),
    Remedy(codes=(202,), text="too many queries run at once: end idle ones, or raise max_concurrent_queries"),
    Remedy(
        codes=(ALREADY_RUNNING,),
        text="another backup or restore runs on this server and allow_concurrent_backups is off: wait for its end",
    ),
    Remedy(codes=(598,), text="something lies at the target already: run again, each run has a place of its own"),
    Remedy(
        codes=(599, 600, 601), text="the backup is not there as ClickHouse sees the store: check CLICKHOUSE_S3_ENDPOINT"
    ),
    Remedy(codes=(606, 607, 608), text="the target holds something already: restore into a free or empty database"),
    Remedy(codes=(236, 394, 734), text="it was killed, or the server is shutting down: run again"),
    Remedy(codes=(62, 115), text="this ClickHouse is too old for it: 23.8 or newer is needed"),
    Remedy(codes=(36, 79), pattern="backup", text="the server lacks what a backup to S3 needs: see its log"),
)
GENERAL = "see ClickHouse's log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """A message of ClickHouse's: its code (0: none), its words in one line and without a secret, and what to do."""

    code: int
    said: str
    remedy: str
    scope: str


def explain(text: str, mask: Mask, code: int | None = None) -> Explained:
    """What a message means."""
    found = _CODE.search(text)
    number = code or (int(found[1]) if found else 0)
    said = mask.clean(text)
    if not number:
        for pattern, words in _UNANSWERED:
            if match := pattern.search(said):
                said = words.format(*(part.strip() for part in match.groups()))
                break
    for around in _AROUND:
        said = around.sub("", said)
    said = " ".join(said.split())
    if len(said) > LONGEST:
        said = said[: LONGEST - 1].rstrip() + "…"
    for remedy in REMEDIES:
        if remedy.fits(number, text):
            return Explained(code=number, said=said, remedy=remedy.text, scope=remedy.scope)
    return Explained(code=number, said=said, remedy=GENERAL, scope="database")
