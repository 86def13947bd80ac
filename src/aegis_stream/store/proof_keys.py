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

KEYS_MAX = 8
"""Most keys of one organization that sign at the same time. Each adds two lines to every note: with eight, a checkpoint event is 8.6 KB,
below what Splunk cuts off by default."""
FORGOTTEN_AT_ONCE = 100
"""Most seeds that one transaction forgets."""
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
        sealed_seed: by the vault; empty for one that is forgotten, or could not be opened any more.
        retired_at: from then on it signs no more, which may be yet to come; None for the newest one.
        announced: sequence of the event that tells of it; None without one.
    """

    epoch: int
    public: bytes
    sealed_seed: bytes
    created_at: Micros
    retired_at: Micros | None
    announced: int | None = None


def keys_of(unit: Unit, organization_no: OrganizationNo) -> list[ProofKey]:
    """Return all keys of an organization, the newest first."""
    return [
        ProofKey(epoch, bytes(public), bytes(seed), *rest)
        for epoch, public, seed, *rest in unit.rows("proof_keys_of", (organization_no,))
    ]


def add_key(
    unit: Unit,
    sealer: Sealer,
    organization: tuple[OrganizationNo, OrganizationId],
    pair: tuple[bytes, bytes],
    now: Micros,
    overlap_us: int = 0,
) -> ProofKey:
    """Store a new key of an organization, sealed with the current master key; those before it are retired.

    Args:
        pair: seed and public key.
        overlap_us: for so long those before it go on signing, microseconds; one that was to end earlier does.
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
    unit.run("retire_proof_keys", (now + overlap_us, organization_no, epoch))
    return ProofKey(epoch, public, sealed, now, None)


def announce(unit: Unit, organization_no: OrganizationNo, key: ProofKey) -> None:
    """Note that the newest event of the log tells of a key; in the transaction that appends it."""
    row = unit.row("head_of", (organization_no,))
    assert row is not None, "the event was appended to it"
    unit.run("announce_proof_key", (row[0], organization_no, key.epoch))


def signing(known: list[ProofKey], end: int, now: Micros) -> list[bool]:
    """Tell which keys sign the seal that continues a log sealed up to a sequence.

    The newest one does, and each before it until its time is over. However short that is, it signs until the event that tells of the
    next key is sealed: by that signature a verifier that knows only the old key learns of the new one.

    Args:
        known: the newest first.
    """
    return [
        bool(one.sealed_seed)
        and (
            one.retired_at is None
            or now < one.retired_at
            or (at > 0 and (known[at - 1].announced or 0) > end)
        )
        for at, one in enumerate(known)
    ]


def forget_over(unit: Unit, now: Micros) -> int:
    """Forget the seeds of keys that sign no more; the public keys stay. Returns: how many there were, FORGOTTEN_AT_ONCE at most."""
    rows = unit.rows("proof_keys_over", (now, FORGOTTEN_AT_ONCE))
    for organization_no, epoch in rows:
        unit.run("forget_proof_key", (b"", now, organization_no, epoch))
    return len(rows)


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
