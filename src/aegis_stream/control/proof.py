"""How an organization's log is sealed: show, choose the mode, rotate the key, begin again after an older database was put in place."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from aegis_stream.domain.audit import AdminAction
from aegis_stream.domain.checkpoint import log_name
from aegis_stream.domain.ids import Micros
from aegis_stream.domain.merkle import EMPTY
from aegis_stream.domain.names import NAME_ALLOWED, is_name
from aegis_stream.domain.note import Kind, VerifierKey
from aegis_stream.domain.organization import Organization, ProofMode
from aegis_stream.domain.times import to_text
from aegis_stream.errors import Conflict, FieldProblem, Invalid
from aegis_stream.store import organizations, proof_keys, sealing_state, tree
from aegis_stream.store.database import Unit
from aegis_stream.store.log import received_at
from aegis_stream.store.proof_keys import ProofKey
from aegis_stream.store.sealing_state import SealingReport, SealingTotals
from aegis_stream.store.tree import SealedTree
from aegis_stream.vault import ed25519

from .audit import Record, perform
from .caller import Caller
from .deps import StoreDeps


@dataclass(frozen=True, slots=True)
class ProofStanding:
    """How an organization's log is sealed.

    Args:
        log: None when nothing was sealed yet.
        keys: verifier keys of the log, the newest first.
        retired_at: of each key, from when on it signs no more, which may be yet to come; None for the newest one.
        waiting: recorded events that no checkpoint covers; checkpoint events of the last seal, which wait for the next one, do not count.
        waiting_since: when the first of them was recorded; None for none.
        refusal: why the sealer refuses the log; "" when it does not.
        refused_since: since when; None when it does not.
        report: the newest look of a sealer at all logs; None where none was ever to run.
    """

    organization: Organization
    log: SealedTree | None
    keys: tuple[str, ...]
    retired_at: tuple[Micros | None, ...] = ()
    waiting: int = 0
    waiting_since: Micros | None = None
    refusal: str = ""
    refused_since: Micros | None = None
    report: SealingReport | None = None


class Rotated(NamedTuple):
    """A key that replaces another one.

    Args:
        log: name of the log; None while nothing is sealed.
        old, new: verifier keys; of a log without a name yet the public keys, in hexadecimal.
        old_until: so long the old key signs as well.
    """

    log: str | None
    old: str
    new: str
    old_until: Micros


async def show(deps: StoreDeps, org_id: str) -> ProofStanding:
    """Return how an organization's log is sealed. Raises: NotFound. Unavailable."""

    def work(unit: Unit) -> ProofStanding:
        found = organizations.find(unit, org_id)
        log = tree.newest_tree(unit, found.no)
        known = proof_keys.keys_of(unit, found.no) if log is not None else []
        keys = tuple(VerifierKey(log.origin, Kind.PLAIN, one.public).text for one in known if log is not None)
        # Behind the end come the checkpoint events of the last seal, then what waits. An event that was recorded while that seal
        # was made stands before them: its time is missed by less than a seal takes.
        sealed = log.end + log.own if log is not None else organizations.oldest_sequence(unit, found.no) - 1
        waiting = max(0, found.head - sealed)
        since = received_at(unit, found.no, sealed + 1) if waiting else None
        retired_at, refused = tuple(one.retired_at for one in known), sealing_state.refusal_of(unit, found.no)
        reason, refused_since = ("", None) if refused is None else (refused.reason, refused.since)
        report = sealing_state.read_report(unit)
        return ProofStanding(found, log, keys, retired_at, waiting, since, reason, refused_since, report)

    return await deps.db.read(work)


async def sealing_totals(deps: StoreDeps) -> SealingTotals:
    """Return what the sealer has noted of itself, for metrics. Raises: Unavailable."""
    return await deps.db.read(sealing_state.totals)


async def set_mode(
    deps: StoreDeps, caller: Caller, org_id: str, mode: ProofMode, *, seen: str | None = None
) -> Organization:
    """Choose whether and how an organization's log is sealed; the sealer follows within seconds.

    Args:
        seen: the mode that the caller saw before; None for whatever it is.
    Returns: the organization as it is then.
    Raises: NotFound. Conflict when the mode is not the one that was seen; then nothing is changed. Unavailable.
    """

    def act(unit: Unit, record: Record) -> Organization:
        found = organizations.find(unit, org_id)
        if seen is not None and seen != found.proof.value:
            raise Conflict(
                f"somebody has chosen the mode {found.proof.value} after the page was opened, so nothing was done: open it again"
            )
        tree.set_mode(unit, found.no, mode)
        before, after = {"proof": found.proof.value}, {"proof": mode.value}
        changed = ("proof",) if before != after else ()
        record(
            found,
            AdminAction(
                "proof_change",
                "organization",
                found.org_id,
                found.name,
                before=before,
                after=after,
                changed=changed,
            ),
        )
        return organizations.find(unit, org_id)

    return await perform(deps, caller, act)


async def rotate_key(deps: StoreDeps, caller: Caller, org_id: str, overlap_us: int) -> Rotated:
    """Make a new key that signs an organization's checkpoints, and announce it in the log, so that verifiers of the old one follow.

    Notes carry the signatures of both keys until the overlap is over, and in any case until the announcement is sealed. Then the seed
    of the old key is forgotten; its public key stays, for what it signed.

    Args:
        overlap_us: microseconds.
    Raises: NotFound. Conflict without a key yet, with too many that still sign, or when the announcement would not be recorded.
        Unavailable, also when the old key does not open.
    """
    if not deps.audit_actions:
        raise Conflict(
            "AEGIS_AUDIT_ACTIONS is false, so the log would not tell of the new key, and verifiers would refuse it: "
            "run the service or this command with AEGIS_AUDIT_ACTIONS=true"
        )
    seed = deps.random.random_bytes(ed25519.SEED_BYTES)

    def act(unit: Unit, record: Record) -> Rotated:
        found, now = organizations.find(unit, org_id), deps.clock.now()
        old = _key_to_replace(unit, deps, found, now)
        pair = (seed, ed25519.public_key(seed))
        new = proof_keys.add_key(unit, deps.sealer, (found.no, found.org_id), pair, now, overlap_us)
        log = tree.newest_tree(unit, found.no)
        origin = None if log is None else log.origin
        until = Micros(now + overlap_us)
        shown = {**_key_view(origin, new), "old_key_until": to_text(until)}
        action = AdminAction(
            "proof_key_rotate",
            "organization",
            found.org_id,
            found.name,
            before=_key_view(origin, old),
            after=shown,
        )
        record(found, action)
        proof_keys.announce(unit, found.no, new)
        return Rotated(origin, _key_text(origin, old), _key_text(origin, new), until)

    return await perform(deps, caller, act)


def _key_to_replace(unit: Unit, deps: StoreDeps, organization: Organization, now: Micros) -> ProofKey:
    """Return the key in use. Raises: Conflict. Unavailable when it does not open: it must sign the event that replaces it."""
    known = proof_keys.keys_of(unit, organization.no)
    if not known or known[0].retired_at is not None:
        raise Conflict(f"{organization.org_id} has no key yet: the sealer makes one at the next seal")
    with_seed = [one for one in known if one.sealed_seed]
    if len(with_seed) >= proof_keys.KEYS_MAX:
        oldest = max(with_seed[-1].retired_at or now, now)
        raise Conflict(
            f"{len(with_seed)} keys of {organization.org_id} sign at the same time, the most that is allowed: the oldest one does until "
            f"{to_text(oldest)}, and until the log is sealed up to its rotation; see `aegis proof show`"
        )
    proof_keys.open_seed(deps.sealer, organization.org_id, known[0])
    return known[0]


def _key_text(origin: str | None, key: ProofKey) -> str:
    return key.public.hex() if origin is None else VerifierKey(origin, Kind.PLAIN, key.public).text


def _key_view(origin: str | None, key: ProofKey) -> dict[str, Any]:
    """Show a key in an event; `vkey` is how verifiers are given it."""
    shown: dict[str, Any] = {"epoch": key.epoch, "public_key": key.public.hex()}
    return shown if origin is None else shown | {"vkey": _key_text(origin, key)}


async def restart(
    deps: StoreDeps, caller: Caller, org_id: str, reason: str, was_signed: Callable[[str], bool]
) -> SealedTree:
    """Begin another log of an organization behind the last event that is sealed, because what was signed since is gone.

    The old log ends; its proofs stay valid. The new name says where it begins.

    Args:
        reason: goes into the organization's log.
        was_signed: tells whether a checkpoint of a log of this name was ever signed here.
    Raises: Invalid without a reason. NotFound. Conflict when nothing was sealed yet, or the newest log has not begun. Unavailable.
    """
    if not reason.strip() or not is_name(reason):
        message = f"must say why, in {NAME_ALLOWED}"
        raise Invalid(f"reason {message}", problems=(FieldProblem("reason", message),))

    def act(unit: Unit, record: Record) -> SealedTree:
        found = organizations.find(unit, org_id)
        old = tree.newest_tree(unit, found.no)
        if old is None or not old.tree.size:
            raise Conflict(
                f"no event of {found.org_id} is sealed {'yet' if old is None else 'since its log began again'}: there is nothing to begin again"
            )
        first = old.origin.rpartition("/")[0]
        # From the end of the old log, so that every event is in one; or from the end of all events, if that name is used up.
        bases = [
            base for base in (old.end, found.head) if not was_signed(log_name(first, found.org_id, base))
        ]
        if not bases or bases[0] <= old.base:
            raise Conflict(f"a log of this name was signed before: record an event of {found.org_id} first")
        new = SealedTree(bases[0], log_name(first, found.org_id, bases[0]), EMPTY, "", deps.clock.now())
        tree.store_seal(unit, found.no, None, new, {})
        shown = {"log": new.origin, "reason": reason}
        record(
            found,
            AdminAction(
                "proof_restart",
                "organization",
                found.org_id,
                found.name,
                before={"log": old.origin, "size": old.tree.size},
                after=shown,
            ),
        )
        return new

    return await perform(deps, caller, act)
