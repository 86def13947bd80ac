"""Which node a worker runs on: its id names the node, so that a node judges only its own workers.

A node is a data directory: processes that share one are on one machine, and can look for each other's sockets there. With one
database for several machines, each has a data directory of its own.
"""

import contextlib
import os
import re
from pathlib import Path

from aegis_stream.domain.ids import RANDOM_BYTES, Micros, WorkerId, new_id
from aegis_stream.errors import Misconfigured
from aegis_stream.ports import Random

FILE = "node.id"
_BYTES = 5
_NODE = re.compile(r"[0-9a-f]{10}")
_WORKER = re.compile(r"wrk_([0-9a-f]{10})_[0-9a-z]{26}")


def own_node(folder: Path, random: Random) -> str:
    """Return the id of this node; make one at the first start, and where the file holds none.

    Args:
        folder: the data directory.
    Raises: Misconfigured when the file can be neither read nor written.
    """
    path = folder / FILE
    try:
        with contextlib.suppress(FileNotFoundError):
            if (found := _NODE.match(path.read_text(encoding="utf-8", errors="replace"))) is not None:
                return found[0]
            path.unlink(missing_ok=True)
        return _make(path, random.random_bytes(_BYTES).hex())
    except OSError as error:
        raise Misconfigured(
            f"cannot write {path}: {error.strerror}; AEGIS_DATA_DIR must be a directory this user may write to"
        ) from error


def _make(path: Path, node: str) -> str:
    """Write the id under its name, whole or not at all; of several processes that start at once, one wins."""
    partial = path.with_name(f"{FILE}.{node}")
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(node + "\n")
    try:
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(partial)
    finally:
        partial.unlink()
    return path.read_text(encoding="utf-8").strip()


def new_worker_id(node: str, now: Micros, random: Random) -> WorkerId:
    """Return an id for a new worker of a node."""
    return WorkerId(new_id(f"wrk_{node}", now, random.random_bytes(RANDOM_BYTES)))


def is_of_node(worker_id: str, node: str) -> bool:
    """Tell whether a worker runs on a node. Ids of version 0.1 name none: they come from the only node there was."""
    found = _WORKER.fullmatch(worker_id)
    return found is None or found[1] == node
