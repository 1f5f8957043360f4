"""Where in the store ClickHouse writes and reads, as it reaches it and as we do."""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from backup.clickhouse.sql import text
from backup.errors import SettingsError
from config.backup_sources import ClickhouseSettings
from config.backup_store import StoreSettings
from config.secret import Secret

_PLAIN = re.compile(r"[A-Za-z0-9_-]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The root of our keys, as ClickHouse reaches it. With `collection` (SQL's or the configuration's named collection,
    whose url is endpoint and bucket) no key is in any statement; otherwise ClickHouse shows the access key in its query
    log and system.backups, and hides the secret one.
    """

    url: str
    prefix: str
    access_key: Secret | None = None
    secret_key: Secret | None = None
    collection: str = ""

    @classmethod
    def of(cls, store: StoreSettings, clickhouse: ClickhouseSettings) -> "Place":
        """The place the settings name. Raises SettingsError for a folder, which ClickHouse cannot write to."""
        if store.folder is not None or not store.endpoint:
            raise SettingsError(
                "ClickHouse writes its backups itself, over S3, and cannot reach the folder backups go to",
                "set MINIO_ENDPOINT and its keys (any S3 will do), or run with --only postgres",
            )
        own = f"{'https' if store.secure else 'http'}://{store.endpoint}"
        reached = urlsplit((clickhouse.s3_endpoint or own).rstrip("/"))
        if store.virtual_host:
            url = f"{reached.scheme}://{store.bucket}.{reached.netloc}"
        else:
            url = f"{reached.scheme}://{reached.netloc}/{store.bucket}"
        return cls(
            url=url,
            prefix=f"{store.prefix}/" if store.prefix else "",
            access_key=store.access_key,
            secret_key=store.secret_key,
            collection=clickhouse.s3_collection,
        )

    @property
    def address(self) -> str:
        """For people: no secret."""
        return f"the collection {self.collection}" if self.collection else self.url

    def at(self, key: str) -> str:
        """The S3() of a statement for the folder `key`. Holds the secret key unless there is a collection."""
        path = f"{self.prefix}{key.strip('/')}"
        if self.collection:
            return f"S3({self.collection}, {text(path)})"
        keys = [one.reveal() if one else "" for one in (self.access_key, self.secret_key)]
        # By position and not by name: only so does every version hide the secret in its logs.
        return f"S3({text(f'{self.url}/{path}')}, {text(keys[0])}, {text(keys[1])})"


def folder_of(database: str) -> str:
    """Where a database's backup lies, relative to its point: `clickhouse/<database>`.

    All but letters, digits, "_" and "-" is written as ~ and two hex digits for each byte: a % in a URL would be decoded
    by some on the way and not by others.
    """
    return "clickhouse/" + "".join(
        char if _PLAIN.fullmatch(char) else "".join(f"~{byte:02x}" for byte in char.encode()) for char in database
    )


ACCESS_FOLDER = "clickhouse/~access"
