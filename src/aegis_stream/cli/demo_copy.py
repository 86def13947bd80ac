"""What the receiver of the demonstration keeps of the events, for the verifier: each as it came, in a file; and how a byte is changed."""

import json
import os
import re
import threading
from io import TextIOBase
from pathlib import Path
from typing import NamedTuple

from aegis_stream.receiver import event_id
from aegis_stream.receiver.inbox import field_of

BYTES_MAX = 64 << 20
"""Most bytes of events that are kept: what the verifier reads twice within seconds."""
TRIES_MAX = 2_000
"""Most bytes of an event that are tried before another event is taken."""
SHOWN_BYTES = 48
"""Bytes that are shown before a changed one."""
_NEXT = bytes.maketrans(
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
    b"1234567890BCDEFGHIJKLMNOPQRSTUVWXYZAbcdefghijklmnopqrstuvwxyza",
)
_NAMES = re.compile(rb'"(?:[^"\\]|\\.)*"\s*:')


class ReceivedCopy(TextIOBase):
    """Reads the receiver's record of requests, and writes the body of each accepted one to a file, one a line.

    Several receivers, each in a thread of its own, may write to one copy.

    Args:
        path: the file; an old one is overwritten.
        bytes_max: most bytes of the file.
    Raises: OSError when the file cannot be written.
    """

    def __init__(self, path: Path, bytes_max: int = BYTES_MAX) -> None:
        super().__init__()
        self.path = path
        self.is_whole = True
        self._left = bytes_max
        self._lock = threading.Lock()
        # Only the owner may read audit events.
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(descriptor, "wb", buffering=0)

    def write(self, text: str, /) -> int:
        """Read lines of the record. Raises: OSError when the file cannot be written."""
        for record in map(json.loads, text.splitlines()):
            if 200 <= record["status"] < 300 and "body" in record:
                self._keep(record["body"])
        return len(text)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def _keep(self, body: str) -> None:
        # An event of several lines is kept as one, in the envelope in which Splunk exports it.
        line = (json.dumps({"_raw": body}) if "\n" in body else body).encode() + b"\n"
        with self._lock:
            self.is_whole = self.is_whole and len(line) <= self._left
            if self.is_whole:
                self._left -= len(line)
                self._file.write(line)


class Altered(NamedTuple):
    """An event of which one byte was changed.

    Args:
        event_id: of the event, which is the same before and after.
        before, after: its text.
        at: where the byte is, from 0.
    """

    event_id: str
    before: bytes
    after: bytes
    at: int

    def shown(self) -> tuple[str, str]:
        """Return the text around the byte, before and after the change."""
        part = slice(max(0, self.at - SHOWN_BYTES), self.at + 2)
        before, after = self.before[part].decode(errors="replace"), self.after[part].decode(errors="replace")
        return before.strip("\ufffd"), after.strip("\ufffd")


def alter_one(lines: list[bytes], ids: set[str]) -> Altered | None:
    """Return the last event with one of these ids, with one byte changed; None if there is none."""
    for line in reversed(lines):
        event = json.loads(line)
        if event_id(event) in ids and (altered := _alter(line, event)):
            return altered
    return None


def _alter(body: bytes, event: dict[str, object]) -> Altered | None:
    """Change one byte of a value so that the event says something else under the same id and organization."""
    names = _NAMES.findall(body)
    for at in range(len(body) - 1, max(-1, len(body) - 1 - TRIES_MAX), -1):
        byte = body[at : at + 1]
        after = body[:at] + byte.translate(_NEXT) + body[at + 1 :]
        if after == body or _NAMES.findall(after) != names:
            continue
        try:
            changed = json.loads(after)
        except ValueError:
            continue
        if changed != event and _marks(changed) == _marks(event):
            return Altered(str(event_id(event)), body, after, at)
    return None


def _marks(event: dict[str, object]) -> tuple[object, ...]:
    """Return by what the verifier assigns an event: id, dataset, organization."""
    return event_id(event), field_of(event, "event", "dataset"), field_of(event, "organization", "id")
