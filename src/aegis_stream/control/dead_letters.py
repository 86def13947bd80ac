"""Dead letters: list, redrive, purge."""

from collections.abc import Sequence as Seq

from aegis_stream.domain.audit import destination_action
from aegis_stream.store import dead_letters, destinations
from aegis_stream.store.database import Unit
from aegis_stream.store.dead_letters import DeadLetter

from .audit import Record, perform
from .caller import Caller
from .deps import ControlDeps


async def list_of(deps: ControlDeps, caller: Caller, dst_id: str, after: int, limit: int) -> list[DeadLetter]:
    """Return dead letters of a destination with a sequence above `after`, in log order. Raises: NotFound, Unavailable."""

    def work(unit: Unit) -> list[DeadLetter]:
        found = destinations.find(unit, deps.sealer, caller.organization_no, dst_id)
        return dead_letters.list_of(unit, found, after, limit)

    return await deps.db.read(work)


async def redrive(deps: ControlDeps, caller: Caller, dst_id: str, event_ids: Seq[str] | None) -> int:
    """Make dead letters pending again; each gets all its attempts again.

    One transaction and one audit event, whatever their number. While it runs, other writes wait: 0.2 s for 100,000.

    Args:
        event_ids: None for all.
    Returns: how many were redriven.
    Raises: NotFound, Unavailable.
    """

    def act(unit: Unit, record: Record) -> int:
        found = destinations.find(unit, deps.sealer, caller.organization_no, dst_id)
        count = dead_letters.redrive(unit, found, event_ids)
        record(found, destination_action("dead_letters_redrive", found, count=count))
        return count

    count = await perform(deps, caller, act)
    deps.notify_changes()
    return count


async def purge(deps: ControlDeps, caller: Caller, dst_id: str, event_id: str | None) -> int:
    """Delete dead letters for good.

    Args:
        event_id: None for all.
    Returns: how many were purged.
    Raises: NotFound, Unavailable.
    """

    def act(unit: Unit, record: Record) -> int:
        found = destinations.find(unit, deps.sealer, caller.organization_no, dst_id)
        count = dead_letters.purge(unit, found, event_id)
        record(found, destination_action("dead_letters_purge", found, count=count))
        return count

    count = await perform(deps, caller, act)
    deps.notify_changes()  # a destination that waits because it has too many may go on
    return count
