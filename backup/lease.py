"""One run, prune or sweep at a time, whoever starts it: a lease object in the store, `<source>/lease.json`.

It names its holder and expires by the store's clock unless it is renewed, which a thread does. An expired lease, or one
whose holder is known to be dead, is taken over: contenders first claim it under a name made from its id, which only
one of them can create, and the winner looks once more before it writes. Where a store has no conditional PUT, the one
that wrote last holds it after a pause. Points have names of their own, so a race lost against all odds costs load and
never data; the holder looks again before it writes its manifest.
"""

import contextlib
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Literal, Self

from backup.errors import BackupError, LockedError, StoreError
from backup.layout import claim_key, lease_key
from backup.manifest import rfc3339
from backup.owner import Owner
from backup.storage.base import Storage

Purpose = Literal["run", "prune"]
TTL = 60.0
# Of its life: when it is renewed, and how long before its end its holder stops trusting it. A store's clock tells
# seconds only, so that both who writes and who reads it may be wrong by one.
RENEW_AT = 0.25
MARGIN = 0.2
LEAST_MARGIN = 1.5
SETTLE = 1.5
ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the lease object says. Times are the store's, RFC 3339 in UTC."""

    id: str
    owner: Owner
    purpose: str
    since: str
    expires: str

    def ended(self, now: datetime) -> bool:
        """Whether anybody may take it over."""
        return datetime.fromisoformat(self.expires) <= now or self.owner.is_dead()

    def __str__(self) -> str:
        return f"{self.owner} since {self.since} for a {self.purpose}"


def read_lease(storage: Storage, key: str) -> Held | None:
    """The lease or claim at `key`; None when there is none. What cannot be read is nobody's and has ended."""
    try:
        data = storage.get(key)
    except KeyError:
        return None
    try:
        document: dict[str, Any] = json.loads(data)
        known = {one.name: document[one.name] for one in fields(Held)}
        held = Held(**{**known, "owner": Owner.of(known["owner"])})
        datetime.fromisoformat(held.expires).astimezone(UTC)
    except (KeyError, ValueError, TypeError, AttributeError):
        return Held(
            id=f"damaged-{hashlib.sha256(data).hexdigest()[:16]}",
            owner=Owner(instance="nobody known", host="unknown", pid=0),
            purpose="run",
            since=rfc3339(EPOCH),
            expires=rfc3339(EPOCH),
        )
    return held


EPOCH = datetime.fromtimestamp(0, UTC)


class Lease:
    """The right to work on a source's points, once `acquire` has returned. Used as a context manager it is released.

    Given the store, the source, who asks and for what, seconds it lives without being renewed, and the pause after
    which a store without conditional PUT is believed. `lost` is called once, in the renewing thread, when it is lost.
    """

    def __init__(
        self,
        storage: Storage,
        source: str,
        *,
        owner: Owner,
        purpose: Purpose,
        ttl: float = TTL,
        settle: float = SETTLE,
        lost: Callable[[BackupError], object] | None = None,
    ) -> None:
        self.id = secrets.token_hex(8)
        self.owner = owner
        self._storage = storage
        self._source = source
        self._key = lease_key(source)
        self._purpose = purpose
        self._ttl = ttl
        self._settle = settle
        self._lost = lost
        self._since = ""
        self._trusted_until = 0.0
        self._trust = ttl - max(ttl * MARGIN, LEAST_MARGIN)
        self._failure: BackupError | None = None
        self._stop = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._renew_on, name="lease", daemon=True)

    def acquire(self, wait: float = 0.0) -> Self:
        """Takes the lease, and keeps it until `release`. Given `wait`, tries for so many seconds while it is held.

        Raises LockedError, which says who holds it, since when and for what, and StoreError.
        """
        until = time.monotonic() + wait
        while not self._thread.is_alive():
            try:
                self._take()
                self._thread.start()
            except LockedError:
                if time.monotonic() >= until:
                    raise
                time.sleep(min(2.0, self._ttl / 10))
        return self

    def check(self) -> None:
        """Raises when the lease is known to be lost: LockedError when another has it, StoreError when it ran out."""
        if self._failure is None and time.monotonic() > self._trusted_until:
            self._fail(_ran_out())
        if self._failure is not None:
            raise self._failure

    def recheck(self) -> None:
        """Renews it and looks in the store that it is ours: to be called before anything that must happen once only.

        Raises like `check`.
        """
        self.check()
        self._renew()
        self.check()

    def release(self, wait: float = 10.0) -> None:
        """Gives it back, in no more than `wait` seconds. Never raises: what cannot be given back expires."""
        self._stop.set()
        thread = threading.Thread(target=self._give_back, name="lease", daemon=True)
        thread.start()
        thread.join(wait)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def _take(self) -> None:
        """Raises LockedError when another holds it or is about to."""
        for _ in range(ROUNDS):
            asked = time.monotonic()
            now = self._storage.now()
            self._since = rfc3339(now)
            data = self._written(now)
            if self._storage.put_new(self._key, data) or self._take_over(now, data):
                break
        else:
            raise LockedError("others take and release the lease in quick succession", "try again")
        if self._storage.capabilities().get("conditional put") != "yes":
            time.sleep(self._settle)
        held = read_lease(self._storage, self._key)
        if held is None or held.id != self.id:
            raise _locked(held) if held else LockedError("the lease was removed by somebody else", "try again")
        self._trusted_until = asked + self._trust
        self.check()

    def _take_over(self, now: datetime, data: bytes) -> bool:
        """Writes our lease over one that has ended. False when there was none any more.

        Raises LockedError when it has not ended, or another contender came first.
        """
        ended = read_lease(self._storage, self._key)
        if ended is None:
            return False
        if not ended.ended(now):
            raise _locked(ended)
        claims = [claim_key(self._source, ended.id)]
        while not self._storage.put_new(claims[-1], data):
            claim = read_lease(self._storage, claims[-1])
            if claim is None or not claim.ended(now):
                raise _locked(claim or ended)
            # Whoever claimed it has died over it: claim the claim.
            claims.append(claim_key(self._source, claim.id))
        held = read_lease(self._storage, self._key)
        if held is None or held.id != ended.id:
            # Our claim came after somebody else's take-over, whose claims are cleared away by now.
            self._storage.delete(claims[-1:])
            if held is None:
                return False
            raise _locked(held)
        self._storage.put(self._key, data)
        self._storage.delete(claims)
        return True

    def _renew_on(self) -> None:
        """Renews until released or lost. A store that fails for a moment is asked again, until the trusted time."""
        often = self._ttl * RENEW_AT
        pause = often
        while not self._stop.wait(pause) and self._failure is None:
            try:
                self._renew()
                pause = often
            except StoreError:
                pause = often / 4
            if time.monotonic() > self._trusted_until:
                self._fail(_ran_out())

    def _renew(self) -> None:
        with self._writing:
            asked = time.monotonic()
            held = read_lease(self._storage, self._key)
            now = self._storage.now()
            if held is None or held.id != self.id:
                self._fail(_locked(held) if held else LockedError("the lease was removed from the store", "run again"))
            elif time.monotonic() > self._trusted_until or held.ended(now):
                self._fail(_ran_out())
            else:
                self._storage.put(self._key, self._written(now))
                self._trusted_until = asked + self._trust

    def _give_back(self) -> None:
        # After the trusted time another may hold it, whose lease a delete would remove.
        with self._writing, contextlib.suppress(StoreError):
            held = read_lease(self._storage, self._key)
            if held is not None and held.id == self.id and time.monotonic() < self._trusted_until:
                self._storage.delete([self._key])
            self._trusted_until = 0.0

    def _written(self, now: datetime) -> bytes:
        held = Held(
            id=self.id,
            owner=self.owner,
            purpose=self._purpose,
            since=self._since,
            expires=(now + timedelta(seconds=self._ttl)).isoformat(timespec="milliseconds"),
        )
        return json.dumps(asdict(held), indent=1).encode()

    def _fail(self, error: BackupError) -> None:
        if self._failure is None:
            self._failure = error
            if self._lost is not None:
                self._lost(error)


def _locked(held: Held) -> LockedError:
    return LockedError(
        f"the lease on the backups is held by {held}",
        f"wait for it; if it is dead, its lease ends at {held.expires} and the next try takes it over",
    )


def _ran_out() -> StoreError:
    return StoreError("the lease ran out: the store could not be reached in time to renew it", "see to the store")
