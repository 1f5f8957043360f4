"""A signed HEAD of a bucket in an S3 store; a HEAD has no body, so a refusal is asked for its reason.

Requests are signed here, in thirty lines, because importing minio's signer costs the daemon 9 MB; a test holds the
two against each other.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from urllib.parse import quote

import httpx

from config.checks import S3Params
from monitor.probes.attempt import attempt
from monitor.probes.base import Answer, Garbled, Outcome, ProbeContext, Verdict
from monitor.probes.fetch import Reply, fetch, request

EMPTY = hashlib.sha256().hexdigest()
# Asks for what HEAD asks, with the same permission, and is answered with a body.
LIST = "list-type=2&max-keys=0"
_ERROR = re.compile(r"<Error\b.*?<Code>\s*([\w.]+)\s*</Code>", re.DOTALL)
_MESSAGE = re.compile(r"<Message>(.*?)</Message>", re.DOTALL)
_REGION = re.compile(r"<Region>([\w-]+)</Region>")


async def probe(params: S3Params, *, timeout: float, context: ProbeContext) -> Outcome:
    """Asks for the bucket, or for the list of buckets. Evidence.code is the S3 error code, else the HTTP status."""
    secrets = (params.secret_key, params.access_key)
    return await attempt(partial(_ask, _Store(params, timeout, context)), timeout=timeout, secrets=secrets)


@dataclass(frozen=True, slots=True)
class _Store:
    """Where and as whom to ask. Addresses the bucket in the path, which every store understands."""

    params: S3Params
    timeout: float
    context: ProbeContext

    async def send(self, method: str, query: str = "") -> Reply:
        """Sends one request, signed if there are keys."""
        path = f"/{quote(self.params.bucket, safe='')}" if self.params.bucket else "/"
        url = self.params.url.rstrip("/") + path + (f"?{query}" if query else "")
        asked = request(method, url, timeout=self.timeout)
        return await fetch(self.context, asked, sign(asked, self.params, datetime.now(UTC)))


def sign(asked: httpx.Request, params: S3Params, now: datetime) -> dict[str, str]:
    """Gives the headers of AWS Signature Version 4 for a request without a body; none without keys.

    docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
    """
    if not params.access_key or not params.secret_key:
        return {}
    stamp, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    headers = {"host": asked.headers["host"], "x-amz-content-sha256": EMPTY, "x-amz-date": stamp}
    names = ";".join(headers)
    path, _, query = asked.url.raw_path.decode().partition("?")
    canonical = [asked.method, path, query, *(f"{name}:{value}" for name, value in headers.items()), "", names, EMPTY]
    scope = f"{day}/{params.region}/s3/aws4_request"
    to_sign = "\n".join(("AWS4-HMAC-SHA256", stamp, scope, hashlib.sha256("\n".join(canonical).encode()).hexdigest()))
    key = b"AWS4" + params.secret_key.reveal().encode()
    for part in (*scope.split("/"), to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    who = f"AWS4-HMAC-SHA256 Credential={params.access_key.reveal()}/{scope}"
    authorization = f"{who}, SignedHeaders={names}, Signature={key.hex()}"
    return {"x-amz-content-sha256": EMPTY, "x-amz-date": stamp, "authorization": authorization}


async def _ask(store: _Store) -> Answer:
    params = store.params
    if not params.access_key or not params.secret_key:
        return _weigh_open(await store.send("GET", LIST if params.bucket else ""))
    if not params.bucket:
        reply = await store.send("GET")
        return _pass(reply, "the list of buckets") if reply.status == 200 else _weigh(reply, reply)
    reply = await store.send("HEAD")
    if reply.status == 200:
        return _pass(reply, f"bucket {params.bucket}")
    if offline := _offline(reply):
        return offline
    return _weigh(reply, await store.send("GET", LIST))


def _pass(reply: Reply, what: str) -> Answer:
    if reply.kind in ("text/html", "application/json"):
        raise Garbled(f"{what} was answered with {reply.kind}: {reply.text}")
    if offline := _offline(reply):
        return offline
    server = reply.headers.get("server", "")
    facts = {"version": server} if re.search(r"\d", server) else {}
    return Answer(verdict=Verdict.PASS, text=f"{what} is there", facts=facts)


def _offline(reply: Reply) -> Answer | None:
    """MinIO answers before its disks are up, and says so in a header only."""
    status = reply.headers.get("x-minio-server-status", "")
    if "offline" not in status:
        return None
    text = f"HTTP {reply.status} with x-minio-server-status: {status}"
    return Answer(verdict=Verdict.FAIL, text=text, code=str(reply.status), sign="offline")


def _weigh(reply: Reply, reason: Reply) -> Answer:
    """Gives what a refusal proves, from the answer itself and the one that tells why."""
    if offline := _offline(reason):
        return offline
    found = _ERROR.search(reason.text)
    region = reply.headers.get("x-amz-bucket-region") or (_REGION.findall(reason.text) or [""])[0]
    where = f"; the region is {region}" if region else ""
    if found:
        said = (_MESSAGE.findall(reason.text) or [""])[0]
        when = f"; its clock says {reason.headers.get('date', '?')}" if "Skewed" in found[1] else ""
        return Answer(verdict=Verdict.FAIL, text=f"{found[1]}: {said}{where}{when}", code=found[1])
    amazonian = any(name.startswith("x-amz-") for name in (*reply.headers, *reason.headers))
    if amazonian or reply.status >= 500 or reply.status == 429:
        return Answer(verdict=Verdict.FAIL, text=f"HTTP {reply.status} without a reason{where}", code=str(reply.status))
    raise Garbled(f"answered with HTTP {reason.status} {reason.kind}, which is not S3's: {reason.text}")


def _weigh_open(reply: Reply) -> Answer:
    """Without keys any answer of S3's is a sign of life, a refusal above all."""
    found = _ERROR.search(reply.text)
    if found and found[1] in ("AccessDenied", "AllAccessDisabled"):
        return Answer(verdict=Verdict.PASS, text="it answers, and refuses strangers")
    if reply.status == 200 and "<List" in reply.text:
        return _pass(reply, "a listing without keys")
    return _weigh(reply, reply)
