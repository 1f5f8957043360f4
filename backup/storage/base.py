"""What a store is: five verbs over whole objects, and its own clock.

Keys are relative to the store's prefix, with "/" between parts, no leading slash. Every method may be called from
several threads at once. Nothing here retries but the implementations, and those only what is safe to repeat (all five
are idempotent). Errors are StoreError and below.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

FIRST_RUN = "the first `python -m backup run` makes it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """One object: its key, its size in bytes, when it was last written by the store's clock (UTC)."""

    key: str
    size: int
    modified: datetime


class Storage(Protocol):
    """A place that keeps objects."""

    @property
    def address(self) -> str:
        """Where it is, for people and manifests: no secret."""

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Writes a whole object, over what was there. After it returns the object is read back whole by anyone."""

    def put_new(self, key: str, data: bytes) -> bool:
        """Writes a whole object only where there is none. False when there is one. Atomic where the store can."""

    def get(self, key: str) -> bytes:
        """The whole object. Raises KeyError when there is none."""

    def stat(self, key: str) -> Stored | None:
        """The object's size and time, or None when there is none."""

    def list(self, prefix: str) -> Iterator[Stored]:
        """Every object whose key begins with `prefix`, in the order of their keys."""

    def folders(self, prefix: str) -> Iterator[str]:
        """The names one level below `prefix` (which ends in "/") that have objects below them, without slashes."""

    def delete(self, keys: Iterable[str]) -> None:
        """Removes objects; those that are not there are no error."""

    def now(self) -> datetime:
        """The store's own time, in UTC: what leases and retention go by."""

    def capabilities(self) -> dict[str, str]:
        """What the store can do beyond the five verbs, found out by trying: name → "yes", "no" or why not."""

    def close(self) -> None:
        """Lets go of connections."""
