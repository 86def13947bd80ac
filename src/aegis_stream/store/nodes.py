"""Which node a worker runs on: its id names the node, so that a node judges only its own workers.

A SQLite database is one node, whatever machine it is copied or restored to: its processes are on one machine, and find each
other's sockets there. So its node is a row of the database.

Of a database that several machines share, a node is what can find each other's sockets: the processes on one data directory of one
running machine. Nothing is stored for that, so a copied directory, or a copied machine, is another node.
"""

import hashlib
import os
import re
from pathlib import Path

from aegis_stream.domain.ids import RANDOM_BYTES, Micros, WorkerId, new_id
from aegis_stream.ports import Random

from .database import Unit

_BYTES = 5
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
"""Another one after each start of the machine."""
_NAMED = re.compile(r"(?:wrk|prc)_([0-9a-f]{10})_[0-9a-z]{26}")


def own_node(unit: Unit, random: Random) -> str:
    """Return the id of this node; make one at the first start."""
    row = unit.row("node")
    if row is None:
        unit.run("insert_node", (int.from_bytes(random.random_bytes(_BYTES), "big"),))
        row = unit.row("node")
    assert row is not None, "it was inserted a moment ago"
    return f"{row[0]:0{2 * _BYTES}x}"


def node_of_directory(folder: Path, random: Random, boot_id: Path = _BOOT_ID) -> str:
    """Return the id of the node on a data directory: the same for all its processes until the machine is started again.

    Where the machine does not tell its start from another one each process is a node, and waits for leases to expire.

    Args:
        folder: it exists.
        boot_id: a file with an id of the machine's start.
    """
    try:
        start = boot_id.read_text(encoding="ascii").strip()
        place = folder.stat()
    except (OSError, UnicodeDecodeError):
        return random.random_bytes(_BYTES).hex()
    text = f"{start} {os.uname().nodename} {place.st_dev} {place.st_ino}"
    return hashlib.sha256(text.encode()).hexdigest()[: 2 * _BYTES]


def new_worker_id(node: str, now: Micros, random: Random) -> WorkerId:
    """Return an id for a new worker of a node."""
    return WorkerId(new_id(f"wrk_{node}", now, random.random_bytes(RANDOM_BYTES)))


def is_of_node(name: str, node: str) -> bool:
    """Tell whether a worker or another process runs on a node. Ids of version 0.1 name none: they come from the only node there was."""
    found = _NAMED.fullmatch(name)
    return found is None or found[1] == node
