"""Output of the reference receiver: lines for people, and a record of every request.

Used by server.py. No event and no header can control the terminal, hide a line or leak a secret.
"""

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from io import TextIOBase
from typing import Any, TextIO

from .body import Event
from .inbox import event_id, field_of

_FIELD_CHARS_MAX = 200
"""Longest part of an event on a line, characters, so that a line fits on a screen."""

# An allow-list, because users choose the name of the auth header: every value that is not listed may be a secret.
_PLAIN_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "expect",
        "host",
        "idempotency-key",
        "transfer-encoding",
        "user-agent",
    }
)


class LineWriter:
    """Writes lines to a text stream; the lines of one turn of the event loop are written together.

    Args:
        stream: flushed after every write.
        on_fault: called once when the stream fails (disk full, pipe closed); later lines are dropped.
    """

    def __init__(self, stream: TextIO | TextIOBase, on_fault: Callable[[OSError], None]) -> None:
        self._stream = stream
        self._on_fault = on_fault
        self._lines: list[str] = []
        self._broken = False

    def add(self, line: str) -> None:
        """Add a line, without its line end; it is written in the next turn of the running event loop."""
        if self._broken:
            return
        if not self._lines:
            asyncio.get_running_loop().call_soon(self.flush)
        self._lines.append(line)

    def flush(self) -> None:
        """Write the lines that were added. Raises nothing: an error goes to `on_fault`."""
        if self._broken or not self._lines:
            return
        text = "\n".join(self._lines) + "\n"
        self._lines.clear()
        encoding = self._stream.encoding or "utf-8"
        try:
            # A terminal that knows only ASCII gets escapes instead of an exception.
            self._stream.write(text.encode(encoding, "backslashreplace").decode(encoding))
            self._stream.flush()
        except OSError as exc:
            self._broken = True
            self._on_fault(exc)


def printable(value: object) -> str:
    r"""Return text that is safe on a terminal: one line of at most 200 printable characters.

    Control characters, line ends and bidirectional overrides become `\x1b`, `\n`, `\u202e` and so on.
    """
    text = str(value)
    if len(text) > _FIELD_CHARS_MAX:
        text = text[: _FIELD_CHARS_MAX - 1] + "…"
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def event_line(event: Event, at: str, mark: str) -> str:
    """Return one line about an event for a person: time, mark, id, dataset, action and decision, summary.

    Args:
        event: any JSON object; missing fields are shown as "-".
        at: time of arrival, RFC 3339.
        mark: "event", "test" or "duplicate".
    """
    action, decision = field_of(event, "event", "action"), field_of(event, "aegis", "decision")
    did = "/".join(printable(value) for value in (action, decision) if value)
    said = field_of(event, "aegis", "summary") or event.get("message") or ""
    dataset = field_of(event, "event", "dataset")
    pieces = [printable(event_id(event) or "(no id)"), printable(dataset or "-"), did or "-"]
    return f"{at[11:23]} {mark:<9} {'  '.join(pieces)}  {printable(said)}".rstrip()


def notice_line(at: str, mark: str, notice: str) -> str:
    """Return one line about a request that was not accepted."""
    return f"{at[11:23]} {mark:<9} {printable(notice)}"


def record_line(at: str, path: str, headers: Mapping[str, str], body: bytes, status: int) -> str:
    """Return one line of JSON that records a request: at, path, headers, body and the status of the answer.

    Every header value that may be a secret is "<redacted>". A body that is not UTF-8 is in `body_base64`.
    """
    kept = {name: value if name in _PLAIN_HEADERS else "<redacted>" for name, value in headers.items()}
    line: dict[str, Any] = {"at": at, "path": path, "headers": kept, "status": status}
    try:
        line["body"] = body.decode()
    except UnicodeDecodeError:
        line["body_base64"] = base64.b64encode(body).decode("ascii")
    return json.dumps(line, separators=(",", ":"))
