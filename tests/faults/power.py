"""A power cut: what a disk may hold after one, rebuilt from a log of what the program asked of its file system.

    with recording(folder) as recorder:
        ...                                    # SQLite, and the program's own files
    disk = Disk()
    for step in recorder.steps[:any_number]:
        disk.take(step)
    disk.write_to(another_folder, disk.cut(random))

What was synced is there. Of what was not, any part may be: writes as a whole, without some of their sectors, or not at all. A name
is there when its directory was synced after it was given; until then any of the names since may be. After a sync that failed, what it
was to write is never written, or by the next one.
"""

import contextlib
import ctypes
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import apsw

SECTOR = 512
"""What a disk writes whole."""
NAME, BASE = "recording", "unix"
FOLDER = -1
"""Stands for the directory where steps name a file."""


@dataclass(frozen=True)
class Step:
    """One call to the file system.

    Args:
        kind: "create", "write", "truncate", "sync", "lost" (a sync that failed), "unlink", "rename" or "sync names".
        file: number of the file; a file that takes the name of another one has its own.
        name: of a file that is created, unlinked or renamed.
        at: offset of a write, length of a truncation.
    """

    kind: str
    file: int = FOLDER
    name: str = ""
    at: int = 0
    data: bytes = b""


@dataclass
class Recorder:
    """What was asked of the file system, in order.

    Attributes:
        syncs_until_failure: 0 fails the next sync of the database; None fails none.
    """

    folder: Path
    steps: list[Step] = field(default_factory=list)
    syncs_until_failure: int | None = None
    files: dict[str, int] = field(default_factory=dict)
    """Name → number of the file that has it now."""

    def add(self, kind: str, file: int = FOLDER, **more: Any) -> None:
        """Note a step."""
        self.steps.append(Step(kind, file, **more))

    def opened(self, name: str, *, is_new: bool) -> int:
        """Return the number of a file that was opened."""
        if is_new or name not in self.files:
            self.files[name] = len(self.steps)  # unique: a step follows
            self.add("create", self.files[name], name=name)
        return self.files[name]

    def renamed(self, name: str, to: str) -> None:
        """Note that a file has another name."""
        self.files[to] = self.files.pop(name)
        self.add("rename", self.files[to], name=f"{name}/{to}")

    def unlinked(self, name: str) -> None:
        """Note that a name is gone."""
        self.files.pop(name, None)
        self.add("unlink", name=name)

    def fails(self) -> bool:
        """Tell whether this sync fails."""
        if self.syncs_until_failure is None:
            return False
        self.syncs_until_failure -= 1
        if self.syncs_until_failure >= 0:
            return False
        self.syncs_until_failure = None
        return True


class _RecordingVfs(apsw.VFS):
    """The default file system, recorded; every connection opened while it is registered uses it."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        super().__init__(NAME, BASE, makedefault=True)

    def xOpen(self, name: Any, flags: list[int]) -> apsw.VFSFile:  # noqa: N802 - SQLite's name
        return _RecordingFile(self._recorder, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802 - SQLite's name
        self._recorder.unlinked(Path(filename).name)
        super().xDelete(filename, syncdir)


class _RecordingFile(apsw.VFSFile):
    def __init__(self, recorder: Recorder, name: Any, flags: list[int]) -> None:
        path = Path((name.filename() if isinstance(name, apsw.URIFilename) else name) or "")
        is_new = not path.exists()
        super().__init__(BASE, name, flags)
        self._recorder = recorder
        self._file = recorder.opened(path.name, is_new=is_new)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 - SQLite's name
        super().xWrite(data, offset)
        self._recorder.add("write", self._file, at=offset, data=bytes(data))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802 - SQLite's name
        super().xTruncate(newsize)
        self._recorder.add("truncate", self._file, at=newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802 - SQLite's name
        if self._recorder.fails():
            self._recorder.add("lost", self._file)
            raise apsw.IOError
        super().xSync(flags)
        self._recorder.add("sync", self._file)


class _OwnFiles:
    """The program's own files below a folder: the calls of `os` by which they are written."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder, self._folder = recorder, recorder.folder
        self._open: dict[int, int] = {}
        self._real = {name: getattr(os, name) for name in ("open", "fsync", "replace", "rename", "unlink")}

    def patched(self) -> contextlib.ExitStack:
        """Put the recording calls in place of the real ones, until the stack is closed."""
        stack = contextlib.ExitStack()
        renamed = {
            "fsync": self.fsync,
            "fdatasync": self.fsync,
            "replace": self.replace,
            "rename": self.replace,
        }
        for name, call in {"open": self.open, "unlink": self.unlink, **renamed}.items():
            stack.enter_context(mock.patch.object(os, name, call))
        return stack

    def open(self, path: Any, flags: int, mode: int = 0o777, **more: Any) -> int:
        """Note a file that is created or cut, and which descriptor it has."""
        place = Path(path)
        is_new = not place.exists()
        handle: int = self._real["open"](path, flags, mode, **more)
        self._open.pop(handle, None)
        if place == self._folder:
            self._open[handle] = FOLDER
        elif place.parent == self._folder and flags & (os.O_WRONLY | os.O_RDWR):
            self._open[handle] = self._recorder.opened(place.name, is_new=is_new)
            if flags & os.O_TRUNC:
                self._recorder.add("truncate", self._open[handle])
        return handle

    def fsync(self, handle: int) -> None:
        """Note what a file holds, and that it is synced."""
        file = self._open.get(handle)
        if file == FOLDER:
            self._recorder.add("sync names")
        elif file is not None:
            content = Path(f"/proc/self/fd/{handle}").resolve().read_bytes()
            self._recorder.add("write", file, data=content)
            self._recorder.add("sync", file)
        self._real["fsync"](handle)

    def replace(self, source: Any, target: Any, **more: Any) -> None:
        """Note another name."""
        self._real["replace"](source, target, **more)
        if Path(target).parent == self._folder:
            self._recorder.renamed(Path(source).name, Path(target).name)

    def unlink(self, path: Any, **more: Any) -> None:
        """Note a name that is gone."""
        self._real["unlink"](path, **more)
        if Path(path).parent == self._folder:
            self._recorder.unlinked(Path(path).name)


@contextlib.contextmanager
def recording(folder: Path) -> Iterator[Recorder]:
    """Record what happens inside the block to the files of a folder, SQLite's and others'."""
    recorder = Recorder(folder)
    for entry in folder.iterdir():
        recorder.opened(entry.name, is_new=True)
        recorder.add("write", recorder.files[entry.name], data=entry.read_bytes())
        recorder.add("sync", recorder.files[entry.name])
    recorder.add("sync names")
    vfs = _RecordingVfs(recorder)
    # SQLite syncs the directory of a new log by itself, beneath the calls that a VFS sees.
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_char_p, ctypes.POINTER(ctypes.c_int))
    real = kind(vfs.xGetSystemCall("openDirectory"))

    def open_directory(path: bytes, handle: Any) -> int:
        recorder.add("sync names")
        return real(path, handle)

    noted = kind(open_directory)
    vfs.xSetSystemCall("openDirectory", ctypes.cast(noted, ctypes.c_void_p).value)
    try:
        with _OwnFiles(recorder).patched():
            yield recorder
    finally:
        vfs.xSetSystemCall("openDirectory", 0)
        vfs.unregister()


@dataclass
class _File:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[Step] = field(default_factory=list)


class Disk:
    """What lies on a disk while steps are taken, and what may be left of it when the power fails.

    Args:
        random: decides what a failed sync has written, and whether the next one writes the rest.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._files: dict[int, _File] = {}
        self._names: dict[str, int] = {}
        self._pending_names: list[Step] = []

    def take(self, step: Step) -> None:
        """Do what was asked of the file system."""
        if step.kind in ("create", "rename", "unlink"):
            self._pending_names.append(step)
        elif step.kind == "sync names":
            for one in self._pending_names:
                _name(self._names, one)
            self._pending_names.clear()
        else:
            self._take_of_file(self._files.setdefault(step.file, _File()), step)

    def _take_of_file(self, file: _File, step: Step) -> None:
        if step.kind == "sync":
            for one in file.pending:
                _apply(file.durable, one)
            file.pending.clear()
        elif step.kind == "lost":
            for one in file.pending:
                _apply(file.durable, _what_is_left(one, self._random))
            if (
                self._random.random() < 0.7
            ):  # the kernel takes the pages for written: nobody writes them any more
                file.pending.clear()
        else:
            file.pending.append(step)

    def cut(self, random: Random) -> dict[str, bytes]:
        """Return what the names hold when the power fails now."""
        names = dict(self._names)
        share = random.choice((0.0, 1.0, random.random()))
        kept = [one for one in self._pending_names if random.random() < share]
        if random.random() < 0.5:  # in order, as a journal keeps them
            kept = self._pending_names[: len(kept)]
        for one in kept:
            _name(names, one)
        return {name: self._content(number, random) for name, number in names.items()}

    def kill(self) -> dict[str, bytes]:
        """Return what the names hold when the process is killed now: the kernel still writes everything."""
        names = dict(self._names)
        for one in self._pending_names:
            _name(names, one)
        held = {}
        for name, number in names.items():
            file = self._files.get(number, _File())
            held[name] = bytearray(file.durable)
            for one in file.pending:
                _apply(held[name], one)
        return {name: bytes(content) for name, content in held.items()}

    def _content(self, number: int, random: Random) -> bytes:
        file = self._files.get(number, _File())
        content = bytearray(file.durable)
        for step in file.pending:
            _apply(content, _what_is_left(step, random))
        return bytes(content)


def write_to(folder: Path, files: dict[str, bytes]) -> None:
    """Make a directory with these files; SQLite rebuilds its index of the log."""
    folder.mkdir(mode=0o700)
    for name, content in files.items():
        if not name.endswith("-shm"):
            (folder / name).write_bytes(content)
            (folder / name).chmod(0o600)


def _name(names: dict[str, int], step: Step) -> None:
    if step.kind == "unlink":
        names.pop(step.name, None)
    elif step.kind == "create":
        names[step.name] = step.file
    else:
        before, _, after = step.name.partition("/")
        names.pop(before, None)
        names[after] = step.file


def _what_is_left(step: Step, random: Random) -> Step | None:
    """Return the part of a step that reached the disk; its bytes that did not are zero-length here, so old ones stay."""
    fate = random.random()
    if fate < 0.4:
        return None
    if fate < 0.7 or step.kind != "write" or len(step.data) <= SECTOR:
        return step
    if fate < 0.85:
        whole = random.randrange(len(step.data) // SECTOR + 1) * SECTOR
        return Step("write", step.file, at=step.at, data=step.data[:whole])
    return Step("torn", step.file, at=step.at, data=step.data, name=str(random.getrandbits(32)))


def _apply(content: bytearray, step: Step | None) -> None:
    if step is None:
        return
    if step.kind == "truncate":
        del content[step.at :]
        content.extend(bytes(max(0, step.at - len(content))))
        return
    content.extend(bytes(max(0, step.at - len(content))))
    if step.kind == "write":
        content[step.at : step.at + len(step.data)] = step.data
        return
    choice = Random(int(step.name))
    content.extend(bytes(max(0, step.at + len(step.data) - len(content))))
    for first in range(0, len(step.data), SECTOR):
        if choice.random() < 0.6:
            sector = step.data[first : first + SECTOR]
            content[step.at + first : step.at + first + len(sector)] = sector
