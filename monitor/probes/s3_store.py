"""How an S3 store is asked, and what its answers prove: for the plain check and the signals.

A HEAD has no body, so a refusal is asked for its reason. A store that refuses our time is asked again with its own, as
Amazon's clients do: our clock may be the wrong one, and that is no outage of the store's.

Requests are signed here, in thirty lines, because importing minio's signer costs the daemon 9 MB; a test holds the
two against each other.
"""

import hashlib
import hmac
import html
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import quote

import httpx

from config.checks import S3Params
from monitor.probes.base import Answer, Garbled, ProbeContext, Verdict
from monitor.probes.fetch import Reply, fetch, request

# Asks for what HEAD asks, with the same permission, and is answered with a body.
# One key, not none: asked for none, MinIO lists a bucket that is not there as an empty one.
LIST = "list-type=2&max-keys=1"
_ERROR = re.compile(r"<Error\b.*?<Code>\s*([\w.]+)\s*</Code>", re.DOTALL)
_MESSAGE = re.compile(r"<Message>(.*?)</Message>", re.DOTALL)
_REGION = re.compile(r"<Region>([\w-]+)</Region>")
_LISTING = re.compile(r"<List(?:BucketResult|AllMyBucketsResult)\b")
# What a store says to a request whose time is not its own.
SKEWED = ("RequestTimeTooSkewed", "RequestExpired")


@dataclass(slots=True)
class Store:
    """Where and as whom to ask. Addresses the bucket in the path, which every store understands.

    `ahead` is how far its clock is before ours as far as it has said so; requests are signed with its time.
    """

    params: S3Params
    timeout: float
    context: ProbeContext
    ahead: timedelta = timedelta()
    date: str = ""

    @property
    def what(self) -> str:
        """What is asked for, for people."""
        return f"bucket {self.params.bucket}" if self.params.bucket else "the list of buckets"

    async def send(self, method: str, query: str = "", *, key: str = "", body: bytes = b"") -> Reply:
        """Sends one request, signed if there are keys; about the object `key` if that is said, with `body`."""
        path = f"/{quote(self.params.bucket, safe='')}" if self.params.bucket else "/"
        path += f"/{quote(key, safe='')}" if key else ""
        url = self.params.url.rstrip("/") + path + (f"?{query}" if query else "")
        asked = request(method, url, timeout=self.timeout, content=body or None)
        headers = sign(asked, self.params, datetime.now(UTC) + self.ahead, body)
        reply = await fetch(self.context, asked, headers)
        self.date = reply.headers.get("date", "")
        return reply

    def takes_its_time(self) -> bool:
        """Signs with the store's time from now on. False when it did not say what time it has."""
        try:
            its = parsedate_to_datetime(self.date)
        except ValueError:
            return False
        if its.tzinfo is None:
            return False
        self.ahead = its - datetime.now(UTC)
        return True


def sign(asked: httpx.Request, params: S3Params, now: datetime, body: bytes = b"") -> dict[str, str]:
    """Gives the headers of AWS Signature Version 4 for a request with this body; none without keys.

    docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
    """
    if not params.access_key or not params.secret_key:
        return {}
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": asked.headers["host"], "x-amz-content-sha256": digest, "x-amz-date": stamp}
    names = ";".join(headers)
    path, _, query = asked.url.raw_path.decode().partition("?")
    canonical = [asked.method, path, query, *(f"{name}:{value}" for name, value in headers.items()), "", names, digest]
    scope = f"{day}/{params.region}/s3/aws4_request"
    to_sign = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256("\n".join(canonical).encode()).hexdigest()))
    key = b"AWS4" + params.secret_key.reveal().encode()
    for part in (*scope.split("/"), to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    who = f"AWS4-HMAC-SHA256 Credential={params.access_key.reveal()}/{scope}"
    authorization = f"{who}, SignedHeaders={names}, Signature={key.hex()}"
    return {"x-amz-content-sha256": digest, "x-amz-date": stamp, "authorization": authorization}


async def look(store: Store) -> Answer:
    """Whether the bucket, or the list of buckets, is there. Raises Garbled, and what the network does."""
    if not store.params.access_key or not store.params.secret_key:
        return _weigh_open(store, await store.send("GET", LIST if store.params.bucket else ""))
    answer = await _question(store)
    if answer.code not in SKEWED:
        return answer
    if not store.takes_its_time():
        text = f"{answer.text}; it does not say what time it has, so our clock may be the wrong one"
        return replace(answer, verdict=Verdict.UNKNOWN, text=text)
    answer = await _question(store)
    apart = f"its clock and ours are {_spoken(store.ahead)} apart"
    if answer.verdict == Verdict.PASS:
        return replace(answer, text=f"{answer.text}; asked with its own time, for {apart}")
    return replace(answer, text=f"{answer.text}; {apart}")


async def _question(store: Store) -> Answer:
    """The signed question, and what the answer proves."""
    if not store.params.bucket:
        reply = await store.send("GET")
        return _pass(store, reply) if reply.status == 200 else weigh(store, reply, reply)
    reply = await store.send("HEAD")
    if told := offline(reply):
        return told
    if reply.status == 200 and _amazonian(reply):
        return _pass(store, reply)
    reason = await store.send("GET", LIST)
    if reply.status == 200 and (reason.status == 200 or _refuses(reason)):
        # Anything may answer 200 to a HEAD; that it is a store shows in what it lists, or in how it refuses to.
        return _pass(store, reason)
    return weigh(store, reply, reason)


def _spoken(apart: timedelta) -> str:
    seconds = abs(apart.total_seconds())
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _amazonian(*replies: Reply) -> bool:
    return any(name.startswith("x-amz-") for reply in replies for name in reply.headers)


def _refuses(reply: Reply) -> bool:
    found = _ERROR.search(reply.text)
    return found is not None and found[1] in ("AccessDenied", "AllAccessDisabled")


def _pass(store: Store, reply: Reply) -> Answer:
    """A pass, if the answer is one only an S3 store gives. Raises Garbled."""
    if told := offline(reply):
        return told
    if reply.body and not (_LISTING.search(reply.text) or _refuses(reply)):
        raise Garbled(f"{store.what} was answered with {reply.kind}, which is not S3's: {reply.text}")
    if not reply.body and not _amazonian(reply):
        raise Garbled(f"{store.what} was answered with HTTP {reply.status} and nothing that shows it is S3")
    server = reply.headers.get("server", "")
    facts = {"version": server} if re.search(r"\d", server) else {}
    return Answer(verdict=Verdict.PASS, text=f"{store.what} is there", facts=facts)


def offline(reply: Reply) -> Answer | None:
    """MinIO answers before its disks are up, and says so in a header only."""
    status = reply.headers.get("x-minio-server-status", "")
    if "offline" not in status:
        return None
    text = f"HTTP {reply.status} with x-minio-server-status: {status}"
    return Answer(verdict=Verdict.FAIL, text=text, code=str(reply.status), sign="offline")


def weigh(store: Store, reply: Reply, reason: Reply) -> Answer:
    """Gives what a refusal proves, from the answer itself and the one that tells why. Raises Garbled."""
    if told := offline(reason):
        return told
    found = _ERROR.search(reason.text)
    region = reply.headers.get("x-amz-bucket-region") or (_REGION.findall(reason.text) or [""])[0]
    where = f"; the region is {region}" if region else ""
    if found:
        said = html.unescape((_MESSAGE.findall(reason.text) or [""])[0])
        when = f"; its clock says {store.date or '?'}" if found[1] in SKEWED else ""
        return Answer(verdict=Verdict.FAIL, text=f"{store.what}: {found[1]}: {said}{where}{when}", code=found[1])
    status = reason.status if reply.status == 200 else reply.status
    if _amazonian(reply, reason) or status >= 500 or status == 429:
        text = f"{store.what}: HTTP {status} without a reason{where}"
        return Answer(verdict=Verdict.FAIL, text=text, code=str(status))
    raise Garbled(f"answered with HTTP {reason.status} {reason.kind}, which is not S3's: {reason.text}")


def _weigh_open(store: Store, reply: Reply) -> Answer:
    """Without keys any answer of S3's is a sign of life, a refusal above all."""
    if _refuses(reply):
        return Answer(verdict=Verdict.PASS, text="it answers, and refuses strangers")
    if reply.status == 200:
        return replace(_pass(store, reply), text=f"{store.what} is there for anybody, without a key")
    return weigh(store, reply, reply)
