"""The way back from the pieces that backup/stream.py stored: fetched, checked, opened, decompressed, joined."""

import hashlib
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from backup.errors import ArchiveError
from backup.manifest import Artifact, Piece
from backup.seal import unseal
from backup.storage.base import Storage
from config.secret import Secret

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MIB = 1024 * 1024
EXPANDERS = 2
# Decompressed ahead of the frame whose turn it is.
AHEAD = 3
# A frame of ours is never larger; one that claims to be is not ours and could fill the memory.
LARGEST_FRAME = 64 * MIB

OTHER_POINT = "take another restore point: python -m backup list"

T = TypeVar("T")
U = TypeVar("U")


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
    expanders = ThreadPoolExecutor(EXPANDERS, thread_name_prefix="unzstd")
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
