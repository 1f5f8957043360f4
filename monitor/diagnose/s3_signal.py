"""What an S3 store's signals prove. Evidence.sign is the signal, code the S3 error, or what it is about."""

from dataclasses import replace

from config.causes import Cause
from monitor.diagnose.base import Rule
from monitor.diagnose.general import GENERAL
from monitor.diagnose.s3 import S3

# What an object, or a bucket, is refused with means what it means to the plain check.
_ALIKE = (Cause.CAPACITY, Cause.DEPENDENCY, Cause.SERVER_ERROR, Cause.BAD_ANSWER)
_REFUSED = tuple(
    replace(rule, signs=("canary", "buckets"), precise=True, proof=f"{rule.proof}, to an object or a bucket")
    for rule in S3
    if rule.codes and rule.cause in _ALIKE
)

S3_SIGNAL: tuple[Rule, ...] = (
    Rule(
        cause=Cause.CAPACITY,
        precise=True,
        signs=("reads",),
        proof="/minio/health/cluster/read is no 200 and names x-minio-read-quorum",
        says="{title} at {address} has too few drives online to read.",
        remedy="mc admin info shows which drives or nodes are offline: bring those back. Do not format or replace "
        "anything before they are: what is on them is needed.",
    ),
    Rule(
        cause=Cause.NOT_FOUND,
        signs=("buckets",),
        codes=("NoSuchBucket", "404"),
        proof="404 NoSuchBucket for one of MINIO_BUCKETS",
        says="{title} at {address} lacks a bucket that is needed.",
        remedy="Create it (mc mb store/NAME; the template's init-minio.sh does not run by itself), or correct the list "
        "in MINIO_BUCKETS. If it was there yesterday, see whether the volume is new and empty.",
    ),
    Rule(
        cause=Cause.AUTH,
        signs=("buckets",),
        codes=("AccessDenied", "AllAccessDisabled", "AccountProblem", "Forbidden", "401", "403"),
        proof="403 AccessDenied for one of MINIO_BUCKETS, while the key itself is accepted",
        says="{title} at {address} does not let this key into a bucket of MINIO_BUCKETS.",
        remedy="Give the key's policy s3:ListBucket on the bucket the evidence names, or take it off the list. Some "
        "stores hide a bucket that does not exist behind this answer: check that it exists.",
    ),
    Rule(
        cause=Cause.AUTH,
        precise=True,
        signs=("canary",),
        codes=("put_denied",),
        proof="a small object of ours is refused with 403 AccessDenied, while the key itself is accepted",
        says="{title} at {address} lets this key read and not write.",
        remedy="Whoever writes with this key fails, backups first: give its policy s3:PutObject, s3:GetObject and "
        "s3:DeleteObject on the bucket. If the key is meant to read only, set CANARY_WRITES=off.",
    ),
    Rule(
        cause=Cause.AUTH,
        precise=True,
        signs=("canary",),
        codes=("get_denied",),
        proof="a small object of ours is taken, and reading it is refused with 403",
        says="{title} at {address} lets this key write and not read.",
        remedy="Give the key's policy s3:GetObject on the bucket: with what it has, no backup can be verified or "
        "restored. If that is meant so, set CANARY_WRITES=off.",
    ),
    Rule(
        cause=Cause.AUTH,
        precise=True,
        signs=("canary",),
        codes=("delete_denied",),
        proof="a small object of ours is taken, and deleting it is refused",
        says="{title} at {address} lets this key write and not delete.",
        remedy="Give the key's policy s3:DeleteObject on the bucket (s3:DeleteObjectVersion too where it keeps "
        "versions): without it old backups stay until the store is full. If that is meant so, set CANARY_WRITES=off.",
    ),
    Rule(
        cause=Cause.BAD_ANSWER,
        precise=True,
        signs=("canary",),
        codes=("mismatch",),
        proof="a small object of ours is taken, and another one or none is given back",
        says="{title} at {address} takes objects and does not give back what it took.",
        remedy="Do not trust what is written there now. See its log and drives (mc admin heal -n); if a cache or proxy "
        "stands before it, leave it out; two stores behind one name look like this too.",
    ),
    *_REFUSED,
    Rule(
        cause=Cause.SERVER_ERROR,
        precise=True,
        signs=("canary", "buckets"),
        proof="a small object of ours, or a bucket, is refused with any other error",
        says="{title} at {address} answers, and does not do what it is for ({code}).",
        remedy=GENERAL[Cause.SERVER_ERROR].remedy,
    ),
)
