"""Sealed records: AES-256-GCM, a data key per secret, wrapped by a master key.

A record is

    version (1 byte) · key id (4) · nonce (12) · wrapped data key (32 + 16) · nonce (12) · ciphertext and tag

Both layers are bound to version and place (organization, destination, field, audience), so a record that is moved to another
row, or whose row was changed so that the secret would go elsewhere, cannot be decrypted. The place is not secret and not
stored in the record. Version 1 was bound to destination and field only, version 2 to these and the organization, which is
still how a secret without an audience is sealed. Both can be decrypted, and every change and every rotation seals a
destination's records again as version 3.
Source: NIST SP 800-38D for AES-GCM; 96-bit nonces from the system's random source, and one data key per secret, so that
no key comes near the limit of 2^32 uses.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from aegis_stream.errors import Misconfigured, Unavailable
from aegis_stream.ports import Place, Random

from .ring import KEY_ID_BYTES, MASTER_KEY_BYTES, KeySource, MasterKey, Ring

_FIRST, _WITHOUT_AUDIENCE, _CURRENT = b"\x01", b"\x02", b"\x03"
_NONCE, _WRAPPED = 12, MASTER_KEY_BYTES + 16
_ALARMS_MAX = 1000
"""Most places whose alarm is remembered, so that each is logged once."""


class _Record(NamedTuple):
    """The parts of a sealed record."""

    version: bytes
    key_id: bytes
    outer: bytes
    wrapped: bytes
    inner: bytes
    ciphertext: bytes


@dataclass(slots=True)
class Vault:
    """Seals and opens secrets (port Sealer); safe for all threads of a process.

    Args:
        keys: where the ring is stored; read again when a record or the store names an unknown key.
        alarm: called with a log event and its values when a record cannot be decrypted, once for each place.
    """

    keys: KeySource
    random: Random
    alarm: Callable[..., None] = field(default=lambda *_, **__: None, repr=False)
    _ring: Ring = field(init=False, repr=False)
    _alarmed: set[Place] = field(default_factory=set, init=False, repr=False)

    def __post_init__(self) -> None:
        self._ring = self.keys.read()

    @property
    def newest(self) -> bytes:
        """Id of the newest key of the ring."""
        return self._ring[0].key_id

    def holds(self, key_id: bytes) -> bool:
        """Tell whether the ring has a master key; reads the ring again if not."""
        return self._find(key_id) is not None

    def stamp(self, key_id: bytes) -> bytes:
        """Return the first bytes of every record with an audience that is now sealed with a master key."""
        return _CURRENT + key_id

    def derive(self, purpose: str) -> tuple[bytes, ...]:
        """Return a key of 32 bytes for another purpose from each master key of the ring, the newest first.

        Source: RFC 5869 (HKDF with SHA-256, no salt).
        """
        return tuple(
            HKDF(SHA256(), MASTER_KEY_BYTES, salt=None, info=b"aegis " + purpose.encode()).derive(key.secret)
            for key in self._ring
        )

    def seal(self, secret: str, place: Place, key_id: bytes | None = None) -> bytes:
        """Encrypt a secret; the record can be decrypted only in the same place.

        Args:
            key_id: of the master key; None for the newest of the ring.
        Raises: Unavailable if the ring does not have that key.
        """
        key = self._ring[0] if key_id is None else self._find(key_id)
        if key is None:
            self._sound("vault.key_unknown", place, key_id)
            raise Unavailable(
                "the master key was rotated, and this service does not have the new key: nothing was stored; "
                "restart it with the new key before the old one in AEGIS_MASTER_KEY",
                code="wrong-master-key",
            )
        version = _version_of(place)
        bound = _bound(version, place)
        data_key, inner = self.random.random_bytes(MASTER_KEY_BYTES), self.random.random_bytes(_NONCE)
        return (
            self._wrapped(version, key, data_key, bound)
            + inner
            + AESGCM(data_key).encrypt(inner, secret.encode(), bound)
        )

    def is_bound(self, sealed: bytes) -> bool:
        """Tell whether a record is of a version that is bound to its audience."""
        return sealed[:1] not in (_FIRST, _WITHOUT_AUDIENCE)

    def open(self, sealed: bytes, place: Place, *, unbound: bool = False) -> str:
        """Decrypt a record.

        Args:
            unbound: accept a record of a version without audience in a place that has one.
        Raises: Unavailable if its master key is missing, it is damaged, or it belongs to another place.
        """
        return self._open(sealed, place, unbound=unbound)[1]

    def rewrap(self, sealed: bytes, place: Place, key_id: bytes, *, unbound: bool = False) -> bytes:
        """Return a record under another master key. Its ciphertext stays the same unless its version is too old for the place.

        Args:
            unbound: as for `open`.
        Raises: Unavailable as `open` and `seal` do.
        """
        data_key, secret = self._open(sealed, place, unbound=unbound)
        key, record, version = self._find(key_id), _read(sealed), _version_of(place)
        if key is None or record.version != version:
            return self.seal(secret, place, key_id)
        return (
            self._wrapped(version, key, data_key, _bound(version, place)) + record.inner + record.ciphertext
        )

    def _wrapped(self, version: bytes, key: MasterKey, data_key: bytes, bound: bytes) -> bytes:
        nonce = self.random.random_bytes(_NONCE)
        return version + key.key_id + nonce + AESGCM(key.secret).encrypt(nonce, data_key, bound)

    def _open(self, sealed: bytes, place: Place, *, unbound: bool) -> tuple[bytes, str]:
        """Return data key and secret."""
        record = _read(sealed)
        is_record = (
            record.version in (_FIRST, _WITHOUT_AUDIENCE, _CURRENT) and len(record.key_id) == KEY_ID_BYTES
        )
        key = self._find(record.key_id) if is_record else None
        if is_record and key is None:
            self._sound("vault.key_unknown", place, record.key_id)
            raise Unavailable(
                "a stored credential is encrypted with a master key that this service does not have: start it with that key in AEGIS_MASTER_KEY",
                code="wrong-master-key",
            )
        may_open = not place.audience or unbound or record.version == _CURRENT
        opened = _decrypt(record, key, place) if key is not None and may_open else None
        if opened is None:
            self._sound("vault.record_refused", place, record.key_id)
            raise Unavailable(
                "a stored credential cannot be decrypted: its database row was changed or moved; save the destination again",
                code="sealed-record-damaged",
            )
        self._alarmed.discard(place)
        return opened

    def _find(self, key_id: bytes) -> MasterKey | None:
        found = _pick(self._ring, key_id)
        if found is None:
            try:
                self._ring = self.keys.read()
            except Misconfigured:
                return None  # the ring that we have stays in use
            found = _pick(self._ring, key_id)
        return found

    def _sound(self, event: str, place: Place, key_id: bytes | None) -> None:
        if place in self._alarmed or len(self._alarmed) >= _ALARMS_MAX:
            return
        self._alarmed.add(place)
        values: dict[str, Any] = {
            "org_id": place.org_id,
            "destination_id": place.dst_id,
            "field": place.field,
        }
        self.alarm(event, **values, key_id=(key_id or b"").hex())


def _read(sealed: bytes) -> _Record:
    """Split a record into its parts; those of a truncated record are short or empty."""
    ends = list(itertools.accumulate((1, KEY_ID_BYTES, _NONCE, _WRAPPED, _NONCE)))
    version, key_id, outer, wrapped, inner = (
        sealed[start:end] for start, end in itertools.pairwise([0, *ends])
    )
    return _Record(version, key_id, outer, wrapped, inner, sealed[ends[-1] :])


def _decrypt(record: _Record, key: MasterKey, place: Place) -> tuple[bytes, str] | None:
    """Return data key and secret; None if a layer cannot be decrypted."""
    bound = _bound(record.version, place)
    try:
        data_key = AESGCM(key.secret).decrypt(record.outer, record.wrapped, bound)
        return data_key, AESGCM(data_key).decrypt(record.inner, record.ciphertext, bound).decode()
    except (InvalidTag, ValueError):
        return None


def _version_of(place: Place) -> bytes:
    return _CURRENT if place.audience else _WITHOUT_AUDIENCE


def _bound(version: bytes, place: Place) -> bytes:
    """Return the associated data of a record. Ids contain no |, so two places never have the same."""
    if version == _FIRST:
        return f"{place.dst_id}|{place.field}".encode()
    place_text = f"{place.org_id}|{place.dst_id}|{place.field}"
    return version + (f"{place_text}|{place.audience}" if version == _CURRENT else place_text).encode()


def _pick(ring: Ring, key_id: bytes) -> MasterKey | None:
    return next((key for key in ring if key.key_id == key_id), None)
