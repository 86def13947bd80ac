"""What request and answer bodies have in common: unknown fields are rejected everywhere."""

from typing import Annotated

import msgspec
from msgspec import Meta

from aegis_stream.domain.ids import Micros
from aegis_stream.domain.times import to_text

Moment = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""A time of a request, which `requests.moment` reads: all of RFC 3339, more than the decoder's own type."""


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """A request body in which a field that we do not know is an error."""


def time_text(at: Micros | None) -> str | None:
    """Show a time, or null."""
    return to_text(at) if at is not None else None
