"""What handlers read of a form: `application/x-www-form-urlencoded`, bounded."""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from aegis_stream.errors import Malformed, Unsupported

FIELDS_MAX = 2000
"""Most fields of a form: a page of rows, each with its box."""
MEDIA_TYPE = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form; a name may occur more than once."""

    fields: Mapping[str, list[str]]

    @property
    def characters(self) -> int:
        """How much was sent, characters."""
        return sum(len(name) + sum(map(len, values)) for name, values in self.fields.items())

    def one(self, name: str, default: str = "") -> str:
        """Return the last value of a field, without blanks around it."""
        return self.fields[name][-1].strip() if name in self.fields else default

    def raw(self, name: str) -> str:
        """Return the last value of a field as it was sent."""
        return self.fields[name][-1] if name in self.fields else ""

    def all(self, name: str) -> list[str]:
        """Return every value of a field."""
        return list(self.fields.get(name, ()))

    def has(self, name: str) -> bool:
        """Tell whether a field was sent: a box that is ticked, a button that was pressed."""
        return name in self.fields


def parse_form(media: str, body: bytes) -> Form:
    """Read a form.

    Args:
        media: value of Content-Type.
    Raises: Unsupported for another media type. Malformed for too many fields, or what is not UTF-8.
    """
    if body and media.partition(";")[0].strip().lower() != MEDIA_TYPE:
        raise Unsupported(f"Content-Type {media[:100]!r} is not supported: send {MEDIA_TYPE}")
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS_MAX, errors="strict"
        )
    except ValueError as error:
        raise Malformed(
            f"the form cannot be read ({error}): it has at most {FIELDS_MAX} fields, in UTF-8"
        ) from error
    fields: dict[str, list[str]] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value.replace("\r\n", "\n"))
    return Form(fields)
