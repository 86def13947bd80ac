"""The body of an ingest request → the bytes of each event. Pure, and bounded in every step.

Nothing grows before it is counted: bytes are counted while they are decompressed, and items before they are cut.
"""

import contextlib
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import zstandard

from aegis_stream.domain.wrappers import unwrapped
from aegis_stream.errors import FieldProblem, Invalid, Malformed, TooLarge, Unsupported

RATIO_FROM_BYTES = 1024 * 1024
"""Up to this size a body may be compressed to any ratio."""
ZSTD_STEP_BYTES = 256
"""Compressed bytes unpacked at once: a block of 4 bytes may become 128 KiB, so a step grows to 8 MiB at most."""
FRAMES_MAX = 1000
"""Most gzip members or zstd frames in one body: each costs a decompressor."""
COMMAS_PER_EVENT = 64
"""An array with fewer commas than this for each event that may be sent is cut without counting its items first."""

JSON_TYPES = frozenset({"application/json", ""})
LINES_TYPES = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}
)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SEVERAL_OBJECTS = re.compile(rb"\}[ \t\r]*\n[ \t\r\n]*\{")
"""Objects with nothing but a line break between: in JSON that can be neither between values nor in a string."""
_BLANKS = re.compile(rb"\s+")
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"

_decode_items = msgspec.json.Decoder(list[msgspec.Raw]).decode
_scan_value = json.JSONDecoder().raw_decode


@dataclass(frozen=True, slots=True)
class RequestBounds:
    """How large a request may be; the settings say why.

    Args:
        bytes_max: of the body, before and after decompression.
        events_max: in one request.
        ratio_max: bytes that a compressed byte may become, once the body is longer than RATIO_FROM_BYTES.
    """

    bytes_max: int
    events_max: int
    ratio_max: int


def is_lines(content_type: bytes) -> bool:
    """Tell whether a body is NDJSON. Raises: Unsupported when it is neither that nor JSON."""
    media = content_type.decode("latin-1").partition(";")[0].strip().lower()
    if media in JSON_TYPES:
        return False
    if media in LINES_TYPES:
        return True
    raise Unsupported(
        f"Content-Type {media[:100]!r} is not supported: send application/json or application/x-ndjson"
    )


def encoding_of(content_encoding: bytes) -> str:
    """Return how a body is compressed, "" for not at all. Raises: Unsupported."""
    name = content_encoding.decode("latin-1").strip().lower()
    if name in ("identity", ""):
        return ""
    if name in ("gzip", "x-gzip"):  # RFC 9110 section 8.4.1.3
        return "gzip"
    if name == "zstd":
        return "zstd"
    raise Unsupported(
        f"Content-Encoding {name[:100]!r} is not supported: send gzip, zstd or none",
        code="unsupported-encoding",
    )


def decompress(body: bytes, encoding: str, bounds: RequestBounds) -> bytes:
    """Undo Content-Encoding, stopping at the limit: a bomb costs no more than a full request.

    Raises: Malformed, TooLarge.
    """
    by_ratio = max(RATIO_FROM_BYTES, len(body) * bounds.ratio_max)
    most = min(bounds.bytes_max, by_ratio)
    try:
        whole = _unpack_gzip(body, most) if encoding == "gzip" else _unpack_zstd(body, most)
    except (zlib.error, zstandard.ZstdError) as error:
        raise Malformed(f"the body is not valid {encoding}: {error}") from error
    if len(whole) > most == bounds.bytes_max:
        raise body_too_large(bounds)
    if len(whole) > most:
        raise TooLarge(
            f"the body grows more than {bounds.ratio_max} times in decompression, the limit: send smaller batches, or compress less"
        )
    return whole


def split(body: bytes, bounds: RequestBounds, *, lines: bool) -> list[bytes]:
    """Cut a body into the bytes of its events. Raises: Malformed, TooLarge, Invalid."""
    if not lines and body[:1] == b"{" and body[-1:] == b"}" and body.find(b"\n") < 0:
        return [body]  # what most senders send: none of the mistakes below begins and ends so
    if body.startswith(_BYTE_ORDER_MARK):
        # RFC 8259 section 8.1 lets a reader ignore it; parsers differ, and what is stored is what was sent.
        message = "begins with a byte order mark (bytes EF BB BF): save it as UTF-8 without one"
        raise Malformed(f"the body {message}", problems=(FieldProblem("", message),))
    _refuse_compressed(body)
    if lines:
        items = _cut_lines(body, bounds)
    elif body.lstrip(b" \t\r\n")[:1] == b"[":
        items = _cut_array(body, bounds)
    else:
        items = [stripped] if (stripped := body.strip()) else []
        if _SEVERAL_OBJECTS.search(body) is not None:
            message = "has several JSON objects: send them as lines with Content-Type: application/x-ndjson"
            raise Malformed(f"the body {message}", problems=(FieldProblem("", message),))
    if not items:
        raise Invalid(
            "the body contains no events: send a JSON object, an array or NDJSON",
            problems=(FieldProblem("", "no events"),),
        )
    return items


def body_too_large(bounds: RequestBounds) -> TooLarge:
    """Return the error for a body beyond the limit."""
    return TooLarge(
        f"the body is larger than {bounds.bytes_max} bytes, the limit before and after decompression: send smaller batches"
    )


def _too_many(bounds: RequestBounds) -> TooLarge:
    return TooLarge(
        f"the request has too many events; the limit is {bounds.events_max}: send smaller batches"
    )


def _refuse_compressed(body: bytes) -> None:
    """Say so when a body is compressed and no header tells. Raises: Malformed."""
    for magic, name in ((_GZIP, "gzip"), (_ZSTD, "zstd")):
        if body.startswith(magic):
            raise Malformed(
                f"the body is {name}, but no header says so: send `Content-Encoding: {name}` with it"
            )


def _cut_lines(body: bytes, bounds: RequestBounds) -> list[bytes]:
    items: list[bytes] = []
    start, blank, end = 0, 0, len(body)
    while start < end:
        newline = body.find(b"\n", start)
        stop = newline if newline >= 0 else end
        if line := body[start:stop].strip():
            items.append(line)
            if len(items) > bounds.events_max:
                raise _too_many(bounds)
        else:
            run = _BLANKS.match(body, start)  # all of them in one step: they may be most of the body
            stop = run.end() - 1 if run is not None else stop
            blank += body.count(b"\n", start, stop + 1)
            if blank > 10 * bounds.events_max:
                raise TooLarge(f"the body has more than {10 * bounds.events_max} empty lines: leave them out")
        start = stop + 1
    if len(items) == 1 and items[0].startswith(b"["):
        message = "is a JSON array, not NDJSON: send it with Content-Type: application/json"
        raise Invalid(f"the body {message}", problems=(FieldProblem("", message),))
    if len(items) > 1 and items[0] in (b"{", b"["):
        message = "is pretty-printed JSON, not NDJSON: put each event on one line (`jq -c .`)"
        raise Invalid(f"the body {message}", problems=(FieldProblem("[0]", message),))
    return items


def _cut_array(body: bytes, bounds: RequestBounds) -> list[bytes]:
    try:
        items = [bytes(item) for item in _decode_items(body)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = str(error).partition(" - at `$")[0]
        raise Malformed(
            f"the body is not a valid JSON array: {reason}", problems=(FieldProblem("", reason),)
        ) from error
    if len(items) > bounds.events_max:
        raise _too_many(bounds)
    return items


def count_items(body: bytes, bounds: RequestBounds, *, lines: bool) -> Iterator[None]:
    """Count the items of an array that may have too many, keeping none of them; one step an item, so that others get a turn.

    Raises: TooLarge.
    """
    if lines or not body.lstrip(b" \t\r\n").startswith(b"["):
        return
    if body.count(b",") <= COMMAS_PER_EVENT * bounds.events_max:
        return
    count = 0
    with contextlib.suppress(StopIteration, ValueError, RecursionError):  # no JSON: `split` says where
        for _ in _items_of(body.decode()):
            count += 1
            if count > bounds.events_max:
                raise _too_many(bounds)
            yield None


def unwrap_all(documents: list[bytes], path: tuple[str, ...], bounds: RequestBounds) -> list[bytes]:
    """Return the items of the array at a path of each document, in order; documents come from `split`.

    Raises: Invalid when a document has no array there. Malformed, TooLarge.
    """
    name, items = ".".join(path), list[bytes]()
    for index, document in enumerate(documents):
        if document.count(b",") > COMMAS_PER_EVENT * bounds.events_max:
            # Small items are counted before they are cut, by an upper bound: each has a comma behind it or a bracket.
            raise TooLarge(
                f"a document is too large to be taken apart: send at most {bounds.events_max} events"
            )
        try:
            found = unwrapped(document, path)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            reason = str(error).partition(" - at `$")[0]
            raise Malformed(
                f"the document is not valid JSON: {reason}", problems=(FieldProblem(f"[{index}]", reason),)
            ) from error
        if found is None:
            message = f"has no array at {name}: correct unwrap, or omit it"
            raise Invalid(f"document {index} {message}", problems=(FieldProblem(f"[{index}]", message),))
        items += found
        if len(items) > bounds.events_max:
            raise _too_many(bounds)
    if not items:
        message = f"has no events at {name}"
        raise Invalid(f"the body {message}", problems=(FieldProblem("", message),))
    return items


def _items_of(text: str) -> Iterator[None]:
    at, end = text.index("[") + 1, len(text)
    while True:
        while at < end and text[at] in " \t\r\n,":
            at += 1
        if at == end or text[at] == "]":
            return
        _, at = _scan_value(text, at)
        yield None


def _unpack_gzip(body: bytes, most: int) -> bytes:
    """Decompress whole gzip members, one behind the other (RFC 1952 section 2.2). Raises: Malformed, zlib.error."""
    whole, members = b"", 0
    while body and len(whole) <= most:
        members += 1
        if members > FRAMES_MAX:
            raise Malformed(
                f"the body has more than {FRAMES_MAX} gzip members: compress the whole body at once"
            )
        inflater = zlib.decompressobj(16 + zlib.MAX_WBITS)
        piece = inflater.decompress(body, most + 1 - len(whole))
        whole = whole + piece if whole else piece
        if not inflater.eof:
            if len(whole) <= most:
                raise Malformed("the gzip body is truncated: send the complete body again")
            break
        body = inflater.unused_data
    return whole


def _unpack_zstd(body: bytes, most: int) -> bytes:
    """Decompress whole zstd frames, a few bytes at a time so that a bomb is noticed before it has grown. Raises: Malformed."""
    whole, place, frames = bytearray(), 0, 1
    window = max(most, 1 << 23)  # what every encoder may use by default (RFC 8878 section 3.1.1.1.2)
    decompressor = zstandard.ZstdDecompressor(max_window_size=window)
    frame = decompressor.decompressobj()
    while place < len(body) and len(whole) <= most:
        piece = body[place : place + ZSTD_STEP_BYTES]
        whole += frame.decompress(piece)
        place += len(piece)
        if frame.eof:
            place -= len(frame.unused_data)
            if place < len(body):
                frames += 1
                if frames > FRAMES_MAX:
                    raise Malformed(
                        f"the body has more than {FRAMES_MAX} zstd frames: compress the whole body at once"
                    )
                frame = decompressor.decompressobj()
    if len(whole) <= most and not frame.eof:
        raise Malformed("the zstd body is truncated: send the complete body again")
    return bytes(whole)
