"""From settings to the store they name."""

from backup.errors import SettingsError, StoreMissingError
from backup.storage.base import FIRST_RUN, Storage
from config.backup_store import StoreSettings


def open_storage(settings: StoreSettings, *, make: bool = True) -> Storage:
    """The store that `settings` name, found to be there: with `make` a missing bucket or folder is made if it may be.

    Keys are relative to `settings.prefix` and begin with a source. Raises SettingsError, StoreError and below.
    """
    if settings.folder is not None:
        from backup.storage.folder import FolderStorage

        if not make and not settings.folder.is_dir():
            what = f"there is no folder {settings.folder.absolute()}"
            raise StoreMissingError(what, f"check BACKUP_DIR, and set MINIO_ENDPOINT for a bucket; {FIRST_RUN}")
        return FolderStorage(settings.folder / settings.prefix)
    if not settings.endpoint:
        raise SettingsError("no place for backups is set", "set MINIO_ENDPOINT and its keys, or BACKUP_DIR")
    from backup.storage.s3 import S3Storage

    storage = S3Storage(settings)
    storage.ensure_bucket(make=make)
    return storage
