"""Promises of aegis_stream.receiver.verify: senders are verified in constant time."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_stream.receiver import Accepted, Refused, Verifier, sign
from aegis_stream.receiver import verify as verify_module

BODY = b'{"event":{"id":"pflt_1"}}'
KEY = b"k3y"


class MultiDict:
    """Headers of a framework that keeps repeated names."""

    def __init__(self, *pairs):
        self._pairs = pairs

    def items(self):
        return self._pairs


@pytest.fixture
def compared(monkeypatch):
    """The arguments of the calls of compare_digest, in order."""
    pairs = []

    def spy(a, b):
        pairs.append((a, b))
        return hmac.compare_digest(a, b)

    class SpiedHmac:
        compare_digest = staticmethod(spy)
        new = staticmethod(hmac.new)

    monkeypatch.setattr(verify_module, "hmac", SpiedHmac)
    return pairs


@given(st.binary(), st.binary(min_size=1))
def test_what_is_signed_verifies(body, key):
    """A signature from sign() is accepted for the same body and key, with and without its prefix."""
    verifier = Verifier(hmac_key=key)
    signature = sign(body, key)

    assert verifier.verify({"X-Aegis-Signature": signature}, body)
    assert verifier.verify({"x-aegis-signature": signature.removeprefix("sha256=")}, body)
    assert verifier.verify({"X-AEGIS-SIGNATURE": signature.upper()}, body)


@given(st.binary(min_size=1), st.integers(min_value=0), st.integers(1, 255))
def test_any_changed_byte_is_refused(body, position, difference):
    """A body that differs from the signed one in any byte is rejected."""
    position %= len(body)
    changed = body[:position] + bytes([body[position] ^ difference]) + body[position + 1 :]

    assert not Verifier(hmac_key=KEY).verify({"X-Aegis-Signature": sign(body, KEY)}, changed)


@given(st.text(st.characters()), st.text(st.characters()))
def test_no_header_value_raises(authorization, signature):
    """Any headers, also with lone surrogates, get a verdict and no exception."""
    verifier = Verifier(bearer="t0ken", hmac_key=KEY)

    verdict = verifier.verify({"Authorization": authorization, "X-Aegis-Signature": signature}, BODY)

    assert isinstance(verdict, Refused)


def test_the_signature_is_that_of_the_rfc():
    """The signature is HMAC-SHA256 as in RFC 4231, test case 2."""
    digest = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"

    assert sign(b"what do ya want for nothing?", b"Jefe") == f"sha256={digest}"


@pytest.mark.parametrize(
    "authorization", ["Bearer t0ken", "bearer t0ken", "BEARER   t0ken", " Bearer t0ken "], ids=repr
)
def test_the_right_bearer_token_is_accepted(authorization):
    """The case of the scheme and spaces around the token do not matter; the token does."""
    verdict = Verifier(bearer="t0ken").verify({"aUTHORIZATION": authorization}, BODY)

    assert verdict == Accepted()
    assert verdict


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Bearer",
        "Bearer ",
        "t0ken",
        "Bearer T0KEN",
        "Bearer t0ke",
        "Bearer t0ken2",
        "Basic t0ken",
        "Bearer t\xf8ken",
    ],
    ids=repr,
)
def test_a_wrong_bearer_token_is_refused(authorization):
    """Anything but the token is rejected: shorter, longer, another scheme, another case, not ASCII."""
    verdict = Verifier(bearer="t0ken").verify({"Authorization": authorization}, BODY)

    assert verdict == Refused("authorization does not match")
    assert not verdict


def test_a_missing_header_is_named():
    """The reason names every missing header."""
    verdict = Verifier(bearer="t0ken", header=("Api-Key", "s3cret"), hmac_key=KEY).verify({}, BODY)

    assert verdict == Refused("authorization is missing; api-key is missing; x-aegis-signature is missing")


def test_any_header_can_carry_the_secret():
    """The auth header can have any name; its whole value is compared."""
    verifier = Verifier(header=("X-Shared-Secret", "open sesame"))

    assert verifier.verify({"x-shared-secret": "open sesame"}, BODY)
    assert not verifier.verify({"x-shared-secret": "Open sesame"}, BODY)
    assert not verifier.verify({"x-shared-secret-2": "open sesame"}, BODY)


def test_every_secret_is_required():
    """With a token and a key, neither alone is enough."""
    verifier = Verifier(bearer="t0ken", hmac_key=KEY)
    token, signature = {"Authorization": "Bearer t0ken"}, {"X-Aegis-Signature": sign(BODY, KEY)}

    assert verifier.verify({**token, **signature}, BODY)
    assert not verifier.verify(token, BODY)
    assert not verifier.verify(signature, BODY)


@pytest.mark.parametrize(
    "headers",
    [
        MultiDict(("Authorization", "Bearer t0ken"), ("authorization", "Bearer other")),
        MultiDict(("Authorization", "Bearer other"), ("Authorization", "Bearer t0ken")),
        {"Authorization": "Bearer t0ken, Bearer other"},
    ],
)
def test_a_repeated_header_is_refused(headers):
    """A repeated header never matches: a proxy might choose another of its values."""
    assert not Verifier(bearer="t0ken").verify(headers, BODY)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "", "Api-Key": "", "X-Aegis-Signature": ""},
        {"Authorization": "Bearer no", "Api-Key": "x" * 10_000, "X-Aegis-Signature": "sha256=12"},
        {"Authorization": "Bearer \xe9", "Api-Key": "\udcff", "X-Aegis-Signature": "sha256=\xb2"},
        {"Authorization": "Bearer t0ken", "Api-Key": "s3cret", "X-Aegis-Signature": sign(BODY, KEY)},
    ],
    ids=["missing", "empty", "wrong length", "not ASCII", "right"],
)
def test_compare_digest_looks_at_every_secret(compared, headers):
    """Each secret is compared by compare_digest, with equal lengths, also after a wrong one."""
    Verifier(bearer="t0ken", header=("Api-Key", "s3cret"), hmac_key=KEY).verify(headers, BODY)

    assert [expected for _, expected in compared] == [
        hashlib.sha256(secret).digest() for secret in (b"Bearer t0ken", b"s3cret", sign(BODY, KEY).encode())
    ]
    assert {len(side) for pair in compared for side in pair} == {hashlib.sha256().digest_size}


@pytest.mark.parametrize("answer", [True, False])
@pytest.mark.parametrize(
    "secrets", [{"bearer": "t0ken"}, {"header": ("Api-Key", "s3cret")}, {"hmac_key": KEY}], ids=str
)
def test_compare_digest_alone_decides(monkeypatch, answer, secrets):
    """The verdict depends only on compare_digest."""

    class RiggedHmac:
        compare_digest = staticmethod(lambda a, b: answer)
        new = staticmethod(hmac.new)

    monkeypatch.setattr(verify_module, "hmac", RiggedHmac)

    for headers in (
        {},
        {"Authorization": "Bearer t0ken", "Api-Key": "s3cret", "X-Aegis-Signature": sign(BODY, KEY)},
    ):
        assert bool(Verifier(**secrets).verify(headers, BODY)) is answer


def test_a_verdict_repeats_no_secret():
    """Neither expected nor received secrets are in a rejection or in the verifier's repr."""
    verifier = Verifier(
        bearer="expected-token", header=("Api-Key", "expected-key"), hmac_key=b"expected-hmac"
    )
    verdict = verifier.verify(
        {"Authorization": "Bearer came", "Api-Key": "came", "X-Aegis-Signature": "came"}, BODY
    )

    assert "came" not in repr(verdict)
    assert "expected" not in repr(verdict) + repr(verifier)


@pytest.mark.parametrize(
    "secrets",
    [
        {},
        {"bearer": ""},
        {"bearer": "two words"},
        {"bearer": "Bearer t0ken"},
        {"bearer": "t\xf8ken"},
        {"bearer": "t0ken\n"},
        {"hmac_key": b""},
        {"header": ("", "s3cret")},
        {"header": ("Api Key", "s3cret")},
        {"header": ("Api-Key", "")},
        {"header": ("Api-Key", "a\r\nb")},
        {"bearer": "t0ken", "accept_all": True},
    ],
    ids=repr,
)
def test_a_useless_secret_stops_the_start(secrets):
    """A secret that is missing, empty or not valid in a header is an error, and does not accept everybody."""
    with pytest.raises(ValueError, match=r"needs|must be|is empty"):
        Verifier(**secrets)


def test_accept_all_has_to_be_said():
    """A receiver that accepts everybody is possible, if asked for."""
    assert Verifier(accept_all=True).verify({}, BODY)


def test_two_verifiers_make_a_rotation():
    """During a rotation, either secret is accepted."""
    old, new = Verifier(bearer="old"), Verifier(bearer="new")

    for token in ("old", "new"):
        headers = {"Authorization": f"Bearer {token}"}
        assert old.verify(headers, BODY) or new.verify(headers, BODY)
