"""What handlers read of a request: its body, times, limits and cursors."""

import re
from typing import Any, TypeVar

import msgspec
from litestar import Request

from aegis_stream.domain.ids import Micros
from aegis_stream.domain.times import MICROS_MAX, from_text, is_time
from aegis_stream.errors import FieldProblem, Invalid, Malformed, Unsupported

from .validation import field_problem

PAGE_MAX = 200
PAGE_DEFAULT = 50
_BLANK_ZONE = re.compile(r" (\d\d:?\d\d)$")
_ID = re.compile(r"[a-z]{3}_[0-9A-Za-z_-]{1,60}")

T = TypeVar("T")


async def decode_strict(request: Request[Any, Any, Any], data: T) -> T:
    """Decode a body again, strictly: the framework accepts "5" for 5, 1 for true, and other media types.

    Raises: Unsupported, Malformed, Invalid with the field.
    """
    media = (request.headers.get("content-type") or "application/json").partition(";")[0].strip().lower()
    if media != "application/json":
        raise Unsupported(f"Content-Type {media[:100]!r} is not supported: send application/json")
    body = await request.body()
    if data is None or not body:
        return data
    try:
        return msgspec.json.decode(body, type=type(data))
    except msgspec.ValidationError as error:
        message, _, place = str(error).partition(" - at `$")
        field = place.rstrip("`").lstrip(".")
        problem = field_problem(field, message)
        raise Invalid(f"{field} {problem.message}", problems=(problem,)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"the body is not valid JSON: {error}") from error


def moment(value: str | None, field: str) -> Micros | None:
    """Turn a time of a request into microseconds. Raises: Invalid when it has no time zone, or is before 1970 or after 9999."""
    if value is None:
        return None
    at = from_text(value)
    if at is not None and 0 <= at <= MICROS_MAX:
        return at
    message = "must be an RFC 3339 time with a time zone, from 1970 to 9999, such as 2026-05-15T10:33:21Z"
    if at is None and is_time(_BLANK_ZONE.sub(r"+\1", value)):
        message = "has a blank instead of the + of its time zone: in a query + means a blank, so write %2B, or Z for UTC"
    raise Invalid(f"{field} {message}", problems=(FieldProblem(field, message),))


def read_limit(limit: int) -> int:
    """Check the query parameter `limit`. Raises: Invalid."""
    if not 1 <= limit <= PAGE_MAX:
        raise Invalid(
            f"limit must be 1 to {PAGE_MAX}", problems=(FieldProblem("limit", f"must be 1 to {PAGE_MAX}"),)
        )
    return limit


def read_id_cursor(cursor: str | None) -> str | None:
    """Check a query parameter `cursor` that is an identifier. Raises: Invalid."""
    if cursor is not None and not _ID.fullmatch(cursor):
        message = "must be the next_cursor of an earlier answer, unchanged"
        raise Invalid(f"cursor {message}", problems=(FieldProblem("cursor", message),))
    return cursor


def read_cursor(cursor: str | None, start: tuple[int, ...]) -> tuple[int, ...]:
    """Read the query parameter `cursor`: numbers separated by dots, as many as `start` has. Raises: Invalid."""
    if cursor is None:
        return start
    parts = cursor.split(".")
    if len(parts) != len(start) or not all(
        part.isascii() and part.isdecimal() and len(part) <= 18 for part in parts
    ):
        message = "must be the next_cursor of an earlier answer, unchanged"
        raise Invalid(f"cursor {message}", problems=(FieldProblem("cursor", message),))
    return tuple(int(part) for part in parts)
