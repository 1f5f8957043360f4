"""Bytes on their way into a store: compressed, sealed, hashed, counted, cut into pieces. backup/readback.py is the way
back.

The plain bytes are cut into frames of 2 MiB, each compressed by itself (two threads do that side by side), and frames
are gathered into pieces that hold whole ones. Sealed, each piece is an age file of its own: a single age stream could
be read from its beginning only, while pieces are fetched, opened and decompressed side by side, and `age -d` opens them
one by one by hand. zstd reads frames that follow one another, so pieces in the order of their names are one archive.

Memory does not grow with the database: one frame being filled, three compressed or waiting, one piece being gathered
and those in flight. What grows is the list of pieces, by some 300 bytes for each 8 MiB stored.
"""

import contextlib
import hashlib
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from backup.errors import StoreError
from backup.flight import Budget, Put
from backup.manifest import Piece
from backup.seal import check_recipients
from backup.storage.base import Storage

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB = 1024 * 1024
FRAME = 2 * MIB
PIECE = 8 * MIB
COMPRESSORS = 2
# Compressed ahead of the one whose turn it is.
AHEAD = 3
COMPRESSION = "zstd, independent frames of 2 MiB"


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was stored: its pieces in order, bytes before and after, and the SHA-256 of the plain bytes."""

    pieces: tuple[Piece, ...]
    plain_bytes: int
    stored_bytes: int
    sha256: str


class PieceWriter:
    """Takes plain bytes and stores them as `<point_prefix><folder>/000000`, `…/000001` and so on.

    Given the store, the point's prefix (`<source>/<point>/`) and the artifact's folder in it, the pieces' largest size
    and how many of that size may be in flight, age public keys (none: not sealed) and zstd's level. To be used by one
    thread, which waits in `write` while the store is behind. The first failure, of whichever thread, is kept and raised
    by every call after it. Used as a context manager it aborts what was not finished.
    """

    def __init__(
        self,
        storage: Storage,
        point_prefix: str,
        folder: str,
        *,
        piece_bytes: int = PIECE,
        in_flight: int = 2,
        recipients: Sequence[str] = (),
        level: int = 3,
    ) -> None:
        check_recipients(recipients)
        self.plain_bytes = 0
        self.stored_bytes = 0
        self._storage = storage
        self._point_prefix = point_prefix
        self._folder = folder
        self._piece_bytes = piece_bytes
        self._budget = Budget(piece_bytes * in_flight)
        self._recipients = tuple(recipients)
        self._options = compression_options(level)
        self._frame = bytearray()
        self._hash = hashlib.sha256()
        self._compressing: deque[Future[bytes]] = deque()
        self._gathered: list[bytes] = []
        self._gathered_bytes = 0
        self._puts: deque[Put] = deque()
        self._pieces: list[Piece] = []
        self._count = 0
        self._failure: BaseException | None = None
        self._closed = False
        self._compressors = ThreadPoolExecutor(COMPRESSORS, thread_name_prefix="zstd")

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Takes plain bytes, any number of them. Waits while the store is behind. Raises StoreError and below."""
        self._check()
        with self._keeping():
            view = memoryview(data)
            while view:
                part = view[: FRAME - len(self._frame)]
                self._frame += part
                self.plain_bytes += len(part)
                view = view[len(part) :]
                if len(self._frame) == FRAME:
                    self._cut()

    def finish(self) -> Written:
        """Stores what is left and waits for all of it. Raises the first failure; then `abort` cleans."""
        self._check()
        with self._keeping():
            if self._frame or not self.plain_bytes:
                self._cut()
            while self._compressing:
                self._gather(self._compressing.popleft().result())
            self._send()
            self._reap(wait=True)
        self._closed = True
        self._compressors.shutdown()
        return Written(
            pieces=tuple(self._pieces),
            plain_bytes=self.plain_bytes,
            stored_bytes=self.stored_bytes,
            sha256=self._hash.hexdigest(),
        )

    def stop(self, error: BaseException) -> None:
        """From any thread: makes the thread that writes raise `error`, now if it waits for the store, else at its next
        call. For a watchdog, a lost lease, a signal."""
        self._failure = self._failure or error
        self._budget.stop(error)

    def abort(self, wait: float | None = None) -> bool:
        """Takes back all of it: waits for what is in flight, then deletes. May be called after `finish` and a failure.

        Returns whether nothing is left; given `wait`, it spends no more than so many seconds, and what is not gone by
        then stays for the sweep. A store that does not answer is no error here.
        """
        self._closed = True
        self._compressors.shutdown(wait=False, cancel_futures=True)
        cleaned: Future[bool] = Future()
        threading.Thread(target=self._clean, args=(cleaned,), name="abort", daemon=True).start()
        try:
            return cleaned.result(wait)
        except TimeoutError:
            return False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None or not self._closed:
            self.abort()

    def _cut(self) -> None:
        """Sends the frame that is full (or the last) to be compressed, and gathers what is done."""
        frame, self._frame = self._frame, bytearray()
        self._hash.update(frame)
        self._compressing.append(self._compressors.submit(zstd.compress, frame, None, self._options))
        while len(self._compressing) > AHEAD:
            self._gather(self._compressing.popleft().result())

    def _gather(self, compressed: bytes) -> None:
        """Adds a compressed frame to the piece, after sending that off when both together would be too large."""
        if self._gathered_bytes + len(compressed) > self._piece_bytes:
            self._send()
        self._gathered.append(compressed)
        self._gathered_bytes += len(compressed)

    def _send(self) -> None:
        if not self._gathered:
            return
        put = Put(self._storage, self._point_prefix, self._key(self._count), self._gathered, self._recipients)
        self._gathered, self._gathered_bytes = [], 0
        self._count += 1
        self._puts.append(put)
        put.start(self._budget)
        self._reap(wait=False)

    def _key(self, number: int) -> str:
        return f"{self._folder}/{number:06d}"

    def _reap(self, *, wait: bool) -> None:
        """Takes note of the pieces that are there. Raises the failure of one that is not."""
        while self._puts and (wait or self._puts[0].ended.is_set()):
            put = self._puts[0]
            self._budget.wait_for(put.ended)
            if put.piece is None:
                raise put.failure or AssertionError("a put ends with a piece or a failure")
            self._puts.popleft()
            self._pieces.append(put.piece)
            self.stored_bytes += put.piece.size

    def _clean(self, cleaned: Future[bool]) -> None:
        for put in tuple(self._puts):
            if put.started:
                put.ended.wait()
        try:
            self._storage.delete(self._point_prefix + self._key(number) for number in range(self._count))
        except StoreError:
            cleaned.set_result(False)
        else:
            cleaned.set_result(True)

    def _check(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise ValueError("this writer was finished or aborted")

    @contextlib.contextmanager
    def _keeping(self) -> Iterator[None]:
        """Keeps the first failure, whatever it is, so that nothing written after it looks like success."""
        try:
            yield
        except BaseException as error:
            self._failure = self._failure or error
            raise


def compression_options(level: int) -> dict[int, int]:
    """zstd's parameters for a level; each frame carries its own checksum, which `zstd -d` looks at.

    At levels 1 and 3 hash tables that fit a core's cache are better for frames of this size (docs/decisions/0007).
    """
    parameter = zstd.CompressionParameter
    options: dict[int, int] = {parameter.compression_level: level, parameter.checksum_flag: 1}
    if level == 1:
        options[parameter.hash_log] = 15
    elif level == 3:
        options |= {parameter.hash_log: 16, parameter.chain_log: 15, parameter.min_match: 6}
    return options
