"""The plain JSON family: one event, events as lines, events as an array. Stored bytes are never written anew.

The content type is exactly `application/json` without parameters: Fluent Bit before 4.2 refuses a charset, and the
contract with every destination promises it.
"""

from collections.abc import Sequence

from aegis_stream.domain.attempt import Request


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
        bodies = [_one_line(body) for body in bodies]
    return Request(b"\n".join([*bodies, b""]), "application/x-ndjson")


def encode_array(bodies: Sequence[bytes]) -> Request:
    """Send events as one JSON array."""
    return Request(b"[" + b",".join(bodies) + b"]")


def _one_line(body: bytes) -> bytes:
    return body.replace(b"\n", b" ").replace(b"\r", b" ") if b"\n" in body or b"\r" in body else body
