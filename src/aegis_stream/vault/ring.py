"""Master keys: the newest one seals, older ones still open; and where they are stored.

A ring is text: keys of 32 bytes as base64, the newest first, separated by commas, blanks or line breaks. A key has an id of
four bytes that reveals nothing about it. A file can be read again while the service runs, and is always replaced as a
whole; a ring from the environment stays the same for the life of the process.
"""

import base64
import contextlib
import fcntl
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from aegis_stream.errors import Misconfigured, Unavailable
from aegis_stream.ports import Random

from .durable import replace_file

MASTER_KEY_BYTES = 32
KEY_ID_BYTES = 4
KEYS_MAX = 16
"""Most keys of a ring: the newest, and older ones that were never removed after a rotation."""
_FILE_BYTES_MAX = 65_536
_MAKE_ONE = "make one with `openssl rand -base64 32`"


@dataclass(frozen=True, slots=True)
class MasterKey:
    """One master key.

    Args:
        secret: 32 bytes.
    """

    secret: bytes = field(repr=False)

    @property
    def key_id(self) -> bytes:
        """Four bytes that tell master keys apart and reveal nothing about them."""
        return hashlib.sha256(b"aegis master key id" + self.secret).digest()[:KEY_ID_BYTES]


Ring = tuple[MasterKey, ...]
"""Master keys, at least one, the newest first."""


class KeySource(Protocol):
    """Where the ring is stored; `setting` names that place for a person."""

    @property
    def setting(self) -> str:
        """The setting or the file, for messages."""
        ...

    def read(self) -> Ring:
        """Return the current ring. Raises: Misconfigured if there is no usable one."""
        ...


@dataclass(frozen=True, slots=True)
class GivenKeys:
    """A ring from the environment or the configuration: the same for the life of the process."""

    ring: Ring
    setting: str = "AEGIS_MASTER_KEY"

    def read(self) -> Ring:
        """Return the ring."""
        return self.ring


@dataclass(frozen=True, slots=True)
class KeyFile:
    """A ring in a file that only its owner may read."""

    path: Path

    @property
    def setting(self) -> str:
        """The file's path."""
        return str(self.path)

    def read(self) -> Ring:
        """Return the ring. Raises: Misconfigured if the file is missing, readable by others, or contains no key."""
        try:
            with self.path.open("rb") as file:
                if stat.S_IMODE(os.fstat(file.fileno()).st_mode) & 0o077:
                    raise Misconfigured(f"{self.path} is readable by other users: chmod 600 {self.path}")
                text = file.read(_FILE_BYTES_MAX)
        except OSError as error:
            raise Misconfigured(
                f"the master key file {self.path} cannot be read: {error.strerror}"
            ) from error
        return parse_ring(text.decode("ascii", "replace"), self.setting)

    def make(self, random: Random) -> bool:
        """Create the file with a new key unless it exists. Returns: whether it was created. Raises: Misconfigured."""
        if self.path.exists():
            return False
        with locked(self.path.parent, wait=True):
            if self.path.exists():
                return False  # another process created it first
            self.write((new_key(random),))
        return True

    def write(self, ring: Ring) -> None:
        """Replace the file as a whole: durable when this returns; after a kill it is the old or the new one.

        Raises: Misconfigured if it cannot be written.
        """
        text = "".join(base64.b64encode(one.secret).decode() + "\n" for one in ring)
        try:
            replace_file(self.path, text)
        except OSError as error:
            raise Misconfigured(
                f"the master key file {self.path} cannot be written: {error.strerror}; run this as the user that owns it, "
                "or put a new key (`openssl rand -base64 32`) before the others yourself and run this again"
            ) from error


def parse_ring(text: str, setting: str) -> Ring:
    """Read a configured ring, the newest key first.

    Raises: Misconfigured naming the setting, never repeating its value.
    """
    words = [word for word in re.split(r"[\s,]+", text) if word]
    if not words:
        raise Misconfigured(f"{setting} contains no master key: {_MAKE_ONE}")
    if len(words) > KEYS_MAX:
        raise Misconfigured(
            f"{setting} contains {len(words)} keys; the limit is {KEYS_MAX}: remove the oldest"
        )
    names = [setting] if len(words) == 1 else [f"key {at + 1} of {setting}" for at in range(len(words))]
    keys = [_decode(word, name) for word, name in zip(words, names, strict=True)]
    return tuple(dict.fromkeys(keys))


def new_key(random: Random, ring: Ring = ()) -> MasterKey:
    """Make a key with an id that no key of the ring has."""
    taken = {one.key_id for one in ring}
    for _ in range(2):  # an id is already used once in four thousand million times
        key = MasterKey(random.random_bytes(MASTER_KEY_BYTES))
        if key.key_id not in taken:
            return key
    raise Unavailable("the system's random source repeated itself: no key was made")


@contextlib.contextmanager
def locked(folder: Path, *, wait: bool) -> Iterator[None]:
    """Hold the lock for changes of the keys in a folder; the kernel releases it when the process dies.

    Raises: Unavailable if another process holds it and `wait` is False. Misconfigured if there is no such folder.
    """
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise Misconfigured(f"the directory {folder} cannot be opened: {error.strerror}") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise Unavailable(
                f"another process is changing the keys in {folder}: wait until it is done"
            ) from error
        yield
    finally:
        os.close(handle)


def _decode(word: str, name: str) -> MasterKey:
    try:
        plain = word.replace("-", "+").replace("_", "/").rstrip("=")
        key = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except ValueError as error:
        raise Misconfigured(f"{name} is not base64: {_MAKE_ONE}") from error
    if len(key) != MASTER_KEY_BYTES:
        raise Misconfigured(f"{name} has {len(key)} bytes instead of {MASTER_KEY_BYTES}: {_MAKE_ONE}")
    return MasterKey(key)
