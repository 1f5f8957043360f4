"""Sealing with age: to public keys only, so that whoever writes backups cannot read them.

Each piece of an artifact is an age file of its own (age-encryption.org/v1), which `age -d` opens by hand.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import pyrage

from backup.errors import ArchiveError, KeyMissingError, SettingsError
from config.backup_store import SealSettings
from config.secret import Secret

# What every age file begins with; what does not was never sealed.
MAGIC = b"age-encryption.org/v1\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPair:
    """A new pair: `recipient` seals and may be known to anybody, `identity` opens."""

    recipient: str
    identity: Secret


def keygen() -> KeyPair:
    """A new pair of keys."""
    identity = pyrage.x25519.Identity.generate()
    return KeyPair(recipient=str(identity.to_public()), identity=Secret(str(identity)))


def recipient_of(identity: Secret) -> str:
    """The public key that belongs to a secret one. Raises SettingsError."""
    return str(_identity(identity).to_public())


def read_identities(settings: SealSettings) -> tuple[Secret, ...]:
    """The secret keys that were given, from the variable or from its file. Raises SettingsError when they are none."""
    if settings.identity:
        _identity(settings.identity)
        return (settings.identity,)
    if settings.identity_file is None:
        return ()
    if str(settings.identity_file).startswith("age1"):
        raise SettingsError(
            "BACKUP_AGE_IDENTITY holds a public key, which seals and does not open",
            "give the secret key that belongs to it (AGE-SECRET-KEY-1…), or the file it is in",
        )
    try:
        text = settings.identity_file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no text"
        raise SettingsError(
            f"the file that BACKUP_AGE_IDENTITY names cannot be read: {reason}",
            "give the path of the key file, or the key itself (AGE-SECRET-KEY-1…)",
        ) from None
    lines = [line.strip() for line in text.splitlines()]
    found = tuple(Secret(line) for line in lines if line and not line.startswith("#"))
    if not found:
        raise SettingsError(
            "the file that BACKUP_AGE_IDENTITY names holds no key", "it must hold a line AGE-SECRET-KEY-1…"
        )
    for one in found:
        _identity(one)
    return found


def check_recipients(recipients: Sequence[str]) -> None:
    """Raises SettingsError when one of them is no age public key: before a dump begins, not in its middle."""
    _recipients(recipients)


def seal(data: bytes, recipients: Sequence[str]) -> bytes:
    """`data` as one age file that each of `recipients` can open. Raises SettingsError for one that is no key."""
    return bytes(pyrage.encrypt(data, _recipients(recipients)))


def unseal(data: bytes, identities: Sequence[Secret], where: str) -> bytes:
    """What one age file holds. `where` names it for messages.

    Raises KeyMissingError when none of `identities` opens it, ArchiveError when it is no whole age file.
    """
    if not data.startswith(MAGIC):
        raise ArchiveError(f"{where} is not sealed, and its manifest says it is", "take another restore point")
    if not identities:
        raise KeyMissingError(f"{where} is sealed", "set BACKUP_AGE_IDENTITY to the secret key or its file")
    try:
        return bytes(pyrage.decrypt(data, [_identity(one) for one in identities]))
    except pyrage.DecryptError as error:
        # pyrage says so in words only: "No matching keys found" for a foreign key, else what is broken.
        if "matching key" in str(error).lower():
            raise KeyMissingError(
                f"{where} is sealed, and the key that was given does not open it",
                "set BACKUP_AGE_IDENTITY to the secret key of one of the point's recipients",
            ) from None
        raise ArchiveError(f"{where} is damaged: its seal is broken", "take another restore point") from None


def _recipients(recipients: Sequence[str]) -> "list[pyrage.x25519.Recipient]":
    try:
        return [pyrage.x25519.Recipient.from_str(recipient) for recipient in recipients]
    except pyrage.RecipientError:
        raise SettingsError(
            "BACKUP_AGE_RECIPIENTS holds something that is no age public key", "check it for a lost character"
        ) from None


def _identity(identity: Secret) -> "pyrage.x25519.Identity":
    try:
        return pyrage.x25519.Identity.from_str(identity.reveal().strip())
    except pyrage.IdentityError:
        raise SettingsError(
            "BACKUP_AGE_IDENTITY holds no age secret key",
            "give the line AGE-SECRET-KEY-1… that `python -m backup keygen` printed",
        ) from None
