"""MinIO's health paths, and as much of its objects as a canary needs, for what a store of wheels cannot show.

Live and ready are 200 while the object layer is not up; only a header tells. Whoever names its access key may put, get
and delete objects; signatures are not looked at.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar
from urllib.parse import urlsplit

from demo.contracts.base import Answer, Fault, Handler, Request, Service

ERROR = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{says}</Message>'
    "<Resource>{path}</Resource><RequestId>16239D6AB80EBECF</RequestId></Error>"
)
FULL = "Storage backend has reached its minimum free drive threshold. Please delete a few objects to proceed."
BUSY = "A timeout exceeded while waiting to proceed with the request, please reduce your request rate"


@dataclass(frozen=True, kw_only=True)
class Minio(Service):
    """One MinIO of one node. `offline` is the word in x-minio-server-status; `busy` a full request queue."""

    VARIABLE: ClassVar[str] = "MINIO_ENDPOINT"
    SERVER: ClassVar[str] = "MinIO"
    VERSIONS: ClassVar[Mapping[str, str]] = {"2026.2.12": "live, ready, cluster, cluster/read"}
    FAULTS: ClassVar[Mapping[str, Fault]] = {
        "booting": Fault(
            "the object layer is not up yet: live and ready are 200 with a header", {"offline": "offline"}
        ),
        "offline": Fault("the object layer is gone: live and ready are 200 with a header", {"offline": "offline"}),
        "metadata_offline": Fault("bucket metadata is not loaded", {"cluster_offline": "bucket-metadata-offline"}),
        "iam_offline": Fault("identities are not loaded", {"cluster_offline": "iam-offline"}),
        "no_quorum": Fault("too few drives: neither writes nor reads", {"writable": False, "readable": False}),
        "read_only": Fault("too few drives to write, enough to read", {"writable": False}),
        "maintenance": Fault("taking this node down would lose quorum: 412 when asked", {"spare": False}),
        "healing": Fault("drives are healing: no outage", {"healing": 1}),
        "kms_down": Fault("its key server is gone: ready is 503", {"kms": False}),
        "busy": Fault("the request queue is full: live and ready are 503", {"busy": True}),
        "full": Fault("its drives are full: it is well by every health page, and takes no object", {"full": True}),
    }

    version: str = "2026.2.12"
    access_key: str = "demo-access-key"
    secret_key: str = "demo-secret-key"
    offline: str = ""
    cluster_offline: str = ""
    writable: bool = True
    readable: bool = True
    spare: bool = True
    healing: int = 0
    kms: bool = True
    busy: bool = False
    full: bool = False
    buckets: tuple[str, ...] = ("backups", "langfuse")

    def environ(self, url: str) -> dict[str, str]:
        keys = {"MINIO_ACCESS_KEY": self.access_key, "MINIO_SECRET_KEY": self.secret_key}
        return {self.VARIABLE: urlsplit(url).netloc, "MINIO_SECURE": "false", **keys}

    def routes(self) -> Mapping[str, Handler]:
        return {
            "/minio/health/live": self._alive,
            "/minio/health/ready": self._alive,
            "/minio/health/cluster": self._cluster,
            "/minio/health/cluster/read": self._cluster_read,
        }

    async def missing(self, request: Request) -> Answer:
        if f"Credential={self.access_key}/" not in request.headers.get("authorization", ""):
            return _error(request, 403, "AccessDenied", "Access Denied.")
        if self.offline or self.cluster_offline:
            return _error(request, 503, "XMinioServerNotInitialized", "Server not initialized, please try again.")
        if self.busy:
            return _error(request, 503, "SlowDownRead", BUSY)
        bucket, _, key = request.path.strip("/").partition("/")
        if bucket not in self.buckets:
            return _error(request, 404, "NoSuchBucket", "The specified bucket does not exist")
        return self._object(request) if key else Answer(headers={"x-amz-request-id": "16239D6AB80EBECF"})

    def _object(self, request: Request) -> Answer:
        kept, path = request.world.objects, request.path
        if request.method == "PUT" and self.full:
            return _error(request, 507, "XMinioStorageFull", FULL)
        if request.method == "PUT":
            kept[path] = request.body
            return Answer(headers={"etag": f'"{len(request.body):032x}"'})
        if request.method == "DELETE":
            kept.pop(path, None)
            return Answer(status=204)
        if path not in kept:
            return _error(request, 404, "NoSuchKey", "The specified key does not exist.")
        return Answer(body=kept[path], content_type="application/octet-stream")

    async def _alive(self, request: Request) -> Answer:
        headers = {"x-minio-server-status": self.offline} if self.offline else {}
        failed = self.busy or (not self.kms and request.path == "/minio/health/ready")
        return Answer(status=503 if failed else 200, headers=headers)

    def _state(self) -> Answer:
        word = self.offline or self.cluster_offline
        if word:
            return Answer(status=503, headers={"x-minio-server-status": word})
        return Answer(headers={"x-minio-storage-class-defaults": "true"})

    async def _cluster(self, request: Request) -> Answer:
        state = self._state()
        if state.status != 200:
            return state
        headers = {**state.headers, "x-minio-write-quorum": "3"}
        if self.healing:
            headers["x-minio-healing-drives"] = str(self.healing)
        status = 200 if self.writable else 503
        if request.flag("maintenance") and self.writable and not self.spare:
            status = 412
        return replace(state, status=status, headers=headers)

    async def _cluster_read(self, _: Request) -> Answer:
        state = self._state()
        if state.status != 200:
            return state
        return replace(state, status=200 if self.readable else 503, headers={"x-minio-read-quorum": "2"})


def _error(request: Request, status: int, code: str, says: str) -> Answer:
    body = ERROR.format(code=code, says=says, path=request.path).encode()
    return Answer(status=status, body=body, content_type="application/xml")
