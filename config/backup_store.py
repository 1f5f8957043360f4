"""Where backups are kept and how they are sealed: all that reading one back needs."""

import ipaddress
import re
from dataclasses import dataclass
from pathlib import Path

from config.env import Env
from config.secret import Secret
from config.syntax import BUCKET
from config.urls import FORMS, Address, AddressError, parse_address

RECIPIENT = re.compile(r"age1[02-9ac-hj-np-z]{58}")
IDENTITY = re.compile(r"AGE-SECRET-KEY-1[02-9AC-HJ-NP-Z]{58}")
UNSAFE = re.compile(r"[^a-z0-9._-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSettings:
    """Where restore points are kept: in `folder` when there is one, else in the bucket at `endpoint`.

    `endpoint` is host and port without a scheme. Keys begin with `prefix`, then `source`, which is whose points they
    are. `region` None means: us-east-1, or what Amazon's host name says.
    """

    folder: Path | None = None
    endpoint: str = ""
    secure: bool = False
    access_key: Secret | None = None
    secret_key: Secret | None = None
    bucket: str = "backups"
    region: str | None = None
    virtual_host: bool = False
    prefix: str = "watchkeeper"
    source: str = "default"

    @classmethod
    def read(cls, env: Env) -> "StoreSettings":
        """This section from `env`; what cannot be used becomes a problem there."""
        folder = env.text(
            "BACKUP_DIR",
            says="Folder that keeps the backups instead of a bucket. `./backups` when no MINIO_ENDPOINT is set either.",
            kind="path",
        )
        secure = env.flag("MINIO_SECURE", default=False, says="Whether the store is asked over https.")
        address = read_endpoint(env, "MINIO_ENDPOINT", secure if env.is_set("MINIO_SECURE") else None)
        keys = [_first_secret(env, *names) for names in (ACCESS_KEYS, SECRET_KEYS)]
        if folder and env.is_set("MINIO_ENDPOINT"):
            env.note("BACKUP_DIR and MINIO_ENDPOINT are both set; backups go to the folder BACKUP_DIR")
        if address and not folder:
            _ask_for_keys(env, keys)
            if is_private(address.host):
                env.note(
                    "MINIO_ENDPOINT is in the private network of what is backed up: whoever deletes that project, or "
                    "its volumes, deletes the backups too; docs/guides/deploy.md has how to keep a copy elsewhere"
                )
        in_folder = bool(folder) or not env.is_set("MINIO_ENDPOINT")
        return cls(
            folder=Path(folder or "backups") if in_folder else None,
            endpoint=address.place if address else "",
            secure=address.tls if address else secure,
            access_key=keys[0],
            secret_key=keys[1],
            bucket=_bucket(env),
            region=env.text("MINIO_REGION", says="The store's region, where it insists on one."),
            virtual_host=env.choice(
                "MINIO_ADDRESSING",
                ("path", "virtual"),
                default="path",
                says="How the bucket is addressed: in the path, or (newer Railway buckets) in the host name: virtual.",
            )
            == "virtual",
            prefix=_prefix(env),
            source=read_source(env),
        )


ACCESS_KEYS = ("MINIO_ACCESS_KEY", "MINIO_ROOT_USER")
SECRET_KEYS = ("MINIO_SECRET_KEY", "MINIO_ROOT_PASSWORD")


@dataclass(frozen=True, slots=True, kw_only=True)
class SealSettings:
    """Whom backups are sealed to (age public keys; none: not sealed), and the key that opens them.

    `identity` is the text of a key; `identity_file` the file that holds it. At most one of them is set.
    """

    recipients: tuple[str, ...] = ()
    identity: Secret | None = None
    identity_file: Path | None = None

    @classmethod
    def read(cls, env: Env) -> "SealSettings":
        """This section from `env`; what cannot be used becomes a problem there."""
        recipients = listed(
            env, "BACKUP_AGE_RECIPIENTS", says="age public keys (age1…), by comma, that backups are sealed to."
        )
        for recipient in recipients:
            if IDENTITY.fullmatch(recipient.upper()):
                env.problem(
                    "BACKUP_AGE_RECIPIENTS",
                    "holds a secret key, which this daemon must not know",
                    "give the public key (age1…) that belongs to it, and regard the secret one as seen",
                )
            elif not RECIPIENT.fullmatch(recipient):
                env.problem(
                    "BACKUP_AGE_RECIPIENTS",
                    "holds something that is no age public key",
                    "write keys like age1…, by comma; `python -m backup keygen` makes a pair",
                )
        given = env.secret("BACKUP_AGE_IDENTITY", says="The age secret key for restore, or the file that holds it.")
        text = given.reveal() if given else ""
        if not text:
            return cls(recipients=recipients)
        if text.upper().startswith("AGE-SECRET-KEY-"):
            return cls(recipients=recipients, identity=Secret(text.upper()))
        return cls(recipients=recipients, identity_file=Path(text))


def read_source(env: Env) -> str:
    """Whose restore points are ours: BACKUP_SOURCE, else Railway's project and environment, else "default"."""
    given = env.text(
        "BACKUP_SOURCE",
        says="Whose backups these are. Default: Railway's project and environment, else `default`. Two installations "
        "in one bucket need two names.",
    )
    project = env.text("RAILWAY_PROJECT_NAME", says="Set by Railway; the first half of BACKUP_SOURCE's default.")
    where = env.text("RAILWAY_ENVIRONMENT_NAME", says="Set by Railway; the second half of BACKUP_SOURCE's default.")
    railway = "-".join(part for part in (project, where) if part)
    source = safe_name(given or railway) or "default"
    if given and source != given:
        env.note(f"BACKUP_SOURCE: written as {source}, since it is part of every object's key")
    return source


def safe_name(text: str) -> str:
    """`text` in small letters, digits, dot, dash and underscore, at most 100, not beginning with a dot or dash."""
    return UNSAFE.sub("-", text.strip().lower())[:100].strip(".-")


def listed(env: Env, name: str, *, says: str = "") -> tuple[str, ...]:
    """The names in a comma-separated list as they are written, each once."""
    value = env.text(name, says=says, kind="list") or ""
    return tuple(dict.fromkeys(part.strip() for part in value.split(",") if part.strip()))


def read_endpoint(
    env: Env, name: str, secure: bool | None, says: str = "The store's endpoint; any S3 will do."
) -> Address | None:
    """The endpoint in `name`, or None: not set, or a problem now."""
    secret = env.secret(name, says=says)  # somebody may have put a password into it
    value = secret.reveal() if secret else None
    if value is None:
        return None
    try:
        address = parse_address(value, FORMS["s3"], port=9000, secure=secure)
    except AddressError as error:
        env.problem(name, error.message, error.remedy)
        return None
    if address.path or address.user:
        env.problem(name, "holds more than host and port", "write the endpoint alone, such as http://minio:9000")
        return None
    for note in address.notes:
        env.note(f"{name} {note}")
    unmask(env, secret)
    return address


def unmask(env: Env, secret: Secret | None) -> None:
    """Takes the mask off an address that holds host and port alone; else no message could name the server."""
    if secret and not set("@?") & set(secret.reveal()):
        env.secrets.remove(secret)


def is_private(host: str) -> bool:
    """Whether a name or address is known inside one network only. This machine itself is for trying things out."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host != "localhost" and ("." not in host or host.endswith((".internal", ".local")))
    return address.is_private and not address.is_loopback


def _first_secret(env: Env, *names: str) -> Secret | None:
    found = [env.secret(name, says="Key of the store.") for name in names]
    return next((one for one in found if one), None)


def _ask_for_keys(env: Env, keys: list[Secret | None]) -> None:
    for names, key in zip((ACCESS_KEYS, SECRET_KEYS), keys, strict=True):
        if key is None and not any(env.is_set(name) for name in names):
            env.problem(
                names[0], "is not set, and MINIO_ENDPOINT is", f"set {names[0]} (or {names[1]}) to the store's key"
            )


def _bucket(env: Env) -> str:
    bucket = env.text("BACKUP_BUCKET", default="backups", says="The bucket backups go to; made if it may be.")
    if not BUCKET.fullmatch(bucket):
        env.problem(
            "BACKUP_BUCKET",
            "is no bucket's name",
            "write 3 to 63 small letters, digits, dots and dashes, without a slash",
        )
        return "backups"
    return bucket


def _prefix(env: Env) -> str:
    given = env.text("BACKUP_PREFIX", default="watchkeeper", says="What every backup's key begins with.")
    parts = [part for part in given.split("/") if part]
    if not parts or any(part in (".", "..") or not re.fullmatch(r"[\w.=-]{1,100}", part, re.ASCII) for part in parts):
        env.problem(
            "BACKUP_PREFIX", "is no key prefix", "write letters, digits, dot, dash and underscore, parts split by /"
        )
        return "watchkeeper"
    return "/".join(parts)
