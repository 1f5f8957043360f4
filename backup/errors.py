"""What can go wrong, as the tree of exceptions: each says what happened and what to do, and holds no secret.

BackupError
├── SettingsError        what we were told cannot be used (exit 2)
├── LockedError          another run holds the lease (exit 3)
├── StoreError           the store refused or did not answer
│   ├── StoreFullError   it has no room
│   ├── StoreMissingError  there is no such bucket or folder
│   └── StoreDeniedError the key may not do this
├── SourceError          the database could not be dumped or asked
│   ├── DumpError        pg_dump or BACKUP failed
│   └── StalledError     no bytes for too long
├── ArchiveError         what is stored is not what was written
│   └── KeyMissingError  it is sealed, and no identity given opens it
├── TargetError          the place to restore to will not do
└── StoppedError         we were told to stop
"""


class BackupError(Exception):
    """Something a person can act on. `what` says what happened, `remedy` what to do; str() is both in one line."""

    exit_code = 1

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what, remedy)
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.what}; {self.remedy}" if self.remedy else self.what


def class_of(error: BackupError) -> dict[str, str]:
    """What an artifact that failed keeps of `error` beside its text, for machines."""
    return {"error_class": type(error).__name__}


class SettingsError(BackupError):
    """What we were told cannot be used."""

    exit_code = 2


class LockedError(BackupError):
    """Another run, prune or sweep holds the lease."""

    exit_code = 3


class StoreError(BackupError):
    """The store refused, or did not answer. `transient` says whether trying again may help."""

    def __init__(self, what: str, remedy: str = "", *, transient: bool = False) -> None:
        super().__init__(what, remedy)
        self.transient = transient


class StoreFullError(StoreError):
    """The store has no room left."""


class StoreMissingError(StoreError):
    """There is no such bucket or folder."""


class StoreDeniedError(StoreError):
    """The store's key is wrong, or may not do this."""


class SourceError(BackupError):
    """A database could not be dumped or asked."""


class DumpError(SourceError):
    """pg_dump, or ClickHouse's BACKUP, ended with a failure."""


class StalledError(SourceError):
    """No bytes came, or none were taken, for too long."""


class ArchiveError(BackupError):
    """What is stored is not what was written."""


class KeyMissingError(ArchiveError):
    """It is sealed, and no identity that was given opens it."""


class TargetError(BackupError):
    """The server or database to restore to will not do."""


class StoppedError(BackupError):
    """We were told to stop (SIGTERM, SIGINT)."""

    exit_code = 130
