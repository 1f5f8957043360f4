"""Fingerprints of the keys without which restored rows are useless, so that restore can say beforehand which differ.

They are slow to compute and short: whoever reads a manifest learns too little to guess a key from it, and each point
has other ones for the same key.
"""

import hashlib
import hmac
from collections.abc import Mapping

KEYS = ("LITELLM_SALT_KEY", "LITELLM_MASTER_KEY", "ENCRYPTION_KEY", "SALT")
ROUNDS = 100_000
BYTES = 4


def fingerprint(point: str, variable: str, value: str) -> str:
    """The fingerprint of what `variable` holds, in the restore point `point`: eight hexadecimal digits."""
    salt = f"watchkeeper/{point}/{variable}".encode()
    return hashlib.pbkdf2_hmac("sha256", value.encode(), salt, ROUNDS, BYTES).hex()


def fingerprints(point: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Those of every key that `environ` holds, by variable."""
    return {name: fingerprint(point, name, value) for name in KEYS if (value := environ.get(name, "").strip())}


def differing(point: str, kept: Mapping[str, str], environ: Mapping[str, str]) -> list[str]:
    """The variables of `kept` that `environ` holds with another value. What it does not hold cannot be compared."""
    now = fingerprints(point, {name: environ[name] for name in kept if name in environ})
    return [name for name, mark in kept.items() if name in now and not hmac.compare_digest(now[name], mark)]
