"""A server's databases as a restore sees them: who is in them, and the mark that a restore of ours leaves on one."""

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Database:
    """One database of the server. `size` in bytes, None when we may not know; `mark` is what a restore of ours wrote
    about it."""

    name: str
    oid: int
    owner: str
    allows: bool
    template: bool
    size: int | None
    comment: str
    mark: "Mark | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """What a restore writes into a database's comment: which dump it holds, whether all of it, and whose work it is.

    `state` is restoring, or restored once everything is in and compared. `pid` and `since` name the server's session
    that makes it, by which a later command tells whether the restore is alive.
    """

    point: str
    database: str
    sha256: str
    state: str
    pid: int
    since: str

    @classmethod
    def read(cls, comment: str) -> "Mark | None":
        """The mark in a comment; None when it is somebody else's comment."""
        try:
            found = json.loads(comment)["watchkeeper restore"]
            return cls(**{name: found[name] for name in cls.__dataclass_fields__})
        except (ValueError, KeyError, TypeError):
            return None

    def text(self) -> str:
        """The comment."""
        return json.dumps({"watchkeeper restore": {name: getattr(self, name) for name in self.__dataclass_fields__}})


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """Sessions of one program as one role in one database."""

    database: str
    program: str
    role: str
    count: int

    def __str__(self) -> str:
        return f'{self.count} of {self.program} as {self.role} in "{self.database}"'
