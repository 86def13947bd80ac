"""The disk of a running service fails for a moment, in every way; then it is well again, and nobody starts anything."""

import errno
import os
import time

import httpx

from faults.frame import Fault, Run
from faults.served import Served, served

ALL = ("database", "log", "other")
FAULT_S = 0.4

FAULTS_OF_A_DISK = {
    "the log is full": (("write",), {"error": errno.ENOSPC, "files": ("log", "other")}),
    "a checkpoint finds no room": (("write",), {"error": errno.ENOSPC, "files": ("database",)}),
    "everything is full": (("write", "truncate"), {"error": errno.ENOSPC, "files": ALL}),
    "a third of the writes finds no room": (("write",), {"error": errno.ENOSPC, "every": 3}),
    "writes store a part": (("write",), {"error": errno.ENOSPC, "every": 3, "short": True}),
    "a quota is used up": (("write",), {"error": errno.EDQUOT, "files": ALL}),
    "a fifth of the writes fails": (("write",), {"error": errno.EIO, "every": 5}),
    "syncs fail": (("sync",), {"error": errno.EIO, "files": ALL}),
    "every second sync fails": (("sync",), {"error": errno.EIO, "every": 2}),
    "syncs of the database fail": (("sync",), {"error": errno.EIO, "files": ("database",)}),
    "reads fail": (("read",), {"error": errno.EIO}),
    "every ninth read fails": (("read",), {"error": errno.EIO, "every": 9}),
    "nothing can be opened": (("open",), {"error": errno.EMFILE}),
    "the disk is read-only": (("open", "write", "truncate", "sync"), {"error": errno.EROFS, "files": ALL}),
    "syncs take half a second": (("sync",), {"delay_ms": 500}),
}
UNWRITABLE = {"everything is full", "syncs fail", "a quota is used up"}
"""Those under which nothing at all is stored, so that readiness and doctor must say so."""


def break_the_disk(run: Run) -> None:
    """Play the faults of a disk, in an order by chance."""
    with served(run) as one:
        one.begin(pause_s=0.01, batch=(1, 10))
        names = run.random.sample(sorted(FAULTS_OF_A_DISK), len(FAULTS_OF_A_DISK))
        for number in range(run.rounds):
            _play(one, names[number % len(names)])
        one.end()
        run.expect(one.processes() <= one.pids, "a process was started anew")


def _play(one: Served, name: str) -> None:
    calls, how = FAULTS_OF_A_DISK[name]
    run, disk = one.run, one.injected.disk
    disk.start(*calls, **how)
    began_s = time.monotonic()
    if name in UNWRITABLE:
        _expect_it_is_told(one, name, how["error"])
    time.sleep(max(0.0, began_s + FAULT_S - time.monotonic()))  # the fault lasts
    run.add(runs=1, hits=disk.hits)
    disk.stop()
    one.recover()
    run.expect(one.processes() == one.pids, f"{name}: a process was started anew")
    one.pids = one.processes()


def _expect_it_is_told(one: Served, name: str, error: int) -> None:
    """Nothing is acknowledged, ingest says why with the right status, and readiness and doctor say so too."""
    run = one.run
    event = one.load.make(one.client.organization.org_id, 0, 1)
    one.load.sent.update(event)
    answer = one.client.send(event.values())
    run.expect(answer.status_code == 503, f"{name}: ingest answered {answer.status_code}: {answer.text}")
    ready = httpx.get(one.group.url + "/readyz", trust_env=False, timeout=30)
    run.expect(ready.status_code == 503, f"{name}: ready although nothing can be stored")
    found = one.doctor()
    run.expect(any(os.strerror(error) in line for line in found), f"{name}: doctor does not name it: {found}")


FAULTS = (
    Fault(
        "disk-service",
        "while the disk of a running service is full, read-only, slow or fails, nothing is acknowledged that is not stored, and "
        "readiness and doctor say so; afterwards all goes on in the same processes, nothing is lost, and no receiver is blamed",
        break_the_disk,
        rounds=len(FAULTS_OF_A_DISK),
        seconds=300,
    ),
)
