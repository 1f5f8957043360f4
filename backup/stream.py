"""Bytes on their way into a store: compressed, sealed, hashed, counted, cut into pieces. `read_plain` is the way back.

The plain bytes are cut into frames of 2 MiB, each compressed by itself (two threads do that side by side), and frames
are gathered into pieces that hold whole ones. Sealed, each piece is an age file of its own: a single age stream could
be read from its beginning only, while pieces are fetched, opened and decompressed side by side, and `age -d` opens them
one by one by hand. zstd reads frames that follow one another, so pieces in the order of their names are one archive.

Memory does not grow with the database: one frame being filled, three compressed or waiting, one piece being gathered
and those in flight, which together stay within `in_flight` times 8 MiB, or one when pieces are larger. Only the list of
pieces grows; so that it stays short, pieces grow in two steps, once 8 GiB and once 24 GiB are stored, to 32 MiB.
"""

import contextlib
import hashlib
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

from backup.errors import ArchiveError, StoreError
from backup.flight import Budget, Put
from backup.manifest import Artifact, Piece
from backup.seal import check_recipients, unseal
from backup.storage.base import Storage
from config.secret import Secret

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB = 1024 * 1024
FRAME = 2 * MIB
PIECE = 8 * MIB
# From which piece on they are how many times as large: 8 MiB up to 8 GiB stored, 16 up to 24 GiB, 32 above.
STEPS = ((2000, 4), (1000, 2), (0, 1))
COMPRESSORS = 2
# Compressed ahead of the one whose turn it is.
AHEAD = 3
COMPRESSION = "zstd, independent frames of 2 MiB"
# A frame of ours is never larger; one that claims to be is not ours and could fill the memory.
LARGEST_FRAME = 64 * MIB

OTHER_POINT = "take another restore point: python -m backup list"

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was stored: its pieces in order, bytes before and after, and the SHA-256 of the plain bytes."""

    pieces: tuple[Piece, ...]
    plain_bytes: int
    stored_bytes: int
    sha256: str


class PieceWriter:
    """Takes plain bytes and stores them as `<point_prefix><folder>/000000`, `…/000001` and so on.

    Given the store, the point's prefix (`<source>/<point>/`) and the artifact's folder in it, the first pieces' size
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
        self._keys: list[str] = []
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
        if self._gathered_bytes + len(compressed) > self._largest():
            self._send()
        self._gathered.append(compressed)
        self._gathered_bytes += len(compressed)

    def _largest(self) -> int:
        return self._piece_bytes * next(times for first, times in STEPS if self._count >= first)

    def _send(self) -> None:
        if not self._gathered:
            return
        key = f"{self._folder}/{self._count:06d}"
        put = Put(self._storage, self._point_prefix, key, self._gathered, self._recipients)
        self._gathered, self._gathered_bytes = [], 0
        self._count += 1
        self._keys.append(put.key)
        self._puts.append(put)
        put.start(self._budget)
        self._reap(wait=False)

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
            self._storage.delete(self._keys)
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

    At level 1 a smaller hash table is faster and makes frames of this size 6 % smaller (measured).
    """
    parameter = zstd.CompressionParameter
    options: dict[int, int] = {parameter.compression_level: level, parameter.checksum_flag: 1}
    if level == 1:
        options[parameter.hash_log] = 15
    return options


def read_plain(
    storage: Storage, point_prefix: str, artifact: Artifact, *, identities: Sequence[Secret] = (), workers: int = 2
) -> Iterator[bytes]:
    """The plain bytes of an artifact, in order, 2 MiB at a time. Up to `workers` pieces are fetched ahead.

    No byte of a piece is given before the piece's size and SHA-256 are right. The whole's are known at the end only:
    bytes count once the iterator has ended without raising. Raises ArchiveError, which names the piece that is missing,
    cut off or changed, KeyMissingError, StoreError.
    """
    _check_order(artifact)
    fetch = partial(_open_piece, storage, point_prefix, bool(artifact.recipients), tuple(identities))
    fetchers = ThreadPoolExecutor(workers, thread_name_prefix="fetch")
    expanders = ThreadPoolExecutor(COMPRESSORS, thread_name_prefix="unzstd")
    digest, count = hashlib.sha256(), 0
    try:
        pieces = _ahead(fetchers, fetch, artifact.pieces, workers)
        for plain in _ahead(expanders, _expand, _frames(pieces), AHEAD):
            digest.update(plain)
            count += len(plain)
            yield plain
    finally:
        fetchers.shutdown(wait=False, cancel_futures=True)
        expanders.shutdown(wait=False, cancel_futures=True)
    if count != artifact.plain_bytes or digest.hexdigest() != artifact.sha256:
        raise ArchiveError(
            f"{artifact.label} gave {count} bytes that are not the {artifact.plain_bytes} that were dumped",
            OTHER_POINT,
        )


def hash_stored(storage: Storage, point_prefix: str, artifact: Artifact, *, workers: int = 2) -> Iterator[Piece]:
    """Fetches every piece and compares size and SHA-256; gives each piece that is right. Needs no key.

    Raises ArchiveError, which names the first piece that is not, and StoreError.
    """
    _check_order(artifact)
    fetchers = ThreadPoolExecutor(workers, thread_name_prefix="fetch")
    try:
        for piece, _ in _ahead(fetchers, partial(_fetch_piece, storage, point_prefix), artifact.pieces, workers):
            yield piece
    finally:
        fetchers.shutdown(wait=False, cancel_futures=True)


def _check_order(artifact: Artifact) -> None:
    """Pieces are numbered from 0 in one folder: a list that lacks one or has them mixed is not what was written."""
    folders = {piece.key.rpartition("/")[0] for piece in artifact.pieces}
    numbers = [piece.key.rpartition("/")[2] for piece in artifact.pieces]
    if len(folders) != 1 or numbers != [f"{number:06d}" for number in range(len(numbers))]:
        raise ArchiveError(f"the manifest's pieces of {artifact.label} are not complete and in order", OTHER_POINT)


def _fetch_piece(storage: Storage, point_prefix: str, piece: Piece) -> tuple[Piece, bytes]:
    key = point_prefix + piece.key
    try:
        data = storage.get(key)
    except KeyError:
        raise ArchiveError(f"the piece {key} is missing", OTHER_POINT) from None
    if len(data) != piece.size:
        raise ArchiveError(f"the piece {key} has {len(data)} bytes instead of {piece.size}", OTHER_POINT)
    if hashlib.sha256(data).hexdigest() != piece.sha256:
        raise ArchiveError(f"the piece {key} is not what was written: its SHA-256 differs", OTHER_POINT)
    return piece, data


def _open_piece(
    storage: Storage, point_prefix: str, sealed: bool, identities: tuple[Secret, ...], piece: Piece
) -> tuple[str, bytes]:
    """A piece's key and its frames."""
    key = point_prefix + piece.key
    _, data = _fetch_piece(storage, point_prefix, piece)
    return key, unseal(data, identities, f"the piece {key}") if sealed else data


def _frames(pieces: Iterable[tuple[str, bytes]]) -> Iterator[tuple[str, memoryview]]:
    """Every frame of the pieces, with the key of its piece."""
    for key, data in pieces:
        rest = memoryview(data)
        while rest:
            try:
                size = zstd.get_frame_size(rest)
            except zstd.ZstdError:
                raise ArchiveError(f"the piece {key} does not hold whole zstd frames", OTHER_POINT) from None
            yield key, rest[:size]
            rest = rest[size:]


def _expand(frame: tuple[str, memoryview]) -> bytes:
    key, data = frame
    try:
        size = zstd.get_frame_info(data).decompressed_size
        if size is None or size > LARGEST_FRAME:
            raise ArchiveError(f"the piece {key} holds a frame that is not ours", OTHER_POINT)
        return zstd.decompress(data)
    except zstd.ZstdError:
        raise ArchiveError(f"the piece {key} cannot be decompressed", OTHER_POINT) from None


def _ahead(executor: ThreadPoolExecutor, work: Callable[[T], U], items: Iterable[T], count: int) -> Iterator[U]:
    """`work` done on `items` by the executor's threads, no more than `count` ahead, given in the items' order."""
    waiting: deque[Future[U]] = deque()
    for item in items:
        waiting.append(executor.submit(work, item))
        if len(waiting) > count:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
