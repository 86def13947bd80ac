"""Reads the events of a request body: one JSON object, a JSON array, or NDJSON.

The adapters and the reference receiver call it once the sender is verified. It needs only the standard library.
"""

import json
import zlib
from typing import Any, NoReturn

Event = dict[str, Any]
"""One audit event: a JSON object that follows the Elastic Common Schema."""

BODY_BYTES_MAX = 16 * 1024 * 1024
"""Largest body, bytes, before and after decompression: larger than any default batch of the sender."""

_NDJSON_TYPES = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines"}
)


class MalformedBodyError(ValueError):
    """The body does not match its headers: answer 400. The message names the fault and does not quote the body."""


class TooLargeError(ValueError):
    """The body exceeds the limit: answer 413."""


class UnsupportedEncodingError(ValueError):
    """The compression of the body is not supported: answer 415."""


def parse_body(
    body: bytes,
    content_type: str | None = None,
    content_encoding: str | None = None,
    *,
    body_bytes_max: int = BODY_BYTES_MAX,
) -> list[Event]:
    """Return the events of a request body, in their order.

    Args:
        body: the raw body as received, from a verified sender.
        content_type: value of Content-Type; NDJSON is read line by line, anything else as one JSON text.
        content_encoding: value of Content-Encoding: none, identity or gzip.
        body_bytes_max: largest body in bytes, before and after decompression.
    Returns: the events; none for an empty array.
    Raises:
        MalformedBodyError: not UTF-8, not JSON, contains NaN or Infinity, or has a value that is not an object.
        TooLargeError: larger than `body_bytes_max`.
        UnsupportedEncodingError: compressed, but not with gzip.
    """
    plain = _decompress(body, (content_encoding or "identity").strip().lower(), body_bytes_max)
    try:
        text = plain.decode()
    except UnicodeDecodeError as exc:
        raise MalformedBodyError("the body is not UTF-8") from exc
    if (content_type or "").partition(";")[0].strip().lower() in _NDJSON_TYPES:
        # Only \n ends a line of NDJSON: str.splitlines would also split at U+2028 inside a string.
        values = [_parse_json(line) for line in text.split("\n") if not line.isspace() and line]
    else:
        value = _parse_json(text)
        values = value if isinstance(value, list) else [value]
    if not all(isinstance(value, dict) for value in values):
        raise MalformedBodyError("an event must be a JSON object")
    return values


def _decompress(body: bytes, encoding: str, bytes_max: int) -> bytes:
    if encoding not in {"identity", "", "gzip"}:
        raise UnsupportedEncodingError("the body must be uncompressed or compressed with gzip")
    if len(body) > bytes_max:
        raise TooLargeError(f"the body exceeds {bytes_max} bytes")
    if encoding != "gzip":
        return body
    inflater = zlib.decompressobj(wbits=31)  # 31: gzip with its header and checksum
    try:
        plain = inflater.decompress(body, bytes_max + 1)
    except zlib.error as exc:
        raise MalformedBodyError("the body is not gzip") from exc
    if len(plain) > bytes_max:
        raise TooLargeError(f"the body exceeds {bytes_max} bytes")
    if not inflater.eof or inflater.unused_data:
        raise MalformedBodyError("the gzip body is truncated, or has data after its end")
    return plain


def _parse_json(text: str) -> Any:
    try:
        return _DECODER.decode(text)
    except RecursionError as exc:
        raise MalformedBodyError("the JSON of the body is nested too deeply") from exc
    except MalformedBodyError:
        raise
    except ValueError as exc:  # JSONDecodeError, and numbers with too many digits
        raise MalformedBodyError("the body is not JSON") from exc


def _refuse_constant(_name: str) -> NoReturn:
    raise MalformedBodyError("NaN and Infinity are not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
