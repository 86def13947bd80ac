"""Send one event again to some destinations."""

from collections.abc import Sequence as Seq
from typing import NamedTuple

from aegis_stream.domain.audit import AdminAction
from aegis_stream.errors import NotFound
from aegis_stream.store import destinations, resending
from aegis_stream.store.database import Unit

from .audit import Record, perform
from .caller import Caller
from .deps import ControlDeps


class Resent(NamedTuple):
    """What was done at one destination.

    Args:
        queued: False when the event waits there for its first attempt already.
    """

    dst_id: str
    queued: bool


async def send_again(deps: ControlDeps, caller: Caller, event_id: str, dst_ids: Seq[str]) -> list[Resent]:
    """Make an event pending at some destinations, whatever their filters say; it gets all its attempts there.

    One transaction and one audit event, whatever their number. It is stored when this returns, and sent as soon as the
    destination takes events.
    Raises: NotFound when the event or one of the destinations does not exist, and then nothing is done. Unavailable.
    """

    def act(unit: Unit, record: Record) -> list[Resent]:
        sequence = resending.sequence_of(unit, caller.organization_no, event_id)
        if sequence is None:
            raise NotFound(
                "there is no event with this id in this organization; it may be older than the retention time"
            )
        found = [
            destinations.find(unit, deps.sealer, caller.organization_no, one, damaged_too=True)
            for one in dict.fromkeys(dst_ids)
        ]
        # By number: whoever locks several destinations does so in this order, or two of them would wait for each other.
        queued = {
            one.dst_id: resending.send_again(unit, one, sequence)
            for one in sorted(found, key=lambda one: one.no)
        }
        result = [Resent(one.dst_id, queued[one.dst_id]) for one in found]
        ids = [one.dst_id for one in found]
        count = sum(one.queued for one in result)
        action = AdminAction("event_send", "event", event_id, after={"destination_ids": ids}, count=count)
        record(caller, action)
        return result

    result = await perform(deps, caller, act)
    deps.notify_changes()
    return result
