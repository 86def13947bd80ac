"""Ends the PostgreSQL servers of a test process when that process is gone, also when it was killed.

A program of its own: `postgres_reaper.py FOLDER`, with a pipe as its standard input that only the test process can write to.
At the end of the pipe it kills every process whose command names the folder, and that one's children; then it removes the folder.
"""

import os
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

PATIENCE_S = 10.0
"""Seconds in which killed processes must be gone."""


def main(folder: str) -> None:
    """Wait for the end of the pipe, then clean up."""
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.SIG_IGN)  # whoever stops the tests by their group must not stop this
    while os.read(0, 4096):
        pass
    deadline = time.monotonic() + PATIENCE_S
    while (found := named_in_commands(folder)) and time.monotonic() < deadline:
        for pid in found:
            kill_with_children(pid)
        time.sleep(0.02)
    shutil.rmtree(folder, ignore_errors=True)


def named_in_commands(folder: str) -> list[int]:
    """Return the processes, other than this one, whose command line names something in the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if os.fsencode(folder) in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
    return found


def kill_with_children(pid: int) -> None:
    """Kill a server; it is stopped first, so that it has no further child meanwhile."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGSTOP)
        for one in reversed(processes_of(pid)):
            with suppress(ProcessLookupError):
                os.kill(one, signal.SIGKILL)


def processes_of(pid: int) -> list[int]:
    """Return a server's processes, its first one first: PostgreSQL's others are all children of that."""
    found = [pid]
    with suppress(OSError):
        found += [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return found


if __name__ == "__main__":
    main(sys.argv[1])
