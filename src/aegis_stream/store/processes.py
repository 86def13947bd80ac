"""Running `aegis serve` processes: functions of a unit of work, in the control lane.

Their number divides the limits that all of them keep to together, and the one that has been registered longest reports the sums
over the whole store. A registration is a lease, judged by the database's clock as those of workers are.
"""

from collections.abc import Sequence
from typing import NamedTuple

from aegis_stream.domain.ids import RANDOM_BYTES, Micros, new_id
from aegis_stream.ports import Random

from .database import Unit
from .leases import LEASE_MAX_US
from .local_wakeups import PRESENCE_PREFIX


class Registered(NamedTuple):
    """A process that is registered, living or not.

    Args:
        api_processes: how many answer requests under it.
        expires_at: until when it is known to live, by the database's clock.
    """

    process_id: str
    api_processes: int
    expires_at: Micros


def new_process_id(node: str, now: Micros, random: Random) -> str:
    """Return an id for a new process of a node."""
    return new_id(f"{PRESENCE_PREFIX}{node}", now, random.random_bytes(RANDOM_BYTES))


def registered(unit: Unit) -> list[Registered]:
    """Return all processes that are registered, in the order of registration."""
    return [Registered(*row) for row in unit.rows("processes")]


def register(
    unit: Unit, process_id: str, api_processes: int, lease_us: int, *, judges: bool
) -> list[Registered]:
    """Register a process for a while, or prolong its registration.

    Args:
        judges: remove those whose time is over. False after an outage, when the others may be about to return.
    Returns: all processes that are registered now, in the order of registration.
    """
    now = unit.steady()
    if judges:
        unit.run("delete_expired_processes", (now, now + LEASE_MAX_US, process_id))
    last = unit.row("last_place")
    assert last is not None, "an aggregate always has a row"
    unit.run("register_process", (process_id, last[0] + 1, api_processes, unit.now(), now + lease_us))
    return registered(unit)


def remove(unit: Unit, process_ids: Sequence[str]) -> None:
    """Remove processes that stop, or were found dead."""
    for process_id in process_ids:
        unit.run("delete_process", (process_id,))
