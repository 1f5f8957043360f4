"""Bytes out and back: pieces, hashes, seals, failures on the way, and what is done about them."""

import hashlib
import random
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backup import stream
from backup.errors import ArchiveError, KeyMissingError, SettingsError, StalledError, StoreError, StoreFullError
from backup.manifest import Artifact, Piece
from backup.readback import hash_stored, read_plain
from backup.seal import keygen
from backup.stream import MIB, PieceWriter, Written

POINT = "default/20261121T030000Z-7f3a/"
FOLDER = "postgres/litellm.dump.zst"
KEYS = keygen()


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def store(memory: Any, data: bytes, chunk: int = 65_536, **arguments: Any) -> tuple[Written, Artifact]:
    with PieceWriter(memory, POINT, FOLDER, **arguments) as writer:
        for start in range(0, len(data), chunk):
            writer.write(data[start : start + chunk])
        written = writer.finish()
    return written, artifact_of(written, tuple(arguments.get("recipients", ())))


def artifact_of(written: Written, recipients: tuple[str, ...] = ()) -> Artifact:
    return Artifact(
        engine="postgres",
        kind="database",
        name="litellm",
        status="whole",
        server="18",
        plain_bytes=written.plain_bytes,
        stored_bytes=written.stored_bytes,
        sha256=written.sha256,
        pieces=written.pieces,
        recipients=recipients,
    )


def write_much(writer: PieceWriter) -> None:
    for _ in range(1000):
        writer.write(noise(MIB))


def write_and_fail(writer: PieceWriter, *, finish: bool) -> None:
    with writer:
        writer.write(noise(14 * MIB))
        if finish:
            writer.finish()
        raise ZeroDivisionError


def read_into(got: bytearray, memory: Any, artifact: Artifact) -> None:
    for part in read_plain(memory, POINT, artifact, identities=(KEYS.identity,)):
        got += part


@pytest.mark.parametrize("recipients", [(), (KEYS.recipient,), (keygen().recipient, KEYS.recipient)])
@pytest.mark.parametrize("size", [0, 1, 2 * MIB, 2 * MIB + 1, 21 * MIB])
def test_what_goes_in_comes_out(memory: Any, size: int, recipients: tuple[str, ...]) -> None:
    data = noise(size)
    written, artifact = store(memory, data, chunk=3 * MIB, recipients=recipients)
    assert written.plain_bytes == size
    assert written.sha256 == hashlib.sha256(data).hexdigest()
    assert written.stored_bytes == sum(piece.size for piece in written.pieces)
    assert [piece.key for piece in written.pieces] == [
        f"{FOLDER}/{number:06d}" for number in range(len(written.pieces))
    ]
    assert len(written.pieces) == (4 if size == 21 * MIB else 1)
    assert b"".join(read_plain(memory, POINT, artifact, identities=(KEYS.identity,))) == data
    assert [piece.key for piece in hash_stored(memory, POINT, artifact)] == [piece.key for piece in written.pieces]
    assert all(len(body) <= 8 * MIB + 4096 for body, _ in memory.objects.values())


@settings(derandomize=True, deadline=None, max_examples=25)
@given(
    parts=st.lists(st.binary(max_size=300), max_size=20),
    repeat=st.integers(1, 20_000),
    piece_bytes=st.integers(1, 100_000),
    level=st.integers(1, 5),
)
def test_any_cutting_gives_the_same_bytes(
    new_memory: Callable[[], Any], parts: list[bytes], repeat: int, piece_bytes: int, level: int
) -> None:
    memory = new_memory()
    with PieceWriter(memory, POINT, FOLDER, piece_bytes=piece_bytes, level=level) as writer:
        for part in parts:
            writer.write(memoryview(part * repeat))
        written = writer.finish()
    data = b"".join(part * repeat for part in parts)
    assert b"".join(read_plain(memory, POINT, artifact_of(written))) == data


def test_pieces_stay_as_large_as_they_are_and_their_names_go_on(memory: Any) -> None:
    """After a million pieces of 8 MiB, 8 TiB, a name has a digit more, and the order is still the manifest's."""
    writer = PieceWriter(memory, POINT, FOLDER, piece_bytes=3 * MIB)
    writer._count = 999_998
    for seed in range(8):
        writer.write(noise(MIB, seed))
    written = writer.finish()
    assert [piece.key.rpartition("/")[2] for piece in written.pieces] == ["999998", "999999", "1000000", "1000001"]
    assert max(piece.size for piece in written.pieces) <= 3 * MIB


def test_no_more_than_the_budget_is_in_flight(new_memory: Callable[[], Any]) -> None:
    memory = new_memory()
    flying, most, lock = 0, 0, threading.Lock()
    put = memory.put

    def slow_put(key: str, data: bytes) -> None:
        nonlocal flying, most
        with lock:
            flying += len(data)
            most = max(most, flying)
        time.sleep(0.02)
        put(key, data)
        with lock:
            flying -= len(data)

    memory.put = slow_put
    with PieceWriter(memory, POINT, FOLDER, piece_bytes=4 * MIB, in_flight=2) as writer:
        for _ in range(24):
            writer.write(noise(MIB))
        writer.finish()
    assert 4 * MIB < most <= 8 * MIB + 4096


def test_the_first_failure_is_kept_and_raised_again(memory: Any) -> None:
    full = StoreFullError("no room", "make some")

    def failing(verb: str, key: str) -> None:
        if verb == "put" and key.endswith("000001"):
            raise full

    memory.failing = failing
    writer = PieceWriter(memory, POINT, FOLDER, piece_bytes=2 * MIB)
    with pytest.raises(StoreFullError) as raised:
        write_much(writer)
    assert raised.value is full
    for again in (lambda: writer.write(b"more"), writer.finish):
        with pytest.raises(StoreFullError) as raised:
            again()
        assert raised.value is full
    assert writer.abort()
    assert memory.objects == {}


def test_a_failure_of_the_last_piece_fails_the_finish(memory: Any) -> None:
    def failing(verb: str, key: str) -> None:
        if verb == "put":
            raise StoreError("gone")

    memory.failing = failing
    with pytest.raises(StoreError, match="gone"):
        store(memory, b"small")
    memory.failing = lambda *_: None
    assert memory.objects == {}


@pytest.mark.parametrize("finish", [False, True])
def test_a_failing_source_leaves_nothing_even_after_the_finish(memory: Any, finish: bool) -> None:
    """pg_dump may turn out to have failed when all of its bytes are stored."""
    with pytest.raises(ZeroDivisionError):
        write_and_fail(PieceWriter(memory, POINT, FOLDER, piece_bytes=MIB), finish=finish)
    assert any(verb == "put" for verb, _ in memory.requests)
    assert memory.objects == {}


def test_abort_waits_for_what_is_in_flight(memory: Any) -> None:
    landed = threading.Event()
    put = memory.put

    def slow_put(key: str, data: bytes) -> None:
        time.sleep(0.3)
        put(key, data)
        landed.set()

    memory.put = slow_put
    writer = PieceWriter(memory, POINT, FOLDER, piece_bytes=2 * MIB)
    writer.write(noise(12 * MIB))
    assert writer.abort()
    assert landed.is_set()
    assert memory.objects == {}


def test_abort_does_not_wait_for_ever_for_a_hanging_store(memory: Any) -> None:
    release = threading.Event()

    def hang(key: str, data: bytes) -> None:
        release.wait(20)

    memory.put = hang
    writer = PieceWriter(memory, POINT, FOLDER, piece_bytes=2 * MIB, in_flight=9)
    writer.write(noise(12 * MIB))
    began = time.monotonic()
    assert not writer.abort(wait=0.2)
    assert time.monotonic() - began < 2
    release.set()


@pytest.mark.parametrize("finishing", [False, True])
def test_a_writer_that_waits_for_a_hanging_store_can_be_stopped(memory: Any, finishing: bool) -> None:
    release = threading.Event()

    def hang(key: str, data: bytes) -> None:
        release.wait(20)

    memory.put = hang
    writer = PieceWriter(memory, POINT, FOLDER, piece_bytes=2 * MIB)
    error = StalledError("no bytes were taken")
    threading.Timer(0.2, writer.stop, [error]).start()
    began = time.monotonic()
    if finishing:
        writer.write(noise(MIB))
    with pytest.raises(StalledError) as raised:
        writer.finish() if finishing else write_much(writer)
    assert raised.value is error
    assert time.monotonic() - began < 5
    release.set()


def test_abort_against_a_store_that_refuses_is_no_error(memory: Any) -> None:
    def failing(verb: str, key: str) -> None:
        if verb == "delete":
            raise StoreError("down")

    memory.failing = failing
    writer = PieceWriter(memory, POINT, FOLDER)
    writer.write(b"x")
    writer.finish()
    assert not writer.abort()


def test_nothing_can_be_written_after_the_end(memory: Any) -> None:
    writer = PieceWriter(memory, POINT, FOLDER)
    writer.finish()
    with pytest.raises(ValueError, match="finished"):
        writer.write(b"x")


def test_a_wrong_recipient_fails_before_the_first_byte(memory: Any) -> None:
    with pytest.raises(SettingsError, match="BACKUP_AGE_RECIPIENTS"):
        PieceWriter(memory, POINT, FOLDER, recipients=("age1notakey",))


def damage(how: str, pieces: tuple[Piece, ...], memory: Any) -> tuple[Piece, ...]:
    """Does one thing to a stored archive; gives back the manifest's pieces."""
    key = POINT + pieces[1].key
    data, modified = memory.objects[key]
    if how == "missing":
        del memory.objects[key]
    elif how == "truncated":
        memory.objects[key] = (data[:-1], modified)
    elif how == "a bit flipped":
        memory.objects[key] = (data[:1000] + bytes([data[1000] ^ 1]) + data[1001:], modified)
    elif how == "exchanged":
        other = POINT + pieces[2].key
        memory.objects[key], memory.objects[other] = memory.objects[other], memory.objects[key]
    elif how == "a piece left out":
        return (pieces[0], *pieces[2:])
    elif how == "mixed":
        return (pieces[1], pieces[0], *pieces[2:])
    elif how == "last left out":
        return pieces[:-1]
    return pieces


@pytest.mark.parametrize("recipients", [(), (KEYS.recipient,)])
@pytest.mark.parametrize(
    "how",
    ["missing", "truncated", "a bit flipped", "exchanged", "a piece left out", "mixed", "last left out"],
)
def test_whatever_is_damaged_is_named_and_never_read_as_whole(
    memory: Any, how: str, recipients: tuple[str, ...]
) -> None:
    data = noise(11 * MIB)
    written, artifact = store(memory, data, piece_bytes=3 * MIB, recipients=recipients)
    artifact = replace(artifact, pieces=damage(how, written.pieces, memory))
    got = bytearray()
    with pytest.raises(ArchiveError) as raised:
        read_into(got, memory, artifact)
    assert data.startswith(bytes(got))
    if how in ("missing", "truncated", "a bit flipped", "exchanged"):
        assert f"{FOLDER}/000001" in raised.value.what
        with pytest.raises(ArchiveError, match="000001"):
            list(hash_stored(memory, POINT, artifact))


def test_a_forged_manifest_cannot_make_garbage_pass(memory: Any) -> None:
    """Even with hashes that fit, what is no zstd frame, or claims to be huge, is refused."""
    for body in (b"not zstd at all", stream.zstd.compress(b"x" * (65 * MIB), 1)):
        key = f"{FOLDER}/000000"
        memory.put(POINT + key, body)
        piece = Piece(key=key, size=len(body), sha256=hashlib.sha256(body).hexdigest())
        artifact = artifact_of(Written(pieces=(piece,), plain_bytes=1, stored_bytes=1, sha256=""))
        with pytest.raises(ArchiveError, match="000000"):
            list(read_plain(memory, POINT, artifact))


def test_the_wrong_key_and_no_key(memory: Any) -> None:
    _, artifact = store(memory, noise(MIB), recipients=(KEYS.recipient,))
    with pytest.raises(KeyMissingError, match="does not open it"):
        list(read_plain(memory, POINT, artifact, identities=(keygen().identity,)))
    with pytest.raises(KeyMissingError, match="BACKUP_AGE_IDENTITY"):
        list(read_plain(memory, POINT, artifact))
    # Hashing needs no key.
    assert len(list(hash_stored(memory, POINT, artifact))) == 1


def test_an_unsealed_piece_is_not_taken_for_a_sealed_one(memory: Any) -> None:
    _, artifact = store(memory, noise(1000))
    with pytest.raises(ArchiveError, match="is not sealed"):
        list(read_plain(memory, POINT, replace(artifact, recipients=("age1x",)), identities=(KEYS.identity,)))


def test_reading_ahead_is_bounded(new_memory: Callable[[], Any]) -> None:
    memory = new_memory()
    _, artifact = store(memory, noise(30 * MIB), piece_bytes=2 * MIB + 1024)
    assert len(artifact.pieces) == 15
    memory.requests.clear()
    reading = read_plain(memory, POINT, artifact, workers=2)
    next(reading)
    time.sleep(0.1)
    # Two pieces ahead, and the frames of four more being expanded or waiting.
    assert len([key for verb, key in memory.requests if verb == "get"]) <= 7
    reading.close()


def test_frames_are_readable_by_anything_that_reads_zstd(memory: Any) -> None:
    data = noise(5 * MIB)
    written, _ = store(memory, data, piece_bytes=2 * MIB + 1024)
    whole = b"".join(memory.objects[POINT + piece.key][0] for piece in written.pieces)
    assert stream.zstd.decompress(whole) == data
