"""minio-py set up for one store, and the repeating of requests: here, never in urllib3, and only after what may pass by
itself: a busy store, a broken connection, a time-out."""

import os
import time
from collections.abc import Callable
from typing import TypeVar

import certifi
import urllib3
from minio import Minio

from backup.errors import SettingsError, StoreError
from backup.storage.s3_errors import RAISED, explain
from backup.storage.s3_pool import Pool
from config.backup_store import StoreSettings

T = TypeVar("T")

ATTEMPTS = 5
FIRST_DELAY = 0.25
# However many attempts are left, none begins later than this after the first.
PATIENCE = 120.0
# Seconds to connect or to hand over one block, and between two blocks of an answer.
TIMEOUT = urllib3.Timeout(connect=15.0, read=60.0)
CONNECTIONS = 16


class Requests:
    """The client and its connections. Given the settings, how often a passing failure is met with another attempt, the
    first pause in seconds (each next one doubles), and the time-outs of one request."""

    def __init__(self, settings: StoreSettings, *, attempts: int, first_delay: float, timeout: urllib3.Timeout) -> None:
        self.bucket = settings.bucket
        self.url = f"{'https' if settings.secure else 'http'}://{settings.endpoint}"
        self._attempts = attempts
        self._first_delay = first_delay
        self.pool = Pool(
            timeout=timeout,
            retries=False,
            maxsize=CONNECTIONS,
            cert_reqs="CERT_REQUIRED",
            ca_certs=os.environ.get("SSL_CERT_FILE") or certifi.where(),
        )
        try:
            self.client = Minio(
                endpoint=settings.endpoint,
                access_key=settings.access_key.reveal() if settings.access_key else None,
                secret_key=settings.secret_key.reveal() if settings.secret_key else None,
                secure=settings.secure,
                region=settings.region or (None if settings.endpoint.endswith("amazonaws.com") else "us-east-1"),
                http_client=self.pool,
            )
        except ValueError:
            raise SettingsError(
                "MINIO_ENDPOINT or MINIO_REGION is malformed", "write host:port, and a region such as us-east-1"
            ) from None
        if settings.virtual_host:
            self.client.enable_virtual_style_endpoint()  # type: ignore[no-untyped-call]  # minio-py left it so

    def retry(self, doing: str, call: Callable[[], T]) -> T:
        """What `call` gives, tried again after what may pass. Raises StoreError and below, and KeyError as it comes."""
        started = time.monotonic()
        delay = self._first_delay
        for attempt in range(1, self._attempts + 1):
            self.pool.forget()
            try:
                return call()
            except RAISED as error:
                failure = self._explain(error, doing)
            if not failure.transient or attempt == self._attempts or time.monotonic() - started > PATIENCE:
                break
            time.sleep(delay)
            delay *= 2
        raise failure

    def close(self) -> None:
        """Lets go of connections."""
        self.pool.clear()

    def _explain(self, error: Exception, doing: str) -> StoreError:
        status = self.pool.seen.status
        return explain(error, doing=doing, address=self.url, bucket=self.bucket, status=status)
