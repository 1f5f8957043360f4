"""A signed HEAD of a bucket in an S3 store."""

from functools import partial

from config.checks import S3Params
from monitor.probes.attempt import attempt
from monitor.probes.base import Outcome, ProbeContext
from monitor.probes.s3_store import Store, look


async def probe(params: S3Params, *, timeout: float, context: ProbeContext) -> Outcome:
    """Asks for the bucket, or for the list of buckets. Evidence.code is the S3 error code, else the HTTP status."""
    secrets = (params.secret_key, params.access_key)
    return await attempt(partial(look, Store(params, timeout, context)), timeout=timeout, secrets=secrets)
