"""Names that people give to organizations, keys and destinations.

Lists and logs show them, so no name may hold what a terminal obeys, what breaks a line, or what nobody sees.
"""

from aegis_stream.errors import FieldProblem, Invalid

NAME_CHARACTERS_MAX = 200
NAME_ALLOWED = f"at most {NAME_CHARACTERS_MAX} printable characters"


def is_name(text: str) -> bool:
    """Tell whether a text may be a name: short, and printable throughout. The empty text is one."""
    return len(text) <= NAME_CHARACTERS_MAX and text.isprintable()


def check_name(text: str) -> None:
    """Check the field `name` of a request. Raises: Invalid, which does not repeat the name."""
    if not is_name(text):
        message = f"must be {NAME_ALLOWED}: no line breaks, control or invisible characters"
        raise Invalid(f"name {message}", problems=(FieldProblem("name", message),))
