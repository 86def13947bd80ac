"""The statements of the store as PostgreSQL takes them: the shared texts, translated by four rules.

What a rule cannot do is worded anew in overlay.sql.
"""

import functools
import re
from collections.abc import Iterator
from importlib import resources

from aegis_stream.store.statements import load

_PARAMETER = re.compile(r"\?(\d*)")
_AS_BYTES = re.compile(r"CAST\(([\w.]+) AS BLOB\)")
_EMPTY_BYTES = "x''"
_PICK = re.compile(r"\b(max|min)\(")
_GREATEST = {"max": "greatest", "min": "least"}


@functools.cache
def statements() -> dict[str, str]:
    """Return the texts of all statements as PostgreSQL runs them, by name."""
    overlay = resources.files(__package__).joinpath("overlay.sql")
    return {name: translated(text) for name, text in load(overlay.read_text(encoding="utf-8")).items()}


def translated(text: str) -> str:
    """Return a statement of the shared texts in PostgreSQL's words.

    `?` and `?3` become `$1` and `$3`; `CAST(x AS BLOB)` the bytes of a text; max and min of several values greatest and least.
    """
    text = _AS_BYTES.sub(r"convert_to(\1, 'UTF8')", text).replace(_EMPTY_BYTES, "''::bytea")
    numbers = iter(range(1, 1000))
    text = _PARAMETER.sub(lambda found: f"${found[1] or next(numbers)}", text)
    return "".join(_scalar(text))


def _scalar(text: str) -> Iterator[str]:
    """Yield a statement in pieces, with greatest and least where max and min are given several values."""
    at = 0
    for found in _PICK.finditer(text):
        yield text[at : found.start()]
        several = _has_several(text, found.end())
        yield (_GREATEST[found[1]] + "(") if several else found[0]
        at = found.end()
    yield text[at:]


def _has_several(text: str, start: int) -> bool:
    """Tell whether a call whose arguments begin here has more than one."""
    depth = 1
    for character in text[start:]:
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return False
        if depth == 1 and character == ",":
            return True
    return False
