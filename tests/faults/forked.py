"""Service processes made by fork, so that a thousand kills take minutes: each starts with everything imported.

    with Forker() as forker:
        worker = forker.start(["worker"], environment, log)
        kill(worker.pid)
        worker.wait()

A process is told to kill itself at a point of `POINTS`, or at a call of its file system: `die_at`. Nothing else about it differs
from one that the shell started.
"""

import ctypes
import importlib
import inspect
import json
import os
import select
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

POINTS = {
    "before a transaction": ("store.sqlite.writer", "GroupWriter._try_commit", "before"),
    "inside a transaction": ("store.sqlite.writer", "GroupWriter._run_one", "after"),
    "after a commit, before anybody is told": ("store.sqlite.writer", "GroupWriter._answer", "before"),
    "after a 2xx, before its settlement": ("store.ledger", "StoredLedger.settle", "before"),
    "inside a settlement": ("store.ledger", "settle", "after"),
    "inside an append": ("store.log", "append_events", "after"),
    "before leases are taken": ("store.leases", "claim", "before"),
    "after leases are taken": ("store.leases", "claim", "after"),
    "inside the registration of a worker": ("store.leases", "enlist", "after"),
    "before a checkpoint": ("store.sqlite.checkpoint", "copy", "before"),
    "after a checkpoint": ("store.sqlite.checkpoint", "copy", "after"),
    "before the number of events is noted": ("store.recorded_head", "RecordedHead.write", "before"),
}
"""Where a process kills itself: module, function, and whether before or after it has run."""
SEALER_POINTS = {
    "after the events of a seal are read": ("store.tree", "read_unsealed", "after"),
    "inside the making of a key": ("control.sealing", "_make_key", "after"),
    "before a checkpoint is noted": ("store.checkpoint_log", "CheckpointLog.note", "before"),
    "in the middle of a note": ("store.checkpoint_log", "_write", "half"),
    "between a note and its sync": ("store.checkpoint_log", "_write", "after"),
    "after the sync of a note": ("store.checkpoint_log", "_write_synced", "after"),
    "after a checkpoint is noted": ("store.checkpoint_log", "CheckpointLog.note", "after"),
    "inside a seal, before its checkpoint events": ("store.tree", "store_seal", "after"),
    "before the commit of a seal": ("control.sealing", "_store", "after"),
    "after the commit of a seal": ("control.sealing", "seal", "after"),
}
"""Where a sealer kills itself, as in POINTS; `half`: of what it is to write, half is written. At a later call of each it is in the
middle of a catch-up."""
FILE_CALLS = ("xWrite", "xSync", "xTruncate")
"""File-system calls of SQLite at which a process kills itself; of a write, half is written."""
ROLES = {"api": ["serve", "--workers", "0"], "worker": ["worker"], "sealer": ["sealer"]}


@dataclass(frozen=True)
class DieAt:
    """Where a process kills itself.

    Args:
        place: a key of POINTS or SEALER_POINTS, or one of FILE_CALLS.
        call: at which call of it, from 1.
    """

    place: str
    call: int


@dataclass
class Process:
    """A forked process; its parent is not this one."""

    pid: int

    def __post_init__(self) -> None:
        self._fd: int | None = None
        with suppress(ProcessLookupError):
            self._fd = os.pidfd_open(self.pid)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it has ended; return whether it has."""
        if self._fd is None:
            return True
        ended, _, _ = select.select([self._fd], [], [], seconds)
        if ended:
            os.close(self._fd)
            self._fd = None
        return bool(ended)

    def send(self, number: int) -> None:
        """Send a signal; nothing if it has ended. By the descriptor, so that no other process of this number gets it."""
        if self._fd is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, number)

    def kill(self) -> None:
        """Kill it, and wait."""
        self.send(signal.SIGKILL)
        self.wait()


class Forker:
    """The process that forks; its children end with it."""

    def __enter__(self) -> Self:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._forker = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
        )
        assert self._forker.stdout is not None
        assert self._forker.stdout.readline() == b"ready\n"
        return self

    def start(
        self, command: list[str], environment: dict[str, str], log: Path, die_at: DieAt | None = None
    ) -> Process:
        """Fork a process that runs this command of `aegis`."""
        order = {
            "command": command,
            "environment": environment,
            "log": str(log),
            "die_at": [die_at.place, die_at.call] if die_at else None,
        }
        assert self._forker.stdin is not None
        assert self._forker.stdout is not None
        self._forker.stdin.write(json.dumps(order).encode() + b"\n")
        self._forker.stdin.flush()
        return Process(int(self._forker.stdout.readline()))

    def __exit__(self, *_: object) -> None:
        assert self._forker.stdin is not None
        assert self._forker.stdout is not None
        self._forker.stdin.close()
        self._forker.wait(30)
        self._forker.stdout.close()


# ── what runs in the forked process ──


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _count_down(calls: int) -> Callable[[], bool]:
    """Return a function that is true at its n-th call."""
    left = [calls]

    def reached() -> bool:
        left[0] -= 1
        return left[0] == 0

    return reached


def _arm_point(point: str, call: int) -> None:
    module_name, name, when = (POINTS | SEALER_POINTS)[point]
    module = importlib.import_module(f"aegis_stream.{module_name}")
    owner_name, _, attribute = name.rpartition(".")
    owner = getattr(module, owner_name) if owner_name else module
    original = getattr(owner, attribute)
    reached = _count_down(call)

    async def deadly_later(*arguments: Any, **named: Any) -> Any:
        result = await original(*arguments, **named)
        if reached():
            _die()
        return result

    def deadly(*arguments: Any, **named: Any) -> Any:
        if when in ("before", "half"):
            if reached():
                if when == "half":
                    handle, data = arguments
                    original(handle, data[: len(data) // 2])
                _die()
            return original(*arguments, **named)
        result = original(*arguments, **named)
        if reached():
            _die()
        return result

    static = isinstance(vars(owner).get(attribute), staticmethod)
    put = deadly_later if inspect.iscoroutinefunction(original) else deadly
    for place in [owner, *_importers(original)] if not owner_name else [owner]:
        setattr(place, attribute, staticmethod(put) if static else put)


def _importers(function: Any) -> list[Any]:
    """Return the modules that have imported a function by its name."""
    return [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("aegis_stream.") and getattr(module, function.__name__, None) is function
    ]


def arm_file_system(call_name: str, call: int) -> Any:
    """Kill this process at the n-th call of its file system; of a write, half is written. Returns: keep it."""
    import apsw

    reached = _count_down(call)

    class DeadlyFile(apsw.VFSFile):
        def __init__(self, name: Any, flags: list[int]) -> None:
            super().__init__("unix", name, flags)

        def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
            if call_name == "xWrite" and reached():
                super().xWrite(data[: len(data) // 2], offset)
                _die()
            super().xWrite(data, offset)

        def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
            if call_name == "xSync" and reached():
                _die()
            super().xSync(flags)

        def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
            if call_name == "xTruncate" and reached():
                _die()
            super().xTruncate(newsize)

    class DeadlyVfs(apsw.VFS):
        def __init__(self) -> None:
            super().__init__("deadly", "unix", makedefault=True)

        def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
            return DeadlyFile(name, flags)

    return DeadlyVfs()


def _become(order: dict[str, Any]) -> None:
    """Run the command in this process, and end with it."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL, 0, 0, 0)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    for taken, given in ((null, 0), (log, 1), (log, 2)):
        os.dup2(taken, given)
    os.environ.clear()
    os.environ.update(order["environment"])
    sys.argv = ["aegis", *order["command"]]
    kept = None
    if order["die_at"]:
        place, call = order["die_at"]
        if place in POINTS or place in SEALER_POINTS:
            _arm_point(place, call)
        else:
            kept = arm_file_system(place, call)
    from aegis_stream.cli.main import main
    from aegis_stream.sealer.yielding import Yielding

    # It would give way to the rest of a busy machine, and reach no point in time.
    Yielding.rest_s = lambda _: 0.0  # type: ignore[method-assign]
    os.nice = lambda _: 0
    try:
        main()
    except SystemExit as ended:
        sys.stdout.flush()
        os._exit(int(ended.code or 0))
    os._exit(70 if kept is None else 71)  # `main` always exits


def _serve() -> None:
    """Fork a process for each order that is read; end when there are no more."""
    for name in ("cli.service", "cli.main", "serving.server", "serving.worker", "serving.sealer", "api.app"):
        importlib.import_module(f"aegis_stream.{name}")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel removes what has ended
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            try:
                _become(order)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(72)
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
