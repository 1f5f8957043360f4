"""Any S3 store, through minio-py 7.2.20 as it was released: arguments by name, no multipart, no unsized upload.

An object is one PUT of known length, so nothing is ever half visible. Requests are repeated in s3_requests.py.
"""

import re
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import partial
from io import BytesIO
from typing import TypeVar

import urllib3
from minio.deleteobjects import DeleteError, DeleteObject
from minio.error import S3Error

from backup.errors import StoreError, StoreMissingError
from backup.storage.base import FIRST_RUN, Stored
from backup.storage.s3_errors import RAISED, UNSUPPORTED, Refused, of_code
from backup.storage.s3_requests import ATTEMPTS, FIRST_DELAY, TIMEOUT, Requests
from config.backup_store import StoreSettings

T = TypeVar("T")

# The least part minio-py takes; what is no longer than a part goes in one PUT.
SINGLE_PUT = 5 * 1024 * 1024
CODE = re.compile(rb"<Code>\s*([\w.]{1,64})\s*</Code>")
PRESIGNED_FOR = timedelta(minutes=15)
# What a probe writes, beside the sources and never below one; an older one was left by a process that died over it.
PROBE = re.compile(r"probe-[0-9a-f]{16}")
PROBE_LIVES = timedelta(minutes=5)


class S3Storage:
    """The objects below a prefix of a bucket. Safe to use from several threads; nothing of the environment is used but
    SSL_CERT_FILE.

    Given the settings, how often a passing failure is met with another attempt, the first pause in seconds (each next
    one doubles), and the time-outs of one request.
    """

    def __init__(
        self,
        settings: StoreSettings,
        *,
        attempts: int = ATTEMPTS,
        first_delay: float = FIRST_DELAY,
        timeout: urllib3.Timeout = TIMEOUT,
    ) -> None:
        self.bucket = settings.bucket
        self._prefix = f"{settings.prefix}/" if settings.prefix else ""
        self._requests = Requests(settings, attempts=attempts, first_delay=first_delay, timeout=timeout)
        self._client = self._requests.client
        self._pool = self._requests.pool
        self._probing = threading.Lock()
        self._conditional: str | None = None
        self._deletes_many = True

    @property
    def address(self) -> str:
        """Endpoint, bucket and prefix."""
        return f"{self._requests.url}/{self.bucket}/{self._prefix.rstrip('/')}"

    def ensure_bucket(self, *, make: bool) -> None:
        """Finds the bucket there, by listing in it, or makes it if told to. Raises StoreError and below."""
        try:
            self._requests.retry("list", self._list_one)
        except StoreMissingError as error:
            if not make:
                remedy = f"check MINIO_ENDPOINT and BACKUP_BUCKET; {FIRST_RUN}"
                raise StoreMissingError(error.what, remedy) from None
            self._make_bucket()

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Writes a whole object, over what was there."""
        name, body = self._name(key), bytes(data)
        self._requests.retry(
            f"write {key}",
            lambda: self._client.put_object(
                bucket_name=self.bucket,
                object_name=name,
                data=BytesIO(body),
                length=len(body),
                # Left to itself it makes a multipart upload, with all it can leave behind, of more than 5 MiB.
                part_size=max(len(body), SINGLE_PUT),
            ),
        )

    def put_new(self, key: str, data: bytes) -> bool:
        """Writes a whole object only where there is none: If-None-Match where the store heeds it, else a look first."""
        self._name(key)
        if self._heeds_conditions() == "yes":
            return self._put_absent(key, data)
        if self.stat(key) is not None:
            return False
        self.put(key, data)
        return True

    def get(self, key: str) -> bytes:
        """The whole object. Raises KeyError when there is none."""
        name = self._name(key)
        return self._requests.retry(f"read {key}", lambda: self._get(key, name))

    def stat(self, key: str) -> Stored | None:
        """The object's size and time, or None when there is none."""
        name = self._name(key)
        return self._requests.retry(f"look at {key}", lambda: self._stat(key, name))

    def list(self, prefix: str) -> Iterator[Stored]:
        """Every object whose key begins with `prefix`, in the order of their keys.

        The list is made whole before its first part is given: a store's own order may be another (SeaweedFS's is that
        of a walk through folders), so that one that broke off cannot be taken up again after its last key.
        """
        yield from sorted(
            self._requests.retry(f"list {prefix}", partial(self._listed, prefix)), key=lambda stored: stored.key
        )

    def folders(self, prefix: str) -> Iterator[str]:
        """The names one level below `prefix` that have objects below them."""
        start = self._name(prefix) if prefix else self._prefix
        found = self._requests.retry(
            f"list {prefix}",
            lambda: [
                one.object_name[len(start) :].rstrip("/")
                for one in self._client.list_objects(bucket_name=self.bucket, prefix=start, recursive=False)
                if one.is_dir and one.object_name
            ],
        )
        yield from sorted(found)

    def delete(self, keys: Iterable[str]) -> None:
        """Removes objects, a thousand in a request where the store can; those that are not there are no error."""
        names = [self._name(key) for key in keys]
        for start in range(0, len(names), 1000):
            self._delete_some(names[start : start + 1000])

    def now(self) -> datetime:
        """The store's own time, from the Date header of an answer; this machine's where a store sends none."""
        self._requests.retry("tell its time", lambda: self._client.bucket_exists(bucket_name=self.bucket))
        date = self._pool.seen.date
        return parsedate_to_datetime(date).astimezone(UTC) if date else datetime.now(UTC)

    def capabilities(self) -> dict[str, str]:
        """What the store can do beyond the five verbs, found out by trying."""
        found = {"conditional put": self._heeds_conditions()}
        self.now()
        found["clock"] = "its Date header" if self._pool.seen.date else "none: this machine's is used"
        found["versioning"] = self._ask(
            lambda: str(self._client.get_bucket_versioning(bucket_name=self.bucket).status or "off").lower()
        )
        found["object lock"] = self._ask(
            lambda: "yes" if self._client.get_object_lock_config(bucket_name=self.bucket) else "off"
        )
        found["clickhouse"] = "yes"
        return found

    def close(self) -> None:
        """Lets go of connections."""
        self._requests.close()

    def _name(self, key: str) -> str:
        """The object's full name. Raises ValueError for a key with an empty, "." or ".." part."""
        if any(part in ("", ".", "..") for part in key.removesuffix("/").split("/")):
            raise ValueError('a key has a part that is empty, "." or ".."')
        return self._prefix + key

    def _list_one(self) -> None:
        next(self._client.list_objects(bucket_name=self.bucket, prefix=self._prefix, recursive=False), None)

    def _make_bucket(self) -> None:
        try:
            self._requests.retry("make the bucket", lambda: self._client.make_bucket(bucket_name=self.bucket))
        except StoreError as error:
            # Another process may have made it a moment ago: then it can be listed, and that is what was wanted.
            try:
                self._requests.retry("list", self._list_one)
            except StoreError:
                url = self._requests.url
                what = f"the store at {url} has no bucket {self.bucket}, and it could not be made: {error.what}"
                raise type(error)(what, f"make the bucket {self.bucket}, or correct BACKUP_BUCKET") from None

    def _get(self, key: str, name: str) -> bytes:
        try:
            response = self._client.get_object(bucket_name=self.bucket, object_name=name)
        except S3Error as error:
            if error.code in ("NoSuchKey", "NoSuchObject"):
                raise KeyError(key) from None
            raise
        try:
            return response.read()
        finally:
            response.close()
            response.release_conn()

    def _stat(self, key: str, name: str) -> Stored | None:
        try:
            found = self._client.stat_object(bucket_name=self.bucket, object_name=name)
        except S3Error as error:
            if error.code in ("NoSuchKey", "NoSuchObject"):
                return None
            raise
        return Stored(key=key, size=found.size or 0, modified=found.last_modified or datetime.now(UTC))

    def _listed(self, prefix: str) -> Sequence[Stored]:
        found = []
        for one in self._client.list_objects(bucket_name=self.bucket, prefix=self._prefix + prefix, recursive=True):
            key = (one.object_name or "")[len(self._prefix) :]
            found.append(Stored(key=key, size=one.size or 0, modified=one.last_modified or datetime.now(UTC)))
        return found

    def _delete_some(self, names: Sequence[str]) -> None:
        """Removes up to a thousand objects in one request; one by one where the store does not know that request."""
        doing = "delete objects"
        many = [DeleteObject(name=name) for name in names]
        if self._deletes_many:
            try:
                refused = self._requests.retry(doing, partial(self._delete_many, many))
            except StoreError:
                if self._pool.seen.status not in (400, 405, 501):
                    raise
                self._deletes_many = False
            else:
                for one in refused:
                    if one.code not in ("NoSuchKey", "NoSuchVersion"):
                        start = f"the store at {self._requests.url} could not {doing}: "
                        raise of_code(one.code or "", 200, start=start, bucket=self.bucket)
                return
        for name in names:
            self._requests.retry(doing, partial(self._delete_one, name))

    def _delete_many(self, many: Sequence[DeleteObject]) -> Sequence[DeleteError]:
        return [*self._client.remove_objects(bucket_name=self.bucket, delete_object_list=many)]

    def _delete_one(self, name: str) -> None:
        try:
            self._client.remove_object(bucket_name=self.bucket, object_name=name)
        except S3Error as error:
            if error.code != "NoSuchKey":
                raise

    def _put_absent(self, key: str, data: bytes) -> bool:
        """PUT with If-None-Match, which minio-py cannot say: so its presigned address is used, with our header.

        Returns whether the object is ours. When an answer was lost on the way, a second attempt finds our own object:
        then what is stored decides.
        """
        attempts = 0
        name = self._name(key)

        def attempt() -> bool:
            nonlocal attempts
            attempts += 1
            url = self._client.get_presigned_url(
                method="PUT", bucket_name=self.bucket, object_name=name, expires=PRESIGNED_FOR
            )
            response = self._pool.urlopen("PUT", url, body=data, headers={"If-None-Match": "*"})
            if response.status in (200, 204):
                return True
            if response.status == 412:
                return False
            code = CODE.search(response.data)
            raise Refused(code.group(1).decode() if code else "", response.status)

        if self._requests.retry(f"write {key}", attempt):
            return True
        if attempts == 1:
            return False
        try:
            return self.get(key) == data
        except KeyError:
            return False

    def _heeds_conditions(self) -> str:
        """Whether the store refuses a PUT with If-None-Match where an object is: tried once, on an object of ours."""
        with self._probing:
            if self._conditional is None:
                self._clear_probes()
                key = f"probe-{secrets.token_hex(8)}"
                self.put(key, b"one")
                try:
                    self._conditional = "no: it overwrote" if self._put_absent(key, b"two") else "yes"
                except StoreError as error:
                    if error.transient:
                        raise
                    self._conditional = "no: it does not know If-None-Match"
                finally:
                    self.delete([key])
            return self._conditional

    def _clear_probes(self) -> None:
        # A source may begin like that: what lies below it is none of ours.
        if found := [one for one in self.list("probe-") if PROBE.fullmatch(one.key)]:
            old = self.now() - PROBE_LIVES
            self.delete([one.key for one in found if one.modified < old])

    def _ask(self, call: Callable[[], str]) -> str:
        try:
            return call()
        except S3Error as error:
            code = error.code or ""
            return "no" if code in UNSUPPORTED or "NotFound" in code else f"unknown: {code}"
        except RAISED:
            return "unknown"
