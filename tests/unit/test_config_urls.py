"""Addresses as people write them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.secret import Secret
from config.urls import FORMS, Address, AddressError, is_private, parse_address

HTTP, POSTGRES, REDIS = FORMS["http"], FORMS["postgres"], FORMS["redis"]
CANARY = "c4n4ryS3cret"


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("http://litellm.railway.internal:4000", "http://litellm.railway.internal:4000"),
        ("http://litellm.railway.internal:4000/", "http://litellm.railway.internal:4000"),
        ("litellm.railway.internal:4000", "http://litellm.railway.internal:4000"),
        ("  litellm:4000  ", "http://litellm:4000"),
        ("litellm", "http://litellm:4000"),
        ("http://litellm", "http://litellm:4000"),
        ("HTTP://LiteLLM:4000", "http://litellm:4000"),
        ("10.0.0.7:4000", "http://10.0.0.7:4000"),
        ("[::1]:8080", "http://[::1]:8080"),
        ("[fd12::7]", "http://[fd12::7]:4000"),
        ("http://[::1]", "http://[::1]:4000"),
        ("chat.example.com", "https://chat.example.com"),
        ("chat.example.com:443", "https://chat.example.com"),
        ("chat.example.com:8080", "http://chat.example.com:8080"),
        ("http://chat.example.com", "http://chat.example.com"),
        ("https://chat.example.com:8443/base/", "https://chat.example.com:8443/base"),
        ("http://user:secret@litellm:4000/base", "http://litellm:4000/base"),
        ("redis:6379", "http://redis:6379"),
        ("my_service:80", "http://my_service"),
        ("litellm.:4000", "http://litellm:4000"),
    ],
)
def test_an_http_address_is_understood(written: str, url: str) -> None:
    assert parse_address(written, HTTP, port=4000).url == url


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ("redis://litellm:4000", "the scheme redis://"),
        ("thing://litellm:4000", "a scheme"),
        ("http:/litellm:4000", "scheme without ://"),
        ("http:litellm", "scheme without ://"),
        ("http://", "names no host"),
        (":4000", "names no host"),
        ("http://litellm:0", "port out of range"),
        ("http://litellm:65536", "port out of range"),
        ("http://litellm:99999999999999999999", "port out of range"),
        ("http://litellm:http", "port that is not a number"),
        ("http://litellm:٤٠٠٠", "port that is not a number"),
        ("::1", "IPv6 address without brackets"),
        ("http://fd12::7", "IPv6 address without brackets"),
        ("http://[::1", "brackets do not match"),
        ("http://[::1]x", "brackets do not match"),
        ("http://[litellm]:4000", "no IPv6 address"),
        ("http://a:1:2", "more than one colon"),
        ("http://lite llm:4000", "blank in the middle"),
        ("http://${LITELLM_HOST}:4000", "placeholder"),
        ("http://<host>:4000", "placeholder"),
        ("http://lite%llm:4000", "characters no host name has"),
        ("http://bücher:4000", "characters no host name has"),
        ("http://one,two", "several hosts"),
    ],
)
def test_an_address_that_cannot_be_used_says_why_and_what_to_write(written: str, says: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(written, HTTP, port=4000)
    assert says in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg", "postgresql+psycopg2", "POSTGRES"])
def test_a_database_address_may_name_its_driver(scheme: str) -> None:
    address = parse_address(
        f"{scheme}://user:p%40ss%2Fword@db.railway.internal/litellm?pool_size=20", POSTGRES, port=5432
    )
    assert address.scheme == "postgresql"
    assert (address.host, address.port, address.path) == ("db.railway.internal", 5432, "/litellm")
    assert (address.user, address.password) == ("user", Secret("p@ss/word"))
    assert address.options == {"pool_size": "20"}


@pytest.mark.parametrize("scheme", ["mysql", "redis", "http", "sqlite", "postgis", "prisma"])
def test_a_database_address_with_another_scheme_is_refused(scheme: str) -> None:
    with pytest.raises(AddressError, match="not a PostgreSQL address"):
        parse_address(f"{scheme}://user:password@db:5432/litellm", POSTGRES, port=5432)


@pytest.mark.parametrize("character", ["/", "?", "#"])
def test_a_password_that_should_have_been_encoded_is_refused_and_not_repeated(character: str) -> None:
    with pytest.raises(AddressError) as caught:
        parse_address(f"postgresql://user:{CANARY}{character}{CANARY}@db:5432/litellm", POSTGRES, port=5432)
    assert "percent-encode" in caught.value.remedy
    assert CANARY not in str(caught.value)


def test_an_at_sign_in_a_password_is_no_trouble() -> None:
    address = parse_address("redis://:p@ss@redis:6379", REDIS, port=6379)
    assert (address.host, address.password) == ("redis", Secret("p@ss"))


def test_https_on_the_private_network_is_pointed_out() -> None:
    address = parse_address("https://litellm.railway.internal:4000", HTTP, port=4000)
    assert any("http://" in note for note in address.notes)
    assert parse_address("http://litellm.railway.internal:4000", HTTP, port=4000).notes == ()


@pytest.mark.parametrize(
    "host", ["litellm", "a.railway.internal", "10.1.2.3", "100.64.1.2", "::1", "fd00::1", "fe80::1%eth0"]
)
def test_what_only_a_private_network_knows(host: str) -> None:
    assert is_private(host)


@pytest.mark.parametrize("host", ["example.com", "8.8.8.8", "2606:4700::1"])
def test_what_the_world_knows(host: str) -> None:
    assert not is_private(host)


@pytest.mark.parametrize(("secure", "scheme"), [(True, "https"), (False, "http"), (None, "http")])
def test_an_endpoint_without_a_scheme_follows_what_was_said_about_tls(secure: bool | None, scheme: str) -> None:
    assert parse_address("minio:9000", FORMS["s3"], port=9000, secure=secure).scheme == scheme


LABEL = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
HOSTS = st.one_of(
    st.lists(LABEL, min_size=1, max_size=4).map(".".join).filter(lambda host: not host.replace(".", "").isdigit()),
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
)
ADDRESSES = st.builds(
    Address,
    scheme=st.sampled_from(["http", "https"]),
    host=HOSTS,
    port=st.integers(1, 65_535),
    path=st.lists(LABEL, max_size=3).map(lambda parts: "".join(f"/{part}" for part in parts)),
)


@given(ADDRESSES)
@settings(deadline=None, derandomize=True)
def test_an_address_written_and_read_again_is_the_same(address: Address) -> None:
    again = parse_address(address.url + "/", HTTP)
    assert (again.scheme, again.host, again.port, again.path) == (
        address.scheme,
        address.host,
        address.port,
        address.path,
    )


@given(
    before=st.text(max_size=20),
    after=st.text(max_size=20),
    form=st.sampled_from(sorted(FORMS)),
    scheme=st.sampled_from(["", "http://", "redis://", "postgresql://", "postgres:/", "clickhouse://", "x://"]),
)
@settings(deadline=None, derandomize=True, max_examples=400)
def test_no_message_repeats_a_password_wherever_it_stands(before: str, after: str, form: str, scheme: str) -> None:
    written = f"{scheme}user:{before}{CANARY}{after}@host:5432/name"
    seen = shown(written, form)
    assert CANARY.lower() not in seen.lower()


def shown(written: str, form: str) -> str:
    """Everything that may be seen of an address, or of what is wrong with it."""
    try:
        address = parse_address(written, FORMS[form], port=1)
    except AddressError as error:
        return f"{error} {error!r} {error.message} {error.remedy}"
    return f"{address!r} {address.url} {address.place} {address.notes}"
