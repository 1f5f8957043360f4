"""MinIO itself, where a `minio` binary is on PATH. No package index has one, so the demo's store is SeaweedFS."""

import re
import shutil
import subprocess

from minio.error import S3Error

from demo.object_store import ObjectStore
from demo.process import Command, DemoError, clean_environ


class MinioServer(ObjectStore):
    """A MinIO with one drive."""

    name = "minio"

    @staticmethod
    def binary() -> str | None:
        """Where it is, None where it is not installed."""
        return shutil.which("minio")

    @classmethod
    def version(cls) -> str:
        """The day of its release. Raises DemoError when it tells none."""
        said = subprocess.run([cls._installed(), "--version"], capture_output=True, text=True, check=True).stdout
        found = re.search(r"RELEASE\.(\d{4}-\d\d-\d\d)T", said)
        if found is None:
            raise DemoError(f"it does not tell its release: {said.splitlines()[0]}")
        return found[1]

    @classmethod
    def _installed(cls) -> str:
        if not (found := cls.binary()):
            raise DemoError("no minio binary is on PATH")
        return found

    def prepare(self) -> None:
        """Makes the folder of its drive."""
        (self.folder / "drive").mkdir(exist_ok=True)

    def command(self) -> Command:
        """On loopback, without its console."""
        keys = {"MINIO_ROOT_USER": self.access_key, "MINIO_ROOT_PASSWORD": self.secret_key}
        return Command(
            argv=[self._installed(), "server", "--quiet", "--address", f"{self.host}:{self.port}", "drive"],
            environ=clean_environ(HOME=str(self.folder), MINIO_BROWSER="off", **keys),
        )

    def ready(self) -> bool:
        """Whether it lists buckets; while it boots it refuses to."""
        try:
            return super().ready()
        except S3Error as error:
            raise OSError(str(error)) from error
