"""Stores that are busy, break, hang, are full, refuse, or are none: told in words; only what may pass tried again."""

import os
import socket
import ssl
import subprocess
import sys
import textwrap
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
import urllib3

from backup.errors import (
    BackupError,
    SettingsError,
    StoreDeniedError,
    StoreError,
    StoreFullError,
    StoreMissingError,
)
from backup.storage.folder import TEMPORARIES, FolderStorage
from backup.storage.s3 import S3Storage
from backup.storage.table import open_storage
from backup.stream import MIB, PieceWriter
from config.backup_store import StoreSettings
from config.secret import Secret

POINT = "default/20261121T030000Z-7f3a/"


def quick(settings: StoreSettings, **arguments: Any) -> S3Storage:
    """A store with short pauses and time-outs."""
    return S3Storage(settings, **{"first_delay": 0.02, "timeout": urllib3.Timeout(connect=1.0, read=1.0), **arguments})


def failure(call: Callable[[], object], settings: StoreSettings) -> StoreError:
    """The StoreError that `call` raises, which shows no key, nor does its traceback."""
    with pytest.raises(StoreError) as raised:
        call()
    shown = "".join(traceback.format_exception(raised.value))
    for key in (settings.access_key, settings.secret_key):
        assert key is None or key.reveal() not in shown
    assert raised.value.remedy
    return raised.value


USES: dict[str, Callable[[S3Storage], object]] = {
    "put": lambda storage: storage.put("s/new", b"new"),
    "put_new": lambda storage: storage.put_new("s/newer", b"newer"),
    "get": lambda storage: storage.get("s/one"),
    "stat": lambda storage: storage.stat("s/one"),
    "list": lambda storage: list(storage.list("s/")),
    "folders": lambda storage: list(storage.folders("")),
    "delete": lambda storage: storage.delete(["s/one"]),
    "now": lambda storage: storage.now(),
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("how", ["500", "503", "429", "reset", "after"])
def test_what_passes_is_tried_again(proxy: Any, proxied: StoreSettings, fault: Any, use: str, how: str) -> None:
    storage = quick(proxied)
    storage.put("s/one", b"one")
    storage.capabilities()
    made = {
        "500": fault(status=500, code="InternalError"),
        "503": fault(status=503, code="SlowDown"),
        "429": fault(status=429, code="TooManyRequests"),
        "reset": fault(how="reset"),
        "after": fault(how="after"),
    }[how]
    before = len(proxy.seen)
    proxy.faults = lambda count, *_: made if count <= before + 2 else None
    given = USES[use](storage)
    assert len(proxy.seen) >= before + 3
    assert {
        "put_new": lambda: given is True and storage.get("s/newer") == b"newer",
        "put": lambda: storage.get("s/new") == b"new",
        "get": lambda: given == b"one",
        "stat": lambda: given is not None,
        "list": lambda: len(given) == 1,  # type: ignore[arg-type]
        "folders": lambda: given == ["s"],
        "delete": lambda: storage.stat("s/one") is None,
        "now": lambda: given is not None,
    }[use]()
    storage.close()


@pytest.mark.parametrize("mebibytes", [5, 6, 33])
def test_an_object_is_one_put_whatever_its_size(proxy: Any, proxied: StoreSettings, mebibytes: int) -> None:
    """minio-py would make a multipart upload of more than 5 MiB, which a kill leaves behind where no list shows it."""
    storage = quick(proxied, timeout=urllib3.Timeout(connect=10.0, read=20.0))
    storage.put("s/x", b"x" * (mebibytes * MIB + 1))
    assert [method for method, _ in proxy.seen] == ["PUT"]
    stored = storage.stat("s/x")
    assert stored is not None
    assert stored.size == mebibytes * MIB + 1
    storage.close()


def test_patience_ends(proxy: Any, proxied: StoreSettings, fault: Any) -> None:
    storage = quick(proxied, attempts=3)
    proxy.faults = lambda *_: fault(status=503, code="SlowDown")
    error = failure(lambda: storage.put("s/x", b"x"), proxied)
    assert error.transient
    assert "SlowDown" in error.what
    assert len(proxy.seen) == 3


def test_a_hanging_store_is_given_up(proxy: Any, proxied: StoreSettings, fault: Any) -> None:
    storage = quick(proxied, attempts=2, timeout=urllib3.Timeout(connect=0.3, read=0.3))
    proxy.faults = lambda *_: fault(how="hang")
    began = time.monotonic()
    assert "no answer in time" in failure(lambda: storage.get("s/x"), proxied).what
    assert time.monotonic() - began < 3


def test_half_an_answer_is_none(proxy: Any, proxied: StoreSettings, fault: Any) -> None:
    storage = quick(proxied)
    storage.put("s/x", b"x" * 300_000)
    before = len(proxy.seen)
    proxy.faults = lambda count, *_: fault(how="cut") if count == before + 1 else None
    assert storage.get("s/x") == b"x" * 300_000
    assert len(proxy.seen) == before + 2
    proxy.faults = lambda *_: fault(how="cut")
    assert "connection broke" in failure(lambda: storage.get("s/x"), proxied).what


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (507, "XMinioStorageFull", StoreFullError, "it is full"),
        (507, "", StoreFullError, "it is full"),
        (403, "XMinioAdminBucketQuotaExceeded", StoreFullError, "it is full"),
        (403, "AccessDenied", StoreDeniedError, "MINIO_ACCESS_KEY|allow it list, get, put and delete"),
        (403, "InvalidAccessKeyId", StoreDeniedError, "MINIO_ACCESS_KEY"),
        (403, "SignatureDoesNotMatch", StoreDeniedError, "MINIO_SECRET_KEY"),
        (403, "RequestTimeTooSkewed", StoreError, "clock"),
        (400, "AuthorizationHeaderMalformed", StoreError, "MINIO_REGION"),
        (404, "NoSuchBucket", StoreMissingError, "BACKUP_BUCKET"),
        (418, "Teapot", StoreError, "Teapot"),
    ],
)
def test_what_stays_is_told_at_once(
    proxy: Any, proxied: StoreSettings, fault: Any, status: int, code: str, kind: type[StoreError], words: str
) -> None:
    storage = quick(proxied)
    proxy.faults = lambda *_: fault(status=status, code=code)
    error = failure(lambda: storage.put("s/x", b"x"), proxied)
    assert type(error) is kind
    assert any(word in str(error) for word in words.split("|"))
    assert not error.transient
    assert len(proxy.seen) == 1
    # The same answer to a request without a body of its own, and to a presigned one.
    assert type(failure(lambda: storage.put_new("s/x", b"x"), proxied)) is kind


@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [(200, "text/html", b"<html>console</html>"), (404, "text/plain", b"404 page not found"), (200, "", b"{}")],
)
def test_what_is_no_s3(
    proxy: Any, proxied: StoreSettings, fault: Any, status: int, content_type: str, body: bytes
) -> None:
    proxy.faults = lambda *_: fault(status=status, content_type=content_type, body=body)
    error = failure(lambda: open_storage(proxied), proxied)
    assert "MINIO_ENDPOINT" in error.remedy


def test_a_bucket_that_may_not_be_made(proxy: Any, proxied: StoreSettings, fault: Any) -> None:
    settings = replace(proxied, bucket="missing-bucket")
    proxy.faults = lambda _, method, __: fault(status=403, code="AccessDenied") if method == "PUT" else None
    error = failure(lambda: open_storage(settings), proxied)
    assert isinstance(error, StoreDeniedError)
    assert "has no bucket missing-bucket, and it could not be made" in error.what
    assert "BACKUP_BUCKET" in error.remedy


def test_a_read_only_key_reads(proxy: Any, proxied: StoreSettings, fault: Any) -> None:
    storage = open_storage(proxied)
    storage.put("s/x", b"x")
    denied = fault(status=403, code="AccessDenied")
    proxy.faults = lambda _, method, __: denied if method in ("PUT", "DELETE", "POST") else None
    assert storage.get("s/x") == b"x"
    assert len(list(storage.list(""))) == 1
    for call in (
        lambda: storage.put("s/y", b"y"),
        lambda: storage.put_new("s/y", b"y"),
        lambda: storage.delete(["s/x"]),
    ):
        assert isinstance(failure(call, proxied), StoreDeniedError)
    storage.close()


def test_a_store_that_refuses_deletes_among_many(proxy: Any, proxied: StoreSettings, fault: Any) -> None:
    body = b"<DeleteResult><Error><Key>x</Key><Code>AccessDenied</Code><Message>no</Message></Error></DeleteResult>"
    storage = quick(proxied)
    proxy.faults = lambda _, method, __: fault(status=200, body=body) if method == "POST" else None
    assert isinstance(failure(lambda: storage.delete(["s/x", "s/y"]), proxied), StoreDeniedError)


def test_a_store_without_multi_delete(proxy: Any, proxied: StoreSettings, fault: Any) -> None:
    storage = quick(proxied)
    storage.put("s/x", b"x")
    storage.put("s/y", b"y")
    missing = fault(status=501, code="NotImplemented")
    proxy.faults = lambda _, method, __: missing if method == "POST" else None
    storage.delete(["s/x", "s/y", "s/z"])
    assert list(storage.list("")) == []
    storage.close()


@pytest.mark.parametrize(("how", "says"), [("ignore", "it overwrote"), ("501", "does not know If-None-Match")])
def test_a_store_without_conditional_put(proxy: Any, proxied: StoreSettings, fault: Any, how: str, says: str) -> None:
    made = fault(how="ignore") if how == "ignore" else fault(status=501, code="NotImplemented")
    proxy.faults = lambda _, __, path: made if "X-Amz-Signature" in path else None
    storage = quick(proxied)
    assert says in storage.capabilities()["conditional put"]
    assert storage.put_new("s/x", b"1")
    assert not storage.put_new("s/x", b"2")
    assert storage.get("s/x") == b"1"
    assert [stored.key for stored in storage.list("")] == ["s/x"]
    storage.close()


def test_wrong_keys_of_a_real_store(s3_settings: StoreSettings) -> None:
    canary = Secret("c4n4ryS3cretThatIsWrong")
    wrong = replace(s3_settings, secret_key=canary)
    error = failure(lambda: open_storage(wrong), wrong)
    assert isinstance(error, StoreDeniedError)
    assert "MINIO_SECRET_KEY" in error.remedy
    unknown = replace(s3_settings, access_key=canary)
    error = failure(lambda: open_storage(unknown), unknown)
    assert isinstance(error, StoreDeniedError)
    assert "MINIO_ACCESS_KEY" in error.remedy


def test_nothing_listens(s3_settings: StoreSettings) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        settings = replace(s3_settings, endpoint=f"127.0.0.1:{unheard.getsockname()[1]}")
        assert "nothing listens" in failure(lambda: quick(settings).get("s/x"), settings).what


def test_https_asked_of_http(s3_settings: StoreSettings) -> None:
    settings = replace(s3_settings, secure=True)
    assert "MINIO_SECURE=false" in failure(lambda: quick(settings).get("s/x"), settings).remedy


def test_http_asked_of_https(proxy: Any, proxied: StoreSettings, fault: Any) -> None:
    body = b"Client sent an HTTP request to an HTTPS server.\n"
    proxy.faults = lambda *_: fault(status=400, content_type="text/plain; charset=utf-8", body=body)
    assert "MINIO_SECURE=true" in failure(lambda: quick(proxied).get("s/x"), proxied).remedy


def test_certificates(s3_settings: StoreSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()
    answer = b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

    def serve() -> None:
        while not stop.is_set():
            try:
                connection, _ = listener.accept()
                with context.wrap_socket(connection, server_side=True) as secured:
                    secured.recv(65_536)
                    secured.sendall(answer)
            except OSError:
                continue

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    settings = replace(s3_settings, secure=True, endpoint=f"127.0.0.1:{listener.getsockname()[1]}")
    assert "SSL_CERT_FILE" in failure(lambda: quick(settings).get("s/x"), settings).remedy
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    error = failure(lambda: quick(settings, attempts=1).get("s/x"), settings)
    assert error.transient
    stop.set()
    listener.close()
    thread.join(2)


def test_proxies_of_the_environment_are_not_asked(s3_settings: StoreSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    storage = open_storage(s3_settings)
    storage.put("s/x", b"x")
    assert storage.get("s/x") == b"x"
    storage.close()


def test_malformed_settings_are_settings_errors(s3_settings: StoreSettings) -> None:
    with pytest.raises(SettingsError):
        S3Storage(replace(s3_settings, region="not a region!"))
    with pytest.raises(SettingsError):
        open_storage(StoreSettings())


def test_a_slow_line_is_not_a_dead_one(s3_settings: StoreSettings) -> None:
    """The time-out is for a block, not for the whole piece: 4 MiB that take 1.5 s go through with 0.5 s."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    took = []

    def serve() -> None:
        connection, _ = listener.accept()
        began, count, data = time.monotonic(), 0, b""
        while b"\r\n\r\n" not in data:
            data += connection.recv(4096)
        count = len(data.partition(b"\r\n\r\n")[2])
        while count < 4 * MIB:
            count += len(connection.recv(65_536))
            time.sleep(0.02)
        took.append(time.monotonic() - began)
        connection.sendall(b'HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Length: 0\r\n\r\n')
        connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    settings = replace(s3_settings, endpoint=f"127.0.0.1:{listener.getsockname()[1]}")
    quick(settings, attempts=1, timeout=urllib3.Timeout(connect=0.5, read=3)).put("s/x", b"x" * (4 * MIB))
    thread.join(5)
    listener.close()
    assert took[0] > 0.8


@pytest.mark.parametrize("nth", [1, 3, 5])
def test_a_store_that_fills_up_leaves_nothing_of_the_dump(
    proxy: Any, proxied: StoreSettings, fault: Any, nth: int
) -> None:
    storage = quick(proxied)
    puts = 0

    def faults(count: int, method: str, path: str) -> Any:
        nonlocal puts
        puts += method == "PUT"
        return fault(status=507, code="XMinioStorageFull") if method == "PUT" and puts >= nth else None

    proxy.faults = faults

    def dump() -> None:
        with PieceWriter(storage, POINT, "postgres/x", piece_bytes=2 * MIB) as writer:
            for _ in range(40):
                writer.write(os.urandom(MIB))
            writer.finish()

    error = failure(dump, proxied)
    assert isinstance(error, StoreFullError)
    assert list(storage.list("")) == []
    assert puts < 12
    storage.close()


@pytest.mark.parametrize("how", ["503", "reset", "after"])
def test_a_dump_goes_through_a_store_that_stumbles(proxy: Any, proxied: StoreSettings, fault: Any, how: str) -> None:
    storage = quick(proxied)
    made = fault(status=503, code="SlowDown") if how == "503" else fault(how=how)
    proxy.faults = lambda count, *_: made if count % 3 == 0 else None
    with PieceWriter(storage, POINT, "postgres/x", piece_bytes=2 * MIB + 4096) as writer:
        for _ in range(20):
            writer.write(os.urandom(MIB))
        written = writer.finish()
    proxy.faults = lambda *_: None
    assert [stored.size for stored in storage.list(POINT)] == [piece.size for piece in written.pieces]
    storage.close()


def test_a_folder_on_a_full_disk(tmp_path: Path) -> None:
    """Files may grow to 1 MiB here, which fails as a full disk does, in the middle of a write."""
    script = """
        import resource, sys
        from pathlib import Path
        from backup.errors import StoreFullError
        from backup.storage.folder import FolderStorage
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        storage = FolderStorage(Path(sys.argv[1]))
        storage.put("s/small", b"x")
        for verb in (storage.put, storage.put_new):
            try:
                verb("s/large", b"x" * (3 << 20))
            except StoreFullError as error:
                print(error)
            else:
                sys.exit("no error")
        print([stored.key for stored in storage.list("")])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), tmp_path],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    lines = done.stdout.splitlines()
    assert "BACKUP_DIR" in lines[0]
    assert lines[-1] == "['s/small']"
    assert list((tmp_path / TEMPORARIES).iterdir()) == []


def test_a_folder_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for call in (lambda storage: storage.put("s/x", b"x"), lambda storage: storage.now()):
        with pytest.raises(BackupError) as raised:
            call(FolderStorage(tmp_path / "file"))
        assert str(tmp_path / "file") in raised.value.what


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreDeniedError, match="let this process's user"):
        FolderStorage(tmp_path / "backups").put("s/x", b"x")
    tmp_path.chmod(0o700)


def test_what_a_killed_writer_left_is_cleared_and_a_live_ones_is_not(tmp_path: Path) -> None:
    temporaries = tmp_path / TEMPORARIES
    temporaries.mkdir()
    for name, age in (("dead", 120), ("young", 1)):
        (temporaries / name).write_bytes(b"half")
        os.utime(temporaries / name, (time.time() - age, time.time() - age))
    script = """
        import fcntl, sys, time
        held = open(sys.argv[1], "xb")
        fcntl.flock(held, fcntl.LOCK_EX)
        print("held", flush=True)
        time.sleep(30)
    """
    live = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), temporaries / "live"], stdout=subprocess.PIPE, text=True
    )
    with live:
        assert live.stdout is not None
        assert live.stdout.readline() == "held\n"
        os.utime(temporaries / "live", (time.time() - 999, time.time() - 999))
        storage = FolderStorage(tmp_path)
        storage.put("s/x", b"x")
        assert sorted(file.name for file in temporaries.iterdir()) == ["live", "young"]
        live.kill()
    FolderStorage(tmp_path).put("s/y", b"y")
    assert [file.name for file in temporaries.iterdir()] == ["young"]
    assert [stored.key for stored in storage.list("")] == ["s/x", "s/y"]


def test_what_a_killed_probe_left_is_cleared_once_it_is_old(proxied: StoreSettings) -> None:
    """Who dies between the two halves of a look at conditional PUT leaves an object outside every point."""
    first = quick(proxied)
    first.put("probe-0123456789abcdef", b"one")
    # Sources may be named like that.
    theirs = "probe-shop-production/20261121T030000Z-7f3a/manifest.json"
    first.put(theirs, b"{}")
    assert first.put_new("default/a", b"x")
    assert {stored.key for stored in first.list("")} == {"default/a", "probe-0123456789abcdef", theirs}

    class Later(S3Storage):
        def now(self) -> datetime:
            return super().now() + timedelta(minutes=10)

    later = Later(proxied)
    assert later.put_new("default/b", b"x")
    assert {stored.key for stored in later.list("")} == {"default/a", "default/b", theirs}
    for storage in (first, later):
        storage.close()
