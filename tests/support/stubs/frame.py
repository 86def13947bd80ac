"""The common part of all stub destinations: HTTP/1.1 on a loopback port, credentials, limits, content codings, named faults.

A stub replaces a destination that cannot run here. It follows that destination's contract, uses nothing of `aegis_stream`,
and is as strict or lax as the contract says; what it REALLY stored is in `stored`, in its own form.

    splunk = Splunk(token="t")
    with serving(splunk):
        httpx.post(splunk.url, content=b"{}")     # 403, and splunk.stored == []
        splunk.fail("queue_full", times=1)        # the next request meets the fault, later ones do not
"""

import asyncio
import gzip
import json
import re
import threading
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

import zstandard

_HEAD_BYTES_MAX = 64 * 1024
_DECODED_BYTES_MAX = 256 * 1024 * 1024


@dataclass(frozen=True)
class Received:
    """A request: path without its query, header names in lower case, body as the destination gets it."""

    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        """The content type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int = 200
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


def as_json(status: int, value: Any, **headers: str) -> Reply:
    """Return a reply with a JSON body; header names have _ instead of -."""
    named = tuple((name.replace("_", "-"), text) for name, text in headers.items())
    return Reply(status, json.dumps(value).encode(), (("Content-Type", "application/json"), *named))


def _inflate(body: bytes) -> bytes:
    return zlib.decompress(body)


def _unzstd(body: bytes) -> bytes:
    return zstandard.ZstdDecompressor().decompressobj().decompress(body)


_DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "deflate": _inflate,
    "zstd": _unzstd,
}


@dataclass
class Stub:
    """A destination; a subclass has the table of its contract and `take`, which reads a body.

    Args:
        refused_ids: events that it rejects for their content, in its own way.
        front: name (in lower case) and value of a header that a proxy in front of it requires, or None.
    """

    refused_ids: frozenset[str] = frozenset()
    front: tuple[str, str] | None = None
    stored: list[Any] = field(default_factory=list)
    requests: list[Received] = field(default_factory=list)
    origin: str = field(default="", init=False)
    broken: list[Exception] = field(default_factory=list, init=False)
    """Errors of the stub itself, which no test expects."""
    _faults: dict[str, int | None] = field(default_factory=dict, init=False)
    _script: deque[Reply] = field(default_factory=deque, init=False)

    name: ClassVar[str]
    paths: ClassVar[str] = "/.*"
    """The paths that it accepts."""
    target: ClassVar[str] = "/"
    """Usual path and query of the URL that a user enters."""
    not_found: ClassVar[Reply] = Reply(404)
    denied: ClassVar[Reply] = Reply(401)
    codings: ClassVar[frozenset[str]] = frozenset({"gzip"})
    coding_refused: ClassVar[Reply | None] = Reply(415)
    """Its answer to other content codings; None to accept the bytes as they are."""
    coding_broken: ClassVar[Reply] = Reply(400)
    media_types: ClassVar[frozenset[str] | None] = None
    """Content types that it accepts; None for any."""
    media_refused: ClassVar[Reply] = Reply(415)
    body_bytes_max: ClassVar[int] = _DECODED_BYTES_MAX
    """Most bytes of a body, as sent and decompressed."""
    too_large: ClassVar[Reply] = Reply(413)
    busy: ClassVar[Reply] = Reply(429)
    """Its answer to a body that is too large, by its contract."""
    faults: ClassVar[frozenset[str]] = frozenset()

    GENERAL_FAULTS: ClassVar[frozenset[str]] = frozenset({"lose_answer", "partial_500", "drop_after_success"})

    @property
    def url(self) -> str:
        """The URL that a user enters."""
        return self.origin + self.target

    def fail(self, fault: str, times: int | None = None) -> None:
        """Switch a fault on, for all requests or for a number of them."""
        if fault not in self.faults | self.GENERAL_FAULTS:
            raise ValueError(f"{self.name} knows no fault {fault}")
        self._faults[fault] = times

    def mend(self) -> None:
        """Switch all faults off and forget the scripted answers."""
        self._faults.clear()
        self._script.clear()

    def script(self, *replies: Reply) -> None:
        """Answer the next requests with these, storing nothing."""
        self._script.extend(replies)

    def has(self, fault: str) -> bool:
        """Return whether this request meets a fault, and count it."""
        left = self._faults.get(fault, 0)
        if left:
            self._faults[fault] = left - 1
        return left is None or left > 0

    def ids(self) -> list[str]:
        """Return the ids of the stored events, in order."""
        return [self.id_of(one) for one in self.stored]

    # ── what a contract fills in ──

    def is_allowed(self, request: Received) -> bool:
        """Return whether the credential is right."""
        return True

    def take(self, request: Received) -> Reply:
        """Read a body and store its events."""
        raise NotImplementedError

    def id_of(self, item: Any) -> str:
        """Return the id of a stored event."""
        found: str = item["event"]["id"]
        return found

    def forget(self, kept: int) -> None:
        """Drop stored events beyond a number."""
        del self.stored[kept:]

    # ── how a request goes through ──

    def answer(self, request: Received) -> Reply | None:
        """Return the answer to a request, or None to close the connection without one."""
        self.requests.append(request)
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        decoded = self._decoded(request)
        if isinstance(decoded, Reply):
            return decoded
        if self._script:
            return self._script.popleft()
        before = len(self.stored)
        reply = self.take(decoded)
        if self.has("drop_after_success"):
            self.forget(before)
        if self.has("partial_500"):
            self.forget(before + (len(self.stored) - before) // 2)
            return Reply(500)
        return None if self.has("lose_answer") else reply

    def _refusal(self, request: Received) -> Reply | None:
        if not re.fullmatch(self.paths, request.path):
            return self.not_found
        if self.front is not None and request.headers.get(self.front[0]) != self.front[1]:
            return Reply(401)
        if not self.is_allowed(request):
            return self.denied
        if self.media_types is not None and request.media_type not in self.media_types:
            return self.media_refused
        return self.too_large if len(request.body) > self.body_bytes_max else None

    def _decoded(self, request: Received) -> Received | Reply:
        coding = request.headers.get("content-encoding", "identity").lower()
        if coding == "identity":
            return request
        if coding not in self.codings:
            return request if self.coding_refused is None else self.coding_refused
        try:
            body = _DECODERS[coding](request.body)
        except (OSError, EOFError, zlib.error, zstandard.ZstdError):
            return self.coding_broken
        return self.too_large if len(body) > self.body_bytes_max else replace(request, body=body)


# ── the server ──


@contextmanager
def serving(*stubs: Stub) -> Iterator[None]:
    """Serve stubs on free loopback ports until the block ends; each knows its `origin` then."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    servers: list[asyncio.Server] = []
    try:
        for stub in stubs:
            servers.append(asyncio.run_coroutine_threadsafe(_listen(stub), loop).result(10))
        yield
        for stub in stubs:
            assert stub.broken == [], f"the stub of {stub.name} is broken"
    finally:
        asyncio.run_coroutine_threadsafe(_close(servers), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _listen(stub: Stub) -> asyncio.Server:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while await _exchange(stub, reader, writer):
                pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024, limit=_HEAD_BYTES_MAX)
    stub.origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    return server


async def _exchange(stub: Stub, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
    """Read a request and answer it; return False to close the connection."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head[:-4].split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    parts = urlsplit(target)
    query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
    request = Received(unquote(parts.path), query, headers, body)
    try:
        reply = stub.answer(request) if method == "POST" else Reply(405)
    except Exception as error:
        stub.broken.append(error)
        return False
    if reply is None:
        return False
    extra = "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
    length = "" if reply.status == 204 else f"Content-Length: {len(reply.body)}\r\n"
    writer.write(f"HTTP/1.1 {reply.status} -\r\n{length}{extra}\r\n".encode() + reply.body)
    await writer.drain()
    return True


async def _close(servers: list[asyncio.Server]) -> None:
    for server in servers:
        server.close()
    waiting = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


def lines_of(body: bytes) -> list[str]:
    """Return the non-empty lines of a body."""
    return [line for line in body.decode("utf-8", "replace").split("\n") if line.strip()]


def first_document(text: str) -> tuple[Any, str]:
    """Return the first JSON document of a text and the rest.

    Raises: ValueError when there is none.
    """
    start = len(text) - len(text.lstrip())
    value, end = json.JSONDecoder().raw_decode(text, start)
    return value, text[end:].lstrip()
