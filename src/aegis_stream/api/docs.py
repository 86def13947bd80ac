"""The errors of every route in the OpenAPI document, with examples."""

from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example

from .problems import MEDIA_TYPE, TYPE_BASE, FieldError, Problem

_EXAMPLES = {
    400: Problem(
        TYPE_BASE + "malformed",
        "The body cannot be read",
        400,
        "the body cannot be read: JSON is malformed: invalid character (byte 0)",
    ),
    401: Problem(
        TYPE_BASE + "unknown-key",
        "Not authenticated",
        401,
        "unknown API key: it may be mistyped, revoked or expired",
    ),
    403: Problem(
        TYPE_BASE + "denied",
        "Forbidden",
        403,
        "this key has scope read; the call needs scope admin: use a key with that scope",
    ),
    404: Problem(
        TYPE_BASE + "not-found", "Not found", 404, "there is no destination 'dst_…' in this organization"
    ),
    409: Problem(
        TYPE_BASE + "organization-exists",
        "Conflict",
        409,
        "organization org_abc exists already: choose another id",
    ),
    413: Problem(
        TYPE_BASE + "too-large",
        "Too large",
        413,
        "the body is larger than 10485760 bytes, the limit before and after decompression: send smaller batches",
    ),
    415: Problem(
        TYPE_BASE + "unsupported-media-type",
        "Unsupported media type",
        415,
        "Content-Type 'text/plain' is not supported: send application/json or application/x-ndjson",
    ),
    422: Problem(
        TYPE_BASE + "invalid",
        "Invalid request",
        422,
        "url: must begin with https://",
        [FieldError("url", "must begin with https://")],
    ),
    429: Problem(
        TYPE_BASE + "rate-limited",
        "Too many requests",
        429,
        "too many calls with this key; the limit is 2000 in 2 s: slow down, or send events in batches",
    ),
    503: Problem(
        TYPE_BASE + "store-full",
        "Service unavailable",
        503,
        "the disk is full: nothing was stored; free some space",
    ),
}


def errors(*statuses: int) -> dict[int, ResponseSpec]:
    """Return the error answers of a route for its OpenAPI entry; 401, 404, 422, 429 and 503 can happen everywhere."""
    return {
        status: ResponseSpec(
            Problem,
            description=_EXAMPLES[status].title,
            media_type=MEDIA_TYPE,
            generate_examples=False,
            examples=[Example(summary=_EXAMPLES[status].title, value=_EXAMPLES[status])],
        )
        for status in sorted({400, 401, 404, 422, 429, 503, *statuses})
    }
