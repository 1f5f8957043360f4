"""Pieces on their way into a store: each in a thread of its own, all together within a number of bytes."""

import hashlib
import threading
from collections.abc import Sequence

from backup.manifest import Piece
from backup.seal import seal
from backup.storage.base import Storage


class Budget:
    """Bytes that may be in flight at once. Something larger than all of it may go alone."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0
        self._changed = threading.Condition()

    def take(self, count: int) -> None:
        """Waits until `count` bytes may go."""
        with self._changed:
            while self._used and self._used + count > self._limit:
                self._changed.wait()
            self._used += count

    def give(self, count: int) -> None:
        """Gives `count` bytes back."""
        with self._changed:
            self._used -= count
            self._changed.notify_all()


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
            budget.give(size)
            self.ended.set()
