"""What the S3 stores that run for real have in common: their keys, their buckets, and a client."""

from collections.abc import Sequence

import urllib3
from minio import Minio

from demo.ports import free_port
from demo.process import Keeper
from demo.server import Server


class ObjectStore(Server):
    """A store with one pair of keys and some buckets; backups go to the first of them."""

    def __init__(
        self,
        *,
        port: int | None = None,
        access_key: str = "demo-access-key",
        secret_key: str = "demo-secret-key-0123456789",
        buckets: Sequence[str] = ("backups", "langfuse"),
        keeper: Keeper | None = None,
    ) -> None:
        super().__init__(keeper=keeper)
        self.port = port or free_port()
        self.access_key = access_key
        self.secret_key = secret_key
        self.buckets = tuple(buckets)

    def settle(self) -> None:
        """Makes the buckets."""
        for bucket in self.buckets:
            self.make_bucket(bucket)

    def ready(self) -> bool:
        """Whether it lists buckets."""
        try:
            self.client().list_buckets()
        except urllib3.exceptions.HTTPError as error:
            raise OSError(str(error)) from error
        return True

    def client(self) -> Minio:
        """A client with our keys and no retries."""
        return Minio(
            endpoint=f"{self.host}:{self.port}",
            access_key=self.access_key,
            secret_key=self.secret_key,
            secure=False,
            region="us-east-1",
            http_client=urllib3.PoolManager(retries=False, timeout=urllib3.Timeout(5)),
        )

    def remove_bucket(self, bucket: str = "backups") -> None:
        """Takes an empty bucket away."""
        self.client().remove_bucket(bucket_name=bucket)

    def make_bucket(self, bucket: str = "backups") -> None:
        """Puts a bucket back."""
        self.client().make_bucket(bucket_name=bucket)

    def environ(self) -> dict[str, str]:
        """MINIO_ENDPOINT and its keys, the bucket the backups go to, and those that others need."""
        others = {"MINIO_BUCKETS": ",".join(self.buckets[1:])} if len(self.buckets) > 1 else {}
        return {
            "MINIO_ENDPOINT": f"{self.host}:{self.port}",
            "MINIO_ACCESS_KEY": self.access_key,
            "MINIO_SECRET_KEY": self.secret_key,
            "BACKUP_BUCKET": self.buckets[0],
            **others,
        }
