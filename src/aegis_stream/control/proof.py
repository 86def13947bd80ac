"""How an organization's log is sealed: show, choose the mode, begin again after an older database was put in place."""

from collections.abc import Callable
from dataclasses import dataclass

from aegis_stream.domain.audit import AdminAction
from aegis_stream.domain.merkle import EMPTY
from aegis_stream.domain.names import NAME_ALLOWED, is_name
from aegis_stream.domain.note import Kind, VerifierKey
from aegis_stream.domain.organization import Organization, ProofMode
from aegis_stream.errors import Conflict, FieldProblem, Invalid
from aegis_stream.store import organizations, proof_keys, tree
from aegis_stream.store.database import Unit
from aegis_stream.store.tree import SealedTree

from .audit import Record, perform
from .caller import Caller
from .deps import StoreDeps
from .sealing import log_name


@dataclass(frozen=True, slots=True)
class ProofStanding:
    """How an organization's log is sealed.

    Args:
        log: None when nothing was sealed yet.
        keys: verifier keys of the log, the newest first.
    """

    organization: Organization
    log: SealedTree | None
    keys: tuple[str, ...]


async def show(deps: StoreDeps, org_id: str) -> ProofStanding:
    """Return how an organization's log is sealed. Raises: NotFound. Unavailable."""

    def work(unit: Unit) -> ProofStanding:
        found = organizations.find(unit, org_id)
        log = tree.newest_tree(unit, found.no)
        known = proof_keys.keys_of(unit, found.no) if log is not None else []
        keys = tuple(VerifierKey(log.origin, Kind.PLAIN, one.public).text for one in known if log is not None)
        return ProofStanding(found, log, keys)

    return await deps.db.read(work)


async def set_mode(deps: StoreDeps, caller: Caller, org_id: str, mode: ProofMode) -> Organization:
    """Choose whether and how an organization's log is sealed; the sealer follows within seconds.

    Returns: the organization as it is then.
    Raises: NotFound. Unavailable.
    """

    def act(unit: Unit, record: Record) -> Organization:
        found = organizations.find(unit, org_id)
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
