"""One holder at a time, between threads and between real processes, over folder and S3."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from backup.errors import LockedError, StoreError
from backup.lease import Lease, read_lease
from backup.owner import Owner
from backup.storage.base import Storage
from backup.storage.s3 import S3Storage
from backup.storage.table import open_storage
from config.backup_store import StoreSettings

KEY = "default/lease.json"
ELSEWHERE = Owner(instance="other", host="other-host", pid=7, machine="another boot", started="1")


def lease_on(storage: Storage, **arguments: Any) -> Lease:
    return Lease(storage, "default", **{"owner": Owner.here("test"), "purpose": "run", **arguments})


def put_lease(storage: Storage, *, ends_in: float, owner: Owner = ELSEWHERE, name: str = "0123456789abcdef") -> None:
    held = {
        "id": name,
        "owner": {slot: getattr(owner, slot) for slot in owner.__slots__},
        "purpose": "prune",
        "since": "2026-11-21T03:00:00Z",
        "expires": (storage.now() + timedelta(seconds=ends_in)).isoformat(),
        "a field of a later version": 1,
    }
    storage.put(KEY, json.dumps(held).encode())


def environ_of(settings: StoreSettings) -> dict[str, str]:
    """The variables from which another process reads the same store."""
    common = {"PATH": os.environ["PATH"], "BACKUP_PREFIX": settings.prefix, "PYTHONPATH": os.pathsep.join(sys.path)}
    if settings.folder:
        return {**common, "BACKUP_DIR": str(settings.folder)}
    assert settings.access_key is not None
    assert settings.secret_key is not None
    return {
        **common,
        "MINIO_ENDPOINT": settings.endpoint,
        "MINIO_ACCESS_KEY": settings.access_key.reveal(),
        "MINIO_SECRET_KEY": settings.secret_key.reveal(),
    }


CHILD = """
    import os, sys, time
    from backup.errors import BackupError, LockedError
    from backup.lease import Lease
    from backup.owner import Owner
    from backup.storage.table import open_storage
    from config.backup_store import StoreSettings
    from config.env import Env

    storage = open_storage(StoreSettings.read(Env(os.environ)))
    storage.now()
    print("ready", flush=True)
    line = sys.stdin.readline()
    lease = Lease(storage, "default", owner=Owner.here("child"), purpose="run", ttl=float(sys.argv[1]))
    try:
        lease.acquire()
    except LockedError as error:
        print("locked", error, flush=True)
        sys.exit(3)
    print("held", flush=True)
    for line in sys.stdin:
        try:
            lease.recheck()
            print("still", flush=True)
        except BackupError as error:
            print(type(error).__name__, error, flush=True)
    lease.release()
"""


class Child:
    """Another process that asks for the lease when told to, and says what came of it."""

    def __init__(self, settings: StoreSettings, ttl: float) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(CHILD), str(ttl)],
            env=environ_of(settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.read() == "ready"

    def tell(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def read(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ask(self) -> str:
        self.tell()
        return self.read()

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def child() -> Iterator[Callable[..., Child]]:
    children: list[Child] = []

    def start(settings: StoreSettings, ttl: float = 60.0) -> Child:
        children.append(Child(settings, ttl))
        return children[-1]

    yield start
    for one in children:
        one.close()


def test_of_several_processes_one_wins_and_the_others_say_who(
    any_settings: StoreSettings, child: Callable[..., Child]
) -> None:
    children = [child(any_settings) for _ in range(3)]
    for one in children:
        one.tell()
    answers = [one.read() for one in children]
    winners = [one for one, answer in zip(children, answers, strict=True) if answer == "held"]
    assert len(winners) == 1
    for answer in answers:
        assert answer == "held" or f"held by child (process {winners[0].process.pid} on " in answer
        assert answer == "held" or "for a run; wait for it" in answer
    assert winners[0].ask() == "still"


def test_a_killed_holders_lease_is_taken_over_at_once_on_its_machine(
    any_settings: StoreSettings, any_storage: Storage, child: Callable[..., Child]
) -> None:
    holder = child(any_settings)
    assert holder.ask() == "held"
    with pytest.raises(LockedError, match="held by child"):
        lease_on(any_storage).acquire()
    holder.process.send_signal(signal.SIGKILL)
    holder.process.wait()
    with lease_on(any_storage).acquire() as lease:
        lease.recheck()
    assert any_storage.stat(KEY) is None


def test_of_several_contenders_for_a_dead_lease_one_wins(
    any_settings: StoreSettings, any_storage: Storage, child: Callable[..., Child]
) -> None:
    children = [child(any_settings) for _ in range(3)]
    for round_ in range(2):
        put_lease(any_storage, ends_in=-1, name=f"{round_:016x}")
        contenders = children if round_ == 0 else [child(any_settings) for _ in range(3)]
        for one in contenders:
            one.tell()
        answers = [one.read() for one in contenders]
        assert len([answer for answer in answers if answer == "held"]) == 1
        winner = contenders[answers.index("held")]
        assert winner.ask() == "still"
    assert list(any_storage.list("default/lease.claims/")) == []


def test_a_holder_that_slept_through_its_lease_notices(
    any_settings: StoreSettings, any_storage: Storage, child: Callable[..., Child]
) -> None:
    """Stopped as by a suspended machine: another takes over; woken up, it learns that it is not the holder."""
    sleeper = child(any_settings, 4.0)
    assert sleeper.ask() == "held"
    sleeper.process.send_signal(signal.SIGSTOP)
    with lease_on(any_storage).acquire(wait=15) as lease:
        sleeper.process.send_signal(signal.SIGCONT)
        answer = sleeper.ask()
        assert answer.startswith(("LockedError", "StoreError"))
        lease.recheck()


def test_it_is_renewed(any_storage: Storage) -> None:
    with lease_on(any_storage, ttl=6.0).acquire() as lease:
        first = read_lease(any_storage, KEY)
        time.sleep(3.5)
        lease.check()
        later = read_lease(any_storage, KEY)
        assert first is not None
        assert later is not None
        assert later.id == first.id
        assert datetime.fromisoformat(later.expires) > datetime.fromisoformat(first.expires)
        with pytest.raises(LockedError):
            lease_on(any_storage).acquire()


def test_a_live_lease_of_elsewhere_is_respected_and_waited_for(any_storage: Storage) -> None:
    put_lease(any_storage, ends_in=3)
    with pytest.raises(LockedError, match=r"other \(process 7 on other-host\) since 2026-11-21T03:00:00Z for a prune"):
        lease_on(any_storage).acquire()
    with lease_on(any_storage).acquire(wait=10) as lease:
        lease.recheck()


def test_a_damaged_lease_is_nobodys(any_storage: Storage) -> None:
    for body in (b"", b"{", b"[]", b'{"id": 1}', b"\xff\xfe"):
        any_storage.put(KEY, body)
        with lease_on(any_storage).acquire() as lease:
            lease.recheck()


def test_a_removed_or_foreign_lease_is_lost_and_said_once(any_storage: Storage) -> None:
    lost: list[Exception] = []
    lease = lease_on(any_storage, ttl=4.0, lost=lost.append).acquire()
    put_lease(any_storage, ends_in=60)
    deadline = time.monotonic() + 5
    while not lost and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(lost) == 1
    for call in (lease.check, lease.recheck):
        with pytest.raises(LockedError, match="held by other"):
            call()
    lease.release()
    held = read_lease(any_storage, KEY)
    assert held is not None
    assert held.owner == ELSEWHERE


def test_a_claim_of_one_that_died_over_it_is_claimed_in_turn(any_storage: Storage) -> None:
    put_lease(any_storage, ends_in=-1)
    dead = any_storage.get(KEY).replace(b"0123456789abcdef", b"fedcba9876543210")
    any_storage.put("default/lease.claims/0123456789abcdef.json", dead)
    with lease_on(any_storage).acquire():
        assert list(any_storage.list("default/lease.claims/")) == []


def test_an_old_claim_does_not_overwrite_the_lease_of_who_took_over(any_storage: Storage) -> None:
    """A contender that read the dead lease, slept, and wins its claim after somebody else's take-over is complete."""
    put_lease(any_storage, ends_in=-1)

    class Slow:
        """Lets another one take over between the slow one's first look and its claim."""

        def __getattr__(self, name: str) -> Any:
            return getattr(any_storage, name)

        def put_new(self, key: str, data: bytes) -> bool:
            if "lease.claims" in key and not taken:
                taken.append(lease_on(any_storage).acquire())
            return any_storage.put_new(key, data)

    taken: list[Lease] = []
    with pytest.raises(LockedError, match="held by test"):
        lease_on(Slow()).acquire()  # type: ignore[arg-type]
    taken[0].recheck()
    assert list(any_storage.list("default/lease.claims/")) == []
    taken[0].release()


def test_without_conditional_put_the_last_writer_holds_it(proxy: Any, proxied: StoreSettings, fault: Any) -> None:
    proxy.faults = lambda _, __, path: fault(how="ignore") if "X-Amz-Signature" in path else None
    storages = [S3Storage(proxied, first_delay=0.02) for _ in range(3)]
    for storage in storages:
        assert storage.capabilities()["conditional put"] != "yes"
    ready, results = threading.Barrier(3), []

    def contend(storage: S3Storage) -> None:
        lease = lease_on(storage, settle=1.0)
        ready.wait()
        try:
            results.append(lease.acquire())
        except LockedError as error:
            results.append(error)

    threads = [threading.Thread(target=contend, args=(storage,)) for storage in storages]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    winners = [result for result in results if isinstance(result, Lease)]
    assert len(winners) == 1
    winners[0].recheck()
    winners[0].release()


def test_a_store_that_goes_away_ends_the_trust(proxy: Any, proxied: StoreSettings, fault: Any) -> None:
    storage = S3Storage(proxied, first_delay=0.02, attempts=2)
    lost: list[Exception] = []
    lease = lease_on(storage, ttl=4.0, lost=lost.append).acquire()
    proxy.faults = lambda *_: fault(how="reset")
    deadline = time.monotonic() + 6
    while not lost and time.monotonic() < deadline:
        time.sleep(0.05)
    with pytest.raises(StoreError, match="the lease ran out"):
        lease.check()
    began = time.monotonic()
    lease.release()
    assert time.monotonic() - began < 3
    # It came back; our lease has not been given back, and ends by itself.
    proxy.faults = lambda *_: None
    assert read_lease(storage, KEY) is not None


def test_a_store_that_stumbles_does_not_lose_it(proxy: Any, proxied: StoreSettings, fault: Any) -> None:
    storage = S3Storage(proxied, first_delay=0.02, attempts=2)
    with lease_on(storage, ttl=5.0).acquire() as lease:
        for _ in range(3):
            proxy.faults = lambda *_: fault(status=503, code="SlowDown")
            time.sleep(0.4)
            proxy.faults = lambda *_: None
            time.sleep(1.2)
        lease.recheck()


def test_sources_do_not_lock_each_other(any_settings: StoreSettings) -> None:
    storage = open_storage(any_settings)
    with (
        Lease(storage, "prod", owner=Owner.here("a"), purpose="run").acquire(),
        Lease(storage, "staging", owner=Owner.here("b"), purpose="run").acquire(),
    ):
        assert sorted(storage.folders("")) == ["prod", "staging"]
    storage.close()


def test_this_process_lives_and_one_with_its_number_from_before_does_not() -> None:
    here = Owner.here("test")
    assert not here.is_dead()
    assert not ELSEWHERE.is_dead()
    assert replace(here, started="1").is_dead()
    assert not replace(here, started="1", machine="").is_dead()
    with subprocess.Popen(["true"]) as ended:
        pass
    assert replace(here, pid=ended.pid).is_dead()
