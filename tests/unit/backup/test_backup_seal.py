"""Keys and seals."""

import pytest

from backup.errors import ArchiveError, KeyMissingError, SettingsError
from backup.seal import keygen, read_identities, recipient_of, seal, unseal
from config.backup_store import SealSettings
from config.secret import Secret


def test_a_pair_fits_and_hides_its_secret() -> None:
    pair = keygen()
    assert recipient_of(pair.identity) == pair.recipient
    assert pair.identity.reveal() not in repr(pair)
    assert unseal(seal(b"data", [pair.recipient]), [pair.identity], "it") == b"data"


def test_any_of_several_keys_opens() -> None:
    one, two, other = keygen(), keygen(), keygen()
    sealed = seal(b"data", [one.recipient, two.recipient])
    assert unseal(sealed, [other.identity, two.identity], "it") == b"data"
    with pytest.raises(KeyMissingError):
        unseal(sealed, [other.identity], "it")


@pytest.mark.parametrize("cut", [1, 20, 70_000])
def test_a_cut_seal_gives_no_byte(cut: int) -> None:
    pair = keygen()
    sealed = seal(b"x" * 200_000, [pair.recipient])
    with pytest.raises(ArchiveError, match="damaged") as raised:
        unseal(sealed[:-cut], [pair.identity], "the piece x")
    assert not isinstance(raised.value, KeyMissingError)


def test_what_is_no_key_is_said_without_showing_it() -> None:
    canary = "AGE-SECRET-KEY-1C4N4RY"
    with pytest.raises(SettingsError) as raised:
        read_identities(SealSettings(identity=Secret(canary)))
    assert canary not in str(raised.value)
    assert raised.value.exit_code == 2


def test_no_identity_is_no_error() -> None:
    assert read_identities(SealSettings()) == ()
