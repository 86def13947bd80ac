"""Promises of the signature check: known answers, with and without `cryptography`, and no wrong signature accepted."""

import hashlib
import secrets

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from aegis_stream.verify import ed25519

ORDER = 2**252 + 27742317777372353535851937790883648493
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        b"",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        b"\x72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        b"\xaf\x82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").digest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]
CHECKS = [ed25519.verify, ed25519.verify_in_python]


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("key, message, signature", VECTORS)
def test_the_vectors_of_the_rfc_are_right(check, key, message, signature):
    """The signatures of RFC 8032 section 7.1 are right, and wrong for any other message."""
    assert check(bytes.fromhex(key), message, bytes.fromhex(signature))
    assert not check(bytes.fromhex(key), message + b"\0", bytes.fromhex(signature))


@pytest.mark.parametrize("check", CHECKS)
def test_every_single_bit_counts(check):
    """A signature with one bit changed is wrong, whichever it is; so is one by another key."""
    signer, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    key, signature = signer.public_key().public_bytes_raw(), signer.sign(b"text")

    assert check(key, b"text", signature)
    assert not check(other.public_key().public_bytes_raw(), b"text", signature)
    for bit in (*range(0, 512, 37), 255, 511):
        changed = (int.from_bytes(signature, "little") ^ 1 << bit).to_bytes(64, "little")
        assert not check(key, b"text", changed)


@pytest.mark.parametrize("check", CHECKS)
def test_a_scalar_beyond_the_order_is_wrong(check):
    """S + L gives the same point as S: a second spelling of a signature is not accepted."""
    signer = Ed25519PrivateKey.generate()
    signature = signer.sign(b"text")
    scalar = int.from_bytes(signature[32:], "little") + ORDER

    assert not check(
        signer.public_key().public_bytes_raw(), b"text", signature[:32] + scalar.to_bytes(32, "little")
    )


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("key", [b"", b"\xff" * 32, (2).to_bytes(32, "little"), b"\0" * 31])
def test_what_is_no_key_has_signed_nothing(check, key):
    """Keys that are no point of the curve, or too short, make every signature wrong; nothing is raised."""
    assert not check(key, b"", bytes(64))
    assert not check(bytes.fromhex(VECTORS[0][0]), b"", bytes(63))


def test_python_agrees_with_the_library():
    """Plain Python accepts what `cryptography` signs."""
    for _ in range(5):
        signer, message = Ed25519PrivateKey.generate(), secrets.token_bytes(100)
        assert ed25519.verify_in_python(signer.public_key().public_bytes_raw(), message, signer.sign(message))


def test_without_the_library_python_checks(monkeypatch):
    """Where `cryptography` is not installed the same signatures are right and wrong."""
    monkeypatch.setattr(ed25519, "_library", None)
    key, message, signature = VECTORS[1]

    assert ed25519.verify(bytes.fromhex(key), message, bytes.fromhex(signature))
    assert not ed25519.verify(bytes.fromhex(key), b"", bytes.fromhex(signature))


def test_a_second_spelling_of_a_key_is_no_key():
    """A coordinate beyond the field is refused: p + 1 would be the neutral point, for which anything is signed."""
    key = (2**255 - 19 + 1).to_bytes(32, "little")
    signature = (1).to_bytes(32, "little") + bytes(32)

    assert not ed25519.verify_in_python(key, b"text", signature)
