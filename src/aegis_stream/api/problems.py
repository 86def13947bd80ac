"""The one map from our errors to HTTP: status, headers, problem+json (RFC 9457)."""

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

MEDIA_TYPE = "application/problem+json"
TYPE_BASE = "https://aegis-audit-stream.invalid/problems/"

# The first class that fits decides, so the narrow ones stand above the wide ones.
STATUSES: tuple[tuple[type[AegisError], int, str], ...] = (
    (Malformed, 400, "The body cannot be read"),
    (TooLarge, 413, "Too large"),
    (Unsupported, 415, "Unsupported media type"),
    (Invalid, 422, "Not acceptable as it is"),
    (Unauthenticated, 401, "Not authenticated"),
    (Denied, 403, "Not allowed"),
    (NotFound, 404, "Not found"),
    (Conflict, 409, "Contradicts what is stored"),
    (Limited, 429, "Too much at once"),
    (Unavailable, 503, "Not available now"),
    (AegisError, 500, "Internal error"),
)


class FieldError(msgspec.Struct):
    """One thing that is wrong with one field."""

    field: str
    message: str


class Problem(msgspec.Struct, omit_defaults=True):
    """What went wrong, for programs (type, status, errors) and people (title, detail)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] = []


def problem_of(error: AegisError) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body for an error."""
    status, title = next((status, title) for kind, status, title in STATUSES if isinstance(error, kind))
    headers = {"content-type": MEDIA_TYPE}
    if isinstance(error, Limited | Unavailable):
        headers["retry-after"] = str(max(1, error.retry_after_s))
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = 'Bearer realm="aegis"'
    errors = [FieldError(one.field, one.message) for one in error.problems]
    return (
        status,
        headers,
        msgspec.json.encode(Problem(TYPE_BASE + error.code, title, status, error.message, errors)),
    )


def plain_problem(status: int, code: str, title: str, detail: str) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body for what the framework found wrong: no such path, no such method."""
    body: Any = Problem(TYPE_BASE + code, title, status, detail)
    return status, {"content-type": MEDIA_TYPE}, msgspec.json.encode(body)
