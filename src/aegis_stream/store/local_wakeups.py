"""Wake-ups between the processes of one data directory: a datagram socket per worker.

A process that appends events or changes destinations notifies the workers at once, in a message of a few bytes. A message
may be lost (a full buffer, a worker that is just starting): workers also read the database several times a second. A
socket also shows that its process lives: the kernel refuses a message to the socket of a dead process. `aegis serve` has
one for that alone.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path

from aegis_stream.errors import Unavailable

_PAIR = struct.Struct("<QQ")
PAIRS_PER_MESSAGE_MAX = 512
LOOK_AGAIN_S = 0.5
"""How long a list of workers is used before it is read again, seconds."""
PRESENCE_PREFIX = "prc_"
"""How the ids of processes begin that nobody wakes."""
UNIX_PATH_MAX = 100
"""Longest path that a socket address holds, with a margin (sun_path has 108 bytes)."""


class WakeNotifier:
    """The sending side (port Notifier): notifies every worker of this data directory.

    Args:
        folder: where the workers' sockets are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = _Folder(folder)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._heads: dict[int, int] = {}
        self._addresses: list[str] = []
        self._looked_at_s = -LOOK_AGAIN_S

    def notify(self, organization_no: int, head: int) -> None:
        """Tell that a log has grown to `head`; what is told in one turn of the event loop goes into one message."""
        if not self._heads:
            asyncio.get_running_loop().call_soon(self._send)
        self._heads[organization_no] = head

    def notify_changes(self) -> None:
        """Tell that destinations changed; a worker that has just started is told as well."""
        self._looked_at_s = -LOOK_AGAIN_S
        self.notify(0, 0)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        self._folder.close()

    def _send(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._looked_at_s >= LOOK_AGAIN_S:
            with contextlib.suppress(
                OSError
            ):  # no descriptor is free: the list of before will do, and is read soon
                self._addresses, self._looked_at_s = self._folder.sockets(), now_s
        pairs = list(self._heads.items())
        self._heads.clear()
        for start in range(0, len(pairs), PAIRS_PER_MESSAGE_MAX):
            message = b"".join(
                [_PAIR.pack(no, head) for no, head in pairs[start : start + PAIRS_PER_MESSAGE_MAX]]
            )
            for address in self._addresses:
                with contextlib.suppress(
                    OSError
                ):  # a full socket, or that of a dead process: a living worker reads by itself
                    self._socket.sendto(message, address)


class Presence:
    """The socket of a process that nobody wakes: it only shows that the process lives, until it is closed or the process ends.

    Args:
        folder: made if it is missing.
        name: the process's id, which begins with PRESENCE_PREFIX.
    Raises: OSError when no descriptor is free.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._name = name
        with contextlib.ExitStack() as undo:
            self._folder = _Folder(folder)
            undo.callback(self._folder.close)
            self._socket = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            self._socket.bind(self._folder.address(name))
            undo.pop_all()

    def close(self) -> None:
        """Close and remove the socket."""
        self._socket.close()
        self._folder.remove(self._name)
        self._folder.close()


class WakeListener:
    """The listening side: a worker's own socket.

    Args:
        folder: made if it is missing.
        on_wake: called with organization and head; (0, 0) when destinations changed.
    Raises: Unavailable when no descriptor is free.
    """

    def __init__(self, folder: Path, worker_id: str, on_wake: Callable[[int, int], None]) -> None:
        self._name = worker_id
        self._on_wake = on_wake
        with contextlib.ExitStack() as undo:
            try:
                self._folder = _Folder(folder)
                undo.callback(self._folder.close)
                self._socket = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
                self._socket.setblocking(False)
                self._socket.bind(self._folder.address(worker_id))
            except OSError as error:
                raise Unavailable(f"no wake-ups can be received: {error}", code="store-unreadable") from error
            undo.pop_all()
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)

    @property
    def hears(self) -> bool:
        """Whether all who notify can wake this worker: on one machine they can."""
        return True

    def close(self) -> None:
        """Stop listening and remove the socket."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()
        self._folder.remove(self._name)
        self._folder.close()

    def _read(self) -> None:
        for _ in range(64):
            try:
                message = self._socket.recv(PAIRS_PER_MESSAGE_MAX * _PAIR.size)
            except OSError:
                return
            if len(message) % _PAIR.size == 0:
                for organization_no, head in _PAIR.iter_unpack(message):
                    self._on_wake(organization_no, head)


def is_alive(folder: Path, name: str) -> bool:
    """Tell whether the process with this id still has its socket open; removes the socket of a dead one.

    Raises: OSError when that cannot be found out, for want of descriptors.
    """
    place = _Folder(folder)
    probe = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        probe.connect(place.address(name))
    except (FileNotFoundError, ConnectionRefusedError):
        place.remove(name)
        return False
    finally:
        probe.close()
        place.close()
    return True


class _Folder:
    """A directory of sockets, addressed in a way that fits a socket address whatever the path's length."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def address(self, name: str) -> str:
        full = str(self._path / f"{name}.sock")
        return full if len(full) < UNIX_PATH_MAX else f"/proc/self/fd/{self._handle}/{name}.sock"

    def sockets(self) -> list[str]:
        return [
            self.address(name.removesuffix(".sock"))
            for name in os.listdir(self._handle)  # noqa: PTH208 - by handle, so the folder may be renamed
            if name.endswith(".sock") and not name.startswith(PRESENCE_PREFIX)
        ]

    def remove(self, name: str) -> None:
        with contextlib.suppress(OSError):
            os.unlink(f"{name}.sock", dir_fd=self._handle)

    def close(self) -> None:
        os.close(self._handle)
