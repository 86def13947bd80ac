"""The plain JSON family: one event, events as lines, events as an array. Stored bytes are never written anew.

The content type is exactly `application/json` without parameters: Fluent Bit before 4.2 refuses a charset, and the
contract with every destination promises it.
"""

from collections.abc import Sequence

from aegis_stream.domain.attempt import Request

from .fields import one_line
from .format import Format
from .status import by_status


def encode_single(bodies: Sequence[bytes]) -> Request:
    """Send one event as it is stored, byte for byte."""
    (body,) = bodies
    return Request(body)


def encode_lines(bodies: Sequence[bytes]) -> Request:
    """Send events as lines, each ended by a newline.

    White space between tokens may contain line breaks in what a user submitted; there (and only there) they become
    spaces, which changes no value: within strings JSON does not allow them.
    """
    together = b"".join(bodies)
    if b"\n" in together or b"\r" in together:
        bodies = [one_line(body) for body in bodies]
    return Request(b"\n".join([*bodies, b""]), "application/x-ndjson")


def encode_array(bodies: Sequence[bytes]) -> Request:
    """Send events as one JSON array."""
    return Request(b"[" + b",".join(bodies) + b"]")


JSON = Format("json", encode_single, by_status, batches=False)
NDJSON = Format("ndjson", encode_lines, by_status, batches=True, frame_bytes=1)
JSON_ARRAY = Format("json_array", encode_array, by_status, batches=True, frame_bytes=1)
