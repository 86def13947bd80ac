"""One answer after the other from the bytes of a connection, every part bounded.

Called by `wire`. This is the one module that knows httptools. An answer that its strict parser refuses is read once more
with a head that `lenient` has rewritten; the connection of such an answer is closed.
"""

from collections.abc import Callable

import httptools

from .lenient import HEADER_LINES_MAX, Unclear, begins, rewritten

BODY_BYTES_MAX = 16 * 1024
"""Most bytes of an answer's body that are read, unless the route allows more."""
HEAD_BYTES_MAX = 64 * 1024
"""Most bytes before an answer's body, including interim answers."""
FRAMING_BYTES_MAX = 240 * 1024
"""Most bytes of an answer beside its body: chunk sizes, extensions and trailers can be far longer than the body."""
INTERIM_MAX = 10
"""Most 1xx answers before the final one."""
HEAD_NOTED_BYTES = 4096
"""Most bytes of an answer's head that people see."""
KNOWN_BYTES_MAX = 4096
"""Longest answer that is remembered, so that an identical next one need not be parsed."""

_NOTED_CHARS_MAX = 128
_NOTED_LENGTHS = frozenset(
    map(len, (b"date", b"location", b"retry-after", b"content-length", b"transfer-encoding"))
)
_OPENING = b"HTTP/1."
_LONG_HEAD = f"the answer's headers are longer than {HEAD_BYTES_MAX // 1024} KiB"


class _Stop(Exception):
    """Stops the parser from within a callback; never leaves this module."""


class AnswerReader:
    """Reads one answer after the other from incoming bytes; does no I/O.

    It reads no further answer after one that is not kept.

    Args:
        body_bytes_max: most bytes of a body that are read.

    Attributes:
        status: status of the newest answer with a complete head, else 0.
        started: a byte of the current answer has arrived.
        stray: what has arrived is no answer at all, such as bytes that belong to an earlier one.
        over: the current answer has ended: complete, truncated at a limit, or rejected.
        keep: the answer is complete, the peer keeps the connection open, and nothing followed the answer.
        rejection: why the answer is rejected, or None.
        retry_after: value of Retry-After, truncated.
        location: value of Location as sent.
    """

    __slots__ = (
        "_body_bytes",
        "_body_bytes_max",
        "_bytes",
        "_feed",
        "_framed",
        "_has_body",
        "_head_done",
        "_interim",
        "_keep_alive",
        "_known",
        "_lenient",
        "_lines",
        "_parts",
        "_received",
        "_status",
        "_unread",
        "date",
        "keep",
        "location",
        "over",
        "rejection",
        "retry_after",
        "started",
        "status",
        "stray",
    )

    def __init__(self, body_bytes_max: int = BODY_BYTES_MAX) -> None:
        self._body_bytes_max = body_bytes_max
        self._use(httptools.HttpResponseParser(self))
        self._parts: list[bytes] = []
        self._known = b""
        self._received: list[bytes] = []  # of an answer that is read by the strict parser
        self._unread: bytearray | None = (
            None  # of an answer that is read leniently, until its head is complete
        )
        self._lenient = False
        self.stray = False
        self.begin()
        self.on_message_begin()

    def begin(self) -> None:
        """Forget the last answer; the next bytes answer a new request."""
        self._bytes = 0
        self._interim = 0
        self.started = False
        self.over = False
        self.keep = False
        self.rejection: str | None = None
        self._head_done = False

    @property
    def body(self) -> bytes:
        """The body read so far, at most body_bytes_max."""
        return b"".join(self._parts)

    @property
    def head(self) -> bytes:
        """Status line and headers as they came, at most HEAD_NOTED_BYTES; empty after interim answers or lenient reading."""
        if self._interim or not self._received:
            return b""
        return b"".join(self._received).partition(b"\r\n\r\n")[0][:HEAD_NOTED_BYTES]

    def feed(self, data: bytes) -> bool:
        """Read bytes; return whether the answer has ended: complete, truncated at a limit, or rejected. Never raises."""
        if not self.started:
            if data == self._known:
                # Most answers of a destination are identical. The parser keeps no state between answers, so it would
                # give the result of the last time, which all attributes still have.
                self.started = self.over = self.keep = True
                return True
            self._known = b""
            self._received = []
            if self._unread is not None or not data.startswith(_OPENING[: len(data)]):
                return self._feed_leniently(data)
            self.started = True
        if self._unread is not None:
            return self._feed_leniently(data)
        self._received.append(data)
        return self._feed_parser(data)

    def end(self) -> bool:
        """Handle the end of the stream; return whether it completes the answer."""
        if self._head_done and not self._framed and not self.over:
            self.over = True
        return self.over

    def _use(self, parser: httptools.HttpResponseParser) -> None:
        self._feed: Callable[[bytes], None] = parser.feed_data
        self._status: Callable[[], int] = parser.get_status_code
        self._keep_alive: Callable[[], bool] = parser.should_keep_alive

    def _feed_parser(self, data: bytes) -> bool:
        try:
            if not self._head_done and self._bytes + len(data) > HEAD_BYTES_MAX:
                data = self._feed_head(data)
            self._bytes += len(data)
            self._feed(data)
        except _Stop:
            return True
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            return self._broken(exc)
        if self.keep and self._bytes == len(data) <= KNOWN_BYTES_MAX and not self._interim:
            self._known = data
        elif not self.over and self._bytes > self._body_bytes_max + FRAMING_BYTES_MAX:
            self.over = True
        return self.over

    def _feed_head(self, data: bytes) -> bytes:
        room = HEAD_BYTES_MAX - self._bytes
        self._bytes = HEAD_BYTES_MAX
        self._feed(data[:room])
        if not self._head_done:
            self._reject(_LONG_HEAD)
            raise _Stop
        return data[room:]

    def _broken(self, exc: Exception) -> bool:
        self.keep = False
        if self.over:
            # Junk after a complete answer, or our own _Stop, which httptools has wrapped.
            return True
        if self._lenient:
            return self._reject(f"the answer is not HTTP/1.1: {clause(exc)}")
        return self._feed_leniently(b"".join(self._received))

    def _feed_leniently(self, data: bytes) -> bool:
        """Read bytes of an answer that the strict parser refuses, from its first byte on."""
        if self._unread is None:
            self._unread = bytearray()
            self._bytes = self._interim = 0
            self._head_done = False
        searched = len(self._unread)
        self._unread += data
        self.started = self.started or not self._unread.isspace()
        while not self.over and not self._head_done:
            if not begins(self._unread):
                self.stray = not self._interim
                return self._reject("the answer is not HTTP/1.1")
            try:
                found = rewritten(self._unread, searched)
            except Unclear as unclear:
                return self._reject(f"the answer is not HTTP/1.1: {unclear}")
            if found is None:
                return self._bytes + len(self._unread) > HEAD_BYTES_MAX and self._reject(_LONG_HEAD)
            searched = 0
            self._feed_rewritten(*found)
        rest, self._unread = bytes(self._unread), None
        if rest and not self.over:
            self._feed_parser(rest)
        return self.over

    def _feed_rewritten(self, head: bytes, rest: bytes) -> None:
        assert self._unread is not None
        self._bytes += len(self._unread) - len(rest)
        self._unread = bytearray(rest)
        if self._bytes > HEAD_BYTES_MAX:
            self._reject(_LONG_HEAD)
            return
        if not self._lenient:
            self._lenient = True
            parser = httptools.HttpResponseParser(self)
            parser.set_dangerous_leniencies(lenient_spaces_after_chunk_size=True)
            self._use(parser)
        try:
            self._feed(head)
        except _Stop:
            pass
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as exc:
            self._broken(exc)

    def _reject(self, reason: str) -> bool:
        self.rejection = reason
        self.keep = False
        self.over = True
        return True

    # httptools calls the following methods, in this order; an exception stops it.

    def on_message_begin(self) -> None:
        """Start an answer, or notice bytes after the end of one."""
        if self.over:
            self.keep = False
            raise _Stop
        self.status = 0
        self._lines = 0
        self._head_done = False
        self._framed = False
        self._has_body = False
        self._body_bytes = 0
        self._parts = []
        self.retry_after: str | None = None
        self.date: str | None = None
        self.location: str | None = None

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a header or trailer line, and store the few that we use."""
        self._lines += 1
        if self._lines > HEADER_LINES_MAX:
            self._reject(f"the answer has more than {HEADER_LINES_MAX} headers")
            raise _Stop
        if len(name) in _NOTED_LENGTHS and not self._head_done:
            self._note(name.lower(), value)

    def _note(self, name: bytes, value: bytes) -> None:
        if name in (b"content-length", b"transfer-encoding"):
            # A transfer coding that does not end in chunked ends with the connection.
            self._framed = name == b"content-length" or value.lower().rstrip().endswith(b"chunked")
            self._has_body = value.strip() != b"0"
        elif name == b"retry-after":
            self.retry_after = value[:_NOTED_CHARS_MAX].decode("latin-1")
        elif name == b"date":
            self.date = value[:_NOTED_CHARS_MAX].decode("latin-1")
        elif name == b"location":
            self.location = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Store the status."""
        self.status = self._status()
        if self.status < 100:
            self._reject("the answer is not HTTP/1.1: its status is below 100")
            raise _Stop
        self._head_done = True

    def on_body(self, data: bytes) -> None:
        """Store the beginning of the body."""
        room = self._body_bytes_max - self._body_bytes
        self._body_bytes += len(data)
        self._parts.append(data if len(data) <= room else data[:room])
        if self._body_bytes > self._body_bytes_max:
            self.over = True
            raise _Stop

    def on_message_complete(self) -> None:
        """End the answer, unless it is an interim answer."""
        status = self.status
        if status >= 200:
            # The peer may send the body that it announced, although there is none with these statuses.
            self.keep = self._keep_alive() and not (self._has_body and status in (204, 304))
            self.over = True
        elif status == 101:
            self.over = True
        else:
            self._head_done = False
            self._interim += 1
            if self._interim > INTERIM_MAX:
                self._reject(f"the answer begins with more than {INTERIM_MAX} interim answers")
                raise _Stop


def clause(exc: Exception) -> str:
    """Return the clause of a message that says what went wrong in OpenSSL or the parser."""
    # Messages of OpenSSL and llhttp are fixed texts and contain nothing that the peer sent.
    reason = getattr(exc, "reason", None) or (exc.args[0] if exc.args else "unreadable")
    return str(reason).replace("_", " ").lower()
