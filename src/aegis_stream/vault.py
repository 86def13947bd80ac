"""Credentials at rest: AES-256-GCM, a data key per secret, wrapped by the master key.

A sealed record is

    version (1 byte) · key id (4) · nonce (12) · wrapped data key (32 + 16) · nonce (12) · ciphertext and tag

Both layers are bound to the context (organization, destination, field), so that a record moved to another row does not
open. The context is not secret; it is not stored in the record.
Source: NIST SP 800-38D for AES-GCM; 96-bit nonces from the system's random source, one data key per secret, so that no
key comes near the limit of 2^32 uses.
"""

import base64
import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .errors import Misconfigured, Unavailable
from .ports import Dice

MASTER_KEY_BYTES = 32
_VERSION = b"\x01"
_KEY_ID, _NONCE, _WRAPPED = 4, 12, 48


@dataclass(frozen=True, slots=True)
class Vault:
    """Seals and opens secrets with one master key.

    Args:
        master_key: 32 bytes.
    """

    master_key: bytes = field(repr=False)
    dice: Dice

    @property
    def key_id(self) -> bytes:
        """Four bytes that tell master keys apart and say nothing about them."""
        return hashlib.sha256(b"aegis master key id" + self.master_key).digest()[:_KEY_ID]

    def seal(self, secret: str, context: str) -> bytes:
        """Encrypt a secret; the record opens only with the same context."""
        bound = context.encode()
        data_key, outer, inner = (
            self.dice.random_bytes(count) for count in (MASTER_KEY_BYTES, _NONCE, _NONCE)
        )
        wrapped = AESGCM(self.master_key).encrypt(outer, data_key, bound)
        return (
            _VERSION
            + self.key_id
            + outer
            + wrapped
            + inner
            + AESGCM(data_key).encrypt(inner, secret.encode(), bound)
        )

    def open(self, sealed: bytes, context: str) -> str:
        """Decrypt a record.

        Raises: Unavailable when it was sealed with another master key, damaged, or belongs to another context.
        """
        version, rest = sealed[:1], sealed[1:]
        key_id, rest = rest[:_KEY_ID], rest[_KEY_ID:]
        if version != _VERSION or key_id != self.key_id:
            raise Unavailable(
                "a stored credential was sealed with another master key: start with the AEGIS_MASTER_KEY it was sealed with",
                code="wrong-master-key",
            )
        outer, rest = rest[:_NONCE], rest[_NONCE:]
        wrapped, rest = rest[:_WRAPPED], rest[_WRAPPED:]
        bound = context.encode()
        try:
            data_key = AESGCM(self.master_key).decrypt(outer, wrapped, bound)
            return AESGCM(data_key).decrypt(rest[:_NONCE], rest[_NONCE:], bound).decode()
        except (InvalidTag, ValueError) as error:
            raise Unavailable(
                "a stored credential does not open in this place: the row was changed or moved; write the destination anew",
                code="sealed-record-damaged",
            ) from error


def decode_master_key(text: str, setting: str) -> bytes:
    """Read a master key as configured: 32 bytes as base64.

    Raises: Misconfigured naming the setting, never repeating its value.
    """
    try:
        plain = text.strip().replace("-", "+").replace("_", "/").rstrip("=")
        key = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except ValueError as error:
        raise Misconfigured(f"{setting} is not base64: make one with `openssl rand -base64 32`") from error
    if len(key) != MASTER_KEY_BYTES:
        raise Misconfigured(
            f"{setting} has {len(key)} bytes, it must have 32: make one with `openssl rand -base64 32`"
        )
    return key


def read_or_make_master_key(path: Path, dice: Dice) -> tuple[bytes, bool]:
    """Read the master key file of the data directory, or make it with mode 0600.

    Returns: the key, and whether it was made just now.
    Raises: Misconfigured when the file is readable by others or not a key.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        if path.stat().st_mode & 0o077:
            raise Misconfigured(f"{path} can be read by others: chmod 600 {path}") from None
        return decode_master_key(path.read_text(), str(path)), False
    key = dice.random_bytes(MASTER_KEY_BYTES)
    with os.fdopen(handle, "w") as file:
        file.write(base64.b64encode(key).decode() + "\n")
        file.flush()
        os.fsync(file.fileno())
    return key, True
