"""Ed25519 for the notes of sealed logs: seed → signing function and public key; a check that raises nothing.

Source: RFC 8032.
"""

from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SEED_BYTES = 32
"""Bytes of a seed, from the system's random source."""


def public_key(seed: bytes) -> bytes:
    """Return the public key of a seed, 32 bytes."""
    return Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()


def signer(seed: bytes) -> Callable[[bytes], bytes]:
    """Return the function that signs with a seed: message → 64 bytes."""
    return Ed25519PrivateKey.from_private_bytes(seed).sign


def check(public: bytes, signature: bytes, message: bytes) -> bool:
    """Tell whether a signature is a key's over a message; False for a key or signature of another length."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
