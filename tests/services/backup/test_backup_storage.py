"""One contract over every kind of store."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from backup.errors import StoreMissingError
from backup.storage.base import Storage
from backup.storage.folder import FolderStorage
from backup.storage.table import open_storage
from config.backup_store import StoreSettings

ODD = [
    "with blank/and more",
    "quote'\"s/`$(x)`",
    "ünï/☃/日本",
    "percent%20/%2F",
    "plus+and&=?#;/x",
    "tilde~/-._",
    ".hidden/.backup",
    "...three/x..",
    "new\nline/tab\t",
    "<xml>&amp;/]]>",
]


def test_what_is_put_is_got(any_storage: Storage) -> None:
    for data in (b"", b"x", random.Random(1).randbytes(3_000_000)):
        any_storage.put("s/p/one", data)
        assert any_storage.get("s/p/one") == data
        stored = any_storage.stat("s/p/one")
        assert stored is not None
        assert (stored.key, stored.size) == ("s/p/one", len(data))
        assert abs(stored.modified - any_storage.now()) < timedelta(minutes=1)
    any_storage.put("s/p/view", memoryview(b"abcdef")[1:3])
    assert any_storage.get("s/p/view") == b"bc"


def test_what_is_not_there(any_storage: Storage) -> None:
    any_storage.put("s/p/one", b"1")
    for key in ("s/p/two", "s/p", "s/p/one/below", "elsewhere/x"):
        with pytest.raises(KeyError):
            any_storage.get(key)
        assert any_storage.stat(key) is None
    assert list(any_storage.list("elsewhere/")) == []
    assert list(any_storage.folders("elsewhere/")) == []
    any_storage.delete(["s/p/two", "elsewhere/x"])


@pytest.mark.parametrize("key", ODD)
def test_odd_keys(any_storage: Storage, key: str) -> None:
    any_storage.put(key, key.encode())
    assert any_storage.get(key) == key.encode()
    assert [stored.key for stored in any_storage.list(key[:4])] == [key]
    assert list(any_storage.folders("")) == [key.partition("/")[0]]
    any_storage.delete([key])
    assert any_storage.stat(key) is None


@pytest.mark.parametrize("key", ["a//b", "/a", "", "a/../../b", "a/./b", "..", "a/.."])
def test_keys_that_no_store_may_see(any_storage: Storage, any_settings: StoreSettings, key: str) -> None:
    if any_settings.folder and ".." in key.replace("//", ""):
        # A folder keeps such a name as a name: it leads nowhere else.
        any_storage.put(key, b"x")
        assert any_storage.get(key) == b"x"
        assert [stored.key for stored in any_storage.list("")] == [key]
        return
    if any_settings.folder and "./" in key:
        return
    with pytest.raises(ValueError, match="part"):
        any_storage.put(key, b"x")


def test_a_folder_knows_backslashes_from_slashes(folder: FolderStorage) -> None:
    """SeaweedFS does not; keys of ours have none."""
    folder.put("back\\slash/x", b"1")
    assert [stored.key for stored in folder.list("back\\")] == ["back\\slash/x"]


def test_lists_are_whole_and_in_order(any_storage: Storage) -> None:
    keys = [f"s/{number:05d}/x" for number in range(1050)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: any_storage.put(key, key.encode()), keys[::-1]))
    any_storage.put("s2/x", b"other")
    assert [stored.key for stored in any_storage.list("s/")] == keys
    assert [stored.key for stored in any_storage.list("s/0100")] == keys[1000:1010]
    assert len(list(any_storage.folders("s/"))) == 1050
    assert list(any_storage.folders("")) == ["s", "s2"]
    any_storage.delete(stored.key for stored in any_storage.list("s/"))
    assert [stored.key for stored in any_storage.list("")] == ["s2/x"]


def test_order_is_that_of_bytes(any_storage: Storage) -> None:
    keys = sorted(["s/a", "s/B", "s/ä", "s/a-", "s/a/b", "s/a.", "s/☃", "s/0"])
    for key in keys:
        if key != "s/a":
            any_storage.put(key, b"")
    assert [stored.key for stored in any_storage.list("s/")] == [key for key in keys if key != "s/a"]


def test_only_one_makes_a_new_object(any_storage: Storage) -> None:
    assert any_storage.capabilities()["conditional put"] == "yes"
    for round_ in range(2):
        ready = threading.Barrier(4)

        def attempt(number: int, key: str = f"s/lease-{round_}", ready: threading.Barrier = ready) -> bool:
            ready.wait()
            return any_storage.put_new(key, b"%d" % number)

        with ThreadPoolExecutor(4) as pool:
            won = list(pool.map(attempt, range(4)))
        assert won.count(True) == 1
        assert any_storage.get(f"s/lease-{round_}") == b"%d" % won.index(True)


def test_readers_see_the_old_or_the_new_and_nothing_between(any_storage: Storage) -> None:
    bodies = [bytes([number]) * 400_000 for number in range(2)]
    any_storage.put("s/one", bodies[0])
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number ^= 1
            any_storage.put("s/one", bodies[number])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            assert any_storage.get("s/one") in bodies
    finally:
        stop.set()
        writer.join()


def test_its_time_is_near_ours(any_storage: Storage) -> None:
    assert abs(any_storage.now() - datetime.now(UTC)) < timedelta(seconds=5)
    assert any_storage.now().tzinfo is not None


def test_two_prefixes_do_not_meet(any_settings: StoreSettings) -> None:
    one = open_storage(any_settings)
    two = open_storage(replace(any_settings, prefix=f"{any_settings.prefix}2"))
    one.put("s/x", b"1")
    two.put("s/y", b"2")
    assert [stored.key for stored in one.list("")] == ["s/x"]
    assert [stored.key for stored in two.list("")] == ["s/y"]
    for storage in (one, two):
        storage.close()


def test_a_bucket_is_made_by_whoever_writes(s3_settings: StoreSettings) -> None:
    settings = replace(s3_settings, bucket=f"new-{uuid4().hex[:8]}")
    for _ in range(2):
        with pytest.raises(StoreMissingError, match=f"no bucket {settings.bucket}; check MINIO_ENDPOINT"):
            open_storage(settings, make=False)
    storage = open_storage(settings)
    open_storage(settings, make=False).close()
    storage.put("s/x", b"1")
    assert storage.get("s/x") == b"1"
    storage.close()


def test_a_folder_has_readable_names(folder: FolderStorage) -> None:
    folder.put("default/20261121T030000Z-7f3a/postgres/my db.dump.zst/000000", b"x")
    folder.put("default/x/.backup", b"x")
    assert (folder.folder / "default/20261121T030000Z-7f3a/postgres/my db.dump.zst/000000").read_bytes() == b"x"
    assert (folder.folder / "default/x/%2Ebackup").exists()


def test_a_folder_stays_inside_itself(folder: FolderStorage) -> None:
    outside = folder.folder.parent / "outside"
    outside.write_text("untouched")
    for key in ("../outside", "a/../../outside", "../../etc/passwd", "/etc/passwd"):
        try:
            folder.put(key, b"x")
        except ValueError:
            continue
        folder.delete([key])
    assert outside.read_text() == "untouched"
