"""Loads statements.sql: every statement has a name, a sentence, and its text."""

import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

_NAMED = re.compile(r"^-- name: (?P<name>\w+)\n(?P<why>(?:--.*\n)+)(?P<text>(?:(?!--).+\n?)+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Statements:
    """The texts by name; a wrong name is a KeyError at the first call, and a test calls them all."""

    texts: dict[str, str]

    def __getitem__(self, name: str) -> str:
        """Return the SQL text of the statement `name`."""
        return self.texts[name]


@cache
def load() -> Statements:
    """Read statements.sql once."""
    source = resources.files(__package__).joinpath("statements.sql").read_text(encoding="utf-8")
    return Statements({found["name"]: found["text"].strip().rstrip(";") for found in _NAMED.finditer(source)})
