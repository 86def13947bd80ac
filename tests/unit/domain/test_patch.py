"""Promises about changes of a destination: what is omitted stays, and no stored credential follows to another host."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from aegis_stream.domain.destination import DestinationSpec
from aegis_stream.domain.oauth2 import OAuth2
from aegis_stream.domain.patch import DestinationPatch, OAuth2Patch, apply_patch, missing_with_new_trust

SECRETS = ("Bearer st0red", "header-st0red", "client-st0red")
ORIGINS = (
    "https://siem.example.com",
    "https://siem.example.com:8443",
    "http://siem.example.com",
    "https://siem.example.com.evil.example",
    "https://evil.example",
    "https://siem.example.org",
)
SAME_ORIGIN = ("https://siem.example.com", "https://SIEM.example.com:443")
URLS = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(ORIGINS + SAME_ORIGIN),
        st.sampled_from(("", "/", "/in", "/in?x=1", "/@siem.example.com")),
    ),
)
TOKEN_URLS = st.sampled_from(
    ("https://login.example.com/token", "https://login.example.com/other", "https://evil.example/token")
)


CA, OTHER_CA = "-----BEGIN CERTIFICATE-----\nAA==\n", "-----BEGIN CERTIFICATE-----\nBB==\n"


def stored(url: str = "https://siem.example.com/in", *, oauth2: bool = False) -> DestinationSpec:
    """Return a stored configuration with every kind of credential that can be together."""
    client = OAuth2("https://login.example.com/token", "client", SECRETS[2]) if oauth2 else None
    name, value = (None, None) if oauth2 else ("Authorization", SECRETS[0])
    headers = (("X-Key", SECRETS[1]),)
    return DestinationSpec(url, name, value, headers=headers, oauth2=client, ca_certificate=CA)


def patches() -> st.SearchStrategy[DestinationPatch]:
    """Return patches of any fields that a person may change, without secrets of their own that equal stored ones."""
    oauth2 = st.builds(
        OAuth2Patch,
        TOKEN_URLS,
        st.sampled_from(("client", "client-2")),
        st.sampled_from((UNSET, "client-new")),
        st.sampled_from(("", "audit.write")),
    )
    return st.builds(
        DestinationPatch,
        url=st.just(UNSET) | URLS,
        auth_header_name=st.sampled_from((UNSET, None, "X-Other")),
        auth_header_value=st.sampled_from((UNSET, None, "Bearer new")),
        name=st.sampled_from((UNSET, "new name")),
        enabled=st.sampled_from((UNSET, True, False)),
        headers=st.sampled_from(
            (UNSET, (), (("X-Key", "header-new"),), (("x-key", UNSET), ("X-Other", "new")))
        ),
        oauth2=st.sampled_from((UNSET, None)) | oauth2,
        ca_certificate=st.sampled_from((UNSET, UNSET, UNSET, CA, CA.replace("\n", "\r\n"), OTHER_CA, None)),
    )


def origin(url: str) -> str:
    """Return scheme, host and port of one of the URLs above, without what is the same in another spelling."""
    return "/".join(url.lower().split("/")[:3]).removesuffix(":443")


def trust(spec: DestinationSpec) -> list[str] | None:
    """Return the trusted authorities, without line breaks, which mean nothing."""
    return spec.ca_certificate.split() if spec.ca_certificate is not None else None


@given(patches(), st.booleans())
def test_a_stored_credential_never_follows_to_another_host(patch, oauth2):
    """If a patch changes scheme, host, port or the trusted authorities, no stored credential stays, whatever else it changes."""
    before = stored(oauth2=oauth2)

    after = apply_patch(before, patch)

    secrets = {
        after.auth_header_value,
        *(value for _, value in after.headers),
        after.oauth2 and after.oauth2.client_secret,
    }
    if origin(after.url) != origin(before.url) or trust(after) != trust(before):
        assert not secrets & set(SECRETS)
    if after.oauth2 is not None and origin(after.oauth2.token_url) != "https://login.example.com":
        assert after.oauth2.client_secret != SECRETS[2]


@given(patches(), st.booleans())
def test_what_a_patch_gives_is_taken_and_the_rest_stays(patch, oauth2):
    """A patch sets the fields that it gives; all other fields stay the same as long as host and authorities do."""
    before = stored(oauth2=oauth2)

    after = apply_patch(before, patch)

    for one in fields(patch):
        given_value = getattr(patch, one.name)
        if one.name == "oauth2" and given_value not in (UNSET, None):
            for part in ("token_url", "client_id", "scope", "client_secret"):
                new = getattr(given_value, part)
                assert new is UNSET or getattr(after.oauth2, part) == new
        elif one.name == "headers" and given_value is not UNSET:
            for (name, new), (kept_name, value) in zip(given_value, after.headers, strict=True):
                assert (name, value if new is UNSET else new) == (kept_name, value)
        elif given_value is not UNSET:
            assert getattr(after, one.name) == given_value or one.name == "auth_header_name"
        elif origin(after.url) == origin(before.url) and trust(after) == trust(before):
            assert getattr(after, one.name) == getattr(before, one.name)


@pytest.mark.parametrize(
    "url", ["https://siem.example.com:x/", "ftp://siem.example.com/", "", "https://[::1/"]
)
def test_a_url_that_cannot_be_read_counts_as_another_host(url):
    """An unreadable URL gets no stored credential, because its host is unknown."""
    after = apply_patch(stored(), DestinationPatch(url=url))

    assert (after.url, after.auth_header_name, after.auth_header_value, after.headers) == (
        url,
        None,
        None,
        (),
    )


@given(patches(), st.booleans())
def test_what_new_authorities_need_is_asked_for(patch, oauth2):
    """A patch of the trusted authorities lacks exactly the stored credentials that it does not send."""
    before = stored(oauth2=oauth2)

    problems = missing_with_new_trust(before, patch)
    missing = {one.field for one in problems}

    assert all("ca_certificate" in one.message for one in problems)
    held = {"headers", "oauth2" if oauth2 else "auth_header_value"}
    is_new = trust(apply_patch(before, patch)) != trust(before)
    assert missing == ({name for name in held if getattr(patch, name) is UNSET} if is_new else set())


@pytest.mark.parametrize(
    ("url", "missing"), [("https://siem.example.com/in/t0ken", ["url"]), ("https://siem.example.com/in", [])]
)
def test_a_url_that_is_the_credential_must_be_sent_again(url, missing):
    """Without an auth header the URL may be the credential: with new authorities it must be sent as well, if part of it is hidden."""
    patch = DestinationPatch(ca_certificate=OTHER_CA)

    assert [one.field for one in missing_with_new_trust(DestinationSpec(url), patch)] == missing


@pytest.mark.parametrize("change", [lambda pem: pem[:29] + "\n" + pem[29:], lambda pem: f"\r\n {pem}\n"])
def test_the_same_authorities_in_other_lines_are_the_same(change):
    """A certificate with its line breaks at other places is no new one, so the credential stays."""
    patch = DestinationPatch(ca_certificate=change(CA))

    assert patch.ca_certificate != CA
    assert apply_patch(stored(), patch).auth_header_value == stored().auth_header_value
    assert missing_with_new_trust(stored(), patch) == []


def test_a_url_beside_a_credential_need_not_be_sent_again():
    """With an auth header or an OAuth2 client only that is asked for, although a part of the URL is hidden."""
    url, patch = "https://siem.example.com/in/t0ken", DestinationPatch(ca_certificate=OTHER_CA)
    header = DestinationSpec(url, "Authorization", SECRETS[0])
    client = DestinationSpec(url, oauth2=OAuth2("https://login.example.com/token", "client", SECRETS[2]))

    assert [one.field for one in missing_with_new_trust(header, patch)] == ["auth_header_value"]
    assert [one.field for one in missing_with_new_trust(client, patch)] == ["oauth2"]


@pytest.mark.parametrize(
    ("url", "value"), [("http://10.1.2.3/other", SECRETS[0]), ("https://10.1.2.3/other", None)]
)
def test_a_credential_of_plain_http_stays_with_it(url, value):
    """A destination in the own network may use http: its credential stays while scheme, host and port do."""
    after = apply_patch(stored("http://10.1.2.3/in"), DestinationPatch(url=url))

    assert after.auth_header_value == value


def test_a_client_secret_stays_with_its_hosts():
    """An omitted client secret stays while neither the destination's host nor the token endpoint's changes."""
    same = OAuth2Patch("https://login.example.com/other", "client-2")

    stays = apply_patch(stored(oauth2=True), DestinationPatch(oauth2=same))
    moved = apply_patch(stored(oauth2=True), DestinationPatch(url="https://evil.example/", oauth2=same))
    new = apply_patch(stored(), DestinationPatch(auth_header_name=None, auth_header_value=None, oauth2=same))

    assert (stays.oauth2.client_secret, moved.oauth2.client_secret, new.oauth2.client_secret) == (
        SECRETS[2],
        "",
        "",
    )


def test_a_header_keeps_its_value_with_its_host():
    """A header without a value keeps the stored one of that name, however it is written; on another host it has none."""
    headers = (("x-key", UNSET), ("X-New", UNSET))

    stays = apply_patch(stored(), DestinationPatch(headers=headers))
    moved = apply_patch(stored(), DestinationPatch(url="https://evil.example/", headers=headers))
    distrusted = apply_patch(stored(), DestinationPatch(ca_certificate=OTHER_CA, headers=headers))

    assert stays.headers == (("x-key", SECRETS[1]), ("X-New", ""))
    assert moved.headers == distrusted.headers == (("x-key", ""), ("X-New", ""))


def test_no_secret_is_shown_with_a_patch():
    """The text of a patch has no URL, no credential and no client secret."""
    patch = DestinationPatch(
        url="https://siem.example.com/s3cr3t",
        auth_header_value="s3cr3t",
        headers=(("X-Key", "s3cr3t"),),
        oauth2=OAuth2Patch("https://login.example.com/s3cr3t", "client", "s3cr3t"),
    )

    assert "s3cr3t" not in repr(patch)
