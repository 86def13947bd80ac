"""A destination on loopback that stores every request, decoded, and gives the scripted answers.

    with capturing() as capture:
        capture.answer(Said(202, b"{}"))
        client_of_the_vendor(capture.url).send(…)
        (sent,) = capture.taken()

Bodies come with Content-Length or in chunks, plain, as gzip or deflate; everything about a request has a limit.
"""

import contextlib
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from urllib.parse import parse_qsl

BODY_BYTES_MAX = 16 * 1024 * 1024
"""Longest body, as it travels and decoded."""
IDLE_S = 30.0
"""Seconds after which a connection that nobody closed is given up."""
_UNPACKERS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class Sent(NamedTuple):
    """A request as it arrived: header names in lower case, the body without its Content-Encoding."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


class Said(NamedTuple):
    """An answer; Content-Length is added."""

    status: int = 200
    body: bytes = b"{}"
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "application/json"),)


@dataclass
class Capture:
    """What arrived, and what is answered."""

    url: str
    _sent: list[Sent] = field(default_factory=list)
    _script: list[Said] = field(default_factory=lambda: [Said()])

    def answer(self, *script: Said) -> None:
        """Give these answers one after the other, and then repeat the last one."""
        self._script = list(script)

    def taken(self) -> list[Sent]:
        """Return the requests since the last look."""
        sent, self._sent = self._sent, []
        return sent

    def take(self, sent: Sent) -> Said:
        """Keep a request; return its answer."""
        self._sent.append(sent)
        return self._script.pop(0) if len(self._script) > 1 else self._script[0]


@contextlib.contextmanager
def capturing() -> Iterator[Capture]:
    """Run the destination on a free port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.capture = Capture(f"http://127.0.0.1:{server.server_port}")  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.capture  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes, and nobody should wait for the second one
    timeout = IDLE_S

    def handle_any(self) -> None:
        """Keep the request and answer it."""
        names = [name.lower() for name, _ in self.headers.items()]
        assert len(names) == len(set(names)), f"a header stands twice: {names}"
        path, _, query = self.path.partition("?")
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
        assert len(pairs) == len(dict(pairs)), f"a parameter stands twice: {query}"
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = unpacked(headers.get("content-encoding", "identity"), self._read_body())
        said = self.server.capture.take(Sent(self.command, path, dict(pairs), headers, body))  # type: ignore[attr-defined]
        self.send_response(said.status)
        for name, value in said.headers:
            self.send_header(name, value)
        if said.status != 204:
            self.send_header("Content-Length", str(len(said.body)))
        self.end_headers()
        self.wfile.write(said.body if said.status != 204 else b"")

    do_GET = do_HEAD = do_POST = do_PUT = handle_any  # noqa: N815 - the names that the base class looks for

    def _read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            length = int(self.headers.get("Content-Length", "0"))
            assert 0 <= length <= BODY_BYTES_MAX
            return self.rfile.read(length)
        parts: list[bytes] = []
        while length := int(self.rfile.readline(100).partition(b";")[0], 16):
            assert sum(map(len, parts)) + length <= BODY_BYTES_MAX
            parts.append(self.rfile.read(length))
            assert self.rfile.readline(2) == b"\r\n"
        while self.rfile.readline(8192).strip():
            pass  # trailers
        return b"".join(parts)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


def unpacked(encoding: str, body: bytes) -> bytes:
    """Return a body without its Content-Encoding."""
    if encoding == "identity":
        return body
    unpacker = zlib.decompressobj(_UNPACKERS[encoding])
    plain = unpacker.decompress(body, BODY_BYTES_MAX)
    assert unpacker.eof, f"the {encoding} ends early, or is too long"
    assert not unpacker.unused_data, f"something follows the {encoding}"
    return plain
