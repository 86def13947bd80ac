"""Console links: JSON shapes."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from aegis_stream.domain.console_link import (
    RETURN_URL_CHARACTERS_MAX,
    SECONDS_DEFAULT,
    SECONDS_MAX,
    SECONDS_MIN,
)

from .base import Strict


class ConsoleLinkWrite(Strict):
    """A new console link. `return_url`: where "Back to …" leads, null for nowhere."""

    scope: Literal["read", "admin"] = "read"
    expires_seconds: Annotated[int, Meta(ge=SECONDS_MIN, le=SECONDS_MAX)] = SECONDS_DEFAULT
    return_url: Annotated[str, Meta(min_length=1, max_length=RETURN_URL_CHARACTERS_MAX)] | None = None


class ConsoleLinkMade(msgspec.Struct):
    """A new console link with its URL, which is shown only once and opens the console once."""

    id: str
    scope: str
    url: str
    created_at: str
    expires_at: str
    return_url: str | None


class ConsoleLinkBody(msgspec.Struct):
    """A console link as it is listed, without its URL. `made_by`: id of the key that made it, null for the command line."""

    id: str
    scope: str
    created_at: str
    expires_at: str
    used_at: str | None
    made_by: str | None
    return_url: str | None


class ConsoleLinkList(msgspec.Struct):
    """Console links of an organization."""

    data: list[ConsoleLinkBody]
    next_cursor: str | None
