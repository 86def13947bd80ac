"""Forwarding destinations: create, list, look up, change, pause, resume, delete."""

from typing import NamedTuple

from msgspec import UNSET

from aegis_stream.domain.audit import AdminAction, destination_action, destination_change, destination_view
from aegis_stream.domain.destination import MASK, Destination, DestinationSpec, Progress
from aegis_stream.domain.ids import RANDOM_BYTES, DestinationId, new_id
from aegis_stream.domain.patch import DestinationPatch, apply_patch, missing_with_new_trust
from aegis_stream.errors import Conflict, FieldProblem, Invalid
from aegis_stream.store import destinations, health, leases
from aegis_stream.store.database import Unit

from .audit import Record, perform
from .caller import Caller
from .checks import check_spec
from .deps import ControlDeps

DAMAGED = (
    "the stored URL and credential cannot be decrypted: restore the master key or the row, or change this destination with a "
    "new url (and a new auth_header_value or oauth2); its backlog is kept"
)
"""The error that a destination shows whose secrets cannot be decrypted."""


class DestinationState(NamedTuple):
    """A destination, and how far it has come."""

    destination: Destination
    progress: Progress


class Totals(NamedTuple):
    """Sums over all destinations; the names are those of the metrics."""

    destinations: int
    deliveries_total: int
    failed_attempts_total: int
    retrying: int
    dead_letters: int
    backlog: int
    destinations_failing: int
    destinations_halted: int
    damaged_events_total: int


async def create(deps: ControlDeps, caller: Caller, spec: DestinationSpec) -> DestinationState:
    """Create a destination; it receives events recorded from now on.

    Raises: Invalid with a problem for each field. Conflict when the organization has too many destinations. Unavailable.
    """
    await check_spec(deps, caller, spec)
    now = deps.clock.now()
    dst_id = DestinationId(new_id("dst", now, deps.random.random_bytes(RANDOM_BYTES)))

    def act(unit: Unit, record: Record) -> DestinationState:
        destinations.refuse_too_many(
            unit, caller.organization_no, deps.settings.organization.destinations_max
        )
        # Recorded first: the destination receives what is recorded after it, and so not the event of its own creation.
        record(
            caller,
            AdminAction("destination_create", "destination", dst_id, spec.name, after=destination_view(spec)),
        )
        return _state(unit, destinations.add(unit, deps.sealer, caller.organization_no, dst_id, spec, now))

    made = await perform(deps, caller, act)
    deps.notify_changes()
    return made


async def list_of(deps: ControlDeps, caller: Caller, after: str, limit: int) -> list[DestinationState]:
    """Return the organization's destinations after the one with the id `after`, oldest first. Raises: Unavailable."""

    def work(unit: Unit) -> list[DestinationState]:
        found = destinations.list_of(unit, deps.sealer, caller.organization_no, after, limit)
        return [_state(unit, one) for one in found]

    return await deps.db.read(work)


async def find(deps: ControlDeps, caller: Caller, dst_id: str) -> Destination:
    """Return a destination of the caller's organization. Raises: NotFound. Unavailable, also when its secrets do not open."""
    return await deps.db.read(
        lambda unit: destinations.find(unit, deps.sealer, caller.organization_no, dst_id)
    )


async def find_state(deps: ControlDeps, caller: Caller, dst_id: str) -> DestinationState:
    """Return a destination, also one whose secrets do not open (then without them). Raises: NotFound, Unavailable."""
    return await deps.db.read(lambda unit: _state(unit, _find_any(unit, deps, caller, dst_id)))


async def totals(deps: ControlDeps) -> Totals:
    """Return counts of all destinations of all organizations, for metrics. Raises: Unavailable."""
    return Totals(*await deps.db.read(destinations.totals))


async def check_ready(deps: ControlDeps) -> None:
    """Check that the store can be read and written. It is written only where the last write failed, to see whether that is over.

    Raises: Unavailable.
    """
    await totals(deps)
    fault = deps.db.write_fault()
    if fault is not None:
        if fault.code == "store-stuck":
            raise fault
        await health.check_writable(deps.db)


async def living_workers(deps: ControlDeps) -> int:
    """Return how many delivery workers run, on all machines. Raises: Unavailable."""
    return await deps.db.read(leases.living_workers)


class Review(NamedTuple):
    """What a change would make of a destination: its configuration before and after, with secrets."""

    before: DestinationSpec
    after: DestinationSpec


async def review(deps: ControlDeps, caller: Caller, dst_id: str, patch: DestinationPatch) -> Review:
    """Check a change as `change` does, and store nothing. Raises: as `change`, but no Conflict."""
    found = await deps.db.read(lambda unit: _find_any(unit, deps, caller, dst_id))
    if found.damaged and patch.url is UNSET:
        raise Invalid(
            f"url is required: {DAMAGED}", problems=(FieldProblem("url", f"is required: {DAMAGED}"),)
        )
    if patch.url is not UNSET and MASK in patch.url:
        message = f"contains {MASK}, which stands for a hidden part: send the whole URL, or omit it to keep the stored one"
        raise Invalid(f"url {message}", problems=(FieldProblem("url", message),))
    before = None if found.damaged else found.spec
    after = apply_patch(found.spec, patch)
    await check_spec(deps, caller, after, before)
    if not found.damaged and (missing := missing_with_new_trust(found.spec, patch)):
        detail = "; ".join(f"{one.field}: {one.message}" for one in missing)
        raise Invalid(detail, problems=tuple(missing))
    return Review(found.spec, after)


async def change(
    deps: ControlDeps, caller: Caller, dst_id: str, patch: DestinationPatch, *, revision: int | None = None
) -> DestinationState:
    """Change some fields of a destination. Another host needs a new auth header, headers and oauth2, or they are dropped; other
    authorities need them in any case.

    Args:
        revision: that of the destination the change was made for; None for whichever is stored.
    Raises: NotFound. Invalid with a problem for each field. Conflict when the destination has another revision by now; nothing is
        stored then. Unavailable.
    """
    await review(deps, caller, dst_id, patch)
    return await _change(deps, caller, "destination_change", dst_id, patch, revision=revision)


async def pause(deps: ControlDeps, caller: Caller, dst_id: str) -> DestinationState:
    """Hold all deliveries until `resume`; nothing is lost, the backlog grows. Raises: NotFound, Unavailable."""
    return await _change(deps, caller, "destination_pause", dst_id, DestinationPatch(enabled=False))


async def resume(deps: ControlDeps, caller: Caller, dst_id: str) -> DestinationState:
    """Continue where `pause` stopped. Raises: NotFound, Unavailable."""
    return await _change(deps, caller, "destination_resume", dst_id, DestinationPatch(enabled=True))


async def delete(deps: ControlDeps, caller: Caller, dst_id: str) -> None:
    """Delete a destination, its credential, its retries and its dead letters. Raises: NotFound, Unavailable."""

    def act(unit: Unit, record: Record) -> None:
        found = _find_any(unit, deps, caller, dst_id)
        destinations.delete(unit, caller.organization_no, dst_id, deps.clock.now())
        record(found, destination_action("destination_delete", found, before=destination_view(found.spec)))

    await perform(deps, caller, act)
    deps.notify_changes()


async def _change(
    deps: ControlDeps,
    caller: Caller,
    action: str,
    dst_id: str,
    patch: DestinationPatch,
    *,
    revision: int | None = None,
) -> DestinationState:
    def act(unit: Unit, record: Record) -> DestinationState:
        if revision is not None and _find_any(unit, deps, caller, dst_id).revision != revision:
            raise Conflict(
                "somebody changed this destination meanwhile, so nothing was saved: look at it again"
            )
        changed = destinations.change(
            unit,
            deps.sealer,
            (caller.organization_no, dst_id),
            patch,
            deps.clock.now(),
            probe=deps.settings.delivery.auto_redrive,
        )
        record(changed.after, destination_change(action, changed.before, changed.after))
        return _state(unit, changed.after)

    changed = await perform(deps, caller, act)
    deps.notify_changes()
    return changed


def _find_any(unit: Unit, deps: ControlDeps, caller: Caller, dst_id: str) -> Destination:
    return destinations.find(unit, deps.sealer, caller.organization_no, dst_id, damaged_too=True)


def _state(unit: Unit, destination: Destination) -> DestinationState:
    return DestinationState(destination, destinations.progress(unit, destination))
