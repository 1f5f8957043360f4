"""Pieces through real stores: memory that does not grow, and archives that other people's programs read."""

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from backup.manifest import Artifact
from backup.readback import read_plain
from backup.seal import keygen
from backup.storage.base import Storage
from backup.stream import MIB, PieceWriter

POINT = "default/20261121T030000Z-7f3a/"
SCRIPT = """
    import os, re, sys
    from pathlib import Path
    from backup.manifest import Artifact
    from backup.readback import read_plain
    from backup.storage.folder import FolderStorage
    from backup.stream import MIB, PieceWriter

    def peak():
        # Not ru_maxrss: that begins with what the process that started us had.
        return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text()).group(1)) // 1024

    storage = FolderStorage(Path(sys.argv[1]))
    block = os.urandom(2 * MIB)
    recipients = tuple(sys.argv[3:])
    with PieceWriter(storage, "s/20261121T030000Z-7f3a/", "postgres/x", level=1, recipients=recipients) as writer:
        for _ in range(int(sys.argv[2]) // 2):
            writer.write(block)
        written = writer.finish()
    out = peak()
    if not recipients:
        artifact = Artifact(
            engine="postgres", kind="database", name="x", status="whole", server="18", sha256=written.sha256,
            plain_bytes=written.plain_bytes, stored_bytes=written.stored_bytes, pieces=written.pieces,
        )
        for _ in read_plain(storage, "s/20261121T030000Z-7f3a/", artifact):
            pass
    print(out, peak())
"""


def peak(folder: Path, mebibytes: int, *recipients: str) -> tuple[int, int]:
    """Peak memory in MiB of a process that wrote, and then also read, so much noise."""
    argv = [sys.executable, "-c", textwrap.dedent(SCRIPT), str(folder), str(mebibytes), *recipients]
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=True, timeout=100)
    shutil.rmtree(folder)
    out, back = done.stdout.split()
    return int(out), int(back)


def test_memory_does_not_grow_with_the_database(tmp_path: Path) -> None:
    """Measured: 78 to 86 MiB out and 95 to 104 back from 192 MiB to 2 GiB; sealed 115 to 128."""
    small = peak(tmp_path / "small", 128)
    large = peak(tmp_path / "large", 320)
    assert large[0] < small[0] + 16
    assert large[1] < small[1] + 20
    assert large[1] < 125
    assert peak(tmp_path / "sealed", 128, keygen().recipient)[0] < 145


@pytest.mark.parametrize("sealed", [False, True])
def test_an_archive_is_read_by_hand(any_storage: Storage, tmp_path: Path, sealed: bool) -> None:
    """`cat */* | zstd -d`, and sealed `age -d` for each piece first."""
    zstd, age = shutil.which("zstd"), shutil.which("age")
    if not zstd or (sealed and not age):
        pytest.skip("zstd or age is not installed")
    pair = keygen()
    data = os.urandom(9 * MIB)
    recipients = (pair.recipient,) if sealed else ()
    with PieceWriter(any_storage, POINT, "postgres/x", piece_bytes=3 * MIB, recipients=recipients) as writer:
        writer.write(data)
        written = writer.finish()
    (tmp_path / "key").write_text(pair.identity.reveal())
    for piece in written.pieces:
        (tmp_path / piece.key.rpartition("/")[2]).write_bytes(any_storage.get(POINT + piece.key))
    names = " ".join(piece.key.rpartition("/")[2] for piece in written.pieces)
    each = "age -d -i key $piece" if sealed else "cat $piece"
    command = f"set -e; for piece in {names}; do {each}; done | zstd -d"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, check=True, timeout=60)
    assert done.stdout == data


def test_a_sealed_dump_through_every_store(any_storage: Storage) -> None:
    pair = keygen()
    data = os.urandom(5 * MIB)
    with PieceWriter(any_storage, POINT, "postgres/x", recipients=(pair.recipient,)) as writer:
        writer.write(data)
        written = writer.finish()
    facts: dict[str, Any] = {"plain_bytes": written.plain_bytes, "sha256": written.sha256, "pieces": written.pieces}
    artifact = Artifact(
        engine="postgres", kind="database", name="x", status="whole", server="18", recipients=(pair.recipient,), **facts
    )
    assert b"".join(read_plain(any_storage, POINT, artifact, identities=(pair.identity,))) == data
    assert all(data[:64] not in any_storage.get(POINT + piece.key) for piece in written.pieces)
