"""A power cut: what a disk may hold after one, rebuilt from a log of what SQLite asked of its file system.

`RecordingVfs` passes everything on and notes each write, truncation and sync. `Disk` replays the log up to any moment: what was
synced is there; of what was not, any part may be: whole, torn at a sector, or not at all.
"""

from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import apsw

SECTOR = 512
"""What a disk writes whole."""
NAME, BASE = "recording", "unix"


@dataclass(frozen=True)
class Step:
    """One call to the file system.

    Args:
        kind: "write", "truncate", "sync", "lost" (a sync that failed: what waited for it is never written) or "delete".
        at: offset of a write, length of a truncation.
    """

    kind: str
    file: str
    at: int = 0
    data: bytes = b""


@dataclass
class Recorder:
    """What was asked of the file system, in order.

    Attributes:
        syncs_until_failure: 0 fails the next sync; None fails none.
    """

    steps: list[Step] = field(default_factory=list)
    syncs_until_failure: int | None = None

    def fails(self) -> bool:
        """Tell whether this sync fails."""
        if self.syncs_until_failure is None:
            return False
        self.syncs_until_failure -= 1
        if self.syncs_until_failure >= 0:
            return False
        self.syncs_until_failure = None
        return True


class RecordingVfs(apsw.VFS):
    """The default file system, recorded; every connection opened while it is registered uses it."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        super().__init__(NAME, BASE, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return _RecordingFile(self.recorder, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - SQLite's name
        self.recorder.steps.append(Step("delete", Path(filename).name))
        super().xDelete(filename, syncdir)


class _RecordingFile(apsw.VFSFile):
    def __init__(self, recorder: Recorder, name: Any, flags: list[int]) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._file, self._recorder = Path(path or "").name, recorder
        super().__init__(BASE, name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        super().xWrite(data, offset)
        self._recorder.steps.append(Step("write", self._file, offset, bytes(data)))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        super().xTruncate(newsize)
        self._recorder.steps.append(Step("truncate", self._file, newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        if self._recorder.fails():
            self._recorder.steps.append(Step("lost", self._file))
            raise apsw.IOError
        super().xSync(flags)
        self._recorder.steps.append(Step("sync", self._file))


class Disk:
    """What lies on the disk when the power fails after some of the steps.

    Args:
        random: decides what becomes of each write that was not synced.
    """

    def __init__(self, steps: list[Step], random: Random) -> None:
        durable: dict[str, bytearray] = {}
        pending: dict[str, list[Step]] = {}
        for step in steps:
            waiting = pending.setdefault(step.file, [])
            if step.kind == "delete":
                durable.pop(step.file, None)
                waiting.clear()
            elif step.kind == "lost":
                waiting.clear()
            elif step.kind == "sync":
                for one in waiting:
                    _apply(durable.setdefault(step.file, bytearray()), one)
                waiting.clear()
            else:
                waiting.append(step)
        for name, waiting in pending.items():
            for step in waiting:
                _apply(durable.setdefault(name, bytearray()), _what_is_left(step, random))
        self.files = durable

    def write_to(self, folder: Path) -> None:
        """Make a directory with these files; SQLite rebuilds its index of the log."""
        folder.mkdir()
        for name, content in self.files.items():
            if not name.endswith("-shm"):
                (folder / name).write_bytes(content)


def _what_is_left(step: Step, random: Random) -> Step | None:
    """Return the part of a step that reached the disk."""
    fate = random.random()
    if fate < 0.4:
        return None
    if fate < 0.8 or step.kind != "write":
        return step
    whole = random.randrange(len(step.data) // SECTOR + 1) * SECTOR
    return Step("write", step.file, step.at, step.data[:whole])


def _apply(content: bytearray, step: Step | None) -> None:
    if step is None:
        return
    if step.kind == "truncate":
        del content[step.at :]
        return
    content.extend(bytes(max(0, step.at - len(content))))
    content[step.at : step.at + len(step.data)] = step.data
