"""Seal now: somebody wants a checkpoint that covers everything that is recorded.

Nothing is hashed here. The request is a row that the sealer sees when it looks, within about a second; this waits until it has sealed.
"""

import asyncio
from typing import Final, NamedTuple

from aegis_stream.domain.organization import Organization, ProofMode
from aegis_stream.errors import Conflict, Unavailable
from aegis_stream.store import organizations, tree
from aegis_stream.store.database import Unit
from aegis_stream.store.tree import SealedTree, SealState

from .deps import StoreDeps
from .seal_waits import SealWaits

WAIT_S: Final = 15.0
"""Longest wait for the sealer, seconds: it looks once a second, and seals tens of thousands of events in one."""
LOOK_S: Final = 0.1
"""Pause between two looks at the log, seconds; each reads two rows."""


class _Found(NamedTuple):
    """How far a log is sealed, and what is known of the request to seal it.

    Args:
        state: None for a log without events.
        newest: the newest tree; None when nothing was sealed yet.
        refused: why the sealer does not seal it; "" for no reason.
    """

    organization: Organization
    state: SealState | None
    newest: SealedTree | None
    refused: str

    @property
    def end(self) -> int:
        """The last sequence that a checkpoint covers; 0 without one."""
        return self.newest.end if self.newest is not None and self.newest.note else 0


async def seal_now(deps: StoreDeps, org_id: str, waits: SealWaits, *, runs: bool) -> SealedTree:
    """Have everything sealed that is recorded at the time of the call.

    Without an event that is not sealed, but checkpoint events of the last seal, this reads a few rows and asks nobody.

    Args:
        runs: whether the service seals at all: the setting `proof.enabled`.
    Returns: a tree whose checkpoint covers all those events; it may cover later ones too.
    Raises: NotFound. Conflict when the log is not sealed at all, has no events, or the sealer refuses to seal it. Limited when too many
        wait. Unavailable when no sealer has sealed all of it in time; what it was asked for stays asked.
    """
    found = await deps.db.read(lambda unit: _read(unit, org_id))
    _check_mode(found.organization, runs=runs)
    state = found.state
    if state is None:
        raise Conflict("no event is recorded: there is nothing to seal; record one first", code="not-sealed")
    if state.unsealed <= (state.own or 0):
        if found.newest is not None and found.newest.note:
            return found.newest
        if not state.unsealed:
            raise Conflict(
                "no event is recorded since this log began: there is nothing to seal; record one first",
                code="not-sealed",
            )
    with waits.place(state.organization_no):
        await deps.db.write(lambda unit: tree.ask_seal(unit, state.organization_no, state.head))
        return await _wait(deps, state)


async def _wait(deps: StoreDeps, asked: SealState) -> SealedTree:
    """Wait until a checkpoint covers what was recorded when it was asked for."""
    found = None
    try:
        async with asyncio.timeout(WAIT_S):
            while True:
                found = await deps.db.read(lambda unit: _read(unit, asked.org_id))
                if found.newest is not None and found.end >= asked.head:
                    return found.newest
                _check_mode(found.organization, runs=True)
                if found.refused:
                    raise Conflict(
                        f"the sealer refuses to seal this log, and will until the operator has looked at it: {found.refused}",
                        code="seal-refused",
                    )
                await asyncio.sleep(LOOK_S)
    except TimeoutError:
        pass
    if found is not None and found.end > asked.end:
        raise Unavailable(
            f"the sealer is behind: of {asked.head} events {found.end} are sealed after {WAIT_S:g} seconds, and it goes on; repeat the call",
            retry_after_s=5,
            code="seal-behind",
        )
    raise Unavailable(
        f"no sealer has sealed this log within {WAIT_S:g} seconds: the operator has to check with `aegis doctor` and in the log of the "
        "service that a sealer runs; then repeat the call",
        retry_after_s=10,
        code="no-sealer",
    )


def _read(unit: Unit, org_id: str) -> _Found:
    found = organizations.find(unit, org_id)
    return _Found(
        found,
        tree.seal_state(unit, found.no),
        tree.newest_tree(unit, found.no),
        tree.seal_refusal(unit, found.no),
    )


def _check_mode(organization: Organization, *, runs: bool) -> None:
    """Check that this log is sealed. Raises: Conflict."""
    if not runs:
        raise Conflict(
            "this service seals no logs: the operator has to run it with AEGIS_PROOF=true", code="proof-off"
        )
    if organization.proof is ProofMode.OFF:
        raise Conflict(
            f"the log of {organization.org_id} is not sealed, its mode is off: choose another one with PATCH "
            f"/api/orgs/{organization.org_id} and proof, or with `aegis proof mode`",
            code="proof-off",
        )
