"""A store in memory whose clock is set by hand, and which can be told to fail at the n-th request."""

import threading
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta

import pytest

from backup.storage.base import Stored

BEGIN = datetime(2026, 11, 21, 3, tzinfo=UTC)


class MemoryStorage:
    """Objects in a dictionary. `failing(verb, key)` is asked before each request and raises what shall go wrong."""

    address = "memory"

    def __init__(self) -> None:
        self.objects: dict[str, tuple[bytes, datetime]] = {}
        self.time = BEGIN
        self.failing: Callable[[str, str], object] = lambda *_: None
        self.requests: list[tuple[str, str]] = []
        self.lock = threading.Lock()

    def _ask(self, verb: str, key: str) -> None:
        self.failing(verb, key)
        self.requests.append((verb, key))

    def put(self, key: str, data: bytes | memoryview) -> None:
        self._ask("put", key)
        with self.lock:
            self.objects[key] = (bytes(data), self.time)

    def put_new(self, key: str, data: bytes) -> bool:
        self._ask("put_new", key)
        with self.lock:
            if key in self.objects:
                return False
            self.objects[key] = (bytes(data), self.time)
            return True

    def get(self, key: str) -> bytes:
        self._ask("get", key)
        return self.objects[key][0]

    def stat(self, key: str) -> Stored | None:
        self._ask("stat", key)
        if key not in self.objects:
            return None
        data, modified = self.objects[key]
        return Stored(key=key, size=len(data), modified=modified)

    def list(self, prefix: str) -> Iterator[Stored]:
        self._ask("list", prefix)
        for key in sorted(self.objects):
            if key.startswith(prefix):
                data, modified = self.objects[key]
                yield Stored(key=key, size=len(data), modified=modified)

    def folders(self, prefix: str) -> Iterator[str]:
        self._ask("folders", prefix)
        rests = [key[len(prefix) :] for key in self.objects if key.startswith(prefix)]
        yield from sorted({rest.partition("/")[0] for rest in rests if "/" in rest})

    def delete(self, keys: Iterable[str]) -> None:
        for key in list_of(keys):
            self._ask("delete", key)
            self.objects.pop(key, None)

    def now(self) -> datetime:
        return self.time

    def pass_time(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def capabilities(self) -> dict[str, str]:
        return {"conditional put": "yes"}

    def close(self) -> None:
        pass


def list_of(keys: Iterable[str]) -> tuple[str, ...]:
    return tuple(keys)


@pytest.fixture
def memory() -> MemoryStorage:
    """An empty store in memory."""
    return MemoryStorage()


@pytest.fixture(scope="session")
def new_memory() -> Callable[[], MemoryStorage]:
    """Makes empty stores in memory."""
    return MemoryStorage
