"""MinIO's health paths, for what an object store of wheels cannot show. It stores nothing.

Live and ready are 200 while the object layer is not up; only a header tells.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar
from urllib.parse import urlsplit

from demo.contracts.base import Answer, Fault, Handler, Request, Service

DENIED = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code><Message>Access Denied.</Message>'
    "<Resource>{path}</Resource><RequestId>16239D6AB80EBECF</RequestId></Error>"
)


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
        body = DENIED.format(path=request.path).encode()
        return Answer(status=403, body=body, content_type="application/xml")

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
