"""Pieces on their way into a store: each in a thread of its own, all together within a number of bytes."""

import hashlib
import threading
from collections.abc import Callable, Sequence

from backup.manifest import Piece
from backup.seal import seal
from backup.storage.base import Storage


class Budget:
    """Bytes that may be in flight at once. Something larger than all of it may go alone.

    `stop`, from any thread, ends every wait here with an exception, and every later one.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._changed = threading.Condition()
        self._stopped: BaseException | None = None

    def take(self, count: int) -> None:
        """Waits until `count` bytes may go."""
        with self._changed:
            self._wait(lambda: not self._used or self._used + count <= self._limit)
            self._used += count

    def give(self, count: int) -> None:
        """Gives `count` bytes back."""
        with self._changed:
            self._used -= count
            self._changed.notify_all()

    def wait_for(self, ended: threading.Event) -> None:
        """Waits for something in flight, which sets `ended` before it gives its bytes back."""
        with self._changed:
            self._wait(ended.is_set)

    def stop(self, error: BaseException) -> None:
        """Makes every wait raise `error`."""
        with self._changed:
            self._stopped = self._stopped or error
            self._changed.notify_all()

    def _wait(self, ready: Callable[[], bool]) -> None:
        while not ready():
            if self._stopped is not None:
                raise self._stopped
            self._changed.wait()


class Put:
    """One piece on its way: sealed, hashed and stored in a thread that no exit waits for.

    `started` says whether it is; `ended` is set when it is there or has failed; then `piece` or `failure` is.
    """

    def __init__(
        self, storage: Storage, point_prefix: str, key: str, frames: Sequence[bytes], recipients: Sequence[str]
    ) -> None:
        self.key = point_prefix + key
        self.started = False
        self.ended = threading.Event()
        self.piece: Piece | None = None
        self.failure: BaseException | None = None
        self._storage = storage
        self._relative = key
        self._frames = frames
        self._recipients = recipients

    def start(self, budget: Budget) -> None:
        """Waits for room in `budget`, then sends it off."""
        size = sum(map(len, self._frames))
        budget.take(size)
        self.started = True
        threading.Thread(target=self._run, args=(budget, size), name=f"put {self._relative}", daemon=True).start()

    def _run(self, budget: Budget, size: int) -> None:
        try:
            data = b"".join(self._frames)
            self._frames = ()
            if self._recipients:
                data = seal(data, self._recipients)
            digest = hashlib.sha256(data).hexdigest()
            self._storage.put(self.key, data)
            self.piece = Piece(key=self._relative, size=len(data), sha256=digest)
        except BaseException as error:  # noqa: BLE001  # a thread's outermost boundary: the writer raises it again
            self.failure = error
        finally:
            self.ended.set()
            budget.give(size)
