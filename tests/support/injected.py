"""A service whose disk and clock a test controls while it runs, without root and without a compiler.

    injected = Injected(tmp_path)
    with service_group(tmp_path, **injected.environment) as group:
        group.start()
        injected.disk.start("sync", error=errno.EIO)
        injected.set_clock(ahead_s=3600)

Every Python process that has the environment reads the same control file: the service, its children, `aegis doctor`.
"""

import mmap
import os
from pathlib import Path

from support.disk_faults import BYTES, CLOCK_S, DiskFaults

TESTS = Path(__file__).resolve().parents[1]


class Injected:
    """Faults of one service.

    Args:
        folder: of the test; the data directory is `data` in it.
    """

    def __init__(self, folder: Path) -> None:
        control = folder / "faults.control"
        control.write_bytes(bytes(BYTES))
        with control.open("r+b") as file:
            self.disk = DiskFaults(mmap.mmap(file.fileno(), BYTES))
        paths = [str(TESTS / "support" / "injection"), str(TESTS), os.environ.get("PYTHONPATH", "")]
        self.environment = {
            "FAULTS_CONTROL": str(control),
            "FAULTS_FOLDER": str(folder / "data"),
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        }

    def set_clock(self, ahead_s: int) -> None:
        """Set the wall clock so many seconds ahead of the right time, or back."""
        self.disk.switches[CLOCK_S] = ahead_s
