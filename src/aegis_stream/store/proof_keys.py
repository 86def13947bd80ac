"""The keys that sign an organization's checkpoints, as they are stored: functions of a unit of work.

A seed is sealed by the vault, bound to its organization, and opened only where something is signed.
"""

import base64
from typing import NamedTuple

from aegis_stream.domain.ids import Micros, OrganizationId, OrganizationNo
from aegis_stream.errors import Unavailable
from aegis_stream.ports import Place, Sealer

from .database import Unit
from .secrets import sealing_key

KEYS_PER_STEP = 50
"""Keys that one transaction of a rotation looks at: a few milliseconds, so that no other write waits long."""
BEGINNING = (0, 0)
"""Before the first key of all."""


class KeyStep(NamedTuple):
    """What one transaction of a rotation did with proof keys.

    Args:
        last: organization's number and epoch of the last key looked at; None when there was none left.
        broken: ids of organizations with a key that does not open.
    """

    last: tuple[int, int] | None
    broken: tuple[str, ...]


class ProofKey(NamedTuple):
    """One key of an organization.

    Args:
        epoch: counted from 1.
        public: Ed25519, 32 bytes.
        sealed_seed: by the vault; empty for one that could not be opened any more.
        retired_at: when another key replaced it; None for the one in use.
    """

    epoch: int
    public: bytes
    sealed_seed: bytes
    created_at: Micros
    retired_at: Micros | None


def keys_of(unit: Unit, organization_no: OrganizationNo) -> list[ProofKey]:
    """Return all keys of an organization, the newest first."""
    return [
        ProofKey(epoch, bytes(public), bytes(seed), created_at, retired_at)
        for epoch, public, seed, created_at, retired_at in unit.rows("proof_keys_of", (organization_no,))
    ]


def add_key(
    unit: Unit,
    sealer: Sealer,
    organization: tuple[OrganizationNo, OrganizationId],
    pair: tuple[bytes, bytes],
    now: Micros,
) -> ProofKey:
    """Store a new key of an organization, sealed with the current master key; those before it are retired.

    Args:
        pair: seed and public key.
    Raises: Unavailable when the current master key is not there.
    """
    organization_no, org_id = organization
    seed, public = pair
    known = keys_of(unit, organization_no)
    epoch = known[0].epoch + 1 if known else 1
    current = sealing_key(unit)
    sealed = sealer.seal(
        base64.b64encode(seed).decode(), place_of(org_id), current.key_id if current is not None else None
    )
    unit.run("insert_proof_key", (organization_no, epoch, public, sealed, now))
    unit.run("retire_proof_keys", (now, organization_no, epoch))
    return ProofKey(epoch, public, sealed, now, None)


def open_seed(sealer: Sealer, org_id: OrganizationId, key: ProofKey) -> bytes:
    """Return the seed of a key. Raises: Unavailable when it was moved or damaged, or its master key is not there."""
    return base64.b64decode(sealer.open(key.sealed_seed, place_of(org_id)))


def rewrap_some(unit: Unit, sealer: Sealer, key_id: bytes, after: tuple[int, int]) -> KeyStep:
    """Seal the next seeds with a master key; those sealed with it already stay as they are.

    Args:
        after: number of the organization and epoch of the last key of the step before.
    """
    rows, broken = unit.rows("proof_keys_after", (*after, KEYS_PER_STEP)), []
    for organization_no, epoch, org_id, seed in rows:
        if seed[1 : 1 + len(key_id)] == key_id:
            continue
        try:
            fresh = sealer.rewrap(bytes(seed), place_of(org_id), key_id)
        except Unavailable:
            broken.append(org_id)
            continue
        unit.run("rewrap_proof_key", (fresh, organization_no, epoch))
    return KeyStep((rows[-1][0], rows[-1][1]) if rows else None, tuple(broken))


def forget_unreadable(unit: Unit, sealer: Sealer, after: tuple[int, int], now: Micros) -> KeyStep:
    """Forget those of the next seeds that nobody can open: the next seal makes a new key. Their public keys stay."""
    rows, broken = unit.rows("proof_keys_after", (*after, KEYS_PER_STEP)), []
    for organization_no, epoch, org_id, seed in rows:
        try:
            sealer.open(bytes(seed), place_of(org_id))
        except Unavailable:
            unit.run("forget_proof_key", (b"", now, organization_no, epoch))
            broken.append(org_id)
    return KeyStep((rows[-1][0], rows[-1][1]) if rows else None, tuple(broken))


def place_of(org_id: str) -> Place:
    """Return where the seeds of an organization belong."""
    return Place(org_id, "", "proof_key")
