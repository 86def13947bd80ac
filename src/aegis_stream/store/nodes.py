"""Which node a worker runs on: its id names the node, so that a node judges only its own workers.

A SQLite database is one node, whatever machine it is copied or restored to: its processes are on one machine, and find each
other's sockets there. So its node is a row of the database. A database that several machines share needs one id for each.
"""

import re

from aegis_stream.domain.ids import RANDOM_BYTES, Micros, WorkerId, new_id
from aegis_stream.ports import Random

from .database import Unit

_BYTES = 5
_WORKER = re.compile(r"wrk_([0-9a-f]{10})_[0-9a-z]{26}")


def own_node(unit: Unit, random: Random) -> str:
    """Return the id of this node; make one at the first start."""
    row = unit.row("node")
    if row is None:
        unit.run("insert_node", (int.from_bytes(random.random_bytes(_BYTES), "big"),))
        row = unit.row("node")
    assert row is not None, "it was inserted a moment ago"
    return f"{row[0]:0{2 * _BYTES}x}"


def new_worker_id(node: str, now: Micros, random: Random) -> WorkerId:
    """Return an id for a new worker of a node."""
    return WorkerId(new_id(f"wrk_{node}", now, random.random_bytes(RANDOM_BYTES)))


def is_of_node(worker_id: str, node: str) -> bool:
    """Tell whether a worker runs on a node. Ids of version 0.1 name none: they come from the only node there was."""
    found = _WORKER.fullmatch(worker_id)
    return found is None or found[1] == node
