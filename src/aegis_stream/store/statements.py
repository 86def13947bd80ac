"""Loads the statements of the store: sql/*.sql, and those that a database words differently, from its overlay.sql.

A statement is `-- name: its_name`, one or more lines of comment, and its text. In an overlay the first comment must be
`-- differs because: …`: whoever changes the shared text then sees what the other one must follow.
"""

import re
from functools import cache
from importlib import resources

_NAMED = re.compile(r"^-- name: (?P<name>\w+)\n(?P<why>(?:--.*\n)+)(?P<text>(?:(?!--).+\n?)+)", re.MULTILINE)
_DIFFERS = "-- differs because: "


@cache
def load(overlay: str = "") -> dict[str, str]:
    """Return the texts of all statements by name.

    Args:
        overlay: text of a file of SQL whose statements replace the shared ones of the same name.
    Raises: ValueError when a statement of the overlay replaces none, or does not say why it differs.
    """
    folder = resources.files(__package__).joinpath("sql")
    texts: dict[str, str] = {}
    for file in sorted(folder.iterdir(), key=lambda one: one.name):
        if file.name.endswith(".sql"):
            texts |= {name: text for name, _, text in parse(file.read_text(encoding="utf-8"))}
    return texts | _checked(overlay, texts)


def parse(source: str) -> list[tuple[str, str, str]]:
    """Return the statements of a file of SQL: name, comment, text."""
    return [
        (found["name"], found["why"], found["text"].strip().rstrip(";")) for found in _NAMED.finditer(source)
    ]


def _checked(source: str, shared: dict[str, str]) -> dict[str, str]:
    replaced = {}
    for name, why, text in parse(source):
        if name not in shared:
            raise ValueError(
                f"the overlay's statement {name!r} replaces no shared statement: correct the name"
            )
        if not why.startswith(_DIFFERS):
            raise ValueError(f"the overlay's statement {name!r} must begin with {_DIFFERS!r} and the reason")
        replaced[name] = text
    return replaced
