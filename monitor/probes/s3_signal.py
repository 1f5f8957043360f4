"""What an S3 store lets us do: buckets that others need, an object of our own there and back, MinIO's read quorum."""

import asyncio
import secrets
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from urllib.parse import quote

from alerts.texts import listed
from config.signals import S3SignalParams
from monitor.probes.ask import beside, told_elsewhere
from monitor.probes.base import Answer, Garbled, Outcome, ProbeContext, Verdict, not_asked, not_available
from monitor.probes.fetch import fetch, request
from monitor.probes.s3_store import SKEWED, Store, look, weigh

QUORUM = "/minio/health/cluster/read"
AT_ONCE = 8  # buckets asked for at the same time
OWN_SHARE = 0.8  # of the time for all buckets, so that what was seen by then is told
NAMED = 8  # buckets of which the same is said
LOCK_AGE = 60.0 * 60  # seconds until it is asked again whether a bucket locks what is put into it
REST = 86_400.0  # seconds without a canary where the last one could not be taken away again
# Begins with a dot, as no source of backups may, and has no folder, as every event of Langfuse's has. One for each
# process, written over each time: what a killed one leaves behind is a single object of a hundred bytes.
KEY = f".watchkeeper-canary-{secrets.token_hex(8)}"

# What the plain check tells, whatever is asked: who we are, another region, and that it is still starting.
_PLAIN = frozenset(
    {"InvalidAccessKeyId", "InvalidAccessKey", "UnknownAccessKeyId", "SignatureDoesNotMatch", *SKEWED}
    | {"ExpiredToken", "InvalidToken", "TokenRefreshRequired"}
    | {"PermanentRedirect", "TemporaryRedirect", "AuthorizationHeaderMalformed", "InvalidRegion", "301", "307"}
    | {"XMinioServerNotInitialized", "ServerNotInitialized", "XMinioIAMNotInitialized"}
)
_MISSING = frozenset({"NoSuchBucket", "404"})
_DENIED = frozenset({"AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden", "401", "403"})


async def probe(params: S3SignalParams, *, timeout: float, context: ProbeContext) -> Outcome:
    """Tells one signal. Evidence.sign is the signal's name where it warns or fails, code the S3 error or what it is."""
    tell = {"reads": _reads, "buckets": _buckets, "canary": _canary}[params.signal]
    hidden = (params.secret_key, params.access_key)
    return await beside(lambda: tell(params, timeout, context), timeout=timeout, secrets=hidden)


async def _reads(params: S3SignalParams, timeout: float, context: ProbeContext) -> Answer:
    """Whether enough of MinIO's drives are online to read; the plain check asks for those to write."""
    reply = await fetch(context, request("GET", params.url.rstrip("/") + QUORUM, timeout=timeout), {})
    quorum = reply.headers.get("x-minio-read-quorum", "")
    if "offline" in reply.headers.get("x-minio-server-status", ""):
        return told_elsewhere("MinIO is still starting")
    if not quorum:
        return not_available("only MinIO tells its read quorum, and this is another store")
    if reply.status == 200:
        return Answer(verdict=Verdict.PASS, text=f"enough drives are online to read, which takes {quorum}")
    text = f"fewer than {quorum} drives are online, which reading takes (HTTP {reply.status})"
    return Answer(verdict=Verdict.FAIL, text=text, code=str(reply.status), sign="reads")


async def _buckets(params: S3SignalParams, timeout: float, context: ProbeContext) -> Answer:
    """Whether each of the buckets is there and open to our key."""
    names = tuple(dict.fromkeys(params.buckets))
    if not names:
        return not_available("no bucket is named: set MINIO_BUCKETS")
    left = iter(names)
    found: dict[str, Answer] = {}

    async def some() -> None:
        for bucket in left:
            found[bucket] = await look(Store(replace(params, bucket=bucket), timeout, context))

    loop = asyncio.get_running_loop()
    began = loop.time()
    askers = [asyncio.ensure_future(some()) for _ in range(min(AT_ONCE, len(names)))]
    try:
        ended, _ = await asyncio.wait(askers, timeout=timeout * OWN_SHARE, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for asker in askers:
            asker.cancel()
        await asyncio.gather(*askers, return_exceptions=True)
    trouble = next((error for asker in ended if (error := asker.exception())), None)
    if trouble is not None and not any(answer.verdict == Verdict.FAIL for answer in found.values()):
        raise trouble
    if not found:
        return not_asked()
    return weigh_buckets(found, len(names) - len(found), loop.time() - began)


def weigh_buckets(found: Mapping[str, Answer], unseen: int = 0, seconds: float = 0.0) -> Answer:
    """Gives what it means that the buckets answered like this, and that `unseen` more did not in `seconds`. Pure."""
    sick = {name: answer for name, answer in found.items() if answer.verdict != Verdict.PASS}
    partly = f"{len(found)} of {len(found) + unseen} buckets were looked at in {seconds:.1f} s"
    if not sick and unseen:
        return not_available(f"only {partly}; all of those are there. Name fewer, or raise this check's timeout")
    if not sick:
        words = f"all {len(found)} buckets are there" if len(found) > 1 else f"bucket {next(iter(found))} is there"
        return Answer(verdict=Verdict.PASS, text=words)
    if any(answer.code in _PLAIN or answer.sign == "offline" for answer in sick.values()):
        return told_elsewhere("the store lets nobody in with our key, or is still starting")
    rank = sorted(sick, key=lambda name: (sick[name].code in _DENIED, sick[name].code not in _MISSING))
    well = f"; {len(found) - len(sick)} of {len(found)} are there" if len(found) > len(sick) else ""
    text = "; ".join(_alike({name: sick[name].text for name in rank})) + well + (f"; {partly}" if unseen else "")
    worst = sick[rank[0]]
    verdict = Verdict.WARN if worst.code in _DENIED else Verdict.FAIL
    return Answer(verdict=verdict, text=text, code=worst.code, sign="buckets")


def _alike(texts: Mapping[str, str]) -> Iterator[str]:
    """What is said of each bucket; of those of which the same is said, once and with the names."""
    groups: dict[str, list[str]] = {}
    for name, text in texts.items():
        groups.setdefault(text.removeprefix(f"bucket {name}: "), []).append(name)
    for said, names in groups.items():
        yield texts[names[0]] if len(names) == 1 else f"buckets {listed(names, NAMED)}: {said}"


class _Trouble(Exception):  # noqa: N818 -- an answer, not a fault
    """What the canary met on its way."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.text)
        self.answer = answer


async def _canary(params: S3SignalParams, timeout: float, context: ProbeContext) -> Answer:
    """Puts an object of our own, reads it back and takes it away: a store may answer, and take nothing."""
    bucket = params.bucket or next(iter(params.buckets), None)
    if bucket is None:
        return not_available("no bucket is named to write to: set BACKUP_BUCKET or MINIO_BUCKETS")
    store = Store(replace(params, bucket=bucket), timeout, context)
    place: tuple[Hashable, ...] = ("s3_canary", params.url, bucket, params.access_key)
    now = asyncio.get_running_loop().time()
    stuck: float | None = context.samples.newest(place)
    if stuck is not None and now - stuck < REST:
        return _piles_up(bucket)
    if await context.shared((*place, "lock"), lambda: _locks(store), LOCK_AGE):
        return _piles_up(bucket)
    try:
        version = await _put(store, body := f"{KEY} {secrets.token_hex(8)}".encode())
    except _Trouble as trouble:
        return trouble.answer
    read = await _read_back(store, version, body)
    gone = await _take_away(store, version)
    if gone and version:
        context.samples.forget(place)
        context.samples.since(place, now, REST, now)
    answer = read or gone
    return answer or Answer(verdict=Verdict.PASS, text=f"bucket {bucket} takes an object, gives it back and lets it go")


def _piles_up(bucket: str) -> Answer:
    why = f"bucket {bucket} keeps what is put into it (object lock, or no right to delete versions)"
    return not_available(f"{why}, so canaries would pile up; CANARY_WRITES=off, or name another bucket first")


async def _locks(store: Store) -> bool:
    """Whether the bucket forbids for a time that objects are deleted. A store that cannot tell has no such thing."""
    return "<DefaultRetention>" in (await store.send("GET", "object-lock=")).text


async def _put(store: Store, body: bytes) -> str:
    """Writes the canary; gives its version's id, "" in a bucket without versions. Raises _Trouble, and Garbled."""
    reply = await store.send("PUT", key=KEY, body=body)
    if reply.status >= 300 and weigh(store, reply, reply).code in SKEWED and store.takes_its_time():
        reply = await store.send("PUT", key=KEY, body=body)
    if reply.status < 300:
        if reply.body or "etag" not in reply.headers:
            raise Garbled(f"an object was taken with {reply.kind or 'nothing'}, which is not S3's")
        return str(reply.headers.get("x-amz-version-id", ""))
    refused = weigh(store, reply, reply)
    if refused.code in _PLAIN | _MISSING or refused.sign == "offline":
        raise _Trouble(told_elsewhere(f"the store does not get as far ({refused.code})"))
    if refused.code in _DENIED:
        raise _Trouble(_warn(store, "put_denied", f"may not write: {_reason(store, refused)}"))
    raise _Trouble(replace(refused, sign="canary", text=f"it does not take an object: {refused.text}"))


async def _read_back(store: Store, version: str, body: bytes) -> Answer | None:
    """What is wrong with reading it; None where it is what was written."""
    reply = await store.send("GET", _of(version), key=KEY)
    if reply.status == 200:
        if reply.body == body:
            return None
        text = f"{store.what} took an object and gives back another ({len(reply.body)} bytes instead of {len(body)})"
        return Answer(verdict=Verdict.FAIL, text=text, code="mismatch", sign="canary")
    refused = weigh(store, reply, reply)
    if refused.code in _DENIED:
        return _warn(store, "get_denied", f"may write and not read: {_reason(store, refused)}")
    if refused.code in ("NoSuchKey", "NoSuchVersion", "404"):
        text = f"{store.what} took an object and does not have it: {refused.text}"
        return Answer(verdict=Verdict.FAIL, text=text, code="mismatch", sign="canary")
    return replace(refused, sign="canary", text=f"it does not give an object back: {refused.text}")


async def _take_away(store: Store, version: str) -> Answer | None:
    """What is wrong with deleting it, this very version; None where it is gone."""
    reply = await store.send("DELETE", _of(version), key=KEY)
    if reply.status < 300 or reply.status == 404:
        return None
    refused = weigh(store, reply, reply)
    return _warn(store, "delete_denied", f"may write and not delete: {_reason(store, refused)}")


def _of(version: str) -> str:
    """A version of its own is deleted for good; without it, a bucket with versions would keep all of them."""
    return f"versionId={quote(version, safe='')}" if version else ""


def _reason(store: Store, refused: Answer) -> str:
    """Why it was refused, without the bucket's name, which the sentence around it has."""
    return refused.text.removeprefix(f"{store.what}: ")


def _warn(store: Store, code: str, words: str) -> Answer:
    text = f"{store.what}: our key {words}"
    return Answer(verdict=Verdict.WARN, text=text, code=code, sign="canary")
