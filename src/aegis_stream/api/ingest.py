"""The hot path: POST /api/orgs/{org_id}/events (step 1).

A bare ASGI handler in front of the framework: authenticate, read the body within its limits, split it into raw items, record
them, answer. The bytes of an item are stored as sent; they are decoded once, to read the fields of the envelope.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

import msgspec
import zstandard

from aegis_stream import PRODUCT
from aegis_stream.control.access import Access
from aegis_stream.control.rejected import invalid
from aegis_stream.domain.organization import Scope
from aegis_stream.errors import (
    AegisError,
    FieldProblem,
    Invalid,
    Malformed,
    TooLarge,
    Unavailable,
    Unsupported,
)
from aegis_stream.pipeline.ingest import Ingest, Recorded

from .counts import IngestCounts
from .problems import problem_of

RATIO_FROM_BYTES = 1024 * 1024
"""Up to this decompressed size a body may have any compression ratio."""
ZSTD_STEP_BYTES = 256
"""Compressed bytes per step: a block of 4 bytes may become 128 KiB, so a step yields 8 MiB at most."""
JSON_TYPES = frozenset({"application/json", ""})
LINES_TYPES = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}
)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

Problem = tuple[int, dict[str, str], bytes]
"""Status, headers and body of an error."""

_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.encode
_OUR_AGENT = f"{PRODUCT}/".encode()
_JSON_HEADERS = [(b"content-type", b"application/json")]


@dataclass(frozen=True, slots=True)
class RequestBounds:
    """Limits of a request in size and time; the settings give the reasons.

    Args:
        bytes_max: of the body, before and after decompression.
        events_max: in one request.
        timeout_s: longest time for the body to arrive, seconds.
        ratio_max: most bytes that one compressed byte may become, in bodies longer than RATIO_FROM_BYTES.
    """

    bytes_max: int
    events_max: int
    timeout_s: float
    ratio_max: int


@dataclass(slots=True)
class IngestEndpoint:
    """Answers ingest requests; `org_of` tells whether a request is one of them.

    Args:
        on_bug: called with path and error when something raises that must not; returns the answer.
    """

    access: Access
    ingest: Ingest
    counts: IngestCounts
    on_bug: Callable[[str, Exception], Problem]
    bounds: RequestBounds

    @staticmethod
    def org_of(scope: MutableMapping[str, Any]) -> str | None:
        """Return the organization named in the path if this is an ingest request, else None."""
        path: str = scope["path"]
        if scope["method"] != "POST" or not path.endswith("/events") or not path.startswith("/api/orgs/"):
            return None
        org_id = path[10:-7]
        return org_id if org_id and "/" not in org_id else None

    async def __call__(
        self, org_id: str, scope: MutableMapping[str, Any], receive: Receive, send: Send
    ) -> None:
        """Answer one request: 202, or a problem."""
        try:
            status, headers, body = 202, _JSON_HEADERS, await self._take(org_id, scope, receive)
        except AegisError as error:
            status, named, body = problem_of(error)
            headers = [(name.encode(), value.encode()) for name, value in named.items()]
            if isinstance(error, TooLarge | Unavailable):
                headers.append((b"connection", b"close"))  # the rest of the body is not read
        except Exception as error:  # noqa: BLE001 - the last resort: logged, and answered as an internal error
            status, named, body = self.on_bug(scope["path"], error)
            headers = [(name.encode(), value.encode()) for name, value in named.items()]
        self.counts.answered(status)
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*headers, (b"content-length", b"%d" % len(body))],
            }
        )
        await send({"type": "http.response.body", "body": body})

    async def _take(self, org_id: str, scope: MutableMapping[str, Any], receive: Receive) -> bytes:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        authorization, length = headers.get(b"authorization"), headers.get(b"content-length")
        client = scope.get("client")
        principal = await self.access.authorize(
            authorization.decode("latin-1") if authorization is not None else None,
            org_id,
            Scope.INGEST,
            client[0] if client else None,
        )
        self.access.admit(principal)
        media = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
        if media not in JSON_TYPES and media not in LINES_TYPES:
            raise Unsupported(
                f"Content-Type {media[:100]!r} is not supported: send application/json or application/x-ndjson"
            )
        bounds = self.bounds
        if length is not None and length.isdigit() and int(length) > bounds.bytes_max:
            raise _body_too_large(bounds)
        body = await read_body(receive, bounds)
        if b"content-encoding" in headers:
            body = _decompress(body, headers[b"content-encoding"], bounds)
        items = _split(body, bounds, lines=media in LINES_TYPES)
        relayed = headers.get(b"user-agent", b"").startswith(_OUR_AGENT)
        recorded = await self.ingest.record(
            principal.organization_no, principal.org_id, items, relayed=relayed
        )
        self.counts.recorded(recorded.accepted, recorded.duplicates, len(recorded.rejected))
        if not recorded.accepted and not recorded.duplicates:
            raise invalid(recorded, single=len(items) == 1)
        return answer(recorded)


def answer(recorded: Recorded) -> bytes:
    """Write the 202 body."""
    return _encode(
        {
            "accepted": recorded.accepted,
            "duplicates": recorded.duplicates,
            "rejected": [
                {"index": index, "event_id": one.event_id, "error": f"{one.field} {one.message}".lstrip()}
                for index, one in recorded.rejected
            ],
        }
    )


async def read_body(receive: Receive, bounds: RequestBounds) -> bytes:
    """Read a request body within its bounds.

    Raises: TooLarge. Malformed when the client closed the connection or took too long.
    """
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > bounds.bytes_max:
            raise _body_too_large(bounds)
        return body
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(bounds.timeout_s):
            while True:
                if message["type"] == "http.disconnect":
                    raise Malformed("the connection was closed before the end of the body")
                chunks.append(message.get("body", b""))
                size += len(chunks[-1])
                if size > bounds.bytes_max:
                    raise _body_too_large(bounds)
                if not message.get("more_body"):
                    return b"".join(chunks)
                message = await receive()
    except TimeoutError:
        raise Malformed(
            f"the body did not arrive within {bounds.timeout_s:g} s: send it without pauses"
        ) from None


def _split(body: bytes, bounds: RequestBounds, *, lines: bool) -> list[bytes]:
    """Split a body into raw items. Raises: Malformed, TooLarge, Invalid."""
    if lines:
        items = [stripped for line in body.split(b"\n") if (stripped := line.strip())]
    elif body.lstrip(b" \t\r\n")[:1] == b"[":
        try:
            items = [bytes(item) for item in _decode_items(body)]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            reason = str(error).partition(" - at `$")[0]
            raise Malformed(
                f"the body is not a valid JSON array: {reason}", problems=(FieldProblem("", reason),)
            ) from error
    else:
        items = [stripped] if (stripped := body.strip()) else []
    if not items:
        raise Invalid(
            "the body contains no events: send a JSON object, an array or NDJSON",
            problems=(FieldProblem("", "no events"),),
        )
    if len(items) > bounds.events_max:
        raise TooLarge(
            f"the request has {len(items)} events; the limit is {bounds.events_max}: send smaller batches"
        )
    return items


def _decompress(body: bytes, encoding: bytes, bounds: RequestBounds) -> bytes:
    """Decompress a body, stopping at the limit, so that a decompression bomb costs no more than a full request.

    Raises: Malformed, Unsupported, TooLarge.
    """
    name = encoding.decode("latin-1").strip().lower()
    if name in ("identity", ""):
        return body
    if name not in ("gzip", "zstd"):
        raise Unsupported(
            f"Content-Encoding {name[:100]!r} is not supported: send gzip, zstd or none",
            code="unsupported-encoding",
        )
    by_ratio = max(RATIO_FROM_BYTES, len(body) * bounds.ratio_max)
    most = min(bounds.bytes_max, by_ratio)
    try:
        if name == "gzip":
            inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
            whole = inflater.decompress(body, most + 1)
            if len(whole) <= most and (not inflater.eof or inflater.unused_data):
                raise Malformed(
                    "the gzip body is truncated, or bytes follow its end: send one complete gzip member"
                )
        else:
            whole = _unpack_zstd(body, most)
    except (zlib.error, zstandard.ZstdError) as error:
        raise Malformed(f"the body is not valid {name}: {error}") from error
    if len(whole) > most == bounds.bytes_max:
        raise _body_too_large(bounds)
    if len(whole) > most:
        raise TooLarge(
            f"the body grows more than {bounds.ratio_max} times in decompression, the limit: send smaller batches, or compress less"
        )
    return whole


def _unpack_zstd(body: bytes, most: int) -> bytes:
    """Decompress zstd frames a few bytes at a time, so that a bomb is noticed before it grows. Raises: Malformed."""
    whole, place = bytearray(), 0
    window = max(
        most, 1 << 23
    )  # the window that every encoder may use by default (RFC 8878 section 3.1.1.1.2)
    frame = zstandard.ZstdDecompressor(max_window_size=window).decompressobj()
    while place < len(body) and len(whole) <= most:
        piece = body[place : place + ZSTD_STEP_BYTES]
        whole += frame.decompress(piece)
        place += len(piece)
        if frame.eof:
            place -= len(frame.unused_data)
            if place < len(body):
                frame = zstandard.ZstdDecompressor(max_window_size=window).decompressobj()
    if len(whole) <= most and not frame.eof:
        raise Malformed("the zstd body is truncated: send the complete body again")
    return bytes(whole)


def _body_too_large(bounds: RequestBounds) -> TooLarge:
    return TooLarge(
        f"the body is larger than {bounds.bytes_max} bytes, the limit before and after decompression: send smaller batches"
    )
