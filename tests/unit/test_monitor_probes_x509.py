"""Certificates read by hand say what a library says, and nonsense is refused."""

import contextlib
import ssl
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from monitor.probes.tls import weigh
from monitor.probes.x509 import Certificate, read_certificate

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
CA = trustme.CA(organization_name="Ümlaut & Söhne")


def der_of(cert: trustme.LeafCert) -> bytes:
    return ssl.PEM_cert_to_DER_cert(cert.cert_chain_pems[0].bytes().decode())


@pytest.mark.parametrize(
    "end", [NOW + timedelta(days=5), datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)]
)
def test_the_fields_are_those_a_library_reads(end: datetime) -> None:
    der = der_of(CA.issue_cert("a.example", common_name="shop ä", organization_name="us", not_after=end))
    found, expected = read_certificate(der), x509.load_der_x509_certificate(der)
    assert found.not_after == expected.not_valid_after_utc == end
    assert found.not_before == expected.not_valid_before_utc
    assert found.subject == "shop ä"
    assert found.issuer == "Ümlaut & Söhne"


def test_a_name_without_a_common_name_is_its_organisation() -> None:
    assert read_certificate(der_of(CA.issue_cert("a.example", organization_name="us"))).subject == "us"


GOOD = der_of(CA.issue_cert("a.example"))


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_one_wrong_byte_is_a_value_or_a_value_error(at: int, byte: int) -> None:
    with contextlib.suppress(ValueError):
        read_certificate(GOOD[:at] + bytes([byte]) + GOOD[at + 1 :])


@given(st.binary(max_size=200))
def test_noise_is_a_value_error(noise: bytes) -> None:
    with pytest.raises(ValueError):
        read_certificate(noise)


@pytest.mark.parametrize("length", range(0, len(GOOD), 37))
def test_a_cut_certificate_is_refused(length: int) -> None:
    with pytest.raises(ValueError):
        read_certificate(GOOD[:length])


@pytest.mark.parametrize(
    ("left", "verdict", "code", "says"),
    [
        (timedelta(days=14), "pass", "", "ends in 14 days"),
        (timedelta(days=13, hours=23), "warn", "expiring", "ends in 13 days, on 2026-12-05"),
        (timedelta(days=1, hours=1), "warn", "expiring", "ends in 1 day,"),
        (timedelta(seconds=1), "warn", "expiring", "ends in 0 days"),
        (timedelta(0), "fail", "expired", "ended 0 days ago"),
        (timedelta(days=-400), "fail", "expired", "ended 400 days ago, on 2025-10-17"),
    ],
)
def test_the_days_left_decide(left: timedelta, verdict: str, code: str, says: str) -> None:
    found = Certificate(not_before=NOW - timedelta(days=900), not_after=NOW + left, issuer="i", subject="s")
    answer = weigh(found, 14, NOW)
    assert (answer.verdict, answer.code) == (verdict, code)
    assert says in answer.text
