"""What every route says of itself in the OpenAPI document: errors with examples, in one place."""

from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example

from .problems import MEDIA_TYPE, TYPE_BASE, FieldError, Problem

_EXAMPLES = {
    400: Problem(TYPE_BASE + "malformed", "The body cannot be read", 400, "the body is not JSON"),
    401: Problem(
        TYPE_BASE + "unknown-key",
        "Not authenticated",
        401,
        "this API key is not known: it may be mistyped, revoked or expired",
    ),
    403: Problem(
        TYPE_BASE + "denied",
        "Not allowed",
        403,
        "this key has scope read; the call needs admin: use another key",
    ),
    404: Problem(
        TYPE_BASE + "not-found", "Not found", 404, "there is no destination 'dst_…' in this organization"
    ),
    409: Problem(
        TYPE_BASE + "organization-exists",
        "Contradicts what is stored",
        409,
        "there is an organization org_abc already: choose another id",
    ),
    413: Problem(
        TYPE_BASE + "too-large",
        "Too large",
        413,
        "the body is larger than 10485760 bytes (after decompression): send smaller batches",
    ),
    415: Problem(
        TYPE_BASE + "unsupported-media-type",
        "Unsupported media type",
        415,
        "send application/json or application/x-ndjson",
    ),
    422: Problem(
        TYPE_BASE + "invalid",
        "Not acceptable as it is",
        422,
        "url: must begin with https://",
        [FieldError("url", "must begin with https://")],
    ),
    429: Problem(
        TYPE_BASE + "rate-limited",
        "Too much at once",
        429,
        "this key may call 2000 times in 2 s: spread the calls, or send events in batches",
    ),
    503: Problem(
        TYPE_BASE + "store-full",
        "Not available now",
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
