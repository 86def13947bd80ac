"""Errors → HTTP: status, headers and problem+json (RFC 9457), in one table."""

from typing import Any

import msgspec

from aegis_stream.errors import (
    AegisError,
    Conflict,
    Denied,
    Invalid,
    Limited,
    Malformed,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from aegis_stream.front.answer import Answer, make_answer
from aegis_stream.telemetry import Log, place_of

MEDIA_TYPE = "application/problem+json"
TYPE_BASE = "https://aegis-audit-stream.invalid/problems/"

# The first class that matches decides, so subclasses stand above their base classes.
STATUSES: tuple[tuple[type[AegisError], int, str], ...] = (
    (Malformed, 400, "The body cannot be read"),
    (TooLarge, 413, "Too large"),
    (Unsupported, 415, "Unsupported media type"),
    (Invalid, 422, "Invalid request"),
    (Unauthenticated, 401, "Not authenticated"),
    (Denied, 403, "Forbidden"),
    (NotFound, 404, "Not found"),
    (Conflict, 409, "Conflict"),
    (Limited, 429, "Too many requests"),
    (Unavailable, 503, "Service unavailable"),
    (AegisError, 500, "Internal error"),
)


class FieldError(msgspec.Struct):
    """One problem of one field."""

    field: str
    message: str


class Problem(msgspec.Struct, omit_defaults=True):
    """What went wrong, for programs (type, status, errors) and people (title, detail)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []


def status_of(error: AegisError) -> tuple[int, str]:
    """Return status and title for an error."""
    return next((status, title) for kind, status, title in STATUSES if isinstance(error, kind))


def wait_of(error: AegisError) -> int:
    """Return after how many seconds the same call may succeed, at least 1; 0 if it will not by waiting."""
    return max(1, error.retry_after_s) if isinstance(error, Limited | Unavailable) else 0


def problem_of(error: AegisError) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body for an error."""
    status, title = status_of(error)
    headers = {"content-type": MEDIA_TYPE}
    if wait_s := wait_of(error):
        headers["retry-after"] = str(wait_s)
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = 'Bearer realm="aegis"'
    errors = [FieldError(one.field, one.message) for one in error.problems]
    return (
        status,
        headers,
        msgspec.json.encode(Problem(TYPE_BASE + error.code, title, status, error.message, errors)),
    )


def plain_problem(status: int, code: str, title: str, detail: str) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body for an error that is not an AegisError, such as an unknown path."""
    body: Any = Problem(TYPE_BASE + code, title, status, detail)
    return status, {"content-type": MEDIA_TYPE}, msgspec.json.encode(body)


Parts = tuple[int, dict[str, str], bytes]
"""Status, headers and body of an error."""


def answer_of(error: AegisError | Parts) -> Answer:
    """Return the answer of the front door to an error."""
    status, headers, body = problem_of(error) if isinstance(error, AegisError) else error
    return make_answer(status, [(name.encode(), value.encode()) for name, value in headers.items()], body)


def bug_problem(telemetry: Log, path: str, error: BaseException | None) -> Parts:
    """Log an unexpected error: its kind and place, never its text, which may contain what a user sent."""
    telemetry.error(
        "service.failed",
        path=path[:200],
        kind=type(error).__name__ if error is not None else "no answer",
        place=place_of(error) if error is not None else "",
    )
    return plain_problem(
        500,
        "internal",
        "Internal error",
        "this is a bug: the service's log has the details; please report it",
    )
